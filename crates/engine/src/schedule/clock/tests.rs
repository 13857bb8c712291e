use super::super::random;
use super::*;

const HOUR: i64 = 3_600_000;

/// The true time at the start, in milliseconds since 1970.
const START: i64 = 1_800_000_000_123;

/// Servers with clocks of their own, and a client whose clock is `offset` behind the truth.
struct World {
    offset: i64,
    time: i64,
    seed: u64,
    clock: ClockOffset,
}

impl World {
    fn new(offset: i64, seed: u64) -> Self {
        Self { offset, time: START, seed, clock: ClockOffset::default() }
    }

    fn random(&mut self, below: u64) -> i64 {
        (random(&mut self.seed) % below) as i64
    }

    /// One request to a server whose clock is `wrong` ms ahead of the truth; then a second passes.
    fn ask(&mut self, server: u64, wrong: i64) {
        let (there, back) = (1 + self.random(400), 1 + self.random(400));
        let sent = self.time - self.offset;
        let date = (self.time + there + wrong).div_euclid(1000);
        let received = sent + there + back;
        self.clock.learn(server, date as u64, sent as u64, received as u64);
        self.time += 1000 + self.random(200);
    }

    /// How far the corrected clock is from the truth, in seconds.
    fn error(&self) -> i64 {
        let local = UNIX_EPOCH + Duration::from_millis((self.time - self.offset) as u64);
        i64::from(self.clock.now_unix(local)) - self.time / 1000
    }
}

#[test]
fn a_wrong_clock_is_corrected() {
    for offset in [2 * HOUR, -2 * HOUR, 10_000, -10_000, 0, 400, -1_500, 40 * 365 * 24 * HOUR] {
        for seed in 0..50 {
            let mut world = World::new(offset, seed);
            for at in 0..40 {
                assert_eq!(world.clock.known(), at >= CLOCK_QUORUM, "seed {seed}");
                if world.clock.known() {
                    let error = world.error();
                    assert!(error.abs() <= 2, "{offset}: {error} s off, seed {seed}, {at} samples");
                }
                let slow = world.random(300) - 150;
                world.ask(1, slow);
            }
            if offset.abs() <= 500 {
                assert_eq!(world.clock.offset_ms(), Some(0), "seed {seed}");
            }
        }
    }
}

#[test]
fn expiry_is_judged_by_the_servers_clock() {
    // H29: with the own clock two hours off either way, a URL is judged as its server does.
    for offset in [2 * HOUR, -2 * HOUR] {
        let mut world = World::new(offset, 1);
        for _ in 0..5 {
            world.ask(1, 0);
        }
        let local = UNIX_EPOCH + Duration::from_millis((world.time - offset) as u64);
        let now = world.clock.now_unix(local);
        let truth = (world.time / 1000) as u32;
        let (expired, valid) = (truth - 60, truth + 60);
        assert!(expired < now && now < valid, "{offset}");
    }
}

#[test]
fn a_server_that_lies_has_one_voice() {
    for seed in 0..300 {
        let mut seeds = seed;
        let mut draw = |below: u64| (random(&mut seeds) % below) as i64;
        let offset = [0, 2 * HOUR, -2 * HOUR, 7_000][draw(4) as usize];
        let lie = [3 * HOUR, -3 * HOUR, 30_000, -offset][draw(4) as usize];
        let servers = 2 + draw(5) as u64;
        let share = draw(95);
        let mut world = World::new(offset, seed);
        let mut heard = vec![0; servers as usize];
        for _ in 0..600 {
            if world.random(100) < share {
                world.ask(u64::MAX, lie);
            } else {
                let server = world.random(servers);
                heard[server as usize] += 1;
                // Each honest one is a little off for good.
                world.ask(server as u64, server * 70 - 200);
            }
            // Two honest servers, and three samples of theirs, outvote it.
            if heard.iter().filter(|&&count| count > 1).count() >= 2 {
                let error = world.error();
                assert!(error.abs() <= 2, "seed {seed}: {error} s off, {offset} {lie} {share}");
            }
        }
    }
}

#[test]
fn between_two_servers_the_own_clock_decides() {
    let mut world = World::new(0, 3);
    for at in 0..100 {
        world.ask(at % 2, if at % 2 == 0 { 0 } else { 2 * HOUR });
        if at > 8 {
            assert_eq!(world.clock.offset_ms(), Some(0));
        }
    }
}

#[test]
fn no_single_sample_moves_it() {
    let mut world = World::new(2 * HOUR, 4);
    for _ in 0..20 {
        world.ask(1, 0);
    }
    for lie in [HOUR, -HOUR, 5_000, -100 * 24 * HOUR] {
        let before = world.clock.offset_ms();
        world.ask(1, lie);
        let moved = world.clock.offset_ms().zip(before).map(|(a, b)| a.abs_diff(b));
        assert!(moved.is_some_and(|moved| moved <= 1500), "{lie}: {moved:?}");
        for _ in 0..5 {
            world.ask(1, 0);
        }
    }
}

#[test]
fn a_date_that_stands_still_counts_once() {
    let clock = ClockOffset::default();
    for at in 0..100 {
        let sent = START as u64 + at * 1000;
        clock.learn(1, 1_700_000_000, sent, sent + 20);
        assert!(!clock.known());
    }
}

#[test]
fn a_step_of_the_own_clock_is_followed() {
    for step in [2 * HOUR, -2 * HOUR, 20_000] {
        let mut world = World::new(0, 5);
        for _ in 0..30 {
            world.ask(1, 0);
        }
        world.offset = step;
        for _ in 0..CLOCK_SAMPLES_OF_ONE {
            world.ask(1, 0);
        }
        assert!(world.error().abs() <= 2, "{step}: {}", world.error());
    }
}

#[test]
fn what_cannot_be_is_not_learned_from() {
    let clock = ClockOffset::default();
    let now = START as u64;
    for at in 0..20 {
        clock.learn(at, 1_700_000_000 + at, now, now - 1);
        clock.learn(at, 1_700_000_000 + at, now, now + 10_001);
        clock.learn(at, u64::MAX - at, now, now + 1);
        clock.learn(at, 1_700_000_000 + at, u64::MAX - 1, u64::MAX);
    }
    assert!(!clock.known() && clock.samples.lock().unwrap().is_empty());
    assert_eq!(clock.now_unix(UNIX_EPOCH - Duration::from_secs(5)), 0);
    assert_eq!(clock.now_unix(UNIX_EPOCH + Duration::from_secs(1 << 40)), u32::MAX);
}

#[test]
fn what_is_kept_has_an_end() {
    let clock = ClockOffset::default();
    for at in 0..10_000_u64 {
        let sent = START as u64 + at * 100;
        clock.learn(at % 97, sent / 1000, sent, sent + 20);
        assert!(clock.samples.lock().unwrap().len() <= CLOCK_SAMPLES);
    }
    assert_eq!(clock.offset_ms(), Some(0));
}
