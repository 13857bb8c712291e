//! What is behind the name of a format: how its packs are written and read.

use super::Format;
use crate::pack::columns::Columns;
use crate::pack::jsonl::{self, Jsonl};
use crate::pack::parquet::{self, ParquetDecoder, ParquetEncoder};
use crate::pack::tar::{TarDecode, TarEncode};
use crate::pack::warc::{Warc, Warcs};
use crate::pack::zst::{self, Framed};
use crate::pack::{Decode, Encode, PackOptions, ReadAt};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static WARCS: AtomicU64 = AtomicU64::new(0);

/// Level of gzip in WARC files.
const GZIP_LEVEL: u32 = 6;

impl Format {
    /// What writes its packs; `None` where there are none. `run` is the number of the run.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn encoder(self, options: &PackOptions, run: u64) -> io::Result<Option<Box<dyn Encode>>> {
        let columns = options.columns.unwrap_or(self.usual_columns());
        let lines = || Jsonl::new(columns, options.json_body);
        Ok(Some(match self {
            Self::Files | Self::Null => return Ok(None),
            Self::Tar => Box::new(TarEncode::new()),
            Self::Parquet => Box::new(ParquetEncoder::new(columns, &parquet::Options::default())?),
            Self::Jsonl => Box::new(lines()),
            Self::JsonlZst => Box::new(Framed::new(lines(), zst::LEVEL)?),
            Self::Warc => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                // Another for each core and process.
                let nth = WARCS.fetch_add(1, Ordering::Relaxed);
                let run = format!("{run:x}-{:x}-{nth}", now.as_nanos());
                let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
                Box::new(Warc::new(run.as_bytes(), now, GZIP_LEVEL))
            }
        }))
    }

    /// What reads a pack; `whole` is whether it was finished.
    ///
    /// # Errors
    /// The format has none, it is not one, or the environment's.
    pub fn decoder(self, pack: Box<dyn ReadAt>, whole: bool) -> io::Result<Box<dyn Decode>> {
        Ok(match self {
            Self::Files | Self::Null => return Err(io::ErrorKind::Unsupported.into()),
            Self::Tar if whole => Box::new(TarDecode::new(pack)?),
            Self::Tar => {
                let len = pack.size()?;
                Box::new(TarDecode::open(pack, len))
            }
            Self::Parquet => Box::new(ParquetDecoder::open(pack)?),
            Self::Jsonl => Box::new(jsonl::read(pack)),
            Self::JsonlZst => Box::new(zst::read_lines(pack)?),
            Self::Warc => Box::new(Warcs::new(pack)),
        })
    }

    fn usual_columns(self) -> Columns {
        match self {
            Self::Jsonl | Self::JsonlZst => Columns::of_lines(),
            _ => Columns::all(),
        }
    }

    /// Memory of what writes its packs, in bytes, about: there is one for each open pack.
    pub fn encoder_bytes(self) -> usize {
        match self {
            Self::Files | Self::Null => 0,
            Self::Tar | Self::Jsonl => 8 << 10,
            Self::JsonlZst => 3 << 20,
            Self::Parquet => 4 << 20,
            Self::Warc => 512 << 10,
        }
    }

    /// Whether its packs are of use only when they are whole.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Parquet)
    }

    /// Whether its packs tell more of an answer than its body.
    pub fn wants_meta(self, options: &PackOptions) -> bool {
        match self {
            Self::Files | Self::Null => false,
            Self::Tar => options.with_meta,
            Self::Warc => true,
            Self::Parquet | Self::Jsonl | Self::JsonlZst => {
                options.columns.unwrap_or(self.usual_columns()).of_answers()
            }
        }
    }

    /// Whether its packs tell of requests too.
    pub fn wants_requests(self) -> bool {
        self == Self::Warc
    }

    /// The place of what begins at a byte where a record was committed, if it can be told.
    pub(crate) fn place_at(self, offset: u64) -> Option<u64> {
        match self {
            Self::Tar | Self::Jsonl | Self::Warc => Some(offset),
            Self::JsonlZst => Some(offset << 24),
            Self::Parquet | Self::Files | Self::Null => None,
        }
    }
}
