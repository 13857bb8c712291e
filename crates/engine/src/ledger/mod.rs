//! The record of outcomes, on which resuming stands.
//!
//! Every core appends to a file of its own what it stored and what failed; the listing appends the
//! pages that gave the ordinals. docs/FORMAT.md has the bytes, [`replay`] the rules by which they
//! are read after a crash. `failures.jsonl` tells people the same about what failed.

mod codec;
mod core;
mod failures;
pub mod frame;
mod listing;
mod log;
mod recover;
pub mod replay;
mod state;
#[cfg(test)]
mod tests;

pub use self::core::CoreLedger;
pub use failures::{FAILURES_FILE, Failed, FailureLog, forget, retain};
pub use listing::ListingLog;
#[cfg(test)]
pub(crate) use recover::load_in;
pub use recover::{Ledger, Past, Wanted, load};
pub use state::{Cursor, PackState, PageRecord, Pages, State};

/// Appends a number as the ledger writes it.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    codec::put(out, number);
}

/// Takes such a number from the front.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut take = codec::Take(bytes);
    let number = take.number()?;
    *bytes = take.0;
    Some(number)
}
