//! How packs are written, and `windrow repack`.

use super::*;
use crate::units::parse_shard_size;
use windrow_engine::pack::PackOptions;
use windrow_engine::pack::columns::{Column, Columns};
use windrow_engine::shard::{By, Division};

/// What every command that writes packs can be told of them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Packs")]
pub(crate) struct PackArgs {
    /// When a pack is full, in objects (10000) or bytes (256MiB) [default: either]
    #[arg(long, value_name = "N|BYTES", env = "WINDROW_SHARD_SIZE", value_parser = parse_shard_size)]
    pub(crate) shard_size: Option<ShardSize>,

    /// Divide objects among N packs by a hash: pack I has those with murmur3_x86_32(key) % N = I, as
    /// Python's mmh3.hash(key, signed=False) % N has it. With --shard-size packs I, I + N, ...
    #[arg(long, value_name = "N", env = "WINDROW_SHARDS",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::GET_SHARDS)))]
    pub(crate) shards: Option<u32>,

    /// The key: `name`, `body`, or `json:FIELD` of a body that is a JSON object [default: name]
    #[arg(long, value_name = "KEY", requires = "shards", env = "WINDROW_SHARD_BY")]
    pub(crate) shard_by: Option<By>,

    /// What parquet and jsonl packs tell of each object: some of name, body, size, url, status,
    /// content_type, etag, last_modified, sha256, fetched_at, ordinal [default: all of them in
    /// parquet; name, size, body, url, status and content_type in jsonl]
    #[arg(long, value_name = "NAME,...", env = "WINDROW_COLUMNS", value_parser = parse_columns)]
    pub(crate) columns: Option<Columns>,

    /// Beside each member of a tar a second one, NAME.json, with URL, status and headers
    #[arg(long, env = "WINDROW_WITH_META")]
    pub(crate) with_meta: bool,

    /// In jsonl, a body that is JSON is not made a string
    #[arg(long, env = "WINDROW_JSON_BODY")]
    pub(crate) json_body: bool,

    /// Memory for bodies and buffers; larger bodies go by way of the disk
    #[arg(long, value_name = "BYTES", default_value = "256MiB", env = "WINDROW_MEMORY",
          value_parser = parse_bytes)]
    pub(crate) memory: u64,
}

impl PackArgs {
    /// What packs tell of their objects.
    pub(crate) fn options(&self) -> PackOptions {
        let &Self { columns, with_meta, json_body, .. } = self;
        PackOptions { columns, with_meta, json_body }
    }

    /// Which pack an object goes to, if anything decides that.
    pub(crate) fn division(&self) -> Option<Division> {
        let by = || self.shard_by.clone().unwrap_or(By::Name);
        self.shards.map(|shards| Division { shards, by: by() })
    }

    /// When a pack is full, if that is not the default.
    pub(crate) fn size(&self) -> Option<ShardSize> {
        // One pack for each shard, where nothing else was asked for.
        let endless = ShardSize { objects: u64::MAX, bytes: u64::MAX };
        self.shard_size.or(self.shards.map(|_| endless))
    }
}

/// `windrow repack`
#[derive(Debug, clap::Args)]
pub(crate) struct Repack {
    /// Directory that `windrow get` or `windrow repack` wrote to; it stays as it is
    #[arg(value_name = "DEST", env = "WINDROW_DEST")]
    pub(crate) dest: PathBuf,

    /// Directory to write to
    #[arg(short, long = "output", value_name = "NEW", env = "WINDROW_OUTPUT")]
    pub(crate) output: PathBuf,

    /// Form of the output
    #[arg(long, env = "WINDROW_FORMAT", value_enum)]
    pub(crate) format: FormatArg,

    /// Only names that fit: `*` stands for anything, `/` too, `?` for one character, [a-z] for one
    /// of these, `\` before any of them for itself
    #[arg(long = "match", id = "match", value_name = "GLOB", env = "WINDROW_MATCH")]
    pub(crate) matching: Option<std::ffi::OsString>,

    /// Forget what is in NEW, and begin from nothing
    #[arg(long, env = "WINDROW_FRESH")]
    pub(crate) fresh: bool,

    /// Say nothing but errors
    #[arg(short, long, env = "WINDROW_QUIET")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) packs: PackArgs,
}

/// What is written without names or bodies cannot be found again, or is none of the objects.
fn parse_columns(text: &str) -> Result<Columns, String> {
    let columns = Columns::parse(text)?;
    match columns.has(Column::Name) && columns.has(Column::Body) {
        true => Ok(columns),
        false => Err("name and body belong to it".into()),
    }
}
