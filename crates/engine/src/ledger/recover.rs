//! Taking up a run where it ended, whatever ended it.
//!
//! First everything is read and judged ([`load`]), and nothing is touched; then, for a run that is
//! to go on, [`Ledger::open`] cuts what does not count and begins a new session.

use super::core::CoreLedger;
use super::failures::{self, FailureLog};
use super::frame::{Frame, HEADER_BYTES, Header, Kind, Stored};
use super::listing::ListingLog;
use super::log::{Log, Manifest, Session};
use super::replay::{Damage, Kept, examine, visit};
use super::state::{Pages, State};
use crate::disk::{Dir, Disk, Use};
use roaring::RoaringTreemap;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use windrow_model::{Error, Ordinal};

const LISTING: &str = "listing.wl";

/// The name of a core's file.
pub fn core_file(core: usize) -> String {
    format!("core-{core:04}.wl")
}

fn core_of(name: &str) -> Option<usize> {
    name.strip_prefix("core-")?.strip_suffix(".wl")?.parse().ok()
}

/// The name of a core's part of the manifest.
pub fn manifest_file(core: usize) -> String {
    format!("core-{core:04}.wm")
}

/// A run as its ledger has it.
#[derive(Debug, Default)]
pub struct Past {
    /// The outcomes.
    pub state: State,
    /// The listing.
    pub pages: Pages,
    /// Objects that failed and are to be tried again.
    pub reopen: RoaringTreemap,
    /// What counts of each core's file, and how much of its manifest.
    cores: BTreeMap<usize, (Kept, u64)>,
    listing: Kept,
}

impl Past {
    /// Bytes at the ends of files that do not count.
    pub fn cut(&self) -> u64 {
        self.listing.cut + self.cores.values().map(|(kept, _)| kept.cut).sum::<u64>()
    }

    /// Bytes that count.
    pub fn bytes(&self) -> u64 {
        self.listing.len + self.cores.values().map(|(kept, _)| kept.len).sum::<u64>()
    }

    /// Cuts off what was never synced, as far as the disk lets it.
    fn revoke(&self, disk: &dyn Disk) {
        for (&core, (kept, _)) in &self.cores {
            if kept.unsynced
                && let Ok(file) = disk.open(Dir::Ledger, &core_file(core), Use::Plain)
            {
                let _ = file.set_len(kept.committed);
            }
        }
    }

    /// The files of the manifest, and how many bytes of each the ledger knows.
    pub fn manifests(&self) -> impl Iterator<Item = (String, u64)> {
        self.cores.iter().map(|(&core, &(_, len))| (manifest_file(core), len))
    }

    /// Objects that the source gave.
    pub fn listed(&self) -> u64 {
        self.pages.listed(&self.state)
    }

    /// Shows what each core recorded as stored, in its order: the core, and where its part of the
    /// manifest begins.
    ///
    /// # Errors
    /// The files cannot be read, or changed meanwhile.
    pub fn each_stored(
        &self,
        disk: &dyn Disk,
        mut show: impl FnMut(usize, u64, &Stored<'_>),
    ) -> Result<(), Error> {
        for (&core, (kept, _)) in &self.cores {
            let name = core_file(core);
            let damaged = |damage: Damage| broken(&name, &damage);
            let file = disk.read(Dir::Ledger, &name).map_err(|errno| damaged(errno.into()))?;
            let mut from = HEADER_BYTES as u64;
            visit(&*file, kept.len, |frame| {
                if let Frame::Stored(stored) = &frame {
                    show(core, from, stored);
                    from = stored.manifest_end;
                }
                Some(())
            })
            .map_err(damaged)?;
        }
        Ok(())
    }
}

/// Says which of the objects that failed are to be tried again.
pub type Wanted<'w> = dyn Fn(&State) -> RoaringTreemap + 'w;

/// Reads the ledger of a run, and finds the pages with something left to do.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn load(disk: &dyn Disk, run: u64, wanted: &Wanted<'_>) -> Result<Past, Error> {
    let boot = boot_id();
    load_in(disk, run, boot, wanted)
}

