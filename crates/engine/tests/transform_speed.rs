//! What transforms cost: run by hand, with `cargo test --release -p windrow-engine --test transform_speed --
//! --ignored --nocapture --test-threads 1`. Nothing here is asserted; the figures are in docs/TRANSFORMS.md.

use flate2::Compression;
use std::io::Write as _;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use windrow_engine::transform::{Chain, Lane, Object, Outcome, Pool, PoolOptions};

fn object(body: &[u8]) -> Object {
    Object { name: b"some/name/of/an/object".to_vec(), body: body.to_vec(), ..Object::default() }
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Objects through a pool, made as they are given: wall time, CPU time.
fn through(
    chain: &Chain,
    threads: usize,
    clients: usize,
    body: &[u8],
    count: u64,
) -> (Duration, Duration) {
    let options = PoolOptions { threads, ..PoolOptions::default() };
    let pool = Pool::start(chain.clone(), options).expect("a pool");
    let (began, before) = (Instant::now(), cpu());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let (wake, woken) = channel();
                let mut client = pool.client(move || {
                    let _ = wake.send(());
                });
                let (mut next, mut taken, mut done) = (0, 0, Vec::new());
                let mut held = None;
                while taken < count {
                    while next < count {
                        match client.submit(next, held.take().unwrap_or_else(|| object(body))) {
                            Ok(()) => next += 1,
                            Err(object) => {
                                held = Some(object);
                                break;
                            }
                        }
                    }
                    client.take(&mut done).expect("a pool that lives");
                    if done.is_empty() {
                        let _ = woken.recv();
                    }
                    taken += done.len() as u64;
                    for done in done.drain(..) {
                        assert!(matches!(done.result, Ok(Outcome::Keep(_))), "{:?}", done.why);
                    }
                }
            });
        }
    });
    (began.elapsed(), cpu() - before)
}

/// The same without a pool.
fn plain(chain: &Chain, body: &[u8], count: u64) -> Duration {
    let (mut lane, before) = (Lane::default(), cpu());
    for _ in 0..count {
        assert!(matches!(chain.apply(object(body), &mut lane), Ok(Outcome::Keep(_))));
    }
    cpu() - before
}

fn us(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

#[test]
#[ignore = "measures"]
fn small_objects() {
    let small = vec![b'x'; 100];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&small).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let none = Chain::of("none", |object| Ok(Outcome::Keep(object)));
    let gunzip = Chain::parse(&["gunzip".to_owned()]).expect("a chain");
    for (name, chain, body) in [("nothing", none, &small), ("gunzip", gunzip, &gzip)] {
        let count = 2_000_000;
        println!(
            "{name}, 100 bytes, without a pool: {:.3} us of CPU",
            us(plain(&chain, body, count), count)
        );
        for (threads, clients) in [(1, 1), (2, 1), (2, 2)] {
            let (wall, cpu) = through(&chain, threads, clients, body, count / clients as u64);
            let (wall, cpu) = (us(wall, count), us(cpu, count));
            println!(
                "{name}, 100 bytes, {threads} threads, {clients} clients: {wall:.3} us by the clock, {cpu:.3} us of CPU"
            );
        }
    }
}

/// A photograph, about: `Pillow` makes it, or a file that `WINDROW_JPEG` names.
fn photo() -> Option<Vec<u8>> {
    let path = std::env::var_os("WINDROW_JPEG")?;
    std::fs::read(path).ok()
}

#[test]
#[ignore = "measures"]
fn images() {
    let Some(body) = photo() else {
        println!("skipped: WINDROW_JPEG names no JPEG");
        return;
    };
    let chain = Chain::parse(&["resize=256".to_owned()]).expect("a chain");
    let count = 300;
    for round in 0..3 {
        let alone = plain(&chain, &body, count);
        println!(
            "{round}: {} bytes to 256: {:.2} ms on one core",
            body.len(),
            us(alone, count) / 1e3
        );
        // The pure loop on two threads, and the pool on two threads.
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| plain(&chain, &body, count));
            }
        });
        let pure = began.elapsed();
        let (pool, _) = through(&chain, 2, 1, &body, 2 * count);
        let rate = |time: Duration| 2.0 * count as f64 / time.as_secs_f64();
        println!(
            "{round}: two threads: {:.0}/s in a loop, {:.0}/s through the pool: {:.1} %",
            rate(pure),
            rate(pool),
            100.0 * rate(pool) / rate(pure)
        );
    }
}

#[test]
#[ignore = "measures"]
fn commands() {
    for (spec, count) in [("exec=cat", 2000), ("exec=cat | cat", 1000)] {
        let chain = Chain::parse(&[spec.to_owned()]).expect("a chain");
        let (wall, _) = through(&chain, 2, 1, b"body", count);
        println!("{spec}, 2 threads: {:.0} us by the clock", us(wall, count));
    }
}

/// A thread like one of sockets (a little work, then it waits) beside two busy ones: those of a loop, which are as
/// nice as it is, and those of a pool. How late it is woken, and how much of its work it gets done.
#[test]
#[ignore = "measures"]
fn priority() {
    let work = |mut object: Object| {
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            object.ordinal = object.ordinal.wrapping_mul(31).wrapping_add(7);
        }
        Ok(Outcome::Keep(object))
    };
    let chain = Chain::of("busy", work);
    for round in 0..3 {
        for pooled in [false, true] {
            let busy = chain.clone();
            let worker = std::thread::spawn(move || {
                if pooled {
                    through(&busy, 2, 1, b"", 1000);
                } else {
                    std::thread::scope(|scope| {
                        for _ in 0..2 {
                            scope.spawn(|| plain(&busy, b"", 500));
                        }
                    });
                }
            });
            std::thread::sleep(Duration::from_millis(200)); // tidy: sleep-ok: a measurement, not a test
            let (began, mut late) = (Instant::now(), Vec::new());
            while began.elapsed() < Duration::from_millis(1500) {
                let until = Instant::now() + Duration::from_micros(200);
                std::thread::sleep(Duration::from_micros(200)); // tidy: sleep-ok: what is measured
                late.push(until.elapsed());
                let until = Instant::now() + Duration::from_micros(100);
                while Instant::now() < until {}
            }
            let turns = late.len();
            late.sort();
            println!(
                "{round}: {}: {turns} turns, late by {:?} (median), {:?} (99 %), {:?} (most)",
                if pooled { "pool" } else { "loop" },
                late[turns / 2],
                late[turns * 99 / 100],
                late[turns - 1]
            );
            let _ = worker.join();
        }
    }
}
