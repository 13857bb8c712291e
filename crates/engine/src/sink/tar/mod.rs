//! Packs that every tar can read: POSIX ustar (IEEE Std 1003.1, "pax"), with extended headers
//! only where a name or a size does not fit.
//!
//! The same objects in the same order give the same bytes: owner, time and mode are constant.

pub mod entry;
mod header;
pub mod read;

use super::hand::PackKind;
use super::pack::Packs;
use super::{Body, CommitClock, Object, Sink, SinkError};
use std::time::{Duration, Instant};
use windrow_model::{Error, FailedObject, Place, Receipt, name};

/// The two empty blocks that end a pack.
pub const ENDING: &[u8] = &[0; 2 * header::BLOCK];

/// The file name of a pack.
pub fn pack_name(number: u32) -> String {
    KIND.file_name(number)
}

/// What all tar packs have in common.
pub(super) const KIND: PackKind = PackKind { extension: "tar", ending: ENDING };

/// Failures are recorded in lists of so many.
const FAILURES: usize = 1024;

/// Writes one pack at a time.
pub(super) struct TarSink {
    packs: Packs,
    path: Vec<u8>,
    failures: Vec<FailedObject>,
    clock: CommitClock,
}

impl TarSink {
    pub(super) fn new(packs: Packs, commit_interval: Duration) -> Self {
        let clock = CommitClock::new(commit_interval);
        Self { packs, path: Vec::new(), failures: Vec::new(), clock }
    }

    fn append(&mut self, object: Object<'_>) -> Result<Receipt, Error> {
        self.path.clear();
        name::to_path(object.name, &mut self.path);
        let bytes = object.body.len();
        let pack = self.packs.pack()?;
        header::member(pack.out(), &self.path, bytes);
        let place = Place::Pack { pack: pack.number(), offset: pack.len() };
        let mut sum = crc32c::crc32c(object.name);
        match object.body {
            Body::Bytes(body) => {
                sum = crc32c::crc32c_append(sum, body);
                self.packs.append(body)?;
            }
            Body::Spool(mut spool) => spool.read_all(|piece| {
                sum = crc32c::crc32c_append(sum, piece);
                self.packs.append(piece)
            })?,
        }
        header::pad(self.packs.pack()?.out(), bytes);
        if self.packs.complete(object.ordinal, bytes, sum.to_le_bytes())? {
            self.seal()?;
        }
        self.packs.taken(bytes);
        Ok(Receipt { ordinal: object.ordinal, bytes, place })
    }

    fn seal(&mut self) -> Result<(), Error> {
        if self.packs.is_open() {
            self.packs.pack()?.out().extend_from_slice(KIND.ending);
            self.packs.seal()?;
        }
        Ok(())
    }

    fn hand_over_failures(&mut self) -> Result<(), Error> {
        match self.failures.is_empty() {
            true => Ok(()),
            false => self.packs.failed(std::mem::take(&mut self.failures)),
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.hand_over_failures()?;
        // What earlier processes left open is ended too.
        while self.packs.adopt()? {
            self.seal()?;
        }
        Ok(())
    }
}

impl Sink for TarSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        self.append(object).map_err(SinkError::Run)
    }

    fn failed(&mut self, failed: FailedObject) -> Result<(), Error> {
        self.failures.push(failed);
        if self.failures.len() >= FAILURES { self.hand_over_failures() } else { Ok(()) }
    }

    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        self.hand_over_failures()?;
        self.packs.tick(now)?;
        if self.clock.due(now) { self.packs.commit() } else { Ok(()) }
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
