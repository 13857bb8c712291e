//! Servers with a knee, played tick by tick with noise, against the best limit of a sweep.

use super::*;
use crate::schedule::random;

const TICK: Duration = Duration::from_millis(25);
/// What `-c auto` begins with on two cores.
const START: usize = 128;
const MAX: usize = 100_000;

/// What a server does beyond its knee.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Knee {
    /// Requests queue.
    Queue,
    /// Throughput falls to a third.
    Collapse,
    /// What is too much is refused, and half of the rest is lost to that.
    Refuse,
    /// The latency grows with the square of what is in flight.
    Slow,
}

const KNEES: [Knee; 4] = [Knee::Queue, Knee::Collapse, Knee::Refuse, Knee::Slow];

#[derive(Debug, Clone, Copy)]
struct Server {
    knee: Knee,
    latency: f64,
    capacity: f64,
}

impl Server {
    /// Requests in flight at the knee.
    fn most(&self) -> f64 {
        (self.capacity * self.latency).max(1.0)
    }

    /// Good answers and failures a second with so many in flight, when all has settled.
    fn settled(&self, flying: usize) -> (f64, f64) {
        let flying = flying as f64;
        let capacity = self.most() / self.latency;
        let free = flying / self.latency;
        let beyond = flying > self.most() + 1e-6;
        match self.knee {
            _ if !beyond => (free.min(self.capacity), 0.0),
            Knee::Queue => (self.capacity, 0.0),
            Knee::Collapse => (self.capacity.min(capacity) / 3.0, 0.0),
            Knee::Refuse => (self.capacity / 2.0, (flying - self.most()) / self.latency),
            Knee::Slow => {
                let latency = self.latency * (flying / self.most()).powi(2);
                ((flying / latency).min(self.capacity), 0.0)
            }
        }
    }

    /// The best throughput of any limit.
    fn best(&self) -> f64 {
        (0..=400)
            .map(|nth| 10f64.powf(f64::from(nth) / 80.0) as usize)
            .chain([self.most() as usize])
            .map(|flying| self.settled(flying).0)
            .fold(0.0, f64::max)
    }
}

/// Throughput in each tick.
fn play(
    crowd: &mut Crowd,
    begin: Instant,
    seconds: (u64, u64),
    server: Server,
    noise: f64,
    seed: u64,
) -> Vec<f64> {
    let (mut state, mut rate, mut failing) = (seed, server.settled(crowd.limit()).0, 0.0);
    // The first answers come from a server that nobody else asks.
    let first = Duration::from_secs_f64(server.latency);
    let (mut rates, mut factor) = (Vec::new(), 1.0);
    let step = TICK.as_secs_f64();
    for nth in seconds.0 * 40 + 1..=seconds.1 * 40 {
        let (fine, failures) = server.settled(crowd.limit());
        // What was in flight goes on for its latency.
        let latency = crowd.limit() as f64 / fine.max(1e-3);
        let pace = (step / server.latency.max(latency.min(2.0) / 2.0)).min(1.0);
        rate += (fine - rate) * pace;
        failing += (failures - failing) * pace;
        if nth % 2 == 0 {
            factor = 1.0 + noise * (random(&mut state) as f64 / u64::MAX as f64 * 2.0 - 1.0);
        }
        let completed = rate * step * factor;
        let chance = random(&mut state) as f64 / u64::MAX as f64;
        let whole = (completed + chance).floor();
        rates.push(completed / step);
        let mean = crowd.limit() as f64 / rate.max(1e-3);
        let tick = Tick {
            completed: whole as u64,
            latency_sum: Duration::from_secs_f64(mean * whole),
            latency_min: (whole > 0.0 || nth == 1).then(|| {
                if nth == 1 {
                    first
                } else {
                    Duration::from_secs_f64(mean.max(server.latency)).mul_f64(0.95)
                }
            }),
            failures: (failing * step) as u64,
            full: true,
        };
        crowd.tick(begin + TICK * nth as u32, tick);
    }
    rates
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}

fn servers() -> impl Iterator<Item = Server> {
    KNEES.into_iter().flat_map(|knee| {
        [1e-4, 5e-3, 0.05, 0.2].into_iter().flat_map(move |latency| {
            [1e3, 1e4, 5e4, 2e5].into_iter().map(move |capacity| Server { knee, latency, capacity })
        })
    })
}

