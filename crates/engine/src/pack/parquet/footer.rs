//! What a file ends with: offset indexes and `FileMetaData` of `parquet.thrift`.

use super::chunk::PageAt;
use super::thrift::{Reader, STRUCT, Struct};
use super::{FORMAT, FORMAT_KEY, MAGIC, PLAIN, RLE, UNCOMPRESSED, ZSTD, damaged};
use crate::pack::columns::{Column, Columns};
use crate::pack::{Out, ReadAt};
use std::io;
use windrow_model::limits::{PARQUET_FOOTER_BYTES, PARQUET_INDEX_BYTES};

/// What has to be known of the row groups that were written: about 100 bytes for each column of each,
/// and 8 for each page.
#[derive(Debug, Default)]
pub(super) struct Footer {
    rows: u64,
    groups: Vec<GroupEnd>,
    chunks: Vec<ChunkEnd>,
    /// Offset indexes of all chunks, one behind the other.
    indexes: Vec<u8>,
}

#[derive(Debug)]
struct GroupEnd {
    rows: u64,
    /// Its first chunk among all.
    first: usize,
}

#[derive(Debug)]
struct ChunkEnd {
    offset: u64,
    packed: u64,
    raw: u64,
    index: u64,
}

impl Footer {
    /// Adds a chunk of the row group that is being written.
    pub(super) fn chunk(&mut self, offset: u64, raw: u64, pages: &[PageAt]) {
        let begin = self.indexes.len();
        Struct::put(&mut self.indexes, |index| {
            index.structs(1, pages.iter(), |location, page| {
                location.int64(1, offset + page.offset);
                location.int32(2, page.bytes.cast_signed());
                location.int64(3, page.first_row);
            });
        });
        let index = (self.indexes.len() - begin) as u64;
        let packed = pages.iter().map(|page| page.bytes).sum();
        self.chunks.push(ChunkEnd { offset, packed, raw, index });
    }

    /// Closes it; its chunks are those since the last.
    pub(super) fn group(&mut self, rows: u64, chunks: usize) {
        self.groups.push(GroupEnd { rows, first: self.chunks.len() - chunks });
        self.rows += rows;
    }

    /// Forgets the chunks of a row group that came to nothing.
    pub(super) fn give_up(&mut self, chunks: usize) {
        for chunk in self.chunks.drain(self.chunks.len() - chunks..) {
            self.indexes.truncate(self.indexes.len() - chunk.index as usize);
        }
    }

    /// Writes everything behind the row groups.
    pub(super) fn put(&self, columns: Columns, out: &mut dyn Out) -> io::Result<()> {
        let mut index = out.at();
        out.put(&self.indexes)?;
        let mut footer = Vec::new();
        Struct::put(&mut footer, |file| {
            file.int32(1, 1);
            let schema = [None].into_iter().chain(columns.iter().map(Some)).collect::<Vec<_>>();
            file.structs(2, schema.into_iter(), |element, column| match column {
                None => {
                    element.text(4, b"schema");
                    element.int32(5, columns.iter().count() as i64);
                }
                Some(column) => column.declare(element),
            });
            file.int64(3, self.rows);
            file.structs(4, self.groups.iter().enumerate(), |group, (at, end)| {
                let next = self.groups.get(at + 1).map_or(self.chunks.len(), |next| next.first);
                let chunks = &self.chunks[end.first..next];
                group.structs(
                    1,
                    columns.iter().zip(chunks).collect::<Vec<_>>().into_iter(),
                    |to, of| {
                        of.1.put(of.0, end.rows, index, to);
                        index += of.1.index;
                    },
                );
                group.int64(2, chunks.iter().map(|chunk| chunk.raw).sum());
                group.int64(3, end.rows);
                group.int64(5, chunks.first().map_or(0, |chunk| chunk.offset));
                group.int64(6, chunks.iter().map(|chunk| chunk.packed).sum());
            });
            file.structs(5, [(FORMAT_KEY, FORMAT)].into_iter(), |pair, (key, value)| {
                pair.text(1, key.as_bytes());
                pair.text(2, value.as_bytes());
            });
            file.text(6, concat!("windrow version ", env!("CARGO_PKG_VERSION")).as_bytes());
        });
        let too_large = |_| super::refused("a footer of more than 4 GiB");
        let bytes = u32::try_from(footer.len()).map_err(too_large)?;
        footer.extend_from_slice(&bytes.to_le_bytes());
        footer.extend_from_slice(MAGIC);
        out.put(&footer)
    }
}

