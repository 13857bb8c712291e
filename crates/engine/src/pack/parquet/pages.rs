//! One column of a file, as it is read: page after page, value after value.

use super::columns::Physical;
use super::footer::{ChunkAt, Group, page_of};
use super::frame::{Unpress, Unstream};
use super::thrift::{Reader, STRUCT};
use super::{PLAIN, RLE, damaged};
use crate::pack::ReadAt;
use crate::pack::columns::Column;
use std::io;
use std::ops::Range;
use windrow_model::limits::{
    PARQUET_ALONE_BYTES, PARQUET_BODY_BYTES, PARQUET_HEAD_BYTES, PARQUET_PAGE_BYTES,
};

/// Bytes of a page that has to be in memory, at most: a value, its length, and levels.
const PAGE_MOST: usize = PARQUET_ALONE_BYTES + PARQUET_PAGE_BYTES;

/// Bytes of a longer page that are read at once.
const PIECE: usize = 128 << 10;

/// Where pages are read; one for all columns.
pub(super) struct Desk {
    pub(super) file: Box<dyn ReadAt>,
    unpress: Unpress,
    packed: Vec<u8>,
}

impl Desk {
    pub(super) fn new(file: Box<dyn ReadAt>) -> io::Result<Self> {
        Ok(Self { file, unpress: Unpress::new()?, packed: Vec::new() })
    }

