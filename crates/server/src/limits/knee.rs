//! `--knee`, `--latency` and `--jitter`: how long a server works on a request, and on how many at
//! once.
//!
//! No request is really worked on: when it comes, it is known when its answer leaves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Nanos, nanos};

/// Most requests at once that can be named.
const MAX_PLACES: usize = 1_000_000;

/// Requests in flight, at most; whatever comes then is answered with 503.
const MAX_IN_FLIGHT: usize = 1 << 20;

/// Longest time that a server which slows down takes for an answer.
const SLOWEST: Nanos = 60 * super::SECOND;

/// How many requests a server works on at once, and what it does with more; read from text such
/// as `64` or `64,slow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knee {
    places: usize,
    beyond: Beyond,
}

/// What becomes of the requests that are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    /// They wait in line.
    Queue,
    /// They are answered with 503 at once.
    Hard,
    /// They are taken on, and everything takes longer.
    Slow,
}

impl FromStr for Knee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (places, beyond) = text.split_once(',').unwrap_or((text, "queue"));
        let digits = places.bytes().all(|byte| byte.is_ascii_digit());
        let places = places.parse().ok().filter(|n| digits && (1..=MAX_PLACES).contains(n));
        let places = places.ok_or_else(|| format!("`{text}`: a knee is at 1 to {MAX_PLACES}"))?;
        let beyond = match beyond.trim() {
            "queue" => Beyond::Queue,
            "hard" => Beyond::Hard,
            "slow" => Beyond::Slow,
            _ => return Err(format!("`{text}`: behind the knee there are queue, hard and slow")),
        };
        Ok(Self { places, beyond })
    }
}

impl fmt::Display for Knee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.places)?;
        f.write_str(match self.beyond {
            Beyond::Queue => "",
            Beyond::Hard => ",hard",
            Beyond::Slow => ",slow",
        })
    }
}

/// The requests in flight.
#[derive(Debug)]
pub(super) struct Service {
    knee: Option<Knee>,
    latency: Nanos,
    jitter: Nanos,
    /// Steps with each request that is taken on.
    chance: u64,
    /// When each answer leaves; those of the past are dropped with the next request.
    leaving: BinaryHeap<Reverse<Nanos>>,
    /// With a line: when each place that was ever used is free again.
    places: BinaryHeap<Reverse<Nanos>>,
    most: usize,
}

impl Service {
    pub(super) fn new(knee: Option<Knee>, latency: Duration, jitter: Duration, seed: u64) -> Self {
        Self {
            knee,
            latency: nanos(latency),
            jitter: nanos(jitter),
            chance: seed,
            leaving: BinaryHeap::new(),
            places: BinaryHeap::new(),
            most: 0,
        }
    }