/// [`load`], in a certain boot of the kernel.
pub(crate) fn load_in(
    disk: &dyn Disk,
    run: u64,
    boot: Option<[u8; 16]>,
    wanted: &Wanted<'_>,
) -> Result<Past, Error> {
    let names = disk.list(Dir::Ledger).map_err(|errno| broken("ledger", &errno.into()))?;
    let mut past = Past::default();
    for name in &names {
        let Some(core) = core_of(name) else { continue };
        let damaged = |damage: Damage| broken(name, &damage);
        let file = disk.read(Dir::Ledger, name).map_err(|errno| damaged(errno.into()))?;
        let kept = examine(&*file, Kind::Core, run, boot).map_err(damaged)?;
        let mut manifest = 0;
        let state = &mut past.state;
        visit(&*file, kept.len, |frame| {
            if let Frame::Stored(stored) = &frame {
                manifest = stored.manifest_end;
            }
            state.apply(frame)
        })
        .map_err(damaged)?;
        state.unsynced |= kept.unsynced;
        past.cores.insert(core, (kept, manifest));
    }
    if names.iter().any(|name| name == LISTING) {
        let damaged = |damage: Damage| broken(LISTING, &damage);
        let file = disk.read(Dir::Ledger, LISTING).map_err(|errno| damaged(errno.into()))?;
        let kept = examine(&*file, Kind::Listing, run, boot).map_err(damaged)?;
        // Twice: what was reopened decides what failed, and what failed which pages matter.
        let mut pages = Pages::default();
        visit(&*file, kept.len, |frame| pages.apply(frame, &mut |_| false)).map_err(damaged)?;
        past.state.settle_failures(&pages);
        let state = &past.state;
        past.reopen = wanted(state);
        let mut pages = Pages::default();
        let mut open = |range: std::ops::Range<Ordinal>| {
            state.settled_in(range.clone()) < range.end - range.start
                || past.reopen.range_cardinality(range) > 0
        };
        visit(&*file, kept.len, |frame| pages.apply(frame, &mut open)).map_err(damaged)?;
        past.state.generation = past.state.generation.max(kept.generation);
        past.pages = pages;
        past.listing = kept;
    } else {
        past.state.settle_failures(&past.pages);
    }
    let beyond = past.state.stored.max().is_some_and(|last| last >= past.pages.next);
    if beyond || past.state.doubled > 0 {
        let what = match beyond {
            true => "it has objects that the listing never gave",
            false => "it has objects more than once",
        };
        return Err(Error::environment(".windrow/ledger", "damaged").why(what).hint(DAMAGED_HINT));
    }
    Ok(past)
}

const DAMAGED_HINT: &str = "what is stored is still there; to fetch everything again, choose \
                            another directory or add --fresh";

fn broken(name: &str, damage: &Damage) -> Error {
    let error = Error::environment(format!(".windrow/ledger/{name}"), "cannot be used").why(damage);
    match damage {
        Damage::Read(_) => error,
        Damage::Version(_) => error.hint("resume with the windrow that began this run"),
        Damage::OtherRun | Damage::At(_) => error.hint(DAMAGED_HINT),
    }
}

/// The ledger of a run that is under way.
#[derive(Debug)]
pub struct Ledger {
    /// One for each core.
    pub cores: Vec<CoreLedger>,
    /// The listing's.
    pub listing: Arc<ListingLog>,
    /// `failures.jsonl`.
    pub failures: Arc<FailureLog>,
}

impl Ledger {
    /// Begins a session: cuts off what does not count, makes durable what does.
    ///
    /// # Errors
    /// The environment's.
    pub fn open(disk: &dyn Disk, run: u64, cores: usize, past: &Past) -> Result<Self, Errno> {
        Self::open_in(disk, run, cores, past, boot_id())
    }

    pub(crate) fn open_in(
        disk: &dyn Disk,
        run: u64,
        cores: usize,
        past: &Past,
        boot: Option<[u8; 16]>,
    ) -> Result<Self, Errno> {
        if past.state.unsynced {
            // What the kernel still has becomes durable before the new session says that it is.
            if let Err(errno) = disk.sync_all() {
                // Never again: the next process must not find it, and sync what is lost by now.
                past.revoke(disk);
                return Err(errno);
            }
        }
        let session = Session {
            generation: past.state.generation + 1,
            boot,
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        };
        let open = |name: &str, kind, kept: Kept| {
            Log::open(disk, name, Header { kind, run }, (kept.proven, kept.len), session)
        };
        let listing = open(LISTING, Kind::Listing, past.listing)?;
        let listing = Arc::new(ListingLog(Mutex::new(listing)));
        listing.reopen(past.reopen.iter())?;
        failures::retain(disk, |ordinal| {
            past.state.has_failed(ordinal) && !past.reopen.contains(ordinal)
        })?;
        let failures = Arc::new(FailureLog::open(disk)?);
        let mut ledgers = Vec::with_capacity(cores);
        for core in 0..cores {
            let (kept, manifest) = past.cores.get(&core).copied().unwrap_or_default();
            let log = open(&core_file(core), Kind::Core, kept)?;
            ledgers.push(CoreLedger {
                log,
                manifest: Manifest::open(disk, &manifest_file(core), run, manifest)?,
                listing: Arc::clone(&listing),
                failures: Arc::clone(&failures),
                recorded: (0, 0),
                durable: (0, 0),
            });
        }
        // Cores that the run had and has no more.
        for (&core, &(kept, _)) in past.cores.range(cores..) {
            if kept.cut > 0 || kept.unsynced {
                let _ = open(&core_file(core), Kind::Core, kept)?;
            } else {
                Log::keep(disk, &core_file(core), (kept.proven, kept.len))?;
            }
        }
        let _ = disk.sync_dir(Dir::Ledger)?;
        let _ = disk.sync_dir(Dir::Manifest)?;
        Ok(Self { cores: ledgers, listing, failures })
    }
}

/// The kernel's boot; `None` where it cannot be known, and then only what was synced counts.
fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digits = std::str::from_utf8(&digits).ok()?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}
