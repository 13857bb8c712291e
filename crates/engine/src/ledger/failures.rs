//! `failures.jsonl`: one line for each object that failed for good.

use crate::disk::{self, Dir, Disk, File, Use};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use windrow_model::percent::{self, Keep};
use windrow_model::{Failure, Ordinal};

/// The file's name in the state directory.
pub const FAILURES_FILE: &str = "failures.jsonl";

/// An object that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// The object.
    pub ordinal: Ordinal,
    /// Its name, as the source gave it.
    pub name: &'a [u8],
    /// Where it was asked for, secrets cut; empty where that is not known.
    pub url: &'a str,
    /// The line of its list, where that is malformed.
    pub line: Option<u64>,
    /// Attempts, the first included.
    pub attempts: u32,
    /// How the last one failed.
    pub failure: Failure,
    /// What happened to just this object, where more is known.
    pub why: Option<&'a str>,
}

/// Writes `failures.jsonl`. Shared by all cores: failures are rare, and a lock for each of them is
/// cheap beside the attempts that it took to fail.
#[derive(Debug)]
pub struct FailureLog(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    file: Box<dyn File>,
    len: u64,
    /// Lines that are not in the file yet.
    waiting: Vec<u8>,
    unsynced: bool,
}

/// Lines are collected up to so many bytes.
const WAITING_BYTES: usize = 64 << 10;

#[derive(Serialize)]
struct Line<'a> {
    ordinal: Ordinal,
    name: &'a str,
    /// The name's bytes, percent-encoded, where `name` cannot tell them.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_encoded: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    attempts: u32,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// Seconds since 1970-01-01T00:00:00Z.
    time: u64,
}

impl FailureLog {
    /// A log that goes on with the file, or begins one.
    ///
    /// # Errors
    /// The environment's.
    pub fn open(disk: &dyn Disk) -> Result<Self, Errno> {
        let file = match disk.open(Dir::State, FAILURES_FILE, Use::Plain) {
            Err(Errno::NOENT) => disk.create(Dir::State, FAILURES_FILE, Use::Plain)?,
            other => other?,
        };
        let len = file.size()?;
        let _ = disk.sync_dir(Dir::State)?;
        Ok(Self(Mutex::new(Lines { file, len, waiting: Vec::new(), unsynced: false })))
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The environment's: the disk is full.
    ///
    /// # Durability
    /// None before [`FailureLog::sync`].
    pub fn record(&self, failed: Failed<'_>) -> Result<(), Errno> {
        let name = String::from_utf8_lossy(failed.name);
        let line = Line {
            ordinal: failed.ordinal,
            name: &name,
            name_encoded: matches!(name, Cow::Owned(_)).then(|| encoded(failed.name)),
            url: failed.url,
            line: failed.line,
            class: failed.failure.class.name(),
            status: (failed.failure.status != 0).then_some(failed.failure.status),
            attempts: failed.attempts,
            error: failed.failure.detail,
            why: failed.why,
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        };
        let mut lines = self.lock();
        serde_json::to_writer(&mut lines.waiting, &line).map_err(|_| Errno::IO)?;
        lines.waiting.push(b'\n');
        match lines.waiting.len() >= WAITING_BYTES {
            true => lines.flush(),
            false => Ok(()),
        }
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// The environment's.
    pub fn flush(&self) -> Result<(), Errno> {
        self.lock().flush()
    }

    /// Makes every line durable.
    ///
    /// # Errors
    /// The environment's.
    pub fn sync(&self) -> Result<(), Errno> {
        let mut lines = self.lock();
        lines.flush()?;
        if lines.unsynced {
            let _ = lines.file.sync()?;
            lines.unsynced = false;
        }
        Ok(())
    }

    /// A core that panicked left whole lines, or one torn at the end, which is cut when the run is
    /// resumed: the others go on.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn flush(&mut self) -> Result<(), Errno> {
        if !self.waiting.is_empty() {
            self.file.write_at(&self.waiting, self.len)?;
            self.len += self.waiting.len() as u64;
            self.waiting.clear();
            self.unsynced = true;
        }
        Ok(())
    }
}

/// Keeps the lines of the objects that `keep` names, in order, and each object's last line only;
/// a torn line at the end goes too. Nothing is written where all lines stay.
///
/// # Errors
/// The environment's; then the file is as it was.
pub fn retain(disk: &dyn Disk, keep: impl Fn(Ordinal) -> bool) -> Result<(), Errno> {
    #[derive(Deserialize)]
    struct Only {
        ordinal: Ordinal,
    }
    let file = match disk.read(Dir::State, FAILURES_FILE) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let len = file.size()?;
    let verdict =
        |line: &[u8]| serde_json::from_slice(line).is_ok_and(|only: Only| keep(only.ordinal));
    let mut whole = 0;
    let mut all = true;
    each_line(&*file, |line| {
        whole += line.len() as u64 + 1;
        all &= verdict(line);
        Ok(())
    })?;
    if all && whole == len {
        return Ok(());
    }
    let name = format!("{FAILURES_FILE}.new");
    let new = disk.create(Dir::State, &name, Use::Plain)?;
    let mut lines = Lines { file: new, len: 0, waiting: Vec::new(), unsynced: false };
    each_line(&*file, |line| {
        if verdict(line) {
            lines.waiting.extend_from_slice(line);
            lines.waiting.push(b'\n');
            if lines.waiting.len() >= WAITING_BYTES {
                lines.flush()?;
            }
        }
        Ok(())
    })?;
    lines.flush()?;
    let _ = lines.file.sync()?;
    disk.replace(Dir::State, &name, FAILURES_FILE)?;
    let _ = disk.sync_dir(Dir::State)?;
    Ok(())
}

/// Removes the file's lines, all of them.
///
/// # Errors
/// The environment's.
pub fn forget(disk: &dyn Disk) -> Result<(), Errno> {
    match disk::exists(disk, Dir::State, FAILURES_FILE)? {
        true => disk.remove(Dir::State, FAILURES_FILE),
        false => Ok(()),
    }
}

/// Shows every whole line, without its end.
fn each_line(
    file: &dyn File,
    mut visit: impl FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut window = Vec::new();
    let mut at = 0;
    loop {
        let kept = window.len();
        window.resize(kept + WAITING_BYTES, 0);
        let read = file.read_at(&mut window[kept..], at)?;
        window.truncate(kept + read);
        at += read as u64;
        let mut from = 0;
        while let Some(end) = memchr::memchr(b'\n', &window[from..]) {
            visit(&window[from..from + end])?;
            from += end + 1;
        }
        window.drain(..from);
        if read == 0 {
            return Ok(());
        }
    }
}

fn encoded(name: &[u8]) -> String {
    let mut out = Vec::with_capacity(name.len() * 3);
    percent::encode_into(name, &Keep::UNRESERVED, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
