//! How many requests are in flight at best, over all cores: `-c auto`.
//!
//! What is measured is the throughput at a limit, by rounds: the smoothed latency long, and not
//! counted before one has passed since the limit changed. Startup doubles the limit while that
//! pays (BBR, section 4.3.1), then drains to about throughput times least latency, if that is no
//! slower. From then on the limit holds, and now and then a probe asks whether more would be faster
//! or less as fast (as Netflix's concurrency-limits and BBR's probing do, but judged by throughput:
//! latency alone cannot tell a queue from a server that takes long). What was learned is checked
//! again before it counts, because throughput fluctuates. Failures halve the limit.
//!
//! A client that is short of CPU looks like a server that is: more in flight brings nothing, so
//! the limit stays.

use std::time::{Duration, Instant};
use windrow_model::limits::{
    CROWD_FAILURES, CROWD_HOLD, CROWD_HOLD_CAP, CROWD_ROUND, CROWD_ROUND_CAP,
};

/// Growth that a doubling of the limit has to bring.
const STARTUP_GAIN: f64 = 1.3;
/// Latency, in times the least, that speaks for fewer in flight.
const CROWDED: f64 = 3.0;
/// First step of a probe; it halves where the step was too far and doubles where it was not.
const STEP: f64 = 0.25;
const STEP_LEAST: f64 = 0.06;
const STEP_MOST: f64 = 1.0;
const STEP_DOWN_MOST: f64 = 15.0;
/// Share of the extra requests that have to come out as throughput for more to be better.
const WORTH: f64 = 0.4;
/// Share of the best throughput that is as good as the best.
const NEAR: f64 = 0.97;
/// A change of throughput by which the server must have changed.
const MOVED: f64 = 0.25;
/// Completed requests that a measurement has at least, if they come within [`CROWD_ROUND_CAP`].
const ENOUGH: u64 = 20;
/// Seconds for which a limit that was too much is not tried again.
const WALL: f64 = 8.0;
/// The wall and what is known to be good are near enough.
const CLOSE: f64 = 1.08;

/// What happened in a tick, over all cores.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tick {
    /// Requests answered.
    pub completed: u64,
    /// Sum of their latencies.
    pub latency_sum: Duration,
    /// The least of them.
    pub latency_min: Option<Duration>,
    /// Requests that timed out, were reset or refused, or answered 503.
    pub failures: u64,
    /// Whether requests in flight were held back by the limit; else nothing is learned.
    pub full: bool,
}

/// The limit of requests in flight. Some 200 bytes, and a few dozen instructions each tick; nothing
/// for each request.
#[derive(Debug)]
pub struct Crowd {
    min: usize,
    max: usize,
    limit: usize,
    told: Instant,
    /// Smoothed, s; zero while unknown.
    latency: f64,
    /// Least ever seen, s.
    latency_min: f64,
    phase: Phase,
    round: Round,
    /// The limit that is known to be good, and its throughput once it was measured.
    base: usize,
    base_rate: Option<f64>,
    /// What to go back to where a new base turns out to be worse.
    before: Option<(usize, f64)>,
    /// Best throughput of late.
    best: f64,
    /// Seconds between probes, and what is left of them.
    hold: f64,
    left: f64,
    /// Step of the next probe up and down.
    up: f64,
    down: f64,
    /// A limit that was seen to be too much, and for how many more seconds that counts.
    wall: Option<(usize, f64)>,
    /// Counts probes: of three, two go up.
    probes: u32,
    /// The next probe goes this way.
    next: Option<Way>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Doubling; limit and throughput of the round before, and whether this one is a second look.
    Startup {
        before: Option<(usize, f64)>,
        again: bool,
    },
    Hold,
    Probe(Way),
}

/// A measurement.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// Seconds to pass before it begins, and those that it takes.
    settle: f64,
    length: f64,
    passed: f64,
    completed: u64,
    /// Counted from the change of the limit on, for failures.
    answered: u64,
    failures: u64,
    cut: bool,
}

