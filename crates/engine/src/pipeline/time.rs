//! What time it is to the servers, for URLs that expire.
//!
//! The own clock may be wrong by hours; servers tell theirs with each answer. Until that is known, a
//! URL that seems to have expired waits, but for a few that are sent to find out.

use crate::schedule::ClockOffset;
use crate::wire::h1::header;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use windrow_model::limits::{CLOCK_LEARNERS, CLOCK_PERIOD, CLOCK_TRUST};

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
    /// When the last of them was. A server's time is known only when several of its seconds were
    /// seen, so they are not sent all at once.
    learned: Option<Instant>,
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
            learned: None,
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
    /// so.
    pub(super) fn judge(&mut self, expiry: u32) -> Option<Time> {
        self.dated = true;
        let since = *self.since.get_or_insert(self.at);
        if !self.is_over(expiry) {
            return None;
        }
        // Not `clock.known()`: what another core learned since the last tick is not in `now`.
        if self.sure || self.at.saturating_duration_since(since) > CLOCK_TRUST {
            return Some(Time::Over);
        }
        let due = self.learned.is_none_or(|last| self.at >= last + CLOCK_PERIOD);
        if self.learners < CLOCK_LEARNERS && due {
            self.learners += 1;
            self.learned = Some(self.at);
            return None;
        }
        Some(Time::Unsure(self.at + CLOCK_PERIOD / 10))
    }

    /// Whether an answer to what is sent now would come behind the second `expiry`.
    pub(super) fn is_over(&self, expiry: u32) -> bool {
        let answer = self.now + u64::try_from(self.typical.as_millis()).unwrap_or(u64::MAX);
        answer / 1000 > u64::from(expiry)
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
        let date = header(head, "date").and_then(|date| std::str::from_utf8(date).ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
        let Some(date) = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()) else { return };
        let received = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let out = now.saturating_duration_since(sent);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let sent = millis(received.saturating_sub(out));
        self.clock.learn(server, date.as_secs(), sent, millis(received));
    }
}
