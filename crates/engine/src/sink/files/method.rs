//! Ways to make a file appear whole, in two steps: written, then named.
//!
//! Measured for a file of 100 bytes on ext4 (docs/BENCHMARKS.md): a nameless file that is linked is
//! the cheapest that is atomic, 29 us of CPU; a temporary name that is renamed costs half as much
//! again, because directories are changed twice.

use super::super::dest::Destination;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sink) enum Method {
    /// `O_TMPFILE`, then `linkat` of the descriptor (`AT_EMPTY_PATH`).
    Link,
    /// The same by way of `/proc/self/fd`, where the kernel wants a capability for the former.
    LinkProc,
    /// A temporary name, then `renameat`.
    Rename,
}

/// A file that was written. Where it has a temporary name, that goes with it.
#[derive(Debug)]
pub(in crate::sink) struct Content {
    pub(in crate::sink) dest: Arc<Destination>,
    pub(in crate::sink) file: File,
    /// Its name in the work directory, where the file system cannot do without one.
    pub(in crate::sink) temporary: Option<String>,
}

impl Content {
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::unlinkat(self.dest.work(), temporary.as_str(), AtFlags::empty());
        }
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

const MODE: Mode = Mode::from_raw_mode(0o644);

impl Method {
    /// Finds the cheapest way that the destination's file system has.
    pub(in crate::sink) fn probe(dest: &Arc<Destination>) -> Result<Self, Errno> {
        let name = unique();
        for method in [Self::Link, Self::LinkProc, Self::Rename] {
            let tried = method
                .write(dest, dest.work(), b"?")
                .and_then(|mut file| method.place(dest, dest.work(), name.as_bytes(), &mut file));
            if tried.is_ok() || method == Self::Rename {
                tried?;
                fs::unlinkat(dest.work(), name.as_str(), AtFlags::empty())?;
                return Ok(method);
            }
        }
        Ok(Self::Rename)
    }

    /// Writes a file that has no name yet, near to the directory `dir` that it is for.
    pub(super) fn write(
        self,
        dest: &Arc<Destination>,
        dir: BorrowedFd<'_>,
        bytes: &[u8],
    ) -> Result<Content, Errno> {
        let (file, temporary) = match self {
            Self::Rename => {
                let temporary = unique();
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = fs::openat(dest.work(), temporary.as_str(), flags, MODE)?;
                (file, Some(temporary))
            }
            Self::Link | Self::LinkProc => {
                let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
                // Nameless in the directory where it will be: file systems put it near.
                (fs::openat(dir, c".", flags, MODE)?, None)
            }
        };
        let content = Content { dest: Arc::clone(dest), file: file.into(), temporary };
        write(&content.file, bytes)?;
        Ok(content)
    }

    /// Makes a file the content of `dir/name`, replacing a file of that name.
    ///
    /// # Errors
    /// `ISDIR` where a directory has that name; else the system's.
    pub(super) fn place(
        self,
        dest: &Destination,
        dir: BorrowedFd<'_>,
        name: &[u8],
        content: &mut Content,
    ) -> Result<(), Errno> {
        if let Some(temporary) = &content.temporary {
            fs::renameat(dest.work(), temporary.as_str(), dir, name)?;
            content.temporary = None;
            return Ok(());
        }
        match self.link_new(&content.file, dir, name) {
            Err(Errno::EXIST) => {
                // An earlier file, or a duplicate: replaced in one step.
                let temporary = unique();
                self.link_new(&content.file, dest.work(), temporary.as_bytes())?;
                // A nameless file is linked once; where this fails, the name stays with it.
                let temporary = content.temporary.insert(temporary);
                fs::renameat(dest.work(), temporary.as_str(), dir, name)?;
                content.temporary = None;
                Ok(())
            }
            other => other,
        }
    }

    fn link_new(self, file: &File, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Link => fs::linkat(file.as_fd(), c"", dir, name, AtFlags::EMPTY_PATH),
            _ => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                fs::linkat(CWD, path, dir, name, AtFlags::SYMLINK_FOLLOW)
            }
        }
    }
}

fn unique() -> String {
    format!("file-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn write(mut file: &File, bytes: &[u8]) -> Result<(), Errno> {
    file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
