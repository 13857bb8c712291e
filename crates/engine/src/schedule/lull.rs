//! How long a core that has nothing to do sleeps before it looks at its sockets again.
//!
//! Where answers come one by one, each wakes the core: a switch of threads and two calls of the
//! system for a hundred bytes. Network cards have the same trouble with interrupts, and the same
//! remedy, interrupt coalescing: to wait a little, and to take what came together.
//!
//! The wait is a sixteenth of what an answer takes, so that one comes a thirtieth later on
//! average. Where requests wait in a queue for longer than they are worked on, it is an eighth: the
//! queue is shorter meanwhile and does not run dry, and nothing comes later at all. That they do is
//! seen by answers that take twice as long as the quickest one ever did.

use std::time::Duration;
use windrow_model::limits::{LULL_LEAST, LULL_MOST, LULL_SHARE};

/// The sleep where `busy` connections wait for answers that take `latency` on average, and
/// `quickest` at least; zero where too little would come meanwhile.
pub fn lull(busy: usize, latency: Duration, quickest: Duration) -> Duration {
    let queued = latency >= quickest.saturating_mul(2);
    let share = if queued { LULL_SHARE / 2 } else { LULL_SHARE };
    let lull = (latency / share).min(LULL_MOST);
    let come = busy as f64 * lull.as_secs_f64() / latency.as_secs_f64().max(f64::MIN_POSITIVE);
    if lull < LULL_LEAST || come < 2.0 { Duration::ZERO } else { lull }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn far(busy: usize, latency: Duration) -> Duration {
        lull(busy, latency, latency * 2 / 3)
    }

    #[test]
    fn it_is_a_small_part_of_what_an_answer_takes() {
        assert_eq!(far(64, MILLI * 8), MILLI / 2);
        assert_eq!(lull(64, MILLI * 4, MILLI), MILLI / 2, "most of it in a queue");
        assert_eq!(far(1000, MILLI * 80), LULL_MOST);
    }

    #[test]
    fn it_is_none_where_little_would_come() {
        assert_eq!(far(31, MILLI * 8), Duration::ZERO, "less than two answers");
        assert_eq!(lull(15, MILLI * 8, MILLI), Duration::ZERO);
        assert_eq!(far(64, MILLI * 80), Duration::ZERO, "the same, far away");
        assert_eq!(far(64, MILLI), Duration::ZERO, "a sleep that short takes longer than it says");
        assert_eq!(far(64, Duration::ZERO), Duration::ZERO);
        assert_eq!(far(0, MILLI * 8), Duration::ZERO);
    }
}
