use super::*;
use proptest::prelude::*;

const NOW: u32 = 1_800_000_000;

/// What happens to each object, with every deadline known: how many expire unsent that had not
/// expired at the start.
fn exact(deadlines: &[u32], rate: f64, ahead: usize) -> u64 {
    let mut window = BinaryHeap::new();
    let mut list = deadlines.iter();
    let (mut time, mut lost) = (0.0, 0);
    loop {
        while window.len() < ahead.max(1) {
            let Some(&deadline) = list.next() else { break };
            window.push(std::cmp::Reverse(if deadline == 0 { u32::MAX } else { deadline }));
        }
        let Some(std::cmp::Reverse(deadline)) = window.pop() else { return lost };
        if f64::from(deadline) < f64::from(NOW) + time {
            lost += u64::from(deadline >= NOW);
        } else {
            time += 1.0 / rate;
        }
    }
}

fn forecast(deadlines: &[u32], page: usize) -> Forecast {
    let mut forecast = Forecast::default();
    for page in deadlines.chunks(page) {
        forecast.add(page.len() as u64, page);
    }
    forecast
}

#[test]
fn the_line_reads_as_promised() {
    let hours = 5 * 3600 + 12 * 60;
    let mut forecast = Forecast::default();
    for at in 0..32_000_u32 {
        // Signed for 5 h 12 min and some seconds more each.
        forecast.add(1000, &[NOW + hours + at / 100; 1000]);
    }
    let line = |done, rate| forecast.look(done, rate, NOW, 10_000).to_string();
    assert_eq!(
        line(0, 4100.0),
        "32,000,000 URLs, the first expires in 5 h 12 min; at 4,100/s 0 will expire"
    );
    assert_eq!(line(0, 0.0), "32,000,000 URLs, the first expires in 5 h 12 min; 1,681/s is needed");
    assert_eq!(
        line(0, 410.0),
        "32,000,000 URLs, the first expires in 5 h 12 min; at 410/s about 24,000,000 will expire; \
         1,681/s would be needed"
    );
    assert_eq!(
        line(31_999_999, 0.5),
        "1 URL left, the first expires in 5 h 17 min; at 0.5/s 0 will expire"
    );
    assert_eq!(line(32_000_000, 1.0), "0 URLs left, none expires");
    let late = forecast.look(0, 0.0, NOW + hours + 161, 10_000).to_string();
    assert!(late.starts_with("32,000,000 URLs, 16,1"), "{late}");
    assert!(late.contains(" expired, the next expires in 0 s; "), "{late}");
    let over = forecast.look(0, 9.0, u32::MAX, 1).to_string();
    assert_eq!(over, "32,000,000 URLs, 32,000,000 expired, none of the others expires");
    assert_eq!(Forecast::default().look(0, 1.0, NOW, 1).to_string(), "0 URLs, none expires");
}

