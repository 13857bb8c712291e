//! The destination: a directory, windrow's state inside it, and the lock that keeps it to one
//! process.

use super::Format;
use super::errno::fatal;
use crate::disk::{Dir, Disk, Real, Synced, write_whole};
use rustix::fs::{self, AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use windrow_model::Error;
use windrow_model::name::STATE_DIR;

/// Open packs and unfinished files lie here, below the state directory.
const WORK_DIR: &str = "open";

const LEDGER_DIR: &str = "ledger";

const MANIFEST_DIR: &str = "manifest";

const INDEX_DIR: &str = "index";

/// Says which run the destination belongs to.
pub const RUN_FILE: &str = "run.json";

/// The same of a run that is being forgotten, until nothing of its output is left.
const FORGOTTEN_FILE: &str = "forgotten.json";

/// Which run a destination belongs to. Two runs are the same when all but the number are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Version of this file.
    pub version: u32,
    /// A number that no other run has, in hexadecimal: the ledger's files bear it.
    pub run: String,
    /// Form of the output.
    pub format: String,
    /// Where the objects come from.
    pub source: String,
    /// What else decides which objects those are, and what becomes of them.
    pub details: BTreeMap<String, String>,
}

impl RunFile {
    /// A run that was never there before.
    pub fn new(format: Format, source: String, details: BTreeMap<String, String>) -> Self {
        let time = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let seed = [time.to_le_bytes(), u128::from(std::process::id()).to_le_bytes()].concat();
        let run = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&seed));
        Self { version: 2, run, format: format.name().to_owned(), source, details }
    }

    /// The run's number.
    pub fn number(&self) -> Option<u64> {
        u64::from_str_radix(&self.run, 16).ok()
    }

    /// What of another run is not as here, for people; `None` if nothing.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.source != other.source {
            return Some(format!("its source is {}", other.source));
        }
        if self.format != other.format {
            return Some(format!("its format is {}", other.format));
        }
        let keys = self.details.keys().chain(other.details.keys());
        for key in keys {
            let (ours, its) = (self.details.get(key), other.details.get(key));
            if ours != its {
                let value = |value: Option<&String>| value.map_or("none", |text| text).to_owned();
                return Some(format!("its {key} is {}", value(its)));
            }
        }
        None
    }
}

/// A directory that is locked for this process.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    disk: Arc<Real>,
    /// Kept open: the lock dies with the process.
    _lock: std::fs::File,
    /// Directories that this process made, the outermost first: the destination and those above.
    made: Vec<PathBuf>,
    /// The run that was here before.
    earlier: Option<RunFile>,
    /// A run before that, which a process that was killed did not forget to its end.
    forgotten: Option<RunFile>,
    /// The directory belongs to this process's run.
    begun: AtomicBool,
    syncs_at_once: bool,
}

impl Destination {
    /// Makes and locks the directory. An earlier run in it is left as it is.
    ///
    /// # Errors
    /// Not a directory, not writable, in use by another process, or holding a run that this
    /// windrow cannot read.
    pub fn prepare(path: &Path) -> Result<Self, Error> {
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
        let root = open_root(path)?;
        let state = make_dir(&root, STATE_DIR).map_err(|e| failed("cannot write here", e))?;
        let lock = lock(&state, &shown)?;
        let make = |name| make_dir(&state, name).map_err(|e| failed("cannot write here", e));
        let (ledger, manifest, work) = (make(LEDGER_DIR)?, make(MANIFEST_DIR)?, make(WORK_DIR)?);
        let index = Some(make(INDEX_DIR)?);
        let syncs_at_once = syncs_at_once(&root);
        let disk = Arc::new(Real::new(root, state, ledger, manifest, work, index));
        let earlier = read_run(&*disk, &shown, RUN_FILE)?;
        let forgotten = read_run(&*disk, &shown, FORGOTTEN_FILE)?;
        Ok(Self {
            path: path.to_owned(),
            disk,
            _lock: lock,
            made,
            earlier,
            forgotten,
            begun: AtomicBool::new(false),
            syncs_at_once,
        })
    }

    /// The run that was here before.
    pub fn earlier(&self) -> Option<&RunFile> {
        self.earlier.as_ref()
    }

    /// Notes which run the directory belongs to, and forgets another that was here. To be called
    /// when the source proved to be there: a mistyped address shall cost nothing. `packs_of` says
    /// which packs a run left under their names; where that cannot be told any more, all go whose
    /// names look like it.
    ///
    /// # Errors
    /// The environment's.
    pub fn begin(
        &self,
        run: &RunFile,
        packs_of: impl FnOnce(&RunFile) -> Option<BTreeSet<u32>>,
    ) -> Result<(), Error> {
        let cleared = || -> Result<(), Errno> {
            if let Some(old) = self.earlier.as_ref().or(self.forgotten.as_ref()) {
                self.forget(old, packs_of)?;
            }
            // Without a run file it belongs to no run.
            for dir in [Dir::Ledger, Dir::Manifest, Dir::Open, Dir::Index] {
                self.clear(dir, |_| true)?;
            }
            self.clear(Dir::State, |name| name != LOCK_FILE)
        };
        cleared().map_err(|e| fatal(&self.shown(), "cannot clear the earlier run", e))?;
        let json = serde_json::to_vec_pretty(run).unwrap_or_default();
        write_whole(&*self.disk, Dir::State, RUN_FILE, &json)
            .and_then(|()| self.disk.sync_dir(Dir::Root).map(drop))
            .map_err(|errno| self.unwritten(RUN_FILE, errno))?;
        self.begun.store(true, Ordering::Release);
        Ok(())
    }

