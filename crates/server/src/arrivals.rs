//! When requests for objects came: counted by the millisecond, for the last ten minutes.
//!
//! All threads count into one ring, so that what falls into one second is counted together and
//! memory does not grow with the threads. A millisecond of an earlier round of the ring is told
//! from one of now by the number of its round, which stands beside its count: nothing has to be
//! cleared in time.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::Nanos;

const MS: Nanos = 1_000_000;

/// Milliseconds that are remembered: ten minutes, in 4.8 MB.
const SPAN: u64 = 600_000;

/// Milliseconds of a second, and of a bar of the histogram.
const SECOND: u64 = 1000;
const BAR: u64 = 10;

/// A histogram of arrivals.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// When the first came, plus one; 0 before that.
    first: AtomicU64,
    /// Each the round in its upper half, the count in its lower one.
    ring: Box<[OnceLock<Second>]>,
}

/// The milliseconds of a second, made when the first of them is needed.
type Second = Box<[AtomicU64]>;

impl Arrivals {
    pub(crate) fn new() -> Self {
        let ring = (0..SPAN / SECOND).map(|_| OnceLock::new()).collect();
        Self { first: AtomicU64::new(0), ring }
    }

    /// Counts a request that came at this time.
    pub(crate) fn add(&self, now: Nanos) {
        let first = match self.first.load(Ordering::Relaxed) {
            0 => {
                let set =
                    self.first.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed);
                set.map_or_else(|first| first, |_| now + 1)
            }
            first => first,
        };
        // Of threads that start together the later one may be the first to count.
        let time = (now + 1).saturating_sub(first) / MS;
        let (round, slot) = place(time);
        let second = self.ring[(slot / SECOND) as usize]
            .get_or_init(|| (0..SECOND).map(|_| AtomicU64::new(0)).collect());
        let _ = second[(slot % SECOND) as usize].fetch_update(
            Ordering::Relaxed,
            Ordering::Relaxed,
            |value| {
                match (value >> 32).cmp(&round) {
                    std::cmp::Ordering::Equal => Some(value + 1),
                    std::cmp::Ordering::Less => Some(round << 32 | 1),
                    // A thread that slept for ten minutes between clock and count.
                    std::cmp::Ordering::Greater => None,
                }
            },
        );
    }

    /// Appends what was counted until this time, as a JSON object; `all` also the histogram.
    pub(crate) fn json_into(&self, now: Nanos, all: bool, out: &mut Vec<u8>) {
        let counts = self.counts(now);
        let begin = self.begin(now) / SECOND;
        let mut most = 0_u64;
        let mut window = 0;
        for (at, &count) in counts.iter().enumerate() {
            window += u64::from(count);
            if let Some(behind) = at.checked_sub(SECOND as usize) {
                window -= u64::from(counts[behind]);
            }
            most = most.max(window);
        }
        let sums = |length: u64| counts.chunks(length as usize).map(|part| part.iter().sum());
        let _ = write!(out, "{{\"from_second\":{begin},\"most_in_1s\":{most},\"per_second\":");
        list_into(sums(SECOND), out);
        if all {
            out.extend_from_slice(b",\"per_10ms\":");
            list_into(sums(BAR), out);
        }
        out.push(b'}');
    }

    /// The first millisecond that is told: a whole second, and none that is overwritten meanwhile.
    fn begin(&self, now: Nanos) -> u64 {
        let last = self.last(now).unwrap_or(0);
        (last + 1 + SECOND).saturating_sub(SPAN).next_multiple_of(SECOND)
    }

    fn last(&self, now: Nanos) -> Option<u64> {
        match self.first.load(Ordering::Relaxed) {
            0 => None,
            first => Some((now + 1).saturating_sub(first) / MS),
        }
    }

    /// The counts from [`begin`](Self::begin) to the last that is not 0.
    fn counts(&self, now: Nanos) -> Vec<u32> {
        let Some(last) = self.last(now) else { return Vec::new() };
        let count = |time| {
            let (round, slot) = place(time);
            let value = self.ring[(slot / SECOND) as usize]
                .get()
                .map_or(0, |second| second[(slot % SECOND) as usize].load(Ordering::Relaxed));
            // The lower half.
            if value >> 32 == round { value as u32 } else { 0 }
        };
        let mut counts: Vec<u32> = (self.begin(now)..=last).map(count).collect();
        let used = counts.iter().rposition(|&count| count > 0).map_or(0, |at| at + 1);
        counts.truncate(used);
        counts
    }
}

/// The round and the place in it of a millisecond.
fn place(time: u64) -> (u64, u64) {
    (time / SPAN, time % SPAN)
}

fn list_into(numbers: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, number) in numbers.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{number}");
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn told(arrivals: &Arrivals, now: u64) -> Value {
        let mut out = Vec::new();
        arrivals.json_into(now * MS, true, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn arrivals_are_told_from_the_first_on() {
        let arrivals = Arrivals::new();
        let nothing = json!({"from_second": 0, "most_in_1s": 0, "per_second": [], "per_10ms": []});
        assert_eq!(told(&arrivals, 5000), nothing);
        for time in [5000, 5000, 5009, 5010, 5999, 6000, 6004] {
            arrivals.add(time * MS);
        }
        arrivals.add(4999 * MS);
        let told = told(&arrivals, 9000);
        assert_eq!(told["per_second"], json!([6, 2]));
        assert_eq!(told["per_10ms"].as_array().unwrap().len(), 101);
        assert_eq!(told["per_10ms"][0], 4, "the one that came in between, too");
        assert_eq!((&told["per_10ms"][1], &told["per_10ms"][100]), (&json!(1), &json!(2)));
        // From 5000 on six in a second, from 5010 on four.
        assert_eq!((&told["most_in_1s"], &told["from_second"]), (&json!(6), &json!(0)));
    }

    #[test]
    fn what_is_older_than_the_ring_is_forgotten() {
        let arrivals = Arrivals::new();
        for second in 0..2000 {
            for _ in 0..=second {
                arrivals.add((second * SECOND + 7) * MS);
            }
        }
        let told = told(&arrivals, 2000 * SECOND);
        let from = told["from_second"].as_u64().unwrap();
        let seconds = told["per_second"].as_array().unwrap();
        assert_eq!(from + seconds.len() as u64, 2000);
        assert!((598..=600).contains(&seconds.len()), "{}", seconds.len());
        assert!((from..).zip(seconds).all(|(second, count)| *count == second + 1));
        assert_eq!(told["most_in_1s"], 2000);
    }

    #[test]
    fn threads_lose_nothing() {
        let arrivals = Arrivals::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|time| arrivals.add(time * MS / 100)));
            }
        });
        let told = told(&arrivals, 1000);
        assert_eq!(told["per_second"], json!([40_000]));
    }

    proptest! {
        #[test]
        fn the_fullest_second_is_found(times in prop::collection::vec(0_u64..10_000, 1..200)) {
            let arrivals = Arrivals::new();
            arrivals.add(0);
            for time in &times {
                arrivals.add(time * MS);
            }
            let all: Vec<u64> = times.iter().copied().chain([0]).collect();
            let within = |&from: &u64| all.iter().filter(|&&t| (from..from + 1000).contains(&t)).count();
            let most = all.iter().map(within).max().unwrap();
            let told = told(&arrivals, 20_000);
            prop_assert_eq!(&told["most_in_1s"], most);
            let sum = |key: &str| told[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
            prop_assert_eq!((sum("per_second"), sum("per_10ms")), (all.len() as u64, all.len() as u64));
        }
    }
}
