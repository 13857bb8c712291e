//! The index of a destination: from an object's name to the pack and the place where it lies.
//!
//! An *entry* has the hash of a name (XXH3, 64 bits), a pack and a place: 20 bytes for each object.
//! Entries are [gathered](Gather) while packs are written, and lie sorted in files, *runs* as in a
//! merge sort; [`merge`] makes one of them, `all`, in memory that does not depend on their number.
//! [`Index`] reads a few pages of it for one name. Which object it is says the name in the pack, so
//! hashes may collide and a file may be out of date: the answer is slower then, and never wrong.
//!
//! Nothing here is needed to keep an object. Every page has a checksum, each file says of which packs it has
//! all entries, and what is missing or damaged is [built](build()) again from the packs. So runs
//! are not synced; only `all` is, before it replaces what it was made from.
//!
//! docs/FORMAT.md has the bytes.

mod build;
mod gather;
mod lookup;
mod merge;
mod run;
mod sort;
mod survey;
#[cfg(test)]
mod tests;

pub use build::{Built, build};
pub use gather::{Gather, Run, write};
pub use lookup::{Candidates, Index};
pub use merge::{Merged, merge, merge_many};

use crate::disk::{Dir, Disk};
use std::io;

/// The file that all runs become.
pub const ALL: &str = "all";

/// The ending of the names of runs.
const RUN: &str = ".run";

/// Removes the index: for one that proved to be damaged.
///
/// # Errors
/// The environment's.
pub fn forget(disk: &dyn Disk) -> io::Result<()> {
    for name in disk.list(Dir::Index)? {
        disk.remove(Dir::Index, &name)?;
    }
    Ok(())
}

/// Where an object lies, by the hash of its name. Ordered by hash, pack, place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u64,
    pack: u32,
    place: u64,
}

/// The hash of a name.
fn hash(name: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name)
}

/// The file of a run: the last of the pack, or one of those before it.
fn run_file(pack: u32, part: Option<u32>) -> String {
    match part {
        None => format!("{pack:05}{RUN}"),
        Some(part) => format!("{pack:05}-{part}{RUN}"),
    }
}
