//! A destination written by a program, without a source that is fetched: what `windrow repack` is
//! made of.
//!
//! It is a run as any other: recorded in the ledger, taken up where a process ended, read by
//! `ls`, `cat`, `verify` and [`crate::pack::Reader`].

use super::body::{Bodies, Incoming};
use super::plan::{self, Held, Plan};
use super::record::{CoreBook, Place, Record};
use crate::ledger::frame::Page;
use crate::pack::{Meta, PackOptions, index};
use crate::rt::machine;
use crate::shard::Division;
use crate::sink::{
    Body, Book, Destination, Format, Object, RunFile, Settings, ShardSize, Sink, SinkError, Sinks,
};
use roaring::RoaringTreemap;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windrow_model::limits::{COMMIT_INTERVAL, RESERVED_FDS, WRITER_PAGE, WRITER_TICK_OBJECTS};
use windrow_model::{Error, FailedObject, Failure, Ordinal};

/// How a [`Writer`] writes.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Form of the output.
    pub format: Format,
    /// When a pack is full.
    pub size: ShardSize,
    /// Which pack an object goes to, where its content or name decides.
    pub division: Option<Division>,
    /// What packs tell of their objects.
    pub pack: PackOptions,
    /// Memory for buffers and for one body, in bytes; larger bodies go by way of the disk.
    pub memory: u64,
    /// Time between two commits.
    pub commit_interval: Duration,
    /// Forget what an earlier run wrote here.
    pub fresh: bool,
    /// Where the objects come from, and what else decides which they are: a destination is gone on
    /// with only if both are as they were.
    pub source: String,
    /// See there.
    pub details: BTreeMap<String, String>,
}

impl WriterOptions {
    /// Those of the command line's defaults.
    pub fn new(format: Format, source: impl Into<String>) -> Self {
        Self {
            format,
            size: plan::SHARD_SIZE,
            division: None,
            pack: PackOptions::default(),
            memory: plan::MEMORY,
            commit_interval: COMMIT_INTERVAL,
            fresh: false,
            source: source.into(),
            details: BTreeMap::new(),
        }
    }
}

/// Writes objects, one after the other, into a destination.
///
/// Objects are numbered from 0 in the order in which they are given. Those that were committed are
/// kept when the process ends, however it does: the next writer with the same options says by
/// [`Writer::done`] with which object to go on.
///
/// ```no_run
/// use windrow_engine::Format;
/// use windrow_engine::pack::{Writer, WriterOptions};
///
/// let options = WriterOptions::new(Format::Parquet, "a thousand squares");
/// let mut writer = Writer::open("squares".as_ref(), options)?;
/// for number in writer.done()..1000 {
///     let body = (number * number).to_string();
///     writer.append(format!("{number}.txt").as_bytes(), body.as_bytes(), None)?;
/// }
/// let written = writer.finish()?;
/// assert_eq!(written.stored + written.failed, 1000);
/// # Ok::<(), windrow_model::Error>(())
/// ```
pub struct Writer {
    /// There until it is finished.
    sink: Option<Box<dyn Sink>>,
    record: Arc<Record>,
    dest: Arc<Destination>,
    bodies: Bodies,
    body: Incoming,
    /// The next object's ordinal, and where the page ends that it is in.
    next: Ordinal,
    page_end: Ordinal,
    /// Of this process and earlier ones.
    written: Written,
    complete: bool,
    /// Ordinals that an earlier writer settled. Shards are committed each for itself: there may be
    /// gaps.
    settled: RoaringTreemap,
    /// Objects since the clock was looked at.
    untimed: u32,
}

