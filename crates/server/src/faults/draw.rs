//! Chance without chance: what happens to a request is a function of the seed, of what it asks
//! for, and of how often that was asked for.
//!
//! So neither the order in which connections are served nor the number of threads changes which
//! object meets which fault, and the attempt after a fault is drawn anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bits of a draw: as many as a rate, an `f64`, is exact to.
const BITS: u32 = 53;

/// Every draw lies below this one.
pub(super) const CERTAIN: u64 = 1 << BITS;

/// Paths whose number of requests is remembered: [`SHARDS`] x [`SETS`] x [`WAYS`] entries of
/// eight bytes, 1 MiB whatever the number of objects.
const SHARDS: usize = 64;
const SETS: usize = 256;
const WAYS: usize = 8;

/// SplitMix64's step and finalizer, as in the synthetic corpus.
fn mix(z: u64) -> u64 {
    let mut z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Everything random about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw(u64);

impl Draw {
    /// The draw of the request that has `turn` others for the same before it. `path` comes out
    /// of [`hash`].
    pub(super) fn new(path: u64, turn: u32) -> Self {
        Self(mix(path ^ mix(u64::from(turn))))
    }

    /// What decides which fault it is: evenly spread below [`CERTAIN`].
    pub(super) fn share(self) -> u64 {
        self.0 >> (u64::BITS - BITS)
    }

    /// Where in an answer it happens: below `end`, and 0 if that is 0.
    pub(super) fn place(self, end: u64) -> u64 {
        mix(self.0).checked_rem(end).unwrap_or(0)
    }
}

/// A path as a number; another seed gives another one.
pub(super) fn hash(seed: u64, path: &[u8]) -> u64 {
    let start = mix(seed ^ mix(path.len() as u64));
    path.chunks(8).fold(start, |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(state ^ u64::from_le_bytes(word))
    })
}

/// How often each path was asked for, in a table of fixed size.
///
/// A path has one set, of [`WAYS`] entries. When it is full, the one whose path waited longest
/// since its last request goes, but those go first that were answered whole: a client is bound to
/// come back only for what it did not get. So one fetch of any number of objects is counted exactly
/// while no set has more than eight objects to be tried again (in all that is tens of thousands),
/// and a path that was forgotten counts from the beginning.
#[derive(Debug)]
pub(super) struct Turns(Box<[Mutex<Box<[Set]>>]>);

/// Entries in the order of their last request, the latest first; empty ones last.
type Set = [Entry; WAYS];

/// The upper part of the path's hash, whether the last answer was whole, and the turns so far.
#[derive(Debug, Clone, Copy, Default)]
struct Entry(u64);

impl Entry {
    const TURN_BITS: u32 = 20;
    const MAX_TURN: u64 = (1 << Self::TURN_BITS) - 1;
    const OWED: u64 = 1 << Self::TURN_BITS;
    const TAG: u64 = !(Self::OWED | Self::MAX_TURN);

    fn turns(self) -> u64 {
        self.0 & Self::MAX_TURN
    }

    fn is_owed(self) -> bool {
        self.0 & Self::OWED != 0
    }
}

impl Turns {
    pub(super) fn new() -> Self {
        let shard = |_| Mutex::new(vec![Set::default(); SETS].into_boxed_slice());
        Self((0..SHARDS).map(shard).collect())
    }

    /// Counts a request: `answer` gets the number of requests for the same path before it, and
    /// gives what it comes to and whether the client still lacks the object then.
    pub(super) fn take<T>(&self, path: u64, answer: impl FnOnce(u32) -> (T, bool)) -> T {
        let mut shard = self.shard(path);
        let set = &mut shard[(path as usize / SHARDS) % SETS];
        let tag = path & Entry::TAG;
        let known = set.iter().position(|entry| entry.turns() > 0 && entry.0 & Entry::TAG == tag);
        let at = known.unwrap_or_else(|| {
            let free = set.iter().position(|entry| entry.turns() == 0);
            free.or_else(|| set.iter().rposition(|entry| !entry.is_owed())).unwrap_or(WAYS - 1)
        });
        let turn = known.map_or(0, |at| set[at].turns());
        let (outcome, owed) = answer(turn as u32);
        set[at] = Entry(tag | if owed { Entry::OWED } else { 0 } | (turn + 1).min(Entry::MAX_TURN));
        set[..=at].rotate_right(1);
        outcome
    }

