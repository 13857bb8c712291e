//! `--rate` as the server sees it: the fullest second, the emptiest one, and the spread in between.

use std::time::Duration;

use serde_json::Value;

use super::Bench;
use super::report::{Row, Target};
use super::watched::{Running, list, number, serve, stats};

const RATES: [usize; 4] = [10, 500, 5_000, 50_000];

/// Seconds that one run takes.
const SECONDS: usize = 8;

/// Runs with each rate, with a server that is well and with one that answers 503 now and then.
pub(crate) fn rate(bench: &Bench) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (faults, with) in [(None, ""), (Some("503=5%"), ", 5 % of the answers 503")] {
        for rate in RATES {
            rows.extend(one(bench, rate, faults, with)?);
        }
    }
    Ok(rows)
}

fn one(bench: &Bench, rate: usize, faults: Option<&str>, with: &str) -> Result<Vec<Row>, String> {
    let objects = rate * bench.counts.rate_seconds.min(SECONDS);
    let args: Vec<_> = faults.map(|spec| ["--faults", spec]).into_iter().flatten().collect();
    let server = serve(&bench.binaries, objects, &args)?;
    let source = bench.fresh("rate.txt");
    list(&bench.binaries, &server.url, objects, &source)?;
    let flag = format!("{rate}/s");
    let get = Running::get(&bench.binaries, &source, &bench.fresh("rate"), &["--rate", &flag])?;
    let summary = get.wait(Duration::from_secs(60))?;
    if number(&summary, "stored") != objects as f64 {
        return Err(format!("rate {rate}: {} of {objects} stored", number(&summary, "stored")));
    }
    let stats = stats(&server.url, true)?;
    let arrivals = stats.get("arrivals").ok_or("statistics: no arrivals")?;
    let counts = |field: &str| -> Vec<f64> {
        let list = arrivals.get(field).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_f64).collect()
    };
    let most = number(arrivals, "most_in_1s");
    let mut seconds = counts("per_second");
    // The last one is not over, nor is the one in which only retries were left.
    seconds.truncate(objects / rate - 1);
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let mut slots = counts("per_10ms");
    slots.truncate(seconds.len() * 100);
    let cpu = number(&summary, "cpu_seconds") / number(&summary, "seconds");
    println!("  {rate}/s{with}: {stats}", stats = number(&stats, "connections"));
    let n = rate as f64;
    let row =
        |what: String, figures, unit, target| Row { name: "rate", what, figures, unit, target };
    Ok(vec![
        row(
            format!("--rate {rate}/s{with}: most in any second / (1.01 x {rate} + 1)"),
            vec![most / (1.01 * n + 1.0)],
            "",
            Some(Target::Most(1.0)),
        ),
        row(
            format!("the same: least in a whole second / {rate}"),
            vec![least / n],
            "",
            Some(Target::Least(0.97)),
        ),
        row("the same: requests in each 10 ms".to_owned(), slots, "", None),
        row("the same: CPU of the client, of a core".to_owned(), vec![cpu * 100.0], "%", None),
    ])
}
