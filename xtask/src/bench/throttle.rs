//! Servers that answer 429 above a rate that they do not tell, and a windrow without flags.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Bench;
use super::report::{Row, Target};
use super::watched::{Answered, Running, list, serve};
use super::windrow::Binaries;

const RATES: [usize; 3] = [100, 1_000, 10_000];

/// How servers count, and what they say.
const WAYS: [&str; 6] = [
    "",
    ",window",
    ",sliding",
    ",retry-after=1",
    ",window,retry-after=1",
    ",sliding,retry-after=1",
];

/// When it should have settled, and when it is stopped.
const SETTLED: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(60);

struct Job {
    rate: usize,
    way: &'static str,
    source: PathBuf,
    destination: PathBuf,
}

/// What came of it.
struct Settled {
    goodput: f64,
    refused: f64,
    connections: f64,
    each_second: Vec<f64>,
}

/// The cheap ones all at once, those of 10,000/s by twos.
pub(crate) fn throttle(bench: &Bench) -> Result<Vec<Row>, String> {
    let job = |rate: usize, way: &'static str| Job {
        rate,
        way,
        source: bench.fresh("throttle.txt"),
        destination: bench.fresh("throttle"),
    };
    let binaries = &bench.binaries;
    let dear = RATES[RATES.len() - 1];
    let (mut rows, mut batches) = (Vec::new(), Vec::new());
    batches.push(
        RATES
            .iter()
            .filter(|&&rate| rate < dear)
            .flat_map(|&rate| WAYS.map(|way| job(rate, way)))
            .collect(),
    );
    for pair in WAYS.chunks(2) {
        batches.push(pair.iter().map(|&way| job(dear, way)).collect::<Vec<_>>());
    }
    for batch in batches {
        let results: Vec<_> = std::thread::scope(|scope| {
            let run = |job| scope.spawn(move || one(binaries, job));
            let all: Vec<_> = batch.iter().map(run).collect();
            all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("panic".into()))).collect()
        });
        for (job, result) in batch.iter().zip(results) {
            rows.extend(told(job, result?));
        }
    }
    Ok(rows)
}

fn one(binaries: &Binaries, job: &Job) -> Result<Settled, String> {
    let objects = job.rate * 75;
    let allow = format!("{}/s{}", job.rate, job.way);
    let server = serve(binaries, objects, &["--allow", &allow, "--threads", "1"])?;
    list(binaries, &server.url, objects, &job.source)?;
    let get = Running::get(binaries, &job.source, &job.destination, &[])?;
    let start = Instant::now();
    let (mut told, mut times) = (vec![Answered::default()], vec![0.0]);
    let mut settled = 0;
    while start.elapsed() < END {
        std::thread::sleep(Duration::from_secs(1));
        told.push(Answered::ask(&server.url)?);
        times.push(start.elapsed().as_secs_f64());
        if start.elapsed() <= SETTLED + Duration::from_millis(500) {
            settled = told.len() - 1;
        }
    }
    get.stop()?;
    let last = told.len() - 1;
    let (from, to) = (told[settled], told[last]);
    let good = to.good - from.good;
    let refused = to.refused - from.refused;
    let each = told.windows(2).zip(times.windows(2));
    Ok(Settled {
        goodput: good / (times[last] - times[settled]) / job.rate as f64,
        refused: refused / (good + refused).max(1.0),
        connections: to.connections - last as f64,
        each_second: each
            .map(|(t, at)| (t[1].good - t[0].good) / (at[1] - at[0]) / job.rate as f64)
            .collect(),
    })
}

fn told(job: &Job, result: Settled) -> [Row; 2] {
    let Settled { goodput, refused, connections, each_second } = result;
    let reached = each_second.iter().position(|&share| share >= 0.9);
    let reached = reached.map_or_else(|| "never".to_owned(), |at| format!("in second {}", at + 1));
    println!("  --allow {}/s{}: 0.9 {reached}, {connections} connections", job.rate, job.way);
    let seconds: Vec<_> = each_second.iter().map(|share| format!("{share:.2}")).collect();
    println!("    {}", seconds.join(" "));
    let row = |what, figure, target| Row {
        name: "throttle",
        what,
        figures: vec![figure],
        unit: "",
        target: Some(target),
    };
    let way = format!("--allow {}/s{}, from second 10 to 60", job.rate, job.way);
    [
        row(format!("{way}: goodput / allowed (0.9 first {reached})"), goodput, Target::Least(0.9)),
        row("the same: share of 429".to_owned(), refused, Target::Most(0.02)),
    ]
}
