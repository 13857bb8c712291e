//! Each object an object of an object store.
//!
//! A body is handed to a thread that puts many at a time; a second thread records what the service
//! acknowledged. When the service is slower than the source, the core waits for room, and that is what slows
//! the source down.

use super::book::Book;
use super::depot::{Refused, Told, Upload, UploadBody};
use super::hand::{CommitSize, Shared};
use super::{Body, CommitClock, Object, Remote, Sink, SinkError};
use crate::disk::Synced;
use crate::pack::Meta;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use windrow_model::limits::{HAND_OBJECTS, HAND_OVER, REDO_PART, UPLOAD_SPOOLS, UPLOADS_WAITING};
use windrow_model::{Batch, Error, FailedObject, Failure, FailureClass, Place, Receipt};

/// Puts objects for one core.
#[derive(Debug)]
pub(super) struct RemoteSink {
    uploads: Option<async_channel::Sender<Upload>>,
    notes: Option<Sender<Note>>,
    threads: Vec<JoinHandle<()>>,
    state: Arc<State>,
    /// See [`Remote`].
    bytes: u64,
    /// See [`Remote`].
    metadata: bool,
    taken: (u64, u64),
    clock: CommitClock,
}

/// What the threads share.
#[derive(Debug, Default)]
struct State {
    shared: Arc<Shared>,
    room: Mutex<Room>,
    freed: Condvar,
    /// Objects that were taken and refused, with their bytes, until somebody asks.
    rejected: Mutex<Vec<(FailureClass, u64)>>,
}

/// Uploads on their way, and the bytes of them in memory.
#[derive(Debug, Default)]
struct Room {
    objects: usize,
    bytes: u64,
    /// Those whose body is in a file.
    spools: usize,
    /// Somebody waits for less of them.
    wanted: bool,
}

/// What is to be recorded.
enum Note {
    Told(Vec<Told>),
    Failed(Vec<FailedObject>),
    Commit,
}

impl RemoteSink {
    pub(super) fn open(
        Remote { depot, bytes, metadata }: Remote,
        book: Box<dyn Book>,
        (commit_interval, every): (Duration, CommitSize),
    ) -> Result<Self, Error> {
        let (uploads, todo) = async_channel::bounded(UPLOADS_WAITING);
        let (notes, noted) = channel();
        let state = Arc::new(State::default());
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(run);
            thread.map_err(|why| Error::environment(name, "cannot start a thread").why(why))
        };
        let (tell, room) = (notes.clone(), Arc::clone(&state));
        let uploader = start(
            "uploads",
            Box::new(move || {
                let _alarm = Alarm(&room);
                depot.objects(todo, &mut |told| {
                    room.leave(&told);
                    // Whoever records is there until the last is told.
                    let _ = tell.send(Note::Told(told));
                });
            }),
        )?;
        let keeper = Keeper { book, state: Arc::clone(&state), every, lost: false };
        let keeper = start("record", Box::new(move || keeper.run(&noted)))?;
        Ok(Self {
            uploads: Some(uploads),
            notes: Some(notes),
            threads: vec![uploader, keeper],
            state,
            bytes,
            metadata,
            taken: (0, 0),
            clock: CommitClock::new(commit_interval),
        })
    }

    fn note(&self, note: Note) -> Result<(), Error> {
        self.state.check()?;
        self.notes.as_ref().and_then(|notes| notes.send(note).ok()).ok_or_else(gone)
    }
}

