//! From the inputs to the files: reads, waits, flushes in time, stops in good order.

use super::files::{Files, Names, fatal};
use super::groups::Groups;
use super::input::{Got, Input, Reader};
use super::key::Key;
use super::sharder::{Count, Lines, Place, Sharder};
use super::writer::Writer;
use crate::content::murmur3::murmur3_32;
use crate::rt::{Stop, machine};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use windrow_model::limits::{
    SHARD_FLUSH_REST, SHARD_FLUSH_SHARE, SHARD_LINE_BYTES, SHARD_MEMORY, SHARD_MEMORY_LEAST,
    SHARD_PAUSE, SHARD_READ_BYTES, SHARDS,
};
use windrow_model::{Error, Exit};

/// Files that are looked at before a run, whether they belong to it.
const LOOKED_AT: usize = 64;

/// Bytes of each of them.
const HEAD_BYTES: usize = 4096;

/// What to divide, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many shards, from 1 to [`SHARDS`].
    pub shards: u32,
    /// Where their files are.
    pub folder: PathBuf,
    /// What is divided, one after the other.
    pub inputs: Vec<Input>,
    /// What of a line decides its shard.
    pub key: Key,
    /// The files are `.jsonl`, and hold nothing that is no JSON; else they are `.txt`.
    pub jsonl: bool,
    /// What was read is in its file after so long.
    pub flush_interval: Duration,
    /// Memory for lines that wait, in bytes; not less than [`SHARD_MEMORY_LEAST`].
    pub memory: usize,
    /// With more than one, threads beside the one that divides write and decompress. 0: as many as the
    /// machine gives.
    pub cores: usize,
}

impl Plan {
    /// Lines of standard input by all that is in them, to `.txt` files, flushed each second.
    #[must_use]
    pub fn new(shards: u32, folder: impl Into<PathBuf>) -> Self {
        Self {
            shards,
            folder: folder.into(),
            inputs: vec![Input::Stdin],
            key: Key::Line,
            jsonl: false,
            flush_interval: Duration::from_secs(1),
            memory: SHARD_MEMORY,
            cores: 0,
        }
    }
}

/// What a run hears and says while it lasts.
pub struct Watch<'w> {
    /// Readable as soon as [`Self::stopped`] has something to say; without it that is noticed only
    /// when bytes come, or the next flush.
    pub wake: Option<BorrowedFd<'w>>,
    /// Whether to stop.
    pub stopped: &'w dyn Fn() -> Option<Stop>,
    /// Takes what people should know at once.
    pub note: &'w mut dyn FnMut(&str),
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// How a run went.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// `complete`, `interrupted`, `terminated` or `error`.
    pub state: &'static str,
    /// How many shards there are.
    pub shards: u32,
    /// Lines that were read, those without a shard included; see [`Count::lines`].
    pub lines: u64,
    /// Of these, the lines that are not in the files, because they could not be written.
    pub unwritten: u64,
    /// Of these, the lines in `unmatched.txt`.
    pub unmatched: u64,
    /// Of the unmatched: without a key.
    pub no_key: u64,
    /// Of the unmatched: no JSON.
    pub not_json: u64,
    /// Of the unmatched: too long to be looked at.
    pub too_long: u64,
    /// Whether `unfinished.txt` got the beginning of a line, because of a signal.
    pub unfinished: bool,
    /// Bytes that were read, decompressed.
    pub bytes: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Files that were written to.
    pub files: u64,
    /// By the clock.
    pub seconds: f64,
    /// Lines read in each of them.
    pub lines_per_second: f64,
    /// CPU time of the process, user and system.
    pub cpu_seconds: f64,
    /// Of that, for each line, in microseconds.
    pub cpu_us_per_line: f64,
    /// Largest resident set of the process.
    pub max_rss_bytes: u64,
    /// What ended the run, if it was an error.
    pub error: Option<String>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Figures.
    pub summary: Summary,
    /// What ended it, if it was an error.
    pub error: Option<Error>,
    /// How the process ends.
    pub exit: Exit,
}

