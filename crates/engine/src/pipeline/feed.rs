//! Reads the listing and fills the queue of leases, as far ahead as the queue allows.
//!
//! A run that is resumed asks first for those pages again that have something left to do, then
//! goes on where the listing was left.

use super::known::Known;
use super::plan::{Only, Plan};
use super::record::Record;
use crate::ledger::frame::Page;
use crate::ledger::{PageRecord, Past};
use crate::report::Report;
use crate::rt::{Control, Stop, TICK};
use crate::schedule::{Fault, Origin, Probe};
use crate::sink::Sinks;
use crate::source::{FailedList, Listing, ListingError};
use crate::wire::h1::Template;
use crate::wire::{Client, Fetched, Target};
use async_channel::Sender;
use rustix::io::Errno;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use windrow_model::limits::{LEASE_TASKS, PAGE_BYTES};
use windrow_model::task::Names;
use windrow_model::{Error, Failure, FailureClass, Lease, Ordinal};

pub(super) struct Feed {
    pub(super) plan: Arc<Plan>,
    pub(super) record: Arc<Record>,
    pub(super) sinks: Sinks,
    pub(super) target: Rc<Target>,
    pub(super) template: Template,
    pub(super) queue: Sender<Lease>,
    pub(super) report: Arc<Report>,
    pub(super) control: Arc<Control>,
    pub(super) origin: Arc<Origin>,
}

/// Reads the listing to its end, or stops the run.
///
/// # Cancel
/// What is in the queue stays there.
pub(super) async fn list(feed: Feed) {
    if let Err(error) = feed.all().await {
        feed.control.stop(Stop::Error(error));
    }
}

/// What the names are read from.
enum Reader {
    Listing {
        client: Box<Client>,
        listing: Option<Box<Listing>>,
    },
    /// Beside the list the marker of its next page.
    List {
        path: PathBuf,
        list: Option<Box<(FailedList, Option<String>)>>,
    },
}

/// A page.
struct Sheet {
    names: Names,
    /// The marker that it was asked for with.
    asked: Option<String>,
    /// The marker of the page behind it.
    next: Option<String>,
}

/// Where the listing goes on.
#[derive(Debug, Default)]
struct Place {
    /// The marker of the page to ask for; `None` for the first.
    marker: Option<String>,
    /// Names at its front that were taken before.
    skip: u64,
    /// Ordinal of the next name.
    next: Ordinal,
    /// Names that are stored already.
    known: Option<Known>,
}

impl Feed {
    async fn all(&self) -> Result<(), Error> {
        let mut reader = self.reader();
        let place = match self.record.past() {
            None => Some(Place::default()),
            Some(_) => {
                self.record.begin(&self.sinks).inspect_err(|_| {
                    let (objects, bytes) = self.record.lost();
                    self.report.lose_stored(objects, bytes);
                })?;
                self.again(&mut reader).await?
            }
        };
        match place {
            Some(place) => self.pages(&mut reader, place).await,
            None => Ok(()),
        }
    }

