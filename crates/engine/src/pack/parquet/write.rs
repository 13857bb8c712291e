//! Writes packs.

use super::chunk::{Bench, Chunk, PageAt, PageHead};
use super::footer::Footer;
use super::frame::{Stream, is_even, stored_len};
use super::{MAGIC, refused, shown};
use crate::pack::columns::{Column, Columns};
use crate::pack::{Content, Encode, Meta, Out, Record};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::io;
use windrow_model::limits::{
    PARQUET_ALONE_BYTES, PARQUET_BODY_BYTES, PARQUET_GROUP_BYTES, PARQUET_KEPT_BYTES,
    PARQUET_PAGE_BYTES, PARQUET_TEXT_BYTES,
};

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Level of zstd.
    pub level: i32,
    /// Bytes of a row group before compression.
    pub group_bytes: usize,
    /// Bytes of a page before compression; at most [`PARQUET_ALONE_BYTES`] count.
    pub page_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { level: 1, group_bytes: PARQUET_GROUP_BYTES, page_bytes: PARQUET_PAGE_BYTES }
    }
}

/// Writes the rows of one Parquet file after the other.
///
/// A file is complete at its end and not before: [`Encode::record`] says `false` for every row, and
/// [`Encode::frame`] does nothing. A place is the number of the row in its file. Every record is a row,
/// also where two have the same name.
///
/// Memory: the pages of one row group, compressed, at most about [`PARQUET_GROUP_BYTES`] and one body of
/// [`PARQUET_ALONE_BYTES`]; one page of each column; that body compressed. While a longer body
/// passes: [`PARQUET_KEPT_BYTES`] and what zstd needs. And of each row group what goes into the footer,
/// about 1 KiB.
///
/// Refused (`InvalidInput`), with nothing added: bodies of more than [`PARQUET_BODY_BYTES`], names,
/// URLs and header lines of more than [`PARQUET_TEXT_BYTES`], and bodies that are not as long as
/// they say.
#[derive(Debug)]
pub struct ParquetEncoder {
    columns: Columns,
    group_bytes: usize,
    bench: Bench,
    chunks: Vec<Chunk>,
    /// Rows of the file, and of the open row group; bytes of that before compression.
    rows: u64,
    group_rows: u64,
    group_raw: usize,
    footer: Footer,
}

/// Bytes of the numbers of one row, and of the lengths of its strings.
const FIXED_BYTES: usize = 3 * 8 + 4 + 7 * 4;

/// What a row has beside its body.
struct Row<'a> {
    name: Cow<'a, [u8]>,
    size: u64,
    ordinal: u64,
    meta: Option<&'a Meta>,
    fields: [Option<&'a [u8]>; 3],
}

impl ParquetEncoder {
    /// Prepares to write files with these columns.
    ///
    /// # Errors
    /// zstd has no memory, or knows no such level.
    pub fn new(columns: Columns, options: &Options) -> io::Result<Self> {
        let page_bytes = options.page_bytes.min(PARQUET_ALONE_BYTES);
        Ok(Self {
            columns,
            group_bytes: options.group_bytes,
            bench: Bench::new(options.level, page_bytes)?,
            chunks: columns.iter().map(Chunk::new).collect(),
            rows: 0,
            group_rows: 0,
            group_raw: 0,
            footer: Footer::default(),
        })
    }

    /// The columns of its files.
    pub fn columns(&self) -> Columns {
        self.columns
    }

