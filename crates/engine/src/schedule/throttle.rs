//! What one origin can bear, found from its answers 429 and 503: for origins without `--rate`.
//!
//! Until the first such answer there is no limit and next to no cost. What came through until then
//! is the first guess, and often far too low: of a burst most are refused. So it is tried in
//! steps, each for long enough to be refused, that are small at first and double then. From there
//! on the ceiling is looked for as a TCP sender looks for the bandwidth: one cut for each round,
//! and between cuts along a cubic curve with its plateau at the estimated ceiling (CUBIC, RFC 9438
//! section 4; the adaptive retry mode of the AWS SDKs does the same with rates). The time to the
//! plateau adapts: a ceiling that is confirmed is asked about more rarely.
//!
//! Where the server answers with `Retry-After`, each question costs that pause, and behind it
//! nothing can be told from what comes through: the server has saved up for a burst, or counts
//! anew. There the ceiling is closed in on from both sides, by halves, and asked about most rarely
//! once it is known.
//!
//! A 503 may say the same, or that the server fails. Only where there are many they count, and
//! where fewer requests do not make them fewer, they are no answer to the rate.
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
/// How long a rate is tried before it counts as borne: a limiter's second, and the time to hear.
const TRIED: f64 = 1.25;
/// The same where the steps double: a rate that is far too high is noticed soon.
const TRIED_BRIEFLY: f64 = 0.6;
/// First steps from the guess; behind them they double.
const STEPS: [f64; 2] = [1.0, 1.12];
/// A ceiling between two rates that are no more apart than this is known.
const NEAR: f64 = 1.1;
const SLIGHTLY: f64 = 1.02;
/// Of what was borne for a second, this is borne for ever.
const SAFELY: f64 = 0.99;
/// Where the next step lies between what was borne and what was refused.
const TOWARDS: f64 = 0.35;
/// Where what was borne is so near to what was not, it was not borne, but taken from what the
/// server had saved up: how far down to look.
const LOWER: f64 = 0.5;
/// The same where the ceiling was known a moment ago.
const FLUKE: f64 = 0.85;
/// How long behind a moment a core may tell of what was before it: two ticks.
const OUT_OF_STEP: Duration = Duration::from_millis(50);
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
/// Above that there is nothing to limit.
const MOST: f64 = 1e9;
/// So many answers 503 in a second, and such a share, may be about the rate.
const MANY: (f64, f64) = (5.0, 0.1);
/// The share from which they count where that was so.
const SOME: f64 = 0.02;
/// For how long they do not, where fewer requests did not help.
const DEAF: Duration = Duration::from_secs(60);
/// One cut takes the ceiling down to no less than one part in so many.
const DEEPEST: f64 = 3.0;
/// Where 503s led below one part in so many of the first limit, fewer requests do not help.
const HELPLESS: f64 = 4.0;
/// A limit of which less than this share is used does not grow.
const USED: f64 = 0.25;

/// Answers of one origin that a core tells of together.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// Answered with anything but a throttling.
    pub ok: u32,
    /// Answered 429, or 503.
    pub throttled: u32,
    /// It was 429: the server is up, and wants fewer requests.
    pub certain: bool,
    /// When the first request was sent that was throttled; any moment where none was.
    pub sent: Instant,
    /// What the server asked for with `Retry-After`, of which [`PAUSE_CAP`] counts; zero where it
    /// did not ask.
    pub pause: Duration,
}

impl Answers {
    /// None that was throttled.
    pub fn fine(ok: u32, now: Instant) -> Self {
        Self { ok, throttled: 0, certain: true, sent: now, pause: Duration::ZERO }
    }
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
    /// Answered well since the latest cut.
    came: f64,
    /// Answers 503 do not count until then: they are not for the rate.
    deaf: Option<Instant>,
    /// What the first limit was that 503s led to, if they did.
    doubtful: Option<f64>,
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
    course: Course,
    /// Seconds in a row in which the limit was hardly used.
    unused: f64,
}

/// What the limit does from the cut on.
#[derive(Debug, Clone, Copy)]
enum Course {
    /// Too little was answered for a guess: it doubles.
    Ramp,
    /// It stays for a while, to be followed by the next step.
    Step {
        /// What was borne before.
        borne: f64,
        /// What was too much, and the pause in s that was asked for; none until that is known.
        refused: Option<(f64, f64)>,
        /// Steps so far.
        nth: usize,
    },
    /// It comes back to the ceiling and tries what is above.
    Cubic {
        /// The estimate.
        ceiling: f64,
        /// Seconds from the cut to the plateau.
        scale: f64,
        /// How fast it grows behind that.
        probe: f64,
    },
}

impl Throttle {
    /// An origin that has not throttled anybody; no moment before `now` will be asked about.
    pub fn new(now: Instant) -> Self {
        Self {
            active: 0.0,
            told: now,
            silent: now,
            history: History::default(),
            came: 0.0,
            deaf: None,
            doubtful: None,
            curve: None,
        }
    }

