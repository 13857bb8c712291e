//! The files of the shards: found, opened by turns, appended to, cut to whole lines.

use super::groups::{Append, Cut};
use rustix::fs::{self, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{self, Errno};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use windrow_model::Error;
use windrow_model::limits::{SHARD_FILES_OPEN, SHARD_FILES_SPARED};

/// The names of the files in a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) shards: u32,
    pub(super) extension: &'static str,
}

impl Names {
    /// The number of the file for lines without a shard.
    pub(super) fn unmatched(self) -> usize {
        self.shards as usize
    }

    /// The number of the file for what was no line yet.
    pub(super) fn unfinished(self) -> usize {
        self.shards as usize + 1
    }

    /// How many there are.
    pub(super) fn count(self) -> usize {
        self.shards as usize + 2
    }

    /// The name of one. Those that may hold anything are no `.jsonl`.
    pub(super) fn of(self, file: usize) -> String {
        match file {
            _ if file == self.unmatched() => "unmatched.txt".into(),
            _ if file == self.unfinished() => "unfinished.txt".into(),
            _ => format!("{file}.{}", self.extension),
        }
    }
}

/// A folder with the files, locked for this process.
#[derive(Debug)]
pub(super) struct Files {
    /// Has the lock, too: it dies with its holder.
    folder: OwnedFd,
    path: PathBuf,
    names: Names,
    /// Which were opened before, and end with a line's end since.
    known: Vec<bool>,
    /// Those with a low number stay open. All are visited in order at a flush, so that keeping the
    /// latest would keep none of use.
    open: Vec<Option<OwnedFd>>,
    /// The inputs, by device and inode: none of them is appended to.
    inputs: Vec<(u64, u64)>,
    /// Files that something was appended to.
    pub(super) used: u64,
    /// Bytes appended, line ends that were missing included.
    pub(super) bytes: u64,
}

