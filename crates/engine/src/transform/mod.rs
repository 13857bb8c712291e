//! What is done with a body between wire and sink: a chain of transforms, on threads of its own.
//!
//! A [`Chain`] is read from the `--transform` flags, or put together in code. A [`Pool`] runs it on
//! CPU threads beside those of the sockets; each core has a [`Client`] there, which gives objects and
//! takes results. The queues are bounded by objects and bytes, and touched once for a batch. An object
//! that makes a transform panic or hang is failed, and the rest goes on.
//!
//! What the transforms are: `unpack` (gunzip, zstd), `verify`, `image` (resize), `exec` (commands and
//! worker processes), `drop_if`. Where objects come from, where results go and what is written down of
//! them is for others to say. docs/TRANSFORMS.md is the reference for users.

mod chain;
mod drop_if;
mod exec;
mod image;
mod map;
mod order;
mod pool;
mod spec;
mod unpack;
mod verify;

pub use chain::{Chain, Lane};
pub use map::{MapOrdered, Policy, map_ordered};
pub use order::InOrder;
pub use pool::{Client, Done, Pool, PoolOptions, Stopped};

use windrow_model::limits::TRANSFORM_WHY_BYTES;
use windrow_model::{Failure, FailureClass};

/// An object on its way through a chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Its name, as listed. No transform changes it.
    pub name: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// The media type that the server said, or that a transform made.
    pub content_type: Option<String>,
    /// The SHA-256 that a column of the list says of the body as it was fetched.
    pub expected_sha256: Option<[u8; 32]>,
    /// Its place in the source.
    pub ordinal: u64,
}

impl Object {
    /// Bytes that count against the bounds of queues.
    fn bytes(&self) -> u64 {
        (self.name.len() + self.body.len()) as u64
    }
}

/// What became of an object in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, as it is now.
    Keep(Object),
    /// It is not wanted: skipped, and no failure.
    Drop,
}

/// Why a transform failed for one object. Any [`std::error::Error`] becomes one by `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The class, and what happened in general.
    pub failure: Failure,
    /// What happened to this object: an exit code, the first line of a message. One line of at most
    /// [`TRANSFORM_WHY_BYTES`] bytes, without control characters.
    pub why: Option<String>,
}

impl Failed {
    /// A failure of class `transform`.
    pub fn new(detail: &'static str) -> Self {
        Self::of(Failure::new(FailureClass::Transform, detail))
    }

    /// This failure.
    pub fn of(failure: Failure) -> Self {
        Self { failure, why: None }
    }

    /// With what happened to this object. Of a text of several lines the first one that says
    /// something is kept.
    #[must_use]
    pub fn why(mut self, why: impl std::fmt::Display) -> Self {
        self.why = one_line(&why.to_string());
        self
    }
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::new("the transform returned an error").why(error)
    }
}

/// The first line that says something, cut and without what a terminal would obey.
fn one_line(text: &str) -> Option<String> {
    let bare = |c: char| c.is_whitespace() || c.is_control();
    let line = text.lines().map(|line| line.trim_matches(bare)).find(|line| !line.is_empty())?;
    let mut kept = String::new();
    for char in line.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if kept.len() + char.len_utf8() > TRANSFORM_WHY_BYTES {
            break;
        }
        kept.push(char);
    }
    Some(kept)
}

#[cfg(test)]
mod tests;
