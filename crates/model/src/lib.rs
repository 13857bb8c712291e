//! The nouns of windrow: what a task, an outcome and a receipt are, which bounds hold, and how a
//! name becomes a path.
//!
//! Nothing in this crate touches a socket, a file or a clock. Every other crate depends on it and
//! it depends on none of them.

#![forbid(unsafe_code)]

pub mod calendar;
pub mod corpus;
pub mod digits;
pub mod error;
pub mod limits;
pub mod name;
pub mod outcome;
pub mod percent;
pub mod receipt;
pub mod task;
pub mod url;

pub use corpus::Corpus;
pub use error::{Error, Exit};
pub use outcome::{Failure, FailureClass};
pub use receipt::{Batch, FailedObject, InPack, Place, Receipt};
pub use task::{Lease, Ordinal, Sheet};
