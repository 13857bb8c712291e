//! Clients against servers that count, on a clock that costs no time.

use super::*;
use crate::schedule::Rate;
use std::collections::VecDeque;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(25);

/// How a server counts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limiter {
    /// A token bucket that holds one.
    Strict,
    /// A token bucket that holds what a second brings.
    Bucket,
    /// A token bucket that holds what 100 ms bring.
    Small,
    /// So many in each second of the clock.
    Fixed,
    /// So many in any second.
    Sliding,
}

const LIMITERS: [Limiter; 5] =
    [Limiter::Strict, Limiter::Small, Limiter::Bucket, Limiter::Fixed, Limiter::Sliding];

impl Limiter {
    fn holds(self, allowed: f64) -> f64 {
        match self {
            Limiter::Strict => 1.0,
            Limiter::Small => (allowed / 10.0).max(1.0),
            _ => allowed,
        }
    }
}

struct Server {
    limiter: Limiter,
    tokens: f64,
    at: f64,
    window: u64,
    recent: VecDeque<f64>,
}

impl Server {
    fn new(limiter: Limiter, allowed: f64) -> Self {
        Self {
            limiter,
            tokens: limiter.holds(allowed),
            at: 0.0,
            window: 0,
            recent: VecDeque::new(),
        }
    }

    fn allows(&mut self, at: f64, allowed: f64) -> bool {
        match self.limiter {
            Limiter::Strict | Limiter::Small | Limiter::Bucket => {
                let most = self.limiter.holds(allowed);
                self.tokens = (self.tokens + (at - self.at) * allowed).min(most);
                self.at = at;
                let enough = self.tokens > 1.0 - 1e-6;
                self.tokens -= if enough { 1.0 } else { 0.0 };
                enough
            }
            Limiter::Fixed => {
                if at as u64 != self.window {
                    (self.window, self.tokens) = (at as u64, allowed);
                }
                let enough = self.tokens >= 1.0;
                self.tokens -= if enough { 1.0 } else { 0.0 };
                enough
            }
            Limiter::Sliding => {
                while self.recent.front().is_some_and(|first| first + 1.0 <= at) {
                    self.recent.pop_front();
                }
                let enough = (self.recent.len() as f64) < allowed;
                if enough {
                    self.recent.push_back(at);
                }
                enough
            }
        }
    }
}

struct Client {
    throttle: Throttle,
    rate: Rate,
    limited: bool,
    most: usize,
    begins: Duration,
    /// Answers under way: when they come, when they were sent, whether fine.
    out: VecDeque<(Duration, Duration, bool)>,
    silent: Duration,
    tick: Duration,
    ok: u32,
    random: u64,
    /// For each second.
    fine: Vec<u32>,
    refused: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Case {
    limiter: Limiter,
    allowed: f64,
    rtt: Duration,
    retry_after: Duration,
    /// What is allowed is multiplied by this from that second on.
    change: (f64, u64),
    clients: usize,
    length: u64,
    /// Seconds between the begins of the clients.
    apart: u64,
    /// Requests under way at once, at most.
    most: usize,
    /// It refuses with 429, and not with 503.
    certain: bool,
    /// So many of 1,000 are answered 503 whatever the rate.
    fails: u64,
}

impl Case {
    fn new(limiter: Limiter, allowed: f64, rtt_us: u64, retry_after: u64) -> Self {
        Self {
            limiter,
            allowed,
            rtt: Duration::from_micros(rtt_us),
            retry_after: SECOND * retry_after as u32,
            change: (1.0, u64::MAX),
            clients: 1,
            length: 40,
            apart: 0,
            most: usize::MAX,
            certain: true,
            fails: 0,
        }
    }

    fn allowed_at(&self, second: f64) -> f64 {
        self.allowed * if second >= self.change.1 as f64 { self.change.0 } else { 1.0 }
    }

