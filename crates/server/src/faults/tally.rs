//! What happened so far: counted by each thread for itself, added up when somebody asks.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::json;
use crate::worker::Counters;

/// The counters of one thread. Only that thread writes, with plain stores.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Tally {
    pub(super) objects: AtomicU64,
    pub(super) listings: AtomicU64,
    pub(super) early: AtomicU64,
    pub(super) outages: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) loops: AtomicU64,
    /// By the index of the rule.
    pub(super) faults: Box<[AtomicU64]>,
    /// Answers to requests for objects and pages, by status.
    statuses: Box<[AtomicU64]>,
    /// Connections by the number of their requests; the place is the number's decimal digits.
    reuse: [AtomicU64; REUSE.len()],
    /// The most requests on one connection.
    most: AtomicU64,
}

/// How connections are called by the number of their requests, by [`rank`].
const REUSE: [&str; 6] = ["0", "1", "2-9", "10-99", "100-999", "1000+"];

fn rank(requests: u64) -> usize {
    match requests {
        0 | 1 => requests as usize,
        more => (more.ilog10() as usize + 2).min(REUSE.len() - 1),
    }
}

/// Statuses are below this.
const STATUSES: usize = 600;

impl Tally {
    pub(super) fn new(rules: usize) -> Self {
        Self {
            objects: AtomicU64::new(0),
            listings: AtomicU64::new(0),
            early: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            loops: AtomicU64::new(0),
            faults: (0..rules).map(|_| AtomicU64::new(0)).collect(),
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            reuse: Default::default(),
            most: AtomicU64::new(0),
        }
    }

    /// Counts the status of an answer, which begins with its head or is nothing.
    pub(super) fn status(&self, answer: &[u8]) {
        let Some(digits) = answer.get(9..12) else { return };
        let status = digits.iter().fold(0, |n, digit| 10 * n + usize::from(digit & 15));
        if let Some(counter) = self.statuses.get(status) {
            count(counter, 1);
        }
    }

    /// Counts that a connection had so many requests before and has so many now.
    pub(super) fn reused(&self, before: u64, now: u64) {
        if rank(now) != rank(before) || now == 0 {
            count(&self.reuse[rank(now)], 1);
            if now > 0 {
                let counter = &self.reuse[rank(before)];
                counter.store(counter.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            }
        }
        if now > self.most.load(Ordering::Relaxed) {
            self.most.store(now, Ordering::Relaxed);
        }
    }
}

/// Adds to a counter of the thread that calls.
pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// Appends everything that was counted, as a JSON object without its end; `kinds` are the names
/// of the rules.
pub(super) fn stats_into(
    kinds: &[String],
    tallies: &[Tally],
    counters: &[Arc<Counters>],
    out: &mut Vec<u8>,
) {
    let sum = |of: fn(&Tally) -> &AtomicU64| -> u64 {
        tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed)).sum()
    };
    let all = |of: fn(&Counters) -> &AtomicU64| -> u64 {
        counters.iter().map(|counters| of(counters).load(Ordering::Relaxed)).sum()
    };
    // A kind may have several rules, with one argument each.
    let mut faults: Vec<(&str, u64)> = Vec::new();
    let mut add = |kind, more| match faults.iter_mut().find(|(name, _)| *name == kind) {
        Some((_, count)) => *count += more,
        None => faults.push((kind, more)),
    };
    for (rule, kind) in kinds.iter().enumerate() {
        add(kind, tallies.iter().map(|tally| tally.faults[rule].load(Ordering::Relaxed)).sum());
    }
    for (kind, count) in [
        ("outage", sum(|tally| &tally.outages)),
        ("duplicate-names", sum(|tally| &tally.duplicates)),
        ("marker-loop", sum(|tally| &tally.loops)),
    ] {
        if count > 0 {
            add(kind, count);
        }
    }
    write!(
        out,
        "{{\"requests\":{},\"connections\":{},\"bytes\":{},\"objects\":{},\"listings\":{},\
         \"early\":{},\"faults\":{{",
        all(|counters| &counters.requests),
        all(|counters| &counters.connections),
        all(|counters| &counters.bytes),
        sum(|tally| &tally.objects),
        sum(|tally| &tally.listings),
        sum(|tally| &tally.early),
    )
    .expect("a vector takes what is written");
    for (at, (kind, count)) in faults.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::string_into(kind, out);
        write!(out, ":{count}").expect("a vector takes what is written");
    }
    out.extend_from_slice(b"},\"statuses\":{");
    let mut comma = "";
    for status in 0..STATUSES {
        let count: u64 =
            tallies.iter().map(|tally| tally.statuses[status].load(Ordering::Relaxed)).sum();
        if count > 0 {
            let _ = write!(out, "{comma}\"{status}\":{count}");
            comma = ",";
        }
    }
    out.extend_from_slice(b"},\"connection_requests\":{");
    comma = "";
    for (rank, name) in REUSE.iter().enumerate() {
        let count: u64 =
            tallies.iter().map(|tally| tally.reuse[rank].load(Ordering::Relaxed)).sum();
        let _ = write!(out, "{comma}\"{name}\":{count}");
        comma = ",";
    }
    let most = tallies.iter().map(|tally| tally.most.load(Ordering::Relaxed)).max();
    let _ = write!(out, "}},\"most_on_one_connection\":{}", most.unwrap_or(0));
}

