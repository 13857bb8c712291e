//! What a sink asks of the ledger. The pipeline joins the two.

use crate::disk::Synced;
use rustix::io::Errno;
use std::fmt::Debug;
use windrow_model::{Batch, FailedObject, Failure, InPack, Ordinal};

/// One core's record, from the sink's side.
pub trait Book: Debug + Send {
    /// These objects were written, and not synced.
    ///
    /// # Errors
    /// The environment's.
    fn stored(&mut self, pack: Option<InPack>, batch: &mut Batch) -> Result<(), Errno>;

    /// These objects failed for good.
    ///
    /// # Errors
    /// The environment's.
    fn failed(&mut self, failures: &mut [FailedObject]) -> Result<(), Errno>;

    /// An object that the sink took and then could not store; says so to people too, with where it came from
    /// if that is known (`url`, else empty).
    ///
    /// # Errors
    /// The environment's.
    fn rejected(
        &mut self,
        ordinal: Ordinal,
        name: &[u8],
        url: &str,
        failure: Failure,
    ) -> Result<(), Errno>;

    /// Whether anything was recorded since the last commit.
    fn is_open(&self) -> bool;

    /// What was recorded is durable now, and so shall the record be.
    ///
    /// # Errors
    /// The environment's.
    fn commit(&mut self, synced: Synced) -> Result<(), Errno>;

    /// These packs have their final name.
    ///
    /// # Errors
    /// The environment's.
    fn sealed(&mut self, packs: &[u32]) -> Result<(), Errno>;

    /// A sync failed: nothing counts that was recorded since the last commit.
    fn revoke(&mut self);

    /// Nothing more is recorded.
    fn close(&mut self);

    /// Objects and bytes of bodies in committed records of this process.
    fn durable(&self) -> (u64, u64);
}
