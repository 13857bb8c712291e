//! A pack on a disk of the engine's.

use super::ReadAt;
use crate::disk::File;
use std::io;

/// A file of the destination, up to what is recorded of it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) file: Box<dyn File>,
    pub(crate) len: u64,
}

impl ReadAt for Recorded {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let mut read = 0;
        while read < room {
            match self.file.read_at(&mut buffer[read..room], offset + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.size()?.min(self.len))
    }
}
