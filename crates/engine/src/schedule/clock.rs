//! How far this machine's clock is from those of the servers.
//!
//! A signed URL expires by its server's clock. With the own one two hours ahead, every URL of a list
//! would be thrown away as expired; two hours behind, requests would be sent for nothing. So the
//! `Date` of answers (RFC 9110 section 6.6.1) is looked at, about once a second.
//!
//! A `Date` has the second in which an answer was made, at some moment between request and answer.
//! That bounds the offset: a sample is an interval, a second and a round trip wide. The offset is
//! where most intervals agree (K. Marzullo, "Maintaining the Time in a Distributed System", 1984, as
//! in NTP, RFC 5905 section 11.2.1). Servers vote, not samples: one that is wrong and gives most of
//! the answers has one voice. The own clock has half a voice, which decides between two servers.
//! No single sample moves the offset: [`CLOCK_QUORUM`] must agree.
//!
//! An answer out of a cache has the `Date` of when it was made: with an `Age` it is not to be
//! learned from. Repeated without one, it counts as a single sample.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use windrow_model::limits::{
    CLOCK_MEMORY, CLOCK_QUORUM, CLOCK_ROUND_TRIP, CLOCK_SAMPLES, CLOCK_SAMPLES_OF_ONE, CLOCK_SLACK,
};

/// Stands for an offset that is not known.
const UNKNOWN: i64 = i64::MIN;

/// Servers that keep their clocks right are this far apart, in milliseconds.
const APART: i64 = 500;

/// What a server's vote weighs: divisible by every number of samples that it can have.
const VOICE: u32 = 60;

const _: () = assert!(CLOCK_SAMPLES_OF_ONE <= 5, "60 is divisible by 1 to 5");

/// The offset of the servers' clocks from the own one, shared by all cores.
///
/// Reading is one relaxed load. Learning takes a lock that nobody waits for: where another core is
/// learning, the sample is dropped.
#[derive(Debug)]
pub struct ClockOffset {
    /// Milliseconds to be added to the own clock.
    offset_ms: AtomicI64,
    samples: Mutex<Vec<Sample>>,
}

/// What one answer says: the offset lies between `low` and `high`, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    server: u64,
    date: u64,
    low: i64,
    high: i64,
    /// When it was taken, by the own clock.
    at: i64,
}

impl Default for ClockOffset {
    fn default() -> Self {
        Self { offset_ms: AtomicI64::new(UNKNOWN), samples: Mutex::new(Vec::new()) }
    }
}

impl ClockOffset {
    /// Learns from the `Date` of an answer, in seconds since 1970. `server` tells servers apart (a
    /// hash of the origin will do); `sent_ms` is when the request left and `received_ms` when the
    /// head of the answer was there, in milliseconds since 1970 by the own clock.
    ///
    /// For about one answer a second and core; until the offset is [known](Self::known), for each.
    pub fn learn(&self, server: u64, date: u64, sent_ms: u64, received_ms: u64) {
        let longest = CLOCK_ROUND_TRIP.as_millis() as u64;
        let plausible = received_ms >= sent_ms
            && received_ms - sent_ms <= longest
            && u32::try_from(date).is_ok()
            && received_ms < i64::MAX as u64 / 2;
        if !plausible {
            return;
        }
        let (date_ms, sent, received) = (date as i64 * 1000, sent_ms as i64, received_ms as i64);
        let sample = Sample {
            server,
            date,
            low: date_ms - received,
            high: date_ms + 1000 - sent,
            at: received,
        };
        let mut samples = match self.samples.try_lock() {
            Ok(samples) => samples,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return,
        };
        keep(&mut samples, sample);
        if let Some(offset) = vote(&samples) {
            self.offset_ms.store(offset, Ordering::Relaxed);
        }
    }

    /// Whether enough servers were heard. Until then the own clock is all there is, and nothing is
    /// to be given up for good because of it.
    pub fn known(&self) -> bool {
        self.offset_ms().is_some()
    }

