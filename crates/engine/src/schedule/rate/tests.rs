//! The promises in every window, with cores whose timers ring late.

use super::*;
use crate::schedule::random;
use proptest::prelude::*;
use std::collections::VecDeque;

const SECOND: Duration = Duration::from_secs(1);

/// The most that any closed window of one second holds; events are (when, how many), in order.
fn fullest(events: &[(Duration, u64)]) -> u64 {
    let (mut inside, mut sum, mut most) = (VecDeque::new(), 0, 0);
    for &(at, count) in events {
        inside.push_back((at, count));
        sum += count;
        while inside.front().is_some_and(|&(first, _)| first + SECOND < at) {
            sum -= inside.pop_front().map_or(0, |(_, count)| count);
        }
        most = most.max(sum);
    }
    most
}

/// Cores that want as much as they can get: each asks, and again up to `late` after it was told
/// to. What was started when.
fn starts(
    rate: &Rate,
    start: Instant,
    length: Duration,
    cores: usize,
    late: Duration,
    seed: u64,
) -> Vec<(Duration, u64)> {
    let mut state = seed;
    let mut lateness = || Duration::from_nanos(random(&mut state) % (late.as_nanos() as u64 + 1));
    let mut wakes: Vec<Duration> = (0..cores).map(|_| lateness()).collect();
    let mut events = Vec::new();
    loop {
        let (core, &at) = wakes.iter().enumerate().min_by_key(|(_, at)| **at).expect("cores");
        if at > length {
            return events;
        }
        let now = start + at;
        match rate.take_up_to(now, 1 << 20) {
            0 => {}
            count => events.push((at, u64::from(count))),
        }
        wakes[core] = at + rate.wait(now) + lateness();
    }
}

fn check(per_second: f64, burst: u32, cores: usize, seed: u64) {
    let start = Instant::now();
    let rate = Rate::new(start, per_second, burst);
    let length = SECOND.mul_f64((20.0 / per_second).clamp(3.0, 100.0));
    let events = starts(&rate, start, length, cores, Duration::from_millis(2), seed);
    let most = fullest(&events) as f64;
    assert!(most <= 1.01 * per_second + f64::from(burst), "{most} of {per_second} + {burst}");
    let all: u64 = events.iter().map(|event| event.1).sum();
    let due = per_second * length.as_secs_f64();
    assert!(all as f64 >= 0.97 * due - 1.0, "{all} of {due}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_window_keeps_the_promise(
        exponent in -1.0..6.0f64, burst in 1..50u32, cores in 1..8usize, seed: u64,
    ) {
        check(10f64.powf(exponent), burst, cores, seed);
    }

    #[test]
    fn so_it_does_for_callers_that_come_and_go_and_misread_the_clock(
        exponent in -1.0..5.0f64,
        burst in 1..50u32,
        gaps in prop::collection::vec((0..40_000u64, 0..2_000i64, 1..100u32), 1..400),
    ) {
        let per_second = 10f64.powf(exponent);
        let start = Instant::now();
        let rate = Rate::new(start, per_second, burst);
        let (mut at, mut events) = (SECOND, Vec::new());
        for (gap, back, wanted) in gaps {
            at += Duration::from_micros(gap);
            let read = at - Duration::from_micros(back.unsigned_abs());
            events.push((read, u64::from(rate.take_up_to(start + read, wanted))));
        }
        events.sort_unstable();
        let most = fullest(&events) as f64;
        prop_assert!(most <= 1.01 * per_second + f64::from(burst), "{} of {}", most, per_second);
    }

    #[test]
    fn bytes_keep_theirs(exponent in 3.0..9.0f64, readers in 1..16usize, seed: u64) {
        let per_second = 10f64.powf(exponent);
        let start = Instant::now();
        let rate = ByteRate::new(start, per_second as u64);
        let read = rate.read_max(readers) as u64;
        let mut state = seed;
        let length = SECOND * 3;
        let mut wakes = vec![Duration::ZERO; readers];
        let mut events = Vec::new();
        loop {
            let (core, &at) = wakes.iter().enumerate().min_by_key(|(_, at)| **at).expect("cores");
            if at > length {
                break;
            }
            // Now and then less than a full read, or a pause of the server's.
            let bytes = if random(&mut state).is_multiple_of(8) { read / 3 + 1 } else { read };
            let pause = if random(&mut state).is_multiple_of(512) { 100_000_000 } else { 0 };
            events.push((at, bytes));
            let late = Duration::from_nanos(random(&mut state) % 2_000_000 + pause);
            wakes[core] = at + rate.charge(start + at, bytes) + late;
        }
        let most = fullest(&events) as f64;
        prop_assert!(most <= 1.05 * per_second + READ_MAX as f64, "{} of {}", most, per_second);
    }
}

