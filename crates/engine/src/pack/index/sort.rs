//! Sorting entries by buckets of their hashes, which are spread evenly.
//!
//! 10 ns for each entry instead of 20-30 by comparing alone. Hashes that are not spread, because
//! somebody chose the names, cost the comparing again and nothing else.

use super::Entry;

/// Entries of one bucket, about.
const BUCKET: usize = 4;

/// Entries that are sorted by inserting one after the other; the library's way begins to pay above.
const FEW: usize = 16;

fn insert(entries: &mut [Entry]) {
    for end in 1..entries.len() {
        let entry = entries[end];
        let mut at = end;
        while at > 0 && entry < entries[at - 1] {
            entries[at] = entries[at - 1];
            at -= 1;
        }
        entries[at] = entry;
    }
}

/// Sorts entries; `room` is scratch space that is kept for the next time.
pub(super) fn sort(entries: &mut Vec<Entry>, room: &mut Vec<Entry>) {
    let (mut min, mut max) = (u64::MAX, 0);
    for entry in entries.iter() {
        min = min.min(entry.hash);
        max = max.max(entry.hash);
    }
    let buckets = (entries.len() / BUCKET).next_power_of_two();
    if buckets < 8 || min == max {
        return entries.sort_unstable();
    }
    // As many low bits go as leave fewer values than there are buckets.
    let bits = u64::BITS - (max - min).leading_zeros();
    let shift = bits.saturating_sub(buckets.trailing_zeros());
    let bucket = |entry: &Entry| ((entry.hash - min) >> shift) as usize;
    let mut ends = vec![0_u32; buckets];
    for entry in entries.iter() {
        ends[bucket(entry)] += 1;
    }
    let mut before = 0;
    for end in &mut ends {
        before += std::mem::replace(end, before);
    }
    // What was the beginning of each bucket moves to its end.
    room.clear();
    room.resize(entries.len(), Entry { hash: 0, pack: 0, place: 0 });
    for entry in entries.iter() {
        let at = &mut ends[bucket(entry)];
        room[*at as usize] = *entry;
        *at += 1;
    }
    let mut from = 0;
    for end in ends {
        let bucket = &mut room[from..end as usize];
        match bucket.len() {
            0 | 1 => {}
            2..=FEW => insert(bucket),
            _ => bucket.sort_unstable(),
        }
        from = end as usize;
    }
    std::mem::swap(entries, room);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorted_whatever_they_are(
            hashes in prop::collection::vec(prop_oneof![
                any::<u64>(), 0..4_u64, Just(u64::MAX), (u64::MAX - 9)..u64::MAX,
            ], 0..600),
        ) {
            let entry = |(place, &hash): (usize, &u64)| {
                Entry { hash, pack: (place % 7) as u32, place: place as u64 }
            };
            let mut entries: Vec<_> = hashes.iter().enumerate().map(entry).collect();
            let mut expected = entries.clone();
            expected.sort();
            sort(&mut entries, &mut Vec::new());
            prop_assert_eq!(entries, expected);
        }
    }
}
