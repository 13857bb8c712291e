//! Joins the ledger with the rest: which run this is, what is known of it, and the books of the
//! cores.

use super::plan::{NamesFrom, Only, Plan, Server, Source};
use super::worker::Route;
use crate::disk::{Dir, Disk, Synced};
use crate::ledger::{self, CoreLedger, Failed, FailureLog, Ledger, ListingLog, Past, State};
use crate::report::Before;
use crate::shard::Division;
use crate::sink::{Book, Destination, Format, PackRecord, RunFile, Sinks, tidy};
use crate::source::Pattern;
use crate::source::inventory::Whereabouts;
use crate::transform::Chain;
use roaring::RoaringTreemap;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;
use windrow_model::percent::{self, Keep};
use windrow_model::{Batch, Error, FailedObject, Failure, InPack, Ordinal};

/// The record of a run, from before its first request on.
#[derive(Debug)]
pub(super) struct Record {
    dest: Arc<Destination>,
    run: RunFile,
    /// What earlier processes did; `None` where this is the first.
    past: Option<Past>,
    format: Format,
    cores: usize,
    /// Where all objects are at one server.
    urls: Option<Urls>,
    opened: OnceLock<Opened>,
}

struct Opened {
    /// `None` where nothing is recorded.
    listing: Option<Arc<ListingLog>>,
    failures: Arc<FailureLog>,
    cores: Mutex<Vec<Option<CoreLedger>>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

/// How the address of an object is told, without secrets.
#[derive(Debug)]
struct Urls {
    before: String,
    behind: String,
    keep: Keep,
}

impl Record {
    /// Finds out whether there is a run to go on with.
    ///
    /// # Errors
    /// The destination holds another run, or one whose ledger is damaged.
    pub(super) fn new(
        plan: &Plan,
        route: Option<&Route>,
        dest: Arc<Destination>,
    ) -> Result<Self, Error> {
        let mut own = run_file(plan);
        let earlier = dest.earlier().filter(|_| !plan.fresh);
        // What throws bodies away leaves nothing to go on with.
        let earlier = earlier.filter(|earlier| earlier.format != Format::Null.name());
        let past = match earlier {
            None => None,
            Some(earlier) => {
                let mut known = run_file(plan);
                // What was new then stays in: pages are to be what they were.
                if let Some(began) = earlier.details.get(BEGAN) {
                    for run in [&mut own, &mut known] {
                        run.details.insert(BEGAN.to_owned(), began.clone());
                    }
                }
                if plan.resume_by_name {
                    // The list was signed anew: perhaps it is another file.
                    known.source.clone_from(&earlier.source);
                }
                if let Some(difference) = known.difference(earlier) {
                    let hint = match &plan.source {
                        Source::List(_) if known.source != earlier.source => {
                            "if that list was made anew, --resume-by name goes on with it; else \
                             choose another directory, or add --fresh to forget that run"
                        }
                        _ => {
                            "choose another directory, or add --fresh to forget that run and \
                             begin from nothing"
                        }
                    };
                    return Err(Error::usage(
                        dest.path().display().to_string(),
                        "holds an earlier run",
                    )
                    .why(difference)
                    .hint(hint));
                }
                own.run.clone_from(&earlier.run);
                let number = earlier.number().unwrap_or_default();
                Some(ledger::load(&*dest.disk(), number, &|state| wanted(state, &plan.only))?)
            }
        };
        if past.is_none() && plan.only != Only::All {
            return Err(Error::usage("--only", "there is no earlier run in DEST")
                .hint("leave it out to fetch everything"));
        }
        let urls = match (plan.source.server(), route) {
            (Some(server), Some(route)) => Some(Urls::of(server, route)),
            _ => None,
        };
        let (format, cores) = (plan.format, plan.cores);
        Ok(Self { dest, run: own, past, format, cores, urls, opened: OnceLock::new() })
    }

    /// The record of a destination that a program writes; goes on with what is there if that is the
    /// same run.
    ///
    /// # Errors
    /// The destination holds another run, or one whose ledger is damaged.
    pub(super) fn take_up(
        dest: Arc<Destination>,
        mut run: RunFile,
        format: Format,
        fresh: bool,
    ) -> Result<Self, Error> {
        let past = match dest.earlier().filter(|_| !fresh) {
            None => None,
            Some(earlier) => {
                if let Some(difference) = run.difference(earlier) {
                    let subject = dest.path().display().to_string();
                    let error = Error::usage(subject, "holds an earlier run").why(difference);
                    return Err(error.hint("choose another directory, or add --fresh"));
                }
                run.run.clone_from(&earlier.run);
                let number = earlier.number().unwrap_or_default();
                Some(ledger::load(&*dest.disk(), number, &|_| RoaringTreemap::new())?)
            }
        };
        Ok(Self { dest, run, past, format, cores: 1, urls: None, opened: OnceLock::new() })
    }