impl Crowd {
    /// Begins at `start` requests in flight and stays within `min` (at least 1) and `max`.
    pub fn new(now: Instant, start: usize, min: usize, max: usize) -> Self {
        let min = min.max(1);
        let max = max.max(min);
        let start = start.clamp(min, max);
        let mut crowd = Self {
            min,
            max,
            limit: start,
            told: now,
            latency: 0.0,
            latency_min: f64::INFINITY,
            phase: Phase::Startup { before: None, again: false },
            round: Round::default(),
            base: start,
            base_rate: None,
            before: None,
            best: 0.0,
            hold: CROWD_HOLD.as_secs_f64(),
            left: 0.0,
            up: STEP,
            down: STEP,
            wall: None,
            probes: 0,
            next: None,
        };
        crowd.go(start, 1.0);
        crowd
    }

    /// Requests that may be in flight, over all cores.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Tells what happened since the last call; once in a tick of 25 ms.
    pub fn tick(&mut self, now: Instant, tick: Tick) {
        let passed = now.saturating_duration_since(self.told).as_secs_f64();
        self.told = self.told.max(now);
        if passed == 0.0 {
            return;
        }
        self.wall =
            self.wall.map(|(limit, left)| (limit, left - passed)).filter(|wall| wall.1 > 0.0);
        if tick.completed > 0 {
            let mean = tick.latency_sum.as_secs_f64() / tick.completed as f64;
            let old = if self.latency == 0.0 { mean } else { self.latency };
            self.latency = old + (mean - old) * 0.3;
        }
        if let Some(least) = tick.latency_min {
            self.latency_min = self.latency_min.min(least.as_secs_f64());
        }
        let round = &mut self.round;
        round.answered += tick.completed;
        round.failures += tick.failures;
        let all = (round.answered + round.failures) as f64;
        let bad = round.failures > 2 && round.failures as f64 > all * CROWD_FAILURES;
        if bad && !round.cut {
            self.fail();
            return;
        }
        if !tick.full {
            return;
        }
        if round.settle > 0.0 {
            round.settle -= passed;
            if round.settle <= 0.0 && round.cut {
                // What fails from now on was sent after the cut.
                (round.cut, round.answered, round.failures) = (false, 0, 0);
            }
            return;
        }
        round.passed += passed;
        round.completed += tick.completed;
        let (passed, completed) = (round.passed, round.completed);
        let rate = completed as f64 / passed;
        let cap = CROWD_ROUND_CAP.as_secs_f64();
        if passed >= round.length - 1e-9 && (completed >= ENOUGH || passed >= cap) {
            self.conclude(rate);
        } else if let (Phase::Probe(way), Some(base)) = (self.phase, self.base_rate) {
            // A server that breaks down is left alone at once; and what is plain needs no more.
            let (long, share) = match way {
                Way::Up => (CROWD_ROUND.as_secs_f64(), 0.7),
                Way::Down => (self.round_length(), 0.86 / (1.0 + self.down * 0.2)),
            };
            if passed >= long - 1e-9 && completed >= ENOUGH && rate < base * share {
                self.reject(way);
            }
        }
    }

    fn conclude(&mut self, rate: f64) {
        match self.phase {
            Phase::Startup { before, again } => self.started(rate, before, again),
            Phase::Hold => self.held(rate),
            Phase::Probe(way) => self.probed(way, rate),
        }
    }

    fn started(&mut self, rate: f64, before: Option<(usize, f64)>, again: bool) {
        let here = (self.limit, rate);
        // It queues already, or suffers.
        let crowded = before.is_none() && self.crowded();
        let again = again || crowded;
        let gained = !crowded && before.is_none_or(|(_, old)| rate >= old * STARTUP_GAIN);
        if gained && self.limit < self.max {
            self.phase = Phase::Startup { before: Some(here), again: false };
            self.go(self.limit.saturating_mul(2), 1.0);
            return;
        }
        let plain = before.is_some_and(|(_, old)| rate < old * 0.8);
        if !gained && !again && !plain {
            self.phase = Phase::Startup { before, again: true };
            self.measure(2.0);
            return;
        }
        let (base, old) = before.filter(|(_, old)| rate < old * 1.08).unwrap_or(here);
        self.best = 0.0;
        // What throughput and the least latency come to, with some room for chance; less than a
        // sixteenth is not believed.
        let needed = (old.max(rate) * self.latency_min * 1.15).min(1e9) as usize;
        let needed = needed.clamp(base / 16, base);
        self.down =
            if needed * 5 < base * 4 { base as f64 / needed.max(1) as f64 - 1.0 } else { STEP };
        self.next = Some(if self.down > STEP { Way::Down } else { Way::Up });
        if base < self.limit {
            self.wall = Some((self.limit, WALL));
        }
        self.settle_at(base);
    }

