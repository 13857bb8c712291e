//! Reads zstd frames one after the other, or one from its beginning on.
//!
//! In memory are a window of at most 2^[`ZSTD_WINDOW_LOG`] bytes, whatever a frame asks for, and two
//! buffers.

use super::{OFFSET_BITS, place};
use crate::pack::ReadAt;
use crate::pack::jsonl::{Lines, Plain, Stream};
use std::fmt;
use std::io;
use windrow_model::limits::ZSTD_WINDOW_LOG;
use zstd::stream::raw::{DParameter, Decoder, Operation as _};
use zstd::zstd_safe::{InBuffer, OutBuffer};

/// Bytes that are decompressed at once; a block of zstd has as many at most (RFC 8878 section
/// 3.1.1.2.4).
const PIECE: usize = 128 << 10;

/// Reads lines of JSON out of frames.
///
/// # Errors
/// The library has no memory.
pub fn read_lines<R: ReadAt>(input: R) -> io::Result<Lines<Frames<R>>> {
    Ok(Lines::new(Frames::new(input)?))
}

/// What is in the frames of a file, decompressed.
pub struct Frames<R> {
    input: Plain<R>,
    decoder: Decoder<'static>,
    piece: Box<[u8]>,
    next: usize,
    end: usize,
    /// Offset of the frame to which the next byte belongs.
    frame: u64,
    /// Offset of the next byte in it.
    at: u64,
    /// The frame is decoded to its end.
    ended: bool,
}

impl<R> fmt::Debug for Frames<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("frame", &self.frame).finish_non_exhaustive()
    }
}

impl<R: ReadAt> Frames<R> {
    /// From the beginning of the file.
    ///
    /// # Errors
    /// The library has no memory.
    pub fn new(input: R) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        let piece = vec![0; PIECE].into_boxed_slice();
        let input = Plain::new(input);
        Ok(Self { input, decoder, piece, next: 0, end: 0, frame: 0, at: 0, ended: true })
    }

    /// Decodes until something came out, or up to the end. Gives whether something did.
    fn decode(&mut self) -> io::Result<bool> {
        (self.next, self.end) = (0, 0);
        while self.end == 0 {
            let ahead = self.input.fill()?;
            let none_left = ahead.is_empty();
            if self.ended {
                if none_left {
                    return Ok(false);
                }
                (self.ended, self.at) = (false, 0);
                self.frame = self.input.offset();
                self.decoder.reinit()?;
                continue;
            }
            let mut input = InBuffer::around(ahead);
            let mut output = OutBuffer::around(&mut self.piece[..]);
            // Also without input: some of what was decoded may still be inside.
            let run = self.decoder.run(&mut input, &mut output);
            let left = run.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
            let (read, written) = (input.pos(), output.pos());
            self.input.consume(read);
            self.end = written;
            self.ended = left == 0;
            if none_left && written == 0 && !self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(true)
    }
}

impl<R: ReadAt> Stream for Frames<R> {
    fn fill(&mut self) -> io::Result<&[u8]> {
        if self.next == self.end {
            self.decode()?;
        }
        Ok(&self.piece[self.next..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.next);
        self.next += bytes;
        self.at += bytes as u64;
    }

    fn place(&self) -> io::Result<u64> {
        place(self.frame, self.at)
    }

    fn seek(&mut self, place: u64) -> io::Result<Option<u8>> {
        let (frame, offset) = (place >> OFFSET_BITS, place & ((1 << OFFSET_BITS) - 1));
        (self.next, self.end, self.ended) = (0, 0, true);
        self.input.seek(frame)?;
        let mut before = None;
        while !self.fill()?.is_empty() && self.frame == frame {
            let left = offset - self.at;
            if left == 0 {
                return Ok(before);
            }
            let ahead = &self.piece[self.next..self.end];
            let passed = usize::try_from(left).unwrap_or(usize::MAX).min(ahead.len());
            before = passed.checked_sub(1).map(|last| ahead[last]);
            self.consume(passed);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a place behind the end of its frame"))
    }
}