impl ChunkEnd {
    fn put(&self, column: Column, rows: u64, index: u64, chunk: &mut Struct<'_>) {
        chunk.int64(2, 0);
        chunk.nested(3, |meta| {
            meta.int32(1, column.physical().code());
            meta.int32s(2, &[PLAIN, RLE]);
            meta.texts(3, &[column.name()]);
            meta.int32(4, ZSTD);
            meta.int64(5, rows);
            meta.int64(6, self.raw);
            meta.int64(7, self.packed);
            meta.int64(9, self.offset);
        });
        chunk.int64(4, index);
        chunk.int32(5, self.index.cast_signed());
    }
}

/// A row group of a file that is read.
#[derive(Debug)]
pub(super) struct Group {
    /// Its rows, and those of the file before it.
    pub(super) rows: u64,
    pub(super) first: u64,
    chunks: Vec<ChunkAt>,
}

impl Group {
    /// Where its chunk of the column with this number is.
    pub(super) fn chunk(&self, number: usize) -> io::Result<ChunkAt> {
        self.chunks.get(number).copied().ok_or_else(|| damaged("a row group without a column"))
    }
}

/// Where a chunk is; all within the file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ChunkAt {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) is_compressed: bool,
    /// Its offset index, of 0 bytes where there is none.
    pub(super) index: u64,
    pub(super) index_bytes: usize,
}

/// What the footer of a file says.
#[derive(Debug)]
pub(super) struct Contents {
    /// Its columns that windrow knows, each with its number.
    pub(super) columns: Vec<(Column, usize)>,
    pub(super) rows: u64,
    pub(super) groups: Vec<Group>,
}

impl Contents {
    /// Reads and checks it. Takes memory of a few times the footer, which has at most
    /// [`PARQUET_FOOTER_BYTES`].
    pub(super) fn read(file: &dyn ReadAt) -> io::Result<Self> {
        let size = file.size()?;
        let mut tail = [0; 8];
        if size < 12 || file.read_at(&mut tail, size - 8)? < 8 || tail[4..] != *MAGIC {
            return Err(damaged("no Parquet file, or not a whole one"));
        }
        let bytes = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
        let len = bytes as usize;
        let Some(end) = (size - 8).checked_sub(u64::from(bytes)).filter(|&end| end >= 4) else {
            return Err(damaged("a footer longer than the file"));
        };
        if len > PARQUET_FOOTER_BYTES {
            return Err(damaged("a footer that is too long"));
        }
        let mut footer = vec![0; len];
        if file.read_at(&mut footer, end)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::parse(&footer, end)
    }