    /// Adds the row to the open row group, all columns of it or none.
    fn add(&mut self, row: &Row<'_>, body: &mut dyn Content) -> io::Result<()> {
        let wants_sha256 = self.columns.has(Column::Sha256);
        let mut sha256 = None;
        // The body first: that is what can fail.
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.column == Column::Body) {
            let len = row.size as usize;
            chunk.room(len + 4, &mut self.bench)?;
            let values = chunk.values();
            let begin = values.len();
            values.extend_from_slice(&(len as u32).to_le_bytes());
            let read = match body.bytes() {
                Some(bytes) => {
                    values.extend_from_slice(bytes);
                    Ok(())
                }
                None => body.pieces(&mut |piece| {
                    if values.len() + piece.len() > begin + 4 + len {
                        return Err(refused("a body is longer than it said"));
                    }
                    values.extend_from_slice(piece);
                    Ok(())
                }),
            };
            let whole = read.and_then(|()| match values.len() == begin + 4 + len {
                true => Ok(()),
                false => Err(refused("a body is not as long as it said")),
            });
            if let Err(error) = whole {
                values.truncate(begin);
                return Err(error);
            }
            if wants_sha256 {
                sha256 = Some(Sha256::digest(&values[begin + 4..]).into());
            }
            chunk.row(true);
        } else if wants_sha256 {
            let mut hash = Sha256::new();
            body.pieces(&mut |piece| {
                hash.update(piece);
                Ok(())
            })?;
            sha256 = Some(hash.finalize().into());
        }
        for chunk in &mut self.chunks {
            match chunk.column {
                Column::Body => {}
                Column::Sha256 => push_sha256(chunk, sha256, &mut self.bench)?,
                _ => push(chunk, row, &mut self.bench)?,
            }
        }
        self.group_rows += 1;
        // What the columns have of it, or a little more.
        let body = if self.columns.has(Column::Body) { row.size as usize } else { 0 };
        let fields: usize = row.fields.into_iter().flatten().map(<[u8]>::len).sum();
        let url = row.meta.map_or(0, |meta| meta.url.len());
        let sha256 = if wants_sha256 { 64 } else { 0 };
        self.group_raw += body + row.name.len() + fields + url + sha256 + FIXED_BYTES;
        Ok(())
    }

    /// Writes the open row group.
    fn flush(&mut self, out: &mut dyn Out) -> io::Result<()> {
        if self.group_rows == 0 {
            return Ok(());
        }
        for chunk in &mut self.chunks {
            chunk.seal(&mut self.bench)?;
            self.footer.chunk(out.at(), chunk.raw, &chunk.pages);
            out.put(&chunk.packed)?;
            chunk.clear();
        }
        self.footer.group(self.group_rows, self.chunks.len());
        (self.group_rows, self.group_raw) = (0, 0);
        Ok(())
    }

    /// Writes a row group of one row, whose body passes through in pieces. Where that fails, what is
    /// in the file of it belongs to nothing.
    fn alone(
        &mut self,
        row: &Row<'_>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<()> {
        let mut done = 0;
        let mut sha256 = None;
        let columns = self.columns;
        let mut all = || {
            for chunk in &mut self.chunks {
                let at = out.at();
                match chunk.column {
                    Column::Body => {
                        let mut passing = Passing::measure(
                            row.size,
                            columns.has(Column::Sha256).then(Sha256::new),
                            body,
                            &self.bench,
                        )?;
                        sha256 = passing.sha256.take().map(|hash| hash.finalize().into());
                        let (page, raw) = passing.put(body, &self.bench, out)?;
                        self.footer.chunk(at, raw, &[page]);
                        done += 1;
                        continue;
                    }
                    Column::Sha256 => push_sha256(chunk, sha256, &mut self.bench)?,
                    _ => push(chunk, row, &mut self.bench)?,
                }
                chunk.seal(&mut self.bench)?;
                self.footer.chunk(at, chunk.raw, &chunk.pages);
                done += 1;
                out.put(&chunk.packed)?;
            }
            Ok(())
        };
        let result: io::Result<()> = all();
        self.chunks.iter_mut().for_each(Chunk::clear);
        match result {
            Ok(()) => self.footer.group(1, done),
            Err(_) => self.footer.give_up(done),
        }
        result
    }
}