/// Divides the inputs to their end, or until it is stopped.
///
/// Lines are appended to the files of their shards, in the order in which they were read. Whenever
/// this ends, all that was read is written, save for what an error of the disk kept from being
/// written, which is counted; every file ends with a whole line. Nothing is synced: what is written
/// outlives this process and not the machine.
///
/// # Errors
/// It could not begin: the plan makes no sense, an input is missing, the folder is in use. What
/// happens later is in [`Ended`].
pub fn run(plan: &Plan, watch: Watch<'_>) -> Result<Ended, Error> {
    let started = Instant::now();
    if !(1..=SHARDS).contains(&plan.shards) {
        return Err(Error::usage("shards", format!("must be from 1 to {SHARDS}")));
    }
    if plan.memory < SHARD_MEMORY_LEAST {
        let least = SHARD_MEMORY_LEAST >> 20;
        return Err(Error::usage("memory", format!("must be at least {least} MiB")));
    }
    let stdins = plan.inputs.iter().filter(|input| **input == Input::Stdin).count();
    if stdins > 1 {
        return Err(Error::usage("-", "standard input can be read once only"));
    }
    let inputs = plan.inputs.iter().map(Input::identity).collect::<Result<_, _>>()?;
    let names = Names { shards: plan.shards, extension: if plan.jsonl { "jsonl" } else { "txt" } };
    let files = Files::open(&plan.folder, names, machine::raise_file_limit(), inputs)?;
    if let Some(doubt) = doubt(plan, &files) {
        (watch.note)(&doubt);
    }
    let cores = if plan.cores == 0 { machine::cores() } else { plan.cores };
    let (writer, memory) = Writer::new(files, cores, plan.memory);
    let mut run = Run {
        sharder: Sharder::new(plan.shards, plan.key.clone(), plan.jsonl),
        out: Out { groups: Groups::new(names.count(), memory), writer, names, spool: None },
        buffer: vec![0; SHARD_READ_BYTES],
        ahead: cores > 1,
        interval: plan.flush_interval,
        rest: Duration::ZERO,
        due: None,
        unfinished: false,
        watch,
    };
    let stopped = run.all(&plan.inputs);
    // After an error, too: what can be written is.
    let flushed = run.out.flush();
    let (stop, error) = match stopped.and_then(|stop| flushed.map(|()| stop)) {
        Ok(stop) => (stop, None),
        Err(error) => (None, Some(error)),
    };
    Ok(run.ended(plan, started, stop.as_ref(), error))
}

/// What speaks against the files that are there being those of such a run.
fn doubt(plan: &Plan, files: &Files) -> Option<String> {
    let mut head = vec![0; HEAD_BYTES];
    (0..plan.shards).take(LOOKED_AT).find_map(|shard| {
        let head = files.head(shard as usize, &mut head)?;
        let line = &head[..memchr::memchr(b'\n', head)?];
        let belongs = plan.key.of(line).ok().map(|key| murmur3_32(&key) % plan.shards);
        (belongs != Some(shard)).then(|| {
            format!(
                "note: {}: its first line does not belong there: was another --shards or --key \
                 used before?",
                files.shown(shard as usize)
            )
        })
    })
}

struct Run<'w> {
    sharder: Sharder,
    out: Out,
    buffer: Vec<u8>,
    /// Compressed files are read by another thread.
    ahead: bool,
    interval: Duration,
    /// No flush sooner than that after the last, because of how long it took.
    rest: Duration,
    /// When lines that wait are to be written.
    due: Option<Instant>,
    unfinished: bool,
    watch: Watch<'w>,
}

