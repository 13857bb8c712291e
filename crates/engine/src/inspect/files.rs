//! Files against their records: one thread walks the tree, the others read what it finds.
//!
//! Whatever path a file lies under says which name it has, so it does not matter which of its two
//! places a name took. What is known of a name are 32 bytes; there is a bound to how many are held
//! at once, and of more files than that one share after the other is looked at.

use super::Seen;
use super::against::{Against, Body};
use super::file_table::{Row, Share, Table, each_file, hash, meet};
use super::finding::{Finding, Findings, Kind};
use super::parts::{Manifests, Part};
use super::verify::on_cores;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use windrow_model::name::{self, STATE_DIR};
use windrow_model::{Error, Ordinal};

/// Bytes read at once.
const BUFFER: usize = 1 << 20;

/// Names that go to a thread at once, and how many such lists wait.
const BATCH: usize = 256;
const WAITING: usize = 64;

/// Files of one directory.
struct Batch {
    dir: Arc<OwnedFd>,
    /// Path of the directory, with a `/` behind it, or nothing.
    path: Arc<[u8]>,
    files: Vec<(Box<[u8]>, FileType)>,
}

/// Checks all files on so many cores, with so many names at once.
///
/// # Errors
/// A directory or a file cannot be opened.
pub(super) fn check(
    seen: &Seen,
    parts: &[Part],
    (cores, names): (usize, u64),
    findings: &Findings<'_>,
    against: Option<&Against>,
) -> Result<(), Error> {
    let files: u64 = parts.iter().map(|part| part.objects).sum();
    let of = files.div_ceil(names).max(1);
    let mut manifests = Manifests::new(seen.look.disk());
    let unknown = AtomicU64::new(0);
    let mut damaged = 0;
    for index in 0..of {
        let table = Table::read(&mut manifests, parts, Share { index, of }, findings);
        damaged = table.damaged;
        let (send, receive) = async_channel::bounded::<Batch>(WAITING);
        let mut walked = Ok(());
        std::thread::scope(|scope| {
            let read = scope.spawn(|| {
                on_cores(cores, || {
                    let mut check = Check::new(&table, findings, against, &unknown);
                    let mut result = Ok(());
                    while let Ok(batch) = receive.recv_blocking() {
                        // After an error the rest is only taken away, so that nobody waits.
                        if result.is_ok() && !findings.stopped() {
                            result = check.batch(&batch);
                        }
                    }
                    result
                })
            });
            walked = walk(seen.look.root(), |batch| {
                !findings.stopped() && send.send_blocking(batch).is_ok()
            });
            send.close();
            let read = read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            walked = std::mem::replace(&mut walked, Ok(())).and(read);
        });
        walked?;
        if !table.is_met() {
            tell_missing(&mut manifests, parts, &table, findings);
        }
    }
    let unknown = unknown.load(Ordering::Relaxed);
    if damaged > 0 && unknown > 0 {
        let name = b".windrow/manifest".to_vec();
        let file = name.clone();
        let detail = format!(
            "{unknown} files have no record that can be read: which of them are extra is not known"
        );
        let (kind, offset, objects) = (Kind::Manifest, None, 0);
        findings.tell(&Finding { kind, name, file, offset, objects, detail });
    }
    Ok(())
}

/// Tells of every name that was recorded and not met.
fn tell_missing(
    manifests: &mut Manifests<'_>,
    parts: &[Part],
    table: &Table,
    findings: &Findings<'_>,
) {
    for part in parts {
        each_file(&manifests.read(part), |recorded| {
            let hash = hash(recorded.name);
            let rows = table.rows(hash);
            let known = table.share.has(hash) && rows.iter().any(|row| !row.hint);
            if known && !findings.stopped() && !meet(rows) {
                let mut file = Vec::new();
                name::to_path(recorded.name, &mut file);
                let name = recorded.name.to_vec();
                let detail = "the file is gone".to_owned();
                let (kind, offset, objects) = (Kind::Missing, None, rows.len() as u64);
                findings.tell(&Finding { kind, name, file, offset, objects, detail });
            }
        });
    }
}

