//! Packs as Apache Parquet: a table with a row for each object, that pyarrow, DuckDB and polars read.
//!
//! The columns, as far as [`Columns`](super::columns::Columns) has them, always in this order:
//!
//! | column | type | |
//! |---|---|---|
//! | `name` | string | the name; see below for those that are not UTF-8 |
//! | `body` | binary | |
//! | `size` | int64 | bytes of the body |
//! | `url` | string or null | where it was asked for |
//! | `status` | uint16 or null | |
//! | `content_type`, `etag`, `last_modified` | string or null | fields of the answer, as they came |
//! | `sha256` | string | of the body, in lower-case hexadecimal: what `sha256(body)` is in DuckDB |
//! | `fetched_at` | timestamp (ms, UTC) or null | |
//! | `ordinal` | int64 | position in the source |
//!
//! Names are any bytes, strings are UTF-8. A name that is not UTF-8 stands in the column as `%=` and its bytes,
//! all but letters, digits, `-`, `_`, `~`, `.` and `/` as `%XX`; so does one that begins with `%=`
//! itself. All others stand there as they are, and so each leads back to its name. Header fields that
//! are not UTF-8 are taken for ISO-8859-1.
//!
//! In the file: data pages of version 1, values PLAIN, levels RLE, zstd, a CRC-32 for each page, an
//! offset index; no dictionaries, no statistics (of bodies they would be copies). Pages are cut at
//! [`PARQUET_PAGE_BYTES`](windrow_model::limits::PARQUET_PAGE_BYTES), so that one object is read
//! without its neighbours, and row groups at
//! [`PARQUET_GROUP_BYTES`](windrow_model::limits::PARQUET_GROUP_BYTES). A body above
//! [`PARQUET_ALONE_BYTES`](windrow_model::limits::PARQUET_ALONE_BYTES) has a row group of its own
//! and passes through in pieces. Key-value metadata say `windrow.format=1`.
//!
//! Pages are made and read here and not by the `parquet` crate: that holds each page and each value in
//! memory, a body of 2 GiB several times, and allocates what a page header claims.
//!
//! Source: <https://github.com/apache/parquet-format> 2.12 (`parquet.thrift`, `Encodings.md`,
//! `PageIndex.md`), and the compact protocol of Apache Thrift.

mod chunk;
mod columns;
mod footer;
mod frame;
mod pages;
mod read;
#[cfg(test)]
mod tests;
mod thrift;
mod write;

pub use read::ParquetDecoder;
pub use write::{Options, ParquetEncoder};

use std::borrow::Cow;
use std::io;
use windrow_model::percent::{self, Keep};

/// What a file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";

/// The key that says that a file is windrow's, and which form of it.
const FORMAT_KEY: &str = "windrow.format";
const FORMAT: &str = "1";

/// Codecs of `parquet.thrift`.
const UNCOMPRESSED: i64 = 0;
const ZSTD: i64 = 6;

/// Encodings of `parquet.thrift`.
const PLAIN: i64 = 0;
const RLE: i64 = 3;

/// What a name begins with that does not stand for itself.
const ENCODED: &[u8] = b"%=";

const KEEP: Keep = Keep::letters_digits_and(b"-_~./");

/// A name as it stands in the column.
fn shown(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.starts_with(ENCODED) && std::str::from_utf8(name).is_ok() {
        return Cow::Borrowed(name);
    }
    let mut encoded = ENCODED.to_vec();
    percent::escape_into(name, &KEEP, &mut encoded);
    Cow::Owned(encoded)
}

/// The name that a value of the column stands for; `None` if it is none.
fn named(shown: &[u8]) -> Option<Vec<u8>> {
    match shown.strip_prefix(ENCODED) {
        None => Some(shown.to_vec()),
        Some(encoded) => percent::decode(encoded),
    }
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