impl Run<'_> {
    /// Divides one input after the other; says why it stopped, if not at their end.
    fn all(&mut self, inputs: &[Input]) -> Result<Option<Stop>, Error> {
        for input in inputs {
            let mut reader = input.open(self.ahead)?;
            let stop = self.one(&mut reader);
            if !matches!(stop, Ok(None)) {
                let left = self.leave(&reader);
                return stop.and_then(|stop| left.map(|()| stop));
            }
        }
        Ok(None)
    }

    fn one(&mut self, reader: &mut Reader) -> Result<Option<Stop>, Error> {
        loop {
            if let Some(stop) = (self.watch.stopped)() {
                if reader.is_live() {
                    self.drain(reader)?;
                }
                return Ok(Some(stop));
            }
            let mut limit = None;
            if let Some(due) = self.due {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let began = Instant::now();
                    self.out.flush()?;
                    self.due = None;
                    self.rest = (SHARD_FLUSH_SHARE * began.elapsed()).min(SHARD_FLUSH_REST);
                } else {
                    limit = Some(left);
                }
            }
            if !reader.wait(limit, self.watch.wake)? {
                continue;
            }
            match reader.read(&mut self.buffer, SHARD_READ_BYTES)? {
                Got::Bytes(read) => {
                    self.sharder.feed(&self.buffer[..read], &mut self.out)?;
                    if self.due.is_none() {
                        self.due = Instant::now().checked_add(self.interval.max(self.rest));
                    }
                    if reader.is_live() && read < SHARD_READ_BYTES / 4 {
                        // Somebody writes in small pieces: one read for many of them.
                        std::thread::sleep(SHARD_PAUSE.min(self.interval));
                    }
                }
                Got::Nothing => {}
                Got::End => {
                    self.sharder.end(&mut self.out)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Reads what had been written to the input when the signal came, as far as anybody can know:
    /// what is there, and not more than fits into it.
    fn drain(&mut self, reader: &mut Reader) -> Result<(), Error> {
        let mut left = reader.capacity();
        while left > 0 && reader.wait(Some(Duration::ZERO), None)? {
            let most = left.min(self.buffer.len());
            match reader.read(&mut self.buffer, most)? {
                Got::Bytes(read) => {
                    left -= read;
                    self.sharder.feed(&self.buffer[..read], &mut self.out)?;
                }
                Got::Nothing => break,
                Got::End => {
                    return self.sharder.end(&mut self.out);
                }
            }
        }
        Ok(())
    }

    /// The input is left before its end. What is there of a line can be had again from a file, and
    /// from nowhere else.
    fn leave(&mut self, reader: &Reader) -> Result<(), Error> {
        if reader.is_live() {
            self.unfinished = self.sharder.is_within_line();
            return self.sharder.leave(&mut self.out);
        }
        self.sharder.forget();
        self.out.spool = None;
        Ok(())
    }

    fn ended(
        &self,
        plan: &Plan,
        started: Instant,
        stop: Option<&Stop>,
        error: Option<Error>,
    ) -> Ended {
        let count = self.sharder.count();
        let Count { lines, bytes, no_key, not_json, too_long } = count;
        let files = self.out.writer.to();
        let usage = machine::usage();
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), usage.cpu.as_secs_f64());
        let summary = Summary {
            state: match (&error, stop) {
                (Some(_), _) => "error",
                (None, Some(stop)) => stop.state(),
                (None, None) => "complete",
            },
            shards: plan.shards,
            lines,
            unwritten: self.out.groups.unwritten(self.out.names.unfinished()),
            unmatched: count.unmatched(),
            no_key,
            not_json,
            too_long,
            unfinished: self.unfinished,
            bytes,
            bytes_written: files.bytes,
            files: files.used,
            seconds,
            lines_per_second: lines as f64 / seconds.max(1e-9),
            cpu_seconds: cpu,
            cpu_us_per_line: cpu * 1e6 / lines.max(1) as f64,
            max_rss_bytes: usage.max_rss,
            error: error.as_ref().map(ToString::to_string),
        };
        let exit = match (&error, stop) {
            (Some(error), _) => error.exit(),
            (None, Some(stop)) => stop.exit(),
            (None, None) if summary.unmatched > 0 => Exit::Failed,
            (None, None) => Exit::Complete,
        };
        Ended { summary, error, exit }
    }
}

/// Where lines go.
struct Out {
    groups: Groups,
    writer: Writer<Files>,
    names: Names,
    /// A line that is too long for memory, on its way.
    spool: Option<File>,
}

impl Out {
    fn file(&self, place: Place) -> usize {
        match place {
            Place::Shard(shard) => shard as usize,
            Place::Unmatched => self.names.unmatched(),
            Place::Unfinished => self.names.unfinished(),
        }
    }

    /// Writes everything, on this thread.
    fn flush(&mut self) -> Result<(), Error> {
        let settled = self.settle();
        let flushed = self.groups.flush(&mut *self.writer.to());
        settled.and(flushed)
    }

    /// Waits for what was handed over; what could not be written waits here again then.
    fn settle(&mut self) -> Result<(), Error> {
        let settled = self.writer.settle();
        for (file, lines) in self.writer.left().rev() {
            self.groups.put_back(file, lines);
        }
        settled
    }

    fn copy(&mut self, mut spool: File, file: usize) -> Result<(), Error> {
        self.settle()?;
        let mut files = self.writer.to();
        self.groups.flush_one(file, &mut *files)?;
        let size = files.size(file)?;
        let mut copied = || {
            spool.rewind().map_err(|error| lost(&error))?;
            let mut buffer = vec![0; SHARD_READ_BYTES];
            loop {
                match spool.read(&mut buffer).map_err(|error| lost(&error))? {
                    0 => return Ok(()),
                    read => files.append_part(file, &buffer[..read])?,
                }
            }
        };
        let copied = copied();
        if copied.is_err() {
            files.cut(file, size);
        }
        copied
    }
}

/// An error about the line that is too long for memory.
fn lost(error: &std::io::Error) -> Error {
    let subject = format!("a line of more than {} MiB", SHARD_LINE_BYTES >> 20);
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    fatal(&subject, "cannot keep it on the disk", errno)
}

impl Lines for Out {
    type Error = Error;

    #[inline]
    fn line(&mut self, place: Place, line: &[u8]) -> Result<(), Error> {
        let file = self.file(place);
        let pushed = self.groups.push(file, line, &mut self.writer);
        if pushed.is_err() {
            // The same error; from here on there is no second thread.
            let _ = self.settle();
        }
        pushed
    }

    fn part(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(self.writer.to().nameless()?),
        };
        spool.write_all(bytes).map_err(|error| lost(&error))
    }

    fn parts_end(&mut self, place: Place) -> Result<(), Error> {
        let file = self.file(place);
        let Some(spool) = self.spool.take() else { return Ok(()) };
        self.copy(spool, file).inspect_err(|_| self.groups.lose())
    }
}