    fn shard(&self, path: u64) -> MutexGuard<'_, Box<[Set]>> {
        // A set is whole after every statement, so a thread that panicked left nothing half done.
        self.0[path as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(turns: &Turns, path: u64, owed: bool) -> u32 {
        turns.take(path, |turn| (turn, owed))
    }

    #[test]
    fn draws_depend_on_seed_path_and_turn_and_on_nothing_else() {
        let draw = |seed, path: &str, turn| Draw::new(hash(seed, path.as_bytes()), turn);
        let one = draw(7, "/get/a", 0);
        assert_eq!(one, draw(7, "/get/a", 0));
        for other in [draw(8, "/get/a", 0), draw(7, "/get/b", 0), draw(7, "/get/a", 1)] {
            assert_ne!(one, other);
        }
        // What was drawn once is drawn for ever: users note seeds.
        assert_eq!(one.share(), 9_002_764_713_844_924);
        // Bytes that are not there are not zero bytes.
        assert_ne!(hash(0, b"a"), hash(0, b"a\0"));
        assert_ne!(hash(0, b""), hash(0, &[0; 8]));
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut shares = [0_u32; 10];
        let mut places = [0_u32; 10];
        for n in 0..100_000_u32 {
            let draw = Draw::new(hash(1, &(n / 4).to_le_bytes()), n % 4);
            assert!(draw.share() < CERTAIN);
            shares[(draw.share() * 10 / CERTAIN) as usize] += 1;
            places[draw.place(10) as usize] += 1;
        }
        // 10,000 each; six times the standard deviation of 95.
        for count in shares.into_iter().chain(places) {
            assert!(count.abs_diff(10_000) < 570, "{shares:?} {places:?}");
        }
        assert_eq!(Draw::new(1, 1).place(0), 0);
    }

    #[test]
    fn turns_are_counted_for_each_path() {
        let turns = Turns::new();
        for expected in 0..100 {
            for path in 0..1000_u64 {
                let path = hash(0, &path.to_le_bytes());
                assert_eq!(turn(&turns, path, false), expected);
            }
        }
        // A counter that is full stays full.
        for _ in 0..=Entry::MAX_TURN {
            turn(&turns, 5, false);
        }
        assert_eq!(u64::from(turn(&turns, 5, false)), Entry::MAX_TURN);
    }

    #[test]
    fn what_is_owed_is_remembered_whatever_else_is_asked_for() {
        let turns = Turns::new();
        let path = |n: u64| hash(3, &n.to_le_bytes());
        // Fewer than one in a hundred sets gets more than eight of these.
        let owed = 0..20_000;
        for n in owed.clone() {
            turn(&turns, path(n), true);
        }
        for n in 1_000_000..2_000_000 {
            turn(&turns, path(n), false);
        }
        let kept = owed.filter(|&n| turn(&turns, path(n), false) == 1).count();
        assert!(kept > 19_990, "{kept}");
    }

    #[test]
    fn a_full_set_forgets_what_was_answered_first_and_then_the_oldest() {
        let turns = Turns::new();
        // All of one set: they differ in the tag only.
        let path = |n: u64| n << 32;
        for n in 1..=8 {
            turn(&turns, path(n), n != 5);
        }
        assert_eq!(turn(&turns, path(9), true), 0, "takes the place of 5");
        assert_eq!(turn(&turns, path(10), true), 0, "takes the place of 1");
        for (n, expected) in [(2, 1), (3, 1), (4, 1), (6, 1), (9, 1), (10, 1)] {
            assert_eq!(turn(&turns, path(n), true), expected, "{n}");
        }
        assert_eq!(turn(&turns, path(1), true), 0);
        assert_eq!(turn(&turns, path(5), true), 0);
    }
}