    fn held(&mut self, rate: f64) {
        match self.base_rate {
            None => {
                self.base_rate = Some(rate);
                if let Some((limit, old)) = self.before.take()
                    && rate < old * 0.92
                {
                    // It was chance.
                    self.next = None;
                    self.hold = (self.hold * 1.5).min(CROWD_HOLD_CAP.as_secs_f64());
                    self.settle_at(limit);
                    self.base_rate = Some(old);
                    return;
                }
            }
            Some(old) if (rate / old - 1.0).abs() > MOVED => {
                self.best = rate;
                self.base_rate = Some(rate);
                self.hold = CROWD_HOLD.as_secs_f64();
                self.left = 0.0;
                (self.up, self.down, self.wall) = (STEP, STEP, None);
                self.next = Some(if rate < old { Way::Down } else { Way::Up });
            }
            Some(old) => self.base_rate = Some(old + (rate - old) * 0.3),
        }
        let settled = self.base_rate.unwrap_or(rate);
        self.best = settled.max(self.best - self.best * self.round.passed / 30.0);
        self.left -= self.round.passed;
        if self.left <= 0.0 && self.probe() {
            return;
        }
        self.measure(2.0);
    }

    /// Begins a probe; not, where there is no room.
    fn probe(&mut self) -> bool {
        self.probes = self.probes.wrapping_add(1);
        // Where answers take long there may be a queue to be rid of. The step is long then: one
        // that loses little by it cannot have been right.
        let crowded = self.crowded();
        let turn = if self.probes.is_multiple_of(3) != crowded { Way::Down } else { Way::Up };
        if crowded {
            self.down = self.down.max(1.0);
        }
        let way = self.next.take().unwrap_or(turn);
        let base = self.base as f64;
        let limit = match way {
            Way::Up => {
                let most = self.wall.map_or(f64::MAX, |(wall, _)| (base * wall as f64).sqrt());
                // Close to the wall a short step finds what is left of the room, and a long one in
                // turn whether the wall has moved: a short one drowns in noise.
                let short = self.narrow() && self.probes % 3 != 1;
                let step = match self.narrow() {
                    true if short => STEP_LEAST,
                    true => STEP,
                    false if self.wall.is_none() => self.up.max(STEP),
                    false => self.up,
                };
                let limit =
                    if self.narrow() { base * (1.0 + step) } else { most.min(base * (1.0 + step)) };
                (limit as usize).max(self.base + 1)
            }
            Way::Down => (base / (1.0 + self.down)).floor() as usize,
        };
        let limit = limit.clamp(self.min, self.max);
        if limit == self.base {
            return false;
        }
        self.phase = Phase::Probe(way);
        self.go(limit, 3.0);
        true
    }