    /// Milliseconds to be added to the own clock, 0 where it is less than [`CLOCK_SLACK`] off;
    /// `None` until enough servers were heard.
    pub fn offset_ms(&self) -> Option<i64> {
        Some(self.offset_ms.load(Ordering::Relaxed)).filter(|&offset| offset != UNKNOWN)
    }

    /// The servers' time as seconds since 1970, when the own clock shows `local`.
    pub fn now_unix(&self, local: SystemTime) -> u32 {
        let since = local.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let local = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let now = local.saturating_add(self.offset_ms().unwrap_or(0)) / 1000;
        u32::try_from(now.max(0)).unwrap_or(u32::MAX)
    }
}

/// Takes a sample in, and lets another go where there are too many.
fn keep(samples: &mut Vec<Sample>, sample: Sample) {
    let memory = CLOCK_MEMORY.as_millis() as u64;
    // After a step of the own clock, what was learned before it says nothing.
    samples.retain(|old| old.at.abs_diff(sample.at) <= memory);
    let of_server = |old: &Sample| old.server == sample.server;
    if let Some(same) = samples.iter_mut().find(|old| of_server(old) && old.date == sample.date) {
        // The same second once more: what fits makes it narrower. What does not is a `Date` that
        // stands still.
        let (low, high) = (same.low.max(sample.low), same.high.min(sample.high));
        if low <= high {
            (same.low, same.high) = (low, high);
        }
        return;
    }
    let full = samples.len() >= CLOCK_SAMPLES;
    let full_of_one = samples.iter().filter(|old| of_server(old)).count() >= CLOCK_SAMPLES_OF_ONE;
    if full || full_of_one {
        // The first in the list came first; times would mislead after a step of the own clock.
        let goes = |old: &Sample| !full_of_one || of_server(old);
        if let Some(first) = samples.iter().position(goes) {
            samples.remove(first);
        }
    }
    samples.push(sample);
}

/// Where most of those who vote agree, if more than half of them do.
fn vote(samples: &[Sample]) -> Option<i64> {
    if samples.len() < CLOCK_QUORUM {
        return None;
    }
    let slack = CLOCK_SLACK.as_millis() as i64;
    // Begins and ends of intervals, with what they weigh; a begin comes before an end.
    let mut edges = Vec::with_capacity(2 * CLOCK_SAMPLES + 2);
    let mut add = |low: i64, high: i64, weight: u32, samples: usize| {
        edges.push((low, 0_u8, weight, samples));
        edges.push((high, 1_u8, weight, samples));
    };
    for sample in samples {
        let of_server = samples.iter().filter(|other| other.server == sample.server).count();
        let weight = VOICE / u32::try_from(of_server).unwrap_or(1).max(1);
        add(sample.low - APART, sample.high + APART, weight, 1);
    }
    add(-slack, slack, VOICE / 2, 0);
    edges.sort_unstable();
    let all: u32 = edges.iter().filter(|edge| edge.1 == 0).map(|edge| edge.2).sum();
    let (mut weight, mut agreeing) = (0, 0);
    let mut best: Option<((u32, i64), usize, i64)> = None;
    for pair in edges.windows(2) {
        let (at, end, of, count) = pair[0];
        if end == 0 {
            (weight, agreeing) = (weight + of, agreeing + count);
        } else {
            (weight, agreeing) = (weight - of, agreeing - count);
        }
        // What is widest of equals says most about where the others would be.
        let rank = (weight, pair[1].0 - at);
        if best.is_none_or(|(best, ..)| rank > best) {
            best = Some((rank, agreeing, at));
        }
    }
    let ((weight, width), agreeing, low) = best?;
    if agreeing < CLOCK_QUORUM || weight * 2 <= all {
        return None;
    }
    let offset = low + width / 2;
    Some(if offset.abs() < slack { 0 } else { offset })
}

#[cfg(test)]
mod tests;
