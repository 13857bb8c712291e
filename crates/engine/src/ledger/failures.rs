//! `failures.jsonl`: one line for each object that failed for good.

use serde::Serialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use windrow_model::percent::{self, Keep};
use windrow_model::{Failure, Ordinal};

/// An object that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// The object.
    pub ordinal: Ordinal,
    /// Its name, as the source gave it.
    pub name: &'a [u8],
    /// Attempts, the first included.
    pub attempts: u32,
    /// How the last one failed.
    pub failure: Failure,
}

/// Writes `failures.jsonl`. Shared by all cores: failures are rare, and a lock for each of them is
/// cheap beside the attempts that it took to fail.
#[derive(Debug)]
pub struct FailureLog(Mutex<BufWriter<File>>);

#[derive(Serialize)]
struct Line<'a> {
    ordinal: Ordinal,
    name: &'a str,
    /// The name's bytes, percent-encoded, where `name` cannot tell them.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_encoded: Option<String>,
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    attempts: u32,
    error: &'a str,
    /// Seconds since 1970-01-01T00:00:00Z.
    time: u64,
}

impl FailureLog {
    /// A log that is written to `file`.
    pub fn new(file: File) -> Self {
        Self(Mutex::new(BufWriter::with_capacity(64 << 10, file)))
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The environment's: the disk is full.
    ///
    /// # Durability
    /// None before [`FailureLog::flush`].
    pub fn record(&self, failed: Failed<'_>) -> std::io::Result<()> {
        let name = String::from_utf8_lossy(failed.name);
        let line = Line {
            ordinal: failed.ordinal,
            name: &name,
            name_encoded: matches!(name, Cow::Owned(_)).then(|| encoded(failed.name)),
            class: failed.failure.class.name(),
            status: (failed.failure.status != 0).then_some(failed.failure.status),
            attempts: failed.attempts,
            error: failed.failure.detail,
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        };
        let mut out = self.lock();
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// The environment's.
    pub fn flush(&self) -> std::io::Result<()> {
        self.lock().flush()
    }

    /// A core that panicked left the log with whole lines or with one torn at its end: the others
    /// go on.
    fn lock(&self) -> std::sync::MutexGuard<'_, BufWriter<File>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn encoded(name: &[u8]) -> String {
    let mut out = Vec::with_capacity(name.len() * 3);
    percent::encode_into(name, &Keep::UNRESERVED, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