/// `soon` and `later` are what is asked of the two spans.
fn reaches(noise: f64, seeds: u64, enough: (f64, f64)) {
    println!(
        "knee     latency ms  capacity/s  knee at   8 to 14 s  10 to 60 s  (worst of {seeds})"
    );
    let mut bad = Vec::new();
    for server in servers() {
        let (mut soon, mut later) = (f64::MAX, f64::MAX);
        for seed in 0..seeds {
            let start = Instant::now();
            let mut crowd = Crowd::new(start, START, 1, MAX);
            let rates = play(&mut crowd, start, (0, 60), server, noise, seed);
            soon = soon.min(mean(&rates[320..560]) / server.best());
            later = later.min(mean(&rates[400..]) / server.best());
        }
        let knee = format!("{:?}", server.knee);
        let row = format!(
            "{knee:8} {:10.1} {:11} {:8.0} {soon:11.3} {later:11.3}",
            server.latency * 1e3,
            server.capacity,
            server.most()
        );
        println!("{row}");
        if soon < enough.0 || later < enough.1 {
            bad.push(row);
        }
    }
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

#[test]
fn it_finds_the_knee() {
    // The slowest: a server that takes 3 s with what it is sent at first.
    reaches(0.0, 1, (0.7, 0.9));
}

#[test]
fn it_finds_the_knee_in_noise() {
    reaches(0.2, 5, (0.7, 0.8));
}

#[test]
fn it_follows_the_capacity() {
    println!("knee     latency ms  times   10 to 20 s behind (worst of 3)");
    let mut bad = Vec::new();
    for knee in KNEES {
        for latency in [1e-3, 0.05, 0.2] {
            for change in [0.5, 2.0] {
                let server = Server { knee, latency, capacity: 2e4 };
                let changed = Server { capacity: 2e4 * change, ..server };
                let mut worst = f64::MAX;
                for seed in 0..3 {
                    let start = Instant::now();
                    let mut crowd = Crowd::new(start, START, 1, MAX);
                    play(&mut crowd, start, (0, 30), server, 0.1, seed);
                    let rates = play(&mut crowd, start, (30, 50), changed, 0.1, seed);
                    worst = worst.min(mean(&rates[400..]) / changed.best());
                }
                let knee = format!("{knee:?}");
                let row = format!("{knee:8} {:10.1} {change:6} {worst:9.3}", latency * 1e3);
                println!("{row}");
                if worst < 0.85 {
                    bad.push(row);
                }
            }
        }
    }
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

#[test]
fn what_is_not_full_teaches_nothing() {
    let start = Instant::now();
    let mut crowd = Crowd::new(start, START, 1, MAX);
    for nth in 1..4000 {
        let latency_sum = Duration::from_millis(2 * (nth % 50));
        let tick = Tick { completed: 50, latency_sum, ..Tick::default() };
        crowd.tick(start + TICK * nth as u32, tick);
        assert_eq!(crowd.limit(), START);
    }
}

#[test]
fn failures_halve_it_once_in_a_round() {
    let start = Instant::now();
    let mut crowd = Crowd::new(start, START, 1, MAX);
    let tick = Tick {
        completed: 100,
        latency_sum: Duration::from_secs(20),
        latency_min: Some(Duration::from_millis(200)),
        failures: 30,
        full: true,
    };
    crowd.tick(start + TICK, tick);
    assert_eq!(crowd.limit(), START / 2);
    for nth in 2..6 {
        crowd.tick(start + TICK * nth, tick);
        assert_eq!(crowd.limit(), START / 2, "what was under way fails too");
    }
    for nth in 6..2000 {
        crowd.tick(start + TICK * nth, tick);
        assert!((1..START).contains(&crowd.limit()));
    }
    assert!(crowd.limit() <= 2, "{}", crowd.limit());
}

#[test]
fn the_bounds_hold_whatever_comes() {
    for seed in 0..20 {
        let start = Instant::now();
        let (mut now, mut state) = (start, seed);
        let mut crowd = Crowd::new(start, 1 << seed, 3, 5000);
        for _ in 0..20_000 {
            let bits = random(&mut state) % 40;
            let mut wild = |below: u64| random(&mut state) % below;
            let completed = wild(1 << bits);
            let tick = Tick {
                completed,
                latency_sum: Duration::from_micros(wild(1 << 50)),
                latency_min: (completed % 2 == 0).then_some(Duration::from_micros(completed)),
                failures: if wild(4) == 0 { wild(100) } else { 0 },
                full: wild(8) > 0,
            };
            now += Duration::from_micros(wild(60_000));
            crowd.tick(now, tick);
            assert!((3..=5000).contains(&crowd.limit()), "seed {seed}: {crowd:?}");
        }
    }
}