impl Files {
    /// Makes the folder where it is not there, and locks it. `limit` is how many files the system
    /// lets this process have open.
    pub(super) fn open(
        path: &Path,
        names: Names,
        limit: usize,
        inputs: Vec<(u64, u64)>,
    ) -> Result<Self, Error> {
        let shown = path.display().to_string();
        std::fs::create_dir_all(path)
            .map_err(|error| Error::environment(&shown, "cannot make the folder").why(error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| fatal(&shown, "cannot open the folder", errno))?;
        match fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::environment(shown, "in use by another windrow")
                    .hint("wait until it is done, or choose another directory"));
            }
            Err(errno) => return Err(fatal(&shown, "cannot lock the directory", errno)),
        }
        let kept = limit.saturating_sub(SHARD_FILES_SPARED).min(SHARD_FILES_OPEN);
        let mut open = Vec::new();
        open.resize_with(names.count().min(kept), || None);
        Ok(Self {
            folder,
            path: path.to_owned(),
            names,
            known: vec![false; names.count()],
            open,
            inputs,
            used: 0,
            bytes: 0,
        })
    }

    /// The path of a file, for messages.
    pub(super) fn shown(&self, file: usize) -> String {
        self.path.join(self.names.of(file)).display().to_string()
    }

    /// A file without a name, in the folder.
    pub(super) fn nameless(&self) -> Result<std::fs::File, Error> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::from(0o600);
        let file = match fs::openat(&self.folder, ".", flags | OFlags::TMPFILE, mode) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let name = format!(".line-{}", std::process::id());
                let flags = flags | OFlags::CREATE | OFlags::EXCL;
                fs::openat(&self.folder, &name, flags, mode).and_then(|file| {
                    fs::unlinkat(&self.folder, &name, fs::AtFlags::empty())?;
                    Ok(file)
                })
            }
            other => other,
        };
        let shown = self.path.display().to_string();
        file.map(Into::into).map_err(|errno| fatal(&shown, "cannot make a file", errno))
    }

    /// Works with a file, which is opened for that unless it is open.
    pub(super) fn with<T>(
        &mut self,
        file: usize,
        work: impl FnOnce(&OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        if let Some(Some(open)) = self.open.get(file) {
            return work(open).map_err(|errno| fatal(&self.shown(file), "cannot write", errno));
        }
        let opened = self.opened(file)?;
        let done = work(&opened);
        if let Some(place) = self.open.get_mut(file) {
            *place = Some(opened);
        }
        done.map_err(|errno| fatal(&self.shown(file), "cannot write", errno))
    }

    fn opened(&mut self, file: usize) -> Result<OwnedFd, Error> {
        let name = self.names.of(file);
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let opened = loop {
            match fs::openat(&self.folder, name.as_str(), flags, Mode::from(0o644)) {
                // More is open than was thought: keep fewer.
                Err(Errno::MFILE | Errno::NFILE) if !self.open.is_empty() => {
                    self.open.truncate(self.open.len() / 2);
                }
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        let opened =
            opened.map_err(|errno| fatal(&self.shown(file), "cannot open for appending", errno))?;
        if !self.known[file] {
            self.get_to_know(file, &opened)?;
            self.known[file] = true;
            self.used += 1;
        }
        Ok(opened)
    }

    /// Before the first line is appended: is it a file to append to, and does it end with a line?
    fn get_to_know(&mut self, file: usize, opened: &OwnedFd) -> Result<(), Error> {
        let trouble = |errno| fatal(&self.shown(file), "cannot append", errno);
        let stat = fs::fstat(opened).map_err(trouble)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::environment(self.shown(file), "not a regular file"));
        }
        if self.inputs.contains(&identity(&stat)) {
            return Err(Error::usage(self.shown(file), "is read and would be written")
                .hint("choose a directory in which no input lies"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            return Ok(());
        }
        let mut last = [0];
        if io::pread(opened, &mut last, size - 1).map_err(trouble)? == 1 && last != *b"\n" {
            write_all(opened, b"\n").map_err(|(_, errno)| trouble(errno))?;
            self.bytes += 1;
        }
        Ok(())
    }

    /// What the file of a shard begins with, where there is one; at most what fits into `head`.
    pub(super) fn head<'h>(&self, file: usize, head: &'h mut [u8]) -> Option<&'h [u8]> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let name = self.names.of(file);
        let opened = fs::openat(&self.folder, name.as_str(), flags, Mode::empty()).ok()?;
        let len = io::pread(opened, &mut *head, 0).ok()?;
        Some(&head[..len])
    }

    /// Forgets what was appended to a file behind this size.
    pub(super) fn cut(&mut self, file: usize, size: u64) {
        // There is an error to report already, and no better way out.
        let _ = self.with(file, |open| fs::ftruncate(open, size));
    }

    /// Bytes of a file.
    pub(super) fn size(&mut self, file: usize) -> Result<u64, Error> {
        let stat = self.with(file, |open| fs::fstat(open))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Appends part of a line; what happens to an unfinished one is for the caller to say.
    pub(super) fn append_part(&mut self, file: usize, bytes: &[u8]) -> Result<(), Error> {
        self.with(file, |open| write_all(open, bytes).map_err(|(_, errno)| errno))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Append for Files {
    fn append(&mut self, file: usize, lines: &[u8]) -> Result<(), Cut> {
        let mut kept = 0;
        let appended = self.with(file, |open| {
            write_all(open, lines).map_err(|(written, errno)| {
                kept = cut_to_lines(open, &lines[..written]);
                errno
            })
        });
        match appended {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.bytes += kept as u64;
                Err(Cut { kept, error })
            }
        }
    }
}

/// What was written of some lines, and is the end of the file, is cut to whole lines; gives how many
/// bytes of it stay. Nobody else appends: the folder is locked.
fn cut_to_lines(file: &OwnedFd, written: &[u8]) -> usize {
    let whole = memchr::memrchr(b'\n', written).map_or(0, |at| at + 1);
    let torn = (written.len() - whole) as u64;
    if torn > 0
        && let Ok(stat) = fs::fstat(file)
        && let Ok(size) = u64::try_from(stat.st_size)
    {
        // Where this fails, the next run ends the line before it appends.
        let _ = fs::ftruncate(file, size.saturating_sub(torn));
    }
    whole
}

/// Device and inode.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    #[allow(clippy::useless_conversion, reason = "the widths differ between architectures")]
    (stat.st_dev.into(), stat.st_ino.into())
}

/// Writes all of it, or says how much was written before the error.
fn write_all(file: &OwnedFd, bytes: &[u8]) -> Result<(), (usize, Errno)> {
    let mut written = 0;
    while written < bytes.len() {
        match io::write(file, &bytes[written..]) {
            Ok(0) => return Err((written, Errno::IO)),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err((written, errno)),
        }
    }
    Ok(())
}

/// An error that ends the run, with advice where there is some.
pub(super) fn fatal(subject: &str, what: &str, errno: Errno) -> Error {
    let error = Error::environment(subject, what).why(std::io::Error::from(errno));
    match errno {
        Errno::NOSPC => error.hint("free some space (`df`) or inodes (`df -i`)"),
        Errno::DQUOT => error.hint("the disk quota is used up"),
        Errno::FBIG => error.hint("raise the limit on the size of files: `ulimit -f`"),
        Errno::ACCESS | Errno::PERM => error.hint("choose a directory that you may write to"),
        Errno::ROFS => error.hint("the file system is mounted read-only"),
        Errno::MFILE | Errno::NFILE => error.hint("raise the limit of open files: `ulimit -n`"),
        Errno::LOOP => error.hint("a symbolic link is not followed; remove it"),
        _ => error,
    }
}
