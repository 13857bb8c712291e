//! The destination: a directory, windrow's state inside it, and the lock that keeps it to one
//! process.

use super::Format;
use super::errno::fatal;
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use windrow_model::Error;
use windrow_model::name::STATE_DIR;

/// Open packs and unfinished files lie here, below the state directory.
const WORK_DIR: &str = "open";

/// Says which run the destination belongs to.
const RUN_FILE: &str = "run.json";

/// A directory that is locked for this process.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    root: OwnedFd,
    state: OwnedFd,
    work: OwnedFd,
    /// Kept open: the lock dies with the process.
    _lock: std::fs::File,
    /// Directories that this process made, the outermost first: the destination and those above.
    made: Vec<PathBuf>,
    /// An earlier run is there that is to be forgotten, and was not yet.
    earlier: AtomicBool,
}

impl Destination {
    /// Makes and locks the directory. An earlier run in it is left as it is until
    /// [`Destination::begin`].
    ///
    /// # Errors
    /// Not a directory, not writable, in use by another process, or holding an earlier run and
    /// `fresh` is not set.
    pub fn prepare(path: &Path, fresh: bool) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let failed = |what: &str, errno| fatal(&shown, what, errno);
        let missing = path.ancestors().take_while(|dir| std::fs::symlink_metadata(dir).is_err());
        let mut made: Vec<_> = missing.map(Path::to_owned).collect();
        made.retain(|dir| !dir.as_os_str().is_empty());
        made.reverse();
        if !made.is_empty() {
            std::fs::create_dir_all(path)
                .map_err(|error| failed("cannot make the directory", errno_of(&error)))?;
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR => {
                Error::usage(&shown, "not a directory").hint("-o takes the directory to write into")
            }
            _ => failed("cannot open the directory", errno),
        })?;
        let state = make_dir(&root, STATE_DIR).map_err(|e| failed("cannot write here", e))?;
        let lock = lock(&state, &shown)?;
        let earlier = fs::statat(&state, RUN_FILE, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if earlier && !fresh {
            return Err(Error::usage(&shown, "holds an earlier run")
                .hint("choose another directory, or add --fresh to begin again from nothing"));
        }
        let work = make_dir(&state, WORK_DIR).map_err(|e| failed("cannot write here", e))?;
        clear(&work).map_err(|e| failed("cannot clear unfinished files", e))?;
        let earlier = AtomicBool::new(earlier);
        Ok(Self { path: path.to_owned(), root, state, work, _lock: lock, made, earlier })
    }

    /// Forgets the earlier run, if there is one, and notes which run the directory belongs to. To
    /// be called when the source proved to be there: a mistyped address shall cost nothing.
    ///
    /// # Errors
    /// The environment's.
    pub fn begin(&self, format: Format, source: &str) -> Result<(), Error> {
        if self.earlier.swap(false, Ordering::AcqRel) {
            forget(&self.root, &self.state)
                .map_err(|e| fatal(&self.shown(), "cannot clear the earlier run", e))?;
        }
        let run = serde_json::json!({ "version": 1, "format": format.name(), "source": source });
        self.write_state(RUN_FILE, format!("{run}\n").as_bytes())
    }

    /// Whether an earlier run is there that nothing was done to.
    pub fn holds_earlier(&self) -> bool {
        self.earlier.load(Ordering::Acquire)
    }

    /// The directory as the user wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Where what is unfinished lies; emptied when a run begins.
    pub(super) fn work(&self) -> BorrowedFd<'_> {
        self.work.as_fd()
    }

    /// Writes a file of the state directory: the old content or the new, never half of it.
    ///
    /// # Errors
    /// The environment's.
    pub fn write_state(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let temporary = format!("{name}.new");
        let write = || -> Result<(), std::io::Error> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
            let file = fs::openat(&self.state, &temporary, flags, Mode::from(0o644))?;
            let mut file = std::fs::File::from(file);
            file.write_all(content)?;
            fs::renameat(&self.state, &temporary, &self.state, name)?;
            Ok(())
        };
        write().map_err(|error| {
            let _ = fs::unlinkat(&self.state, &temporary, AtFlags::empty());
            let subject = self.path.join(STATE_DIR).join(name);
            fatal(&subject.display().to_string(), "cannot write", errno_of(&error))
        })
    }

    /// Opens `failures.jsonl` for writing from its beginning; [`Destination::begin`] empties it.
    ///
    /// # Errors
    /// The environment's.
    pub fn open_failures(&self) -> Result<std::fs::File, Error> {
        let name = FAILURES_FILE;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.state, name, flags, Mode::from(0o644));
        file.map(std::fs::File::from).map_err(|errno| {
            let subject = self.path.join(STATE_DIR).join(name);
            fatal(&subject.display().to_string(), "cannot create", errno)
        })
    }

    /// Removes what is unfinished. To be called when no sink is open any more.
    ///
    /// # Errors
    /// The environment's.
    pub fn clear_unfinished(&self) -> Result<(), Error> {
        clear(&self.work)
            .map_err(|errno| fatal(&self.shown(), "cannot clear unfinished files", errno))
    }

    /// Takes back what [`Destination::prepare`] made, where a run ends before it stored anything.
    pub fn abandon(self) {
        if self.holds_earlier() {
            return;
        }
        // Whatever cannot be removed stays; that is no worse than before.
        let _ = clear(&self.work);
        let _ = fs::unlinkat(&self.state, WORK_DIR, AtFlags::REMOVEDIR);
        let _ = clear(&self.state);
        let _ = fs::unlinkat(&self.root, STATE_DIR, AtFlags::REMOVEDIR);
        for dir in self.made.iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

const LOCK_FILE: &str = "lock";

const FAILURES_FILE: &str = "failures.jsonl";

/// Takes the kernel's lock: it dies with its holder, so it is never stale.
fn lock(state: &OwnedFd, shown: &str) -> Result<std::fs::File, Error> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(state, LOCK_FILE, flags, Mode::from(0o644))
        .map_err(|errno| fatal(shown, "cannot write here", errno))?;
    let mut file = std::fs::File::from(file);
    match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let what = format!("in use by another windrow (process {})", pid.trim());
            return Err(Error::environment(shown, what)
                .hint("wait until it is done, or choose another directory"));
        }
        Err(errno) => return Err(fatal(shown, "cannot lock the directory", errno)),
    }
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    noted.map_err(|error| fatal(shown, "cannot write here", errno_of(&error)))?;
    Ok(file)
}

