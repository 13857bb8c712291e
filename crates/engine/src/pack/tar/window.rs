//! A window that moves over a pack, so that small members are not read one by one.

use super::entry::Bytes;
use crate::pack::ReadAt;
use std::io;

/// Bytes that are read first at a new place: one small object, most likely.
const FIRST: usize = 8 << 10;

/// Bytes that are read at once when it goes on from there.
const MOST: usize = 256 << 10;

/// The first so many bytes of a pack, through a buffer.
#[derive(Debug)]
pub(super) struct Window<R> {
    file: R,
    /// Bytes that count.
    len: u64,
    buffer: Vec<u8>,
    start: u64,
    /// Bytes that are read the next time.
    room: usize,
}

impl<R: ReadAt> Window<R> {
    pub(super) fn new(file: R, len: u64) -> Self {
        Self { file, len, buffer: Vec::new(), start: 0, room: FIRST }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What comes next is somewhere else.
    pub(super) fn jump(&mut self) {
        self.room = FIRST;
    }

    /// The most that is to be asked for at once, if it is a part of something.
    pub(super) fn piece(&self) -> usize {
        MOST
    }
}

impl<R: ReadAt> Bytes for Window<R> {
    fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = want.min(left);
        let held = self.start..self.start + self.buffer.len() as u64;
        if want > 0 && (!held.contains(&offset) || offset + want as u64 > held.end) {
            self.start = offset;
            self.buffer.resize(self.room.max(want).min(left), 0);
            let read = self.file.read_at(&mut self.buffer, offset);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
            self.room = (2 * self.room).min(MOST);
        }
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.buffer.get(from..).unwrap_or_default();
        Ok(&rest[..rest.len().min(want)])
    }
}