    /// Tells what was answered up to `now`: by each core once in a tick of 25 ms, and at once when
    /// a request was throttled. Cores may be out of step by a tick.
    pub fn answered(&mut self, now: Instant, answers: Answers) {
        self.advance(now);
        self.history.add(self.active, answers.ok, answers.throttled);
        self.came += f64::from(answers.ok);
        self.guess_again();
        if answers.throttled == 0 || !(answers.certain || self.believes(now)) {
            return;
        }
        let doubtful = !answers.certain && self.curve.is_none();
        let answers = Answers { pause: answers.pause.min(PAUSE_CAP), ..answers };
        self.silent = self.silent.max(now + answers.pause);
        match self.curve {
            None => {
                // What came through in the last second, or so far, is the best guess; of a few
                // answers it is none.
                let guess = self.history.goodput();
                let (low, course) = match guess >= GUESS {
                    true => (guess * PLATEAU, Course::Step { borne: 0.0, refused: None, nth: 1 }),
                    false => (guess.max(1.0), Course::Ramp),
                };
                let (cut, began) = (now, self.active);
                self.curve = Some(Curve { cut, began, low, course, unused: 0.0 });
            }
            // One cut for each round: what was sent before is of the old rate.
            Some(curve) if answers.sent <= curve.cut => {}
            // Other cores hear of the first one a moment later.
            Some(curve) if curve.is_first() && answers.sent <= curve.cut + OUT_OF_STEP => {}
            Some(curve) => self.cut(curve, now, &answers),
        }
        if doubtful {
            self.doubtful = self.curve.map(|curve| curve.low);
        } else if answers.certain {
            self.doubtful = None;
        } else if self.is_helpless() {
            // At this rate it would take long to hear that it is no answer to the rate.
            self.stop_listening(now);
        }
    }

    /// Whether answers 503 are about the rate.
    fn believes(&mut self, now: Instant) -> bool {
        if self.deaf.is_some_and(|until| now < until) {
            return false;
        }
        let (refused, share) = self.history.refused();
        let many = refused >= MANY.0 && share >= MANY.1;
        // Where hardly anything comes through it is down, and that is looked after elsewhere.
        if self.curve.is_none() {
            return many && self.history.goodput() >= GUESS;
        }
        if share >= MANY.1 && self.is_helpless() {
            self.stop_listening(now);
            return false;
        }
        share >= SOME
    }

    /// Whether 503s led far down from the first limit.
    fn is_helpless(&self) -> bool {
        let limit = self.curve.map(|curve| curve.at(self.active));
        limit.zip(self.doubtful).is_some_and(|(limit, first)| limit < first / HELPLESS)
    }

    /// Fewer requests do not help: 503s are no answer to the rate for a while.
    fn stop_listening(&mut self, now: Instant) {
        (self.curve, self.doubtful, self.deaf) = (None, None, Some(now + DEAF));
    }

    /// Requests a second that the origin is to be sent at most; none while nothing is known.
    pub fn limit(&mut self, now: Instant) -> Option<f64> {
        self.advance(now);
        self.curve.map(|curve| curve.at(self.active))
    }

    /// What other cores had been answered before the first cut is told behind it.
    fn guess_again(&mut self) {
        let goodput = self.history.goodput();
        let Some(curve) = self.curve.as_mut().filter(|curve| curve.is_first()) else { return };
        let passed = self.active - curve.began;
        if passed <= OUT_OF_STEP.as_secs_f64() {
            curve.low = curve.low.max((goodput - curve.low * passed) * PLATEAU);
        }
    }

    fn cut(&mut self, curve: Curve, now: Instant, answers: &Answers) {
        let sent = self.active - now.saturating_duration_since(answers.sent).as_secs_f64();
        let rate = curve.at(sent.max(curve.began)).max(THROTTLE_FLOOR);
        let pause = answers.pause.as_secs_f64();
        // With the pause, and whatever the server had saved up by it, it is no more than this.
        let sure = self.came / now.saturating_duration_since(curve.cut).as_secs_f64().max(0.001);
        self.came = 0.0;
        let (low, course) = match curve.course {
            // What was borne a moment ago is refused now, or what is tried.
            Course::Step { borne, refused, nth } if pause > 0.0 => {
                let known = refused.map_or(f64::MAX, |(known, _)| known);
                let refused = if sent < curve.began { borne } else { rate }.min(known);
                between(borne, (refused, pause), sure, nth)
            }
            Course::Cubic { scale, .. } if pause > 0.0 && self.is_early(&curve, scale) => {
                between(rate, (rate, pause), sure, 1)
            }
            _ => self.known(&curve, rate, now, pause),
        };
        self.curve = Some(Curve { cut: now, began: self.active, low, course, unused: 0.0 });
    }

    /// Whether so little time has passed since the cut that the ceiling is not where it seemed.
    fn is_early(&self, curve: &Curve, scale: f64) -> bool {
        self.active - curve.began < (scale / 2.0).min(EARLY)
    }

