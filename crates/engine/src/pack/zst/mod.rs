//! Any form that is only appended to, in zstd frames (RFC 8878) that do not need each other.
//!
//! Records gather until there are [`ZST_FRAME_BYTES`] of them, or until [`Encode::frame`] is called;
//! then they become one frame, with its content size and a checksum (XXH64). A frame always holds
//! whole records, so the file can be cut behind any of them, and `zstd -d` reads it. A record that is
//! too large to be gathered gets a frame of its own, which is written while the body is read:
//! first without writing, to know how many bytes there will be.
//!
//! The place of a record is two numbers: the offset of its frame in the file, shifted left by
//! [`OFFSET_BITS`], and its offset in the frame when that is decompressed. So a file has at most
//! 2^40 bytes, and what is said here ends at 2^24 bytes of one frame, beyond which no record begins.

mod read;
#[cfg(test)]
mod tests;

pub use read::{Frames, read_lines};

use super::{Content, Encode, Out, Record};
use std::fmt;
use std::io;
use windrow_model::limits::{PACK_PIECE_BYTES, ZST_FRAME_BYTES};
use zstd::bulk::Compressor;
use zstd::stream::raw::{CParameter, Encoder, Operation as _};
use zstd::zstd_safe::{InBuffer, OutBuffer, compress_bound};

/// Bits of a place that are the offset in a frame.
pub const OFFSET_BITS: u32 = 24;

/// Level where nobody says another. For random bodies of 100 bytes level 3 takes longer and gains
/// nothing: 116 bytes an object where level 1 has 114.
pub const LEVEL: i32 = 1;

/// Bytes that are gathered, at most.
const MOST: usize = 2 * ZST_FRAME_BYTES;

/// Writes what another encoder writes, compressed. Holds [`ZST_FRAME_BYTES`] twice, the same
/// compressed, and the library's tables (about 1 MiB at [`LEVEL`]).
pub struct Framed<E> {
    inner: E,
    raw: Gather,
    compressor: Compressor<'static>,
    compressed: Vec<u8>,
}

impl<E: fmt::Debug> fmt::Debug for Framed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<E: Encode> Framed<E> {
    /// Frames around what `inner` writes. It has to write the same for the same record each time.
    ///
    /// # Errors
    /// The library has no such level, or no memory.
    pub fn new(inner: E, level: i32) -> io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { inner, raw: Gather::default(), compressor, compressed: Vec::new() })
    }

    /// Writes the first so many gathered bytes as a frame.
    fn flush(&mut self, bytes: usize, out: &mut dyn Out) -> io::Result<()> {
        if bytes > 0 {
            self.compressed.clear();
            self.compressed.reserve(compress_bound(bytes));
            self.compressor.compress_to_buffer(&self.raw.bytes[..bytes], &mut self.compressed)?;
            out.put(&self.compressed)?;
        }
        Ok(())
    }

    /// Writes a record in a frame of its own.
    fn alone(
        &mut self,
        record: &Record<'_>,
        body: &mut dyn Content,
        bytes: u64,
        out: &mut dyn Out,
    ) -> io::Result<()> {
        let mut encoder = Encoder::with_context(self.compressor.context_mut());
        encoder.set_pledged_src_size(Some(bytes))?;
        self.compressed.clear();
        self.compressed.resize(PACK_PIECE_BYTES, 0);
        let mut frame = Frame { encoder, buffer: &mut self.compressed, at: 0, out };
        self.inner.record(record, body, &mut frame)?;
        frame.finish()
    }
}

impl<E: Encode> Encode for Framed<E> {
    fn begin(&mut self, out: &mut dyn Out) -> io::Result<()> {
        self.raw.keep(0);
        self.inner.begin(&mut self.raw)?;
        self.frame(out)
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<(u64, bool)> {
        let from = self.raw.bytes.len();
        if let Err(error) = self.inner.record(record, body, &mut self.raw) {
            self.raw.keep(from);
            return Err(error);
        }
        if self.raw.at > self.raw.bytes.len() as u64 {
            let bytes = self.raw.at - from as u64;
            self.raw.keep(from);
            self.frame(out)?;
            let place = place(out.at(), 0)?;
            self.alone(record, body, bytes, out)?;
            return Ok((place, true));
        }
        let place = place(out.at(), from as u64)?;
        if self.raw.bytes.len() < ZST_FRAME_BYTES {
            return Ok((place, false));
        }
        self.frame(out)?;
        Ok((place, true))
    }

    fn altered(&self) -> Option<u32> {
        self.inner.altered()
    }

    fn frame(&mut self, out: &mut dyn Out) -> io::Result<()> {
        self.flush(self.raw.bytes.len(), out)?;
        self.raw.keep(0);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Out) -> io::Result<()> {
        self.inner.end(&mut self.raw)?;
        self.frame(out)
    }
}

/// The place of what is at `offset` of the frame at `frame`.
fn place(frame: u64, offset: u64) -> io::Result<u64> {
    if offset >> OFFSET_BITS != 0 || frame >> (u64::BITS - OFFSET_BITS) != 0 {
        let what = "a record further back in a file or frame than a place can say";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(frame << OFFSET_BITS | offset)
}

/// Keeps bytes as long as they are few, and counts them all.
#[derive(Default)]
struct Gather {
    bytes: Vec<u8>,
    at: u64,
}

impl Gather {
    fn keep(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
        self.at = self.bytes.len() as u64;
    }
}

impl Out for Gather {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let all = self.at == self.bytes.len() as u64;
        if all && self.bytes.len() + bytes.len() <= MOST {
            self.bytes.extend_from_slice(bytes);
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn at(&self) -> u64 {
        self.at
    }
}

/// Compresses into one frame what is put.
struct Frame<'a> {
    encoder: Encoder<'a>,
    buffer: &'a mut Vec<u8>,
    at: u64,
    out: &'a mut dyn Out,
}

impl Frame<'_> {
    fn finish(mut self) -> io::Result<()> {
        loop {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            let left = self.encoder.finish(&mut output, true)?;
            let written = output.pos();
            self.out.put(&self.buffer[..written])?;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

impl Out for Frame<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            self.encoder.run(&mut input, &mut output)?;
            let written = output.pos();
            if written > 0 {
                self.out.put(&self.buffer[..written])?;
            }
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn at(&self) -> u64 {
        self.at
    }
}
