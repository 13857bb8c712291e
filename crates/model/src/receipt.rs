//! Where a body lies.

use crate::Ordinal;

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