    /// Hands out what earlier processes left on pages that they listed. Says where to go on, if
    /// there is more to list.
    async fn again(&self, reader: &mut Reader) -> Result<Option<Place>, Error> {
        let Some(past) = self.record.past() else { return Ok(None) };
        // An earlier process read the listing anew from here on, and did not come to its end:
        // what it listed since goes by name still.
        let anew = past.pages.forgotten.iter().map(|range| range.start).min();
        let mut known = None;
        for page in &past.pages.open {
            let mut picks = self.picks(page);
            if picks.is_empty() {
                continue;
            }
            if self.control.stopping() {
                return Ok(None);
            }
            self.enter(reader, page.marker.clone())?;
            let Some(sheet) = self.read(reader).await? else { return self.relist(page).map(Some) };
            let mut names = sheet.names;
            let taken = page.skipped + page.count;
            names.truncate(usize::try_from(taken).unwrap_or(usize::MAX));
            if names.len() as u64 != taken || fingerprint(&names, page.skipped) != page.fingerprint
            {
                return self.relist(page).map(Some);
            }
            let first = page.first.wrapping_sub(page.skipped);
            if anew.is_some_and(|from| page.first >= from) {
                let known = match &mut known {
                    Some(known) => known,
                    None => known.insert(self.known(past)?),
                };
                let stored = self.take_known(known, &names, &mut picks, first)?;
                self.report.unhanded.fetch_sub(stored, Ordering::AcqRel);
                self.report.skipped.fetch_add(stored, Ordering::Release);
            }
            self.note_reference(page, &names);
            let size = lease_size(picks.len(), self.plan.cores);
            for lease in Lease::cut_picks(names, picks, first, size) {
                let len = lease.len() as u64;
                self.report.unhanded.fetch_sub(len, Ordering::AcqRel);
                if self.queue.send(lease).await.is_err() {
                    self.report.unhanded.fetch_add(len, Ordering::AcqRel);
                    return Ok(None);
                }
            }
        }
        let limited = past.pages.end == Some(false)
            && self.plan.limit.is_some_and(|limit| limit <= past.listed());
        if past.pages.end == Some(true) || limited || matches!(self.plan.only, Only::Failed(_)) {
            let ended = past.pages.end.is_some();
            self.report.listing_done.store(ended, Ordering::Release);
            return Ok(None);
        }
        if anew.is_some() && known.is_none() {
            known = Some(self.known(past)?);
        }
        let cursor = &past.pages.cursor;
        let (marker, next) = (cursor.marker.clone(), past.pages.next);
        Ok(Some(Place { marker, skip: cursor.skip, next, known }))
    }

    fn known(&self, past: &Past) -> Result<Known, Error> {
        Known::read(&*self.record.disk(), self.plan.format, past)
    }

    /// Takes those out of `picks` that are stored under their name already, and says how many. A
    /// process that is killed before that is recorded leaves their page open.
    fn take_known(
        &self,
        known: &Known,
        names: &Names,
        picks: &mut Vec<u32>,
        first: Ordinal,
    ) -> Result<u64, Error> {
        let mut stored = Vec::new();
        picks.retain(|&index| {
            let is_known = names.get(index as usize).is_some_and(|name| known.contains(name));
            if is_known {
                stored.push(first.wrapping_add(u64::from(index)));
            }
            !is_known
        });
        if !stored.is_empty()
            && let Some(log) = self.record.listing()
        {
            log.skipped(&stored).map_err(unrecorded)?;
        }
        Ok(stored.len() as u64)
    }

    /// Where all that is left to do may fail on its own, what is stored from the same page tells
    /// whether the server is down.
    fn note_reference(&self, page: &PageRecord, names: &Names) {
        if self.origin.has_reference() {
            return;
        }
        let Some(past) = self.record.past() else { return };
        let stored = page.range().find(|&ordinal| past.state.stored.contains(ordinal));
        let index = stored.map(|ordinal| ordinal - page.first + page.skipped);
        let name = index.and_then(|index| names.get(usize::try_from(index).ok()?));
        if let Some(name) = name {
            self.origin.note(name);
        }
    }

    /// Indices, on its page, of the names of a record that are to be fetched now.
    fn picks(&self, page: &PageRecord) -> Vec<u32> {
        let Some(past) = self.record.past() else { return Vec::new() };
        let only_failed = matches!(self.plan.only, Only::Failed(_));
        let open = page.range().filter(|&ordinal| {
            past.reopen.contains(ordinal) || (!only_failed && !past.state.settled(ordinal))
        });
        open.filter_map(|ordinal| u32::try_from(ordinal - page.first + page.skipped).ok()).collect()
    }

