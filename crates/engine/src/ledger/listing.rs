//! The record of the listing: which page gave which ordinals.

use super::frame::Page;
use super::log::Log;
use rustix::io::Errno;
use std::sync::{Mutex, MutexGuard, PoisonError};
use windrow_model::Ordinal;

/// Ordinals in one frame, at most: well within its bound.
const PART: usize = 50_000;

/// The listing's file. Its only writer is the listing; every core's commit syncs it first.
#[derive(Debug)]
pub struct ListingLog(pub(super) Mutex<Log>);

impl ListingLog {
    /// Records a page; to be called before any of its objects is handed out.
    ///
    /// # Errors
    /// The environment's.
    pub fn page(&self, page: &Page<'_>) -> Result<(), Errno> {
        let mut log = self.lock();
        let (encoder, durable) = log.next();
        encoder.page(durable, page);
        log.append()
    }

    /// Records the end of the listing; `whole` is false where a limit of the user's ended it.
    ///
    /// # Errors
    /// The environment's.
    pub fn end(&self, whole: bool) -> Result<(), Errno> {
        let mut log = self.lock();
        let (encoder, durable) = log.next();
        encoder.end(durable, whole);
        log.append()
    }

    /// Records objects of the last page that need nothing.
    ///
    /// # Errors
    /// The environment's.
    pub fn skipped(&self, ordinals: &[Ordinal]) -> Result<(), Errno> {
        for part in ordinals.chunks(PART) {
            let mut log = self.lock();
            let (encoder, durable) = log.next();
            encoder.skipped(durable, part);
            log.append()?;
        }
        Ok(())
    }

    /// Takes back the failures of these objects, durably: they are to be tried again.
    ///
    /// # Errors
    /// The environment's.
    pub fn reopen(&self, mut ordinals: impl Iterator<Item = Ordinal>) -> Result<(), Errno> {
        let mut part = Vec::new();
        loop {
            part.clear();
            part.extend(ordinals.by_ref().take(PART));
            if part.is_empty() {
                return self.sync();
            }
            let mut log = self.lock();
            let (encoder, durable) = log.next();
            encoder.reopened(durable, &part);
            log.append()?;
        }
    }

    /// Forgets, durably, what is not stored from ordinal `from` on; it is listed anew from the page
    /// of `marker`, under ordinals from `next` on.
    ///
    /// # Errors
    /// The environment's.
    pub fn relist(&self, from: Ordinal, next: Ordinal, marker: Option<&str>) -> Result<(), Errno> {
        let mut log = self.lock();
        let (encoder, durable) = log.next();
        encoder.relisted(durable, from, next, marker);
        log.append()?;
        log.sync()
    }

    /// Makes everything recorded durable.
    ///
    /// # Errors
    /// The environment's.
    pub fn sync(&self) -> Result<(), Errno> {
        self.lock().sync()
    }

    /// A core that panicked while it held the log wrote whole frames or torn ones, and those are
    /// found when the file is read.
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
