//! What the ledger says about a run.

use super::frame::{Frame, Page, Stored};
use roaring::RoaringTreemap;
use std::collections::BTreeMap;
use std::ops::Range;
use windrow_model::{FailedObject, FailureClass, Ordinal};

/// One pack, as far as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackState {
    /// Its length behind the last object recorded.
    pub len: u64,
    /// Objects recorded in it.
    pub objects: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Nothing more comes into it.
    pub full: bool,
    /// It has its final name.
    pub sealed: bool,
}

/// The outcomes of a run, and where they lie.
#[derive(Debug, Default)]
pub struct State {
    /// Objects that were stored.
    pub stored: RoaringTreemap,
    /// Objects that failed for good, by class.
    pub failed: BTreeMap<FailureClass, RoaringTreemap>,
    /// Objects that needed nothing.
    pub skipped: RoaringTreemap,
    /// Packs by number.
    pub packs: BTreeMap<u32, PackState>,
    /// Bytes of the bodies stored.
    pub bytes: u64,
    /// Objects recorded more than once: none, unless windrow has a bug.
    pub doubled: u64,
    /// Processes that worked on the run.
    pub generation: u64,
    /// When the first of them began, seconds since 1970.
    pub began: Option<u64>,
    /// Some of it was never synced.
    pub unsynced: bool,
    /// Failures by the session that came to them: a later reopening takes them back.
    sessions: Vec<(u64, Vec<FailedObject>)>,
    session: u64,
}

impl State {
    /// Takes in a frame of a core's file, in the file's order. `None` if it is not well-formed.
    pub(super) fn apply(&mut self, frame: Frame<'_>) -> Option<()> {
        match frame {
            Frame::Session { generation, time, .. } => {
                self.session = generation;
                self.generation = self.generation.max(generation);
                self.began = Some(self.began.map_or(time, |began| began.min(time)));
            }
            Frame::Stored(stored) => self.store(&stored)?,
            Frame::Failed(failures) => {
                if self.sessions.last().is_none_or(|(session, _)| *session != self.session) {
                    self.sessions.push((self.session, Vec::new()));
                }
                let (_, all) = self.sessions.last_mut()?;
                failures.failures(|failure| all.push(failure))?;
            }
            Frame::Sealed(packs) => {
                packs.packs(|pack| self.packs.entry(pack).or_default().sealed = true)?;
            }
            Frame::Commit => {}
            Frame::Page(_)
            | Frame::End(_)
            | Frame::Reopened(_)
            | Frame::Skipped(_)
            | Frame::Relisted { .. } => return None,
        }
        Some(())
    }

    fn store(&mut self, stored: &Stored<'_>) -> Option<()> {
        let mut objects = 0;
        stored.ordinals.ordinals(|range| {
            let len = range.end - range.start;
            let new = insert(&mut self.stored, range);
            self.doubled += len - new;
            objects += len;
        })?;
        self.bytes += stored.bytes;
        if let Some(pack) = stored.pack {
            let pack = self.packs.entry(pack).or_default();
            pack.len = pack.len.max(stored.len);
            pack.objects += objects;
            pack.bytes += stored.bytes;
            pack.full |= stored.full;
        }
        Some(())
    }

    /// Settles what failed, when all files of the cores were taken in: what was stored later did
    /// not fail, and what was reopened in a later session is open again.
    pub(super) fn settle_failures(&mut self, pages: &Pages) {
        let mut sessions = std::mem::take(&mut self.sessions);
        sessions.sort_by_key(|(session, _)| *session);
        for (session, failures) in sessions {
            for failure in failures {
                let ordinal = failure.ordinal;
                for set in self.failed.values_mut() {
                    set.remove(ordinal);
                }
                let reopened = pages
                    .reopened
                    .iter()
                    .any(|(later, set)| *later > session && set.contains(ordinal));
                if !self.stored.contains(ordinal) && !reopened && !pages.withdrawn(ordinal) {
                    self.failed.entry(failure.class).or_default().insert(ordinal);
                }
            }
        }
        self.failed.retain(|_, set| !set.is_empty());
        self.skipped.clone_from(&pages.skipped);
        for set in self.failed.values_mut().chain([&mut self.stored, &mut self.skipped]) {
            set.optimize();
        }
    }

    /// Whether the object has its outcome.
    pub fn settled(&self, ordinal: Ordinal) -> bool {
        self.stored.contains(ordinal) || self.skipped.contains(ordinal) || self.has_failed(ordinal)
    }

    /// Whether the object failed.
    pub fn has_failed(&self, ordinal: Ordinal) -> bool {
        self.failed.values().any(|set| set.contains(ordinal))
    }

    /// Objects of a range that have their outcome.
    pub fn settled_in(&self, range: Range<Ordinal>) -> u64 {
        let count = |set: &RoaringTreemap| set.range_cardinality(range.clone());
        count(&self.stored) + count(&self.skipped) + self.failed.values().map(count).sum::<u64>()
    }

    /// Objects that failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().map(RoaringTreemap::len).sum()
    }
}

/// Inserts a range; gives how many members are new.
fn insert(set: &mut RoaringTreemap, range: Range<Ordinal>) -> u64 {
    match range.end - range.start {
        // The usual range of a slow server, without the set's detour for ranges.
        1 => u64::from(set.insert(range.start)),
        _ => set.insert_range(range),
    }
}

