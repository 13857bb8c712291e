//! Where a body lies.

use crate::{Failure, FailureClass, Ordinal};

/// Where the bytes of an object were put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Thrown away (`--format null`).
    Nowhere,
    /// A file of its own.
    File,
    /// `offset..offset + bytes` of a pack.
    Pack {
        /// Number of the pack.
        pack: u32,
        /// Offset of the body's first byte.
        offset: u64,
    },
}

/// What a sink gives for a body that it took.
///
/// A receipt says *where* a body lies, not yet that it is durable: that is a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The object.
    pub ordinal: Ordinal,
    /// Length of the body in bytes.
    pub bytes: u64,
    /// Where it lies.
    pub place: Place,
}

/// Objects that were written together, as a sink tells it to the ledger.
#[derive(Debug, Default)]
pub struct Batch {
    /// Which they are, in the order in which they lie.
    pub ordinals: Vec<Ordinal>,
    /// What it takes to check them later, in the same order.
    pub manifest: Vec<u8>,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Batch {
    /// Whether there is no object in it.
    pub fn is_empty(&self) -> bool {
        self.ordinals.is_empty()
    }

    /// Forgets what is in it, and keeps its memory.
    pub fn clear(&mut self) {
        self.ordinals.clear();
        self.manifest.clear();
        self.bytes = 0;
    }
}

/// A pack as it stands behind a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InPack {
    /// Its number.
    pub number: u32,
    /// Its length behind the last object of the batch.
    pub len: u64,
    /// Nothing more comes into it.
    pub full: bool,
}

/// How an object failed for good, as the ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedObject {
    /// The object.
    pub ordinal: Ordinal,
    /// Class of the last attempt.
    pub class: FailureClass,
    /// Status of the last response, 0 when none came.
    pub status: u16,
    /// Attempts, the first included.
    pub attempts: u32,
}

impl FailedObject {
    /// The record of a failure.
    pub fn new(ordinal: Ordinal, failure: Failure, attempts: u32) -> Self {
        Self { ordinal, class: failure.class, status: failure.status, attempts }
    }
}
