//! Timeouts of many connections without a timer for each request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// One connection's deadline. Setting it costs a store, not a timer.
#[derive(Debug, Default)]
pub struct Watch {
    deadline: Cell<Option<Instant>>,
    expired: Cell<bool>,
    /// By how much the deadline was moved since this was last asked.
    delay: Cell<Duration>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    /// Sets or clears the deadline.
    pub fn set(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Whether the deadline passed since this was last asked.
    pub fn take_expired(&self) -> bool {
        self.expired.take()
    }

    /// By how much the deadline was moved since this was last asked, because the core was late.
    pub fn take_delay(&self) -> Duration {
        self.delay.take()
    }

    /// Has the task of `cx` woken when the deadline passes.
    pub fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
    }
}

/// Looks after the deadlines of one core's connections.
#[derive(Debug)]
pub struct Watchdog {
    watches: Vec<Rc<Watch>>,
    period: Duration,
    last: Option<Instant>,
}

impl Watchdog {
    /// A watchdog that will be asked to [sweep](Watchdog::sweep) once in `period`: deadlines are
    /// kept to that precision.
    pub fn new(period: Duration) -> Self {
        Self { watches: Vec::new(), period, last: None }
    }

    /// A new watch.
    pub fn watch(&mut self) -> Rc<Watch> {
        let watch = Rc::new(Watch::default());
        self.watches.push(Rc::clone(&watch));
        watch
    }

    /// Wakes every connection whose deadline passed.
    ///
    /// When the sweep itself comes late, the core was busy (a disk that blocks, a stopped
    /// process): then servers may have answered in time and nobody read it, so all deadlines move
    /// by the delay.
    pub fn sweep(&mut self, now: Instant) {
        let late = match self.last {
            Some(last) => now.saturating_duration_since(last).saturating_sub(self.period * 2),
            None => Duration::ZERO,
        };
        self.last = Some(now);
        for watch in &self.watches {
            let Some(deadline) = watch.deadline.get() else { continue };
            let deadline = deadline + late;
            watch.delay.set(watch.delay.get() + late);
            watch.deadline.set(Some(deadline));
            if deadline <= now {
                watch.deadline.set(None);
                watch.expired.set(true);
                if let Some(waker) = watch.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(25);

    #[test]
    fn a_deadline_expires_once_and_only_when_it_passed() {
        let mut dog = Watchdog::new(PERIOD);
        let (watch, idle) = (dog.watch(), dog.watch());
        let start = Instant::now();
        dog.sweep(start);
        watch.set(Some(start + PERIOD * 3));
        for step in 1..3 {
            dog.sweep(start + PERIOD * step);
            assert!(!watch.take_expired(), "step {step}");
        }
        dog.sweep(start + PERIOD * 3);
        assert!(watch.take_expired() && !watch.take_expired() && !idle.take_expired());
        dog.sweep(start + PERIOD * 4);
        assert!(!watch.take_expired());
    }

    #[test]
    fn a_late_sweep_does_not_blame_the_server() {
        let mut dog = Watchdog::new(PERIOD);
        let watch = dog.watch();
        let start = Instant::now();
        dog.sweep(start);
        watch.set(Some(start + PERIOD * 4));
        let busy = Duration::from_secs(60);
        dog.sweep(start + busy);
        assert!(!watch.take_expired(), "the core slept, not the server");
        assert_eq!(watch.take_delay(), busy - PERIOD * 2);
        assert_eq!(watch.take_delay(), Duration::ZERO);
        for step in 1..10 {
            dog.sweep(start + busy + PERIOD * step);
        }
        assert!(watch.take_expired(), "now the server had its time");
    }
}
