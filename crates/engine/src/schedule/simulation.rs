//! Whole runs against origins that misbehave, on a clock that costs no time.
//!
//! Cores, desks and origins are the real ones; sockets and the server are a table of what is
//! answered when. Every case is played with many seeds.

use super::desk::{Next, Verdict};
use super::ticket::Errand;
use super::{Access, Desk, Origin, RetryPolicy};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windrow_model::task::Names;
use windrow_model::{Failure, FailureClass, Lease};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(25);
const LATENCY: Duration = Duration::from_millis(20);
const CORES: usize = 2;
/// Requests in flight on each core: 1,000 a second in all.
const LINKS: usize = 10;
/// Played for each case.
const SEEDS: u64 = 20;

/// What a server does with one request.
struct Answer {
    after: Duration,
    result: Result<(), Failure>,
    pause: Option<Duration>,
}

fn fine() -> Answer {
    Answer { after: LATENCY, result: Ok(()), pause: None }
}

fn status(status: u16) -> Answer {
    let failure = Failure::of_status(status).expect("no success");
    Answer { after: LATENCY / 4, result: Err(failure), pause: None }
}

fn lost(class: FailureClass, after: Duration) -> Answer {
    Answer { after, result: Err(Failure::new(class, "lost")), pause: None }
}

/// What a run came to.
#[derive(Debug, Default)]
struct Played {
    requests: u64,
    stored: u64,
    failed: u64,
    pending: u64,
    /// Requests that came before the end of a pause that the server had asked for.
    early: u64,
    /// Objects stored in each second.
    each_second: Vec<u64>,
    took: Duration,
    gave_up: bool,
}

struct Core {
    desk: Desk,
    leases: std::vec::IntoIter<Lease>,
    out: usize,
}

struct Landing {
    core: usize,
    errand: Errand,
    sent: Instant,
    answer: Answer,
}

struct World<S> {
    origin: Arc<Origin>,
    cores: Vec<Core>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    landings: Vec<Option<Landing>>,
    server: S,
    start: Instant,
    random: u64,
    played: Played,
    paused_until: Option<Instant>,
}

/// Plays a run over `count` objects; the server is asked with the time since the begin, the
/// object's name and a random number.
fn play(
    seed: u64,
    count: usize,
    policy: RetryPolicy,
    server: impl FnMut(Duration, &[u8], u64) -> Answer,
) -> Played {
    let start = Instant::now();
    let mut world = World {
        origin: Arc::new(Origin::new(start, seed)),
        cores: Vec::new(),
        due: BinaryHeap::new(),
        landings: Vec::new(),
        server,
        start,
        random: seed,
        played: Played::default(),
        paused_until: None,
    };
    let mut names = Names::default();
    for number in 0..count {
        names.push(number.to_string().as_bytes()).expect("few names");
    }
    let mut shares: Vec<Vec<Lease>> = (0..CORES).map(|_| Vec::new()).collect();
    for (nth, lease) in Lease::cut(names, 0, 64).enumerate() {
        shares[nth % CORES].push(lease);
    }
    for (index, share) in shares.into_iter().enumerate() {
        let access = Access::new(Arc::clone(&world.origin), start);
        let desk = Desk::new(policy, access, seed ^ (index as u64).rotate_left(32));
        world.cores.push(Core { desk, leases: share.into_iter(), out: 0 });
    }
    world.run(policy.outage_max);
    world.played
}

impl<S: FnMut(Duration, &[u8], u64) -> Answer> World<S> {
    fn run(&mut self, outage_max: Duration) {
        let mut now = self.start;
        let mut tick = self.start;
        let end = self.start + SECOND * 7200;
        while self.cores.iter().any(|core| !core.desk.finished() || core.out > 0) {
            assert!(now < end, "no end, after {} requests", self.played.requests);
            match self.due.peek() {
                Some(Reverse((at, index))) if *at <= tick => {
                    now = *at;
                    let index = *index;
                    self.due.pop();
                    self.land(index, now);
                }
                _ => {
                    now = tick;
                    tick += TICK;
                    for core in 0..CORES {
                        self.cores[core].desk.access().sync(now);
                        self.pump(core, now);
                    }
                    let outage = self.origin.outage(now);
                    if outage.is_some_and(|o| o.pause.is_zero() && o.lasted >= outage_max) {
                        self.played.gave_up = true;
                        self.cores.iter_mut().for_each(|core| core.desk.stop());
                    }
                }
            }
        }
        self.played.took = now - self.start;
        self.played.pending = self
            .cores
            .iter()
            .map(|core| {
                core.desk.pending() + core.leases.clone().map(|l| l.len() as u64).sum::<u64>()
            })
            .sum();
    }

