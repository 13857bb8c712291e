//! Which markers a listing gave before, in memory that does not grow without end.
//!
//! A marker is kept as a fingerprint of 128 bits under keys of this process: among 10^9 markers
//! two agree by chance once in 10^21 listings, so that no right listing is ever stopped, and no
//! server can make two agree.
//!
//! All of the first [`LISTING_MARKERS`] are known exactly. Beyond that every second one is
//! forgotten, chosen by its fingerprint, as often as it takes; the latest
//! [`LISTING_MARKERS_LATE`] are always known. A circle that is longer than those is then found
//! some pages late: as many, in the middle, as there are markers for each one kept.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use windrow_model::limits::{LISTING_MARKERS, LISTING_MARKERS_LATE};

/// Stands for a text, without holding it.
pub(super) type Fingerprint = u128;

/// The markers so far.
#[derive(Debug)]
pub(super) struct Trail {
    keys: (RandomState, RandomState),
    /// Sorted; those whose lowest `thinned` bits are 0.
    kept: Vec<Fingerprint>,
    thinned: u32,
    /// The latest, in two generations: when the young one is full it becomes the old one.
    young: HashSet<Fingerprint>,
    old: HashSet<Fingerprint>,
    /// Bounds, smaller in tests.
    most: usize,
    late: usize,
}

impl Default for Trail {
    fn default() -> Self {
        Self::bounded(LISTING_MARKERS, LISTING_MARKERS_LATE)
    }
}

impl Trail {
    fn bounded(most: usize, late: usize) -> Self {
        Self {
            keys: (RandomState::new(), RandomState::new()),
            kept: Vec::new(),
            thinned: 0,
            young: HashSet::new(),
            old: HashSet::new(),
            most,
            late,
        }
    }

    /// What a text is known by, in this trail.
    pub(super) fn fingerprint(&self, text: &[u8]) -> Fingerprint {
        let half = |key: &RandomState| u128::from(key.hash_one(text));
        half(&self.keys.0) << 64 | half(&self.keys.1)
    }

    /// Whether a marker was noted before.
    pub(super) fn has(&self, marker: Fingerprint) -> bool {
        self.young.contains(&marker)
            || self.old.contains(&marker)
            || self.kept.binary_search(&marker).is_ok()
    }

    /// Notes a marker that was not.
    pub(super) fn note(&mut self, marker: Fingerprint) {
        self.young.insert(marker);
        if self.young.len() >= self.late {
            self.keep_young();
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Merges the young generation into what is kept.
    fn keep_young(&mut self) {
        while self.kept.len() + self.stays_of_young() > self.most {
            self.thinned += 1;
            let thinned = self.thinned;
            self.kept.retain(|&marker| stays(marker, thinned));
        }
        let thinned = self.thinned;
        let mut young: Vec<_> =
            self.young.iter().copied().filter(|&marker| stays(marker, thinned)).collect();
        young.sort_unstable();
        // From the back, in place: the larger of the two last ones goes to the end.
        let mut left = self.kept.len();
        self.kept.resize(left + young.len(), 0);
        for end in (0..self.kept.len()).rev() {
            match young.last() {
                None => break,
                Some(&last) if left == 0 || self.kept[left - 1] < last => {
                    self.kept[end] = last;
                    young.pop();
                }
                Some(_) => {
                    left -= 1;
                    self.kept[end] = self.kept[left];
                }
            }
        }
    }

    fn stays_of_young(&self) -> usize {
        self.young.iter().filter(|&&marker| stays(marker, self.thinned)).count()
    }
}

fn stays(marker: Fingerprint, thinned: u32) -> bool {
    marker.trailing_zeros() >= thinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Notes `count` markers `from` some number on; gives the first that was noted before.
    fn walk(trail: &mut Trail, markers: impl IntoIterator<Item = u64>) -> Option<u64> {
        markers.into_iter().find(|marker| {
            let fingerprint = trail.fingerprint(&marker.to_le_bytes());
            let known = trail.has(fingerprint);
            trail.note(fingerprint);
            known
        })
    }

    #[test]
    fn a_million_markers_are_told_apart_and_all_are_known() {
        let mut trail = Trail::default();
        assert_eq!(walk(&mut trail, 0..1_000_000), None);
        assert_eq!(trail.thinned, 0);
        assert!(trail.kept.is_sorted());
        for again in (0..1_000_000).step_by(997).chain([999_999]) {
            assert!(trail.has(trail.fingerprint(&u64::to_le_bytes(again))), "{again}");
        }
        let bytes = trail.kept.len() * size_of::<Fingerprint>();
        assert!(bytes <= 16 << 20, "{bytes} bytes");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut trail = Trail::bounded(256, 16);
        assert_eq!(walk(&mut trail, 0..100_000), None);
        assert!(trail.kept.len() <= 256 && trail.kept.is_sorted());
        assert!(trail.young.len() + trail.old.len() <= 32);
        assert!(trail.thinned >= 8, "{}", trail.thinned);
        // The latest are known, however many there were.
        assert!(
            (99_984..100_000).all(|late| trail.has(trail.fingerprint(&u64::to_le_bytes(late))))
        );
    }

    #[test]
    fn a_circle_beyond_the_bound_is_found_late_but_found() {
        // Of 256 markers about one is kept: of 8,000 none with a probability of 10^-13.
        for circle in [1, 2, 15, 8_000, 30_000] {
            let mut trail = Trail::bounded(256, 16);
            assert_eq!(walk(&mut trail, 0..50_000), None);
            let pages = (0..).map(|page| 50_000 - circle + page % circle);
            let round = circle.max(16);
            let found = walk(&mut trail, pages.take(round as usize));
            assert!(found.is_some(), "a circle of {circle} pages");
            if circle <= 16 {
                assert_eq!(found, Some(50_000 - circle), "at once");
            }
        }
    }

    proptest! {
        #[test]
        fn within_the_bound_it_is_a_set(
            markers in prop::collection::vec(0..60_u64, 0..80), late in 1..20_usize,
        ) {
            let mut trail = Trail::bounded(1000, late);
            let mut model = HashSet::new();
            for marker in markers {
                let fingerprint = trail.fingerprint(&marker.to_le_bytes());
                prop_assert_eq!(trail.has(fingerprint), !model.insert(marker));
                if !trail.has(fingerprint) {
                    trail.note(fingerprint);
                }
                prop_assert!(trail.kept.is_sorted());
            }
        }
    }
}
