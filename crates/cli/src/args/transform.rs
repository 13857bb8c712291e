//! What is done with objects before they are stored.

use super::*;

/// Transforms, and how they run.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Transforms")]
pub(crate) struct TransformArgs {
    /// What is done with each object, in the order of the flags: verify[=sha256:COLUMN], gunzip, zstd,
    /// resize=256[,mode=fit|fill|crop,format=jpeg|png|webp,quality=85,lossless,only-shrink], exec=COMMAND,
    /// exec-worker=COMMAND, drop-if=CONDITION
    #[arg(long, value_name = "SPEC", env = "WINDROW_TRANSFORM")]
    pub(crate) transform: Vec<String>,

    /// Threads for transforms, and so commands at once [default: one for each core]
    #[arg(
        long,
        value_name = "N",
        env = "WINDROW_TRANSFORM_THREADS",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024)
    )]
    pub(crate) transform_threads: Option<usize>,

    /// Time for one object; a command is killed then
    #[arg(
        long,
        value_name = "T",
        default_value = "60s",
        env = "WINDROW_TRANSFORM_TIMEOUT",
        value_parser = parse_duration
    )]
    pub(crate) transform_timeout: Duration,
}
