//! One server as all cores see it: whether it answers, and what it may be sent.
//!
//! Requests *flow*, or they are *held*: because so many failed in a row that it seems to be down,
//! or because the server said that it is not available. While they are held, one probe at a time
//! goes out; the first that is answered lets them flow again. What failed in between is nobody's
//! fault. A server that was sent too many requests (429) is not down: behind the pause that it
//! asks for they flow again, and only where nothing but another pause came of that are they held.
//!
//! An origin knows nothing of any other: one that is down stops nobody else's requests.

use super::budget::Budget;
use super::gate::Gate;
use super::rate::Rate;
use super::throttle::{Answers, Throttle};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use windrow_model::limits::{GIVE_UP_PROBES, OUTAGE_SLACK, OUTAGES_KEPT, PROBE_BASE, PROBE_CAP};
use windrow_model::{Failure, FailureClass};

/// The health and the retry budget of one server. Cores share it by way of an
/// [`Access`](super::Access) each.
#[derive(Debug)]
pub struct Origin {
    start: Instant,
    gate: Gate,
    /// A copy of the phase, for a look without the lock.
    held: AtomicBool,
    /// Microseconds after `start`, and one, at which the latest request was sent that was
    /// answered well; 0 for none.
    proof: AtomicU64,
    /// One of many: where it never answers, its objects fail, and the others go on.
    expendable: bool,
    /// It was given up; see the state.
    abandoned: AtomicBool,
    /// What the user allows.
    cap: Option<Rate>,
    /// What it seems to bear, once it complained.
    bearable: Rate,
    /// It complained.
    limited: AtomicBool,
    /// Requests under way to it, where they are counted.
    under_way: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hold: Option<Hold>,
    budget: Budget,
    /// An object that was fetched: asked for again, it tells an outage from objects that fail on
    /// their own.
    reference: Option<Box<[u8]>>,
    /// Begin and end.
    outages: VecDeque<(Instant, Instant)>,
    /// When requests last began to flow again.
    healed: Option<Instant>,
    /// Why it was given up.
    given_up: Option<Failure>,
    /// The latest pause that it asked for: when the first request was refused since it was last
    /// well, why, and the end.
    paused: Option<(Instant, Failure, Instant)>,
    throttle: Throttle,
    random: u64,
}

/// Why and since when requests are held.
#[derive(Debug)]
struct Hold {
    /// The first failure of the streak that led here.
    since: Instant,
    failure: Failure,
    /// A probe failed: it is an outage, not the fault of those that failed.
    confirmed: bool,
    next_probe: Instant,
    probes: u32,
    probes_failed: u32,
}

/// What is to be asked, to see whether an origin answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// An object that was fetched before, by name.
    Reference(Box<[u8]>),
    /// Any object that waits.
    Trial,
}

/// Whose fault a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The origin was down.
    Origin,
    /// The origin answered others that were sent later.
    Object,
    /// Nobody knows yet.
    Unknown,
}

/// An origin that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// How long it has lasted.
    pub lasted: Duration,
    /// What happened to the first request that noticed.
    pub failure: Failure,
    /// How long the server asked to be left alone, from now on; zero where it did not ask.
    pub pause: Duration,
    /// Whether a probe has confirmed it.
    pub confirmed: bool,
}

impl Origin {
    /// An origin of which nothing is known; no moment before `now` will be asked about. `seed`
    /// decides the jitter of its probes.
    pub fn new(now: Instant, seed: u64) -> Self {
        Self {
            start: now,
            gate: Gate::new(now),
            held: AtomicBool::new(false),
            proof: AtomicU64::new(0),
            expendable: false,
            abandoned: AtomicBool::new(false),
            cap: None,
            bearable: Rate::new(now, 1.0, 1),
            limited: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            state: Mutex::new(State {
                hold: None,
                budget: Budget::new(now),
                reference: None,
                outages: VecDeque::new(),
                healed: None,
                given_up: None,
                paused: None,
                throttle: Throttle::new(now),
                random: seed,
            }),
        }
    }

    /// The same, for one of many. A source's only server is waited for; one of many that never
    /// answered is given up after [`GIVE_UP_PROBES`] probes, and its objects fail.
    pub fn one_of_many(now: Instant, seed: u64) -> Self {
        Self { expendable: true, ..Self::new(now, seed) }
    }

