//! Inventories of S3 as the source of keys: a `manifest.json` and the files that it names, which S3
//! writes once a day or a week in place of a listing.
//!
//! [`Manifest`] reads the one, [`Rows`] the others, a page at a time: memory is that of a page of keys and
//! of what the form itself needs (a window of gzip, a page of each Parquet column). CSV (gzip, no header
//! line, keys encoded for URLs) and Parquet are read, ORC is not. What of an inventory is wanted are the
//! latest versions that are no delete markers, below the prefix, as the filter says.
//!
//! Keys of CSV are encoded as forms of HTML are: a space is `+`, and `+` is `%2B`. AWS says only that they
//! are URL-encoded; that a space is `+` is what those see who read them (cloud-custodian, issue 1997), and
//! it is how `ListObjectsV2` encodes keys, too.
//!
//! Nothing is sent or fetched here. All of it blocks, so it wants a thread of its own.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>.

mod csv;
mod data;
mod manifest;
mod parquet;
#[cfg(test)]
mod tests;

pub use data::{Data, check};
pub use manifest::{DataFile, Form, Manifest, bucket_name};

use self::csv::Csv;
use self::parquet::Parquet;
use crate::source::bucket::{Filter, Page};
use std::fmt;
use std::path::PathBuf;
use windrow_model::Error;
use windrow_model::limits::{INVENTORY_PAGE_OBJECTS, INVENTORY_PAGE_ROWS, NAME_BYTES};
use windrow_model::task::{Etag, Listed};
use windrow_model::url::Url;

/// Where an inventory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Its manifest.
    pub manifest: Whereabouts,
    /// The service that has its files; buckets stand in the path there.
    pub service: Url,
}

/// Where a manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// In a file. What it names may lie beside it.
    File(PathBuf),
    /// In a bucket.
    Object {
        /// The bucket.
        bucket: String,
        /// Its key there.
        key: String,
    },
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Object { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

/// What of an inventory is wanted.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// The bucket that it is of.
    pub bucket: String,
    /// Only keys that begin so.
    pub prefix: String,
    /// Which of its objects.
    pub filter: Filter,
    /// When the run began, in seconds since 1970.
    pub began: u64,
}

/// Where a page begins: the number of its file, and the rows of the file before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// From 0 on.
    pub file: usize,
    /// Rows, wanted or not.
    pub row: u64,
}

impl Mark {
    /// Reads a marker.
    pub fn parse(text: &str) -> Option<Self> {
        let (file, row) = text.split_once(':')?;
        Some(Self { file: file.parse().ok()?, row: row.parse().ok()? })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.row)
    }
}

/// Objects of a file of an inventory, in its order.
#[derive(Debug, Default)]
pub struct Piece {
    /// Those that are wanted.
    pub page: Page,
    /// Objects that the filter left out.
    pub left_out: u64,
    /// Rows of the file before what follows; `None` at its end.
    pub next: Option<u64>,
}

/// One row.
#[derive(Debug, Default)]
struct Row {
    key: Vec<u8>,
    /// The latest version, and no delete marker.
    is_current: bool,
    /// Of another bucket.
    is_foreign: bool,
    listed: Listed,
    /// Seconds since 1970; 0 where that is not said.
    modified: u64,
}

/// Rows of one file.
#[derive(Debug)]
pub struct Rows {
    form: Opened,
    shown: String,
    /// Rows before the next.
    row: u64,
}

#[derive(Debug)]
enum Opened {
    Csv(Box<Csv>),
    Parquet(Box<Parquet>),
}

impl Rows {
    /// Opens a file of that form behind its first `skip` rows; `shown` is it, for people.
    ///
    /// # Errors
    /// It cannot be read, is corrupt, or lacks a column.
    pub fn open(data: Data, form: &Form, shown: &str, skip: u64) -> Result<Self, Error> {
        let form = match form {
            Form::Csv(columns) => Opened::Csv(Box::new(Csv::open(data, columns))),
            Form::Parquet => Opened::Parquet(Box::new(Parquet::open(data, shown)?)),
        };
        let mut rows = Self { form, shown: shown.to_owned(), row: skip };
        match &mut rows.form {
            Opened::Csv(csv) => csv.skip(skip),
            Opened::Parquet(parquet) => parquet.skip(skip),
        }
        .map_err(|why| rows.corrupt(&why))?;
        Ok(rows)
    }

    /// The next objects. From the same row on it is always the same page.
    ///
    /// # Errors
    /// The file is corrupt, or of another bucket.
    pub fn piece(&mut self, want: &Want) -> Result<Piece, Error> {
        let mut piece = Piece::default();
        let (mut row, mut rows) = (Row::default(), 0);
        loop {
            let mut page = Page::default();
            let mut more = true;
            while page.keys.len() < INVENTORY_PAGE_OBJECTS && rows < INVENTORY_PAGE_ROWS {
                let read = match &mut self.form {
                    Opened::Csv(csv) => csv.read(want, &mut row),
                    Opened::Parquet(parquet) => parquet.read(want, &mut row),
                };
                more = read.map_err(|why| self.corrupt(&why))?;
                if !more {
                    break;
                }
                (self.row, rows) = (self.row + 1, rows + 1);
                if row.is_foreign {
                    return Err(Error::usage(&self.shown, "is the inventory of another bucket")
                        .why(format!("row {} is of one that is not `{}`", self.row, want.bucket)));
                }
                if row.key.is_empty() || row.key.len() > NAME_BYTES {
                    return Err(self.corrupt("a key that is empty, or too long"));
                }
                if row.is_current && row.key.starts_with(want.prefix.as_bytes()) {
                    // A page is bounded far below 4 GiB.
                    let _ = page.keys.push(&row.key);
                    page.listed.push(row.listed);
                    page.modified.push(row.modified);
                }
            }
            piece.left_out += want.filter.apply(&mut page, want.prefix.len(), want.began);
            if piece.page.keys.is_empty() {
                piece.page = page;
            } else {
                for key in page.keys.iter() {
                    let _ = piece.page.keys.push(key);
                }
                piece.page.listed.append(&mut page.listed);
                piece.page.modified.append(&mut page.modified);
            }
            let full = piece.page.keys.len() >= INVENTORY_PAGE_OBJECTS;
            if full || !more || rows >= INVENTORY_PAGE_ROWS {
                piece.next = more.then_some(self.row);
                return Ok(piece);
            }
        }
    }

    fn corrupt(&self, why: &str) -> Error {
        let why = format!("row {}: {why}", self.row + 1);
        Error::environment(&self.shown, "is corrupt, or no file of an inventory").why(why)
    }
}

/// What a row says of its version: nothing, or whether something is so.
fn is_not(said: Option<bool>, unwanted: bool) -> bool {
    said.is_none_or(|said| said != unwanted)
}

/// Reads an entity tag; one that is not there is none.
fn etag(text: Option<&[u8]>) -> Etag {
    text.map_or(Etag::NONE, Etag::read)
}