/// A page that the ledger has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRecord {
    /// Ordinal of its first name.
    pub first: Ordinal,
    /// Names taken from it.
    pub count: u64,
    /// Names at its front that belong to an earlier record.
    pub skipped: u64,
    /// Fingerprint of the names taken.
    pub fingerprint: u128,
    /// The marker to ask for it with.
    pub marker: Option<String>,
    /// The marker of the page after it.
    pub next: Option<String>,
}

impl PageRecord {
    /// Ordinals of its names.
    pub fn range(&self) -> Range<Ordinal> {
        self.first..self.first + self.count
    }
}

impl From<&Page<'_>> for PageRecord {
    fn from(page: &Page<'_>) -> Self {
        Self {
            first: page.first,
            count: page.count,
            skipped: page.skipped,
            fingerprint: page.fingerprint,
            marker: page.marker.map(str::to_owned),
            next: page.next.map(str::to_owned),
        }
    }
}

/// Where a listing goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The marker of the page to ask for; `None` for the first, or behind the last.
    pub marker: Option<String>,
    /// Names at its front that were taken before.
    pub skip: u64,
    /// The marker of the page before it, and how many names of that were taken.
    here: Option<String>,
    taken: u64,
}

/// How far the listing was read.
#[derive(Debug, Default)]
pub struct Pages {
    /// Pages with objects that have no outcome, or that are to be tried again, in order.
    pub open: Vec<PageRecord>,
    /// Where the listing goes on.
    pub cursor: Cursor,
    /// Pages in all.
    pub count: u64,
    /// Ordinal of the next name.
    pub next: Ordinal,
    /// The listing ended; `Some(false)` where the user's limit ended it.
    pub end: Option<bool>,
    /// Objects that needed nothing.
    pub(super) skipped: RoaringTreemap,
    /// Ranges whose objects are forgotten unless they were stored.
    pub forgotten: Vec<Range<Ordinal>>,
    /// Objects that were to be tried again, with the session that said so.
    reopened: Vec<(u64, RoaringTreemap)>,
    session: u64,
}

impl Pages {
    /// Takes in a frame of the listing's file. `keep` says whether a page has anything to do.
    pub(super) fn apply(
        &mut self,
        frame: Frame<'_>,
        keep: &mut impl FnMut(Range<Ordinal>) -> bool,
    ) -> Option<()> {
        match frame {
            Frame::Session { generation, .. } => self.session = generation,
            Frame::Page(page) => {
                let record = PageRecord::from(&page);
                let end = page.first.checked_add(page.count)?;
                if page.first != self.next {
                    return None;
                }
                self.next = end;
                self.count += u64::from(page.skipped == 0);
                self.end = None;
                self.cursor = Cursor {
                    marker: record.next.clone(),
                    skip: 0,
                    here: record.marker.clone(),
                    taken: record.skipped + record.count,
                };
                if record.next.is_none() {
                    self.end = Some(true);
                }
                if keep(record.range()) {
                    self.open.push(record);
                }
            }
            Frame::End(whole) => {
                self.end = Some(whole);
                if !whole {
                    // The limit may have cut the page: it is asked for again.
                    self.cursor.marker = self.cursor.here.clone();
                    self.cursor.skip = self.cursor.taken;
                }
            }
            Frame::Reopened(ordinals) => {
                let mut set = RoaringTreemap::new();
                ordinals.ordinals(|range| {
                    set.insert_range(range);
                })?;
                self.reopened.push((self.session, set));
            }
            Frame::Skipped(ordinals) => ordinals.ordinals(|range| {
                self.skipped.insert_range(range);
            })?,
            Frame::Relisted { from, next, marker } => {
                if from > next || next < self.next {
                    return None;
                }
                self.forgotten.push(from..next);
                self.open.retain(|page| page.first < from);
                self.next = next;
                self.end = None;
                self.cursor = Cursor {
                    marker: marker.map(str::to_owned),
                    here: marker.map(str::to_owned),
                    ..Cursor::default()
                };
            }
            Frame::Commit => {}
            Frame::Stored(_) | Frame::Failed(_) | Frame::Sealed(_) => return None,
        }
        Some(())
    }

    /// Whether the object was forgotten, unless it was stored.
    pub fn withdrawn(&self, ordinal: Ordinal) -> bool {
        self.forgotten.iter().any(|range| range.contains(&ordinal))
    }

    /// Objects of a range that were neither stored nor skipped, but for what was forgotten before.
    pub fn unsettled(&self, range: Range<Ordinal>, state: &State) -> u64 {
        let mut open = RoaringTreemap::new();
        open.insert_range(range);
        for range in &self.forgotten {
            open.remove_range(range.clone());
        }
        open -= &state.stored;
        open -= &state.skipped;
        open.len()
    }

    /// Objects that the source gave and that were not forgotten.
    pub fn listed(&self, state: &State) -> u64 {
        // Ranges forgotten twice are inside one another or apart: each counts once.
        let mut forgotten = RoaringTreemap::new();
        for range in &self.forgotten {
            forgotten.insert_range(range.clone());
        }
        let kept = (&state.stored & &forgotten).len() + (&state.skipped & &forgotten).len();
        self.next - forgotten.len() + kept
    }
}
