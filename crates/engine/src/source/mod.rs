//! Sources: where tasks come from.
//!
//! A listing is a state machine that says what to ask next and makes tasks of the answer; it does
//! no I/O itself. A list of URLs is read from files, on a thread of its own.

pub mod bucket;
mod failed;
pub mod inventory;
pub mod keys;
pub mod list;
pub mod listing;
mod page;
mod trail;

pub use failed::{FailedList, Pattern, Whereabouts, whereabouts};
pub use listing::{Api, Listing, ListingError};
