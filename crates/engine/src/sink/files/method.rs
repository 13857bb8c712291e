//! Ways to make a file appear whole.
//!
//! Measured for a file of 100 bytes on ext4 (docs/BENCHMARKS.md): a nameless file that is linked is
//! the cheapest that is atomic, 29 us of CPU; a temporary name that is renamed costs half as much
//! again, because directories are changed twice.

use super::super::Body;
use super::super::dest::Destination;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// `O_TMPFILE`, then `linkat` of the descriptor (`AT_EMPTY_PATH`).
    Link,
    /// The same by way of `/proc/self/fd`, where the kernel wants a capability for the former.
    LinkProc,
    /// A temporary name, then `renameat`.
    Rename,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

const MODE: Mode = Mode::from_raw_mode(0o644);

impl Method {
    /// Finds the cheapest way that the destination's file system has.
    pub(super) fn probe(dest: &Destination) -> Result<Self, Errno> {
        let name = unique();
        for method in [Self::Link, Self::LinkProc, Self::Rename] {
            let tried = method.place(dest, dest.work(), name.as_bytes(), &mut Body::Bytes(b"?"));
            if tried.is_ok() || method == Self::Rename {
                tried?;
                fs::unlinkat(dest.work(), name.as_str(), AtFlags::empty())?;
                return Ok(method);
            }
        }
        Ok(Self::Rename)
    }

    /// Makes `body` the content of `dir/name`, replacing a file of that name.
    ///
    /// # Errors
    /// `ISDIR` where a directory has that name; else the system's.
    pub(super) fn place(
        self,
        dest: &Destination,
        dir: BorrowedFd<'_>,
        name: &[u8],
        body: &mut Body<'_>,
    ) -> Result<(), Errno> {
        match (self, body) {
            (Self::Rename, Body::Bytes(bytes)) => {
                let temporary = unique();
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = fs::openat(dest.work(), temporary.as_str(), flags, MODE)?;
                let written = write(&file.into(), bytes);
                rename(dest, written, &temporary, dir, name)
            }
            (_, Body::Bytes(bytes)) => {
                let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
                // Nameless in the directory where it will be: file systems put it near.
                let file = File::from(fs::openat(dir, c".", flags, MODE)?);
                write(&file, bytes)?;
                self.link(dest, &file, dir, name)
            }
            (_, Body::Spool(spool)) => {
                let (file, temporary) = spool.parts();
                match temporary {
                    Some(temporary) => rename(dest, Ok(()), temporary, dir, name)?,
                    None => self.link(dest, file, dir, name)?,
                }
                spool.placed();
                Ok(())
            }
        }
    }

    fn link(
        self,
        dest: &Destination,
        file: &File,
        dir: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), Errno> {
        match self.link_new(file, dir, name) {
            Err(Errno::EXIST) => {
                // An earlier file, or a duplicate: replaced in one step.
                let temporary = unique();
                let linked = self.link_new(file, dest.work(), temporary.as_bytes());
                rename(dest, linked, &temporary, dir, name)
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

/// Moves a temporary file of the work directory to its place; removes it where that fails.
fn rename(
    dest: &Destination,
    made: Result<(), Errno>,
    temporary: &str,
    dir: BorrowedFd<'_>,
    name: &[u8],
) -> Result<(), Errno> {
    let renamed = made.and_then(|()| fs::renameat(dest.work(), temporary, dir, name));
    if renamed.is_err() {
        let _ = fs::unlinkat(dest.work(), temporary, AtFlags::empty());
    }
    renamed
}

fn write(mut file: &File, bytes: &[u8]) -> Result<(), Errno> {
    file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
