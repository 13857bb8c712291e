//! How a run stands, by its ledger and by what lies in its directories.

use super::Seen;
use crate::disk::{Dir, Disk};
use crate::ledger::State;
use crate::sink::PackKind;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use windrow_model::Error;

/// How a run stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `running`, `complete`, `failed` (finished, some objects failed) or `unfinished`.
    pub state: &'static str,
    /// Where the objects come from.
    pub source: String,
    /// Form of the output.
    pub format: &'static str,
    /// When the first process began, seconds since 1970.
    pub began: Option<u64>,
    /// Processes that worked on it.
    pub processes: u64,
    /// The process at work now; 0 where there is one and it is not known which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// `listed = stored + skipped + failed + pending`.
    pub listed: u64,
    /// Whether the listing was read to its end, or to the user's limit.
    pub listing_complete: bool,
    /// Whether it was the user's limit.
    pub listing_limited: bool,
    /// Pages of the listing.
    pub pages: u64,
    /// Objects stored.
    pub stored: u64,
    /// Objects that needed nothing.
    pub skipped: u64,
    /// Objects that failed for good.
    pub failed: u64,
    /// Objects without an outcome.
    pub pending: u64,
    /// Failed objects by class.
    pub failures: BTreeMap<&'static str, u64>,
    /// Bytes of the bodies stored.
    pub bytes: u64,
    /// Packs, where the format has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packs: Option<PackCount>,
    /// Bytes of the ledger that count.
    pub ledger_bytes: u64,
    /// The same for each object with an outcome.
    pub ledger_bytes_per_object: f64,
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// Bytes at the ends of the ledger's files that do not count, and are cut when the run goes on.
    pub cut_bytes: u64,
    /// Some of what counts was never synced: it counts until the machine goes down.
    pub unsynced: bool,
}

/// Packs by how far they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PackCount {
    /// With their final names.
    pub finished: u64,
    /// Full, and without their names yet: the next process gives them.
    pub unnamed: u64,
    /// Begun: the next process goes on with them.
    pub open: u64,
    /// Recorded, and not there.
    pub gone: u64,
}

/// How the run at `path` stands. Nothing is changed, and a process may be at work.
///
/// # Errors
/// There is no run, its ledger is damaged, or it cannot be read.
pub fn status(path: &Path) -> Result<Status, Error> {
    let seen = Seen::new(path)?;
    let Seen { ref look, ref past, format, pid } = seen;
    let disk = look.disk();
    let unread = |errno: rustix::io::Errno| {
        let why = std::io::Error::from(errno);
        Error::environment(path.display().to_string(), "cannot be read").why(why)
    };
    let state = &past.state;
    let (stored, skipped, failed) = (state.stored.len(), state.skipped.len(), state.failures());
    let settled = stored + skipped + failed;
    let listed = past.listed();
    let pending = listed.saturating_sub(settled);
    let listing_complete = past.pages.end.is_some();
    let done = listing_complete && pending == 0;
    Ok(Status {
        state: match pid {
            Some(_) => "running",
            None if done && failed == 0 => "complete",
            None if done => "failed",
            None => "unfinished",
        },
        source: look.run.source.clone(),
        format: format.name(),
        began: state.began,
        processes: state.generation,
        pid,
        listed,
        listing_complete,
        listing_limited: past.pages.end == Some(false),
        pages: past.pages.count,
        stored,
        skipped,
        failed,
        pending,
        failures: state.failed.iter().map(|(class, set)| (class.name(), set.len())).collect(),
        bytes: state.bytes,
        packs: format.packs().map(|kind| packs(disk, kind, state).map_err(unread)).transpose()?,
        ledger_bytes: past.bytes(),
        ledger_bytes_per_object: match settled {
            0 => 0.0,
            settled => past.bytes() as f64 / settled as f64,
        },
        manifest_bytes: sizes(disk).map_err(unread)?,
        cut_bytes: past.cut(),
        unsynced: state.unsynced,
    })
}

fn packs(disk: &dyn Disk, kind: PackKind, state: &State) -> Result<PackCount, rustix::io::Errno> {
    // The open ones first: what gets its name in between is seen twice, and not missed.
    let open = numbers(disk, kind, Dir::Open)?;
    let named = numbers(disk, kind, Dir::Root)?;
    let mut count = PackCount::default();
    for (number, pack) in &state.packs {
        let place = match (open.contains(number), named.contains(number), pack.full) {
            (true, _, false) => &mut count.open,
            (true, false, true) => &mut count.unnamed,
            (_, true, _) => &mut count.finished,
            (false, false, _) => &mut count.gone,
        };
        *place += 1;
    }
    Ok(count)
}

fn numbers(disk: &dyn Disk, kind: PackKind, dir: Dir) -> Result<BTreeSet<u32>, rustix::io::Errno> {
    let names = disk.list(dir)?;
    let number =
        |name: &String| kind.number(name).filter(|&number| kind.file_name(number) == *name);
    Ok(names.iter().filter_map(number).collect())
}

fn sizes(disk: &dyn Disk) -> Result<u64, rustix::io::Errno> {
    let mut bytes = 0;
    for name in disk.list(Dir::Manifest)? {
        bytes += disk.read(Dir::Manifest, &name)?.size()?;
    }
    Ok(bytes)
}
