//! Objects as records of packs, whatever the packs look like: the sink for every form that
//! [`crate::pack`] can encode.
//!
//! Records that are compressed together wait for their frame: it ends when it is full, when its
//! first record has waited for a hundredth of the time so far, or with a commit. So whoever is
//! killed loses a hundredth of the work at most. A form that can only be read when its pack is
//! whole gets packs of a hundredth of what the core has done for the same reason.

use super::hand::Beside;
use super::pack::Packs;
use super::stats::Stats;
use super::{Body, CommitClock, Object, Sink, SinkError, Spool};
use crate::pack::index::Gather;
use crate::pack::{Content, Encode, Out, Record};
use std::io;
use std::time::{Duration, Instant};
use windrow_model::limits::{
    FAILURES_AT_ONCE, HAND_OBJECTS, HAND_OVER, REDO_PART, SHARD_HAND_OBJECTS, WHOLE_PACK_OBJECTS,
    WHOLE_PACK_PART, WHOLE_PACK_TIME,
};
use windrow_model::{Error, FailedObject, Failure, FailureClass, Ordinal, Place, Receipt};

/// Writes one pack at a time.
#[derive(Debug)]
pub(super) struct RecordSink {
    packs: Packs,
    encoder: Box<dyn Encode>,
    manner: Manner,
    /// The pack that was begun, and the last that was ended.
    begun: Option<u32>,
    last: Option<u32>,
    /// Objects that were added and are not complete yet, and bytes of their bodies.
    pending: Vec<Pending>,
    pending_bytes: u64,
    /// When the first of them was noticed by the clock.
    waiting: Option<Instant>,
    began: Option<Instant>,
    /// Objects that were taken, over all packs.
    taken: u64,
    failures: Vec<FailedObject>,
    clock: CommitClock,
    /// An error left half a record in the open pack.
    torn: bool,
    gather: Gather,
    stats: Stats,
}

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Packs are of use only when they are whole.
    pub(super) whole: bool,
    pub(super) commit_interval: Duration,
    /// Number of the run, for the index.
    pub(super) owner: u64,
    /// Packs that are written at the same time on all cores together, where each shard has its own;
    /// else 1.
    pub(super) lanes: u32,
}

/// An object that was added to a pack: its bytes, and what the manifest says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) ordinal: Ordinal,
    pub(super) bytes: u64,
    pub(super) check: [u8; 4],
}

impl RecordSink {
    pub(super) fn new(packs: Packs, encoder: Box<dyn Encode>, manner: Manner) -> Self {
        Self {
            packs,
            encoder,
            manner,
            begun: None,
            last: None,
            pending: Vec::new(),
            pending_bytes: 0,
            waiting: None,
            began: None,
            taken: 0,
            failures: Vec::new(),
            clock: CommitClock::new(manner.commit_interval),
            torn: false,
            gather: Gather::new(manner.owner, manner.lanes as usize),
            stats: Stats::default(),
        }
    }

    pub(super) fn append(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        let Object { ordinal, name, mut body, meta } = object;
        let bytes = body.len();
        let (number, fresh) = {
            let pack = self.packs.pack().map_err(SinkError::Run)?;
            (pack.number(), pack.len() == 0)
        };
        if self.begun.replace(number) != Some(number) {
            // Of one that an earlier process began not everything is known here.
            self.stats = Stats::new(fresh);
            if fresh {
                self.put(|encoder, out| encoder.begin(out))?;
            }
        }
        let sum = crc32c::crc32c(name);
        let (mut sum, content): (u32, &mut dyn Content) = match &mut body {
            Body::Bytes(body) => (crc32c::crc32c_append(sum, body), body),
            Body::Spool(spool) => {
                let len = usize::try_from(bytes).unwrap_or(usize::MAX);
                (crc32c::crc32c_combine(sum, spool.sum(), len), &mut **spool)
            }
        };
        let record = Record { name, ordinal, meta };
        let before = self.packs.len();
        let added = self.put(|encoder, out| encoder.record(&record, content, out));
        if added.is_err() && self.packs.len() != before {
            // Nothing may follow half a record.
            self.torn = true;
        }
        let (offset, complete) = match added {
            Err(SinkError::Object(failure)) if self.torn => {
                return Err(SinkError::Run(Error::environment("pack", failure.detail)));
            }
            added => added?,
        };
        if let Some(body) = self.encoder.altered() {
            let len = usize::try_from(bytes).unwrap_or(usize::MAX);
            sum = crc32c::crc32c_combine(crc32c::crc32c(name), body, len);
        }
        self.pending.push(Pending { ordinal, bytes, check: sum.to_le_bytes() });
        self.pending_bytes += bytes + name.len() as u64;
        self.stats.stored(bytes);
        if self.gather.add(name, offset) {
            let run = self.gather.part(number);
            self.packs.beside(number, Beside::Index(run)).map_err(SinkError::Run)?;
        }
        if complete {
            self.complete().map_err(SinkError::Run)?;
        } else if self.is_full() {
            self.seal().map_err(SinkError::Run)?;
        }
        if self.has_much() {
            self.frame().and_then(|()| self.packs.hand_over()).map_err(SinkError::Run)?;
        }
        self.packs.taken(bytes);
        self.taken += 1;
        Ok(Receipt { ordinal, bytes, place: Place::Pack { pack: number, offset } })
    }

    /// Writes what waited for long enough.
    pub(super) fn hand_over_in_time(&mut self, now: Instant) -> Result<(), Error> {
        let began = *self.began.get_or_insert(now);
        let part = (now.saturating_duration_since(began) / 100).max(HAND_OVER);
        if !self.pending.is_empty() {
            let waited = now.saturating_duration_since(*self.waiting.get_or_insert(now));
            match self.manner.whole {
                true if waited >= part.max(WHOLE_PACK_TIME) => self.seal()?,
                false if waited >= part => self.frame()?,
                _ => {}
            }
        }
        // A write for each of many packs is not to be had five times a second.
        let patience = if self.manner.lanes > 1 { part } else { HAND_OVER };
        self.packs.tick(now, patience)
    }

