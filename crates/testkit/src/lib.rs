//! What windrow's tests need from the outside world: servers that misbehave to a script, nginx on
//! a free port, the command itself with a time limit, and folders to compare.
//!
//! Only tests depend on this crate. It knows the nouns of windrow and nothing of its engine, so
//! that what it says about a run is said from outside. It panics where something that a test
//! relies on does not hold: a test that cannot be carried out has failed.

#![forbid(unsafe_code)]

pub mod child;
pub mod nginx;
pub mod port;
pub mod script;
pub mod torture;
pub mod tree;
pub mod wait;
pub mod windrow;

pub use nginx::Nginx;
pub use script::{Gate, Script, Step};
pub use tree::Tree;
pub use windrow::{Finished, Running, Serve, Windrow};