#[test]
fn spans_and_rates_are_short() {
    for (seconds, text) in [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (600, "10 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
    ] {
        assert_eq!(Span(seconds).to_string(), text);
    }
    for (rate, up, text) in [
        (0.01, true, "0.1/s"),
        (0.04, false, "0/s"),
        (1.0, true, "1/s"),
        (9.96, true, "10/s"),
        (12.1, true, "13/s"),
        (12.1, false, "12/s"),
        (4_100.4, false, "4,100/s"),
    ] {
        assert_eq!(Rate(rate, up).to_string(), text);
    }
    for (number, text) in [(7, 7), (99, 99), (104, 100), (105, 110), (1_249_999, 1_200_000)] {
        assert_eq!(rounded(number), text);
    }
}

#[test]
fn cases_that_can_be_counted() {
    // 1,000 objects that all expire in 100 s: at 5/s 500 are sent (and the one in the last moment).
    let same = forecast(&[NOW + 100; 1000], 100);
    for (rate, lost) in [(5.0, 500), (9.0, 100), (10.0, 0), (1000.0, 0)] {
        let outlook = same.look(0, rate, NOW, 256);
        assert_eq!(outlook.will_expire, lost, "{rate}");
        assert!((outlook.rate_needed - 10.0).abs() < 1e-9);
    }
    // Half of them settled, and half of the time gone.
    let outlook = same.look(500, 5.0, NOW + 50, 256);
    assert_eq!((outlook.total, outlook.expiring, outlook.will_expire), (500, 500, 250));

    // What expires stands last. In list order its turn comes too late; what is in the read-ahead
    // goes first.
    let mut last = vec![0; 900];
    last.extend([NOW + 10; 100]);
    let last = forecast(&last, 100);
    assert_eq!(last.look(0, 10.0, NOW, 1).will_expire, 100);
    assert_eq!(last.look(0, 10.0, NOW, 1000).will_expire, 0);
    assert!((last.look(0, 10.0, NOW, 1).rate_needed - 100.0).abs() < 1.0);
    assert!((last.look(0, 10.0, NOW, 1000).rate_needed - 10.0).abs() < 1e-9);
    assert_eq!(last.look(0, 95.0, NOW, 1).first_expiry, Some(NOW + 10));

    // What has expired takes no time from the others.
    let mut old = vec![NOW - 1; 900];
    old.extend([NOW + 10; 100]);
    let outlook = forecast(&old, 100).look(0, 10.0, NOW, 1);
    assert_eq!((outlook.already_expired, outlook.will_expire), (900, 0));
    assert!((outlook.rate_needed - 10.0).abs() < 1e-9);
}

#[test]
fn memory_has_an_end_and_nothing_is_forgotten() {
    let mut forecast = Forecast::default();
    let (mut total, mut expiring) = (0, 0);
    let mut state = 1;
    for at in 0..60_000_u64 {
        let count = super::super::random(&mut state) % 2000;
        let expiry = if at == 41_000 { NOW + 5 } else { NOW + 3600 + (at / 100) as u32 };
        let expiries = vec![expiry; count as usize];
        let known = &expiries[..(count / (1 + at % 3)) as usize];
        forecast.add(count, known);
        total += count;
        expiring += known.len() as u64;
        assert!(forecast.blocks.len() < FORECAST_BLOCKS);
    }
    let outlook = forecast.look(0, 0.0, NOW, 10_000);
    assert_eq!((outlook.total, outlook.expiring), (total, expiring));
    assert_eq!(outlook.first_expiry, Some(NOW + 5));
    // No part of the list is known much worse than another.
    assert!(forecast.blocks.len() > FORECAST_BLOCKS / 2);
    let most = forecast.blocks.iter().map(|block| block.count).max();
    assert!(most.is_some_and(|most| most < 4 * total / FORECAST_BLOCKS as u64), "{most:?}");

    let mut huge = Forecast::default();
    for _ in 0..3 * FORECAST_BLOCKS {
        huge.add(u64::MAX / 2, &[]);
    }
    assert!(huge.blocks.len() < FORECAST_BLOCKS);
}

/// Lists as they come: signed on the way, in one go, in any order, with parts that do not expire.
fn lists() -> impl Strategy<Value = Vec<u32>> {
    let part = (1..2000_usize, 0..4_u8, 1..3000_u32, 1..3000_u32, any::<u64>()).prop_map(
        |(len, kind, begin, span, mut seed)| {
            let mut part = Vec::with_capacity(len);
            for at in 0..len as u64 {
                let random = super::super::random(&mut seed);
                part.push(match kind {
                    0 => NOW + begin + (u64::from(span) * at / len as u64) as u32,
                    1 => NOW + begin,
                    2 => NOW + begin + (random % u64::from(span)) as u32,
                    _ => match random % 3 {
                        0 => NOW + begin + (random % u64::from(span)) as u32,
                        _ => 0,
                    },
                });
            }
            part
        },
    );
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn the_estimate_is_near_what_happens(
        list in lists(), page in 1..200_usize, ahead in 1..3000_usize, rate in 0.2..20.0_f64,
    ) {
        let outlook = forecast(&list, page).look(0, rate, NOW, ahead as u64);
        let happens = exact(&list, rate, ahead);
        let off = outlook.will_expire.abs_diff(happens);
        // A page, or a part of the window, may be judged as one.
        let grain = page.max(ahead / 4) as f64;
        prop_assert!(
            off as f64 <= 0.02 * list.len() as f64 + 2.0 * grain,
            "{} instead of {happens} of {}, page {page}, ahead {ahead}, rate {rate}",
            outlook.will_expire, list.len(),
        );
        prop_assert_eq!(outlook.total, list.len() as u64);
        prop_assert_eq!(outlook.expiring, list.iter().filter(|&&d| d > 0).count() as u64);
        prop_assert_eq!(outlook.first_expiry, list.iter().copied().filter(|&d| d > 0).min());
        prop_assert!(outlook.will_expire <= outlook.expiring);
    }

    #[test]
    fn the_rate_that_is_needed_is_enough_and_not_much_more(
        list in lists(), ahead in 1..3000_usize,
    ) {
        // Pages of one object: every deadline is known.
        let forecast = forecast(&list, 1);
        prop_assume!(list.len() < FORECAST_BLOCKS);
        let needed = forecast.look(0, 0.0, NOW, ahead as u64).rate_needed;
        if needed > 0.0 {
            prop_assert_eq!(exact(&list, needed * 1.001, ahead), 0);
            // It has each object sent to its end before its deadline, which `exact` asks only to be
            // begun: that is one object, in a second at least.
            let less = (needed - 1.0) * 0.9;
            prop_assert!(less <= 0.0 || exact(&list, less, ahead) > 0);
            let outlook = forecast.look(0, needed * 1.001, NOW, ahead as u64);
            prop_assert_eq!(outlook.will_expire, 0);
        }
    }

    #[test]
    fn any_numbers_give_some_outlook(
        adds in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u32>(), 0..9)), 0..9),
        done: u64, rate: f64, now: u32, ahead: u64,
    ) {
        let mut forecast = Forecast::default();
        for (count, expiries) in &adds {
            forecast.add(count >> 4, expiries);
        }
        let outlook = forecast.look(done >> 4, rate, now, ahead);
        prop_assert!(outlook.rate_needed >= 0.0 && outlook.rate_needed.is_finite());
        prop_assert!(outlook.expiring <= outlook.total);
        prop_assert!(outlook.already_expired + outlook.will_expire <= outlook.expiring + 1);
        prop_assert!(!outlook.to_string().contains('\n'));
    }
}
