//! When an origin may be asked again: one gate for all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use windrow_model::limits::PAUSE_CAP;

/// Closed while the origin asked for a pause (RFC 9110 section 10.2.3, `Retry-After`).
#[derive(Debug)]
pub struct Gate {
    start: Instant,
    /// Milliseconds after `start` at which the gate opens.
    opens: AtomicU64,
}

impl Gate {
    /// An open gate; no moment before `start` will be asked about.
    pub fn new(start: Instant) -> Self {
        Self { start, opens: AtomicU64::new(0) }
    }

    /// Closes the gate until `pause` after `now`, at most [`PAUSE_CAP`]. Never opens it earlier
    /// than an earlier call said.
    pub fn pause(&self, now: Instant, pause: Duration) {
        let until = now.saturating_duration_since(self.start) + pause.min(PAUSE_CAP);
        // Rounded up: a request that comes a moment early is a request too early.
        let millis = u64::try_from(until.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.opens.fetch_max(millis, Ordering::AcqRel);
    }

    /// How long until it opens; zero if it is open.
    pub fn closed_for(&self, now: Instant) -> Duration {
        let opens = self.opens.load(Ordering::Acquire);
        if opens == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(opens).saturating_sub(now.saturating_duration_since(self.start))
    }

    /// Whether a request may be sent at `now`.
    pub fn is_open(&self, now: Instant) -> bool {
        self.closed_for(now).is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_to_its_end_and_shorter_ones_do_not_cut_it() {
        let start = Instant::now();
        let gate = Gate::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        assert!(gate.is_open(start));
        gate.pause(at(100), Duration::from_secs(2));
        gate.pause(at(200), Duration::from_millis(10));
        assert!(!gate.is_open(at(200)) && !gate.is_open(at(2_100)));
        assert!(gate.is_open(at(2_101)));
        assert_eq!(gate.closed_for(at(2_000)), Duration::from_millis(101));
    }

    #[test]
    fn no_server_stops_a_run_for_ever() {
        let start = Instant::now();
        let gate = Gate::new(start);
        gate.pause(start, Duration::MAX);
        assert!(!gate.is_open(start + PAUSE_CAP));
        assert!(gate.is_open(start + PAUSE_CAP + Duration::from_millis(1)));
    }
}