/// Makes and opens a directory of ours; a symbolic link in its place is an error.
fn make_dir(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    match fs::mkdirat(parent.as_fd(), name, Mode::from(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Removes the plain files of a directory of ours.
fn clear(dir: &OwnedFd) -> Result<(), Errno> {
    for name in files_in(dir)? {
        fs::unlinkat(dir, &name, AtFlags::empty())?;
    }
    Ok(())
}

/// Forgets an earlier run: its state, and the packs it wrote. Files stay: a new run replaces those
/// it fetches again.
fn forget(root: &OwnedFd, state: &OwnedFd) -> Result<(), Errno> {
    for name in files_in(root)? {
        if super::pack::is_pack_name(name.to_bytes()) {
            fs::unlinkat(root, &name, AtFlags::empty())?;
        }
    }
    for name in files_in(state)? {
        if name.to_bytes() == FAILURES_FILE.as_bytes() {
            // Open already, and nothing written to it yet.
            fs::openat(state, &name, OFlags::WRONLY | OFlags::TRUNC, Mode::empty())?;
        } else if name.to_bytes() != LOCK_FILE.as_bytes() {
            fs::unlinkat(state, &name, AtFlags::empty())?;
        }
    }
    Ok(())
}

fn files_in(dir: &OwnedFd) -> Result<Vec<std::ffi::CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_type() == FileType::RegularFile {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