    /// Sends what may be sent: a link that is free asks, as links do.
    fn pump(&mut self, core: usize, now: Instant) {
        loop {
            let own = &mut self.cores[core];
            while own.desk.wants_lease() {
                match own.leases.next() {
                    Some(lease) => own.desk.add(lease),
                    None => {
                        own.desk.close();
                        break;
                    }
                }
            }
            if own.out == LINKS {
                return;
            }
            let ready = own.desk.ready(now) || own.desk.may_probe(now);
            let errand = match own.desk.next(now) {
                Some(Next::Failed(..)) => {
                    self.played.failed += 1;
                    continue;
                }
                Some(Next::Send(ticket) | Next::Again(ticket)) => Errand::Object(ticket),
                None => match own.desk.probe(now) {
                    Some(errand) => errand,
                    None => return,
                },
            };
            assert!(ready, "whoever waits to be woken would have waited for ever");
            own.out += 1;
            let random = super::random(&mut self.random);
            let answer = (self.server)(
                now - self.start,
                errand.ticket().map_or_else(|reference| reference, |ticket| ticket.name()),
                random,
            );
            self.played.requests += 1;
            self.played.early += u64::from(self.paused_until.is_some_and(|until| now < until));
            self.due.push(Reverse((now + answer.after, self.landings.len())));
            self.landings.push(Some(Landing { core, errand, sent: now, answer }));
        }
    }

    fn land(&mut self, index: usize, now: Instant) {
        let landing = self.landings[index].take().expect("lands once");
        let Landing { core, errand, sent, answer } = landing;
        let own = &mut self.cores[core];
        own.out -= 1;
        if let (Some(pause), Err(failure)) = (answer.pause, answer.result) {
            own.desk.access().paused(sent, now, pause, failure);
            self.paused_until = self.paused_until.max(Some(now + pause));
        }
        match own.desk.ended(errand, answer.result, sent, now) {
            Verdict::Store(ticket) => {
                if own.desk.access().wants_reference() {
                    own.desk.access().note(ticket.name(), now);
                }
                own.desk.settled(ticket);
                self.played.stored += 1;
                let second = (now - self.start).as_secs() as usize;
                let seconds = &mut self.played.each_second;
                seconds.resize(seconds.len().max(second + 1), 0);
                seconds[second] += 1;
            }
            Verdict::Final(..) => self.played.failed += 1,
            Verdict::Retry | Verdict::Nothing => {}
        }
        self.pump(core, now);
    }
}

const OUTAGE: std::ops::Range<u64> = 10..70;

/// Plays an outage of 60 s after 10 s, in a run that would take 60 s, and holds it to its
/// promises.
fn outage(name: &str, during: impl Fn(Duration, u64) -> Answer) {
    let count = 60_000;
    for seed in 0..SEEDS {
        let played = play(seed, count, RetryPolicy::default(), |at, _, random| {
            match OUTAGE.contains(&at.as_secs()) {
                true => during(at, random),
                false => fine(),
            }
        });
        let ratio = played.requests as f64 / count as f64;
        assert!(ratio <= 1.10, "{name}, seed {seed}: {ratio} x the requests");
        assert_eq!((played.stored, played.failed), (count as u64, 0), "{name}, seed {seed}");
        assert_eq!(played.early, 0, "{name}, seed {seed}: requests in a pause");
        let end = OUTAGE.end as usize;
        let back = &played.each_second[end + 5..end + 10];
        assert!(back.iter().all(|&stored| stored >= 900), "{name}, seed {seed}: {back:?}");
        if std::env::var_os("WINDROW_FIGURES").is_some() && seed < 5 {
            let first = (end..).find(|&s| played.each_second[s] >= 900);
            println!("{name} seed {seed}: {ratio:.4} x, full speed in second {first:?}");
        }
    }
}

#[test]
fn an_outage_of_503_costs_few_requests_and_no_object() {
    outage("503", |_, _| status(503));
}

#[test]
fn an_outage_of_refused_connections_costs_few_requests_and_no_object() {
    outage("refused", |_, _| lost(FailureClass::Connect, Duration::from_micros(100)));
}

#[test]
fn an_outage_of_resets_costs_few_requests_and_no_object() {
    outage("reset", |_, random| lost(FailureClass::Reset, Duration::from_micros(random % 10_000)));
}

