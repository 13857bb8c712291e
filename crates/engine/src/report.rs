//! What a run came to, while it runs and at its end.
//!
//! Every core writes its own counters, on its own cache lines; whoever looks adds them up.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use windrow_model::FailureClass;

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the core that owns the counter may. A load and a store, no locked instruction.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Takes away; only the core that owns the counter may.
    pub fn sub(&self, less: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(less), Ordering::Relaxed);
    }

    /// The value, perhaps a moment old.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one core.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CoreCounters {
    /// Objects stored.
    pub stored: Counter,
    /// Bytes of their bodies.
    pub bytes: Counter,
    /// Requests begun, listings not counted.
    pub requests: Counter,
    /// Attempts that failed and are made again.
    pub retries: Counter,
    /// Requests sent to see whether a server is back.
    pub probes: Counter,
    /// Requests sent a second time, the first having taken too long.
    pub hedges: Counter,
    /// Requests without an answer yet.
    pub in_flight: Counter,
    /// Sum of the latencies of the objects stored, in nanoseconds; kept only where it is of use.
    pub latency: Counter,
    /// Attempts that failed in a way that too many requests under way may be the cause of.
    pub overloads: Counter,
    /// Objects that failed, by class.
    pub failed: [Counter; FailureClass::ALL.len()],
}

/// What earlier processes of a run came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before {
    /// Tasks that the source gave.
    pub listed: u64,
    /// Objects stored.
    pub stored: u64,
    /// Objects that needed nothing.
    pub skipped: u64,
    /// Bytes of the bodies stored.
    pub bytes: u64,
    /// Pages of the listing.
    pub pages: u64,
    /// Objects that failed and are not tried again, by class.
    pub failed: [u64; FailureClass::ALL.len()],
}

impl Before {
    /// Objects with an outcome.
    pub fn settled(&self) -> u64 {
        self.stored + self.skipped + self.failed.iter().sum::<u64>()
    }
}

/// The counters of a run.
#[derive(Debug)]
pub struct Report {
    /// One for each core.
    pub cores: Vec<CoreCounters>,
    /// Tasks that the source gave.
    pub listed: AtomicU64,
    /// Requests that may be in flight, where their number is found while the run goes on.
    pub concurrency: AtomicU64,
    /// Whether the source has no more.
    pub listing_done: AtomicBool,
    /// Pages of the listing.
    pub pages: AtomicU64,
    /// Objects that needed nothing.
    pub skipped: AtomicU64,
    /// Tasks of earlier processes that were not handed out yet.
    pub unhanded: AtomicU64,
    /// What earlier processes came to.
    pub before: Before,
    /// Failures of earlier processes that were taken back, by class.
    forgotten: [AtomicU64; FailureClass::ALL.len()],
    /// Objects and bytes of earlier processes that turned out not to be durable.
    lost: [AtomicU64; 2],
    /// What people should hear of.
    notes: Mutex<Vec<String>>,
    started: Instant,
}

