//! `-c auto` beside the best fixed `-c`, against servers of several latencies and knees.
//!
//! Servers that are waited for cost next to no CPU, so that many are measured at once; those that
//! answer at once are measured alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Bench;
use super::report::{Row, Target};
use super::watched::{Answered, Running, list, number, serve, stats};
use super::windrow::Binaries;

/// Fixed numbers of requests in flight.
const SWEEP: [usize; 10] = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

/// How long each of them runs, of which the first part does not count.
const EACH: Duration = Duration::from_millis(1600);
const WARM: Duration = Duration::from_millis(800);

/// How long `-c auto` may look, and how long it counts then.
const FOUND: Duration = Duration::from_secs(10);
const COUNTED: Duration = Duration::from_secs(6);

/// Between two looks at what it does.
const LOOK: Duration = Duration::from_millis(500);

/// A kind of server: latency, knee, and how many requests a second it gives at most.
struct Case {
    latency: &'static str,
    knee: &'static str,
    /// Requests a second that its list holds enough of.
    rate: usize,
}

const fn case(latency: &'static str, knee: &'static str, rate: usize) -> Case {
    Case { latency, knee, rate }
}

/// Cases that are measured together.
const TOGETHER: [&[Case]; 4] = [
    &[
        case("5ms", "16", 3_200),
        case("5ms", "16,hard", 3_200),
        case("5ms", "16,slow", 3_200),
        case("50ms", "100", 2_000),
        case("50ms", "100,hard", 2_000),
        case("50ms", "100,slow", 2_000),
        case("200ms", "500", 2_500),
        case("200ms", "500,hard", 2_500),
        case("200ms", "500,slow", 2_500),
    ],
    &[case("0.1ms", "4", 60_000)],
    &[case("50ms", "1000000", 60_000)],
    &[case("200ms", "1000000", 30_000)],
];

struct Found {
    best: f64,
    best_at: usize,
    auto: f64,
    reached: Option<f64>,
    connections: f64,
    most: f64,
    curve: Vec<f64>,
    sweep: Vec<f64>,
}

/// A sweep and a run for each case.
pub(crate) fn auto(bench: &Bench) -> Result<Vec<Row>, String> {
    let binaries = &bench.binaries;
    let mut rows = Vec::new();
    for cases in TOGETHER {
        let folders: Vec<_> = cases
            .iter()
            .map(|case| Ok((case, bench.fresh_folder("auto")?)))
            .collect::<Result<_, String>>()?;
        let found: Vec<_> = std::thread::scope(|scope| {
            let run =
                |(case, folder): (_, PathBuf)| scope.spawn(move || one(binaries, case, &folder));
            let all: Vec<_> = folders.into_iter().map(run).collect();
            all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("panic".into()))).collect()
        });
        for (case, found) in cases.iter().zip(found) {
            rows.extend(told(case, &found?));
        }
    }
    Ok(rows)
}

fn one(binaries: &Binaries, case: &Case, folder: &Path) -> Result<Found, String> {
    let server = |seconds: usize| {
        let objects = case.rate * seconds;
        let args = ["--latency", case.latency, "--knee", case.knee];
        Ok::<_, String>((serve(binaries, objects, &args)?, objects))
    };
    let mut sweep = Vec::new();
    {
        let (server, objects) = server(6)?;
        let source = folder.join("sweep.txt");
        list(binaries, &server.url, objects, &source)?;
        for fixed in SWEEP {
            let destination = folder.join(fixed.to_string());
            let get = Running::get(binaries, &source, &destination, &["-c", &fixed.to_string()])?;
            std::thread::sleep(WARM);
            let (start, from) = (Instant::now(), Answered::ask(&server.url)?);
            std::thread::sleep(EACH.saturating_sub(WARM));
            let to = Answered::ask(&server.url)?;
            sweep.push((to.good - from.good) / start.elapsed().as_secs_f64());
            get.stop()?;
        }
    }
    let (server, objects) = server(24)?;
    let source = folder.join("auto.txt");
    list(binaries, &server.url, objects, &source)?;
    let get = Running::get(binaries, &source, &folder.join("auto"), &[])?;
    let start = Instant::now();
    let (mut looks, mut at) = (vec![Answered::default()], vec![0.0]);
    while start.elapsed() < FOUND + COUNTED {
        std::thread::sleep(LOOK);
        looks.push(Answered::ask(&server.url)?);
        at.push(start.elapsed().as_secs_f64());
    }
    let most = stats(&server.url, false)?;
    let most = most.pointer("/limits/most_in_flight").or_else(|| most.get("most_in_flight"));
    let most = most.and_then(Value::as_f64).unwrap_or(0.0);
    let summary = get.stop()?;
    let curve: Vec<f64> = looks
        .windows(2)
        .zip(at.windows(2))
        .map(|(looks, at)| (looks[1].good - looks[0].good) / (at[1] - at[0]))
        .collect();
    let half = at.iter().position(|&at| at >= FOUND.as_secs_f64()).unwrap_or(0);
    let last = looks.len() - 1;
    let auto = (looks[last].good - looks[half].good) / (at[last] - at[half]);
    let (best_at, best) = SWEEP
        .into_iter()
        .zip(sweep.iter().copied())
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or_default();
    println!("  summary: {} in flight at most", number(&summary, "concurrency"));
    let reached = curve.iter().position(|&rate| rate >= 0.9 * best);
    let reached = reached.and_then(|nth| at.get(nth + 1)).copied();
    let connections = looks[last].connections - last as f64;
    Ok(Found { best, best_at, auto, reached, connections, most, curve, sweep })
}

fn told(case: &Case, found: &Found) -> [Row; 2] {
    let Found { best, best_at, auto, reached, connections, most, curve, sweep } = found;
    let Case { latency, knee, .. } = case;
    let list = |figures: &[f64]| {
        let figures = figures.iter().map(|figure| format!("{figure:.0}"));
        figures.collect::<Vec<_>>().join(" ")
    };
    println!("  --latency {latency} --knee {knee}: sweep {}", list(sweep));
    println!("    auto {} ({connections} connections, {most} at once)", list(curve));
    let reached = reached.map_or_else(|| "never".to_owned(), |at| format!("after {at:.1} s"));
    let row =
        |what, figure, target| Row { name: "auto", what, figures: vec![figure], unit: "", target };
    [
        row(
            format!(
                "--latency {latency} --knee {knee}: -c auto from second 10 to 16 / the best of the \
                 sweep, -c {best_at} with {best:.0}/s (0.9 of it {reached})"
            ),
            auto / best,
            Some(Target::Least(0.9)),
        ),
        row("the same: connections made".to_owned(), *connections, None),
    ]
}