impl Sink for RemoteSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        self.state.check().map_err(SinkError::Run)?;
        let (ordinal, bytes) = (object.ordinal, object.body.len());
        if std::str::from_utf8(object.name).is_err() {
            return Err(SinkError::Object(NO_KEY));
        }
        let sum = crc32c::crc32c(object.name);
        let (body, sum) = match object.body {
            Body::Bytes(body) => {
                (UploadBody::Memory(body.to_vec()), crc32c::crc32c_append(sum, body))
            }
            Body::Spool(spool) => {
                let len = usize::try_from(bytes).unwrap_or(usize::MAX);
                let sum = crc32c::crc32c_combine(sum, spool.sum(), len);
                (UploadBody::Spool(spool), sum)
            }
        };
        let headers = object.meta.map(|meta| headers(meta, self.metadata));
        let headers = headers.unwrap_or_default();
        let url = object.meta.map(|meta| meta.url.clone()).unwrap_or_default();
        let upload = Upload { ordinal, name: object.name.to_vec(), body, sum, headers, url };
        self.state.enter(&upload, self.bytes);
        let sent = self.uploads.as_ref().map(|uploads| uploads.send_blocking(upload));
        if !matches!(sent, Some(Ok(()))) {
            self.state.check().map_err(SinkError::Run)?;
            return Err(SinkError::Run(gone()));
        }
        self.taken.0 += 1;
        self.taken.1 += bytes;
        Ok(Receipt { ordinal, bytes, place: Place::File })
    }

    fn failed(&mut self, failed: FailedObject) -> Result<(), Error> {
        self.note(Note::Failed(vec![failed]))
    }

    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        if self.clock.due(now) { self.note(Note::Commit) } else { self.state.check() }
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.uploads = None;
        self.notes = None;
        // Each to its end: what is recorded is looked at behind this.
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.state.fail(gone());
            }
        }
        self.state.check()
    }

    fn unfinished(&self) -> (u64, u64) {
        super::unfinished(self.taken, &self.state.shared)
    }

    fn rejected(&mut self, each: &mut dyn FnMut(FailureClass, u64, u64)) {
        let rejected = std::mem::take(&mut *lock(&self.state.rejected));
        rejected.into_iter().for_each(|(class, bytes)| each(class, 1, bytes));
    }
}

impl Drop for RemoteSink {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

impl State {
    /// Waits until there is room for an upload; what is larger than all of it goes alone.
    fn enter(&self, upload: &Upload, most: u64) {
        let spool = matches!(upload.body, UploadBody::Spool(_));
        let mut room = lock(&self.room);
        while room.objects > 0
            && (room.objects >= UPLOADS_WAITING
                || room.bytes + upload.held() > most
                || (spool && room.spools >= UPLOAD_SPOOLS))
            && !self.shared.failed.load(Ordering::Acquire)
        {
            room.wanted = true;
            room = self.freed.wait(room).unwrap_or_else(PoisonError::into_inner);
        }
        room.objects += 1;
        room.bytes += upload.held();
        room.spools += usize::from(spool);
    }

    fn leave(&self, told: &[Told]) {
        let mut room = lock(&self.room);
        for told in told {
            room.objects -= 1;
            room.bytes -= told.held;
            room.spools -= usize::from(told.held < told.bytes);
        }
        let wanted = std::mem::take(&mut room.wanted);
        drop(room);
        if wanted {
            self.freed.notify_one();
        }
    }

    fn fail(&self, error: Error) {
        lock(&self.shared.error).get_or_insert(error);
        self.shared.failed.store(true, Ordering::Release);
        // Under the lock of who waits, for it not to be missed.
        let _room = lock(&self.room);
        self.freed.notify_all();
    }

    fn check(&self) -> Result<(), Error> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(lock(&self.shared.error).clone().unwrap_or_else(gone))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells whoever waits when its thread panics.
struct Alarm<'a>(&'a State);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(gone());
        }
    }
}

/// Records what was put.
struct Keeper {
    book: Box<dyn Book>,
    state: Arc<State>,
    every: CommitSize,
    /// The ledger could not be made durable: nothing more is recorded.
    lost: bool,
}

/// What of it is not recorded yet.
#[derive(Default)]
struct Open {
    batch: Batch,
    /// Objects and bytes since the last commit.
    since: (u64, u64),
    stored: u64,
}