    /// A page is not what it was: from it on everything is listed anew, and goes by name.
    fn relist(&self, page: &PageRecord) -> Result<Place, Error> {
        let Some(past) = self.record.past() else { return Ok(Place::default()) };
        let next = past.pages.next;
        let known = self.known(past)?;
        if let Some(log) = self.record.listing() {
            log.relist(page.first, next, page.marker.as_deref()).map_err(unrecorded)?;
        }
        // What was listed there and is not stored is forgotten.
        let settled = past.state.stored.range_cardinality(page.first..next)
            + past.state.skipped.range_cardinality(page.first..next);
        let forgotten = next - page.first - settled;
        self.report.listed.fetch_sub(forgotten, Ordering::AcqRel);
        let mut unhanded = forgotten;
        for (class, failed) in &past.state.failed {
            // Those that stay failed are not among the unhanded, and are taken back too.
            let stay = failed - &past.reopen;
            let count = stay.range_cardinality(page.first..next);
            self.report.forget_failed(*class, count);
            unhanded -= count;
        }
        self.report.unhanded.fetch_sub(unhanded, Ordering::AcqRel);
        self.report.note(format!(
            "the listing changed since the earlier run: it is read again from object {} on, and \
             what is stored under the same name is skipped",
            page.first
        ));
        Ok(Place { marker: page.marker.clone(), skip: 0, next, known: Some(known) })
    }

    /// What reads the source, not at any place yet.
    fn reader(&self) -> Reader {
        match &self.plan.failed_list {
            Some(path) => Reader::List { path: path.clone(), list: None },
            None => {
                let plan = &self.plan;
                let client = Client::new(
                    Rc::clone(&self.target),
                    self.template.clone(),
                    plan.connect_timeout,
                    plan.patience,
                    PAGE_BYTES as u64,
                );
                Reader::Listing { client: Box::new(client), listing: None }
            }
        }
    }

    /// Goes to the page of a marker; `None` stands for the first.
    fn enter(&self, reader: &mut Reader, marker: Option<String>) -> Result<(), Error> {
        match reader {
            Reader::Listing { listing, .. } => {
                let (api, base) = (self.plan.api.clone(), self.plan.url.base.as_str());
                *listing = Some(Box::new(Listing::enter(api, base, marker)));
            }
            Reader::List { path, list } => {
                let pattern = Some(self.record.pattern());
                let opened = FailedList::open(path, marker.as_deref(), pattern)?;
                *list = Some(Box::new((opened, marker)));
            }
        }
        Ok(())
    }

    /// Reads the page where the reader is; `None` behind the last.
    async fn read(&self, reader: &mut Reader) -> Result<Option<Sheet>, Error> {
        match reader {
            Reader::Listing { client, listing } => {
                let Some(listing) = listing else { return Ok(None) };
                let Some(path) = listing.request() else { return Ok(None) };
                let asked = listing.marker().map(str::to_owned);
                let names = self.page(client, listing, &path).await?;
                let next = listing.marker().map(str::to_owned);
                Ok(Some(Sheet { names, asked, next }))
            }
            Reader::List { list, .. } => {
                let Some(taken) = list.take() else { return Ok(None) };
                let (mut open, asked) = *taken;
                let (names, next) = open.page()?;
                if next.is_some() {
                    *list = Some(Box::new((open, next.clone())));
                }
                Ok(Some(Sheet { names, asked, next }))
            }
        }
    }

    /// Reads pages from `place` to the end.
    async fn pages(&self, reader: &mut Reader, mut place: Place) -> Result<(), Error> {
        self.enter(reader, place.marker.clone())?;
        while let Some(Sheet { mut names, asked, next }) = self.read(reader).await? {
            if !self.record.has_begun() {
                // The source is there: now the destination is this run's.
                self.record.begin(&self.sinks)?;
            }
            self.report.pages.fetch_add(1, Ordering::Relaxed);
            let skip = std::mem::take(&mut place.skip).min(names.len() as u64);
            let listed = self.report.listed.load(Ordering::Acquire);
            let room = self.plan.limit.map_or(u64::MAX, |limit| limit.saturating_sub(listed));
            let count = (names.len() as u64 - skip).min(room);
            names.truncate(usize::try_from(skip + count).unwrap_or(usize::MAX));
            if let Some(log) = self.record.listing() {
                let page = Page {
                    first: place.next,
                    count,
                    skipped: skip,
                    fingerprint: fingerprint(&names, skip),
                    marker: asked.as_deref(),
                    next: next.as_deref(),
                };
                log.page(&page).map_err(unrecorded)?;
            }
            if !self.hand_out(names, &place, skip, count).await? || self.control.stopping() {
                return Ok(());
            }
            place.next += count;
            if count == room {
                if let Some(log) = self.record.listing() {
                    log.end(false).map_err(unrecorded)?;
                }
                break;
            }
        }
        self.report.listing_done.store(true, Ordering::Release);
        Ok(())
    }