    /// Goes on with the run that was here before.
    pub fn go_on(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Forgets that there was a run, and removes its packs. Files stay: a new run replaces those it
    /// fetches again.
    ///
    /// Whoever is killed meanwhile leaves a note, so that the next process comes to the end of it:
    /// a pack that stayed would be in the way of the new run's, or be taken for one.
    fn forget(
        &self,
        old: &RunFile,
        packs_of: impl FnOnce(&RunFile) -> Option<BTreeSet<u32>>,
    ) -> Result<(), Errno> {
        if self.earlier.is_some() {
            self.disk.replace(Dir::State, RUN_FILE, FORGOTTEN_FILE)?;
            let _ = self.disk.sync_dir(Dir::State)?;
        }
        let format = Format::ALL.into_iter().find(|format| format.name() == old.format);
        if let Some(kind) = format.and_then(Format::packs) {
            let packs = packs_of(old);
            let is_its = |number| packs.as_ref().is_none_or(|packs| packs.contains(&number));
            self.clear(Dir::Root, |name| {
                kind.number(name).or_else(|| kind.stats_number(name)).is_some_and(is_its)
            })?;
            let _ = self.disk.sync_dir(Dir::Root)?;
        }
        self.disk.remove(Dir::State, FORGOTTEN_FILE)?;
        let _ = self.disk.sync_dir(Dir::State)?;
        Ok(())
    }

    /// Removes the plain files of a directory that `which` names.
    fn clear(&self, dir: Dir, which: impl Fn(&str) -> bool) -> Result<(), Errno> {
        for name in self.disk.list(dir)? {
            if which(&name) {
                self.disk.remove(dir, &name)?;
            }
        }
        Ok(())
    }

    /// Whether nothing was begun here by this process.
    pub fn is_untouched(&self) -> bool {
        !self.begun.load(Ordering::Acquire)
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
        self.disk.root.as_fd()
    }

    /// Where what is unfinished lies.
    pub(super) fn work(&self) -> BorrowedFd<'_> {
        self.disk.open.as_fd()
    }

    /// The directories, as the commit protocol sees them.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk) as Arc<dyn Disk>
    }

    /// Whether one call makes every file of the file system durable.
    pub(super) fn syncs_at_once(&self) -> bool {
        self.syncs_at_once
    }

    pub(super) fn sync_all(&self) -> Result<Synced, Errno> {
        self.disk.sync_all()
    }

    pub(super) fn sync_other_dir(&self, dir: BorrowedFd<'_>) -> Result<Synced, Errno> {
        self.disk.sync_other_dir(dir)
    }

    pub(super) fn sync_file(&self, file: &std::fs::File) -> Result<Synced, Errno> {
        self.disk.sync_other_file(file)
    }

    /// Writes a file of the state directory: the old content or the new, never half of it.
    ///
    /// # Errors
    /// The environment's.
    pub fn write_state(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        write_whole(&*self.disk, Dir::State, name, content)
            .map_err(|errno| self.unwritten(name, errno))
    }

    fn unwritten(&self, name: &str, errno: Errno) -> Error {
        let subject = self.path.join(STATE_DIR).join(name);
        fatal(&subject.display().to_string(), "cannot write", errno)
    }

    /// Removes unfinished files and bodies on their way, but no packs. To be called when no sink is
    /// open.
    ///
    /// # Errors
    /// The environment's.
    pub fn clear_temporary(&self) -> Result<(), Error> {
        self.clear(Dir::Open, |name| {
            let kinds = Format::ALL.into_iter().filter_map(Format::packs);
            !kinds.into_iter().any(|kind| kind.number(name).is_some())
        })
        .map_err(|errno| fatal(&self.shown(), "cannot clear unfinished files", errno))
    }

    /// Takes back what [`Destination::prepare`] made, where a run ends before it stored anything.
    pub fn abandon(self) {
        let is_ours = self.earlier.is_none() && self.forgotten.is_none();
        if !is_ours && self.is_untouched() {
            return;
        }
        // Whatever cannot be removed stays; that is no worse than before.
        for (dir, name) in [
            (Dir::Open, WORK_DIR),
            (Dir::Ledger, LEDGER_DIR),
            (Dir::Manifest, MANIFEST_DIR),
            (Dir::Index, INDEX_DIR),
        ] {
            let _ = self.clear(dir, |_| true);
            let _ = fs::unlinkat(&self.disk.state, name, AtFlags::REMOVEDIR);
        }
        let _ = self.clear(Dir::State, |_| true);
        let _ = fs::unlinkat(&self.disk.root, STATE_DIR, AtFlags::REMOVEDIR);
        for dir in self.made.iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// A destination that is only looked at: nothing is locked, made or changed.
#[derive(Debug)]
pub struct Look {
    disk: Real,
    /// Which run it is.
    pub run: RunFile,
}

impl Look {
    /// The directories, for reading.
    pub fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.disk.root.as_fd()
    }
}