fn push(chunk: &mut Chunk, row: &Row<'_>, bench: &mut Bench) -> io::Result<()> {
    let text = |chunk: &mut Chunk, text: Option<&[u8]>, bench: &mut Bench| match text {
        None => chunk.push_null(bench),
        Some(text) => chunk.push_text(text, bench),
    };
    let field = |chunk: &mut Chunk, value: Option<&[u8]>, bench: &mut Bench| match value {
        Some(value) if std::str::from_utf8(value).is_err() => {
            let latin1: String = value.iter().copied().map(char::from).collect();
            chunk.push_text(latin1.as_bytes(), bench)
        }
        _ => text(chunk, value, bench),
    };
    match (chunk.column, row.meta) {
        (Column::Body | Column::Sha256, _) => Ok(()),
        (Column::Name, _) => chunk.push_text(&row.name, bench),
        (Column::Size, _) => chunk.push(&row.size.to_le_bytes(), bench),
        (Column::Ordinal, _) => chunk.push(&row.ordinal.to_le_bytes(), bench),
        (Column::Url, meta) => text(chunk, meta.map(|meta| meta.url.as_bytes()), bench),
        (Column::ContentType, _) => field(chunk, row.fields[0], bench),
        (Column::Etag, _) => field(chunk, row.fields[1], bench),
        (Column::LastModified, _) => field(chunk, row.fields[2], bench),
        (Column::Status, Some(meta)) => chunk.push(&u32::from(meta.status).to_le_bytes(), bench),
        (Column::FetchedAt, Some(meta)) => chunk.push(&meta.fetched_at.to_le_bytes(), bench),
        (Column::Status | Column::FetchedAt, None) => chunk.push_null(bench),
    }
}

fn push_sha256(chunk: &mut Chunk, sum: Option<[u8; 32]>, bench: &mut Bench) -> io::Result<()> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(sum.unwrap_or_default()) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    chunk.push_text(&hex, bench)
}

/// The first header each of these three, in one pass: `Content-Type`, `ETag`, `Last-Modified`.
fn fields(headers: &[u8]) -> [Option<&[u8]>; 3] {
    const NAMES: [&[u8]; 3] = [b"content-type", b"etag", b"last-modified"];
    let mut found = [None; 3];
    let mut rest = headers;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let which = match line.first() {
            Some(b'c' | b'C') => 0,
            Some(b'e' | b'E') => 1,
            Some(b'l' | b'L') => 2,
            _ => continue,
        };
        let name = NAMES[which];
        if found[which].is_none()
            && line.get(name.len()) == Some(&b':')
            && line[..name.len()].eq_ignore_ascii_case(name)
        {
            found[which] = Some(line[name.len() + 1..].trim_ascii());
        }
    }
    found
}

/// A body on its way through: what the head of its page says, and the page where it was kept.
struct Passing {
    sha256: Option<Sha256>,
    stored: bool,
    head: PageHead,
    kept: Option<Vec<u8>>,
}

/// What is counted of compressed bytes.
#[derive(Default)]
struct Count {
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl Count {
    fn add(&mut self, packed: &[u8]) {
        self.bytes += packed.len() as u64;
        self.crc.update(packed);
    }
}

impl Passing {
    /// Compresses it, and keeps the result unless that is long.
    fn measure(
        size: u64,
        mut sha256: Option<Sha256>,
        body: &mut dyn Content,
        bench: &Bench,
    ) -> io::Result<Self> {
        let raw = size + 4;
        let mut stored = body.bytes().is_some_and(is_even);
        let mut stream = None;
        let (mut count, mut kept, mut read) = (Count::default(), Some(Vec::new()), 0_u64);
        let mut take = |packed: &[u8]| {
            count.add(packed);
            match &mut kept {
                Some(bytes) if bytes.len() + packed.len() <= PARQUET_KEPT_BYTES => {
                    bytes.extend_from_slice(packed);
                }
                _ => kept = None,
            }
            Ok(())
        };
        body.pieces(&mut |piece| {
            read += piece.len() as u64;
            if let Some(hash) = &mut sha256 {
                hash.update(piece);
            }
            let stream = match &mut stream {
                Some(stream) => stream,
                none => {
                    // Judged by the first piece, where there is no more of it in memory.
                    stored |= is_even(piece);
                    let mut new = bench.press.stream(raw, stored)?;
                    new.feed(&(size as u32).to_le_bytes(), &mut take)?;
                    none.insert(new)
                }
            };
            stream.feed(piece, &mut take)
        })?;
        let stream: Stream = match stream {
            Some(stream) if read == size => stream,
            _ => return Err(refused("a body is not as long as it said")),
        };
        stream.finish(&mut take)?;
        debug_assert!(!stored || count.bytes == stored_len(raw), "{} of {raw}", count.bytes);
        let head = PageHead { raw, packed: count.bytes, crc: count.crc.finalize(), values: 1 };
        Ok(Self { sha256, stored, head, kept })
    }

