//! Sinks: where bodies go.
//!
//! Every core owns one sink, and a thread that writes for it; cores share nothing but the counter
//! of pack numbers, and packs that belong to shards (`shards.rs`).

mod block;
mod book;
pub mod depot;
pub mod dest;
mod errno;
mod files;
mod form;
mod hand;
mod null;
mod pack;
mod records;
mod remote;
mod shards;
#[cfg(test)]
pub(crate) mod simulated;
mod spool;
mod stats;
pub mod tar;
mod writer;

pub use book::Book;
pub use depot::Depot;
pub use dest::{Destination, RunFile};
pub(crate) use files::{Tree, descend};
pub use pack::PackKind;
pub(crate) use pack::tidy;
pub use spool::Spool;

use crate::pack::{Meta, PackOptions};
use crate::shard::Division;
use hand::{CommitSize, Hand, Shared};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use windrow_model::limits::{COMMIT_BYTES, COMMIT_OBJECTS};
use windrow_model::{Error, FailedObject, Failure, FailureClass, Ordinal, Receipt};
use writer::Writer;

/// What a run leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Each object a file.
    Files,
    /// Objects as members of tar files.
    Tar,
    /// Objects as rows of Parquet files.
    Parquet,
    /// Objects as lines of JSON.
    Jsonl,
    /// The same, compressed by zstd.
    JsonlZst,
    /// Objects as records of WARC files, each compressed by gzip.
    Warc,
    /// Nothing: for measuring all but the sink.
    Null,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Files,
        Self::Tar,
        Self::Parquet,
        Self::Jsonl,
        Self::JsonlZst,
        Self::Warc,
        Self::Null,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Tar => "tar",
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
            Self::JsonlZst => "jsonl.zst",
            Self::Warc => "warc",
            Self::Null => "null",
        }
    }

    /// What packs are like; `None` where there are none.
    pub fn packs(self) -> Option<PackKind> {
        let kind = |extension| PackKind { extension, ending: &[] };
        match self {
            Self::Files | Self::Null => None,
            Self::Tar => Some(tar::KIND),
            Self::Parquet => Some(kind("parquet")),
            Self::Jsonl => Some(kind("jsonl")),
            Self::JsonlZst => Some(kind("jsonl.zst")),
            Self::Warc => Some(kind("warc.gz")),
        }
    }
}

/// When a pack is full: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardSize {
    /// Objects.
    pub objects: u64,
    /// Bytes of the file. A pack holds at least one object, however large.
    pub bytes: u64,
}

/// A body to store.
#[derive(Debug)]
pub struct Object<'a> {
    /// The object.
    pub ordinal: Ordinal,
    /// Its name, as the source gave it.
    pub name: &'a [u8],
    /// Its bytes, complete and checked.
    pub body: Body<'a>,
    /// What is known of the answer that brought it, where the form has a place for that.
    pub meta: Option<&'a Meta>,
}

/// Where the bytes of a body are.
#[derive(Debug)]
pub enum Body<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// In a spool file of the same destination.
    Spool(Box<Spool>),
}

impl Body<'_> {
    /// Bytes of the body.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Spool(spool) => spool.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a body was not stored.
#[derive(Debug)]
pub enum SinkError {
    /// This object cannot be stored; others can.
    Object(Failure),
    /// Nothing can be stored any more.
    Run(Error),
}

/// Stores bodies. Not `Send`: a sink lives and dies on its core.
pub trait Sink {
    /// Stores one body. What a receipt names may not be durable yet, and not visible under its
    /// final name until [`Sink::finish`].
    ///
    /// # Errors
    /// See [`SinkError`]; the object was not stored.
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError>;

    /// Records an object that failed for good.
    ///
    /// # Errors
    /// The environment's.
    fn failed(&mut self, failed: FailedObject) -> Result<(), Error>;

    /// Does what is due: to be called some times a second.
    ///
    /// # Errors
    /// The environment's, perhaps of something that was handed over before.
    fn tick(&mut self, now: Instant) -> Result<(), Error>;

    /// Has everything written, named and recorded durably. Nothing is stored after that.
    ///
    /// # Errors
    /// The environment's; then [`Sink::unfinished`] tells what was lost.
    fn finish(&mut self) -> Result<(), Error>;

    /// Objects and bytes that [`Sink::store`] took and that are not durable yet.
    fn unfinished(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Tells of objects that [`Sink::store`] took, and that failed when they were to be written or to get their name:
    /// class, objects, bytes. Each is told of once.
    fn rejected(&mut self, _each: &mut dyn FnMut(FailureClass, u64, u64)) {}
}

/// What is known of a pack that an earlier process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRecord {
    /// Length behind its last recorded object.
    pub len: u64,
    /// Objects recorded in it.
    pub objects: u64,
    /// Nothing more comes into it.
    pub full: bool,
}

/// Packs that earlier processes left unfinished; each core that needs a pack takes one.
#[derive(Debug, Clone, Default)]
pub struct Unfinished(Arc<Mutex<Vec<(u32, PackRecord)>>>);

