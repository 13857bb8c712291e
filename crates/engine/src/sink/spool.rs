//! Bodies too large for memory, on their way.

use super::dest::Destination;
use super::errno::fatal;
use super::files::Content;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use windrow_model::Error;

/// A file without a place yet, on the file system of the destination; gone when dropped.
#[derive(Debug)]
pub struct Spool {
    dest: Arc<Destination>,
    /// There until the spool ends.
    file: Option<File>,
    /// Its name below the work directory, where the file system cannot do without.
    name: Option<String>,
    len: u64,
    /// CRC32C of the bytes so far.
    sum: u32,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Spool {
    /// An empty spool.
    ///
    /// # Errors
    /// The environment's.
    pub fn create(dest: &Arc<Destination>) -> Result<Self, Error> {
        let (file, name) =
            create(dest).map_err(|errno| fatal(&dest.shown(), "cannot make a file", errno))?;
        Ok(Self { dest: Arc::clone(dest), file: Some(file), name, len: 0, sum: 0 })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The environment's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file().write_all(bytes).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            fatal(&self.dest.shown(), "cannot write", errno)
        })?;
        self.len += bytes.len() as u64;
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        Ok(())
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// CRC32C of the bytes.
    pub(super) fn sum(&self) -> u32 {
        self.sum
    }

    /// The file, to be given a name.
    pub(super) fn into_content(mut self) -> Content {
        let temporary = self.name.take();
        let file = self.file.take();
        let file = file.unwrap_or_else(|| unreachable!("taken once, when the spool ends"));
        Content { dest: Arc::clone(&self.dest), file, temporary }
    }

    fn file(&mut self) -> &mut File {
        self.file.as_mut().unwrap_or_else(|| unreachable!("taken once, when the spool ends"))
    }

    /// Reads bytes from an offset until the buffer is full.
    ///
    /// # Errors
    /// The environment's, or there are not so many.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let file = self.file.as_ref();
        let file = file.unwrap_or_else(|| unreachable!("taken once, when the spool ends"));
        file.read_exact_at(buffer, at).map_err(|error| {
            Error::environment(self.dest.shown(), "cannot read a body back").why(error)
        })
    }

    /// Shows the bytes to `take`, in pieces, from the first.
    ///
    /// # Errors
    /// The environment's, or what `take` gives.
    pub fn read_all(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shown = self.dest.shown();
        let failed = |error: std::io::Error| {
            Error::environment(&shown, "cannot read a body back").why(error)
        };
        let mut piece = vec![0; 256 << 10];
        let mut left = self.len;
        let file = self.file();
        file.rewind().map_err(failed)?;
        while left > 0 {
            let len = file.read(&mut piece).map_err(failed)?;
            if len == 0 {
                return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
            }
            take(&piece[..len])?;
            left -= len as u64;
        }
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::unlinkat(self.dest.work(), name.as_str(), AtFlags::empty());
        }
    }
}

fn create(dest: &Destination) -> Result<(File, Option<String>), Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match fs::openat(dest.work(), c".", flags | OFlags::TMPFILE, Mode::from(0o644)) {
        Ok(file) => return Ok((file.into(), None)),
        // File systems without nameless files.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let name = format!("spool-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let flags = flags | OFlags::CREATE | OFlags::EXCL;
    let file = fs::openat(dest.work(), name.as_str(), flags, Mode::from(0o644))?;
    Ok((file.into(), Some(name)))
}
