//! What reads a destination.

use super::*;

/// `windrow status`
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Directory that `windrow get` writes or wrote to
    #[arg(value_name = "DEST", env = "WINDROW_DEST")]
    pub(crate) dest: PathBuf,

    /// Tell it as JSON
    #[arg(long, env = "WINDROW_JSON")]
    pub(crate) json: bool,
}

/// `windrow verify`
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Directory that `windrow get` wrote to
    #[arg(value_name = "DEST", env = "WINDROW_DEST")]
    pub(crate) dest: PathBuf,

    /// Tell what is wrong as lines of JSON, and the sum in a last one
    #[arg(long, env = "WINDROW_JSON")]
    pub(crate) json: bool,

    /// Threads [default: all cores]
    #[arg(long, value_name = "N", env = "WINDROW_CORES")]
    pub(crate) cores: Option<usize>,

    /// The source was `windrow serve --synthetic N`: compare every body with that too
    #[arg(long, value_name = "N", env = "WINDROW_SYNTHETIC", value_parser = parse_count)]
    pub(crate) synthetic: Option<u64>,

    /// Bytes of each synthetic object
    #[arg(long, value_name = "B", default_value = "100", env = "WINDROW_SIZE",
          value_parser = parse_bytes)]
    pub(crate) size: u64,

    /// Seed of the synthetic objects
    #[arg(long, value_name = "S", default_value_t = 0, env = "WINDROW_SEED")]
    pub(crate) seed: u64,
}

/// `windrow ls`
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Directory that `windrow get` writes or wrote to
    #[arg(value_name = "DEST", env = "WINDROW_DEST")]
    pub(crate) dest: PathBuf,

    /// Only names that begin so
    #[arg(env = "WINDROW_PREFIX")]
    pub(crate) prefix: Option<std::ffi::OsString>,

    /// The same as an option
    #[arg(
        long = "prefix",
        value_name = "PREFIX",
        conflicts_with = "prefix",
        env = "WINDROW_WITH_PREFIX"
    )]
    pub(crate) with_prefix: Option<std::ffi::OsString>,

    /// A line of JSON for each object: name, bytes, and where it lies
    #[arg(long, env = "WINDROW_JSON", conflicts_with = "null")]
    pub(crate) json: bool,

    /// Names as they are, a NUL behind each; else `\` and control characters are escaped
    #[arg(short = '0', long, env = "WINDROW_NULL")]
    pub(crate) null: bool,
}

/// `windrow cat`
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// Directory that `windrow get` writes or wrote to
    #[arg(value_name = "DEST", env = "WINDROW_DEST")]
    pub(crate) dest: PathBuf,

    /// Names of objects, as the source gave them; their bodies are written one behind the other
    #[arg(value_name = "NAME", required = true, num_args = 1.., env = "WINDROW_NAMES")]
    pub(crate) names: Vec<std::ffi::OsString>,
}

/// `windrow extract`
#[derive(Debug, clap::Args)]
pub(crate) struct Extract {
    /// Directory that `windrow get` writes or wrote to
    #[arg(value_name = "DEST", env = "WINDROW_DEST")]
    pub(crate) dest: PathBuf,

    /// Directory to write to
    #[arg(short, long = "output", value_name = "DIR", env = "WINDROW_OUTPUT")]
    pub(crate) output: PathBuf,

    /// Only names that fit: `*` stands for anything, `/` too, `?` for one character, [a-z] for one
    /// of these, `\` before any of them for itself
    #[arg(long = "match", id = "match", value_name = "GLOB", env = "WINDROW_MATCH")]
    pub(crate) matching: Option<std::ffi::OsString>,

    /// Replace files that are there with another content; else they stay, and it ends with exit 1
    #[arg(long, env = "WINDROW_OVERWRITE")]
    pub(crate) overwrite: bool,

    /// Say nothing but errors
    #[arg(short, long, env = "WINDROW_QUIET")]
    pub(crate) quiet: bool,
}