    /// Reads so many bytes, which are in the file unless it changed.
    fn read(&mut self, len: usize, offset: u64) -> io::Result<()> {
        // One that was needed once for a long page is not kept.
        if self.packed.capacity() > PAGE_MOST / 4 && len < PAGE_MOST / 4 {
            self.packed = Vec::new();
        }
        self.packed.resize(len, 0);
        match self.file.read_at(&mut self.packed, offset)? {
            read if read == len => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Head of a page.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Bytes of the head itself.
    len: u64,
    raw: u64,
    packed: u64,
    crc: Option<u32>,
    values: u64,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut head = Self { len: 0, raw: 0, packed: 0, crc: None, values: 0 };
        let (mut page, mut encoding, mut levels) = (-1, -1, -1);
        let mut reader = Reader::new(bytes);
        reader.fields(|field, id, kind| {
            match id {
                1 => page = field.int(kind)?,
                2 => head.raw = field.count(kind)?,
                3 => head.packed = field.count(kind)?,
                4 => head.crc = Some(field.int(kind)? as u32),
                5 if kind == STRUCT => field.fields(|field, id, kind| {
                    match id {
                        1 => head.values = field.count(kind)?,
                        2 => encoding = field.int(kind)?,
                        3 => levels = field.int(kind)?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if (page, encoding, levels) != (0, PLAIN, RLE) {
            return Err(damaged("a page of a kind that packs do not have"));
        }
        head.len = (bytes.len() - reader.left()) as u64;
        Ok(head)
    }
}

/// A value of the column.
pub(super) enum Value {
    /// None.
    Null,
    /// These bytes of [`Pages::page`].
    At(Range<usize>),
    /// So many bytes, too many for memory: [`Pages::pass`] gives them.
    Long(u64),
}

/// Reads a column.
pub(super) struct Pages {
    pub(super) column: Column,
    /// Its place in the schema.
    pub(super) number: usize,
    chunk: ChunkAt,
    /// Rows of the row group.
    rows: u64,
    /// Whether the offset index shall say where the next page is.
    indexed: bool,
    /// Where the head of the next page is, and its first row.
    next: u64,
    next_row: u64,
    /// The page in hand: its rows, its values, where the next is, and the row of that.
    here: Range<u64>,
    pub(super) page: Vec<u8>,
    at: usize,
    row: u64,
    levels: Levels,
    /// The page in hand where it is too long to be in memory: where it begins behind its head.
    long: Option<(u64, Head)>,
}

impl Pages {
    pub(super) fn new(column: Column, number: usize) -> Self {
        Self {
            column,
            number,
            chunk: ChunkAt::default(),
            rows: 0,
            indexed: false,
            next: 0,
            next_row: 0,
            here: 0..0,
            page: Vec::new(),
            at: 0,
            row: 0,
            levels: Levels::default(),
            long: None,
        }
    }

    /// Goes to the beginning of a row group; with `indexed` it is some other row that is wanted.
    pub(super) fn open(&mut self, group: &Group, indexed: bool) -> io::Result<()> {
        self.chunk = group.chunk(self.number)?;
        self.rows = group.rows;
        (self.next, self.next_row) = (self.chunk.begin, 0);
        self.here = 0..0;
        self.row = 0;
        self.at = 0;
        self.page.clear();
        self.long = None;
        self.indexed = indexed;
        Ok(())
    }

    /// Goes to a row of the row group that it is in.
    pub(super) fn turn(&mut self, row: u64, group: &Group) -> io::Result<()> {
        let is_near = self.here.contains(&row) && self.row <= row;
        if is_near { Ok(()) } else { self.open(group, true) }
    }

    /// The value of a row of the group, not before the last that was asked for.
    pub(super) fn value(&mut self, row: u64, desk: &mut Desk) -> io::Result<Value> {
        while !self.here.contains(&row) {
            self.load(row, desk)?;
        }
        if let Some((_, head)) = self.long {
            return Ok(Value::Long(head.raw - 4));
        }
        let mut value = Value::Null;
        if self.row < row {
            self.skip(row - self.row)?;
        }
        if self.levels.take()? {
            value = Value::At(self.take()?);
        }
        self.row += 1;
        Ok(value)
    }

    /// The bytes of the next value that is there.
    fn take(&mut self) -> io::Result<Range<usize>> {
        let len = match self.column.physical() {
            Physical::Int32 => 4,
            Physical::Int64 => 8,
            Physical::Bytes => {
                let head = self.page.get(self.at..).and_then(|rest| rest.first_chunk::<4>());
                self.at += 4;
                u32::from_le_bytes(*head.ok_or_else(short)?) as usize
            }
        };
        let end = self.at.checked_add(len).filter(|&end| end <= self.page.len());
        let value = self.at..end.ok_or_else(short)?;
        self.at = value.end;
        Ok(value)
    }

    fn skip(&mut self, rows: u64) -> io::Result<()> {
        let values = self.levels.skip(rows)?;
        let width = match self.column.physical() {
            Physical::Int32 => 4,
            Physical::Int64 => 8,
            Physical::Bytes => {
                for _ in 0..values {
                    self.take()?;
                }
                self.row += rows;
                return Ok(());
            }
        };
        let end = usize::try_from(values).ok().and_then(|values| values.checked_mul(width));
        let end = end.and_then(|bytes| self.at.checked_add(bytes));
        self.at = end.filter(|&end| end <= self.page.len()).ok_or_else(short)?;
        self.row += rows;
        Ok(())
    }

    /// Goes to the next page, or to the one that the index names, and reads it if it has the row.
    fn load(&mut self, row: u64, desk: &mut Desk) -> io::Result<()> {
        if self.row == self.here.end && self.at != self.page.len() {
            return Err(damaged("a page with more values than rows"));
        }
        if std::mem::take(&mut self.indexed) && self.chunk.index_bytes > 0 {
            desk.read(self.chunk.index_bytes, self.chunk.index)?;
            if let Some((offset, first)) = page_of(&desk.packed, row)? {
                if !(self.chunk.begin..self.chunk.end).contains(&offset) {
                    return Err(damaged("an index of another column"));
                }
                (self.next, self.next_row) = (offset, first);
            }
        }
        if self.next >= self.chunk.end || self.next_row >= self.rows {
            return Err(damaged("a column ends before its row group"));
        }
        let left = self.chunk.end - self.next;
        let mut head = [0; 64];
        let len = head.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = desk.file.read_at(&mut head[..len], self.next)?;
        let head = match Head::parse(&head[..read]) {
            // Others may say more in it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && left > 64 => {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(PARQUET_HEAD_BYTES);
                desk.read(len, self.next)?;
                Head::parse(&desk.packed)?
            }
            head => head?,
        };
        let begin = self.next + head.len;
        if head.values == 0 || head.values > self.rows - self.next_row {
            return Err(damaged("a page with an impossible number of rows"));
        }
        if begin > self.chunk.end || head.packed > self.chunk.end - begin {
            return Err(damaged("a page longer than its column"));
        }
        let here = self.next_row..self.next_row + head.values;
        (self.next, self.next_row) = (begin + head.packed, here.end);
        self.here = 0..0;
        (self.row, self.at) = (0, 0);
        self.page.clear();
        if !here.contains(&row) {
            // Before the one that is wanted; behind it only if the index is wrong.
            return if here.start > row { Err(damaged("an index that misleads")) } else { Ok(()) };
        }
        self.long = None;
        if self.column == Column::Body && head.values == 1 && head.raw > PAGE_MOST as u64 {
            if head.raw > PARQUET_BODY_BYTES + 4 {
                return Err(damaged("a body of 2 GiB or more"));
            }
            self.long = Some((begin, head));
        } else {
            self.unpack(begin, &head, desk)?;
        }
        self.row = here.start;
        self.here = here;
        Ok(())
    }

    /// Brings a page into memory.
    fn unpack(&mut self, begin: u64, head: &Head, desk: &mut Desk) -> io::Result<()> {
        let len = usize::try_from(head.raw).unwrap_or(usize::MAX);
        // zstd makes what cannot be compressed longer by 3 bytes for each 128 KiB, and a head.
        let packed = usize::try_from(head.packed).unwrap_or(usize::MAX);
        if len > PAGE_MOST || packed > len + len / 64 + 1024 {
            return Err(damaged("a page that is too long"));
        }
        desk.read(packed, begin)?;
        if head.crc.is_some_and(|crc| crc != crc32fast::hash(&desk.packed)) {
            return Err(damaged("a page whose checksum is wrong"));
        }
        if self.page.capacity() > PAGE_MOST / 4 && len < PAGE_MOST / 4 {
            self.page = Vec::new();
        }
        if self.chunk.is_compressed {
            desk.unpress.frame(&desk.packed, len, &mut self.page)?;
        } else if len == packed {
            self.page.clear();
            self.page.extend_from_slice(&desk.packed);
        } else {
            return Err(damaged("a page of two lengths"));
        }
        self.at = 0;
        self.levels = Levels::default();
        if self.column.is_optional() {
            let bytes = self.page.first_chunk::<4>().ok_or_else(short)?;
            let end = (u32::from_le_bytes(*bytes) as usize).checked_add(4);
            let runs = end.and_then(|end| self.page.get(4..end)).ok_or_else(short)?;
            self.levels = Levels { bytes: Some(runs.to_vec()), ..Levels::default() };
            self.at = 4 + runs.len();
        }
        Ok(())
    }

    /// Gives the bytes of a [`Value::Long`], in pieces, in memory of about 256 KiB and a zstd window
    /// within its bound. That they are whole is known at the end.
    pub(super) fn pass(
        &mut self,
        desk: &mut Desk,
        body: &mut crate::pack::Pieces<'_>,
    ) -> io::Result<()> {
        let Some((begin, head)) = self.long else {
            return Err(damaged("no body"));
        };
        let mut unstream = self.chunk.is_compressed.then(Unstream::new).transpose()?;
        let (mut prefix, mut got) = ([0; 4], 0_u64);
        let mut take = |mut raw: &[u8]| {
            while got < 4 && !raw.is_empty() {
                prefix[got as usize] = raw[0];
                raw = &raw[1..];
                got += 1;
                if got == 4 && u64::from(u32::from_le_bytes(prefix)) != head.raw - 4 {
                    return Err(damaged("a body that is not as long as its page"));
                }
            }
            got += raw.len() as u64;
            if got > head.raw {
                return Err(damaged("a page longer than its head says"));
            }
            if raw.is_empty() { Ok(()) } else { body(raw) }
        };
        let mut crc = crc32fast::Hasher::new();
        let (mut at, end) = (begin, begin + head.packed);
        while at < end {
            let len = PIECE.min(usize::try_from(end - at).unwrap_or(PIECE));
            desk.read(len, at)?;
            crc.update(&desk.packed);
            match &mut unstream {
                Some(unstream) => unstream.feed(&desk.packed, &mut take)?,
                None => take(&desk.packed)?,
            }
            at += len as u64;
        }
        if let Some(unstream) = unstream {
            unstream.finish()?;
        }
        if got != head.raw {
            return Err(damaged("a page shorter than its head says"));
        }
        match head.crc {
            Some(said) if said != crc.finalize() => Err(damaged("a page whose checksum is wrong")),
            _ => Ok(()),
        }
    }
}

fn short() -> io::Error {
    damaged("a page ends before its values")
}

/// Which rows have a value: the hybrid of runs and packed bits of `Encodings.md`, with one bit each.
#[derive(Debug, Default)]
struct Levels {
    /// `None` where all have.
    bytes: Option<Vec<u8>>,
    at: usize,
    /// The run in hand: what is left of it, and either its value or the place of its bits.
    left: u64,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Same(bool),
    /// The number of the first bit that is left, counted from the beginning of `bytes`.
    Bits(u64),
}

impl Default for Run {
    fn default() -> Self {
        Self::Same(true)
    }
}

impl Levels {
    fn take(&mut self) -> io::Result<bool> {
        self.skip(1).map(|values| values == 1)
    }

    /// Passes over so many rows: how many of them have a value.
    fn skip(&mut self, rows: u64) -> io::Result<u64> {
        let Some(bytes) = &self.bytes else { return Ok(rows) };
        let (mut todo, mut values) = (rows, 0);
        while todo > 0 {
            if self.left == 0 {
                let mut reader = Reader::new(bytes.get(self.at..).unwrap_or_default());
                let head = reader.varint().map_err(|_| short())?;
                let begin = bytes.len() - reader.left();
                let len = if head & 1 == 0 {
                    self.left = head >> 1;
                    self.run = Run::Same(bytes.get(begin).ok_or_else(short)? & 1 == 1);
                    1
                } else {
                    self.left = (head >> 1).saturating_mul(8);
                    self.run = Run::Bits(begin as u64 * 8);
                    head >> 1
                };
                let end = (begin as u64).checked_add(len).filter(|&end| end <= bytes.len() as u64);
                self.at = end.ok_or_else(short)? as usize;
                continue;
            }
            let some = todo.min(self.left);
            match &mut self.run {
                Run::Same(present) => values += if *present { some } else { 0 },
                Run::Bits(first) => {
                    for bit in *first..*first + some {
                        let byte = bytes.get((bit / 8) as usize).ok_or_else(short)?;
                        values += u64::from(byte >> (bit % 8) & 1);
                    }
                    *first += some;
                }
            }
            self.left -= some;
            todo -= some;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_both_forms() {
        // Three that are there, eight bits, two that are not (`Encodings.md`).
        let mut levels = Levels {
            bytes: Some(vec![3 << 1, 1, 1 << 1 | 1, 0b1010_0001, 2 << 1, 0]),
            ..Levels::default()
        };
        let read: Vec<bool> = (0..13).map(|_| levels.take().unwrap()).collect();
        let t = true;
        let f = false;
        assert_eq!(read, [t, t, t, t, f, f, f, f, t, f, t, f, f]);
        assert!(levels.take().is_err());
    }

    #[test]
    fn levels_are_passed_over() {
        for skip in 0..13 {
            let bytes = vec![3 << 1, 1, 1 << 1 | 1, 0b1010_0001, 2 << 1, 0];
            let mut one = Levels { bytes: Some(bytes.clone()), ..Levels::default() };
            let mut many = Levels { bytes: Some(bytes), ..Levels::default() };
            let count = (0..skip).filter(|_| one.take().unwrap()).count();
            assert_eq!(many.skip(skip).unwrap(), count as u64, "{skip}");
        }
    }
}
