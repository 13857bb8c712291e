//! One column of a row group, as it is written: values are gathered as they lie in a page, and each
//! page is compressed when it is full.

use super::frame::Press;
use super::thrift::{Struct, put_varint};
use super::{PLAIN, RLE};
use crate::pack::columns::Column;
use std::io;

/// Where a page is.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageAt {
    /// Bytes before it in its chunk.
    pub(super) offset: u64,
    /// Its bytes, head included.
    pub(super) bytes: u64,
    /// Rows of the group before its first.
    pub(super) first_row: u64,
}

/// What the head of a page says.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageHead {
    pub(super) raw: u64,
    pub(super) packed: u64,
    pub(super) crc: u32,
    pub(super) values: u64,
}

impl PageHead {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        Struct::put(out, |head| {
            head.int32(1, 0); // DATA_PAGE
            head.int32(2, self.raw.cast_signed());
            head.int32(3, self.packed.cast_signed());
            head.int32(4, i64::from(self.crc.cast_signed()));
            head.nested(5, |data| {
                data.int32(1, self.values.cast_signed());
                data.int32(2, PLAIN);
                data.int32(3, RLE);
                data.int32(4, RLE);
            });
        });
    }
}

/// A column of the row group that is being written.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) column: Column,
    /// The page that is being filled: its values, and its rows.
    values: Vec<u8>,
    rows: u64,
    levels: Levels,
    /// Pages that are done.
    pub(super) pages: Vec<PageAt>,
    pub(super) packed: Vec<u8>,
    /// Their rows, and their bytes before compression, heads included.
    done: u64,
    pub(super) raw: u64,
}

/// Which rows of a page have a value (definition levels): runs of the hybrid of `Encodings.md`.
#[derive(Debug, Default)]
struct Levels {
    runs: Vec<u8>,
    present: bool,
    run: u64,
}

impl Levels {
    fn push(&mut self, present: bool) {
        if present != self.present {
            self.close();
            self.present = present;
        }
        self.run += 1;
    }

    fn close(&mut self) {
        if self.run > 0 {
            put_varint(self.run << 1, &mut self.runs);
            self.runs.push(u8::from(self.present));
            self.run = 0;
        }
    }
}

/// Where pages are put together; one for all columns.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) press: Press,
    pub(super) page_bytes: usize,
    raw: Vec<u8>,
    packed: Vec<u8>,
}

impl Bench {
    pub(super) fn new(level: i32, page_bytes: usize) -> io::Result<Self> {
        Ok(Self { press: Press::new(level)?, page_bytes, raw: Vec::new(), packed: Vec::new() })
    }
}

impl Chunk {
    pub(super) fn new(column: Column) -> Self {
        Self {
            column,
            values: Vec::new(),
            rows: 0,
            levels: Levels::default(),
            pages: Vec::new(),
            packed: Vec::new(),
            done: 0,
            raw: 0,
        }
    }

    /// Forgets its rows.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.levels.runs.clear();
        self.levels.run = 0;
        self.pages.clear();
        self.packed.clear();
        (self.rows, self.done, self.raw) = (0, 0, 0);
    }

    /// Sees to it that so many bytes fit into the page.
    pub(super) fn room(&mut self, bytes: usize, bench: &mut Bench) -> io::Result<()> {
        let page = self.values.len() + self.levels.runs.len() + bytes;
        if self.rows > 0 && page > bench.page_bytes {
            self.seal(bench)?;
        }
        Ok(())
    }

    /// Adds a row with a value of fixed width, or a string without its length.
    pub(super) fn push(&mut self, value: &[u8], bench: &mut Bench) -> io::Result<()> {
        self.room(value.len(), bench)?;
        self.values.extend_from_slice(value);
        self.row(true);
        Ok(())
    }

    /// Adds a row with a string.
    pub(super) fn push_text(&mut self, value: &[u8], bench: &mut Bench) -> io::Result<()> {
        self.room(value.len() + 4, bench)?;
        self.values.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.values.extend_from_slice(value);
        self.row(true);
        Ok(())
    }

    /// Adds a row without a value.
    pub(super) fn push_null(&mut self, bench: &mut Bench) -> io::Result<()> {
        self.room(0, bench)?;
        self.row(false);
        Ok(())
    }

    /// The values of the page: what is appended is one row's, to be told by [`Self::row`].
    pub(super) fn values(&mut self) -> &mut Vec<u8> {
        &mut self.values
    }

    pub(super) fn row(&mut self, present: bool) {
        if self.column.is_optional() {
            self.levels.push(present);
        }
        self.rows += 1;
    }

    /// Makes a page of what there is.
    pub(super) fn seal(&mut self, bench: &mut Bench) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let raw = if self.column.is_optional() {
            self.levels.close();
            bench.raw.clear();
            bench.raw.extend_from_slice(&(self.levels.runs.len() as u32).to_le_bytes());
            bench.raw.extend_from_slice(&self.levels.runs);
            bench.raw.extend_from_slice(&self.values);
            &bench.raw
        } else {
            &self.values
        };
        bench.press.frame(raw, &mut bench.packed)?;
        let head = PageHead {
            raw: raw.len() as u64,
            packed: bench.packed.len() as u64,
            crc: crc32fast::hash(&bench.packed),
            values: self.rows,
        };
        let offset = self.packed.len();
        head.put(&mut self.packed);
        self.raw += (self.packed.len() - offset) as u64 + head.raw;
        self.packed.extend_from_slice(&bench.packed);
        self.pages.push(PageAt {
            offset: offset as u64,
            bytes: (self.packed.len() - offset) as u64,
            first_row: self.done,
        });
        self.done += self.rows;
        self.rows = 0;
        self.values.clear();
        self.levels.runs.clear();
        Ok(())
    }
}
