//! The content: whether a body is what it is said to be, and what it is when a coding is undone.
//!
//! Between wire and sink, without I/O. [`check`] compares a body with the checksums and the length
//! that the list and the response's header lines say; [`coding`] undoes a `Content-Encoding` within
//! bounds; [`murmur3`] is the hash that shards go by. Which bytes come, and where they go, is for others to say.

pub mod check;
pub mod coding;
mod crc64;
mod gzip;
pub mod murmur3;
mod sum;

pub use check::{Checker, Checks, Form, check_whole};
pub use coding::{Bounds, Coding, Decoder, Kept};
pub use murmur3::murmur3_32;
