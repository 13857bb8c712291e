//! windrow's engine: fetches many small objects, and lays them down.
pub mod schedule;
pub mod sink;
pub mod source;
pub mod wire;
