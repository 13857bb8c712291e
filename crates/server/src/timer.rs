//! Wakes tasks at a time, to some microseconds.
//!
//! The runtime's own timers count in milliseconds and round up, so an answer after 0.1 ms would
//! leave after more than one. One descriptor of the kernel's for each thread is exact.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// The timer of one thread.
#[derive(Debug)]
pub(crate) struct Timer {
    /// Readable when the time has come, and read like a pipe: the runtime's type for descriptors
    /// of any kind cannot be made without `unsafe`.
    fd: Receiver,
    sleepers: RefCell<Sleepers>,
}

impl Timer {
    /// Call it inside the thread's runtime, and let that [`run`](Self::run) it.
    ///
    /// # Errors
    /// When the system gives no descriptor for it.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let fd = Receiver::from_owned_fd_unchecked(fd)?;
        Ok(Self { fd, sleepers: RefCell::default() })
    }

    /// Wakes this task at this time; more often does no harm.
    pub(crate) fn wake_at(&self, due: Instant, waker: &Waker) {
        if self.sleepers.borrow_mut().add(due, waker) {
            self.set(due);
        }
    }

    /// Wakes whoever is due, for ever.
    pub(crate) async fn run(&self) {
        loop {
            if self.fd.readable().await.is_err() {
                return;
            }
            // Reading until it would block is what makes the next `readable` wait.
            while self.fd.try_read(&mut [0; 8]).is_ok() {}
            let next = self.sleepers.borrow_mut().wake(Instant::now());
            if let Some(next) = next {
                self.set(next);
            }
        }
    }

    fn set(&self, due: Instant) {
        // A time of zero would switch it off.
        let left = due.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let timespec = |time: Duration| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let time = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        // It fails for times only that are none.
        let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &time);
    }
}

/// Who is to be woken when.
#[derive(Debug, Default)]
struct Sleepers {
    waiting: BinaryHeap<Reverse<Sleeper>>,
    /// When the timer goes off.
    set: Option<Instant>,
}

impl Sleepers {
    /// Whether the timer has to be set to this time.
    fn add(&mut self, due: Instant, waker: &Waker) -> bool {
        self.waiting.push(Reverse(Sleeper { due, waker: waker.clone() }));
        let sooner = self.set.is_none_or(|set| due < set);
        if sooner {
            self.set = Some(due);
        }
        sooner
    }

    /// Wakes who is due; when the timer has to go off next.
    fn wake(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse(next)) = self.waiting.peek() {
            if next.due > now {
                break;
            }
            if let Some(Reverse(sleeper)) = self.waiting.pop() {
                sleeper.waker.wake();
            }
        }
        self.set = self.waiting.peek().map(|Reverse(next)| next.due);
        self.set
    }
}

#[derive(Debug)]
struct Sleeper {
    due: Instant,
    waker: Waker,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Sleeper {}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn who_is_due_is_woken_and_the_next_one_sets_the_timer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut sleepers = Sleepers::default();
        let set = [5, 7, 5, 3, 9].map(|ms| sleepers.add(at(ms), &waker));
        assert_eq!(set, [true, false, false, true, false]);
        for (now, next, woken) in
            [(2, Some(3), 0), (3, Some(5), 1), (6, Some(7), 3), (9, None, 5), (99, None, 5)]
        {
            assert_eq!(sleepers.wake(at(now)), next.map(at), "{now}");
            assert_eq!(count.0.load(Relaxed), woken, "{now}");
        }
        assert!(sleepers.add(at(50), &waker), "it has gone off");
    }
}
