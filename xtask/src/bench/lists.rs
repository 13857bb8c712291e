//! Lists of URLs: how fast they are read, and what memory they take.

use std::time::Duration;

use super::Bench;
use super::report::{Row, Target};
use super::watched::{Running, list, number, serve};
use crate::cmd::{cargo, output};

const SIZES: [usize; 3] = [1_000, 100_000, 10_000_000];

const MIB: f64 = 1_048_576.0;

/// What `lists`, the engine's example, reads, and how many millions a second it should.
const FORMS: [(&str, Option<f64>); 9] = [
    ("plain.txt", Some(3.0)),
    ("signed.txt", None),
    ("hosts.txt", None),
    ("list.csv", None),
    ("quoted.csv", None),
    ("list.jsonl", None),
    ("list.parquet", Some(1.0)),
    ("list.txt.gz", None),
    ("list.txt.zst", None),
];

/// Peak memory at three lengths, and the reader alone.
pub(crate) fn lists(bench: &Bench) -> Result<Vec<Row>, String> {
    let row = |what, figures, unit, target| Row { name: "lists", what, figures, unit, target };
    let mut rows = Vec::new();
    let mut peaks = Vec::new();
    for objects in SIZES.map(|size| size.min(bench.counts.list)) {
        let server = serve(&bench.binaries, objects, &[])?;
        let source = bench.fresh("list.txt");
        list(&bench.binaries, &server.url, objects, &source)?;
        let destination = bench.fresh("list");
        let get = Running::get(&bench.binaries, &source, &destination, &["--pipeline", "64"])?;
        let summary = get.wait(Duration::from_secs(120))?;
        super::remove(&destination);
        std::fs::remove_file(&source).ok();
        if number(&summary, "stored") != objects as f64 {
            return Err(format!("list: {} of {objects} stored", number(&summary, "stored")));
        }
        let (peak, speed) =
            (number(&summary, "max_rss_bytes") / MIB, number(&summary, "objects_per_second"));
        println!("  {objects} lines: {peak:.1} MiB, {speed:.0}/s");
        rows.push(row(
            format!(
                "txt list of {objects}, --pipeline 64, to null, all cores: peak resident memory"
            ),
            vec![peak],
            "MiB",
            None,
        ));
        rows.push(row(
            "the same: CPU per object".to_owned(),
            vec![number(&summary, "cpu_us_per_object")],
            "us",
            None,
        ));
        peaks.push(peak);
    }
    let slope = peaks.last().unwrap_or(&0.0) - peaks.first().unwrap_or(&0.0);
    let what = format!("growth of memory from {} to {} lines", SIZES[0], SIZES[2]);
    rows.push(row(what, vec![slope], "MiB", Some(Target::Most(16.0))));

    let mut example =
        vec!["run", "--release", "-q", "-p", "windrow-engine", "--example", "lists", "--"];
    let lines = bench.counts.list_lines.to_string();
    example.push(&lines);
    example.extend(FORMS.map(|(form, _)| form));
    let mut example = cargo(&example);
    // It makes its lists there.
    example.env("TMPDIR", &bench.folder);
    for line in output(example)?.lines() {
        let mut words = line.split_whitespace();
        let (form, speed) = (words.next().unwrap_or_default(), words.next());
        let speed: f64 = speed.and_then(|speed| speed.parse().ok()).ok_or("lists: no figure")?;
        let target = FORMS.iter().find(|known| known.0 == form).and_then(|known| known.1);
        let what = format!("{form} of {lines} lines: million lines/s on 1 core, best of 3");
        rows.push(row(what, vec![speed], "", target.map(Target::Least)));
    }
    Ok(rows)
}