    /// When the run began, by its first process, in seconds since 1970; 0 where that decides nothing.
    pub(super) fn began(&self) -> u64 {
        self.run.details.get(BEGAN).and_then(|began| began.parse().ok()).unwrap_or(0)
    }

    /// What earlier processes did; `None` where this is the first.
    pub(super) fn past(&self) -> Option<&Past> {
        self.past.as_ref()
    }

    /// What the addresses of this run's objects look like, secrets cut.
    pub(super) fn pattern(&self) -> Pattern {
        let (before, behind, keep) = match &self.urls {
            Some(Urls { before, behind, keep }) => (before.clone(), behind.clone(), *keep),
            None => (String::new(), String::new(), Keep::UNRESERVED),
        };
        Pattern { before, behind, keep }
    }

    /// The directory for what has no name yet.
    pub(super) fn work(&self) -> PathBuf {
        self.dest.path().join(".windrow/open")
    }

    /// The destination's directories.
    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        self.dest.disk()
    }

    /// What they came to.
    pub(super) fn before(&self) -> Before {
        let Some(past) = &self.past else { return Before::default() };
        let mut before = Before {
            listed: past.listed(),
            stored: past.state.stored.len(),
            skipped: past.state.skipped.len(),
            bytes: past.state.bytes,
            pages: past.pages.count,
            ..Before::default()
        };
        for (class, failed) in &past.state.failed {
            before.failed[*class as usize] = failed.len() - (failed & &past.reopen).len();
        }
        before
    }

    /// Begins to record: in a new ledger, or behind the end of the old one.
    ///
    /// # Errors
    /// The environment's, or packs are not as the ledger says.
    pub(super) fn begin(&self, sinks: &Sinks) -> Result<(), Error> {
        let disk = self.dest.disk();
        let shown = self.dest.path().display().to_string();
        match &self.past {
            None => self.dest.begin(&self.run, |old| named_packs(&*disk, old))?,
            Some(_) => self.dest.go_on(),
        }
        let wrong = |errno: Errno| {
            let why = std::io::Error::from(errno);
            Error::environment(format!("{shown}/.windrow/ledger"), "cannot write").why(why)
        };
        if self.format == Format::Null {
            let failures = Arc::new(FailureLog::open(&*disk).map_err(wrong)?);
            let cores = Mutex::new(Vec::new());
            let _ = self.opened.set(Opened { listing: None, failures, cores });
            return Ok(());
        }
        let fresh = Past::default();
        let past = self.past.as_ref().unwrap_or(&fresh);
        let number = self.run.number().unwrap_or_default();
        let ledger = Ledger::open(&*disk, number, self.cores, past).map_err(wrong)?;
        // Only now that what is recorded is durable may packs get their names: a pack under its
        // name that no record knows would stay for ever.
        let packs: BTreeMap<u32, PackRecord> = past
            .state
            .packs
            .iter()
            .map(|(&number, pack)| {
                let (len, objects, full) = (pack.len, pack.objects, pack.full);
                (number, PackRecord { len, objects, full })
            })
            .collect();
        if let Some(kind) = self.format.packs() {
            let unfinished = tidy(&*disk, kind, &packs, sinks.depot(), &shown)?;
            sinks.go_on(packs.last_key_value().map_or(0, |(&last, _)| last + 1), &unfinished);
        }
        let _ = self.opened.set(Opened {
            listing: Some(ledger.listing),
            failures: ledger.failures,
            cores: Mutex::new(ledger.cores.into_iter().map(Some).collect()),
        });
        Ok(())
    }

    /// Number of the run.
    pub(super) fn number(&self) -> u64 {
        self.run.number().unwrap_or_default()
    }

    /// Whether [`Record::begin`] was called.
    pub(super) fn has_begun(&self) -> bool {
        self.opened.get().is_some()
    }

    /// After [`Record::begin`] failed: objects and bytes that were taken for stored, and are not
    /// recorded any more.
    pub(super) fn lost(&self) -> (u64, u64) {
        let Some(past) = &self.past else { return (0, 0) };
        let number = self.run.number().unwrap_or_default();
        match ledger::load(&*self.dest.disk(), number, &|_| RoaringTreemap::new()) {
            Ok(now) => (
                past.state.stored.len().saturating_sub(now.state.stored.len()),
                past.state.bytes.saturating_sub(now.state.bytes),
            ),
            // What cannot be read is not known to be stored.
            Err(_) => (past.state.stored.len(), past.state.bytes),
        }
    }

    /// The listing's record, from [`Record::begin`] on; `None` where nothing is recorded.
    pub(super) fn listing(&self) -> Option<&ListingLog> {
        self.opened.get()?.listing.as_deref()
    }

