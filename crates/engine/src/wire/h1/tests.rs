//! The codec against exact cases, against generated and damaged responses, and against another
//! implementation.

use super::*;

mod bounds;
mod cases;
mod chunks;
mod differential;
/// Drives the codec as a connection does; the fuzz targets include the same file.
mod drive;
/// Generates responses; the fuzz targets include the same file.
mod grammar;
mod requests;
mod session;
mod split;

use proptest::test_runner::Config;

/// So many cases; what fails is printed, and kept in no file.
fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}
