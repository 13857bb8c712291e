//! Reads packs.

use super::footer::{Contents, Group};
use super::pages::{Desk, Pages, Value};
use super::{damaged, named};
use crate::pack::columns::{Column, Columns};
use crate::pack::{Decode, Found, Meta, ReadAt};
use std::io;

/// Reads the rows of a Parquet file that windrow wrote.
///
/// Memory: a page of each column, [`PARQUET_PAGE_BYTES`](windrow_model::limits::PARQUET_PAGE_BYTES)
/// as they are written and little more than
/// [`PARQUET_ALONE_BYTES`](windrow_model::limits::PARQUET_ALONE_BYTES) whatever the file says; longer
/// bodies pass in pieces. And what the footer says, a few times its bytes.
///
/// Bodies are not read where nobody wants them and there is a column of sizes. In files without a
/// column of names these are empty. Of the headers there is what the columns have.
///
/// Refused (`InvalidData`): files of other tools, also those that were windrow's and were rewritten; damaged
/// ones, where they are damaged. Every page has a checksum.
pub struct ParquetDecoder {
    desk: Desk,
    columns: Vec<Pages>,
    groups: Vec<Group>,
    rows: u64,
    /// The next row.
    row: u64,
    /// The row group that the columns are in.
    group: Option<usize>,
}

impl std::fmt::Debug for ParquetDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, row, .. } = self;
        f.debug_struct("ParquetDecoder")
            .field("rows", rows)
            .field("row", row)
            .finish_non_exhaustive()
    }
}

impl ParquetDecoder {
    /// Reads the footer, and is at the first row.
    ///
    /// # Errors
    /// It is no file that windrow wrote, it is not whole, or the environment's.
    pub fn open(file: Box<dyn ReadAt>) -> io::Result<Self> {
        let contents = Contents::read(&*file)?;
        let pages = |&(column, number): &(Column, usize)| Pages::new(column, number);
        Ok(Self {
            desk: Desk::new(file)?,
            columns: contents.columns.iter().map(pages).collect(),
            groups: contents.groups,
            rows: contents.rows,
            row: 0,
            group: None,
        })
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Its columns.
    pub fn columns(&self) -> Columns {
        Columns::of(self.columns.iter().map(|pages| pages.column))
    }

    /// The row group of a row of the file.
    fn group_of(&self, row: u64) -> usize {
        self.groups.partition_point(|group| group.first + group.rows <= row)
    }
}

/// What a row says, column by column.
#[derive(Default)]
struct Row {
    found: Found,
    meta: Meta,
    /// Whether any column of the answer has a value.
    answered: bool,
    size: Option<u64>,
}

impl Row {
    fn take(&mut self, column: Column, value: Option<&[u8]>) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        let long = || {
            let bytes = value.first_chunk::<8>().ok_or_else(|| damaged("a number is cut"))?;
            u64::try_from(i64::from_le_bytes(*bytes)).map_err(|_| damaged("a negative number"))
        };
        match column {
            Column::Name => {
                self.found.name =
                    named(value).ok_or_else(|| damaged("a name that is badly encoded"))?;
            }
            Column::Size => self.size = Some(long()?),
            Column::Ordinal => self.found.ordinal = Some(long()?),
            Column::FetchedAt => self.meta.fetched_at = long()?,
            Column::Url => self.meta.url = String::from_utf8_lossy(value).into_owned(),
            Column::Status => {
                let bytes = value.first_chunk::<4>().ok_or_else(|| damaged("a number is cut"))?;
                self.meta.status = u16::try_from(u32::from_le_bytes(*bytes))
                    .map_err(|_| damaged("an impossible status code"))?;
            }
            Column::ContentType => self.header("content-type", value),
            Column::Etag => self.header("etag", value),
            Column::LastModified => self.header("last-modified", value),
            Column::Body | Column::Sha256 => {}
        }
        self.answered |= column.is_optional();
        Ok(())
    }

    fn header(&mut self, name: &str, value: &[u8]) {
        let headers = &mut self.meta.headers;
        headers.extend_from_slice(name.as_bytes());
        headers.extend_from_slice(b": ");
        // No value has line ends; one that was put there does not become a line of its own.
        headers.extend(value.iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
        headers.extend_from_slice(b"\r\n");
    }
}

impl ParquetDecoder {
    fn read(&mut self, body: Option<&mut crate::pack::Pieces<'_>>) -> io::Result<Option<Found>> {
        if self.row >= self.rows {
            return Ok(None);
        }
        let at = self.group_of(self.row);
        let Some(group) = self.groups.get(at) else { return Ok(None) };
        if self.group != Some(at) {
            let inside = self.row > group.first;
            self.group = None;
            for pages in &mut self.columns {
                pages.open(group, inside)?;
            }
            self.group = Some(at);
        }
        let inside = self.row - group.first;
        let mut row = Row::default();
        let mut bodies = None;
        for pages in &mut self.columns {
            match pages.column {
                Column::Body => bodies = Some(pages),
                // It is there for others.
                Column::Sha256 => {}
                column => {
                    let value = match pages.value(inside, &mut self.desk)? {
                        Value::At(range) => Some(&pages.page[range]),
                        Value::Null => None,
                        Value::Long(_) => return Err(damaged("a long value")),
                    };
                    row.take(column, value)?;
                }
            }
        }
        if let Some(pages) = bodies.filter(|_| body.is_some() || row.size.is_none()) {
            let value = pages.value(inside, &mut self.desk)?;
            let len = match &value {
                Value::At(range) => range.len() as u64,
                Value::Long(bytes) => *bytes,
                Value::Null => 0,
            };
            if row.size.is_some_and(|size| size != len) {
                return Err(damaged("a body that is not as long as its size says"));
            }
            row.size = Some(len);
            match (value, body) {
                (Value::At(range), Some(body)) if !range.is_empty() => body(&pages.page[range])?,
                (Value::Long(_), Some(body)) => pages.pass(&mut self.desk, body)?,
                _ => {}
            }
        }
        let Row { mut found, meta, answered, size } = row;
        found.place = self.row;
        found.bytes = size.unwrap_or_default();
        found.meta = answered.then_some(meta);
        self.row += 1;
        Ok(Some(found))
    }
}

impl Decode for ParquetDecoder {
    fn next(&mut self, body: Option<&mut crate::pack::Pieces<'_>>) -> io::Result<Option<Found>> {
        let found = self.read(body);
        if found.is_err() {
            // Columns may stand at different rows now.
            self.group = None;
        }
        found
    }

    fn seek(&mut self, place: u64) -> io::Result<()> {
        if place >= self.rows {
            return Err(damaged("no row of the file has this number"));
        }
        let at = self.group_of(place);
        match self.groups.get(at) {
            Some(group) if self.group == Some(at) => {
                let row = place - group.first;
                self.columns.iter_mut().try_for_each(|pages| pages.turn(row, group))?;
            }
            _ => self.group = None,
        }
        self.row = place;
        Ok(())
    }
}
