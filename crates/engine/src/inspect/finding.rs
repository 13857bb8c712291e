//! What is wrong with an output, and where.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What kind of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Recorded, and not there.
    Missing,
    /// There, and no record knows it.
    Extra,
    /// There in part: a size that differs, headers that are damaged, an end that is cut off.
    Torn,
    /// There in full, and not what was stored.
    Corrupt,
    /// There more than once.
    Doubled,
    /// There, and what it is to be compared with is damaged.
    Unproved,
    /// A part of the manifest that is not what was written.
    Manifest,
}

impl Kind {
    /// Every kind, in the order of the reports.
    pub const ALL: [Kind; 7] = [
        Self::Missing,
        Self::Extra,
        Self::Torn,
        Self::Corrupt,
        Self::Doubled,
        Self::Unproved,
        Self::Manifest,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Torn => "torn",
            Self::Corrupt => "corrupt",
            Self::Doubled => "doubled",
            Self::Unproved => "unproved",
            Self::Manifest => "manifest",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of wrong.
    pub kind: Kind,
    /// The object's name; where that cannot be known, the file's.
    pub name: Vec<u8>,
    /// The file below the destination.
    pub file: Vec<u8>,
    /// Where in that file, in bytes.
    pub offset: Option<u64>,
    /// How many objects it is about.
    pub objects: u64,
    /// What exactly.
    pub detail: String,
}

/// Takes findings in; `false` says that nobody wants more.
pub(super) type Take<'t> = dyn FnMut(&Finding) -> bool + Send + 't;

/// What all threads that check tell of.
pub(super) struct Findings<'t> {
    take: Mutex<&'t mut Take<'t>>,
    objects: [AtomicU64; Kind::ALL.len()],
    lines: [AtomicU64; Kind::ALL.len()],
    /// Objects that are right, and bytes of their bodies.
    right: AtomicU64,
    bytes: AtomicU64,
    stopped: AtomicBool,
}

impl<'t> Findings<'t> {
    pub(super) fn new(take: &'t mut Take<'t>) -> Self {
        Self {
            take: Mutex::new(take),
            objects: Default::default(),
            lines: Default::default(),
            right: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn tell(&self, finding: &Finding) {
        let kind = finding.kind as usize;
        self.objects[kind].fetch_add(finding.objects, Ordering::Relaxed);
        self.lines[kind].fetch_add(1, Ordering::Relaxed);
        let mut take = self.take.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.stopped() && !take(finding) {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn right(&self, objects: u64, bytes: u64) {
        self.right.fetch_add(objects, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Nobody listens any more.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Objects that are right, and their bytes.
    pub(super) fn sum(&self) -> (u64, u64) {
        (self.right.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Objects by kind, of those kinds that were told of; lines, where they are about no objects.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let count = |kind: Kind| {
            let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            match (load(&self.objects[kind as usize]), load(&self.lines[kind as usize])) {
                (0, lines) => (kind.name(), lines),
                (objects, _) => (kind.name(), objects),
            }
        };
        Kind::ALL.into_iter().map(count).filter(|&(_, count)| count > 0).collect()
    }
}
