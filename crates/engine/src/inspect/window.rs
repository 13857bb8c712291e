//! A window that moves over a file, so that small pieces are not read one by one.

use crate::disk::File;
use crate::pack::tar::entry::Bytes;
use std::io;

/// The bytes of a file, through a buffer of one size.
pub(super) struct Window<'f, 'b> {
    file: &'f dyn File,
    buffer: &'b mut Vec<u8>,
    /// Bytes read at once; more only where more is asked for.
    room: usize,
    start: u64,
}

impl<'f, 'b> Window<'f, 'b> {
    pub(super) fn new(file: &'f dyn File, buffer: &'b mut Vec<u8>, room: usize) -> Self {
        buffer.clear();
        Self { file, buffer, room, start: 0 }
    }

    /// The most that can be asked for without growing the buffer.
    pub(super) fn room(&self) -> usize {
        self.room
    }
}

impl Bytes for Window<'_, '_> {
    fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let held = self.start..self.start + self.buffer.len() as u64;
        if !held.contains(&offset) || offset + want as u64 > held.end {
            self.start = offset;
            self.buffer.resize(self.room.max(want), 0);
            let read = self.file.read_at(self.buffer, offset);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..(from + want).min(self.buffer.len())])
    }
}
