//! The record of one core: what it stored, what failed, and when that became durable.

use super::failures::FailureLog;
use super::frame::Stored;
use super::listing::ListingLog;
use super::log::{Log, Manifest};
use crate::disk::Synced;
use rustix::io::Errno;
use std::sync::Arc;
use windrow_model::{Batch, FailedObject, InPack};

/// The ledger of one core.
#[derive(Debug)]
pub struct CoreLedger {
    pub(super) log: Log,
    pub(super) manifest: Manifest,
    pub(super) listing: Arc<ListingLog>,
    pub(super) failures: Arc<FailureLog>,
    /// Objects and bytes recorded, and how many of them are durable.
    pub(super) recorded: (u64, u64),
    pub(super) durable: (u64, u64),
}

impl CoreLedger {
    /// Records objects that were written and not synced. They count at once for as long as the
    /// kernel runs, and for good from the next [`CoreLedger::commit`] on. The order of `batch` is
    /// lost.
    ///
    /// # Errors
    /// The environment's.
    pub fn stored(&mut self, pack: Option<InPack>, batch: &mut Batch) -> Result<(), Errno> {
        if batch.is_empty() && pack.is_none_or(|pack| !pack.full) {
            return Ok(());
        }
        let manifest_sum = crc32c::crc32c(&batch.manifest);
        self.manifest.append(&batch.manifest)?;
        batch.ordinals.sort_unstable();
        let stored = Stored {
            pack: pack.map(|pack| pack.number),
            len: pack.map_or(0, |pack| pack.len),
            full: pack.is_some_and(|pack| pack.full),
            bytes: batch.bytes,
            manifest_end: self.manifest.len,
            manifest_sum,
            ordinals: super::frame::Payload::default(),
        };
        let (encoder, durable) = self.log.next();
        encoder.stored(durable, &stored, &batch.ordinals);
        if let Err(errno) = self.log.append() {
            // The next part of the manifest begins where this one did.
            self.manifest.len -= batch.manifest.len() as u64;
            return Err(errno);
        }
        self.recorded.0 += batch.ordinals.len() as u64;
        self.recorded.1 += batch.bytes;
        Ok(())
    }

    /// Records objects that failed; [`FailureLog`] has their lines already.
    ///
    /// # Errors
    /// The environment's.
    pub fn failed(&mut self, failures: &mut [FailedObject]) -> Result<(), Errno> {
        if failures.is_empty() {
            return Ok(());
        }
        self.failures.flush()?;
        failures.sort_unstable_by_key(|failure| failure.ordinal);
        let (encoder, durable) = self.log.next();
        encoder.failed(durable, failures);
        self.log.append()
    }

    /// Whether there is something to commit.
    pub fn is_open(&self) -> bool {
        !self.log.is_durable()
    }

    /// Makes everything recorded so far durable. `_synced` proves that what it is about is durable
    /// already.
    ///
    /// # Errors
    /// The environment's. Nothing is durable then that was not before.
    ///
    /// # Durability
    /// When it returns, what was recorded outlives a loss of power.
    pub fn commit(&mut self, _synced: Synced) -> Result<(), Errno> {
        // A record must not outlive what it refers to: names by their page, failures by their
        // line, checksums.
        self.listing.sync()?;
        self.failures.sync()?;
        self.manifest.sync()?;
        let (encoder, durable) = self.log.next();
        encoder.commit(durable);
        self.log.append()?;
        self.log.sync()?;
        self.durable = self.recorded;
        Ok(())
    }

    /// Notes packs that have their final name; becomes durable with the next commit.
    ///
    /// # Errors
    /// The environment's.
    pub fn sealed(&mut self, packs: &[u32]) -> Result<(), Errno> {
        let (encoder, durable) = self.log.next();
        encoder.sealed(durable, packs.iter().copied());
        self.log.append()
    }

    /// After a sync failed: what was recorded since the last commit is recorded no more.
    pub fn revoke(&mut self) {
        self.log.revoke();
        self.recorded = self.durable;
    }

    /// Gives back disk space that was asked for ahead.
    pub fn release(&mut self) {
        self.log.release();
        self.manifest.release();
    }

    /// Objects and bytes of bodies that this process recorded durably.
    pub fn durable(&self) -> (u64, u64) {
        self.durable
    }
}