impl Keeper {
    fn run(mut self, notes: &Receiver<Note>) {
        let state = Arc::clone(&self.state);
        let _alarm = Alarm(&state);
        let mut open = Open::default();
        loop {
            let result = match notes.recv_timeout(HAND_OVER) {
                Ok(Note::Told(told)) => {
                    // What comes behind one that ends the run is recorded all the same.
                    let told = told.into_iter().map(|told| self.told(told, &mut open));
                    told.fold(Ok(()), Result::and)
                }
                // What follows an error has an outcome only if it is recorded.
                Ok(_) if self.state.shared.failed.load(Ordering::Acquire) => Ok(()),
                Ok(Note::Failed(mut failures)) => {
                    open.since.0 += failures.len() as u64;
                    self.book.failed(&mut failures).map_err(unrecorded)
                }
                Ok(Note::Commit) => self.commit(&mut open),
                Err(RecvTimeoutError::Timeout) => self.record(&mut open),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(error) = result {
                self.state.fail(error);
            }
        }
        // What the service has it keeps, whatever happened meanwhile.
        if let Err(error) = self.commit(&mut open) {
            self.state.fail(error);
        }
        self.book.close();
    }

    fn told(&mut self, told: Told, open: &mut Open) -> Result<(), Error> {
        let Told { upload, bytes, result, .. } = told;
        match result {
            Ok(()) => {
                let batch = &mut open.batch;
                batch.ordinals.push(upload.ordinal);
                batch.bytes += bytes;
                crate::manifest::put_file(&mut batch.manifest, &upload.name, bytes, upload.sum);
                let most = HAND_OBJECTS.max(open.stored / REDO_PART);
                if open.batch.ordinals.len() as u64 >= most { self.record(open) } else { Ok(()) }
            }
            Err(Refused::Object(failure)) => {
                let Upload { ordinal, name, url, .. } = &upload;
                self.book.rejected(*ordinal, name, url, failure).map_err(unrecorded)?;
                open.since.0 += 1;
                let shared = &self.state.shared;
                shared.rejected_bytes.fetch_add(bytes, Ordering::Release);
                shared.rejected.fetch_add(1, Ordering::Release);
                lock(&self.state.rejected).push((failure.class, bytes));
                Ok(())
            }
            Err(Refused::Run(error)) => Err(error),
            Err(Refused::Left) => Err(Error::environment("uploads", "some had no answer in time")
                .hint("what is missing is pending: run the same command again")),
        }
    }

    fn record(&mut self, open: &mut Open) -> Result<(), Error> {
        if open.batch.is_empty() || self.lost {
            return Ok(());
        }
        let (objects, bytes) = (open.batch.ordinals.len() as u64, open.batch.bytes);
        self.book.stored(None, &mut open.batch).map_err(unrecorded)?;
        open.batch.clear();
        open.stored += objects;
        open.since = (open.since.0 + objects, open.since.1 + bytes);
        match open.since.0 >= self.every.objects || open.since.1 >= self.every.bytes {
            true => self.commit(open),
            false => Ok(()),
        }
    }

    fn commit(&mut self, open: &mut Open) -> Result<(), Error> {
        self.record(open)?;
        open.since = (0, 0);
        if !self.book.is_open() || self.lost {
            return Ok(());
        }
        self.book.commit(Synced::by_service()).map_err(|errno| {
            // What a sync may have dropped is not synced again.
            self.lost = true;
            self.book.revoke();
            unrecorded(errno)
        })?;
        let (objects, bytes) = self.book.durable();
        let shared = &self.state.shared;
        shared.objects.store(objects, Ordering::Release);
        shared.bytes.store(bytes, Ordering::Release);
        Ok(())
    }
}

fn unrecorded(errno: rustix::io::Errno) -> Error {
    super::errno::fatal(".windrow/ledger", "cannot write", errno)
}

fn gone() -> Error {
    Error::environment("uploads", "the thread that puts objects is gone")
        .hint("this is a bug of windrow; please report it with the text above")
}

const NO_KEY: Failure =
    Failure { class: FailureClass::Name, status: 0, detail: "the name is not UTF-8, and keys are" };

/// Header lines of the source that an object keeps: its type, and how it is coded, without which it could
/// not be read.
const KEPT: [&str; 2] = ["content-type", "content-encoding"];

/// Those that it keeps on request, beside `x-amz-meta-*`.
const MORE: [&str; 4] = ["cache-control", "content-disposition", "content-language", "expires"];

fn headers(meta: &Meta, all: bool) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for line in meta.headers.split(|&byte| byte == b'\n') {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|l| l.split_once(':'))
        else {
            continue;
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        let wanted = match name.as_str() {
            "content-encoding" if meta.decoded || value.eq_ignore_ascii_case("identity") => false,
            name if KEPT.contains(&name) => true,
            name => all && (MORE.contains(&name) || name.starts_with("x-amz-meta-")),
        };
        let plain = value.bytes().all(|byte| byte == b'\t' || (b' '..0x7F).contains(&byte));
        let known = kept.iter().any(|(known, _)| *known == name);
        if wanted && plain && !value.is_empty() && !known && kept.len() < HEADERS {
            // Several spaces are one to who signs.
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            kept.push((name, value));
        }
    }
    kept
}

/// Header lines of one object, at most. S3 takes 2 KiB of them.
const HEADERS: usize = 64;