impl Report {
    /// Counters for so many cores, on top of what was there before; the clock starts.
    pub fn new(cores: usize, before: Before) -> Self {
        Self {
            cores: (0..cores).map(|_| CoreCounters::default()).collect(),
            listed: AtomicU64::new(before.listed),
            concurrency: AtomicU64::new(0),
            listing_done: AtomicBool::new(false),
            pages: AtomicU64::new(before.pages),
            skipped: AtomicU64::new(before.skipped),
            unhanded: AtomicU64::new(before.listed - before.settled()),
            before,
            forgotten: Default::default(),
            lost: Default::default(),
            notes: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Takes back failures of earlier processes.
    pub fn forget_failed(&self, class: FailureClass, count: u64) {
        self.forgotten[class as usize].fetch_add(count, Ordering::AcqRel);
    }

    /// Takes back objects that earlier processes stored: what they wrote could not be made durable.
    pub fn lose_stored(&self, objects: u64, bytes: u64) {
        self.lost[0].fetch_add(objects, Ordering::AcqRel);
        self.lost[1].fetch_add(bytes, Ordering::AcqRel);
        self.unhanded.fetch_add(objects, Ordering::AcqRel);
    }

    /// Says something to people; bounded by what the run may do, which is once each.
    pub fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// What was said since the last look.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sums at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let before = &self.before;
        let [lost, lost_bytes] = self.lost.each_ref().map(|lost| lost.load(Ordering::Acquire));
        let (stored, bytes) = (before.stored - lost, before.bytes - lost_bytes);
        let mut sum = Snapshot { stored, bytes, stored_before: stored, ..Snapshot::default() };
        for core in &self.cores {
            sum.stored += core.stored.get();
            sum.bytes += core.bytes.get();
            sum.requests += core.requests.get();
            sum.retries += core.retries.get();
            sum.probes += core.probes.get();
            sum.hedges += core.hedges.get();
            sum.in_flight += core.in_flight.get();
        }
        for (index, class) in FailureClass::ALL.iter().enumerate() {
            let now = self.cores.iter().map(|core| core.failed[index].get()).sum::<u64>();
            let forgotten = self.forgotten[index].load(Ordering::Acquire);
            let failed = before.failed[index] - forgotten + now;
            if failed > 0 {
                sum.failed += failed;
                sum.failures.insert(class.name(), failed);
            }
        }
        sum.skipped = self.skipped.load(Ordering::Relaxed);
        // Read last: what is stored was listed before.
        sum.listed = self.listed.load(Ordering::Acquire);
        sum.listing_done = self.listing_done.load(Ordering::Acquire);
        sum.elapsed = self.started.elapsed();
        sum
    }
}

/// The sums of a run at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Tasks that the source gave so far.
    pub listed: u64,
    /// Whether that is all of them.
    pub listing_done: bool,
    /// Objects stored, by earlier processes too.
    pub stored: u64,
    /// Objects that earlier processes stored.
    pub stored_before: u64,
    /// Objects that needed nothing.
    pub skipped: u64,
    /// Objects that failed.
    pub failed: u64,
    /// The same, by class; only classes that occurred.
    pub failures: BTreeMap<&'static str, u64>,
    /// Bytes of the bodies stored.
    pub bytes: u64,
    /// Requests begun.
    pub requests: u64,
    /// Attempts that failed and are made again.
    pub retries: u64,
    /// Requests sent to see whether a server is back.
    pub probes: u64,
    /// Requests sent a second time, the first having taken too long.
    pub hedges: u64,
    /// Requests without an answer yet.
    pub in_flight: u64,
    /// Time since the run began.
    pub elapsed: Duration,
}

/// Latencies in microseconds, 1 us to 1 h, to two digits.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("the bounds are constant and valid")
}

/// The end of a run, as `summary.json` has it.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// How the run ended: `complete`, `failed`, `interrupted`, `terminated`, `stopped`, `error`.
    pub state: &'static str,
    /// Why, where it did not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where the objects came from.
    pub source: String,
    /// Form of the output.
    pub format: &'static str,
    /// `listed = stored + skipped + failed + pending`.
    pub listed: u64,
    /// Whether the listing was read to its end.
    pub listing_complete: bool,
    /// Objects stored, by this process and by earlier ones of the same run.
    pub stored: u64,
    /// How many of them were stored by earlier processes.
    pub stored_before: u64,
    /// Objects that needed nothing: stored before under the same name.
    pub skipped: u64,
    /// Objects that failed for good.
    pub failed: u64,
    /// Objects without an outcome.
    pub pending: u64,
    /// Bytes of the bodies stored, as `stored` counts them.
    pub bytes: u64,
    /// Requests for objects by this process, retries included.
    pub requests: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Requests sent to see whether the server is back.
    pub probes: u64,
    /// Requests sent a second time, the first having taken too long.
    pub hedges: u64,
    /// Pages of the listing.
    pub pages: u64,
    /// Failed objects by class.
    pub failures: BTreeMap<&'static str, u64>,
    /// Wall-clock time.
    pub seconds: f64,
    /// Stored objects for each second of it.
    pub objects_per_second: f64,
    /// CPU time of the process, user and system.
    pub cpu_seconds: f64,
    /// The same for each stored object, in microseconds.
    pub cpu_us_per_object: f64,
    /// Largest resident set of the process.
    pub max_rss_bytes: u64,
    /// From the request to the stored body.
    pub latency_us: Latency,
    /// Whether this run continued an earlier one.
    pub resumed: bool,
    /// Cores that worked.
    pub cores: usize,
    /// Requests in flight, at most.
    pub concurrency: usize,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs)] // the names say it
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Latency {
    /// The percentiles of a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() }
    }
}
