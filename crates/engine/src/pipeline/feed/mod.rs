//! Reads the listing and fills the queue of leases, as far ahead as the queue allows.
//!
//! A run that is resumed asks first for those pages again that have something left to do, then
//! goes on where the listing was left.

mod bucket;
mod inventory;
mod list;
mod server;

use super::known::Known;
use super::plan::{NamesFrom, Only, Plan, Source};
use super::record::Record;
use crate::ledger::frame::Page;
use crate::ledger::{PageRecord, Past};
use crate::report::Report;
use crate::rt::{Control, Stop};
use crate::schedule::Origin;
use crate::sink::Sinks;
use crate::source::list::Naming;
use crate::wire::Target;
use crate::wire::h1::Template;
use async_channel::Sender;
use bucket::BucketReader;
use inventory::InventoryReader;
use list::{FailedReader, KeyReader, ListReader};
use rustix::io::Errno;
use server::{Askers, ServerReader};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use windrow_model::limits::LEASE_TASKS;
use windrow_model::task::Names;
use windrow_model::{Error, Lease, Ordinal, Sheet};

pub(super) struct Feed {
    pub(super) plan: Arc<Plan>,
    pub(super) record: Arc<Record>,
    pub(super) sinks: Sinks,
    /// For a source that is a server.
    pub(super) lister: Option<Lister>,
    /// For an inventory that is at another server than its objects.
    pub(super) library: Option<Lister>,
    pub(super) queue: Sender<Lease>,
    pub(super) report: Arc<Report>,
    pub(super) control: Arc<Control>,
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

/// What the pages are read from.
enum Reader {
    Server(Box<ServerReader>),
    Bucket(Box<BucketReader>),
    Failed(Box<FailedReader>),
    Keys(Box<KeyReader>),
    Inventory(Box<InventoryReader>),
    List(Box<ListReader>),
}

impl Reader {
    /// Goes to the page of a marker; `None` stands for the first.
    async fn enter(&mut self, marker: Option<String>) -> Result<(), Error> {
        match self {
            Self::Server(reader) => reader.enter(marker),
            Self::Bucket(reader) => reader.enter(marker),
            Self::Failed(reader) => reader.enter(marker)?,
            Self::Keys(reader) => reader.enter(marker)?,
            Self::Inventory(reader) => reader.enter(marker).await?,
            Self::List(reader) => reader.enter(marker).await?,
        }
        Ok(())
    }

    /// Reads the page where the reader is; `None` behind the last.
    async fn read(&mut self) -> Result<Option<Read>, Error> {
        match self {
            Self::Server(reader) => reader.read().await,
            Self::Bucket(reader) => reader.read().await,
            Self::Failed(reader) => reader.read(),
            Self::Keys(reader) => reader.read(),
            Self::Inventory(reader) => reader.read().await,
            Self::List(reader) => reader.read().await,
        }
    }