#[test]
fn an_outage_of_bodies_cut_short_costs_few_requests_and_no_object() {
    outage("truncated", |_, _| lost(FailureClass::Truncated, LATENCY));
}

#[test]
fn too_many_requests_with_a_pause_cost_few_requests_and_no_object() {
    for seconds in [1, 2, 7] {
        outage(&format!("429, {seconds} s"), |at, _| {
            // No longer than the outage lasts, as a server that knows would say.
            let left = Duration::from_secs(OUTAGE.end) - at;
            let pause = Duration::from_secs(seconds).min(left);
            Answer { pause: Some(pause), ..status(429) }
        });
    }
}

#[test]
fn retry_0_fails_nothing_for_an_outage() {
    let policy = RetryPolicy { retries: 0, ..RetryPolicy::default() };
    for seed in 0..SEEDS {
        let played = play(seed, 20_000, policy, |at, _, _| match at.as_secs() {
            3..9 => status(503),
            _ => fine(),
        });
        assert_eq!((played.stored, played.failed), (20_000, 0), "seed {seed}");
    }
}

#[test]
fn objects_that_always_fail_end_as_failed_wherever_they_lie() {
    // At the begin, in the middle, and so many at the end that they look like an outage.
    let bad = |name: &[u8]| {
        let number: usize = std::str::from_utf8(name).unwrap().parse().unwrap();
        number < 3 || number == 2000 || number >= 4900
    };
    for retries in [0, 1, 5] {
        let policy = RetryPolicy { retries, ..RetryPolicy::default() };
        for seed in 0..SEEDS {
            let mut asked = 0;
            let played = play(seed, 5000, policy, |_, name, _| match bad(name) {
                true => {
                    asked += 1;
                    status(500)
                }
                false => fine(),
            });
            assert_eq!((played.stored, played.failed), (4896, 104), "{retries}, seed {seed}");
            // Those that go out as probes, and those of which it is not known yet that they are
            // to blame, may be asked for once more than they should.
            let most = 104 * (u64::from(retries) + 2);
            assert!(asked <= most, "{retries}, seed {seed}: {asked}, not {most}");
            assert!(played.took < SECOND * 120, "{retries}, seed {seed}: {:?}", played.took);
        }
    }
}

#[test]
fn a_run_against_a_server_that_stays_away_gives_up_and_fails_nothing() {
    let policy = RetryPolicy { outage_max: SECOND * 600, ..RetryPolicy::default() };
    for seed in 0..SEEDS {
        for from in [0, 5] {
            let played = play(seed, 50_000, policy, |at, _, _| match at.as_secs() < from {
                true => fine(),
                false => status(503),
            });
            assert!(played.gave_up && played.failed == 0, "seed {seed}: {played:?}");
            assert_eq!(played.stored + played.pending, 50_000);
            let wasted = played.requests - played.stored;
            assert!(wasted < 600, "seed {seed}: {wasted} requests in ten minutes");
        }
    }
}

#[test]
fn a_server_that_fails_at_random_is_worked_off() {
    for (share, slowest) in [(5, 1.2), (30, 5.0), (50, 20.0)] {
        for seed in 0..SEEDS / 4 {
            let policy = RetryPolicy { retries: 100, ..RetryPolicy::default() };
            let played = play(seed, 30_000, policy, |_, _, random| match random % 100 < share {
                true => status(503),
                false => fine(),
            });
            assert_eq!(played.stored, 30_000, "{share} %, seed {seed}");
            let took = played.took.as_secs_f64() / 30.0;
            assert!(took < slowest, "{share} %, seed {seed}: {took} x the time");
            if std::env::var_os("WINDROW_FIGURES").is_some() && seed == 0 {
                println!(
                    "{share} %: {took:.2} x time, {:.2} x requests",
                    played.requests as f64 / 3e4
                );
            }
        }
    }
}

#[test]
fn short_outages_in_a_row_fail_nothing() {
    for seed in 0..SEEDS {
        let played = play(seed, 60_000, RetryPolicy::default(), |at, _, random| {
            // 0.3 to 3 s in every 5 s.
            let bad = 300 + (at.as_secs() / 5 * 7919 + seed * 104_729) % 2700;
            match at.as_millis() as u64 % 5000 < bad {
                true if random % 2 == 0 => status(503),
                true => lost(FailureClass::Connect, Duration::from_micros(200)),
                false => fine(),
            }
        });
        assert_eq!((played.stored, played.failed), (60_000, 0), "seed {seed}");
        let ratio = played.requests as f64 / 6e4;
        assert!(ratio < 1.10, "seed {seed}: {ratio} x the requests");
    }
}