    /// The same, with at most so many requests a second.
    #[must_use]
    pub fn capped(self, per_second: Option<f64>) -> Self {
        Self { cap: per_second.map(|rate| Rate::new(self.start, rate, 1)), ..self }
    }

    /// Whether it has a rate of its own. Costs a load.
    #[inline]
    pub fn is_paced(&self) -> bool {
        self.cap.is_some() || self.limited.load(Ordering::Acquire)
    }

    /// How long until its rates allow another request. Costs a load where there are none.
    #[inline]
    pub fn wait(&self, now: Instant) -> Duration {
        if !self.is_paced() {
            return Duration::ZERO;
        }
        let cap = self.cap.as_ref().map_or(Duration::ZERO, |cap| cap.wait(now));
        match self.limited.load(Ordering::Acquire) {
            true => cap.max(self.bearable.wait(now)),
            false => cap,
        }
    }

    /// Takes the place of one request, if its rates allow one now.
    #[inline]
    pub fn take(&self, now: Instant) -> bool {
        if !self.is_paced() {
            return true;
        }
        let bears = !self.limited.load(Ordering::Acquire) || self.bearable.take(now).is_ok();
        bears && self.cap.as_ref().is_none_or(|cap| cap.take(now).is_ok())
    }

    /// Counts a request that is to be sent there, if `most` allow that over all cores.
    pub fn enter(&self, most: usize) -> bool {
        let entered = self.under_way.fetch_add(1, Ordering::AcqRel) < most;
        if !entered {
            self.leave();
        }
        entered
    }