impl Unfinished {
    fn new(packs: Vec<(u32, PackRecord)>) -> Self {
        Self(Arc::new(Mutex::new(packs)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u32, PackRecord)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next one; of that lane, where packs belong to lanes.
    fn take(&self, lane: Option<&Lane>) -> Option<(u32, PackRecord)> {
        let mut packs = self.lock();
        match lane {
            None => packs.pop(),
            Some(lane) => {
                let at = packs.iter().position(|(number, _)| lane.has(*number))?;
                Some(packs.remove(at))
            }
        }
    }

    /// Whether [`Unfinished::take`] would find one.
    fn has(&self, lane: Option<&Lane>) -> bool {
        self.lock().iter().any(|(number, _)| lane.is_none_or(|lane| lane.has(*number)))
    }

    /// Adds the packs of another list.
    pub fn extend(&self, other: &Self) {
        let mut more = std::mem::take(&mut *other.lock());
        self.lock().append(&mut more);
    }
}

/// How sinks are to work.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Form of the output.
    pub format: Format,
    /// When a pack is full.
    pub size: ShardSize,
    /// What packs tell of their objects.
    pub pack: PackOptions,
    /// Which pack an object goes to, where its content or name decides.
    pub division: Option<Division>,
    /// Number of the run, for what lies beside its packs.
    pub run: u64,
    /// Cores that open a sink.
    pub cores: usize,
    /// Packs are written in blocks of so many bytes, at most; each core has
    /// [`windrow_model::limits::PACK_BLOCKS`] of them.
    pub block_bytes: usize,
    /// Files that wait for their names, in each of
    /// [`windrow_model::limits::HELD_BATCHES`] lists, at most.
    pub held_files: usize,
    /// Full packs that wait for their names, on each core, at most.
    pub held_packs: usize,
    /// Directory handles of each core, at most.
    pub directories: usize,
    /// Time between two commits.
    pub commit_interval: std::time::Duration,
    /// Where objects and packs go that are not for the disk.
    pub remote: Option<Remote>,
}

/// Where objects and packs go that are not for the disk.
#[derive(Debug, Clone)]
pub struct Remote {
    /// What takes them.
    pub depot: Arc<dyn Depot>,
    /// Bytes of bodies that each core may have in memory on their way there.
    pub bytes: u64,
    /// Objects there keep every header line that says something of them, not only their type.
    pub metadata: bool,
}

/// Opens the sinks of a run.
#[derive(Debug, Clone)]
pub struct Sinks {
    dest: Arc<Destination>,
    settings: Settings,
    numbers: PackNumbers,
    unfinished: Unfinished,
    /// How files are made.
    method: files::Method,
    /// Where packs belong to shards.
    groups: Option<Arc<shards::Groups>>,
}

impl Sinks {
    /// Sinks at `dest`.
    ///
    /// # Errors
    /// The destination's file system cannot make files.
    pub fn new(dest: Arc<Destination>, settings: Settings) -> Result<Self, Error> {
        let (numbers, unfinished) = (PackNumbers::default(), Unfinished::default());
        // What a process left that was killed has names that are given again.
        dest.clear_temporary()?;
        let method = files::Method::probe(&dest)
            .map_err(|errno| errno::fatal(&dest.shown(), "cannot make files here", errno))?;
        let groups = settings
            .division
            .clone()
            .map(|division| Arc::new(shards::Groups::new(division, settings.cores)));
        Ok(Self { dest, settings, numbers, unfinished, method, groups })
    }

    /// Where objects and packs go that are not for the disk.
    pub(crate) fn depot(&self) -> Option<&dyn Depot> {
        self.settings.remote.as_ref().map(|remote| &*remote.depot)
    }

    /// New packs have numbers from `first` on, and these packs are to be finished; to be called
    /// before the first object is stored.
    pub fn go_on(&self, first: u32, unfinished: &Unfinished) {
        self.numbers.0.store(first, Ordering::Relaxed);
        self.unfinished.extend(unfinished);
    }

    /// The place of a core, to be taken before any core opens its sink: where packs belong to shards,
    /// one core waits for the others at its end. It counts until it is dropped.
    pub fn seat(&self) -> Seat {
        Seat(self.groups.as_ref().map(|groups| groups.seat()))
    }