    /// Writes the line of an object that failed.
    ///
    /// # Errors
    /// The environment's.
    pub(super) fn failed(
        &self,
        ordinal: Ordinal,
        name: &[u8],
        place: Place<'_>,
        attempts: u32,
        failure: Failure,
        why: Option<&str>,
    ) -> Result<(), Errno> {
        let Some(opened) = self.opened.get() else { return Err(Errno::NODATA) };
        let url = match (&self.urls, place) {
            (Some(urls), _) => urls.url(name),
            (None, Place::Url(url)) => url.to_owned(),
            (None, Place::Line(_) | Place::Unknown) => String::new(),
        };
        let line = match place {
            Place::Line(line) => Some(line),
            _ => None,
        };
        opened.failures.record(Failed { ordinal, name, url: &url, line, attempts, failure, why })
    }

    /// Appends the address of an object, secrets cut, where all are at one server.
    pub(super) fn url_into(&self, name: &[u8], url: &mut String) {
        if let Some(urls) = &self.urls {
            urls.url_into(name, url);
        }
    }

    /// Hands the lines of failures to the disk.
    ///
    /// # Errors
    /// The environment's.
    pub(super) fn flush(&self) -> Result<(), Errno> {
        self.opened.get().map_or(Ok(()), |opened| opened.failures.sync())
    }
}

/// Where an object is, as far as the source's one server does not say it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'p> {
    /// At this address, secrets cut.
    Url(&'p str),
    /// At none: the line with this number is malformed.
    Line(u64),
    /// Nobody knows here.
    Unknown,
}

impl Urls {
    fn of(server: &Server, route: &Route) -> Self {
        let secret_free = |part: &[u8]| {
            let part = String::from_utf8_lossy(part).into_owned();
            // What a query holds may be a secret; what stands there for the name is not.
            match part.split_once('?') {
                Some((path, query)) => {
                    let kept: Vec<_> = query.split('&').map(cut_value).collect();
                    format!("{path}?{}", kept.join("&"))
                }
                None => part,
            }
        };
        let behind = String::from_utf8_lossy(&route.behind).into_owned();
        let behind = match (route.before.contains(&b'?'), behind.split_once('&')) {
            (true, Some((own, query))) => {
                let kept: Vec<_> = query.split('&').map(cut_value).collect();
                format!("{own}&{}", kept.join("&"))
            }
            _ => secret_free(behind.as_bytes()),
        };
        Self {
            before: format!("{}{}", server.url.origin, secret_free(&route.before)),
            behind,
            keep: route.keep,
        }
    }

    fn url(&self, name: &[u8]) -> String {
        let mut url = String::new();
        self.url_into(name, &mut url);
        url
    }

    fn url_into(&self, name: &[u8], url: &mut String) {
        let mut bytes = std::mem::take(url).into_bytes();
        bytes.extend_from_slice(self.before.as_bytes());
        percent::encode_into(name, &self.keep, &mut bytes);
        bytes.extend_from_slice(self.behind.as_bytes());
        // What is encoded is ASCII.
        *url = String::from_utf8(bytes).unwrap_or_default();
    }
}

/// `key=value` without the value; `key=` stays, the name comes behind it.
fn cut_value(pair: &str) -> String {
    match pair.split_once('=') {
        Some((key, value)) if !value.is_empty() => format!("{key}=***"),
        _ => pair.to_owned(),
    }
}

/// The packs that a run gave their names; `None` where its ledger cannot tell.
fn named_packs(disk: &dyn Disk, run: &RunFile) -> Option<BTreeSet<u32>> {
    let past = ledger::load(disk, run.number()?, &|_| RoaringTreemap::new()).ok()?;
    let open = disk.list(Dir::Open).ok()?;
    let format = Format::ALL.into_iter().find(|format| format.name() == run.format)?;
    let kind = format.packs()?;
    let named = |number: u32| !open.contains(&kind.file_name(number));
    let full = past.state.packs.iter().filter(|(_, pack)| pack.full);
    Some(full.map(|(&number, _)| number).filter(|&number| named(number)).collect())
}

/// Which failures are to be tried again.
fn wanted(state: &State, only: &Only) -> RoaringTreemap {
    let mut set = RoaringTreemap::new();
    for (class, failed) in &state.failed {
        let again = match only {
            Only::All => true,
            Only::Pending => false,
            Only::Failed(classes) => classes.is_empty() || classes.contains(class),
        };
        if again {
            set |= failed;
        }
    }
    set
}

/// When the run began, where filters go by ages.
const BEGAN: &str = "began";

