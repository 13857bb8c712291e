//! The disk that the operating system gives.

use super::{Dir, Disk, File, Synced, Use};
use rustix::fs::{self, AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What direct I/O asks of addresses, offsets and lengths; no common disk asks for more.
pub const ALIGN: usize = 4096;

/// Handles of a destination's directories. Every name is used relative to one of them, so that
/// nobody who moves or replaces a directory meanwhile leads windrow elsewhere.
#[derive(Debug)]
pub struct Real {
    pub(crate) root: OwnedFd,
    pub(crate) state: OwnedFd,
    pub(crate) ledger: OwnedFd,
    pub(crate) manifest: OwnedFd,
    pub(crate) open: OwnedFd,
    /// Where it is there.
    pub(crate) index: Option<OwnedFd>,
    /// A sync of the file system or of a directory failed.
    failed: AtomicBool,
}

impl Real {
    /// A disk of these directories.
    pub(crate) fn new(
        root: OwnedFd,
        state: OwnedFd,
        ledger: OwnedFd,
        manifest: OwnedFd,
        open: OwnedFd,
        index: Option<OwnedFd>,
    ) -> Self {
        Self { root, state, ledger, manifest, open, index, failed: AtomicBool::new(false) }
    }

    pub(crate) fn dir(&self, dir: Dir) -> Result<BorrowedFd<'_>, Errno> {
        Ok(match dir {
            Dir::Root => self.root.as_fd(),
            Dir::State => self.state.as_fd(),
            Dir::Ledger => self.ledger.as_fd(),
            Dir::Manifest => self.manifest.as_fd(),
            Dir::Open => self.open.as_fd(),
            Dir::Index => self.index.as_ref().ok_or(Errno::NOENT)?.as_fd(),
        })
    }

    fn open_file(&self, dir: Dir, name: &str, flags: OFlags, how: Use) -> Result<Plain, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = self.dir(dir)?;
        let open = |flags| fs::openat(dir, name, flags, Mode::from(0o644));
        let file = match how {
            Use::Plain => open(flags),
            Use::Pack => match open(flags | OFlags::DIRECT) {
                Err(Errno::INVAL | Errno::OPNOTSUPP) => open(flags),
                other => other,
            },
        };
        file.map(|file| Plain { file: file.into(), failed: AtomicBool::new(false) })
    }

    fn sync(&self, sync: impl FnOnce() -> Result<(), Errno>) -> Result<Synced, Errno> {
        once(&self.failed, sync)
    }

    /// Syncs a file that was not opened here; it is synced once only.
    pub(crate) fn sync_other_file(&self, file: &std::fs::File) -> Result<Synced, Errno> {
        self.sync(|| fs::fdatasync(file))
    }

    /// Syncs a directory that is not one of [`Dir`].
    pub(crate) fn sync_other_dir(&self, dir: BorrowedFd<'_>) -> Result<Synced, Errno> {
        self.sync(|| fs::fsync(dir))
    }
}

/// Syncs, unless that failed before.
fn once(failed: &AtomicBool, sync: impl FnOnce() -> Result<(), Errno>) -> Result<Synced, Errno> {
    if failed.load(Ordering::Relaxed) {
        return Err(Errno::IO);
    }
    match sync() {
        Ok(()) => Ok(Synced(())),
        Err(errno) => {
            failed.store(true, Ordering::Relaxed);
            Err(errno)
        }
    }
}

impl Disk for Real {
    fn create(&self, dir: Dir, name: &str, how: Use) -> Result<Box<dyn File>, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        Ok(Box::new(self.open_file(dir, name, flags, how)?))
    }

    fn open(&self, dir: Dir, name: &str, how: Use) -> Result<Box<dyn File>, Errno> {
        Ok(Box::new(self.open_file(dir, name, OFlags::RDWR, how)?))
    }

    fn read(&self, dir: Dir, name: &str) -> Result<Box<dyn File>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        // Looking leaves no trace, where the system lets it.
        let file = match self.open_file(dir, name, flags | OFlags::NOATIME, Use::Plain) {
            Err(Errno::PERM) => self.open_file(dir, name, flags, Use::Plain),
            other => other,
        };
        Ok(Box::new(file?))
    }

    fn rename(&self, from: Dir, to: Dir, name: &str) -> Result<(), Errno> {
        let (from, to) = (self.dir(from)?, self.dir(to)?);
        match fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            // File systems that cannot promise not to replace: looked at first.
            Err(Errno::INVAL | Errno::NOSYS) => {
                match fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => fs::renameat(from, name, to, name),
                    Ok(_) => Err(Errno::EXIST),
                    Err(errno) => Err(errno),
                }
            }
            other => other,
        }
    }

    fn replace(&self, dir: Dir, from: &str, to: &str) -> Result<(), Errno> {
        let dir = self.dir(dir)?;
        fs::renameat(dir, from, dir, to)
    }

    fn remove(&self, dir: Dir, name: &str) -> Result<(), Errno> {
        fs::unlinkat(self.dir(dir)?, name, AtFlags::empty())
    }

    fn list(&self, dir: Dir) -> Result<Vec<String>, Errno> {
        let (mut names, dir) = (Vec::new(), self.dir(dir)?);
        for entry in fs::Dir::read_from(dir)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    let stat = fs::statat(dir, entry.file_name(), flags)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            // What is not UTF-8 is none of ours.
            if let (FileType::RegularFile, Ok(name)) = (kind, entry.file_name().to_str()) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: Dir) -> Result<Synced, Errno> {
        let dir = self.dir(dir)?;
        self.sync(|| fs::fsync(dir))
    }

    fn sync_all(&self) -> Result<Synced, Errno> {
        self.sync(|| fs::syncfs(&self.root))
    }
}

#[derive(Debug)]
struct Plain {
    file: std::fs::File,
    failed: AtomicBool,
}

impl Plain {
    /// Ends direct I/O on the file.
    fn buffered(&self) -> Result<(), Errno> {
        let flags = fs::fcntl_getfl(&self.file)?;
        if flags.contains(OFlags::DIRECT) {
            fs::fcntl_setfl(&self.file, flags - OFlags::DIRECT)?;
        }
        Ok(())
    }
}

impl File for Plain {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        match self.file.write_all_at(bytes, offset).map_err(|error| errno_of(&error)) {
            // Not aligned, or a file system that took the flag and not the write.
            Err(Errno::INVAL) => {
                self.buffered()?;
                self.file.write_all_at(bytes, offset).map_err(|error| errno_of(&error))
            }
            other => other,
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno_of(&error)),
            }
        }
        Ok(done)
    }

    fn size(&self) -> Result<u64, Errno> {
        Ok(self.file.metadata().map_err(|error| errno_of(&error))?.len())
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.file.set_len(len).map_err(|error| errno_of(&error))
    }

    fn sync(&self) -> Result<Synced, Errno> {
        once(&self.failed, || fs::fdatasync(&self.file))
    }

    fn reserve(&self, upto: u64) {
        let _ = fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, upto);
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(match error.kind() {
        std::io::ErrorKind::WriteZero => Errno::NOSPC,
        _ => Errno::IO,
    })
}
