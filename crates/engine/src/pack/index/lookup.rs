//! Looking a name up: a few pages of a file of any size.

use super::run::{Opened, PER_PAGE};
use super::survey::{Survey, survey};
use super::{Entry, hash};
use crate::disk::Disk;
use roaring::RoaringBitmap;
use std::io;
use windrow_model::limits::INDEX_FILES;

/// The index of a destination, open for reading.
#[derive(Debug)]
pub struct Index<'d> {
    disk: &'d dyn Disk,
    files: Vec<File>,
    covers: RoaringBitmap,
    damaged: Vec<(String, io::Error)>,
}

#[derive(Debug)]
struct File {
    name: String,
    /// Kept open, of the first [`INDEX_FILES`].
    opened: Option<Opened>,
}

impl<'d> Index<'d> {
    /// Opens what is there of an index; where none is, it has no entries and covers no pack.
    ///
    /// # Errors
    /// The environment's.
    pub fn open(disk: &'d dyn Disk, owner: u64) -> io::Result<Self> {
        let Survey { files, covers, damaged, waste: _ } = survey(disk, owner)?;
        let open = |(index, (name, _)): (usize, (String, _))| {
            let opened = (index < INDEX_FILES).then(|| Opened::open(disk, &name)).transpose()?;
            Ok(File { name, opened })
        };
        let files = files.into_iter().enumerate().map(open).collect::<io::Result<_>>()?;
        Ok(Self { disk, files, covers, damaged })
    }

    /// One that has nothing, whatever is there.
    pub fn empty(disk: &'d dyn Disk) -> Self {
        Self { disk, files: Vec::new(), covers: RoaringBitmap::new(), damaged: Vec::new() }
    }

    /// Whether all objects of a pack are in it.
    pub fn covers(&self, pack: u32) -> bool {
        self.covers.contains(pack)
    }

    /// Files of which it consists. Each one more makes looking up slower: [`super::merge`].
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Files that are damaged, and how: [`super::merge`] takes them away.
    pub fn damaged(&self) -> &[(String, io::Error)] {
        &self.damaged
    }

    /// Where objects of this name may lie: pack and place of each whose hash is the same, in the
    /// order of pack and place within each file of the index. Whoever asks compares the names. Where
    /// a name was stored more than once, the last in that order over all files is the latest of
    /// its core.
    ///
    /// An error ends it: a page is damaged (`InvalidData`), or the environment's.
    pub fn lookup(&self, name: &[u8]) -> Candidates<'_> {
        self.lookup_hash(hash(name))
    }

    pub(super) fn lookup_hash(&self, hash: u64) -> Candidates<'_> {
        let page = Vec::with_capacity(PER_PAGE);
        Candidates { index: self, hash, file: 0, at: None, page, next: 0 }
    }
}

/// See [`Index::lookup`].
#[derive(Debug)]
pub struct Candidates<'i> {
    index: &'i Index<'i>,
    hash: u64,
    /// The file at hand.
    file: usize,
    /// Number of its page that is behind `page`; `None` before the first.
    at: Option<u64>,
    page: Vec<Entry>,
    /// The next entry of `page`.
    next: usize,
}

impl Candidates<'_> {
    fn step(&mut self) -> io::Result<Option<(u32, u64)>> {
        while let Some(file) = self.index.files.get(self.file) {
            let reopened;
            let opened = match &file.opened {
                Some(opened) => opened,
                None => {
                    reopened = Opened::open(self.index.disk, &file.name)?;
                    &reopened
                }
            };
            if self.at.is_none() {
                self.at = Some(first(opened, self.hash, &mut self.page)?);
                self.next = self.page.partition_point(|entry| entry.hash < self.hash);
            }
            loop {
                if let Some(entry) = self.page.get(self.next) {
                    if entry.hash != self.hash {
                        break;
                    }
                    self.next += 1;
                    return Ok(Some((entry.pack, entry.place)));
                }
                let Some(at) = self.at.filter(|at| *at < opened.pages()) else { break };
                self.page.clear();
                opened.page(at, &mut self.page)?;
                (self.at, self.next) = (Some(at + 1), 0);
            }
            (self.file, self.at) = (self.file + 1, None);
        }
        Ok(None)
    }
}

impl Iterator for Candidates<'_> {
    type Item = io::Result<(u32, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.file = usize::MAX;
        }
        step.transpose()
    }
}

/// Guesses before the pages left are halved instead.
const GUESSES: u32 = 6;

/// Reads the page that has the first entry which is not less than a hash, if there is one; gives
/// the number of the page behind it.
///
/// Hashes are spread evenly, so where one lies is nearly known: two or three pages are read however
/// many there are. Where somebody chose the names, it is a binary search after some guesses.
fn first(file: &Opened, hash: u64, page: &mut Vec<Entry>) -> io::Result<u64> {
    let (mut from, mut to) = (0, file.pages());
    let (mut low, mut high) = (0, u64::MAX);
    let mut guesses = 0;
    page.clear();
    while from < to {
        let (span, width) = (u128::from(to - from), u128::from(high.saturating_sub(low)) + 1);
        let guess = match guesses < GUESSES {
            true => u128::from(hash.saturating_sub(low)) * span / width,
            false => span / 2,
        };
        guesses += 1;
        let at = from + (guess as u64).min(to - from - 1);
        page.clear();
        file.page(at, page)?;
        let (Some(head), Some(last)) = (page.first(), page.last()) else { break };
        if last.hash < hash {
            (from, low) = (at + 1, last.hash);
        } else if head.hash < hash || at == from {
            // It is in this page: the one before ends with less.
            return Ok(at + 1);
        } else {
            (to, high) = (at, head.hash);
        }
    }
    // What is read is a page before; the caller takes the next from here.
    page.clear();
    Ok(from)
}
