//! Packs: files that hold many objects, in forms that every tool reads.
//!
//! A form is an encoder and a decoder, both without I/O of their own: the encoder gives its bytes
//! to an [`Out`], the decoder reads a [`ReadAt`]. Those whose bytes are only ever appended can be
//! cut behind any record that was [complete](Encode::record), or behind a [frame](Encode::frame)
//! where records are compressed together.

mod recorded;

pub use crate::inspect::{Reader, Take};
pub use crate::pipeline::{Writer, WriterOptions, Written};
pub(crate) use recorded::Recorded;

use columns::Columns;
pub mod columns;
pub mod index;
pub mod jsonl;
pub mod parquet;
pub mod tar;
pub mod warc;
pub mod zst;

use std::io;
use windrow_model::Ordinal;

/// What is written down of an object beside its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record<'a> {
    /// Its name, as the source gave it: any bytes.
    pub name: &'a [u8],
    /// Its position in the source.
    pub ordinal: Ordinal,
    /// What is known of the answer that brought it, where somebody asked for that.
    pub meta: Option<&'a Meta>,
}

/// What is known of the answer that brought an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Where it was asked for, secrets cut.
    pub url: String,
    /// Status code.
    pub status: u16,
    /// Milliseconds since 1970 at which the answer was complete.
    pub fetched_at: u64,
    /// Header lines of the answer, `name: value`, each ending in CR LF; without the status line.
    pub headers: Vec<u8>,
    /// A `Content-Encoding` that the headers name was undone: the body is not coded any more.
    pub decoded: bool,
    /// Head of the request as it was sent, its empty line included, secrets cut; empty where it is
    /// not known.
    pub request: Vec<u8>,
}

impl Meta {
    /// Puts another value in the place of a header, or takes it out.
    pub fn set_header(&mut self, name: &str, value: Option<&str>) {
        let is_it = |line: &[u8]| match line.split_at_checked(name.len()) {
            Some((known, [b':', ..])) => known.eq_ignore_ascii_case(name.as_bytes()),
            _ => false,
        };
        let mut headers = Vec::with_capacity(self.headers.len());
        for line in self.headers.split_inclusive(|&byte| byte == b'\n') {
            if !is_it(line) {
                headers.extend_from_slice(line);
            }
        }
        let plain = |value: &&str| !value.bytes().any(|byte| byte.is_ascii_control());
        if let Some(value) = value.filter(plain) {
            headers.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        self.headers = headers;
    }

    /// The value of the first header of that name, without the white space around it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut rest = self.headers.as_slice();
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            if let Some((known, [b':', value @ ..])) = rest[..end].split_at_checked(name.len())
                && known.eq_ignore_ascii_case(name.as_bytes())
            {
                return Some(value.trim_ascii());
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        None
    }
}

/// Takes a body piece by piece.
pub type Pieces<'p> = dyn FnMut(&[u8]) -> io::Result<()> + 'p;

/// What packs tell of their objects, where that is for the user to choose.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackOptions {
    /// Columns of Parquet files and fields of JSON lines; `None` for what the form usually has.
    pub columns: Option<Columns>,
    /// Beside each member of a tar file a second one that tells of the answer.
    pub with_meta: bool,
    /// A body that is JSON is not made a string in JSON lines.
    pub json_body: bool,
}

/// A body to write: in memory, or somewhere from where it can be read more than once.
pub trait Content {
    /// Bytes.
    fn len(&self) -> u64;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body, where it is in memory.
    fn bytes(&self) -> Option<&[u8]>;

    /// Gives it piece by piece, from its beginning, however often it is called.
    ///
    /// # Errors
    /// It cannot be read, or those of `piece`.
    fn pieces(&mut self, piece: &mut Pieces<'_>) -> io::Result<()>;
}

impl Content for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }

    fn pieces(&mut self, piece: &mut Pieces<'_>) -> io::Result<()> {
        piece(self)
    }
}

/// [`Content::pieces`] gave more or less than [`Content::len`] said.
fn other_length() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a body of another length than was said")
}

/// Where an encoder's bytes go.
pub trait Out {
    /// Appends.
    ///
    /// # Errors
    /// The environment's.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Bytes so far, from the beginning of the pack.
    fn at(&self) -> u64;
}

impl Out for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn at(&self) -> u64 {
        self.len() as u64
    }
}

/// Writes the records of one pack after the other. Not tied to a pack: what a pack begins and ends
/// with is put by [`Encode::begin`] and [`Encode::end`].
pub trait Encode: std::fmt::Debug + Send {
    /// What a new pack begins with.
    ///
    /// # Errors
    /// The environment's.
    fn begin(&mut self, out: &mut dyn Out) -> io::Result<()> {
        let _ = out;
        Ok(())
    }

    /// Adds a record. Gives its place: by that and the pack, [`Decode::seek`] finds it. True if
    /// the record is complete in `out`; else the next [`Encode::frame`] makes it so, with all others
    /// since the last.
    ///
    /// # Errors
    /// The environment's, or those of the body.
    fn record(
        &mut self,
        record: &Record<'_>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<(u64, bool)>;

    /// CRC32C of the last record's body as a reader gets it, where that is not the body as it was
    /// given; its length is always the same.
    fn altered(&self) -> Option<u32> {
        None
    }

    /// Makes complete what was added.
    ///
    /// # Errors
    /// The environment's.
    fn frame(&mut self, out: &mut dyn Out) -> io::Result<()> {
        let _ = out;
        Ok(())
    }

    /// What a whole pack ends with; to be called behind [`Encode::frame`].
    ///
    /// # Errors
    /// The environment's.
    fn end(&mut self, out: &mut dyn Out) -> io::Result<()> {
        let _ = out;
        Ok(())
    }
}

/// Bytes that can be read at any place.
pub trait ReadAt {
    /// Reads up to so many bytes; fewer only at the end.
    ///
    /// # Errors
    /// The environment's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Bytes.
    ///
    /// # Errors
    /// The environment's.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let left = self.get(from..).unwrap_or_default();
        let read = left.len().min(buffer.len());
        buffer[..read].copy_from_slice(&left[..read]);
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Box<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl ReadAt for std::fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match std::os::unix::fs::FileExt::read_at(
                self,
                &mut buffer[read..],
                offset + read as u64,
            ) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }
}

/// What was found in a pack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The object's name.
    pub name: Vec<u8>,
    /// Its place, as [`Encode::record`] gave it.
    pub place: u64,
    /// Bytes of its body.
    pub bytes: u64,
    /// Its position in the source, where the form keeps it.
    pub ordinal: Option<Ordinal>,
    /// What is known of the answer that brought it, where the pack says it.
    pub meta: Option<Meta>,
}

/// Reads the records of one pack. What is read is hostile: every length is checked, and nothing is
/// kept in memory but one record's head, one frame or one page, within bounds.
pub trait Decode {
    /// The next record; its body is given to `body` piece by piece, where that is there, and passed
    /// over where not. `None` behind the last.
    ///
    /// # Errors
    /// What is there is not a record (`InvalidData`), it ends too early (`UnexpectedEof`), or the
    /// environment's. Behind an error only [`Decode::seek`] goes on.
    fn next(&mut self, body: Option<&mut Pieces<'_>>) -> io::Result<Option<Found>>;

    /// Goes to a place that [`Encode::record`] gave.
    ///
    /// # Errors
    /// No record begins there, or the environment's.
    fn seek(&mut self, place: u64) -> io::Result<()>;
}
