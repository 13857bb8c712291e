//! How often a request may start, and how fast bytes may come: two meters shared by all cores.
//!
//! A leaky bucket as a virtual clock (the generic cell rate algorithm, ITU-T I.371 annex A): one
//! atomic holds the theoretical time of the last start, the next is due one interval later. There
//! is no lock, no timer and no refill; a look costs two loads, a start one compare-and-swap more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use windrow_model::limits::{
    BYTE_RATE_LATE, RATE_LATE, RATE_MAX, RATE_MIN, READ_MAX, READ_MIN, READ_SPAN,
};

/// What the first moment is on the meters' clock, in ns: moments before it can be named.
const EPOCH: u64 = 1 << 62;

/// A cap on requests started each second.
///
/// Of the moments `now` for which a start was granted, at most 1.01 N + `burst` lie in any window
/// of one second, however many cores ask and in whatever order: each grant has a theoretical time
/// of its own, one interval from the next, no later than `now` and no more than [`RATE_LATE`] and
/// the burst before it. So the count is at most (1 s + `RATE_LATE` + (`burst` - 1) / N) * N + 1.
/// What is sent later than it was granted is the caller's to keep small.
///
/// Callers that ask within `RATE_LATE` of a slot lose nothing; a meter that was idle for longer
/// has saved up its burst and no more.
#[derive(Debug)]
pub struct Rate {
    start: Instant,
    burst: u32,
    /// Nanoseconds between two starts.
    interval: AtomicU64,
    /// The theoretical time of the last start, ns on the meter's clock. Kept instead of the next
    /// one, so that a new interval counts at once.
    last: AtomicU64,
}

impl Rate {
    /// A meter for `per_second` starts, kept within [`RATE_MIN`] and [`RATE_MAX`] (what is no
    /// number counts as the least); no moment before `start` will be asked about. `burst` starts
    /// may leave at once after a pause; 0 counts as 1. The first start is granted at `start`, and
    /// nothing is saved up by then.
    pub fn new(start: Instant, per_second: f64, burst: u32) -> Self {
        let interval = interval(per_second);
        Self {
            start,
            burst: burst.max(1),
            interval: AtomicU64::new(interval),
            last: AtomicU64::new(EPOCH - interval),
        }
    }

    /// Takes the slot that is due.
    ///
    /// # Errors
    ///
    /// None is due; the next will be after so long, and whoever asks first gets it.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        match self.take_up_to(now, 1) {
            0 => Err(self.wait(now).max(Duration::from_nanos(1))),
            _ => Ok(()),
        }
    }

    /// Takes up to `n` slots that are due; says how many.
    pub fn take_up_to(&self, now: Instant, n: u32) -> u32 {
        let now = self.clock(now);
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let interval = self.interval.load(Ordering::Relaxed);
            let due = last + interval;
            if n == 0 || now < due {
                return 0;
            }
            let burst = u64::from(self.burst - 1).saturating_mul(interval).min(EPOCH / 2);
            // Late is not idle: a timer that rang late may catch up, a pause is not made up for.
            let first = if now - due <= burst + nanos(RATE_LATE) { due } else { now - burst };
            let more = ((now - first) / interval).min(u64::from(n - 1));
            let newest = first + more * interval;
            let swap =
                self.last.compare_exchange_weak(last, newest, Ordering::Relaxed, Ordering::Relaxed);
            match swap {
                Ok(_) => return more as u32 + 1,
                Err(other) => last = other,
            }
        }
    }

    /// How long until a slot is due; zero if one is. Takes nothing.
    pub fn wait(&self, now: Instant) -> Duration {
        let due = self.last.load(Ordering::Relaxed) + self.interval.load(Ordering::Relaxed);
        Duration::from_nanos(due.saturating_sub(self.clock(now)))
    }

    /// From now on `per_second`: the next slot is due one new interval after the last start. Where
    /// that is past, one start and what a late caller may catch up are granted, no more.
    pub fn set(&self, per_second: f64) {
        self.interval.store(interval(per_second), Ordering::Relaxed);
    }

    fn clock(&self, now: Instant) -> u64 {
        clock(self.start, now)
    }
}

/// A cap on bytes received each second.
///
/// Bytes are charged when they have come, and a reader stays away for as long as it is told. In
/// any window of one second at most (1 s + [`BYTE_RATE_LATE`]) * N bytes are charged and one
/// read of each reader: with reads of [`ByteRate::read_max`] that is 1.05 N + 256 KiB.
#[derive(Debug)]
pub struct ByteRate {
    start: Instant,
    per_second: f64,
    /// When what was charged is paid for, ns on the meter's clock.
    paid: AtomicU64,
}

impl ByteRate {
    /// A meter for `per_second` bytes, at least 1; no moment before `start` will be asked about.
    pub fn new(start: Instant, per_second: u64) -> Self {
        let per_second = per_second.max(1) as f64;
        Self { start, per_second, paid: AtomicU64::new(EPOCH) }
    }

    /// Charges `bytes` that came at `now`; the reader that got them (a core with all of its
    /// connections) reads no more for so long. One atomic update.
    pub fn charge(&self, now: Instant, bytes: u64) -> Duration {
        let now = clock(self.start, now);
        let cost = (bytes as f64 * 1e9 / self.per_second).ceil() as u64;
        let pay = |paid: u64| {
            // As with requests: late by little catches up, a pause is not made up for.
            let late = now.saturating_sub(paid) > nanos(BYTE_RATE_LATE);
            if late { now } else { paid }.saturating_add(cost)
        };
        let mut paid = self.paid.load(Ordering::Relaxed);
        loop {
            let next = pay(paid);
            match self.paid.compare_exchange_weak(paid, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Duration::from_nanos(next.saturating_sub(now)),
                Err(other) => paid = other,
            }
        }
    }

    /// Bytes that one of `readers` asks for at once, at most: what 25 ms bring, so that the flow is
    /// even, and their share of 256 KiB.
    pub fn read_max(&self, readers: usize) -> usize {
        let share = READ_MAX / readers.max(1);
        let even = (self.per_second * READ_SPAN.as_secs_f64()) as usize;
        even.max(READ_MIN).min(share).max(1)
    }
}

fn clock(start: Instant, now: Instant) -> u64 {
    EPOCH + nanos(now.saturating_duration_since(start)).min(EPOCH / 2)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Rounded up: a rate a hair too low keeps the promise.
fn interval(per_second: f64) -> u64 {
    let known = if per_second.is_nan() { RATE_MIN } else { per_second };
    (1e9 / known.clamp(RATE_MIN, RATE_MAX)).ceil() as u64
}

#[cfg(test)]
mod tests;
