//! The same list of URLs with other programs that fetch lists.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Bench;
use super::nginx::{Nginx, name};
use super::report::Row;
use super::watched::per_object;
use crate::cmd::found;

/// For one program; who takes longer is told so.
const LIMIT: Duration = Duration::from_secs(170);

/// What is run, the program that it needs, and of how many URLs it gets one: some would take a
/// quarter of an hour for all.
const PEERS: [(&str, &str, usize); 7] = [
    ("windrow --format tar", "windrow", 1),
    ("windrow --format files", "windrow", 1),
    ("curl --parallel --parallel-max 64", "curl", 1),
    ("aria2c -j64", "aria2c", 20),
    ("wget2 --max-threads=64", "wget2", 1),
    ("wget (one at a time)", "wget", 1),
    ("img2dataset --disable_all_reencoding --thread_count 64", "img2dataset", 20),
];

/// Wall and CPU time per object, of all processes of each program, on all cores.
pub(crate) fn peers(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.peers;
    let nginx = Nginx::start(objects)?;
    let url = &nginx.server.url;
    let scratch = bench.fresh_folder("out")?;
    let mut rows = Vec::new();
    for (what, program, part) in PEERS {
        let objects = (bench.counts.peers / part).max(1);
        if program != "windrow" && !found(program) {
            println!("  {program}: not installed, left out");
            continue;
        }
        bench.settle();
        let out = bench.fresh_folder("peer")?;
        let list = bench.fresh("peer.txt");
        let command = command(bench, what, url, objects, &out, &list)?;
        let (cpu, wall) = match per_object(command, objects, LIMIT, &scratch) {
            Ok(figures) => figures,
            Err(why) => {
                println!("  {what}: {why}");
                continue;
            }
        };
        let stored = stored(&out);
        println!("  {what}: {cpu:.1} us CPU, {wall:.1} us wall, {stored} files");
        let row = |what, figure| Row {
            name: "peers",
            what,
            figures: vec![figure],
            unit: "us",
            target: None,
        };
        rows.push(row(format!("{objects} objects of 100 bytes, {what}: CPU per object"), cpu));
        rows.push(row("the same: by the clock, per object".to_owned(), wall));
    }
    Ok(rows)
}

/// The command, after its list was written in the form that it wants.
fn command(
    bench: &Bench,
    what: &str,
    url: &str,
    objects: usize,
    out: &Path,
    list: &Path,
) -> Result<Command, String> {
    let program = what.split(' ').next().unwrap_or_default();
    let mut text = String::from(if program == "img2dataset" { "url\n" } else { "" });
    for nth in 0..objects {
        let name = name(nth);
        match program {
            "curl" => writeln!(text, "url = \"{url}/get/{name}\"\noutput = \"{name}\""),
            _ => writeln!(text, "{url}/get/{name}"),
        }
        .ok();
    }
    let list =
        if program == "img2dataset" { list.with_extension("csv") } else { list.to_path_buf() };
    std::fs::write(&list, text).map_err(|why| format!("list: {why}"))?;
    let mut command = Command::new(program);
    match program {
        "windrow" => {
            command = bench.binaries.windrow();
            command.arg("get").arg(&list).arg("-o").arg(out).args([
                "--progress",
                "none",
                "--format",
            ]);
            command.arg(what.split(' ').next_back().unwrap_or_default());
        }
        "curl" => {
            command.args(["--parallel", "--parallel-max", "64", "--silent", "--config"]).arg(&list);
        }
        "aria2c" => {
            command.args(["-j64", "--quiet", "--file-allocation=none", "-i"]).arg(&list);
        }
        "wget2" => {
            command.args(["--max-threads=64", "--quiet", "-i"]).arg(&list);
        }
        "img2dataset" => {
            command.args(["--input_format", "csv", "--url_col", "url", "--output_format", "files"]);
            command.args(["--disable_all_reencoding", "True", "--thread_count", "64"]);
            command.args(["--processes_count", "2", "--enable_wandb", "False", "--url_list"]);
            command.arg(&list).arg("--output_folder").arg(out.join("out"));
        }
        _ => {
            command.args(["--quiet", "-i"]).arg(&list);
        }
    }
    command.current_dir(out);
    Ok(command)
}

/// Files below a folder, so that nobody is fast by storing nothing.
fn stored(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => stored(&entry.path()),
            _ => 1,
        })
        .sum()
}