    fn probed(&mut self, way: Way, rate: f64) {
        let base = self.base_rate.unwrap_or(rate);
        let good = match way {
            Way::Up => {
                let step = self.limit as f64 / self.base as f64 - 1.0;
                rate >= base * (1.0 + WORTH * step)
            }
            Way::Down => {
                // A long step that loses nearly nothing has the knee below it.
                let step = (self.base as f64 / self.limit as f64 - 1.0).min(1.0);
                let best = if step < 0.9 { base.max(self.best) } else { base };
                rate >= (NEAR - 0.08 * (step - STEP).max(0.0)) * best
            }
        };
        if !good {
            self.reject(way);
            return;
        }
        let step = self.limit as f64 / self.base as f64 - 1.0;
        let plain = rate >= base * (1.0 + 0.7 * step) && way == Way::Up && step > 0.2;
        self.before = Some((self.base, base));
        match way {
            Way::Up => {
                self.up = (self.up * 2.5).clamp(STEP, STEP_MOST);
                // The wall is not where it was.
                let limit = self.limit as f64;
                if self.wall.is_some() {
                    self.up = STEP;
                }
                self.wall = self.wall.filter(|(wall, _)| limit < *wall as f64 * 0.95);
                self.hold = CROWD_HOLD.as_secs_f64();
            }
            Way::Down if rate > base * 1.05 && !self.crowded() => {
                // The knee is between: what was the base is too much.
                self.wall = Some((self.base, WALL));
                (self.up, self.down) = (STEP_MOST, STEP);
            }
            Way::Down => self.down = (self.down * 2.0).clamp(STEP, STEP_DOWN_MOST),
        }
        let knee_above = way == Way::Down && self.wall.is_some_and(|wall| wall.0 == self.base);
        self.next = Some(if knee_above { Way::Up } else { way });
        self.settle_at(self.limit);
        self.left = 0.0;
        if plain {
            // No need to look twice.
            (self.base_rate, self.before, self.best) = (Some(rate), None, rate);
            if !self.probe() {
                self.measure(4.0);
            }
        }
    }

    fn reject(&mut self, way: Way) {
        let open = match way {
            Way::Up => {
                self.up = (self.up / 2.0).max(STEP_LEAST);
                self.wall = Some((self.limit, WALL));
                !self.narrow()
            }
            Way::Down => {
                let long = self.down > STEP;
                self.down = ((1.0 + self.down).sqrt() - 1.0).max(STEP);
                long
            }
        };
        let rate = self.base_rate;
        if open {
            // Between the two is a better one.
            self.next = Some(if way == Way::Down && self.down <= STEP { Way::Up } else { way });
            self.settle_at(self.base);
            self.left = 0.0;
        } else {
            let least = self.round_length() * 16.0;
            let cap = CROWD_HOLD_CAP.as_secs_f64();
            let cap = if self.crowded() { cap.min(least) } else { cap };
            self.hold = (self.hold * 2.0).max(least).min(cap);
            self.next = None;
            self.settle_at(self.base);
        }
        self.base_rate = rate;
        if way == Way::Up {
            self.forgive();
        }
    }

    /// What is under way may fail yet, and was sent before the cut.
    fn forgive(&mut self) {
        self.round.cut = true;
        self.round.settle *= 1.5;
    }

    /// Whether answers take much longer than they might.
    fn crowded(&self) -> bool {
        self.latency > self.latency_min * CROWDED
    }

    /// Whether there is no room to speak of below the wall.
    fn narrow(&self) -> bool {
        self.wall.is_some_and(|(wall, _)| {
            wall <= self.base + 1 || (wall as f64) < self.base as f64 * CLOSE
        })
    }

    /// Too many requests failed.
    fn fail(&mut self) {
        if self.round.cut {
            return;
        }
        if let Phase::Probe(Way::Up) = self.phase {
            self.reject(Way::Up);
            return;
        }
        self.best = 0.0;
        self.wall = Some((self.limit, WALL));
        self.next = Some(Way::Up);
        (self.up, self.hold) = (STEP, CROWD_HOLD.as_secs_f64());
        self.before = None;
        self.settle_at((self.limit / 2).max(self.min));
        self.forgive();
    }

    /// Takes `limit` as good, to be measured.
    fn settle_at(&mut self, limit: usize) {
        self.phase = Phase::Hold;
        self.base = limit.clamp(self.min, self.max);
        self.base_rate = None;
        self.left = self.hold;
        self.go(self.base, 3.0);
    }

    /// Changes the limit and measures so many rounds at it.
    fn go(&mut self, limit: usize, rounds: f64) {
        self.limit = limit.clamp(self.min, self.max);
        self.measure(rounds);
        self.round.settle = self.latency.clamp(0.025, CROWD_ROUND_CAP.as_secs_f64());
    }

    fn measure(&mut self, rounds: f64) {
        self.round = Round { length: rounds * self.round_length(), ..Round::default() };
    }

    fn round_length(&self) -> f64 {
        self.latency.clamp(CROWD_ROUND.as_secs_f64(), CROWD_ROUND_CAP.as_secs_f64() / 4.0)
    }
}

#[cfg(test)]
mod tests;