/// Checks files on one thread.
struct Check<'a, 't> {
    table: &'a Table,
    findings: &'a Findings<'t>,
    against: Option<&'a Against>,
    /// Files that no record knows, while some records cannot be read.
    unknown: &'a AtomicU64,
    buffer: Vec<u8>,
    found: Vec<Ordinal>,
}

impl<'a, 't> Check<'a, 't> {
    fn new(
        table: &'a Table,
        findings: &'a Findings<'t>,
        against: Option<&'a Against>,
        unknown: &'a AtomicU64,
    ) -> Self {
        Self { table, findings, against, unknown, buffer: Vec::new(), found: Vec::new() }
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), Error> {
        for (own, kind) in &batch.files {
            let path = [&*batch.path, own].concat();
            self.file(batch.dir.as_fd(), own, *kind, path)?;
        }
        if let Some(against) = self.against {
            against.note(&mut self.found, &batch.path, self.findings);
        }
        Ok(())
    }

    fn file(
        &mut self,
        dir: BorrowedFd<'_>,
        own: &[u8],
        kind: FileType,
        path: Vec<u8>,
    ) -> Result<(), Error> {
        let Some(name) = name::from_path(&path) else {
            if self.table.share.index == 0 {
                self.tell(Kind::Extra, path.clone(), path, "windrow stores nothing there".into());
            }
            return Ok(());
        };
        let hash = hash(&name);
        if !self.table.share.has(hash) {
            return Ok(());
        }
        if kind != FileType::RegularFile {
            let detail = match kind {
                FileType::Symlink => "a symbolic link, which is not followed",
                _ => "not a plain file",
            };
            self.tell(Kind::Extra, name, path, detail.to_owned());
            return Ok(());
        }
        let rows = self.table.rows(hash);
        if rows.is_empty() && self.against.is_none() {
            self.unrecorded(name, path);
            return Ok(());
        }
        let (mut body, ordinal) = Body::new(&name, self.against);
        let bytes = match self.read(dir, own, &mut body) {
            Ok(bytes) => bytes,
            // It went meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::IO) => {
                meet(rows);
                self.tell(Kind::Torn, name, path, "cannot be read: input/output error".into());
                return Ok(());
            }
            Err(errno) => {
                let path = String::from_utf8_lossy(&path).into_owned();
                let why = std::io::Error::from(errno);
                return Err(
                    Error::environment(path.escape_debug().to_string(), "cannot be read").why(why)
                );
            }
        };
        self.found.extend(ordinal);
        if rows.is_empty() {
            self.unrecorded(name, path);
        } else if meet(rows) {
            let detail = "another file has the same name in its other form".to_owned();
            self.tell(Kind::Doubled, name, path, detail);
        } else {
            self.judge(rows, &body, bytes, ordinal.is_some(), name, path);
        }
        Ok(())
    }

    /// Compares a file with what was recorded under its name, and the corpus, which has it or not.
    fn judge(
        &self,
        rows: &[Row],
        body: &Body<'_>,
        bytes: u64,
        has: bool,
        name: Vec<u8>,
        path: Vec<u8>,
    ) {
        let as_recorded = |row: &Row| row.bytes == bytes && row.sum == body.sum();
        let (kind, detail) = if rows.iter().any(as_recorded) {
            match self.against {
                Some(_) if !has => (Kind::Extra, "no object of the corpus".to_owned()),
                Some(_) if !body.is_corpus() => {
                    (Kind::Corrupt, "its body is not what the corpus says".to_owned())
                }
                _ => return self.findings.right(rows.len() as u64, bytes),
            }
        } else if rows.iter().any(|row| row.hint) {
            match body.is_corpus() {
                true => return self.findings.right(rows.len() as u64, bytes),
                false => (Kind::Unproved, "its record in the manifest is damaged".to_owned()),
            }
        } else if let Some(row) = rows.iter().find(|row| row.bytes != bytes) {
            (Kind::Torn, format!("has {bytes} bytes, recorded are {}", row.bytes))
        } else {
            (Kind::Corrupt, "its body is not what was stored".to_owned())
        };
        self.tell(kind, name, path, detail);
    }

    fn unrecorded(&self, name: Vec<u8>, path: Vec<u8>) {
        match self.table.damaged {
            0 => self.tell(Kind::Extra, name, path, "no record knows it".to_owned()),
            _ => drop(self.unknown.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Reads a file; gives its length.
    fn read(&mut self, dir: BorrowedFd<'_>, own: &[u8], body: &mut Body<'_>) -> Result<u64, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = open_quietly(dir, own, flags)?;
        self.buffer.resize(BUFFER, 0);
        let mut bytes = 0;
        loop {
            let mut filled = 0;
            while filled < BUFFER {
                match rustix::io::read(&file, &mut self.buffer[filled..]) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            body.piece(&self.buffer[..filled]);
            bytes += filled as u64;
            if filled < BUFFER {
                return Ok(bytes);
            }
        }
    }

    fn tell(&self, kind: Kind, name: Vec<u8>, file: Vec<u8>, detail: String) {
        self.findings.tell(&Finding { kind, name, file, offset: None, objects: 1, detail });
    }
}

/// Opens without leaving a trace, where the system lets it.
fn open_quietly(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    match fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => fs::openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}

/// A directory to be looked at. Its parent is open, and not itself: a wide tree would need too many
/// handles.
struct Waiting {
    parent: Option<Arc<OwnedFd>>,
    /// Path of the parent.
    above: Vec<u8>,
    own: Vec<u8>,
}

/// Shows every file below a directory but for windrow's own state; `false` ends it.
fn walk(root: BorrowedFd<'_>, mut show: impl FnMut(Batch) -> bool) -> Result<(), Error> {
    let wrong = |path: &[u8], errno: Errno| {
        let path = match path {
            b"" => "DEST".to_owned(),
            path => String::from_utf8_lossy(path).escape_debug().to_string(),
        };
        Error::environment(path, "cannot be read").why(std::io::Error::from(errno))
    };
    let mut waiting = vec![Waiting { parent: None, above: Vec::new(), own: b".".to_vec() }];
    while let Some(Waiting { parent, above: mut path, own }) = waiting.pop() {
        if parent.is_some() {
            path.extend_from_slice(&own);
            path.push(b'/');
        }
        let from = parent.as_ref().map_or(root, |dir| dir.as_fd());
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW;
        let dir = match open_quietly(from, &own, flags) {
            // It went meanwhile.
            Err(Errno::NOENT) => continue,
            other => Arc::new(other.map_err(|errno| wrong(&path, errno))?),
        };
        let shared: Arc<[u8]> = path.as_slice().into();
        let mut files = Vec::with_capacity(BATCH);
        for entry in Dir::read_from(&*dir).map_err(|errno| wrong(&path, errno))? {
            let entry = entry.map_err(|errno| wrong(&path, errno))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (path.is_empty() && name == STATE_DIR.as_bytes()) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = fs::statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW);
                    match stat {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(wrong(&path, errno)),
                    }
                }
                kind => kind,
            };
            if kind == FileType::Directory {
                let (parent, own) = (Some(Arc::clone(&dir)), name.to_vec());
                waiting.push(Waiting { parent, above: path.clone(), own });
                continue;
            }
            files.push((name.into(), kind));
            if files.len() == BATCH {
                let files = std::mem::replace(&mut files, Vec::with_capacity(BATCH));
                let (dir, path) = (Arc::clone(&dir), Arc::clone(&shared));
                if !show(Batch { dir, path, files }) {
                    return Ok(());
                }
            }
        }
        if !files.is_empty() && !show(Batch { dir, path: shared, files }) {
            return Ok(());
        }
    }
    Ok(())
}