    /// Puts the names of a page into the queue, from `skip` on. `false` when nobody takes them any
    /// more.
    async fn hand_out(
        &self,
        names: Names,
        place: &Place,
        skip: u64,
        count: u64,
    ) -> Result<bool, Error> {
        // Small enough that every core gets some of a short listing.
        let size = lease_size(names.len(), self.plan.cores);
        let first = place.next.wrapping_sub(skip);
        if skip == 0 && place.known.is_none() {
            for lease in Lease::cut(names, first, size) {
                if !self.send(lease).await {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let end = skip + count;
        let mut picks: Vec<_> = (skip..end).filter_map(|index| u32::try_from(index).ok()).collect();
        if let Some(known) = &place.known {
            let stored = self.take_known(known, &names, &mut picks, first)?;
            self.report.listed.fetch_add(stored, Ordering::Release);
            self.report.skipped.fetch_add(stored, Ordering::Release);
        }
        for lease in Lease::cut_picks(names, picks, first, size) {
            if !self.send(lease).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn send(&self, lease: Lease) -> bool {
        // Counted before it can be fetched, so that no one sees more stored than listed.
        let len = lease.len() as u64;
        self.report.listed.fetch_add(len, Ordering::Release);
        let sent = self.queue.send(lease).await.is_ok();
        if !sent {
            self.report.listed.fetch_sub(len, Ordering::Release);
        }
        sent
    }

    /// One page, asked for again while the failure may pass. Like an object, it is not blamed for
    /// an outage, once the source has answered at all.
    async fn page(
        &self,
        client: &mut Client,
        listing: &mut Listing,
        path: &[u8],
    ) -> Result<Names, Error> {
        let mut began = Instant::now();
        let mut attempts = 0;
        loop {
            let trial = self.wait_for_origin(listing.pages() == 0).await;
            let sent = Instant::now();
            let answer = client.get(path).await;
            let now = Instant::now();
            let failure = match answer {
                Ok(fetched) => match Failure::of_status(fetched.status) {
                    None => {
                        if trial {
                            self.origin.probe_answered(sent, now, &Probe::Trial);
                        }
                        match listing.accept(&fetched.body) {
                            Ok(names) => return Ok(names),
                            Err(error) => return Err(self.not_a_listing(path, &fetched, &error)),
                        }
                    }
                    Some(failure) if !failure.retry() => {
                        return Err(self.refused(path, &fetched, failure, listing.pages() == 0));
                    }
                    Some(failure) => {
                        if let Some(pause) = fetched.retry_after {
                            self.origin.pause(now, pause, failure);
                        }
                        failure
                    }
                },
                // At the first contact nobody listening is a wrong address, not bad luck.
                Err(failure)
                    if !failure.retry()
                        || (listing.pages() == 0 && failure.class == FailureClass::Connect) =>
                {
                    return Err(self.unreachable(path, failure));
                }
                Err(failure) => failure,
            };
            if trial {
                self.origin.probe_failed(sent, now, &Probe::Trial);
            }
            attempts += 1;
            let random =
                u64::from(std::process::id()) << 32 | u64::from(began.elapsed().subsec_nanos());
            let random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let wait = self.plan.retry.wait(attempts, began.elapsed(), random);
            if wait.is_none() && (listing.pages() == 0 || !self.is_outage(sent, now, failure).await)
            {
                return Err(self.unreachable(path, failure));
            }
            if wait.is_none() {
                (attempts, began) = (0, Instant::now());
            }
            tokio::time::sleep(wait.unwrap_or_default()).await;
            if self.control.stopping() {
                return Err(self.unreachable(path, failure));
            }
        }
    }

    /// Whether the origin was down when a page failed for the last time that it may. Where that
    /// is not known, the cores' probe tells.
    async fn is_outage(&self, sent: Instant, failed: Instant, failure: Failure) -> bool {
        loop {
            match self.origin.fault(sent, failed) {
                Fault::Origin => return true,
                Fault::Object => return false,
                Fault::Unknown => self.origin.suspect(failed, Instant::now(), failure),
            }
            if !self.origin.has_reference() || self.control.stopping() {
                return true;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// The listing waits like every other request. True if it goes as the probe: while nothing
    /// was fetched, the cores may have nothing to ask for.
    async fn wait_for_origin(&self, first: bool) -> bool {
        loop {
            let now = Instant::now();
            let free = match first {
                true => self.origin.paused_for(now).is_zero(),
                false => self.origin.flows(now),
            };
            if free || self.control.stopping() {
                return false;
            }
            if !first && !self.origin.has_reference() && self.origin.probe(now, true).is_some() {
                return true;
            }
            // In steps, so that a wish to stop is heard.
            tokio::time::sleep(TICK).await;
        }
    }

    /// The address for people, without the query of `--list-path`: it may be signed.
    fn shown(&self, path: &[u8]) -> String {
        let path = String::from_utf8_lossy(path);
        let path = match self.plan.api.list_path.split_once('?') {
            Some((_, query)) => path.replacen(&format!("?{query}"), "?...", 1),
            None => path.into_owned(),
        };
        format!("{}{path}", self.plan.url.origin)
    }

    fn unreachable(&self, path: &[u8], failure: Failure) -> Error {
        let error = Error::environment(self.shown(path), "cannot read the listing").why(failure);
        match failure.class {
            FailureClass::Connect => {
                error.hint("is the server running, and on this port? `windrow serve` starts one")
            }
            _ => error,
        }
    }

    /// The server answered, but with a status that no other attempt will change.
    fn refused(&self, path: &[u8], fetched: &Fetched, failure: Failure, first: bool) -> Error {
        let error = Error::usage(self.shown(path), "cannot read the listing").why(failure);
        let error = match (failure.class, &fetched.location) {
            (FailureClass::Redirect, Some(location)) => {
                return error.hint(format!(
                    "the server points to `{}`: give that address as SOURCE",
                    without_secrets(location).escape_debug()
                ));
            }
            _ => error,
        };
        match failure.class {
            FailureClass::NotFound if first => error.hint(
                "SOURCE is a server with a listing; where its paths differ, say so: \
                 --list-path /list --get-path /get/{name}",
            ),
            FailureClass::Forbidden => {
                error.hint("does it want a key? --header 'Authorization: ...' sends one")
            }
            _ => error,
        }
    }

    /// The server answered with something that is no page.
    fn not_a_listing(&self, path: &[u8], fetched: &Fetched, error: &ListingError) -> Error {
        let begin = String::from_utf8_lossy(&fetched.body[..fetched.body.len().min(30)]);
        let kind = fetched.content_type.as_deref().unwrap_or("no content type");
        let fields = (&self.plan.api.names_field, self.plan.api.marker_fields.join("` or `"));
        let hint = if error.is_paging() {
            format!(
                "the server's paging is broken, or it wants the marker in another parameter than \
                 `{}`: --marker-param",
                self.plan.api.marker_param
            )
        } else {
            format!(
                "asked for JSON with names in `{}` and the next marker in `{}`, got {} that begins \
                 with `{}`; --names-field, --marker-field and --list-path say what your server has",
                fields.0,
                fields.1,
                kind.escape_debug(),
                begin.escape_debug()
            )
        };
        Error::usage(self.shown(path), "not a listing").why(error).hint(hint)
    }
}

/// Small enough that every core gets some of a short page.
fn lease_size(names: usize, cores: usize) -> usize {
    names.div_ceil(cores * 4).clamp(16, LEASE_TASKS)
}

/// Tells whether a page's names, from `skip` on, are what they were.
fn fingerprint(names: &Names, skip: u64) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for name in names.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
        hash.update(&(name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    hash.digest128()
}

fn unrecorded(errno: Errno) -> Error {
    Error::environment(".windrow/ledger", "cannot write").why(std::io::Error::from(errno))
}

/// An address without what may be secret in it: user, query, fragment.
fn without_secrets(address: &str) -> String {
    let plain = address.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("//") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}//{host}{path}")
        }
        None => plain.to_owned(),
    }
}