/// What a destination holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Objects that are stored.
    pub stored: u64,
    /// Objects that could not be: `failures.jsonl` says which and why.
    pub failed: u64,
    /// Bytes of the bodies that are stored.
    pub bytes: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Writer {
    /// Begins to write at `path`, or goes on with what a writer with the same options began there.
    ///
    /// # Errors
    /// The destination holds another run, is in use by another process, or cannot be written; the
    /// options contradict each other.
    pub fn open(path: &Path, options: WriterOptions) -> Result<Self, Error> {
        let files = machine::raise_file_limit();
        if options.format == Format::Null {
            return Err(Error::usage("format null", "keeps nothing"));
        }
        plan::check_division(options.division.as_ref(), options.format, options.memory)?;
        let lanes = options.division.as_ref().map_or(1, |division| division.shards as usize);
        let room = files.saturating_sub(RESERVED_FDS);
        let held = Held::of(options.format, room / 2, lanes);
        if room < held.files + 8 {
            let what = format!("{files} open files are too few for {lanes} packs at once");
            return Err(Error::environment("ulimit -n", what));
        }
        let dest = Arc::new(Destination::prepare(path)?);
        let mut details = options.details;
        if let Some(Division { shards, by }) = &options.division {
            details.insert("shards".to_owned(), format!("{shards} by {by}"));
        }
        let run = RunFile::new(options.format, options.source, details);
        let record = match Record::take_up(Arc::clone(&dest), run, options.format, options.fresh) {
            Ok(record) => record,
            Err(error) => {
                if let Ok(dest) = Arc::try_unwrap(dest) {
                    dest.abandon();
                }
                return Err(error);
            }
        };
        let settings = Settings {
            format: options.format,
            size: options.size,
            division: options.division,
            pack: options.pack,
            run: record.number(),
            cores: 1,
            block_bytes: Plan::block_bytes_of(options.memory, 1, lanes),
            held_files: held.held_files,
            held_packs: held.held_packs,
            directories: held.directories,
            commit_interval: options.commit_interval,
            remote: None,
        };
        let sinks = Sinks::new(Arc::clone(&dest), settings)?;
        let mut writer = Self {
            sink: None,
            bodies: Bodies::new(
                Arc::clone(&dest),
                usize::try_from(options.memory / 8).unwrap_or(usize::MAX).clamp(16 << 10, 64 << 20),
                usize::MAX,
            ),
            record: Arc::new(record),
            dest,
            body: Incoming::Empty,
            next: 0,
            page_end: 0,
            written: Written::default(),
            complete: false,
            settled: RoaringTreemap::new(),
            untimed: 0,
        };
        if let Some(past) = writer.record.past() {
            writer.written = Written {
                stored: past.state.stored.len(),
                failed: past.state.failures(),
                bytes: past.state.bytes,
            };
            writer.complete = past.pages.end == Some(true);
            writer.page_end = past.pages.next;
            writer.settled =
                past.state.failed.values().fold(past.state.stored.clone(), |all, set| all | set);
            writer.next = match writer.complete {
                true => writer.written.stored + writer.written.failed,
                false => (0..).find(|&ordinal| !writer.settled.contains(ordinal)).unwrap_or(0),
            };
        }
        if !writer.complete {
            writer.record.begin(&sinks)?;
            let record = Arc::clone(&writer.record);
            let book =
                |core| -> Box<dyn Book> { Box::new(CoreBook::new(Arc::clone(&record), core)) };
            writer.sink = Some(sinks.open(sinks.seat(), 0, &book)?);
        }
        Ok(writer)
    }

    /// Number of the next object to give: all before it are settled. A later one that an earlier
    /// writer settled may be given again, and is passed over.
    pub fn done(&self) -> u64 {
        self.next
    }

    /// What the destination holds.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Whether [`Writer::finish`] was called for this destination before: nothing can be added.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes the next piece of the next object's body.
    ///
    /// # Errors
    /// The environment's.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bodies.append(&mut self.body, None, bytes)
    }

    /// Forgets the pieces that were given since the last object.
    pub fn torn(&mut self) {
        let body = std::mem::take(&mut self.body);
        self.bodies.recycle(body);
    }

    /// Stores an object whose body are the pieces since the last one. It is durable after the next
    /// commit. Gives the failure if this one cannot be stored; that is recorded.
    ///
    /// # Errors
    /// The environment's: nothing more can be stored.
    pub fn object(&mut self, name: &[u8], meta: Option<&Meta>) -> Result<Option<Failure>, Error> {
        match std::mem::take(&mut self.body) {
            Incoming::Empty => self.store(name, Body::Bytes(&[]), meta),
            Incoming::Memory(memory) => {
                let stored = self.store(name, Body::Bytes(&memory), meta);
                self.bodies.recycle(Incoming::Memory(memory));
                stored
            }
            Incoming::Spool(spool) => self.store(name, Body::Spool(spool), meta),
        }
    }

    /// [`Writer::object`] with a body in memory.
    ///
    /// # Errors
    /// As there.
    pub fn append(
        &mut self,
        name: &[u8],
        body: &[u8],
        meta: Option<&Meta>,
    ) -> Result<Option<Failure>, Error> {
        self.torn();
        self.store(name, Body::Bytes(body), meta)
    }

    fn store(
        &mut self,
        name: &[u8],
        body: Body<'_>,
        meta: Option<&Meta>,
    ) -> Result<Option<Failure>, Error> {
        if self.complete {
            return Err(Error::usage(self.shown(), "was finished before"));
        }
        let ordinal = self.next;
        if ordinal == self.page_end {
            self.page_end += WRITER_PAGE;
            self.listed(ordinal)?;
        }
        self.next += 1;
        if self.settled.contains(ordinal) {
            return Ok(None);
        }
        let Some(sink) = &mut self.sink else { return Err(closed()) };
        let failure = match sink.store(Object { ordinal, name, body, meta }) {
            Ok(receipt) => {
                self.written.stored += 1;
                self.written.bytes += receipt.bytes;
                None
            }
            Err(SinkError::Object(failure)) => {
                self.written.failed += 1;
                sink.failed(FailedObject::new(ordinal, failure, 1))?;
                self.record
                    .failed(ordinal, name, Place::Unknown, 1, failure, None)
                    .map_err(|errno| self.unrecorded(errno))?;
                Some(failure)
            }
            Err(SinkError::Run(error)) => return Err(error),
        };
        self.untimed += 1;
        if self.untimed >= WRITER_TICK_OBJECTS {
            self.tick()?;
        }
        Ok(failure)
    }

    /// Records the page that begins at an ordinal.
    fn listed(&self, first: Ordinal) -> Result<(), Error> {
        let marker = (first > 0).then(|| first.to_string());
        let next = self.page_end.to_string();
        let page = Page {
            first,
            count: self.page_end - first,
            skipped: 0,
            fingerprint: 0,
            marker: marker.as_deref(),
            next: Some(&next),
        };
        let Some(listing) = self.record.listing() else { return Ok(()) };
        listing.page(&page).map_err(|errno| self.unrecorded(errno))
    }

    /// Commits in time what was stored; to be called now and then where objects come slowly.
    ///
    /// # Errors
    /// The environment's.
    pub fn tick(&mut self) -> Result<(), Error> {
        self.untimed = 0;
        self.sink.as_mut().map_or(Ok(()), |sink| sink.tick(Instant::now()))
    }

    /// Commits everything, and leaves the rest to the next writer: [`Writer::done`] says from where.
    ///
    /// # Errors
    /// The environment's.
    pub fn leave(mut self) -> Result<Written, Error> {
        self.close()
    }

    /// Everything is there: commits it, names what has no name yet, and makes the index one file.
    ///
    /// # Errors
    /// The environment's; then the next writer goes on.
    pub fn finish(mut self) -> Result<Written, Error> {
        if self.complete {
            return Ok(self.written);
        }
        let written = self.close()?;
        if let Some(listing) = self.record.listing() {
            let ended = match self.next < self.page_end {
                true => listing.relist(self.next, self.page_end, None),
                false => Ok(()),
            };
            ended
                .and_then(|()| listing.end(true))
                .and_then(|()| listing.sync())
                .map_err(|errno| self.unrecorded(errno))?;
        }
        // Whoever reads makes the index where there is none.
        let _ = index::merge_many(&*self.dest.disk(), self.record.number());
        Ok(written)
    }

    fn close(&mut self) -> Result<Written, Error> {
        self.torn();
        let Some(mut sink) = self.sink.take() else { return Ok(self.written) };
        let finished = sink.finish();
        let written = &mut self.written;
        sink.rejected(&mut |_, objects, bytes| {
            written.stored -= objects.min(written.stored);
            written.bytes -= bytes.min(written.bytes);
            written.failed += objects;
        });
        finished?;
        self.record.flush().map_err(|errno| self.unrecorded(errno))?;
        self.dest.clear_temporary()?;
        Ok(self.written)
    }

    fn shown(&self) -> String {
        self.dest.path().display().to_string()
    }

    fn unrecorded(&self, errno: Errno) -> Error {
        let subject = format!("{}/.windrow", self.shown());
        Error::environment(subject, "cannot write").why(std::io::Error::from(errno))
    }
}

fn closed() -> Error {
    Error::environment("writer", "was closed by an error")
}
