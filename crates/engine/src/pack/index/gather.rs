//! Entries in memory while packs are written.

use super::run::{Head, Pages};
use super::sort::sort;
use super::{Entry, hash, run_file};
use crate::disk::{ALIGN, Dir, Disk, Use};
use roaring::RoaringBitmap;
use std::io;
use windrow_model::limits::{INDEX_GATHER, INDEX_GATHER_LEAST, INDEX_WRITE_BYTES};

/// A run that is to be [written](write()).
#[derive(Debug)]
pub struct Run {
    /// Name of its file, in [`Dir::Index`].
    pub file: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Collects the entries of one pack after the other: 24 bytes for each, of [`INDEX_GATHER`] at most
/// if the caller does as it is told.
#[derive(Debug, Default)]
pub struct Gather {
    owner: u64,
    /// Entries that may wait.
    most: usize,
    entries: Vec<Entry>,
    /// Where those of the pack at hand begin.
    from: usize,
    /// Parts of the pack at hand that are out already.
    parts: u32,
    /// Packs that are complete here.
    covers: RoaringBitmap,
    room: Vec<Entry>,
}

impl Gather {
    /// One of so many for packs of the run with this number, which share the room.
    pub fn new(owner: u64, share: usize) -> Self {
        let most = (INDEX_GATHER / share.max(1)).max(INDEX_GATHER_LEAST);
        Self { owner, most, ..Self::default() }
    }

    /// Adds an object of the pack at hand. True when there are so many that it is time for
    /// [`Gather::part`].
    #[inline]
    pub fn add(&mut self, name: &[u8], place: u64) -> bool {
        self.add_hash(hash(name), place)
    }

    #[inline]
    pub(super) fn add_hash(&mut self, hash: u64, place: u64) -> bool {
        self.entries.push(Entry { hash, pack: u32::MAX, place });
        self.entries.len() >= self.most
    }

    /// Entries that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is there, while the pack at hand goes on. The run must be written before the one that
    /// [`Gather::seal`] gives.
    pub fn part(&mut self, pack: u32) -> Run {
        self.assign(pack);
        let file = run_file(pack, Some(self.parts));
        let run = self.run(file, 0);
        self.parts += 1;
        run
    }

    /// The pack at hand is complete, and this is its number. The next object is the next pack's.
    pub fn seal(&mut self, pack: u32) -> Run {
        self.assign(pack);
        self.covers.insert(pack);
        let parts = std::mem::take(&mut self.parts);
        self.run(run_file(pack, None), parts)
    }

    /// As [`Gather::seal`], but packs wait for each other as long as there is room.
    pub fn end(&mut self, pack: u32) -> Option<Run> {
        // With another pack of that size there would be too many in the middle of it, and two files
        // for one.
        let of_pack = self.entries.len() - self.from;
        if self.parts > 0 || self.entries.len() + of_pack > self.most {
            return Some(self.seal(pack));
        }
        self.assign(pack);
        self.covers.insert(pack);
        None
    }

    /// What [`Gather::end`] left waiting; to be called behind the last pack.
    pub fn rest(&mut self) -> Option<Run> {
        self.forget();
        let last = self.covers.max()?;
        Some(self.run(run_file(last, None), 0))
    }

    /// Forgets the pack at hand: it is given up, or its entries were not all seen. Its parts that are
    /// out do no harm.
    pub fn forget(&mut self) {
        self.entries.truncate(self.from);
        self.parts = 0;
    }

    fn assign(&mut self, pack: u32) {
        self.entries[self.from..].iter_mut().for_each(|entry| entry.pack = pack);
        self.from = self.entries.len();
    }

    fn run(&mut self, file: String, parts: u32) -> Run {
        sort(&mut self.entries, &mut self.room);
        let mut pages = Pages::default();
        // A header's room, four bytes for each page, and some for the packs.
        pages.out.reserve(self.entries.len() * 20 + self.entries.len() / 128 + 256);
        pages.out.resize(super::run::HEAD, 0);
        self.entries.drain(..).for_each(|entry| pages.push(entry));
        self.from = 0;
        let covers = std::mem::take(&mut self.covers);
        let head = pages.end(Head { owner: self.owner, count: 0, parts, covers });
        let mut bytes = pages.out;
        bytes[..super::run::HEAD].copy_from_slice(&head);
        Run { file, bytes }
    }
}

/// Writes a run. It is not synced: one that a crash tore is noticed, and its packs are read again.
///
/// # Errors
/// The environment's; then the file may be there in part, which is noticed too.
pub fn write(disk: &dyn Disk, run: &Run) -> io::Result<()> {
    // Past the page cache, as packs are: fresh memory for it costs more than all else.
    let file = disk.create(Dir::Index, &run.file, Use::Pack)?;
    let mut room = vec![0; INDEX_WRITE_BYTES + ALIGN];
    let start = room.as_ptr().align_offset(ALIGN);
    let room = &mut room[start..start + INDEX_WRITE_BYTES];
    let mut at = 0;
    for part in run.bytes.chunks(INDEX_WRITE_BYTES) {
        room[..part.len()].copy_from_slice(part);
        let padded = part.len().next_multiple_of(ALIGN);
        room[part.len()..padded].fill(0);
        file.write_at(&room[..padded], at)?;
        at += part.len() as u64;
    }
    Ok(file.set_len(at)?)
}