    fn play(&self) -> Vec<Client> {
        let start = Instant::now();
        let mut server = Server::new(self.limiter, self.allowed);
        let most =
            64.max((self.allowed * 2.0 * self.change.0.max(1.0) * self.rtt.as_secs_f64()) as usize);
        let seconds = self.length as usize + 1;
        let mut clients: Vec<Client> = (0..self.clients)
            .map(|nth| Client {
                throttle: Throttle::new(start),
                rate: Rate::new(start, 1e7, 1),
                limited: false,
                most: most.min(self.most),
                begins: SECOND * (nth as u32 * self.apart as u32),
                out: VecDeque::new(),
                silent: Duration::ZERO,
                tick: Duration::from_millis(7 * nth as u64),
                ok: 0,
                random: nth as u64,
                fine: vec![0; seconds],
                refused: vec![0; seconds],
            })
            .collect();
        loop {
            let (nth, at) = clients
                .iter()
                .map(|client| client.next(start))
                .enumerate()
                .min_by_key(|(_, at)| *at)
                .expect("a client");
            if at >= SECOND * self.length as u32 {
                return clients;
            }
            clients[nth].step(self, &mut server, start, at);
        }
    }
}

impl Client {
    fn may_send(&self, start: Instant) -> Duration {
        if self.out.len() >= self.most {
            return Duration::MAX;
        }
        let slot = if self.limited { self.rate.wait(start) } else { Duration::ZERO };
        slot.max(self.silent).max(self.begins)
    }

    fn next(&self, start: Instant) -> Duration {
        let answer = self.out.front().map_or(Duration::MAX, |answer| answer.0);
        answer.min(self.tick).min(self.may_send(start))
    }

    fn step(&mut self, case: &Case, server: &mut Server, start: Instant, at: Duration) {
        if self.tick <= at {
            self.tick += TICK;
            self.tell(case, start, at, 0, at);
        } else if let Some((_, sent, fine)) = self.out.pop_front_if(|answer| answer.0 <= at) {
            if fine {
                self.ok += 1;
                self.fine[at.as_secs() as usize] += 1;
            } else {
                self.refused[at.as_secs() as usize] += 1;
                self.tell(case, start, at, 1, sent);
                self.silent = self.silent.max(at + case.retry_after);
            }
        } else {
            // The real meter's lateness is tested with it; this one is asked on the dot.
            if self.limited && self.rate.take(start + at).is_err() {
                return;
            }
            let arrives = (at + case.rtt / 2).as_secs_f64();
            let fails = crate::schedule::random(&mut self.random) % 1000 < case.fails;
            let fine = !fails && server.allows(arrives, case.allowed_at(arrives));
            self.out.push_back((at + case.rtt, at, fine));
        }
    }

    fn tell(&mut self, case: &Case, start: Instant, at: Duration, throttled: u32, sent: Duration) {
        let pause = if throttled > 0 { case.retry_after } else { Duration::ZERO };
        let Case { certain, .. } = *case;
        let answers = Answers { ok: self.ok, throttled, certain, sent: start + sent, pause };
        self.ok = 0;
        self.throttle.answered(start + at, answers);
        let limit = self.throttle.limit(start + at);
        self.limited = limit.is_some();
        if let Some(limit) = limit {
            self.rate.set(limit);
        }
    }

    fn fine(&self, from: u64, to: u64) -> f64 {
        self.fine[from as usize..to as usize].iter().map(|count| f64::from(*count)).sum()
    }