/// What makes this run this run.
fn run_file(plan: &Plan) -> RunFile {
    let details = match &plan.source {
        Source::Server(server) if server.bucket.is_some() => {
            let after = server.bucket.as_ref().and_then(|bucket| bucket.start_after.clone());
            let keys = match &server.names {
                NamesFrom::Keys(path) => shown_path(path),
                _ => String::new(),
            };
            let mut details = vec![
                ("endpoint", server.url.to_string()),
                ("start-after", after.unwrap_or_default()),
                ("keys", keys),
            ];
            if let NamesFrom::Inventory(inventory) = &server.names {
                let manifest = match &inventory.manifest {
                    Whereabouts::File(path) => shown_path(path),
                    object @ Whereabouts::Object { .. } => object.to_string(),
                };
                details.push(("inventory", manifest));
            }
            if let Some(filter) = server.bucket.as_ref().map(|bucket| &bucket.filter)
                && !filter.is_empty()
            {
                details.push(("filter", filter.to_string()));
                if filter.has_ages() {
                    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                    details.push((BEGAN, since.map_or(0, |since| since.as_secs()).to_string()));
                }
            }
            details
        }
        Source::Server(server) => {
            let api = &server.api;
            vec![
                ("list-path", without_query(&api.list_path)),
                ("get-path", without_query(&api.get_path)),
                ("names-field", api.names_field.clone()),
                ("marker-field", api.marker_fields.join(",")),
                ("marker-param", api.marker_param.clone()),
            ]
        }
        Source::List(list) => list.describe(),
    };
    let mut details = details;
    if let Some(chain) = &plan.transform {
        details.push(("transform", without_commands(chain)));
    }
    if let Some(remote) = &plan.remote {
        details.push(("into", format!("{} at {}", remote.shown(), remote.url)));
    }
    if let Some(Division { shards, by }) = &plan.division {
        details.push(("shards", format!("{shards} by {by}")));
    }
    let details = details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    RunFile::new(plan.format, plan.source(), details)
}

fn shown_path(path: &Path) -> String {
    match path.as_os_str() == "-" {
        true => "-".to_owned(),
        false => std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string(),
    }
}

/// What a chain does; a command, which may hold a secret, is only told apart from others.
fn without_commands(chain: &Chain) -> String {
    let text = chain.describe();
    match chain.has_commands() {
        false => text,
        true => format!("commands ({:016x})", xxhash_rust::xxh3::xxh3_64(text.as_bytes())),
    }
}

/// A path whose query, which may hold a secret, is only told apart from others.
fn without_query(path: &str) -> String {
    match path.split_once('?') {
        Some((path, query)) => {
            format!("{path}?({:016x})", xxhash_rust::xxh3::xxh3_64(query.as_bytes()))
        }
        None => path.to_owned(),
    }
}

/// One core's book. The ledger is opened when the source has answered, so it is looked for when
/// the first object is recorded.
#[derive(Debug)]
pub(super) struct CoreBook {
    record: Arc<Record>,
    core: usize,
    ledger: Option<CoreLedger>,
}

impl CoreBook {
    pub(super) fn new(record: Arc<Record>, core: usize) -> Self {
        Self { record, core, ledger: None }
    }

    fn ledger(&mut self) -> Result<&mut CoreLedger, Errno> {
        if self.ledger.is_none() {
            let opened = self.record.opened.get().ok_or(Errno::NODATA)?;
            let mut cores = opened.cores.lock().unwrap_or_else(PoisonError::into_inner);
            self.ledger = cores.get_mut(self.core).and_then(Option::take);
        }
        self.ledger.as_mut().ok_or(Errno::NODATA)
    }
}

impl Book for CoreBook {
    fn stored(&mut self, pack: Option<InPack>, batch: &mut Batch) -> Result<(), Errno> {
        self.ledger()?.stored(pack, batch)
    }

    fn failed(&mut self, failures: &mut [FailedObject]) -> Result<(), Errno> {
        self.ledger()?.failed(failures)
    }

    fn rejected(
        &mut self,
        ordinal: Ordinal,
        name: &[u8],
        url: &str,
        failure: Failure,
    ) -> Result<(), Errno> {
        let place = if url.is_empty() { Place::Unknown } else { Place::Url(url) };
        self.record.failed(ordinal, name, place, 1, failure, None)?;
        self.ledger()?.failed(&mut [FailedObject::new(ordinal, failure, 1)])
    }

    fn is_open(&self) -> bool {
        self.ledger.as_ref().is_some_and(CoreLedger::is_open)
    }

    fn commit(&mut self, synced: Synced) -> Result<(), Errno> {
        self.ledger()?.commit(synced)
    }

    fn sealed(&mut self, packs: &[u32]) -> Result<(), Errno> {
        self.ledger()?.sealed(packs)
    }

    fn revoke(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.revoke();
        }
    }

    fn close(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.release();
        }
    }

    fn durable(&self) -> (u64, u64) {
        self.ledger.as_ref().map_or((0, 0), CoreLedger::durable)
    }
}
