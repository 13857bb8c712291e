//! The listing of a bucket: one page after the other, and many at once.

use std::time::Duration;

use super::Bench;
use super::child::{CLIENT_CORE, Server, measure};
use super::listed::SHAPES;
use super::report::{Row, Target};

/// How long an answer takes.
const LATENCY_MS: u64 = 20;

/// Lists buckets of keys of several shapes. Everything is left out by a filter: nothing is fetched.
pub(crate) fn s3list(bench: &Bench) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let keys = bench.counts.s3list;
    for (shape, shown, _) in SHAPES {
        let mut serve = bench.binaries.xtask();
        serve.args([super::LIST_SERVER, shape, &keys.to_string(), &LATENCY_MS.to_string()]);
        let server = Server::printing_url(serve)?;
        let (mut faster, mut seconds, mut cpu, mut peak) = (vec![], vec![], vec![], vec![]);
        for _ in 0..bench.rounds {
            let one = list(bench, &server.url, keys, &["--list-concurrency", "1"])?;
            let many = list(bench, &server.url, keys, &[])?;
            println!("  {shape}: {:.2} s, {:.2} s", one.wall_seconds, many.wall_seconds);
            faster.push(one.wall_seconds / many.wall_seconds);
            seconds.push(many.wall_seconds);
            cpu.push(many.cpu_us / keys as f64);
            peak.push(many.peak_rss_bytes as f64 / f64::from(1 << 20));
        }
        let row = |what: &str, figures, unit, target| Row {
            name: "s3list",
            what: what.to_owned(),
            figures,
            unit,
            target,
        };
        let what = format!(
            "listing of {keys} keys, {shown}, behind {LATENCY_MS} ms: time by one request after the \
             other / time by --list-concurrency 32"
        );
        rows.push(row(&what, faster, "", Some(Target::Least(10.0))));
        rows.push(row("the same: time", seconds, "s", None));
        rows.push(row("the same: CPU per key", cpu, "us", None));
        rows.push(row("the same: peak resident memory", peak, "MiB", None));
    }
    Ok(rows)
}

fn list(
    bench: &Bench,
    url: &str,
    keys: usize,
    args: &[&str],
) -> Result<super::child::Usage, String> {
    let scratch = bench.fresh_folder("s3list")?;
    let mut get = bench.binaries.windrow();
    get.args(["get", "s3://bench", "--no-sign-request", "--endpoint-url", url, "--format", "null"]);
    get.args(["--exclude", "*", "--progress", "plain", "-o"]).arg(scratch.join("out")).args(args);
    let usage = measure(get, CLIENT_CORE, Duration::from_secs(600), &scratch)?;
    // A listing that is fast because it lost something is no figure.
    let said = std::fs::read_to_string(scratch.join("stderr")).unwrap_or_default();
    match said.contains(&format!("{keys} objects were left out by filters")) {
        true => Ok(usage),
        false => Err(format!("s3list: not all keys were listed: {said}")),
    }
}
