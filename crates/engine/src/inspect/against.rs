//! The synthetic corpus as a witness beside the manifest.

use super::finding::{Finding, Findings, Kind};
use roaring::RoaringTreemap;
use std::sync::{Mutex, PoisonError};
use windrow_model::{Corpus, Ordinal};

/// A corpus, and which of its objects were found. Ordinals are kept as compressed sets: 125 MB for
/// 10^9 of them at most, little where they lie in a row.
pub(super) struct Against {
    pub(super) corpus: Corpus,
    found: Mutex<RoaringTreemap>,
}

impl Against {
    pub(super) fn new(corpus: Corpus) -> Self {
        Self { corpus, found: Mutex::default() }
    }

    /// Notes that these are there, in `file`; empties the list.
    pub(super) fn note(&self, ordinals: &mut Vec<Ordinal>, file: &[u8], findings: &Findings<'_>) {
        ordinals.sort_unstable();
        let mut doubled: Vec<Ordinal> =
            ordinals.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        ordinals.dedup();
        let set: RoaringTreemap = ordinals.drain(..).collect();
        {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            doubled.extend(&*found & &set);
            *found |= set;
        }
        for ordinal in doubled {
            let detail = "the corpus has it once".to_owned();
            self.tell(Kind::Doubled, ordinal, file, detail, findings);
        }
    }

    /// Tells of every object that was not found.
    pub(super) fn tell_missing(&self, findings: &Findings<'_>) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = 0;
        for ordinal in found.iter().chain([self.corpus.count]) {
            for missing in next..ordinal {
                if findings.stopped() {
                    return;
                }
                let detail = "the corpus has it".to_owned();
                self.tell(Kind::Missing, missing, b"", detail, findings);
            }
            next = ordinal + 1;
        }
    }

    fn tell(&self, kind: Kind, ordinal: Ordinal, file: &[u8], detail: String, to: &Findings<'_>) {
        let mut name = Vec::new();
        self.corpus.name_into(ordinal, &mut name);
        to.tell(&Finding { kind, name, file: file.to_owned(), offset: None, objects: 1, detail });
    }
}

/// A body that goes by in pieces: its checksum, and whether it is the corpus's.
pub(super) struct Body<'a> {
    sum: u32,
    bytes: u64,
    corpus: Option<(&'a Corpus, Ordinal)>,
    same: bool,
    expected: Vec<u8>,
}

impl<'a> Body<'a> {
    /// Pieces of a body are multiples of so many bytes, but for the last.
    pub(super) const PIECE: usize = 8;

    pub(super) fn new(name: &[u8], against: Option<&'a Against>) -> (Self, Option<Ordinal>) {
        let corpus = against.map(|against| &against.corpus);
        let ordinal = corpus.and_then(|corpus| corpus.ordinal_of(name));
        let sum = crc32c::crc32c(name);
        let corpus = corpus.zip(ordinal);
        (Self { sum, bytes: 0, corpus, same: corpus.is_some(), expected: Vec::new() }, ordinal)
    }

    pub(super) fn piece(&mut self, piece: &[u8]) {
        self.sum = crc32c::crc32c_append(self.sum, piece);
        if let Some((corpus, ordinal)) = self.corpus
            && self.same
        {
            self.expected.clear();
            self.same = self.bytes + piece.len() as u64 <= corpus.size;
            if self.same {
                corpus.body_part_into(ordinal, self.bytes, piece.len(), &mut self.expected);
                self.same = self.expected == piece;
            }
        }
        self.bytes += piece.len() as u64;
    }

    pub(super) fn sum(&self) -> u32 {
        self.sum
    }

    /// Whether it is an object of the corpus, whole.
    pub(super) fn is_corpus(&self) -> bool {
        self.same && self.corpus.is_some_and(|(corpus, _)| corpus.size == self.bytes)
    }
}