    /// Writes what there is, for a commit.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.frame()?;
        self.packs.flush()
    }

    /// Objects and bytes that were taken.
    pub(super) fn all_taken(&self) -> (u64, u64) {
        self.packs.all_taken()
    }

    /// Whether the open pack is full with what is pending.
    fn is_full(&mut self) -> bool {
        let objects = self.pending.len() as u64;
        let least = (WHOLE_PACK_OBJECTS / u64::from(self.manner.lanes)).max(SHARD_HAND_OBJECTS);
        let part = least.max(self.taken / WHOLE_PACK_PART);
        (self.manner.whole && objects >= part)
            || self.packs.is_full_with(objects, self.pending_bytes)
    }

    /// Whether more is in hand than may be lost when the process is killed. Small objects that are
    /// compressed come to thousands in one block.
    #[inline]
    fn has_much(&self) -> bool {
        let least = (HAND_OBJECTS / u64::from(self.manner.lanes)).max(SHARD_HAND_OBJECTS);
        let most = least.max(self.taken / (REDO_PART / 2));
        !self.manner.whole && (self.pending.len() + self.packs.in_hand()) as u64 >= most
    }

    /// What is pending is complete in the pack.
    fn complete(&mut self) -> Result<(), Error> {
        (self.waiting, self.pending_bytes) = (None, 0);
        match self.packs.complete_all(&mut self.pending)? {
            true => self.seal(),
            false => Ok(()),
        }
    }

    /// Ends the frame, where records wait for that.
    fn frame(&mut self) -> Result<(), Error> {
        if self.manner.whole || self.pending.is_empty() || self.torn {
            return Ok(());
        }
        self.put(|encoder, out| encoder.frame(out)).map_err(run)?;
        self.complete()
    }

    fn seal(&mut self) -> Result<(), Error> {
        if !self.packs.is_open() || self.torn {
            return Ok(());
        }
        self.put(|encoder, out| encoder.frame(out).and_then(|()| encoder.end(out))).map_err(run)?;
        (self.waiting, self.pending_bytes) = (None, 0);
        if let Some(number) = self.begun.take() {
            if self.stats.whole {
                if let Some(run) = self.gather.end(number) {
                    self.packs.beside(number, Beside::Index(run))?;
                }
                self.packs.beside(number, Beside::Stats(self.stats.json()))?;
            } else {
                self.gather.forget();
            }
            self.last = Some(number);
        }
        self.packs.seal(&mut self.pending)
    }

    fn put<T>(
        &mut self,
        put: impl FnOnce(&mut dyn Encode, &mut dyn Out) -> io::Result<T>,
    ) -> Result<T, SinkError> {
        put(&mut *self.encoder, &mut PackOut(&mut self.packs)).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidInput {
                return SinkError::Object(UNFIT);
            }
            SinkError::Run(match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => Error::environment("pack", "cannot encode an object").why(error),
            })
        })
    }

    fn hand_over_failures(&mut self) -> Result<(), Error> {
        match self.failures.is_empty() {
            true => Ok(()),
            false => self.packs.failed(std::mem::take(&mut self.failures)),
        }
    }

    /// Ends every pack that is this one's to write.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.hand_over_failures()?;
        if self.torn {
            // What is recorded of it is whole, and the next process goes on behind that.
            return Ok(());
        }
        // What earlier processes left open is ended too.
        while self.packs.adopt()? {
            self.seal()?;
        }
        if let (Some(number), Some(run)) = (self.last, self.gather.rest()) {
            self.packs.beside(number, Beside::Index(run))?;
        }
        Ok(())
    }
}

impl Sink for RecordSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        self.append(object)
    }

    fn failed(&mut self, failed: FailedObject) -> Result<(), Error> {
        self.stats.failed(failed);
        self.failures.push(failed);
        if self.failures.len() >= FAILURES_AT_ONCE { self.hand_over_failures() } else { Ok(()) }
    }

    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        self.hand_over_failures()?;
        self.hand_over_in_time(now)?;
        if !self.clock.due(now) {
            return Ok(());
        }
        self.frame()?;
        self.packs.commit()
    }

    fn finish(&mut self) -> Result<(), Error> {
        // What an earlier error left open is not whole.
        let ended = self.end();
        self.packs.finish().and(ended)
    }

    fn unfinished(&self) -> (u64, u64) {
        self.packs.unfinished()
    }
}

/// The open pack, as an encoder sees it.
struct PackOut<'p>(&'p mut Packs);

impl Out for PackOut<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes).map_err(io::Error::other)
    }

    fn at(&self) -> u64 {
        self.0.len()
    }
}

impl Content for Spool {
    fn len(&self) -> u64 {
        self.len()
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    fn pieces(&mut self, piece: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
        self.read_all(|bytes| piece(bytes).map_err(wrapped)).map_err(io::Error::other)
    }
}

/// Keeps what is an error of the run's.
fn wrapped(error: io::Error) -> Error {
    error
        .downcast::<Error>()
        .unwrap_or_else(|error| Error::environment("pack", "cannot encode an object").why(error))
}

/// Where no single object is to blame.
fn run(error: SinkError) -> Error {
    match error {
        SinkError::Run(error) => error,
        SinkError::Object(failure) => Error::environment("pack", failure.detail),
    }
}

const UNFIT: Failure = Failure {
    class: FailureClass::TooLarge,
    status: 0,
    detail: "the object is larger than this format can hold",
};