#[test]
fn the_whole_rate_is_used() {
    for per_second in [0.2, 0.5, 1.0, 100.0 / 60.0, 5_000.0 / 3_600.0, 10.0, 997.0, 3e4, 1e6] {
        for cores in [1, 2, 16] {
            check(per_second, 1, cores, 7);
        }
    }
    for per_second in [10_000, 1_000_000, 300_000_000] {
        let start = Instant::now();
        let rate = ByteRate::new(start, per_second);
        let (mut at, mut state, mut sum) = (Duration::ZERO, 1, 0);
        while at < SECOND * 20 {
            let bytes = rate.read_max(2) as u64;
            sum += bytes;
            let pause = rate.charge(start + at, bytes);
            if !pause.is_zero() {
                at += pause + Duration::from_nanos(random(&mut state) % 2_000_000);
            }
        }
        assert!(sum as f64 >= 0.97 * per_second as f64 * 20.0, "{sum} of {per_second}");
    }
}

#[test]
fn slow_rates_are_exact() {
    let start = Instant::now();
    let rate = Rate::new(start, 0.5, 1);
    assert_eq!(rate.take(start), Ok(()), "the first at once");
    assert_eq!(rate.take(start), Err(SECOND * 2));
    assert_eq!(rate.take(start + SECOND * 60), Ok(()));
    assert_eq!(rate.take(start + SECOND * 60), Err(SECOND * 2), "nothing is saved up");
    let late = start + SECOND * 62 + Duration::from_millis(5);
    assert_eq!(rate.take(late), Ok(()));
    assert_eq!(rate.wait(late), SECOND * 2 - Duration::from_millis(5), "but late is caught up");
}

#[test]
fn a_burst_is_what_was_asked_for() {
    let start = Instant::now();
    let rate = Rate::new(start, 100.0, 20);
    assert_eq!(rate.take_up_to(start, 1000), 1, "none at the start");
    assert_eq!(rate.take_up_to(start + SECOND * 60, 1000), 20, "after a pause");
    assert_eq!(rate.take_up_to(start + SECOND * 60, 1000), 0);
}

#[test]
fn a_new_rate_counts_at_once_and_brings_no_burst() {
    let start = Instant::now();
    let rate = Rate::new(start, 0.1, 1);
    assert_eq!(rate.take(start), Ok(()));
    let now = start + SECOND * 2;
    assert_eq!(rate.take(now), Err(SECOND * 8));
    rate.set(1000.0);
    assert_eq!(rate.take_up_to(now, 1000), 1, "faster: at once, and one");
    rate.set(2.0);
    assert_eq!(rate.take(now), Err(SECOND / 2), "slower: at once too");
    for nonsense in [f64::NAN, -1.0, 0.0, f64::NEG_INFINITY] {
        rate.set(nonsense);
        assert!(rate.wait(now) > SECOND * 100_000, "{nonsense}");
    }
    rate.set(f64::INFINITY);
    assert_eq!(rate.take_up_to(now + SECOND, u32::MAX), 1);
}

#[test]
fn threads_that_hammer_never_get_more() {
    let start = Instant::now();
    let rate = Rate::new(start, 100_000.0, 8);
    let length = Duration::from_millis(200);
    let taken: Vec<Duration> = std::thread::scope(|scope| {
        let hammer = || {
            let mut taken = Vec::new();
            loop {
                let now = Instant::now();
                if now.duration_since(start) > length {
                    return taken;
                }
                if rate.take(now).is_ok() {
                    taken.push(now.duration_since(start));
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(hammer)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let most = (length + RATE_LATE).as_secs_f64() * 100_000.0 + 8.0;
    assert!(!taken.is_empty() && taken.len() as f64 <= most, "{} of {most}", taken.len());
}
