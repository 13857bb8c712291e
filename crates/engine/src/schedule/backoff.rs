//! How long to wait before another attempt.

use std::time::Duration;
use windrow_model::limits::{BACKOFF_BASE, BACKOFF_CAP, OUTAGE_MAX};

/// When to try again, and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// Attempts end when the first one failed so long ago; `None` for no such limit. Time in which
    /// the origin was down does not count, but such an outage ends the run.
    pub max_time: Option<Duration>,
    /// Upper bound of the first wait; it doubles with every attempt.
    pub base: Duration,
    /// No wait is longer.
    pub cap: Duration,
    /// An origin that is down for so long ends the run.
    pub outage_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 5,
            max_time: None,
            base: BACKOFF_BASE,
            cap: BACKOFF_CAP,
            outage_max: OUTAGE_MAX,
        }
    }
}

impl RetryPolicy {
    /// The wait before attempt `attempts + 1`, after `attempts` failed ones, `None` when it is
    /// time to give up.
    ///
    /// `elapsed` is the time since the first attempt began, `random` a uniform 64-bit number.
    pub fn wait(&self, attempts: u32, elapsed: Duration, random: u64) -> Option<Duration> {
        let wait = self.backoff(attempts, random);
        match self.max_time {
            _ if attempts > self.retries => None,
            Some(max) if elapsed.saturating_add(wait) >= max => None,
            _ => Some(wait),
        }
    }

    /// How long an origin may be down before the run is given up.
    pub fn longest_outage(&self) -> Duration {
        self.max_time.unwrap_or(Duration::MAX).min(self.outage_max)
    }

    /// A wait behind `attempts` failed ones, uniform in `0..=min(cap, base * 2^(attempts - 1))`:
    /// "full jitter" (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    pub fn backoff(&self, attempts: u32, random: u64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        mul_fraction(self.base.saturating_mul(1 << doublings).min(self.cap), random)
    }
}

/// `duration * random / 2^64`.
pub(super) fn mul_fraction(duration: Duration, random: u64) -> Duration {
    let nanos = (duration.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_end() {
        let policy = RetryPolicy { retries: 9, ..RetryPolicy::default() };
        let bound = |attempts| policy.wait(attempts, Duration::ZERO, u64::MAX).unwrap();
        let near = |a: Duration, b: Duration| b.saturating_sub(a) <= Duration::from_nanos(1);
        for attempts in 1..=7 {
            assert!(near(bound(attempts), BACKOFF_BASE * (1 << (attempts - 1))), "{attempts}");
        }
        assert!(near(bound(9), BACKOFF_CAP));
        assert_eq!(policy.wait(1, Duration::ZERO, 0), Some(Duration::ZERO));
        assert_eq!(policy.wait(10, Duration::ZERO, 0), None);
        let never = RetryPolicy { retries: 0, ..policy };
        assert_eq!(never.wait(1, Duration::ZERO, 0), None);
    }

    #[test]
    fn no_attempt_begins_after_the_time_limit() {
        let limit = Duration::from_secs(2);
        let policy = RetryPolicy { max_time: Some(limit), retries: 100, ..RetryPolicy::default() };
        for attempts in 1..40 {
            for elapsed in [0, 1_000, 1_900, 1_999, 2_000, 9_000].map(Duration::from_millis) {
                for random in [0, u64::MAX / 2, u64::MAX] {
                    if let Some(wait) = policy.wait(attempts, elapsed, random) {
                        assert!(elapsed + wait < limit);
                    }
                }
            }
        }
    }
}
