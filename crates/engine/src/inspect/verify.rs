//! Reads the whole output again, and compares it with what was recorded.
//!
//! Packs: on every core one pack at a time; memory is a window of 1 MiB for each core and the
//! checksums of what was recorded together. Files: see [`super::files`]. Both: 56 bytes for each
//! record of the ledger.

use super::against::Against;
use super::finding::{Finding, Findings, Kind, Take};
use super::pack::PackCheck;
use super::parts::{Part, check_headers, parts};
use super::records::RecordCheck;
use super::{Seen, files};
use crate::disk::{Dir, Disk};
use crate::rt::machine;
use crate::sink::dest::holder;
use crate::sink::{Format, PackKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use windrow_model::limits::VERIFY_NAMES;
use windrow_model::{Corpus, Error};

/// How to verify.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Threads; 0 takes all cores.
    pub cores: usize,
    /// The source was this: each body is compared with it too, and whatever it has and the output
    /// has not is missing.
    pub corpus: Option<Corpus>,
    /// Names of files held at once, at 32 bytes each; 0 takes [`VERIFY_NAMES`].
    pub names: u64,
}

/// What verifying came to.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Objects that are what was recorded.
    pub right: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Objects recorded as stored.
    pub stored: u64,
    /// What is wrong: objects by kind; where a kind is about no objects, how often.
    pub wrong: BTreeMap<&'static str, u64>,
    /// Objects that failed, by the record.
    pub failed: u64,
    /// Objects listed without an outcome yet.
    pub pending: u64,
    /// Whether the listing was read to its end.
    pub listing_complete: bool,
    /// Packs that were recorded.
    pub packs: usize,
    /// Wall-clock time.
    pub seconds: f64,
}

impl Verdict {
    /// Whether everything that was recorded is there, and nothing else.
    pub fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Whether the run it belongs to has nothing left to do.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.pending == 0 && self.listing_complete
    }
}

/// Verifies the output at `path`; `take` is given everything that is wrong, and says whether to go
/// on.
///
/// # Errors
/// There is no run, a process is at work on it, its ledger is damaged, or something cannot be read.
pub fn verify(path: &Path, settings: Settings, take: &mut Take<'_>) -> Result<Verdict, Error> {
    let began = Instant::now();
    // Before the ledger is read: what a process is about to cut would look like damage.
    refuse_if_held(path)?;
    let seen = Seen::new(path)?;
    if seen.format == Format::Null {
        return Err(Error::usage(path.display().to_string(), "has nothing to verify")
            .why("--format null keeps nothing"));
    }
    let disk = seen.look.disk();
    let parts = parts(disk, &seen.past)?;
    let findings = Findings::new(take);
    let against = settings.corpus.map(Against::new);
    let run = seen.look.run.number().unwrap_or_default();
    check_headers(disk, run, &parts, &findings)?;
    let cores = match settings.cores {
        0 => machine::cores(),
        cores => cores,
    };
    match seen.format {
        Format::Files => {
            let names = if settings.names == 0 { VERIFY_NAMES } else { settings.names };
            files::check(&seen, &parts, (cores, names), &findings, against.as_ref())?;
        }
        format => {
            if let Some(kind) = format.packs() {
                packs(disk, (format, kind), &parts, cores, &findings, against.as_ref())?;
            }
        }
    }
    if let Some(against) = &against {
        against.tell_missing(&findings);
    }
    refuse_if_held(path)?;
    let (right, bytes) = findings.sum();
    let past = &seen.past;
    let state = &past.state;
    let settled = state.stored.len() + state.skipped.len() + state.failures();
    Ok(Verdict {
        right,
        bytes,
        stored: state.stored.len(),
        wrong: findings.counts(),
        failed: state.failures(),
        pending: past.listed().saturating_sub(settled),
        listing_complete: past.pages.end.is_some(),
        packs: state.packs.len(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn refuse_if_held(path: &Path) -> Result<(), Error> {
    match holder(path) {
        None => Ok(()),
        Some(pid) => {
            let what = format!("in use by another windrow (process {pid})");
            Err(Error::environment(path.display().to_string(), what)
                .hint("verify when it is done; `windrow status` tells how it stands"))
        }
    }
}

fn packs(
    disk: &dyn Disk,
    (format, kind): (Format, PackKind),
    parts: &[Part],
    cores: usize,
    findings: &Findings<'_>,
    against: Option<&Against>,
) -> Result<(), Error> {
    let packs: Vec<&[Part]> = parts.chunk_by(|a, b| a.pack == b.pack).collect();
    let next = AtomicUsize::new(0);
    on_cores(cores.min(packs.len()), || {
        let mut members = PackCheck::new(disk, findings, against);
        let mut records = RecordCheck::new(disk, format, findings, against);
        while let Some(parts) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if findings.stopped() {
                break;
            }
            match format {
                Format::Tar => members.check(parts)?,
                _ => records.check(parts)?,
            }
        }
        Ok(())
    })?;
    let list = |dir| {
        disk.list(dir).map_err(|errno| {
            Error::environment("DEST", "cannot be read").why(std::io::Error::from(errno))
        })
    };
    let open = list(Dir::Open)?;
    for name in list(Dir::Root)? {
        let Some(number) = kind.number(&name) else { continue };
        let known = packs.binary_search_by_key(&number, |parts| parts[0].pack).is_ok();
        if !known || name != kind.file_name(number) || open.contains(&name) {
            let name = name.into_bytes();
            let detail = "no record knows this pack".to_owned();
            let file = name.clone();
            findings.tell(&Finding {
                kind: Kind::Extra,
                name,
                file,
                offset: None,
                objects: 0,
                detail,
            });
        }
    }
    Ok(())
}

/// Does the same on so many threads; gives the first error.
pub(super) fn on_cores(
    cores: usize,
    work: impl Fn() -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let first = Mutex::new(Ok(()));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                if let Err(error) = work() {
                    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                    if first.is_ok() {
                        *first = Err(error);
                    }
                }
            });
        }
    });
    first.into_inner().unwrap_or_else(PoisonError::into_inner)
}