    /// Reads it from its bytes, which begin at `end`.
    fn parse(footer: &[u8], end: u64) -> io::Result<Self> {
        let mut leaves: Vec<Option<Column>> = Vec::new();
        let (mut groups, mut format, mut before) = (Vec::new(), None, 0_u64);
        Reader::new(footer).fields(|file, id, kind| {
            match id {
                2 => {
                    for number in 0..file.list(kind, STRUCT)? {
                        let leaf = leaf(file)?;
                        // The first is the root.
                        if number > 0 {
                            leaves.push(leaf);
                        }
                    }
                }
                4 => {
                    for _ in 0..file.list(kind, STRUCT)? {
                        let mut group = group(file, end)?;
                        group.first = before;
                        before = before
                            .checked_add(group.rows)
                            .filter(|&rows| rows <= i64::MAX.cast_unsigned())
                            .ok_or_else(|| damaged("an impossible number of rows"))?;
                        if group.rows > 0 {
                            groups.push(group);
                        }
                    }
                }
                5 => {
                    for _ in 0..file.list(kind, STRUCT)? {
                        let (key, value) = pair(file)?;
                        if key == FORMAT_KEY.as_bytes() {
                            format = Some(value);
                        }
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match format {
            Some(format) if format == FORMAT.as_bytes() => {}
            Some(_) => return Err(damaged("a pack of a later form")),
            None => return Err(damaged("a Parquet file, but none that windrow wrote")),
        }
        let mut columns: Vec<(Column, usize)> = Vec::new();
        for (number, column) in leaves.into_iter().enumerate() {
            let column = column.ok_or_else(|| damaged("a column that packs do not have"))?;
            if columns.iter().any(|&(known, _)| known == column) {
                return Err(damaged("a column that is there twice"));
            }
            columns.push((column, number));
        }
        if columns.is_empty() {
            return Err(damaged("no columns"));
        }
        Ok(Self { columns, rows: before, groups })
    }
}

/// A `SchemaElement`: the column that it is, if it is one of a pack.
fn leaf(schema: &mut Reader<'_>) -> io::Result<Option<Column>> {
    let (mut column, mut physical, mut optional) = (None, 0, 0);
    schema.fields(|field, id, kind| {
        match id {
            1 => physical = field.int(kind)?,
            3 => optional = field.int(kind)?,
            4 => column = Column::of(field.text(kind)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let fits = |column: &Column| {
        column.physical().code() == physical && i64::from(column.is_optional()) == optional
    };
    Ok(column.filter(fits))
}

fn pair<'a>(list: &mut Reader<'a>) -> io::Result<(&'a [u8], &'a [u8])> {
    let (mut key, mut value) = (&b""[..], &b""[..]);
    list.fields(|field, id, kind| {
        match id {
            1 => key = field.text(kind)?,
            2 => value = field.text(kind)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((key, value))
}

fn group(list: &mut Reader<'_>, end: u64) -> io::Result<Group> {
    let mut group = Group { rows: 0, first: 0, chunks: Vec::new() };
    list.fields(|field, id, kind| {
        match id {
            1 => {
                for _ in 0..field.list(kind, STRUCT)? {
                    group.chunks.push(chunk(field, end)?);
                }
            }
            3 => group.rows = field.count(kind)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(group)
}

fn chunk(list: &mut Reader<'_>, end: u64) -> io::Result<ChunkAt> {
    let mut chunk = ChunkAt::default();
    let (mut codec, mut bytes, mut index_bytes) = (-1, 0, 0);
    list.fields(|field, id, kind| {
        match id {
            3 if kind == STRUCT => field.fields(|field, id, kind| {
                match id {
                    4 => codec = field.int(kind)?,
                    7 => bytes = field.count(kind)?,
                    9 => chunk.begin = field.count(kind)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            4 => chunk.index = field.count(kind)?,
            5 => index_bytes = field.count(kind)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let within = |begin: u64, bytes: u64| begin.checked_add(bytes).filter(|&last| last <= end);
    chunk.is_compressed = match codec {
        ZSTD => true,
        UNCOMPRESSED => false,
        _ => return Err(damaged("a column with a compression that packs do not have")),
    };
    chunk.end =
        within(chunk.begin, bytes).ok_or_else(|| damaged("a column that is not in the file"))?;
    if index_bytes > 0 {
        within(chunk.index, index_bytes)
            .ok_or_else(|| damaged("an index that is not in the file"))?;
        chunk.index_bytes = usize::try_from(index_bytes)
            .ok()
            .filter(|&bytes| bytes <= PARQUET_INDEX_BYTES)
            .ok_or_else(|| damaged("an index that is too long"))?;
    }
    Ok(chunk)
}

/// The page of an offset index that has a row of the group: where it is, and its first row.
pub(super) fn page_of(index: &[u8], row: u64) -> io::Result<Option<(u64, u64)>> {
    let mut found = None;
    Reader::new(index).fields(|list, id, kind| {
        if id != 1 {
            return Ok(false);
        }
        for _ in 0..list.list(kind, STRUCT)? {
            let (mut offset, mut first) = (0, 0);
            list.fields(|field, id, kind| {
                match id {
                    1 => offset = field.count(kind)?,
                    3 => first = field.count(kind)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            if first <= row {
                found = Some((offset, first));
            }
        }
        Ok(true)
    })?;
    Ok(found)
}
