//! windrow's engine: fetches millions to billions of small objects and lays them down, losing
//! none.
//!
//! The modules stand in the order in which an object passes them:
//!
//! ```text
//! source -> schedule -> wire -> transform -> sink -> ledger
//! ```
//!
//! Every core runs one single-threaded runtime and owns its connections, its open pack and its
//! counters; it shares with the others one bounded queue of leases, touched once per some hundred
//! objects. Only [`pipeline`] knows more than one stage.

#![forbid(unsafe_code)]

pub mod source;

pub mod schedule;

pub mod wire;

pub mod content;

pub mod transform;

pub mod pack;

pub mod shard;

pub mod sink;

pub mod ledger;

pub mod disk;
pub mod glob;
pub mod manifest;

pub mod inspect;

pub mod pipeline;
pub mod report;
pub mod rt;

pub use pipeline::{Ended, Format, Outage, Plan, Run, ShardSize};
