//! What time it is to the servers, for URLs that expire.
//!
//! The own clock may be wrong by hours; servers tell theirs with each answer. Until that is known, a
//! URL that seems to have expired waits, but for a few that are sent to find out.

use crate::schedule::ClockOffset;
use crate::wire::h1::{date, header};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use windrow_model::limits::{CLOCK_LEARNERS, CLOCK_PERIOD, CLOCK_SLACK, CLOCK_TRUST};

/// What becomes of a request for a URL that expires.
pub(super) enum Time {
    /// It comes too late.
    Over,
    /// Nobody knows yet; to be asked again then.
    Unsure(Instant),
}

/// One core's clock.
#[derive(Debug)]
pub(super) struct Watchmaker {
    clock: Arc<ClockOffset>,
    /// The servers' time as of the last tick, in milliseconds since 1970.
    now: u64,
    /// The servers' clocks are in that.
    sure: bool,
    at: Instant,
    /// What an answer takes, as a moving average.
    typical: Duration,
    /// When the clock is to be looked at again.
    next: Instant,
    /// Some URL expires.
    dated: bool,
    /// Requests that were sent although they seemed to be late, to learn the time.
    learners: u32,
    /// When the next of them may be sent.
    learner_due: Instant,
    /// When the first URL was seen that expires.
    since: Option<Instant>,
}

impl Watchmaker {
    pub(super) fn new(clock: Arc<ClockOffset>, now: Instant) -> Self {
        let mut own = Self {
            clock,
            now: 0,
            sure: false,
            at: now,
            typical: Duration::ZERO,
            next: now,
            dated: false,
            learners: 0,
            learner_due: now,
            since: None,
        };
        own.tick(now);
        own
    }

    /// Once in a tick.
    pub(super) fn tick(&mut self, now: Instant) {
        let local = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let local = i64::try_from(local.as_millis()).unwrap_or(i64::MAX);
        let offset = self.clock.offset_ms();
        self.sure = offset.is_some();
        let corrected = local.saturating_add(offset.unwrap_or(0));
        (self.now, self.at) = (u64::try_from(corrected).unwrap_or(0), now);
    }

    /// An answer took so long.
    pub(super) fn answered(&mut self, took: Duration) {
        if self.dated {
            self.typical = (self.typical * 15 + took) / 16;
        }
    }

    /// Whether a request for a URL that is valid up to the second `expiry` can be sent: `None` if
    /// so. Whoever is to ask again is to do so behind `now`, however long ago the last tick was.
    pub(super) fn judge(&mut self, expiry: u32, now: Instant) -> Option<Time> {
        self.dated = true;
        let since = *self.since.get_or_insert(self.at);
        if !self.is_over(expiry) {
            return None;
        }
        // Not `clock.known()`: what another core learned since the last tick is not in `now`.
        if self.sure || self.at.saturating_duration_since(since) > CLOCK_TRUST {
            return Some(Time::Over);
        }
        // A server that is asked twice in a second says the same twice.
        if self.learners < CLOCK_LEARNERS && self.at >= self.learner_due {
            self.learners += 1;
            self.learner_due = self.at + CLOCK_PERIOD;
            return None;
        }
        Some(Time::Unsure(now + CLOCK_PERIOD / 10))
    }

    /// Whether an answer to what is sent now would come behind the second `expiry`. In the fractions
    /// of a second behind it some servers refuse already (s3s does), so that is over.
    fn is_over(&self, expiry: u32) -> bool {
        let answer = self.now + u64::try_from(self.typical.as_millis()).unwrap_or(u64::MAX);
        answer > u64::from(expiry) * 1000
    }

    /// Whether that a server refused a URL may be because it expired: its clock is known to
    /// [`CLOCK_SLACK`] and to the second.
    pub(super) fn may_be_over(&self, expiry: u32) -> bool {
        let slack = u64::try_from(CLOCK_SLACK.as_millis()).unwrap_or(u64::MAX);
        self.now.saturating_add(slack) > u64::from(expiry) * 1000
    }

    /// Whether an answer is worth looking at for its time.
    pub(super) fn wants(&self, now: Instant) -> bool {
        self.dated && (now >= self.next || !self.clock.known())
    }

    /// Takes the time from the head of an answer.
    pub(super) fn learn(&mut self, server: u64, head: &[u8], sent: Instant, now: Instant) {
        self.next = now + CLOCK_PERIOD;
        // What a cache kept tells of the time when it was made.
        if header(head, "age").is_some() {
            return;
        }
        let Some(date) = date(head) else { return };
        let received = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let out = now.saturating_duration_since(sent);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let sent = millis(received.saturating_sub(out));
        self.clock.learn(server, date, sent, millis(received));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchmaker(now: Instant) -> Watchmaker {
        Watchmaker::new(Arc::new(ClockOffset::default()), now)
    }

    /// Seconds since 1970 by the own clock.
    fn second(own: &Watchmaker) -> u32 {
        u32::try_from(own.now / 1000).unwrap()
    }

    #[test]
    fn what_is_unsure_is_asked_again_later_even_if_the_last_tick_is_long_past() {
        let begin = Instant::now();
        let mut own = watchmaker(begin);
        assert!(own.judge(1, begin).is_none(), "the first is sent, to learn the time");
        for late in [0, 99, 100, 5000] {
            let now = begin + Duration::from_millis(late);
            let Some(Time::Unsure(due)) = own.judge(1, now) else { panic!("{late} ms late") };
            assert!(due > now, "{late} ms late: it would be asked again at once, for ever");
        }
    }

    #[test]
    fn those_that_learn_the_time_go_out_a_period_apart() {
        let begin = Instant::now();
        let mut own = watchmaker(begin);
        let mut sent = Vec::new();
        for tick in 0..=90 {
            let now = begin + CLOCK_PERIOD / 10 * tick;
            own.tick(now);
            sent.extend((0..5).filter(|_| own.judge(1, now).is_none()).map(|_| tick));
        }
        assert_eq!(sent, [0, 10, 20, 30]);
        assert_eq!(sent.len(), CLOCK_LEARNERS as usize);
        own.tick(begin + CLOCK_TRUST + CLOCK_PERIOD);
        let now = begin + CLOCK_TRUST + CLOCK_PERIOD;
        assert!(matches!(own.judge(1, now), Some(Time::Over)), "nobody told the time");
    }

    #[test]
    fn a_url_is_over_with_the_beginning_of_its_second() {
        let mut own = watchmaker(Instant::now());
        let expiry = second(&own) + 100;
        for (milliseconds, over, may_be) in
            [(-2000, false, false), (-1999, false, true), (0, false, true), (1, true, true)]
        {
            own.now = (u64::from(expiry) * 1000).saturating_add_signed(milliseconds);
            assert_eq!(own.is_over(expiry), over, "{milliseconds} ms");
            assert_eq!(own.may_be_over(expiry), may_be, "{milliseconds} ms");
        }
        // An answer takes its time, too.
        own.now = u64::from(expiry) * 1000 - 10;
        own.typical = Duration::from_millis(11);
        assert!(own.is_over(expiry));
    }
}