/// Looks at a destination.
///
/// # Errors
/// There is no run, or it cannot be read.
pub fn look(path: &Path) -> Result<Look, Error> {
    let shown = path.display().to_string();
    let open = |parent: BorrowedFd<'_>, at: &Path, more: OFlags| {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | more;
        fs::openat(parent, at, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => no_run(&shown),
            _ => fatal(&shown, "cannot read", errno),
        })
    };
    let root = open(CWD, path, OFlags::empty())?;
    let state = open(root.as_fd(), Path::new(STATE_DIR), OFlags::NOFOLLOW)?;
    let [ledger, manifest, work] = [LEDGER_DIR, MANIFEST_DIR, WORK_DIR]
        .map(|name| open(state.as_fd(), Path::new(name), OFlags::NOFOLLOW));
    // What earlier versions wrote has none.
    let index = open(state.as_fd(), Path::new(INDEX_DIR), OFlags::NOFOLLOW).ok();
    let disk = Real::new(root, state, ledger?, manifest?, work?, index);
    let run = read_run(&disk, &shown, RUN_FILE)?.ok_or_else(|| no_run(&shown))?;
    Ok(Look { disk, run })
}

fn no_run(shown: &str) -> Error {
    Error::usage(shown, "holds no run of windrow")
        .hint("DEST is a directory that `windrow get ... -o DEST` wrote")
}

/// The process that works on a destination at this moment, if there is one; 0 where it is not
/// known which. Asking takes the lock for a moment, shared.
pub fn holder(path: &Path) -> Option<u32> {
    let lock = path.join(STATE_DIR).join(LOCK_FILE);
    for _ in 0..=LOOKS {
        let file = std::fs::File::open(&lock).ok()?;
        if fs::flock(&file, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK) {
            return None;
        }
        match std::io::read_to_string(file).map(|text| text.trim().parse()) {
            Ok(Ok(pid)) => return Some(pid),
            // It was just taken: the number is about to be written.
            _ => std::thread::sleep(LOOK),
        }
    }
    Some(0)
}

fn open_root(path: &Path) -> Result<OwnedFd, Error> {
    let shown = path.display().to_string();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR => {
            Error::usage(&shown, "not a directory").hint("-o takes the directory to write into")
        }
        _ => fatal(&shown, "cannot open the directory", errno),
    })
}

fn read_run(disk: &dyn Disk, shown: &str, file: &str) -> Result<Option<RunFile>, Error> {
    let subject = || format!("{}/{STATE_DIR}/{file}", shown.trim_end_matches('/'));
    let bytes = crate::disk::read_whole(disk, Dir::State, file)
        .map_err(|errno| fatal(&subject(), "cannot read", errno))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let run: RunFile = serde_json::from_slice(&bytes).map_err(|error| {
        Error::environment(subject(), "cannot be understood")
            .why(error)
            .hint("was it written by another windrow? choose another directory, or remove this one")
    })?;
    if run.version != 2 || run.number().is_none() {
        return Err(Error::environment(subject(), format!("has version {}", run.version))
            .hint("it was written by another windrow: use that, or choose another directory"));
    }
    Ok(Some(run))
}

/// Whether `syncfs` reaches what files of this file system hold: user-space file systems do not
/// hear of it.
fn syncs_at_once(root: &OwnedFd) -> bool {
    const FUSE: u64 = 0x6573_5546;
    const V9FS: u64 = 0x0102_1997;
    fs::fstatfs(root).is_ok_and(|stat| !matches!(stat.f_type as u64, FUSE | V9FS))
}

const LOCK_FILE: &str = "lock";

/// How often, and after how long, a lock that somebody has is tried again: looking at one takes
/// microseconds.
const LOOKS: u32 = 20;
const LOOK: std::time::Duration = std::time::Duration::from_millis(10);

/// Takes the kernel's lock: it dies with its holder, so it is never stale.
fn lock(state: &OwnedFd, shown: &str) -> Result<std::fs::File, Error> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(state, LOCK_FILE, flags, Mode::from(0o644))
        .map_err(|errno| fatal(shown, "cannot write here", errno))?;
    let mut file = std::fs::File::from(file);
    let mut locked = fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    for _ in 0..LOOKS {
        if locked != Err(Errno::WOULDBLOCK) {
            break;
        }
        // Whoever only asks [`holder`] has it for a moment.
        std::thread::sleep(LOOK);
        locked = fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    }
    match locked {
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

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
