//! Gzip members (RFC 1952), one for each record: written piece by piece, and read with the offset at
//! which each begins.

use crate::pack::jsonl::{Plain, Stream as _};
use crate::pack::{Out, ReadAt};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::fmt;
use std::io;
use windrow_model::limits::{PACK_PIECE_BYTES, WARC_SMALL_BYTES};

/// No name, no date, no operating system, so that the same records give the same bytes.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];

/// Flags of a header (RFC 1952 section 2.3.1).
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Writes one member after the other.
pub(super) struct Writer {
    /// For large records, and for small ones.
    compress: [Compress; 2],
    small: bool,
    crc: crc32fast::Hasher,
    size: u32,
    buffer: Vec<u8>,
    used: usize,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(level: u32) -> Self {
        Self {
            compress: [level, level.min(1)]
                .map(|level| Compress::new(Compression::new(level), false)),
            small: false,
            crc: crc32fast::Hasher::new(),
            size: 0,
            buffer: vec![0; PACK_PIECE_BYTES],
            used: 0,
        }
    }

    /// Begins a member of about so many bytes; one that did not end is forgotten.
    pub(super) fn begin(&mut self, bytes: u64) {
        // Making trees of codes for so little costs half of the time, and they do not pay.
        self.small = bytes < WARC_SMALL_BYTES;
        self.compress[usize::from(self.small)].reset();
        self.crc.reset();
        self.size = 0;
        self.buffer[..HEADER.len()].copy_from_slice(&HEADER);
        self.used = HEADER.len();
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], out: &mut dyn Out) -> io::Result<()> {
        self.crc.update(bytes);
        self.size = self.size.wrapping_add(bytes.len() as u32);
        while !bytes.is_empty() {
            let (read, _) = self.step(bytes, FlushCompress::None, out)?;
            bytes = &bytes[read..];
        }
        Ok(())
    }

    pub(super) fn end(&mut self, out: &mut dyn Out) -> io::Result<()> {
        while !self.step(&[], FlushCompress::Finish, out)?.1 {}
        out.put(&self.buffer[..self.used])?;
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&self.crc.clone().finalize().to_le_bytes());
        trailer[4..].copy_from_slice(&self.size.to_le_bytes());
        self.used = 0;
        out.put(&trailer)
    }

    /// Gives how much was taken, and whether the data ended.
    fn step(
        &mut self,
        bytes: &[u8],
        flush: FlushCompress,
        out: &mut dyn Out,
    ) -> io::Result<(usize, bool)> {
        if self.used == self.buffer.len() {
            out.put(&self.buffer)?;
            self.used = 0;
        }
        let compress = &mut self.compress[usize::from(self.small)];
        let (read, written) = (compress.total_in(), compress.total_out());
        let status = compress.compress(bytes, &mut self.buffer[self.used..], flush);
        let status = status.map_err(io::Error::other)?;
        self.used += (compress.total_out() - written) as usize;
        let read = (compress.total_in() - read) as usize;
        Ok((read, status == Status::StreamEnd))
    }
}

/// Reads one member after the other. In memory are two buffers and a window of 32 KiB.
pub(super) struct Reader<R> {
    input: Plain<R>,
    inflate: Decompress,
    crc: crc32fast::Hasher,
    size: u32,
    piece: Box<[u8]>,
    next: usize,
    end: usize,
    /// The data of the member ended, or none began.
    ended: bool,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<R: ReadAt> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input: Plain::new(input),
            inflate: Decompress::new(false),
            crc: crc32fast::Hasher::new(),
            size: 0,
            piece: vec![0; PACK_PIECE_BYTES].into_boxed_slice(),
            next: 0,
            end: 0,
            ended: true,
        }
    }

    /// Goes to where a member may begin.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        (self.next, self.end, self.ended) = (0, 0, true);
        self.input.seek(offset).map(|_| ())
    }

    /// Opens the member that is next, behind the end of another. Gives its offset; none at the end
    /// of the file.
    pub(super) fn open(&mut self) -> io::Result<Option<u64>> {
        if self.input.fill()?.is_empty() {
            return Ok(None);
        }
        let offset = self.input.offset();
        let mut header = [0; HEADER.len()];
        for (at, byte) in header.iter_mut().enumerate() {
            *byte = self.byte()?;
            if at < 3 && *byte != HEADER[at] {
                return Err(damage("no gzip member begins there"));
            }
        }
        let flags = header[3];
        if flags & RESERVED != 0 {
            return Err(damage("a gzip header with unknown flags"));
        }
        if flags & EXTRA != 0 {
            for _ in 0..u16::from_le_bytes([self.byte()?, self.byte()?]) {
                self.byte()?;
            }
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                while self.byte()? != 0 {}
            }
        }
        if flags & HEADER_CRC != 0 {
            self.byte()?;
            self.byte()?;
        }
        self.inflate.reset(false);
        self.crc.reset();
        (self.size, self.next, self.end, self.ended) = (0, 0, 0, false);
        Ok(Some(offset))
    }

    /// The bytes of the member that come next; none at its end, whose checksum is right then.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.next == self.end {
            (self.next, self.end) = (0, 0);
            while self.end == 0 && !self.ended {
                self.inflate()?;
            }
        }
        Ok(&self.piece[self.next..self.end])
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.next = (self.next + bytes).min(self.end);
    }

    fn inflate(&mut self) -> io::Result<()> {
        let ahead = self.input.fill()?;
        let none_left = ahead.is_empty();
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(ahead, &mut self.piece, FlushDecompress::None);
        let status = status.map_err(|_| damage("deflated data that is damaged"))?;
        let read = (self.inflate.total_in() - read) as usize;
        self.end = (self.inflate.total_out() - written) as usize;
        self.input.consume(read);
        self.crc.update(&self.piece[..self.end]);
        self.size = self.size.wrapping_add(self.end as u32);
        if status == Status::StreamEnd {
            self.ended = true;
            return self.trailer();
        }
        match (self.end, none_left, read) {
            (0, true, _) => Err(io::ErrorKind::UnexpectedEof.into()),
            (0, _, 0) => Err(damage("deflated data that is damaged")),
            _ => Ok(()),
        }
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        for byte in &mut trailer {
            *byte = self.byte()?;
        }
        let expected = u64::from(self.crc.clone().finalize()) | u64::from(self.size) << 32;
        if u64::from_le_bytes(trailer) == expected {
            Ok(())
        } else {
            Err(damage("a gzip member whose checksum is wrong"))
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let Some(&byte) = self.input.fill()?.first() else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        self.input.consume(1);
        Ok(byte)
    }
}

fn damage(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
