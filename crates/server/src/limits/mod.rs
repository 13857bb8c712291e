//! Servers with limits: so many requests in a time (`allow`), so many at once (`knee`).
//!
//! Both are state machines that take the time as an argument. All threads of a server share one
//! [`Gate`], so what is counted is exact.

mod allow;
mod knee;

use std::time::Duration;

pub use self::allow::Allow;
use self::allow::Allowance;
pub use self::knee::Knee;
use self::knee::Service;

/// A time since the server started, or between two times: 584 years.
pub(crate) type Nanos = u64;

pub(crate) const SECOND: Nanos = 1_000_000_000;

/// Saturates.
pub(crate) fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

/// What a request for an object meets first.
#[derive(Debug)]
pub(crate) struct Gate {
    allowance: Option<Allowance>,
    service: Option<Service>,
    now: Nanos,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// More than allowed in this time.
    Denied,
    /// More than can be in flight at once.
    Overloaded,
    /// It is answered; with a latency, at this time.
    Answered(Option<Nanos>),
}

impl Gate {
    /// Without limits and without latency everything is answered at once.
    pub(crate) fn new(
        allow: Option<&Allow>,
        knee: Option<Knee>,
        latency: Duration,
        jitter: Duration,
        seed: u64,
    ) -> Self {
        let works = knee.is_some() || !latency.is_zero() || !jitter.is_zero();
        Self {
            allowance: allow.map(Allowance::new),
            service: works.then(|| Service::new(knee, latency, jitter, seed)),
            now: 0,
        }
    }

    /// Decides on a request that comes at this time. Threads read the clock before they come
    /// here, so a time may be a little earlier than the last; it counts as that one.
    pub(crate) fn admit(&mut self, now: Nanos) -> Admission {
        let now = now.max(self.now);
        self.now = now;
        if self.allowance.as_mut().is_some_and(|allowance| !allowance.take(now)) {
            return Admission::Denied;
        }
        match &mut self.service {
            None => Admission::Answered(None),
            Some(service) => match service.take(now) {
                None => Admission::Overloaded,
                due => Admission::Answered(due),
            },
        }
    }

    /// The most requests that were in flight at once; 0 without a latency.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.service.as_ref().map_or(0, Service::most)
    }

    /// When an answer leaves that takes no place; `None` if answers do not wait.
    pub(crate) fn aside(&self, now: Nanos) -> Option<Nanos> {
        self.service.as_ref().map(|service| now.saturating_add(service.latency()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_takes_no_place() {
        let allow = "2/s,window".parse().unwrap();
        let ms = Duration::from_millis(1);
        let mut gate =
            Gate::new(Some(&allow), Some("1,hard".parse().unwrap()), ms, Duration::ZERO, 0);
        assert_eq!(gate.admit(5), Admission::Answered(Some(1_000_005)));
        assert_eq!(gate.admit(6), Admission::Overloaded);
        assert_eq!(gate.admit(2_000_000), Admission::Denied, "the overloaded one was allowed");
        assert_eq!(gate.admit(SECOND), Admission::Answered(Some(SECOND + 1_000_000)));
        assert_eq!(gate.admit(7), Admission::Overloaded, "as late as the one before");
        assert_eq!(gate.most_in_flight(), 1);
        assert_eq!(gate.aside(5), Some(1_000_005));
        let mut open = Gate::new(None, None, Duration::ZERO, Duration::ZERO, 0);
        assert_eq!(open.admit(0), Admission::Answered(None));
        assert_eq!((open.aside(0), open.most_in_flight()), (None, 0));
    }
}
