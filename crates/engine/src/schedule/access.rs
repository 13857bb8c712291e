//! One core's way to an origin: what it learns from answers, kept to itself until it matters.
//!
//! An answer costs a few stores of the core's own. The origin, which all cores share, hears of
//! successes once in a tick, and of failures when there is something to decide.

use super::origin::{Fault, Origin, Probe};
use super::throttle::Answers;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windrow_model::Failure;
use windrow_model::limits::{OUTAGE_STREAK, RAMP_END, RAMP_START, REFERENCE_PERIOD};

/// How long a core does without retries when there was no token for one.
const DRY: Duration = Duration::from_millis(25);

/// An origin, as one core has access to it.
#[derive(Debug)]
pub struct Access {
    origin: Arc<Origin>,
    /// Failures since the last success.
    streak: u32,
    /// The first of them.
    streak_since: Instant,
    /// When the latest request was sent that was answered well.
    proof: Option<Instant>,
    /// Successes that the origin was not told of, and those of them that were retries.
    successes: u64,
    retried: u64,
    /// Answers since the origin was last told of them.
    answers: u32,

    /// Requests that may be under way; grows behind an outage.
    ramp: usize,
    /// Requests were seen to be held.
    held: bool,
    /// What was sent before does not speak of the time behind the outage.
    healed: Option<Instant>,
    /// No token before this.
    dry_until: Option<Instant>,
    /// When an object was last noted as a reference.
    noted: Option<Instant>,
    wants_reference: bool,
}

impl Access {
    /// Access to an origin that seems to be well.
    pub fn new(origin: Arc<Origin>, now: Instant) -> Self {
        Self {
            origin,
            streak: 0,
            streak_since: now,
            proof: None,
            successes: 0,
            retried: 0,
            answers: 0,

            ramp: usize::MAX,
            held: false,
            healed: None,
            dry_until: None,
            noted: None,
            wants_reference: true,
        }
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Why nobody there is asked any more, if that is so.
    pub fn given_up(&self) -> Option<Failure> {
        self.origin.given_up()
    }

    /// Whether it is one of many, that is given up when it never answers.
    pub fn is_expendable(&self) -> bool {
        self.origin.is_expendable()
    }

    /// Whether a request may be sent at `now` beside `out` others.
    #[inline]
    pub fn flows(&mut self, now: Instant, out: usize) -> bool {
        if !self.origin.flows(now) {
            // Behind a mere pause its rate is all that is to be heeded.
            self.held |= self.origin.is_held();
            return false;
        }
        if self.held {
            self.resume();
        }
        out < self.ramp && self.origin.wait(now).is_zero()
    }

    /// The same, for a look.
    pub fn would_flow(&self, now: Instant, out: usize) -> bool {
        let ramp = if self.held { RAMP_START } else { self.ramp };
        self.origin.flows(now) && out < ramp && self.origin.wait(now).is_zero()
    }

    /// Begins with few requests: an origin that comes back may be slow, and others wait too.
    fn resume(&mut self) {
        self.held = false;
        self.streak = 0;
        self.ramp = RAMP_START;
        self.healed = self.origin.healed();
    }

    /// Whether fewer requests than usual may be under way.
    pub fn ramping(&self) -> bool {
        self.ramp != usize::MAX
    }

    /// A request that was sent at `sent` was answered well.
    #[inline]
    pub fn answered(&mut self, sent: Instant, retry: bool) {
        self.streak = 0;
        self.answers += 1;
        self.successes += 1;
        self.retried += u64::from(retry);
        if self.proof.is_none_or(|proof| proof < sent) {
            self.proof = Some(sent);
        }
        if self.ramping() {
            self.ramp = if self.ramp >= RAMP_END { usize::MAX } else { self.ramp + 1 };
        }
    }

    /// A request that was sent at `sent` was answered with the wish to slow down, for `pause` if the
    /// server said so; `certain` is whether the answer can mean nothing else.
    pub fn throttled(&mut self, sent: Instant, now: Instant, pause: Duration, certain: bool) {
        let ok = std::mem::take(&mut self.answers);
        self.origin.bears(now, Answers { ok, throttled: 1, certain, sent, pause });
    }

    /// The answer to a request that was sent at `sent` asked for a pause; see [`Origin::pause`].
    pub fn paused(&self, sent: Instant, now: Instant, pause: Duration, failure: Failure) {
        if let Some(proof) = self.proof {
            self.origin.prove(proof);
        }
        self.origin.pause(sent, now, pause, failure);
    }

    /// A request that was sent at `sent` failed in a way that may be the origin's fault.
    pub fn failed(&mut self, sent: Instant, now: Instant, failure: Failure) {
        if self.healed.is_some_and(|healed| sent < healed) {
            return;
        }
        if self.streak == 0 {
            self.streak_since = now;
        }
        self.streak += 1;
        if self.streak >= OUTAGE_STREAK {
            self.origin.suspect(self.streak_since, now, failure);
        }
    }

    /// Asks for a probe: a failure is the last that its object may have, and nobody else's fate
    /// says whose fault it was.
    pub fn doubt(&self, failed: Instant, now: Instant, failure: Failure) {
        self.origin.suspect(failed, now, failure);
    }

    /// Whose fault it was that a request failed which was out from `sent` to `failed`.
    pub fn fault(&self, sent: Instant, failed: Instant) -> Fault {
        match self.origin.fault(sent, failed) {
            Fault::Unknown if self.proof.is_some_and(|proof| proof > failed) => Fault::Object,
            fault => fault,
        }
    }

    /// Whether any request was ever answered well.
    pub fn was_ever_well(&self) -> bool {
        self.proof.is_some() || self.origin.proof().is_some()
    }

    /// Whether there may be a token; [`Access::take_token`] knows.
    pub fn may_retry(&self, now: Instant) -> bool {
        self.dry_until.is_none_or(|until| until <= now)
    }

    /// Takes the token for a retry, if there is one.
    pub fn take_token(&mut self, now: Instant) -> bool {
        if !self.may_retry(now) {
            return false;
        }
        let taken = self.origin.take_token(now);
        self.dry_until = (!taken).then(|| now + DRY);
        taken
    }

    /// Whether the name of an object that was fetched is of use.
    pub fn wants_reference(&self) -> bool {
        self.wants_reference
    }

    /// An object that was fetched.
    pub fn note(&mut self, name: &[u8], now: Instant) {
        self.origin.note(name);
        self.wants_reference = false;
        self.noted = Some(now);
    }

    /// A probe that was sent at `sent` was answered.
    pub fn probe_answered(&mut self, sent: Instant, now: Instant, probe: &Probe) {
        self.origin.probe_answered(sent, now, probe);
        self.held = true;
    }

    /// Tells the origin what was learned; to be called once in a tick.
    pub fn sync(&mut self, now: Instant) {
        if self.successes > 0 {
            self.origin.earn(self.successes, self.retried, now);
            (self.successes, self.retried) = (0, 0);
        }
        if let Some(proof) = self.proof {
            self.origin.prove(proof);
        }
        if self.answers > 0 || self.origin.is_limited() {
            let ok = std::mem::take(&mut self.answers);
            self.origin.bears(now, Answers::fine(ok, now));
        }
        if self.origin.is_held() {
            self.held = true;
        } else if self.noted.is_none_or(|noted| noted + REFERENCE_PERIOD <= now) {
            self.wants_reference = true;
        }
    }
}