    /// Writes the page. Gives where it is, and its bytes before compression.
    fn put(
        self,
        body: &mut dyn Content,
        bench: &Bench,
        out: &mut dyn Out,
    ) -> io::Result<(PageAt, u64)> {
        let mut head = Vec::new();
        self.head.put(&mut head);
        out.put(&head)?;
        if let Some(kept) = self.kept {
            out.put(&kept)?;
        } else {
            let mut count = Count::default();
            let mut take = |packed: &[u8]| {
                count.add(packed);
                out.put(packed)
            };
            let mut stream = bench.press.stream(self.head.raw, self.stored)?;
            stream.feed(&((self.head.raw - 4) as u32).to_le_bytes(), &mut take)?;
            body.pieces(&mut |piece| stream.feed(piece, &mut take))?;
            stream.finish(&mut take)?;
            if count.bytes != self.head.packed || count.crc.finalize() != self.head.crc {
                return Err(io::Error::other("a body changed while it was read"));
            }
        }
        let head_bytes = head.len() as u64;
        let bytes = head_bytes + self.head.packed;
        Ok((PageAt { offset: 0, bytes, first_row: 0 }, head_bytes + self.head.raw))
    }
}

impl Encode for ParquetEncoder {
    fn begin(&mut self, out: &mut dyn Out) -> io::Result<()> {
        self.chunks.iter_mut().for_each(Chunk::clear);
        (self.rows, self.group_rows, self.group_raw) = (0, 0, 0);
        self.footer = Footer::default();
        out.put(MAGIC)
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<(u64, bool)> {
        let size = body.len();
        let has_body = self.columns.has(Column::Body);
        if has_body && size > PARQUET_BODY_BYTES {
            return Err(refused("a body of 2 GiB or more, which Parquet does not take"));
        }
        let meta = record.meta;
        let texts = meta.map_or(0, |meta| meta.url.len().max(meta.headers.len()));
        if texts.max(record.name.len()) > PARQUET_TEXT_BYTES {
            return Err(refused("a name, a URL or headers of more than 1 MiB"));
        }
        if i64::try_from(record.ordinal).is_err() || i64::try_from(size).is_err() {
            return Err(refused("a number of more than 63 bits"));
        }
        let row = Row {
            name: shown(record.name),
            size,
            ordinal: record.ordinal,
            meta,
            fields: meta.map_or([None; 3], |meta| fields(&meta.headers)),
        };
        if has_body && size > PARQUET_ALONE_BYTES as u64 {
            self.flush(out)?;
            self.alone(&row, body, out)?;
        } else {
            self.add(&row, body)?;
            if self.group_raw >= self.group_bytes {
                self.flush(out)?;
            }
        }
        self.rows += 1;
        Ok((self.rows - 1, false))
    }

    fn end(&mut self, out: &mut dyn Out) -> io::Result<()> {
        self.flush(out)?;
        self.footer.put(self.columns, out)
    }
}
