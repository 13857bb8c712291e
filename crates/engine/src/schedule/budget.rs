//! How many retries an origin is sent: about one for ten successes.
//!
//! A token bucket. A retry takes a token, and gets it back where it succeeds; a success earns a
//! tenth. Time adds some too, in proportion to what the origin once managed: what is left at the
//! end of a run against a server that keeps failing is all retries, and has to end as well.

use std::time::{Duration, Instant};
use windrow_model::limits::{BUDGET_PER_SECOND, BUDGET_PER_SUCCESS, BUDGET_TOKENS};

/// The tokens of one origin.
#[derive(Debug)]
pub struct Budget {
    tokens: f64,
    /// Up to when time was paid for.
    paid: Instant,
    /// Successes of the second that began at `second`.
    successes: u64,
    second: Instant,
    /// Most successes of one second.
    best: u64,
}

const SECOND: Duration = Duration::from_secs(1);

impl Budget {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { tokens: BUDGET_TOKENS, paid: now, successes: 0, second: now, best: 0 }
    }

    /// Takes a token for a retry, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.pay(now);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    /// So many successes, of which `retried` were retries.
    pub fn earn(&mut self, successes: u64, retried: u64, now: Instant) {
        self.pay(now);
        let elapsed = now.saturating_duration_since(self.second);
        self.successes += successes;
        if elapsed >= SECOND {
            let rate = self.successes as f64 / elapsed.as_secs_f64();
            self.best = self.best.max(rate as u64);
            (self.successes, self.second) = (0, now);
        }
        self.add(successes as f64 * BUDGET_PER_SUCCESS + retried as f64);
    }

    /// Time until `now` earns nothing: nobody was to be sent anything.
    pub fn skip_to(&mut self, now: Instant) {
        self.paid = self.paid.max(now);
        (self.successes, self.second) = (0, now);
    }

    fn pay(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.paid).as_secs_f64();
        self.paid = self.paid.max(now);
        self.add(seconds * BUDGET_PER_SECOND.max(self.best as f64 * BUDGET_PER_SUCCESS));
    }

    fn add(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(BUDGET_TOKENS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(budget: &mut Budget, now: Instant) -> u64 {
        let mut taken = 0;
        while budget.take(now) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn retries_are_a_tenth_of_the_successes() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        assert_eq!(drain(&mut budget, now), 500);
        budget.earn(1000, 0, now);
        assert_eq!(drain(&mut budget, now), 100);
        budget.earn(1_000_000, 0, now);
        assert_eq!(drain(&mut budget, now), 500, "no more than a full bucket is saved up");
    }

    #[test]
    fn a_retry_that_succeeds_gets_its_token_back() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        drain(&mut budget, now);
        budget.earn(10, 10, now);
        assert_eq!(drain(&mut budget, now), 11);
    }

    #[test]
    fn time_pays_a_tenth_of_what_the_origin_once_managed() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        drain(&mut budget, start);
        assert_eq!(drain(&mut budget, start + SECOND), 10, "the least");
        let now = start + SECOND * 2;
        budget.earn(4000, 0, now);
        drain(&mut budget, now);
        assert_eq!(drain(&mut budget, now + SECOND), 200, "2000 in each of two seconds");
        budget.skip_to(now + SECOND * 60);
        assert_eq!(drain(&mut budget, now + SECOND * 60), 0, "an outage earns nothing");
    }
}