/// Until when clients were asked to stay away.
///
/// A request that was on its way when the answer was written is nobody's fault, so a span begins
/// only some grace after the answer.
#[derive(Debug)]
pub(super) struct Announced {
    start: Instant,
    grace: Duration,
    /// Two times in milliseconds after `start`, of 32 bits each (49 days): from when a request is
    /// too early, and until when.
    span: AtomicU64,
}

impl Announced {
    pub(super) fn new(start: Instant, grace: Duration) -> Self {
        Self { start, grace, span: AtomicU64::new(0) }
    }

    /// An answer was written just now that asks for a pause.
    pub(super) fn add(&self, pause: Duration) {
        self.add_at(self.start.elapsed(), pause);
    }

    /// Whether a request of just now comes too early.
    pub(super) fn is_early(&self) -> bool {
        // Most servers never announce anything, or seldom.
        self.span.load(Ordering::Relaxed) != 0 && self.is_early_at(self.start.elapsed())
    }

    fn add_at(&self, now: Duration, pause: Duration) {
        // Rounded in favour of the client.
        let (from, until) = (millis(now + self.grace) + 1, millis(now + pause));
        let _ = self.span.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |span| {
            let (open, close) = (span >> 32, span & u64::from(u32::MAX));
            // Spans that meet are one. Otherwise what is left of the earlier one, less than the
            // grace, is dropped: whoever kept to it may not have seen the later answer yet.
            let (open, close) = if close >= from && open < close {
                (open, close.max(until))
            } else {
                (from, until)
            };
            Some(open << 32 | close)
        });
    }

    fn is_early_at(&self, now: Duration) -> bool {
        let span = self.span.load(Ordering::Relaxed);
        let now = millis(now);
        (span >> 32..span & u64::from(u32::MAX)).contains(&now)
    }
}

/// Saturates one below the largest, so that there is room for one more.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_is_behind_the_grace_and_before_the_end() {
        let at = Duration::from_millis;
        let early = |announced: &Announced, times: &[(u64, bool)]| {
            for &(time, early) in times {
                assert_eq!(announced.is_early_at(at(time)), early, "{time}");
            }
        };
        let announced = Announced::new(Instant::now(), at(100));
        early(&announced, &[(0, false), (1_000_000, false)]);
        assert!(!announced.is_early());
        announced.add_at(at(1_000), at(2_000));
        early(&announced, &[(1_000, false), (1_100, false), (1_101, true), (2_999, true)]);
        early(&announced, &[(3_000, false), (900, false)]);
        // A second answer makes it longer, a shorter one does not make it shorter.
        announced.add_at(at(2_000), at(2_000));
        announced.add_at(at(2_500), at(1_000));
        early(&announced, &[(2_050, true), (3_999, true), (4_000, false)]);
        // Who comes back in time is right, even if another answer was written just before.
        announced.add_at(at(3_990), at(1_000));
        early(&announced, &[(4_000, false), (4_050, false), (4_091, true), (4_989, true)]);
        // After its end another one begins, with a grace of its own.
        announced.add_at(at(10_000), at(1_000));
        early(&announced, &[(3_500, false), (10_050, false), (10_101, true), (11_000, false)]);
        // A pause shorter than the grace is none, and cuts no other short.
        let announced = Announced::new(Instant::now(), at(5_000));
        announced.add_at(at(0), at(1_000));
        early(&announced, &[(0, false), (500, false), (5_500, false)]);
        announced.add_at(at(500), at(20_000));
        early(&announced, &[(5_400, false), (5_501, true), (20_499, true), (20_500, false)]);
    }

    #[test]
    fn a_pause_without_end_ends_with_the_clock() {
        let announced = Announced::new(Instant::now(), Duration::ZERO);
        announced.add_at(Duration::from_secs(1), Duration::MAX / 2);
        assert!(announced.is_early_at(Duration::from_secs(1 << 20)));
    }

    #[test]
    fn rules_of_one_kind_are_added_up() {
        let kinds = ["503", "close", "503"].map(str::to_owned);
        let tallies = [Tally::new(3), Tally::new(3)];
        for tally in &tallies {
            count(&tally.faults[0], 5);
            count(&tally.faults[2], 1);
            count(&tally.objects, 7);
            count(&tally.duplicates, 1);
        }
        let mut out = Vec::new();
        for status in ["200 OK", "429 Too", "200 OK", "x"] {
            tallies[0].status(format!("HTTP/1.1 {status}").as_bytes());
        }
        for steps in [&[0, 1, 2, 9, 10][..], &[0, 5000], &[0]] {
            tallies[1].reused(0, 0);
            steps.windows(2).for_each(|step| tallies[1].reused(step[0], step[1]));
        }
        stats_into(&kinds, &tallies, &[], &mut out);
        out.push(b'}');
        let stats: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let faults = serde_json::json!({"503": 12, "close": 0, "duplicate-names": 2});
        assert_eq!(stats["faults"], faults);
        assert_eq!((&stats["objects"], &stats["early"]), (&14.into(), &0.into()));
        assert_eq!(stats["statuses"], serde_json::json!({"200": 2, "429": 1}));
        let reuse = serde_json::json!(
            {"0": 1, "1": 0, "2-9": 0, "10-99": 1, "100-999": 0, "1000+": 1});
        assert_eq!(
            (&stats["connection_requests"], &stats["most_on_one_connection"]),
            (&reuse, &5000.into())
        );
    }
}
