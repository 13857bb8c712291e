//! Packs that every tar can read: POSIX ustar (IEEE Std 1003.1-2017, "pax"), with extended headers
//! only where a name or a size does not fit.
//!
//! The same objects in the same order give the same bytes: owner, time and mode are constant.
//!
//! What is known of an answer goes into a second member behind the object's, JSON, named so that
//! WebDataset takes both for one sample: see [`meta`]. Its header says what it is, so an object that
//! happens to have such a name is still an object.

mod decode;
mod encode;
pub mod entry;
pub(crate) mod header;
pub mod meta;
pub mod read;
#[cfg(test)]
mod tests;
mod window;

pub use decode::TarDecode;
pub use encode::TarEncode;

/// The two empty blocks that end a pack.
pub const ENDING: &[u8] = &[0; 2 * header::BLOCK];