    fn refused(&self, from: u64, to: u64) -> f64 {
        self.refused[from as usize..to as usize].iter().map(|count| f64::from(*count)).sum()
    }
}

fn settles(limiters: &[Limiter], pauses: &[u64], allowed: &[f64], rtts_us: &[u64], length: u64) {
    println!(
        "limiter   allowed/s   rtt ms  retry-after  10 to 30 s, to the end, 429s, each second"
    );
    let mut bad = Vec::new();
    for &limiter in limiters {
        for &allowed in allowed {
            for &rtt in rtts_us {
                for &retry_after in pauses {
                    let mut case = Case::new(limiter, allowed, rtt, retry_after);
                    case.length = length;
                    let client = &case.play()[0];
                    let (fine, refused) = (client.fine(10, length), client.refused(10, length));
                    let share = refused / (fine + refused);
                    let goodput = |to| client.fine(10, to) / (allowed * (to - 10) as f64);
                    let (soon, all) = (goodput(length.min(30)), goodput(length));
                    let name = format!("{limiter:?}");
                    let seconds = (0..30.min(length)).map(|at| client.fine(at, at + 1) / allowed);
                    let seconds: Vec<_> = seconds.map(|share| format!("{share:.2}")).collect();
                    let row = format!(
                        "{name:8} {allowed:10} {:8.1} {retry_after:12} {soon:8.3} {all:8.3} \
                         {:5.2} % {}",
                        rtt as f64 / 1e3,
                        share * 100.0,
                        seconds.join(" "),
                    );
                    println!("{row}");
                    // One question more or less in the first 20 s is 6 % of them.
                    if soon < 0.88 || all < 0.9 || share > 0.02 {
                        bad.push(row);
                    }
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn it_settles_below_what_is_allowed() {
    settles(&LIMITERS, &[0, 1], &[10.0, 100.0, 300.0], &[100, 20_000, 200_000], 70);
}

#[test]
fn it_settles_below_thousands_too() {
    settles(&LIMITERS, &[0, 1], &[1_500.0], &[100, 20_000, 200_000], 70);
}

#[test]
fn it_settles_below_fifty_thousand() {
    settles(&[Limiter::Strict, Limiter::Sliding], &[0], &[50_000.0], &[200_000], 25);
}

#[test]
fn an_answer_503_may_be_about_the_rate() {
    for limiter in [Limiter::Small, Limiter::Bucket, Limiter::Fixed, Limiter::Sliding] {
        for rtt in [100, 20_000] {
            let mut case = Case::new(limiter, 300.0, rtt, 0);
            case.certain = false;
            let client = &case.play()[0];
            let (fine, refused) = (client.fine(10, 40), client.refused(10, 40));
            let (goodput, share) = (fine / (300.0 * 30.0), refused / (fine + refused));
            assert!(goodput >= 0.9 && share <= 0.05, "{limiter:?} {rtt}: {goodput} {share}");
        }
    }
}

#[test]
fn a_server_that_fails_is_not_slowed_down() {
    for fails in [2, 50, 500] {
        // It bears whatever 64 requests at once can ask for.
        let mut case = Case::new(Limiter::Bucket, 1e9, 20_000, 0);
        (case.certain, case.fails, case.most) = (false, fails, 64);
        let client = &case.play()[0];
        let expected = 64.0 / 0.02 * (1000 - fails) as f64 / 1000.0;
        let share = client.fine(10, 40) / (expected * 30.0);
        assert!(share > if fails < 100 { 0.95 } else { 0.7 }, "{fails} of 1,000: {share}");
    }
}

#[test]
fn a_streak_without_a_good_answer_is_no_measure() {
    // Ten come well and ten do not; from then on a client that keeps to the limit is refused
    // every time, at first twice in a second. What came through in that second is nothing.
    for certain in [false, true] {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        let mut now = start + SECOND;
        let refused = |throttled, ok, now| Answers {
            ok,
            throttled,
            certain,
            sent: now - Duration::from_millis(1),
            pause: Duration::ZERO,
        };
        throttle.answered(now, refused(10, 10, now));
        let first = throttle.limit(now).unwrap();
        for nth in 0..40 {
            let before = throttle.limit(now).unwrap_or(first);
            now += Duration::from_secs_f64(1.0 / before);
            throttle.answered(now, refused(1, 0, now));
            let limit = throttle.limit(now).unwrap_or(first);
            assert!(limit >= before / 5.0, "{certain} {nth}: from {before}/s to {limit}/s at once");
            assert!(certain || limit >= first / 4.0, "{nth}: 503 slows to {limit}/s");
        }
    }
}

#[test]
fn it_follows_what_is_allowed() {
    println!("limiter   allowed/s  times  rtt ms  retry-after  15 to 25 s behind, 30 to 60 s");
    let mut bad = Vec::new();
    for limiter in LIMITERS {
        for (allowed, change, rtt, retry_after) in [
            (10.0, 0.5, 20_000, 0),
            (10.0, 2.0, 20_000, 0),
            (1000.0, 0.5, 100, 0),
            (1000.0, 2.0, 100, 0),
            (1000.0, 0.5, 200_000, 0),
            (1000.0, 2.0, 200_000, 0),
            (1000.0, 0.5, 20_000, 1),
            (1000.0, 2.0, 20_000, 1),
        ] {
            let mut case = Case::new(limiter, allowed, rtt, retry_after);
            (case.change, case.length) = ((change, 30), 90);
            let client = &case.play()[0];
            let share = |from, to| client.fine(from, to) / (allowed * change * (to - from) as f64);
            let (soon, later) = (share(45, 55), share(60, 90));
            let name = format!("{limiter:?}");
            let row = format!(
                "{name:8} {allowed:10} {change:5} {:8.1} {retry_after:12} {soon:8.3} {later:8.3}",
                rtt as f64 / 1e3
            );
            println!("{row}");
            // Where each question costs a second, a doubling is noticed late, and by way of several.
            let (got, enough) = if retry_after > 0 { (later, 0.7) } else { (soon, 0.9) };
            if got < enough {
                bad.push(row);
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn processes_share() {
    println!("limiter   apart s  rtt ms  retry-after  first  second  429s  (30 to 90 s)");
    let mut bad = Vec::new();
    for limiter in
        [Limiter::Strict, Limiter::Small, Limiter::Bucket, Limiter::Fixed, Limiter::Sliding]
    {
        for (apart, rtt, retry_after) in
            [(0, 20_000, 0), (0, 200_000, 0), (0, 20_000, 1), (20, 20_000, 0), (20, 20_000, 1)]
        {
            let allowed = 500.0;
            let mut case = Case::new(limiter, allowed, rtt, retry_after);
            (case.clients, case.apart, case.length) = (2, apart, 90);
            let clients = case.play();
            let share = |nth: usize| clients[nth].fine(30, 90) / (allowed * 60.0);
            let refused: f64 = clients.iter().map(|client| client.refused(30, 90)).sum();
            let fine = (share(0) + share(1)) * allowed * 60.0;
            let name = format!("{limiter:?}");
            let row = format!(
                "{name:8} {apart:8} {:7.1} {retry_after:12} {:6.3} {:7.3} {:5.2} %",
                rtt as f64 / 1e3,
                share(0),
                share(1),
                refused / (fine + refused) * 100.0
            );
            println!("{row}");
            // A bucket of one cannot be shared: of two requests that meet it refuses one. And each
            // pauses for the other's questions too.
            let (sum, each) = match (limiter, retry_after) {
                (Limiter::Strict, _) => continue,
                (_, 0) => (0.85, 0.20),
                _ => (0.70, 0.05),
            };
            if share(0) + share(1) < sum || share(0).min(share(1)) < each {
                bad.push(row);
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn it_costs_nothing_until_it_is_needed_and_ends_when_it_is_not() {
    let start = Instant::now();
    let mut throttle = Throttle::new(start);
    let answers = |ok, throttled, sent| Answers { throttled, sent, ..Answers::fine(ok, sent) };
    let mut now = start;
    for _ in 0..400 {
        now += TICK;
        throttle.answered(now, answers(250, 0, now));
        assert_eq!(throttle.limit(now), None);
    }
    throttle.answered(now, answers(0, 1, now - TICK));
    let limit = throttle.limit(now).expect("a limit");
    assert!((8_000.0..10_000.0).contains(&limit), "{limit}");
    throttle.answered(now + TICK, answers(0, 1000, now - TICK));
    let next = throttle.limit(now + TICK).expect("a limit");
    assert!(next >= limit, "what was sent before the cut is of no account: {next} {limit}");
    // The list is nearly done: nobody sends so much any more.
    let mut dropped = None;
    for _ in 0..1200 {
        now += TICK;
        throttle.answered(now, answers(1, 0, now));
        match throttle.limit(now) {
            Some(limit) => assert!(limit < 12_000.0, "unused, it does not grow: {limit}"),
            None => dropped = dropped.or(Some(now)),
        }
    }
    assert!(dropped.is_some());
}

#[test]
fn silence_is_no_time() {
    let start = Instant::now();
    let mut throttle = Throttle::new(start);
    let pause = SECOND * 30;
    let fine = Answers::fine(100, start);
    throttle.answered(start + SECOND, Answers { throttled: 1, pause, ..fine });
    let limit = throttle.limit(start + SECOND);
    assert!(limit.is_some());
    assert_eq!(throttle.limit(start + SECOND * 31), limit);
    let now = start + SECOND * 33;
    throttle.answered(now, fine);
    assert!(throttle.limit(now) > limit);
}

#[test]
fn nothing_that_a_server_does_breaks_it() {
    let start = Instant::now();
    let mut throttle = Throttle::new(start);
    let (mut now, mut state) = (start, 5);
    for _ in 0..200_000 {
        let mut random = |below: u64| crate::schedule::random(&mut state) % below;
        now += Duration::from_micros(random(100_000));
        let sent = now.checked_sub(Duration::from_micros(random(500_000))).unwrap_or(start);
        let pause = if random(50) == 0 {
            Duration::from_secs(u64::MAX >> random(64))
        } else {
            Duration::ZERO
        };
        let (wide, narrow) = (random(32), random(8));
        let (ok, throttled) = (random(1 << wide) as u32, random(1 << narrow) as u32);
        let certain = random(2) == 0;
        throttle.answered(now, Answers { ok, throttled, certain, sent, pause });
        if let Some(limit) = throttle.limit(now) {
            assert!((THROTTLE_FLOOR * 0.9..=1e9).contains(&limit), "{limit}");
        }
    }
}
