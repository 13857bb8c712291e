//! When a request that is out for too long is sent a second time.
//!
//! Only at the end of a run, where nothing else is left to send: then one server that forgot one
//! request would hold up everything that is done. Bounded, because a server that is slow as a
//! whole is not helped by being asked more.

use std::time::Duration;
use windrow_model::limits::{HEDGE_FACTOR, HEDGE_FLOOR, HEDGE_SHARE, HEDGES_OUT};

/// What one core may send a second time.
#[derive(Debug, Clone, Copy)]
pub struct Hedge {
    /// Second requests at once.
    most_out: usize,
}

impl Hedge {
    /// The share of one of so many cores; `None` where nothing is to be sent twice.
    pub fn new(on: bool, cores: usize) -> Option<Self> {
        on.then(|| Self { most_out: (HEDGES_OUT / cores.max(1)).max(1) })
    }

    /// Whether another request may be sent a second time, while `out` are, where of `requests` in
    /// all `seconds` were second ones. As many as may be out at once are free: a short run has
    /// stragglers too, and one of them can have others behind it on a pipelined connection.
    pub fn allows(&self, out: usize, seconds: u64, requests: u64) -> bool {
        out < self.most_out && seconds < (requests / HEDGE_SHARE).max(self.most_out as u64)
    }

    /// How long a request may be out until then; `p95` is what 95 of 100 took at most.
    pub fn patience(p95: Duration) -> Duration {
        (p95 * HEDGE_FACTOR).max(HEDGE_FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_requests_are_few() {
        let hedge = Hedge::new(true, 4).expect("it is on");
        assert!(hedge.allows(0, 3, 1) && !hedge.allows(0, 4, 99), "some are free");
        assert!(hedge.allows(0, 4, 100) && !hedge.allows(0, 5, 100));
        assert!(hedge.allows(3, 1, 1000) && !hedge.allows(4, 1, 1000), "16 for four cores");
        assert!(Hedge::new(true, 100).expect("it is on").allows(0, 0, 1), "one for each core");
        assert!(Hedge::new(false, 1).is_none());
    }

    #[test]
    fn a_slow_server_is_given_its_time() {
        assert_eq!(Hedge::patience(Duration::ZERO), HEDGE_FLOOR);
        assert_eq!(Hedge::patience(Duration::from_secs(2)), Duration::from_secs(8));
    }
}
