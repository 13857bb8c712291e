//! The schedule: which task is next, which waits, which is done with.
//!
//! All decisions, no I/O: time and randomness come in as arguments, so that a run can be played
//! again from its seed.

pub mod backoff;
pub mod desk;
pub mod gate;

pub use backoff::RetryPolicy;
pub use desk::{Desk, Ticket, Verdict};
pub use gate::Gate;
