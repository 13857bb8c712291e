//! What one origin can bear, found from its answers 429 and 503: for origins without `--rate`.
//!
//! Until the first such answer there is no limit and next to no cost. Then the origin's ceiling is
//! looked for as a TCP sender looks for the bandwidth: fast from below at first, one cut for each
//! round, and between cuts along a cubic curve with its plateau at the estimated ceiling (CUBIC,
//! RFC 9438 section 4; the adaptive retry mode of the AWS SDKs does the same with rates). The time
//! to the plateau adapts: a ceiling that is confirmed is asked about more rarely, and most rarely
//! where the server answers with `Retry-After`, because each question then costs that pause.
//!
//! What the pause does to requests is not decided here, nor is how the limit is kept: that is
//! [`Rate`](super::Rate)'s part.

use std::time::{Duration, Instant};
use windrow_model::limits::{
    PAUSE_CAP, THROTTLE_CUT, THROTTLE_FLOOR, THROTTLE_IDLE, THROTTLE_LOSS, THROTTLE_RAMP,
    THROTTLE_SCALE, THROTTLE_SCALE_CAP, THROTTLE_SCALE_PAUSED,
};

/// Length of one slot of the history, s.
const SLOT: f64 = 0.025;
/// Slots of the history: the second that limiters count in, and a quarter: the last that was
/// allowed in one second is not forgotten before the first of the next.
const SLOTS: usize = 50;
/// Growth beyond the plateau: the logarithm of the rate rises by this times the cube of the
/// seconds, which doubles it in 5.2 s.
const PROBE: f64 = 0.005;
/// The same above a ceiling that was only guessed.
const PROBE_GUESS: f64 = 0.035;
/// Cuts in a row that came before the plateau, and what each takes off.
const STRIKES: [f64; 6] = [1.0, 0.95, 0.85, 0.7, 0.6, 0.5];
/// Estimates that differ by less are the same ceiling.
const SAME: f64 = 0.15;
/// Where the plateau is, below the ceiling.
const PLATEAU: f64 = 0.98;
/// How fast to grow where a question costs a pause.
const PROBE_PAUSED: f64 = 0.0015;
/// A ceiling is asked about once in so many answers.
const RARE: f64 = 120.0;
/// Answers from which a ceiling is guessed.
const GUESS: f64 = 5.0;
/// Seconds behind a cut in which another one means that the ceiling was not where it seemed.
const EARLY: f64 = 3.0;
/// A limit of which less than this share is used does not grow.
const USED: f64 = 0.25;

/// Answers of one origin that a core tells of together.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// Answered with anything but a throttling.
    pub ok: u32,
    /// Answered 429, or 503 from a server that is up.
    pub throttled: u32,
    /// When the first request was sent that was throttled; any moment where none was.
    pub sent: Instant,
    /// What the server asked for with `Retry-After`, of which [`PAUSE_CAP`] counts; zero where it
    /// did not ask.
    pub pause: Duration,
}

/// The ceiling of one origin. About 500 bytes; all calls are a few dozen additions, at most one
/// each 25 ms and core and one for each throttled answer. Belongs behind the lock that the origin
/// has anyway.
#[derive(Debug)]
pub struct Throttle {
    /// Seconds so far, without the pauses that the server asked for: now, and as of when.
    active: f64,
    told: Instant,
    /// No requests are sent before this.
    silent: Instant,
    history: History,
    curve: Option<Curve>,
}

/// The limit as a function of active time.
#[derive(Debug, Clone, Copy)]
struct Curve {
    /// When the latest cut was, as an instant and in active time.
    cut: Instant,
    began: f64,
    /// Right after the cut.
    low: f64,
    /// The estimated ceiling; none until one was met from below.
    ceiling: Option<f64>,
    /// Seconds from the cut to the plateau.
    scale: f64,
    /// How fast the limit grows behind it.
    probe: f64,
    /// Cuts in a row that came soon after another.
    strikes: usize,
    /// Seconds in a row in which the limit was hardly used.
    unused: f64,
}

impl Throttle {
    /// An origin that has not throttled anybody; no moment before `now` will be asked about.
    pub fn new(now: Instant) -> Self {
        Self { active: 0.0, told: now, silent: now, history: History::default(), curve: None }
    }

    /// Tells what was answered up to `now`: by each core once in a tick of 25 ms, and at once when
    /// a request was throttled. Cores may be out of step by a tick.
    pub fn answered(&mut self, now: Instant, answers: Answers) {
        self.advance(now);
        self.history.add(self.active, answers.ok, answers.throttled);
        if answers.throttled == 0 {
            return;
        }
        let answers = Answers { pause: answers.pause.min(PAUSE_CAP), ..answers };
        let pause = answers.pause;
        match self.curve {
            None => {
                // What came through in the last second, or so far, is the best guess; of a few
                // answers it is none.
                let guess = self.history.goodput();
                let guessed = guess >= GUESS;
                let low = if guessed { guess * THROTTLE_CUT } else { guess.max(1.0) };
                self.curve = Some(Curve {
                    cut: now,
                    began: self.active,
                    low,
                    ceiling: guessed.then_some(guess),
                    scale: 1.0,
                    probe: if pause.is_zero() { PROBE_GUESS } else { PROBE },
                    strikes: 0,
                    unused: 0.0,
                });
            }
            // One cut for each round: what was sent before is of the old rate.
            Some(curve) if answers.sent <= curve.cut => {}
            Some(curve) => self.cut(curve, now, &answers),
        }
        self.silent = self.silent.max(now + pause);
    }

