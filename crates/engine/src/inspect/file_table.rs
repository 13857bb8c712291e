//! The files that were recorded, by the hash of their names.

use super::parts::{Manifests, Part, tell_damaged};
use super::{finding::Findings, parts};
use crate::manifest::{FileCheck, take_file};
use std::sync::atomic::{AtomicBool, Ordering};

/// A file as it was recorded: 32 bytes.
#[derive(Debug)]
pub(super) struct Row {
    hash: u128,
    pub(super) bytes: u64,
    pub(super) sum: u32,
    /// Its part of the manifest is damaged: it may be something else.
    pub(super) hint: bool,
    seen: AtomicBool,
}

/// Some of the files: those whose hashes leave this rest.
#[derive(Debug)]
pub(super) struct Table {
    /// Sorted by hash.
    rows: Vec<Row>,
    pub(super) share: Share,
    /// Objects in damaged parts of the manifest, of all shares.
    pub(super) damaged: u64,
}

/// Which files are looked at in one go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) index: u64,
    pub(super) of: u64,
}

impl Share {
    /// Whether a name is in it.
    pub(super) fn has(self, hash: u128) -> bool {
        hash as u64 % self.of == self.index
    }
}

/// The hash of a name: of 10^9 names two have the same with a probability of 10^-21.
pub(super) fn hash(name: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(name)
}

impl Table {
    /// Reads a share of the manifest; damage is told of with the first.
    pub(super) fn read(
        manifests: &mut Manifests<'_>,
        parts: &[Part],
        share: Share,
        findings: &Findings<'_>,
    ) -> Self {
        let (mut rows, mut damaged) = (Vec::new(), 0);
        for part in parts {
            let checks = manifests.read(part);
            let hint = !checks.proven;
            if hint {
                damaged += part.objects;
                if share.index == 0 {
                    tell_damaged(part, checks.bytes.len(), findings);
                }
            }
            each_file(&checks, |file| {
                let hash = hash(file.name);
                if share.has(hash) {
                    let seen = AtomicBool::new(false);
                    rows.push(Row { hash, bytes: file.bytes, sum: file.sum, hint, seen });
                }
            });
        }
        rows.sort_unstable_by_key(|row| row.hash);
        Self { rows, share, damaged }
    }

    /// What was recorded under this hash: more than once where a name was listed more than once.
    pub(super) fn rows(&self, hash: u128) -> &[Row] {
        let from = self.rows.partition_point(|row| row.hash < hash);
        let rows = &self.rows[from..];
        &rows[..rows.iter().take_while(|row| row.hash == hash).count()]
    }

    /// Whether every row was met.
    pub(super) fn is_met(&self) -> bool {
        let mut names = self.rows.chunk_by(|a, b| a.hash == b.hash);
        names.all(|rows| rows[0].seen.load(Ordering::Relaxed) || rows.iter().all(|row| row.hint))
    }
}

/// Notes that a name was met; says whether it was before.
pub(super) fn meet(rows: &[Row]) -> bool {
    rows.first().is_some_and(|row| row.seen.swap(true, Ordering::Relaxed))
}

/// Shows every file of a part, up to where it makes no sense any more.
pub(super) fn each_file(checks: &parts::Checks<'_>, mut show: impl FnMut(FileCheck<'_>)) {
    let mut rest = checks.bytes;
    while !rest.is_empty() {
        let Some(file) = take_file(&mut rest) else { return };
        show(file);
    }
}