    /// It is not under way any more; see [`Origin::enter`].
    pub fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether it complained of too many requests, and has not been given more without complaint
    /// since.
    pub fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Acquire)
    }

    /// Learns from answers what it bears.
    pub fn bears(&self, now: Instant, answers: Answers) {
        let mut state = self.state();
        state.throttle.answered(now, answers);
        let limit = state.throttle.limit(now);
        drop(state);
        if let Some(limit) = limit {
            self.bearable.set(limit);
        }
        self.limited.store(limit.is_some(), Ordering::Release);
    }

    /// See [`Origin::one_of_many`].
    pub fn is_expendable(&self) -> bool {
        self.expendable
    }

    /// Why nobody there is asked any more, if that is so. Costs a load.
    pub fn given_up(&self) -> Option<Failure> {
        match self.abandoned.load(Ordering::Acquire) {
            true => self.state().given_up,
            false => None,
        }
    }

    /// Nobody there is asked any more, unless it was well once: what is wrong with it holds for
    /// every object.
    pub fn give_up(&self, failure: Failure) {
        if self.expendable && self.proof().is_none() {
            self.state().given_up.get_or_insert(failure);
            self.abandoned.store(true, Ordering::Release);
            self.held.store(true, Ordering::Release);
        }
    }

    /// Whether requests may be sent at `now`. Costs two loads.
    pub fn flows(&self, now: Instant) -> bool {
        !self.held.load(Ordering::Acquire) && self.gate.is_open(now)
    }

    /// Whether requests are held, but for probes.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Until when not even a probe may be sent, because the server asked for it; zero if none.
    pub fn paused_for(&self, now: Instant) -> Duration {
        self.gate.closed_for(now)
    }

    /// The server asked at `now` to be left alone for so long, in answer to a request that was
    /// sent at `sent`. Behind the pause a probe goes first, unless all that was wrong were too many
    /// requests.
    pub fn pause(&self, sent: Instant, now: Instant, pause: Duration, failure: Failure) {
        self.gate.pause(now, pause);
        if pause.is_zero() {
            return;
        }
        let proof = self.proof();
        let mut state = self.state();
        let since = match state.paused {
            // Nothing was answered well since the last pause began, so it goes on.
            Some((since, _, end)) if sent <= end || proof.is_none_or(|proof| proof <= end) => since,
            _ => now,
        };
        let again = state.paused.is_some_and(|(_, _, end)| end < sent) && since < now;
        let end = state.paused.map_or(now, |(_, _, end)| end).max(now + self.gate.closed_for(now));
        state.paused = Some((since, failure, end));
        drop(state);
        // A 503 may be about the rate too.
        let busy = failure.class == FailureClass::Throttled || self.is_limited();
        if !busy || again {
            self.suspect(since, now, failure);
        }
    }

    /// Holds requests: they have failed in a row since `since`.
    pub fn suspect(&self, since: Instant, now: Instant, failure: Failure) {
        let mut state = self.state();
        if state.hold.is_some() {
            return;
        }
        let wait = state.jitter(PROBE_BASE);
        state.hold = Some(Hold {
            since,
            failure,
            confirmed: false,
            next_probe: now + wait,
            probes: 0,
            probes_failed: 0,
        });
        self.held.store(true, Ordering::Release);
    }

    /// The probe that is to be sent at `now`, if one is due; `waits` is whether the caller has an
    /// object for a trial. Its fate is to be told by one of the three calls below.
    pub fn probe(&self, now: Instant, waits: bool) -> Option<Probe> {
        let mut state = self.state();
        let State { hold, reference, .. } = &mut *state;
        let hold = hold.as_mut().filter(|hold| hold.next_probe <= now)?;
        if !self.gate.is_open(now) || (!waits && reference.is_none()) {
            return None;
        }
        hold.probes += 1;
        // One without an answer does not hold up the next for ever.
        hold.next_probe = now + PROBE_CAP;
        // In turns: the object that was fine once may be gone.
        Some(match reference {
            Some(name) if !waits || hold.probes % 2 == 1 => Probe::Reference(name.clone()),
            _ => Probe::Trial,
        })
    }

    /// Whether [`Origin::probe`] would give one.
    pub fn probe_due(&self, now: Instant) -> bool {
        self.is_held()
            && !self.abandoned.load(Ordering::Acquire)
            && self.gate.is_open(now)
            && self.state().hold.as_ref().is_some_and(|hold| hold.next_probe <= now)
    }

    /// A probe came back without having been tried; another may go at once.
    pub fn probe_returned(&self, now: Instant) {
        if let Some(hold) = &mut self.state().hold {
            hold.probes = hold.probes.saturating_sub(1);
            hold.next_probe = now;
        }
    }

    /// A probe that was sent at `sent` failed at `now`.
    pub fn probe_failed(&self, sent: Instant, now: Instant, probe: &Probe) {
        if let Some(failure) = self.count_failed_probe(sent, now, probe) {
            self.give_up(failure);
        }
    }

    /// Gives why it seems to be down, where enough probes failed to give it up.
    fn count_failed_probe(&self, sent: Instant, now: Instant, probe: &Probe) -> Option<Failure> {
        let mut state = self.state();
        let wait = match &state.hold {
            // Else it is of an earlier outage, and says nothing about this one.
            Some(hold) if sent >= hold.since => {
                PROBE_BASE.saturating_mul(1 << hold.probes_failed.min(16))
            }
            _ => return None,
        };
        let wait = state.jitter(wait.min(PROBE_CAP));
        let known = state.reference.is_some();
        if let Some(hold) = &mut state.hold {
            hold.probes_failed += 1;
            hold.next_probe = now + wait;
            // An object that was never fetched proves nothing where there is a better witness.
            hold.confirmed |= *probe != Probe::Trial || !known;
        }
        let hold = state.hold.as_ref()?;
        (hold.probes_failed >= GIVE_UP_PROBES).then_some(hold.failure)
    }

    /// A probe that was sent at `sent` was answered: requests flow again.
    pub fn probe_answered(&self, sent: Instant, now: Instant, probe: &Probe) {
        let mut state = self.state();
        if let Some(hold) = state.hold.take_if(|hold| sent >= hold.since) {
            if hold.confirmed {
                if state.outages.len() == OUTAGES_KEPT {
                    state.outages.pop_front();
                }
                let since = hold.since.checked_sub(OUTAGE_SLACK).unwrap_or(hold.since);
                state.outages.push_back((since, now));
            }
            if *probe == Probe::Trial && hold.probes > 1 {
                // The reference had its chance, and was no good.
                state.reference = None;
            }
            state.budget.skip_to(now);
            state.healed = Some(now);
            if hold.confirmed {
                // What it bore in an outage says nothing of what it bears now.
                state.throttle = Throttle::new(now);
                self.limited.store(false, Ordering::Release);
            }
        }
        self.prove(sent);
        let held = state.hold.is_some() || state.given_up.is_some();
        self.held.store(held, Ordering::Release);
    }

    /// Whose fault it was that a request failed which was out from `sent` to `failed`.
    pub fn fault(&self, sent: Instant, failed: Instant) -> Fault {
        let state = self.state();
        let down = state.outages.iter().any(|&(begin, end)| sent <= end && failed >= begin);
        let held = state.hold.as_ref().is_some_and(|hold| hold.confirmed && failed >= hold.since);
        drop(state);
        match self.proof().is_some_and(|proof| proof > failed) {
            _ if down || held => Fault::Origin,
            true => Fault::Object,
            false => Fault::Unknown,
        }
    }

    /// When the latest request was sent that was answered well, as far as cores have told.
    pub fn proof(&self) -> Option<Instant> {
        let micros = self.proof.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.start + Duration::from_micros(micros))
    }

    /// A request that was sent at `sent` was answered well.
    pub fn prove(&self, sent: Instant) {
        let micros = sent.saturating_duration_since(self.start).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX - 1) + 1;
        self.proof.fetch_max(micros, Ordering::AcqRel);
    }

    /// So many requests were answered well, of which `retried` were retries.
    pub fn earn(&self, successes: u64, retried: u64, now: Instant) {
        self.state().budget.earn(successes, retried, now);
    }

    /// Takes the token for a retry, if there is one.
    pub fn take_token(&self, now: Instant) -> bool {
        self.state().budget.take(now)
    }

    /// An object that was fetched.
    pub fn note(&self, name: &[u8]) {
        self.state().reference = Some(name.into());
    }

    /// Whether an object is known that was fetched.
    pub fn has_reference(&self) -> bool {
        self.state().reference.is_some()
    }

    /// When requests last began to flow again.
    pub fn healed(&self) -> Option<Instant> {
        self.state().healed
    }

    /// The outage that lasts at `now`, if one does.
    pub fn outage(&self, now: Instant) -> Option<Outage> {
        let pause = self.gate.closed_for(now);
        if !self.is_held() && pause.is_zero() {
            return None;
        }
        let state = self.state();
        let (since, failure, confirmed) = match &state.hold {
            Some(hold) => (hold.since, hold.failure, hold.confirmed),
            None => state.paused.map(|(since, failure, _)| (since, failure, false))?,
        };
        let lasted = now.saturating_duration_since(since);
        Some(Outage { lasted, failure, pause, confirmed })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Half of `wait` at least, all of it at most.
    fn jitter(&mut self, wait: Duration) -> Duration {
        let random = super::random(&mut self.random);
        wait / 2 + super::backoff::mul_fraction(wait / 2, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Failure = Failure { class: FailureClass::Connect, status: 0, detail: "refused" };
    const SECOND: Duration = Duration::from_secs(1);

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn an_outage_is_confirmed_by_what_was_fine_before() {
        let start = Instant::now();
        let origin = Origin::new(start, 1);
        origin.note(b"fine");
        let since = at(start, 5000);
        origin.suspect(since, at(start, 5010), REFUSED);
        assert!(!origin.flows(at(start, 5010)) && origin.probe(at(start, 5010), true).is_none());
        let probe = origin.probe(at(start, 5110), true).expect("a probe is due");
        assert_eq!(probe, Probe::Reference(b"fine"[..].into()));
        assert_eq!(origin.probe(at(start, 5110), true), None, "one at a time");
        assert_eq!(origin.fault(since, since), Fault::Unknown);
        origin.probe_failed(at(start, 5110), at(start, 5120), &probe);
        assert_eq!(origin.fault(since, since), Fault::Origin);
        let probe = origin.probe(at(start, 5330), true).expect("the next");
        assert_eq!(probe, Probe::Trial);
        origin.probe_answered(at(start, 5330), at(start, 5340), &probe);
        assert!(origin.flows(at(start, 5340)));
        assert_eq!(origin.fault(since, since), Fault::Origin, "it stays the origin's");
        assert_eq!(origin.fault(at(start, 3000), at(start, 3001)), Fault::Object);
        assert_eq!(origin.fault(at(start, 5350), at(start, 5360)), Fault::Unknown);
    }

    #[test]
    fn objects_that_fail_on_their_own_are_no_outage() {
        let start = Instant::now();
        let origin = Origin::new(start, 1);
        origin.note(b"fine");
        origin.suspect(start, start, REFUSED);
        let probe = origin.probe(at(start, 100), true).expect("a probe is due");
        origin.probe_answered(at(start, 100), at(start, 101), &probe);
        assert_eq!(origin.fault(start, start), Fault::Object);
    }

    #[test]
    fn probes_are_spaced_and_one_that_hangs_does_not_stop_the_next() {
        let start = Instant::now();
        let origin = Origin::new(start, 7);
        origin.suspect(start, start, REFUSED);
        let mut now = start;
        let mut probes = 0;
        while now < start + SECOND * 60 {
            if let Some(probe) = origin.probe(now, true) {
                probes += 1;
                if probes % 3 > 0 {
                    origin.probe_failed(now, now, &probe);
                }
            }
            now += Duration::from_millis(10);
        }
        assert!((30..70).contains(&probes), "{probes}");
        assert_eq!(origin.outage(now).map(|outage| outage.lasted), Some(SECOND * 60));
    }

    #[test]
    fn a_pause_holds_probes_too() {
        let start = Instant::now();
        let origin = Origin::new(start, 7);
        origin.pause(start, start, SECOND * 2, REFUSED);
        for millis in (0..=2000).step_by(10) {
            assert!(!origin.flows(at(start, millis)) && !origin.probe_due(at(start, millis)));
            assert_eq!(origin.probe(at(start, millis), true), None);
        }
        let probe = origin.probe(at(start, 2001), true).expect("the pause is over");
        assert!(!origin.flows(at(start, 2001)), "a probe goes first");
        origin.pause(at(start, 2001), at(start, 2002), SECOND, REFUSED);
        origin.probe_failed(at(start, 2001), at(start, 2002), &probe);
        assert_eq!(origin.probe(at(start, 3002), true), None);
        let probe = origin.probe(at(start, 3003), true).expect("the second pause is over");
        origin.probe_answered(at(start, 3003), at(start, 3004), &probe);
        assert!(origin.flows(at(start, 3004)));
    }

    #[test]
    fn too_many_requests_are_no_outage_unless_nothing_else_comes_of_a_pause() {
        let start = Instant::now();
        let origin = Origin::new(start, 7);
        let throttled = Failure { class: FailureClass::Throttled, status: 429, detail: "" };
        let ask = |millis: u64| {
            origin.pause(at(start, millis), at(start, millis + 1), SECOND, throttled);
        };
        ask(5000);
        assert!(!origin.flows(at(start, 5500)) && !origin.is_held());
        assert!(origin.outage(at(start, 5500)).is_some_and(|outage| !outage.pause.is_zero()));
        assert!(origin.flows(at(start, 6003)), "no probe goes first");
        // What was under way is refused too; that is the same pause.
        ask(5000);
        assert!(!origin.is_held());
        origin.prove(at(start, 7000));
        ask(7010);
        assert!(!origin.is_held() && origin.flows(at(start, 8013)));
        ask(8020);
        assert!(origin.is_held(), "the first that was sent behind the pause got another");
        let outage = origin.outage(at(start, 8500)).expect("it is held");
        assert_eq!(outage.lasted, Duration::from_millis(8500 - 7011));
        let probe = origin.probe(at(start, 9100), true).expect("the pause is over");
        origin.probe_answered(at(start, 9100), at(start, 9101), &probe);
        assert!(origin.flows(at(start, 9101)));
        ask(9200);
        assert!(!origin.is_held());
    }

    #[test]
    fn one_origin_that_is_down_stops_no_other() {
        let start = Instant::now();
        let (dead, fine) = (Origin::new(start, 1), Origin::new(start, 2));
        dead.suspect(start, start, REFUSED);
        dead.pause(start, start, SECOND, REFUSED);
        while dead.take_token(start) {}
        assert!(!dead.flows(start) && fine.flows(start) && fine.take_token(start));
        assert!(fine.outage(start).is_none() && fine.probe(start + SECOND, true).is_none());
    }
}