    /// Requests a second that the origin is to be sent at most; none while nothing is known.
    pub fn limit(&mut self, now: Instant) -> Option<f64> {
        self.advance(now);
        self.curve.map(|curve| curve.at(self.active))
    }

    fn cut(&mut self, curve: Curve, now: Instant, answers: &Answers) {
        let sent = now.saturating_duration_since(answers.sent).as_secs_f64();
        let rate = curve.at((self.active - sent).max(curve.began));
        let passed = self.active - curve.began;
        let goodput = self.history.goodput();
        let pause = answers.pause.as_secs_f64();
        let early = curve.ceiling.is_some() && passed < (curve.scale / 2.0).min(EARLY);
        let mut strikes = 0;
        let estimate = if !early {
            // The rate at which it began to be too much.
            rate
        } else if now.saturating_duration_since(curve.cut) < Duration::from_secs(1) {
            // It was still too much, or the window that the server counts in is not over. What
            // came through in a whole second is true in both cases.
            strikes = curve.strikes;
            curve.ceiling.unwrap_or(rate).min(goodput)
        } else {
            // Behind a pause there are too few answers to count, and a window that was empty took
            // more than it will: step by step.
            strikes = (curve.strikes + 1).min(STRIKES.len() - 1);
            rate * STRIKES[strikes]
        };
        let estimate = estimate.max(THROTTLE_FLOOR);
        let same = curve.ceiling.is_some_and(|old| (estimate - old).abs() < SAME * old + 1.5);
        let scale = if !same || strikes > 1 {
            THROTTLE_SCALE.as_secs_f64() * if pause > 0.0 { 2.0 } else { 1.0 }
        } else if early {
            curve.scale.max(THROTTLE_SCALE.as_secs_f64())
        } else {
            let cap = THROTTLE_SCALE_CAP.as_secs_f64().max((RARE / estimate).min(60.0));
            // Each question costs a pause: so many of them that the loss is bearable.
            let paused = (pause / THROTTLE_LOSS).min(THROTTLE_SCALE_PAUSED.as_secs_f64());
            (curve.scale * 2.0).clamp(THROTTLE_SCALE.as_secs_f64(), cap).max(paused)
        };
        self.curve = Some(Curve {
            cut: now,
            began: self.active,
            low: estimate * THROTTLE_CUT,
            ceiling: Some(estimate),
            scale,
            probe: if pause > 0.0 { PROBE_PAUSED } else { PROBE },
            strikes,
            unused: 0.0,
        });
    }

    fn advance(&mut self, now: Instant) {
        let from = self.told.max(self.silent);
        let passed = now.saturating_duration_since(from).as_secs_f64();
        self.told = self.told.max(now);
        if passed == 0.0 {
            return;
        }
        self.active += passed;
        self.history.advance(self.active);
        let Some(curve) = &mut self.curve else { return };
        let used = self.history.answers();
        if used >= USED * curve.at(self.active) || self.active - curve.began < 1.0 {
            curve.unused = 0.0;
            return;
        }
        // Nobody knows whether the origin would bear what nobody asks of it.
        curve.began += passed;
        if used > 0.0 {
            curve.unused += passed;
        }
        if curve.unused > THROTTLE_IDLE.as_secs_f64() {
            self.curve = None;
        }
    }
}

impl Curve {
    fn at(&self, active: f64) -> f64 {
        let passed = (active - self.began).max(0.0);
        let Some(ceiling) = self.ceiling else {
            return (self.low * (passed / THROTTLE_RAMP.as_secs_f64()).exp2()).min(1e9);
        };
        let plateau = ceiling * PLATEAU;
        if passed < self.scale {
            return plateau - (plateau - self.low) * (1.0 - passed / self.scale).powi(3);
        }
        let beyond = passed - self.scale;
        (plateau * (self.probe * beyond.powi(3)).min(40.0).exp()).min(1e9)
    }
}

/// Answers of the last second of active time.
#[derive(Debug, Default)]
struct History {
    ok: Vec<u32>,
    throttled: Vec<u32>,
    /// The slot that is being filled.
    slot: u64,
}

impl History {
    fn advance(&mut self, active: f64) {
        let slot = (active / SLOT) as u64;
        self.ok.resize(SLOTS, 0);
        self.throttled.resize(SLOTS, 0);
        for old in (self.slot + 1..=slot).take(SLOTS) {
            self.ok[old as usize % SLOTS] = 0;
            self.throttled[old as usize % SLOTS] = 0;
        }
        if slot > self.slot + SLOTS as u64 {
            self.ok.fill(0);
            self.throttled.fill(0);
        }
        self.slot = self.slot.max(slot);
    }

    fn add(&mut self, active: f64, ok: u32, throttled: u32) {
        self.advance(active);
        let slot = self.slot as usize % SLOTS;
        self.ok[slot] = self.ok[slot].saturating_add(ok);
        self.throttled[slot] = self.throttled[slot].saturating_add(throttled);
    }

    fn goodput(&self) -> f64 {
        self.ok.iter().map(|count| f64::from(*count)).sum::<f64>() / self.span()
    }

    /// Seconds that it holds, and at least the second of a limiter.
    fn span(&self) -> f64 {
        (self.slot as f64 * SLOT).clamp(1.0, SLOTS as f64 * SLOT)
    }

    fn answers(&self) -> f64 {
        let throttled = self.throttled.iter().map(|count| f64::from(*count)).sum::<f64>();
        self.goodput() + throttled / self.span()
    }
}

#[cfg(test)]
mod tests;
