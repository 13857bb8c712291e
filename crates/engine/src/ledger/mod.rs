//! The record of outcomes.
//!
//! What failed is written down as it happens, in a form that people and programs read. The
//! durable record of what was stored belongs here too, and is what resuming will stand on; see
//! ARCHITECTURE.md for what is still to come.

mod failures;

pub use failures::{Failed, FailureLog};