    /// A sink for a core, which records in its book.
    ///
    /// # Errors
    /// The environment's: no file descriptor, no permission.
    pub fn open(
        &self,
        seat: Seat,
        core: usize,
        books: &dyn Fn(usize) -> Box<dyn Book>,
    ) -> Result<Box<dyn Sink>, Error> {
        let settings = &self.settings;
        Ok(match settings.format {
            Format::Files if let Some(remote) = &settings.remote => {
                let often = (settings.commit_interval, self.every());
                Box::new(remote::RemoteSink::open(remote.clone(), books(core), often)?)
            }
            Format::Files => {
                let writer = Writer::start(self.hand(tar::KIND, books(core)), 0, 1)?;
                let dest = Arc::clone(&self.dest);
                let interval = settings.commit_interval;
                let most = (settings.held_files, settings.directories);
                Box::new(files::FilesSink::open(dest, self.method, writer, most, interval)?)
            }
            Format::Null => Box::new(null::NullSink),
            format => match (&self.groups, seat.0) {
                (Some(groups), Some(seat)) => {
                    groups.open(|group| {
                        let lanes: Vec<_> = groups.lanes(group).collect();
                        let writer = self.hand(pack_kind(format), books(group));
                        let writer = Writer::start(writer, settings.block_bytes, lanes.len())?;
                        let pen = writer::Pen::new(writer);
                        let sink = |lane| self.records(format, pen.clone(), Some(lane));
                        let lanes = lanes.into_iter().map(sink).collect::<Result<Vec<_>, _>>()?;
                        Ok(shards::Group::new(lanes, pen.clone(), settings.commit_interval))
                    })?;
                    Box::new(shards::ShardSink::new(seat, core))
                }
                _ => {
                    let writer = self.hand(pack_kind(format), books(core));
                    let writer = Writer::start(writer, settings.block_bytes, 1)?;
                    Box::new(self.records(format, writer::Pen::new(writer), None)?)
                }
            },
        })
    }

    /// When to commit without being told to.
    fn every(&self) -> CommitSize {
        let packs = self.settings.held_packs;
        CommitSize { objects: COMMIT_OBJECTS, bytes: COMMIT_BYTES, packs }
    }

    fn hand(&self, packs: PackKind, book: Box<dyn Book>) -> Hand {
        let dest = &self.dest;
        let hand =
            Hand::new(dest.disk(), book, packs, self.every(), dest.shown(), dest.syncs_at_once());
        hand.to(self.settings.remote.as_ref().map(|remote| Arc::clone(&remote.depot)))
    }

    fn records(
        &self,
        format: Format,
        pen: writer::Pen,
        lane: Option<Lane>,
    ) -> Result<records::RecordSink, Error> {
        let settings = &self.settings;
        let encoder = format
            .encoder(&settings.pack, settings.run)
            .map_err(|why| Error::environment(format.name(), "cannot write packs").why(why))?;
        let Some(encoder) = encoder else {
            unreachable!("what is neither files nor nothing has packs")
        };
        let lanes = lane.as_ref().map_or(1, |lane| lane.shards);
        let packs = pack::Packs::new(
            self.dest.disk(),
            self.numbers.clone(),
            self.unfinished.clone(),
            pack_kind(format),
            settings.size,
            pen,
            lane,
        );
        let manner = records::Manner {
            whole: format.is_whole(),
            commit_interval: settings.commit_interval,
            owner: settings.run,
            lanes,
        };
        Ok(records::RecordSink::new(packs, encoder, manner))
    }
}

/// See [`Sinks::seat`].
#[derive(Debug)]
pub struct Seat(Option<shards::Seat>);

fn pack_kind(format: Format) -> PackKind {
    format.packs().unwrap_or(tar::KIND)
}

/// Numbers of packs, given to cores as they open one.
#[derive(Debug, Clone, Default)]
pub(crate) struct PackNumbers(Arc<AtomicU32>);

impl PackNumbers {
    #[cfg(test)]
    pub(crate) fn starting(first: u32) -> Self {
        Self(Arc::new(AtomicU32::new(first)))
    }

    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The packs of one shard: those whose numbers leave its own as a remainder.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    shard: u32,
    shards: u32,
    last: Option<u32>,
}

impl Lane {
    fn new(shard: u32, shards: u32) -> Self {
        Self { shard, shards, last: None }
    }

    fn has(&self, number: u32) -> bool {
        number % self.shards == self.shard
    }

    /// The number of the next pack.
    fn next(&mut self, numbers: &PackNumbers) -> u32 {
        let next = match self.last {
            Some(last) => last + self.shards,
            None => {
                let first = numbers.0.load(Ordering::Relaxed).next_multiple_of(self.shards);
                first + self.shard
            }
        };
        self.last = Some(next);
        next
    }
}

/// What of `taken` is neither committed nor rejected.
fn unfinished(taken: (u64, u64), shared: &Shared) -> (u64, u64) {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Acquire);
    (
        taken.0.saturating_sub(load(&shared.objects) + load(&shared.rejected)),
        taken.1.saturating_sub(load(&shared.bytes) + load(&shared.rejected_bytes)),
    )
}

/// Says when the next commit is due.
#[derive(Debug)]
struct CommitClock {
    interval: std::time::Duration,
    last: Option<Instant>,
}

impl CommitClock {
    fn new(interval: std::time::Duration) -> Self {
        Self { interval, last: None }
    }

    fn due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(*self.last.get_or_insert(now)) >= self.interval;
        if due {
            self.last = Some(now);
        }
        due
    }
}
