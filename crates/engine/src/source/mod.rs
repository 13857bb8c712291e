//! Sources: where tasks come from.
//!
//! A source is a state machine that says what to ask next and makes tasks of the answer; it does
//! no I/O itself.

mod failed;
pub mod listing;
mod page;
mod trail;

pub use failed::{FailedList, Pattern, Whereabouts, whereabouts};
pub use listing::{Api, Listing, ListingError};
