//! How long a core that has nothing to do sleeps before it looks at its sockets again.
//!
//! Where answers come one by one, each wakes the core: a switch of threads and two calls of the
//! system for a hundred bytes. Network cards have the same trouble with interrupts, and the same
//! remedy, interrupt coalescing: to wait a little, and to take what came together.
//!
//! The wait is a sixteenth of what an answer takes, so that one comes a thirtieth later on
//! average. Where requests wait in a queue for longer than they are worked on, it is an eighth: the
//! queue is shorter meanwhile and does not run dry. That they do is guessed where answers take twice
//! as long as the quickest one ever did; where that is because servers or bodies differ, they come a
//! sixteenth later.
//!
//! Often answers come in waves, because their requests went together, and a wait would only break
//! the waves up: twice the CPU, measured. So once in a while there is no wait for a moment, and
//! only where answers come one by one in that moment there is one behind it.
//!
//! Where bodies wait for transforms, nothing is gained by being quick, and each look at the sockets takes
//! the core from a transform in the middle of its work. There the wait is an eighth of what they still have to do.

use std::time::Duration;
use windrow_model::limits::{
    LULL_LEAST, LULL_LOOK, LULL_MOST, LULL_SHARE, LULL_WORK, LULL_WORK_SHARE,
};

/// What a core saw since it was last asked.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Connections that wait for answers.
    pub busy: usize,
    /// How often it had nothing to do.
    pub rests: u32,
    /// Answers that came, what they took on average, and what the quickest ever took.
    pub answers: u32,
    /// See `answers`.
    pub latency: Duration,
    /// See `answers`.
    pub quickest: Duration,
}

/// The sleep of one core.
#[derive(Debug, Default)]
pub struct Lull {
    now: Duration,
    /// Answers came one by one when there was none.
    singly: bool,
    asked: u32,
}

impl Lull {
    /// The sleep until this is asked again, in a moment of some milliseconds.
    pub fn next(&mut self, seen: Seen) -> Duration {
        if self.now.is_zero() {
            self.singly = seen.answers < 2 * seen.rests;
        }
        self.asked = self.asked.wrapping_add(1);
        let looks = self.asked.is_multiple_of(LULL_LOOK);
        self.now = if self.singly && !looks { length(&seen) } else { Duration::ZERO };
        self.now
    }

    /// The sleep where so many bodies wait for transforms that had so many results in the last `tick`.
    pub fn of_work(waiting: usize, results: u32, tick: Duration) -> Duration {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let lull = (tick / LULL_WORK_SHARE).saturating_mul(waiting) / results.max(1);
        if lull < LULL_LEAST { Duration::ZERO } else { lull.min(LULL_WORK) }
    }
}

/// Zero where too little would come meanwhile.
fn length(seen: &Seen) -> Duration {
    let Seen { busy, latency, quickest, .. } = *seen;
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

    fn seen(busy: usize, latency: Duration, quickest: Duration) -> Seen {
        Seen { busy, rests: 100, answers: 110, latency, quickest }
    }

    fn far(busy: usize, latency: Duration) -> Duration {
        length(&seen(busy, latency, latency * 2 / 3))
    }

    #[test]
    fn it_is_a_small_part_of_what_an_answer_takes() {
        assert_eq!(far(64, MILLI * 8), MILLI / 2);
        let queued = length(&seen(64, MILLI * 4, MILLI));
        assert_eq!(queued, MILLI / 2, "most of it in a queue");
        assert_eq!(far(1000, MILLI * 80), LULL_MOST);
    }

    #[test]
    fn it_is_a_small_part_of_the_work_that_waits() {
        let tick = MILLI * 24;
        assert_eq!(Lull::of_work(0, 5, tick), Duration::ZERO, "the next body is wanted at once");
        assert_eq!(Lull::of_work(2, 6, tick), MILLI, "8 ms of work");
        assert_eq!(Lull::of_work(1, 1000, tick), Duration::ZERO, "too short");
        assert_eq!(Lull::of_work(100, 5, tick), LULL_WORK);
        assert_eq!(Lull::of_work(1, 0, tick), MILLI * 3, "none was done in a whole tick");
        assert_eq!(Lull::of_work(usize::MAX, 0, tick), LULL_WORK);
    }

    #[test]
    fn it_is_none_where_little_would_come() {
        assert_eq!(far(31, MILLI * 8), Duration::ZERO, "less than two answers");
        assert_eq!(length(&seen(15, MILLI * 8, MILLI)), Duration::ZERO);
        assert_eq!(far(64, MILLI * 80), Duration::ZERO, "the same, far away");
        assert_eq!(far(64, MILLI), Duration::ZERO, "a sleep that short takes longer than it says");
        assert_eq!(far(64, Duration::ZERO), Duration::ZERO);
        assert_eq!(far(0, MILLI * 8), Duration::ZERO);
    }

    #[test]
    fn waves_are_left_alone_and_single_answers_are_not() {
        let single = seen(64, MILLI * 8, MILLI * 8);
        let waves = Seen { answers: 1000, ..single };
        let mut lull = Lull::default();
        assert_eq!(lull.next(waves), Duration::ZERO);
        assert_eq!(lull.next(single), MILLI / 2);
        // With a sleep many come at once, which tells nothing.
        assert_eq!(lull.next(waves), MILLI / 2);
        let looks = (0..2 * LULL_LOOK).filter(|_| lull.next(single).is_zero()).count();
        assert_eq!(looks, 2, "it looks again");
        while !lull.next(single).is_zero() {}
        assert!((0..1000).all(|_| lull.next(waves).is_zero()), "they have become waves");
    }
}
