//! Bytes that are read from the beginning to the end, from any place on.

use super::super::ReadAt;
use std::io;

/// Bytes in one read.
const READ: usize = 64 << 10;

/// Bytes to be read one after the other, each with a place to which one can go back.
pub trait Stream {
    /// Those that come next; none only at the end.
    ///
    /// # Errors
    /// The environment's, or what is there cannot be read.
    fn fill(&mut self) -> io::Result<&[u8]>;

    /// Passes over so many of those that [`Stream::fill`] gave.
    fn consume(&mut self, bytes: usize);

    /// The place of the next byte, behind a [`Stream::fill`] that gave some.
    ///
    /// # Errors
    /// It has none that could be written down.
    fn place(&self) -> io::Result<u64>;

    /// Goes to a place. Gives the byte before it, where there is one in the same file or frame.
    ///
    /// # Errors
    /// There is no such place (`InvalidData`), or the environment's.
    fn seek(&mut self, place: u64) -> io::Result<Option<u8>>;
}

/// The bytes of a file as they are; places are offsets.
#[derive(Debug)]
pub struct Plain<R> {
    input: R,
    /// Offset of what is behind the buffer.
    at: u64,
    buffer: Box<[u8]>,
    next: usize,
    end: usize,
}

impl<R: ReadAt> Plain<R> {
    /// From the beginning of the file.
    pub fn new(input: R) -> Self {
        Self { input, at: 0, buffer: vec![0; READ].into_boxed_slice(), next: 0, end: 0 }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.at - (self.end - self.next) as u64
    }
}

impl<R: ReadAt> Stream for Plain<R> {
    fn fill(&mut self) -> io::Result<&[u8]> {
        if self.next == self.end {
            (self.next, self.end) = (0, 0);
            self.end = self.input.read_at(&mut self.buffer, self.at)?.min(self.buffer.len());
            self.at += self.end as u64;
        }
        Ok(&self.buffer[self.next..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.next = (self.next + bytes).min(self.end);
    }

    fn place(&self) -> io::Result<u64> {
        Ok(self.offset())
    }

    fn seek(&mut self, place: u64) -> io::Result<Option<u8>> {
        if place > self.input.size()? {
            let what = "a place behind the end";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let first = place.saturating_sub(1);
        (self.at, self.next, self.end) = (first, 0, 0);
        if place == 0 {
            return Ok(None);
        }
        let before = self.fill()?.first().copied();
        self.consume(1);
        Ok(before)
    }
}
