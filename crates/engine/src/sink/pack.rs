//! A pack while it is written: a file below the work directory that gets its final name when it
//! is whole.

use super::dest::Destination;
use super::errno::fatal;
use rustix::fs::{self, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use windrow_model::Error;
use windrow_model::limits::PACK_BUFFER_BYTES;

/// An open pack.
#[derive(Debug)]
pub(super) struct PackFile {
    dest: Arc<Destination>,
    name: String,
    number: u32,
    file: File,
    /// Bytes that are not written yet, behind `flushed` ones that are.
    buffer: Vec<u8>,
    flushed: u64,
}

impl PackFile {
    /// Begins pack `number`, with file name ending `extension`. `buffer` is one to use again.
    pub(super) fn create(
        dest: &Arc<Destination>,
        number: u32,
        extension: &str,
        mut buffer: Vec<u8>,
    ) -> Result<Self, Error> {
        let name = format!("{number:05}.{extension}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(dest.work(), name.as_str(), flags, Mode::from(0o644))
            .map_err(|errno| fatal(&dest.shown(), "cannot make a pack", errno))?;
        buffer.clear();
        buffer.reserve(PACK_BUFFER_BYTES + PACK_BUFFER_BYTES / 4);
        let dest = Arc::clone(dest);
        Ok(Self { dest, name, number, file: file.into(), buffer, flushed: 0 })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Bytes of the pack so far.
    pub(super) fn len(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Where the next bytes are to be rendered; call [`PackFile::settle`] after.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer if it is full.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if self.buffer.len() >= PACK_BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Appends bytes, the large ones without a copy.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() < PACK_BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return self.settle();
        }
        self.flush()?;
        self.write(bytes)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.flushed += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| {
            let subject = self.dest.path().join(&self.name).display().to_string();
            fatal(&subject, "cannot write", Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }

    /// Writes what is left, and gives the pack its final name. Gives the buffer back.
    pub(super) fn seal(mut self) -> Result<Vec<u8>, Error> {
        self.flush()?;
        let (from, to) = (self.dest.work(), self.dest.root());
        let name = self.name.as_str();
        let renamed = match fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            // File systems that cannot promise not to replace.
            Err(Errno::INVAL | Errno::NOSYS) => fs::renameat(from, name, to, name),
            other => other,
        };
        renamed.map_err(|errno| {
            let subject = self.dest.path().join(name).display().to_string();
            let error = fatal(&subject, "cannot give the pack its name", errno);
            match errno {
                Errno::EXIST => error.hint("a file of that name is there that windrow did not write; move it, or choose another directory"),
                _ => error,
            }
        })?;
        Ok(self.buffer)
    }
}

/// Whether a file name is one that windrow gives to packs: five or more digits, a known ending.
pub(super) fn is_pack_name(name: &[u8]) -> bool {
    let digits = name.iter().take_while(|b| b.is_ascii_digit()).count();
    digits >= 5 && &name[digits..] == b".tar"
}