    /// Objects that filters left out since the last call.
    fn take_left_out(&mut self) -> u64 {
        match self {
            Self::Bucket(reader) => reader.take_left_out(),
            Self::Inventory(reader) => reader.take_left_out(),
            _ => 0,
        }
    }
}

/// A page.
struct Read {
    sheet: Sheet,
    /// The marker that it was asked for with.
    asked: Option<String>,
    /// The marker of the page behind it.
    next: Option<String>,
}

/// What a core has that reads a listing of its server.
pub(super) struct Lister {
    pub(super) target: Rc<Target>,
    pub(super) template: Template,
    pub(super) origin: Arc<Origin>,
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
        if let Source::List(list) = &self.plan.source
            && list.is_stream()
            && !(past.pages.open.is_empty() && past.pages.end.is_some())
        {
            // What is read only once is read from its beginning, and goes by name.
            if self.plan.only != Only::All {
                return Err(Error::usage("--only", "needs a list that can be read twice")
                    .hint("give standard input as a file"));
            }
            return self.relist_from(0, None).map(Some);
        }
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
            reader.enter(page.marker.clone()).await?;
            let Some(read) = reader.read().await? else { return self.relist(page).map(Some) };
            let mut sheet = read.sheet;
            let taken = page.skipped + page.count;
            sheet.names.truncate(usize::try_from(taken).unwrap_or(usize::MAX));
            if sheet.names.len() as u64 != taken
                || fingerprint(&sheet, page.skipped) != page.fingerprint
            {
                return self.relist(page).map(Some);
            }
            let first = page.first.wrapping_sub(page.skipped);
            if anew.is_some_and(|from| page.first >= from) {
                let known = match &mut known {
                    Some(known) => known,
                    None => known.insert(self.known(past)?),
                };
                let stored = self.take_known(known, &sheet.names, &mut picks, first)?;
                self.report.unhanded.fetch_sub(stored, Ordering::AcqRel);
                self.report.skipped.fetch_add(stored, Ordering::Release);
            }
            self.note_reference(page, &sheet.names);
            let size = lease_size(picks.len(), self.plan.cores);
            for lease in Lease::cut_picks(sheet, picks, first, size) {
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
        let Some(Lister { origin, .. }) = &self.lister else { return };
        if origin.has_reference() {
            return;
        }
        let Some(past) = self.record.past() else { return };
        let stored = page.range().find(|&ordinal| past.state.stored.contains(ordinal));
        let index = stored.map(|ordinal| ordinal - page.first + page.skipped);
        let name = index.and_then(|index| names.get(usize::try_from(index).ok()?));
        if let Some(name) = name {
            origin.note(name);
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
        if let Source::List(list) = &self.plan.source
            && list.naming == Naming::Ordinal
            && list.name_col.is_none()
        {
            return Err(Error::usage(self.plan.source(), "is not the list that it was").hint(
                "with --name ordinal objects are known by their places in it: begin anew with \
                 --fresh, or in another DEST",
            ));
        }
        // Pages that were found by counting have no place in another list.
        let (first, marker) = match self.plan.resume_by_name {
            true => (0, None),
            false => (page.first, page.marker.as_deref()),
        };
        let place = self.relist_from(first, marker)?;
        self.report.note(format!(
            "the {} changed since the earlier run: it is read again from object {first} on, and \
             what is stored under the same name is skipped",
            if self.lister.is_some() { "listing" } else { "list" }
        ));
        Ok(place)
    }

    /// From `first` on, that is at `marker`, everything is listed anew, and goes by name.
    fn relist_from(&self, first: Ordinal, marker: Option<&str>) -> Result<Place, Error> {
        let Some(past) = self.record.past() else { return Ok(Place::default()) };
        let next = past.pages.next;
        let known = self.known(past)?;
        if let Some(log) = self.record.listing() {
            log.relist(first, next, marker).map_err(unrecorded)?;
        }
        // What was listed there and is not stored is forgotten.
        let forgotten = past.pages.unsettled(first..next, &past.state);
        self.report.listed.fetch_sub(forgotten, Ordering::AcqRel);
        let mut unhanded = forgotten;
        for (class, failed) in &past.state.failed {
            // Those that stay failed are not among the unhanded, and are taken back too.
            let stay = failed - &past.reopen;
            let count = stay.range_cardinality(first..next);
            self.report.forget_failed(*class, count);
            unhanded -= count;
        }
        self.report.unhanded.fetch_sub(unhanded, Ordering::AcqRel);
        Ok(Place { marker: marker.map(str::to_owned), skip: 0, next, known: Some(known) })
    }

    /// What reads the source, not at any place yet.
    fn reader(&self) -> Reader {
        let (plan, control) = (&self.plan, &self.control);
        match (&plan.source, &self.lister) {
            (Source::List(list), _) => {
                let reader = ListReader::new(list, plan.resume_by_name);
                Reader::List(Box::new(reader))
            }
            (Source::Server(server), Some(lister)) => match (&server.names, &server.bucket) {
                (NamesFrom::Keys(path), _) => Reader::Keys(Box::new(KeyReader::new(path))),
                (NamesFrom::Inventory(inventory), bucket) => {
                    let library = self.library.as_ref().unwrap_or(lister);
                    let askers = Askers::new(plan, server, library, control);
                    let bucket = bucket.clone().unwrap_or_default();
                    let reader = InventoryReader::new(inventory, &bucket, &askers, &self.record);
                    Reader::Inventory(Box::new(reader))
                }
                (NamesFrom::Failed(path), _) => {
                    let reader = FailedReader::new(path, self.record.pattern());
                    Reader::Failed(Box::new(reader))
                }
                (NamesFrom::Listing, bucket) => {
                    let askers = Askers::new(plan, server, lister, control);
                    match bucket {
                        None => Reader::Server(Box::new(ServerReader::new(&askers))),
                        Some(bucket) => {
                            let began = self.record.began();
                            let reader = BucketReader::new(askers, bucket, plan.listers, began);
                            Reader::Bucket(Box::new(reader))
                        }
                    }
                }
            },
            (Source::Server(_), None) => unreachable!("a server is read by what connects to it"),
        }
    }

    /// Reads pages from `place` to the end, and says what was left out.
    async fn pages(&self, reader: &mut Reader, place: Place) -> Result<(), Error> {
        reader.take_left_out();
        let read = self.all_pages(reader, place).await;
        let objects = reader.take_left_out();
        if objects > 0 {
            self.report.note(format!("{objects} objects were left out by filters"));
        }
        read
    }

    async fn all_pages(&self, reader: &mut Reader, mut place: Place) -> Result<(), Error> {
        reader.enter(place.marker.clone()).await?;
        // Whether the page before said that another one follows.
        let mut open = false;
        loop {
            let Some(Read { mut sheet, asked, next }) = reader.read().await? else {
                // The end of a pipe shows only behind it.
                if open && let Some(log) = self.record.listing() {
                    log.end(true).map_err(unrecorded)?;
                }
                break;
            };
            open = next.is_some();
            if !self.record.has_begun() {
                // The source is there: now the destination is this run's.
                self.record.begin(&self.sinks)?;
            }
            self.report.pages.fetch_add(1, Ordering::Relaxed);
            let skip = std::mem::take(&mut place.skip).min(sheet.names.len() as u64);
            let listed = self.report.listed.load(Ordering::Acquire);
            let room = self.plan.limit.map_or(u64::MAX, |limit| limit.saturating_sub(listed));
            let count = (sheet.names.len() as u64 - skip).min(room);
            sheet.names.truncate(usize::try_from(skip + count).unwrap_or(usize::MAX));
            if let Some(log) = self.record.listing() {
                let page = Page {
                    first: place.next,
                    count,
                    skipped: skip,
                    fingerprint: fingerprint(&sheet, skip),
                    marker: asked.as_deref(),
                    next: next.as_deref(),
                };
                log.page(&page).map_err(unrecorded)?;
            }
            if !self.hand_out(sheet, &place, skip, count).await? || self.control.stopping() {
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
        sheet: Sheet,
        place: &Place,
        skip: u64,
        count: u64,
    ) -> Result<bool, Error> {
        // Small enough that every core gets some of a short listing.
        let size = lease_size(sheet.names.len(), self.plan.cores);
        let first = place.next.wrapping_sub(skip);
        if skip == 0 && place.known.is_none() {
            for lease in Lease::cut(sheet, first, size) {
                if !self.send(lease).await {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let end = skip + count;
        let mut picks: Vec<_> = (skip..end).filter_map(|index| u32::try_from(index).ok()).collect();
        if let Some(known) = &place.known {
            let stored = self.take_known(known, &sheet.names, &mut picks, first)?;
            self.report.listed.fetch_add(stored, Ordering::Release);
            self.report.skipped.fetch_add(stored, Ordering::Release);
        }
        for lease in Lease::cut_picks(sheet, picks, first, size) {
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
}

/// Small enough that every core gets some of a short page.
fn lease_size(names: usize, cores: usize) -> usize {
    names.div_ceil(cores * 4).clamp(16, LEASE_TASKS)
}

/// Tells whether a page, from `skip` on, is what it was: its names, and where they are but for
/// queries, which may be signed anew.
fn fingerprint(sheet: &Sheet, skip: u64) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let mut add = |part: &[u8]| {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    for name in sheet.names.iter().skip(skip) {
        add(name);
    }
    if let Some(details) = &sheet.details {
        for target in details.targets.iter().take(sheet.names.len()).skip(skip) {
            add(target.split(|&b| b == b'?').next().unwrap_or_default());
        }
    }
    hash.digest128()
}

fn unrecorded(errno: Errno) -> Error {
    Error::environment(".windrow/ledger", "cannot write").why(std::io::Error::from(errno))
}
