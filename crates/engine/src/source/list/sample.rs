//! A uniform sample of a list, in one pass.
//!
//! Each object gets a tag: a hash of the seed and of its position. The sample is the objects with the
//! least tags, so that every set of that size is as likely as any other (Fan, Muller and Rezucha,
//! 1962; Knuth, The Art of Computer Programming 2, section 3.4.2). Algorithm L (Li, 1994) draws fewer
//! numbers, but takes logarithms, whose last bit is not the same on every machine; a tag costs a
//! nanosecond, and says by itself whether a line has to be looked at.
//!
//! Memory is that of the sample: its names and targets, and some 150 bytes for each object.

use std::collections::BinaryHeap;
use windrow_model::Sheet;
use windrow_model::limits::LIST_PAGE_OBJECTS;
use windrow_model::task::{Details, Expected, Malformed};
use windrow_model::url::Origin;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Objects, at most.
    pub count: u64,
    /// What decides which; the same seed gives the same objects on every machine.
    pub seed: u64,
}

/// Says which objects are in the sample of those so far.
#[derive(Debug)]
pub(super) struct Picker {
    sample: Sample,
    /// Tags and positions of the objects picked so far, the one that goes first on top.
    picked: BinaryHeap<(u64, u64)>,
    /// Positions picked since [`Picker::taken`].
    fresh: Vec<u64>,
}

impl Picker {
    pub(super) fn new(sample: Sample) -> Self {
        Self { sample, picked: BinaryHeap::new(), fresh: Vec::new() }
    }

    /// Whether the object at `position`, the next one, is picked.
    pub(super) fn wants(&mut self, position: u64) -> bool {
        let tag = (tag(self.sample.seed, position), position);
        if (self.picked.len() as u64) < self.sample.count {
            self.picked.push(tag);
        } else {
            match self.picked.peek_mut() {
                Some(mut most) if tag < *most => *most = tag,
                _ => return false,
            }
        }
        self.fresh.push(position);
        true
    }

    /// Positions picked since the last call.
    pub(super) fn taken(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.fresh)
    }

    /// The positions of the sample, in order.
    fn positions(&self) -> Vec<u64> {
        let mut positions: Vec<_> = self.picked.iter().map(|&(_, position)| position).collect();
        positions.sort_unstable();
        positions
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014), twice: a random function of both.
fn tag(seed: u64, position: u64) -> u64 {
    mix(mix(seed).wrapping_add(position.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// An object of the sample.
#[derive(Debug)]
struct Entry {
    position: u64,
    name: Box<[u8]>,
    target: Box<[u8]>,
    origin: Option<Origin>,
    expiry: u32,
    expected: Expected,
    /// The line and what is wrong with it.
    malformed: Option<(u64, &'static str)>,
}

/// Collects a sample.
#[derive(Debug, Default)]
pub(super) struct Reservoir {
    entries: Vec<Entry>,
}

impl Reservoir {
    /// Adds the objects of a page; those that are in the sample no more go as soon as they are half
    /// of what is held.
    pub(super) fn add(&mut self, sheet: &Sheet, picker: &mut Picker) {
        let Some(details) = &sheet.details else { return };
        for (index, position) in picker.taken().into_iter().enumerate() {
            let origin = details.origin.get(index).copied().unwrap_or(Details::NOWHERE);
            self.entries.push(Entry {
                position,
                name: sheet.names.get(index).unwrap_or_default().into(),
                target: details.targets.get(index).unwrap_or_default().into(),
                origin: details.origins.get(origin as usize).cloned(),
                expiry: details.expiry.get(index).copied().unwrap_or(0),
                expected: details.expected.get(index).copied().unwrap_or_default(),
                malformed: details.malformed(index).map(|line| (line.line, line.why)),
            });
        }
        if self.entries.len() > 2 * picker.picked.len() + LIST_PAGE_OBJECTS {
            self.settle(picker);
        }
    }

    /// Lets go of what is not in the sample.
    pub(super) fn settle(&mut self, picker: &Picker) {
        let positions = picker.positions();
        self.entries.retain(|entry| positions.binary_search(&entry.position).is_ok());
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The page that begins with object `from` of the sample.
    pub(super) fn sheet(&self, from: usize) -> Sheet {
        let mut sheet = Sheet::default();
        let mut details = Details::default();
        let entries = self.entries.get(from..).unwrap_or_default();
        let mut known = std::collections::HashMap::new();
        for (index, entry) in entries.iter().take(LIST_PAGE_OBJECTS).enumerate() {
            // What one page could hold before, some pages of a sample could not: 1,000 objects of
            // 192 KiB at most are far below 4 GiB.
            let _ = sheet.names.push(&entry.name);
            let _ = details.targets.push(&entry.target);
            let origin = entry.origin.as_ref().map_or(Details::NOWHERE, |origin| {
                *known.entry(origin).or_insert_with(|| {
                    details.origins.push(origin.clone());
                    details.origins.len() as u32 - 1
                })
            });
            details.origin.push(origin);
            details.expiry.push(entry.expiry);
            details.expected.push(entry.expected);
            if let Some((line, why)) = entry.malformed {
                details.malformed.push(Malformed { index: index as u32, line, why });
            }
        }
        if details.expiry.iter().all(|&expiry| expiry == 0) {
            details.expiry.clear();
        }
        if details.expected.iter().all(|&expected| expected == Expected::default()) {
            details.expected.clear();
        }
        sheet.details = Some(Box::new(details));
        sheet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: u64, seed: u64, of: u64) -> Vec<u64> {
        let mut picker = Picker::new(Sample { count, seed });
        (0..of).for_each(|position| {
            picker.wants(position);
        });
        picker.positions()
    }

    #[test]
    fn a_seed_gives_the_same_sample_everywhere() {
        assert_eq!(sample(5, 7, 1000), SEED_7);
        assert_eq!(sample(5, 7, 3), [0, 1, 2]);
        assert!(sample(0, 7, 1000).is_empty());
        assert_ne!(sample(5, 8, 1000), SEED_7);
        // A larger sample holds the smaller one.
        assert!(SEED_7.iter().all(|position| sample(50, 7, 1000).contains(position)));
    }

    #[test]
    fn every_object_is_as_likely() {
        // 4,000 samples of 10 in 100: each object in 400, give or take 19; seven times that is
        // beyond 10^-11, and the seeds are always the same.
        let mut counts = [0_i32; 100];
        for seed in 0..4000 {
            for position in sample(10, seed, 100) {
                counts[position as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (count - 400).abs() < 133), "{counts:?}");
    }

    /// Fixed for ever: a run that is resumed counts on it.
    const SEED_7: [u64; 5] = [111, 263, 343, 845, 901];
}