    /// Takes a request on: when its answer leaves, or `None` if it is one too many. Time does not
    /// run backwards between two calls.
    pub(super) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        while self.leaving.peek().is_some_and(|&Reverse(time)| time <= now) {
            self.leaving.pop();
        }
        let before = self.leaving.len();
        let full = self.knee.is_some_and(|knee| match knee.beyond {
            Beyond::Hard => before >= knee.places,
            Beyond::Queue | Beyond::Slow => false,
        });
        if full || before >= MAX_IN_FLIGHT {
            return None;
        }
        let time = self.latency.saturating_add(self.draw());
        let due = match self.knee {
            Some(Knee { places, beyond: Beyond::Queue }) => {
                let free = if self.places.len() < places { None } else { self.places.pop() };
                let begin = free.map_or(now, |Reverse(free)| free.max(now));
                let end = begin.saturating_add(time);
                self.places.push(Reverse(end));
                end
            }
            Some(Knee { places, beyond: Beyond::Slow }) => {
                let load = ((before + 1) as f64 / places as f64).max(1.0);
                now.saturating_add(((time as f64 * load * load) as Nanos).min(SLOWEST.max(time)))
            }
            Some(Knee { beyond: Beyond::Hard, .. }) | None => now.saturating_add(time),
        };
        self.leaving.push(Reverse(due));
        self.most = self.most.max(self.leaving.len());
        Some(due)
    }

    /// The most requests that were in flight at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The latency of requests that take no place.
    pub(super) fn latency(&self) -> Nanos {
        self.latency
    }

    /// Evenly spread from 0 to the jitter (SplitMix64).
    fn draw(&mut self) -> Nanos {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let share = (u128::from(z) * (u128::from(self.jitter) + 1)) >> 64;
        Nanos::try_from(share).unwrap_or(self.jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn service(knee: &str, latency: u64, jitter: u64) -> Service {
        let knee = (!knee.is_empty()).then(|| knee.parse().unwrap());
        Service::new(knee, Duration::from_nanos(latency), Duration::from_nanos(jitter), 7)
    }

    #[test]
    fn a_knee_and_what_is_beyond_it() {
        for (text, places, beyond) in [
            ("1", 1, Beyond::Queue),
            ("64", 64, Beyond::Queue),
            ("8,hard", 8, Beyond::Hard),
            ("1000000,slow", 1_000_000, Beyond::Slow),
        ] {
            let knee: Knee = text.parse().unwrap();
            assert_eq!(knee, Knee { places, beyond });
            assert_eq!(knee.to_string(), text);
        }
        assert_eq!("8, queue".parse::<Knee>().unwrap().to_string(), "8");
        for (text, says) in [
            ("", "1 to 1000000"),
            ("0", "1 to 1000000"),
            ("+1", "1 to 1000000"),
            ("1000001", "1 to 1000000"),
            ("8,", "queue, hard and slow"),
            ("8,soft", "queue, hard and slow"),
            ("8,hard,slow", "queue, hard and slow"),
        ] {
            let why = text.parse::<Knee>().expect_err(text);
            assert!(why.starts_with(&format!("`{text}`: ")) && why.contains(says), "{why}");
        }
    }

    #[test]
    fn each_model_by_hand() {
        // Latency 100; arrivals, and when their answers leave.
        for (knee, expected) in [
            (
                "",
                [(0, Some(100)), (0, Some(100)), (0, Some(100)), (50, Some(150)), (99, Some(199))],
            ),
            (
                "2",
                [(0, Some(100)), (0, Some(100)), (0, Some(200)), (50, Some(200)), (99, Some(300))],
            ),
            ("2,hard", [(0, Some(100)), (0, Some(100)), (0, None), (99, None), (100, Some(200))]),
            // 100 x (3/2)^2, x (4/2)^2; then two are left, so that the next is the third.
            (
                "2,slow",
                [(0, Some(100)), (0, Some(100)), (0, Some(225)), (0, Some(400)), (100, Some(325))],
            ),
        ] {
            let mut service = service(knee, 100, 0);
            for (at, (now, due)) in expected.into_iter().enumerate() {
                assert_eq!(service.take(now), due, "{knee}: request {at}");
            }
        }
    }

    #[test]
    fn a_collapse_has_an_end() {
        let mut slow = service("1,slow", super::super::SECOND, 0);
        let last = (0..1000).map(|_| slow.take(0).unwrap()).max();
        assert_eq!(last, Some(SLOWEST));
        assert_eq!(slow.most(), 1000);
        // Those that were in flight are gone by then.
        assert_eq!(slow.take(SLOWEST), Some(SLOWEST + super::super::SECOND));
    }

    #[test]
    fn a_line_has_an_end() {
        let mut queue = service("1", 1, 0);
        assert!((0..MAX_IN_FLIGHT).all(|_| queue.take(0).is_some()));
        assert_eq!(queue.take(0), None);
        assert_eq!(queue.take(1), Some(MAX_IN_FLIGHT as u64 + 1));
    }

    /// A client with so many requests open at all times: what a model answers in a second.
    fn throughput(knee: &str, open: usize) -> usize {
        let mut service = service(knee, 10_000_000, 0);
        let mut ends: BinaryHeap<Reverse<Nanos>> = (0..open).map(|_| Reverse(0)).collect();
        let mut answers = 0;
        while let Some(Reverse(now)) = ends.pop() {
            if now >= super::super::SECOND {
                break;
            }
            // A refused client waits as long as an answer would have taken.
            let due = service.take(now);
            answers += usize::from(due.is_some());
            ends.push(Reverse(due.unwrap_or(now + 10_000_000)));
        }
        answers
    }

    #[test]
    fn throughput_has_its_knee_where_it_was_asked_for() {
        for open in [1, 4, 8] {
            for knee in ["", "8", "8,hard", "8,slow"] {
                assert_eq!(throughput(knee, open), open * 100, "{knee}, {open} open");
            }
        }
        for open in [9, 16, 80] {
            assert_eq!(throughput("", open), open * 100);
            // In line: no more than at the knee, but for those that are still waiting at the end.
            assert!((800..=800 + open).contains(&throughput("8", open)), "{open}");
            assert!((700..=800).contains(&throughput("8,hard", open)), "{open}");
        }
        let slow = [8, 16, 32, 64].map(|open| throughput("8,slow", open));
        assert!(slow.is_sorted_by(|more, less| more > less), "the more, the less: {slow:?}");
    }

    proptest! {
        #[test]
        fn models_keep_their_word(
            kind in prop::sample::select(vec!["", ",hard", ",slow", ",queue"]),
            places in 1_usize..9, latency in 1_u64..1000, jitter in 0_u64..100,
            gaps in prop::collection::vec(0_u64..300, 1..200),
        ) {
            let knee = format!("{places}{kind}");
            let mut service = service(&knee, latency, jitter);
            let (mut now, mut ends, mut last): (u64, Vec<u64>, u64) = (0, Vec::new(), 0);
            for gap in gaps {
                now += gap;
                ends.retain(|&end| end > now);
                let due = service.take(now);
                prop_assert_eq!(due.is_none(), kind == ",hard" && ends.len() >= places);
                let Some(due) = due else { continue };
                prop_assert!(due >= now + latency);
                if kind != ",slow" && ends.len() < places {
                    prop_assert!(due <= now + latency + jitter);
                }
                if jitter == 0 && matches!(kind, "" | ",queue") {
                    prop_assert!(due >= last, "a line is kept in order");
                    last = due;
                }
                ends.push(due);
            }
        }

        #[test]
        fn jitter_is_spread_evenly(seed in any::<u64>()) {
            let mut service = Service::new(None, Duration::ZERO, Duration::from_nanos(9), seed);
            let mut counts = [0_u32; 10];
            for _ in 0..10_000 {
                counts[service.draw() as usize] += 1;
            }
            // 1,000 each; seven times the standard deviation of 30.
            prop_assert!(counts.iter().all(|count| count.abs_diff(1000) < 210), "{:?}", counts);
        }
    }
}