    /// The ceiling was met with `rate`.
    fn known(&self, curve: &Curve, rate: f64, now: Instant, pause: f64) -> (f64, Course) {
        let old = match curve.course {
            Course::Cubic { ceiling, scale, .. } => Some((ceiling, scale)),
            Course::Step { refused: None, .. } | Course::Ramp => None,
            Course::Step { refused: Some((refused, _)), .. } => Some((refused, 0.0)),
        };
        let early = old.is_some_and(|(_, scale)| self.is_early(curve, scale));
        let soon = now.saturating_duration_since(curve.cut) < Duration::from_secs(1);
        let estimate = match old {
            // It was still too much, or the window that the server counts in is not over. What
            // came through in a whole second is true in both cases; that of a few requests none
            // did is chance.
            Some((ceiling, _)) if early && soon => {
                self.history.goodput().clamp(ceiling / DEEPEST, ceiling)
            }
            // The rate at which it began to be too much.
            _ => rate,
        };
        let ceiling = estimate.max(THROTTLE_FLOOR);
        let same = old.filter(|(old, _)| (ceiling - old).abs() < SAME * old + 1.5);
        let least = THROTTLE_SCALE.as_secs_f64();
        let scale = match same {
            None => least * if pause > 0.0 { 2.0 } else { 1.0 },
            Some((_, scale)) if early => scale.max(least),
            Some((_, scale)) => {
                let cap = THROTTLE_SCALE_CAP.as_secs_f64().max((RARE / ceiling).min(60.0));
                (scale * 2.0).clamp(least, cap).max(rarely(pause))
            }
        };
        let probe = if pause > 0.0 { PROBE_PAUSED } else { PROBE };
        (ceiling * THROTTLE_CUT, Course::Cubic { ceiling, scale, probe })
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
        curve.step(self.active);
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

/// What is next where `borne` was borne, and `refused` (and the pause in s) was not. If it was
/// hardly more than what was borne, that came from what the server had saved up: then `sure` is
/// what it bears at least.
fn between(borne: f64, refused: (f64, f64), sure: f64, nth: usize) -> (f64, Course) {
    let (rate, pause) = refused;
    let borne = match rate / borne {
        apart if apart > NEAR => borne.max(rate / 4.0),
        apart if apart > SLIGHTLY => {
            let (plateau, scale) = (borne * SAFELY, rarely(pause));
            let ceiling = plateau / PLATEAU;
            return (plateau, Course::Cubic { ceiling, scale, probe: PROBE_PAUSED });
        }
        _ => sure.clamp(rate * LOWER, rate * FLUKE),
    };
    // To be refused costs more than to be borne: nearer to what was borne.
    let next = (borne * (rate / borne).powf(TOWARDS)).max(THROTTLE_FLOOR);
    (next, Course::Step { borne, refused: Some(refused), nth })
}

/// Seconds to the plateau where each question costs a pause: so many that the loss is bearable.
fn rarely(pause: f64) -> f64 {
    (pause / THROTTLE_LOSS).min(THROTTLE_SCALE_PAUSED.as_secs_f64())
}

impl Curve {
    fn at(&self, active: f64) -> f64 {
        let passed = (active - self.began).max(0.0);
        match self.course {
            Course::Ramp => (self.low * (passed / THROTTLE_RAMP.as_secs_f64()).exp2()).min(MOST),
            Course::Step { .. } => self.low,
            Course::Cubic { ceiling, scale, probe } => {
                let plateau = ceiling * PLATEAU;
                if passed < scale {
                    return plateau - (plateau - self.low) * (1.0 - passed / scale).powi(3);
                }
                let beyond = passed - scale;
                (plateau * (probe * beyond.powi(3)).min(40.0).exp()).min(MOST)
            }
        }
    }

    /// Whether it is the first that was guessed.
    fn is_first(&self) -> bool {
        matches!(self.course, Course::Ramp | Course::Step { refused: None, nth: 1, .. })
    }

    /// What is tried has been borne: the next step, if its time has come.
    fn step(&mut self, active: f64) {
        let Course::Step { refused, nth, .. } = self.course else { return };
        let briefly = refused.is_none() && nth > STEPS.len();
        if active - self.began < if briefly { TRIED_BRIEFLY } else { TRIED } {
            return;
        }
        let borne = self.low;
        self.began = active;
        (self.low, self.course) = match refused {
            None => {
                let last = nth.checked_sub(1).and_then(|last| STEPS.get(last));
                let factor = last.zip(STEPS.get(nth)).map_or(2.0, |(last, next)| next / last);
                let next = (borne * factor).min(MOST);
                (next, Course::Step { borne, refused: None, nth: nth + 1 })
            }
            Some(refused) => between(borne, refused, 0.0, nth + 1),
        };
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

    /// How many were throttled, and their share.
    fn refused(&self) -> (f64, f64) {
        let sum = |counts: &[u32]| counts.iter().map(|count| f64::from(*count)).sum::<f64>();
        let (ok, refused) = (sum(&self.ok), sum(&self.throttled));
        (refused, refused / (ok + refused).max(1.0))
    }

    fn answers(&self) -> f64 {
        let throttled = self.throttled.iter().map(|count| f64::from(*count)).sum::<f64>();
        self.goodput() + throttled / self.span()
    }
}

#[cfg(test)]
mod tests;
