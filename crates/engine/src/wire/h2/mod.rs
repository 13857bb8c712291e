//! HTTP/2 as a client speaks it (RFC 9113): many requests at once on one connection.
//!
//! Frames, header compression and windows are the library's (`h2`); what is here is who asks, what
//! an answer means, and that every request ends exactly once. [`drive`] serves one connection on
//! one task: all its streams are polled by that task, and only those that have news.
//!
//! What a request that got no answer is worth, decides between a retry that counts and one that
//! does not: see `loss`.

mod drive;
mod loss;
mod meter;
mod request;
mod response;
mod slots;
mod stream;

pub use drive::{Ended, H2Options, Scheme, drive};

#[cfg(test)]
mod tests;
