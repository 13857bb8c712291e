//! What a small file costs: windrow's files beside a bare loop, and three ways of making one.

use std::path::Path;
use std::time::Duration;

use super::child::{CLIENT_CORE, measure};
use super::create::WAYS;
use super::nginx::{Nginx, wrk_us};
use super::report::{Row, Target};
use super::windrow::Get;
use super::{Bench, CREATE_LOOP};

/// For one run of a loop or a `windrow get`; far more than any takes.
const LIMIT: Duration = Duration::from_secs(300);

/// Bytes on disk for a small file: a block, its inode and its entry, rounded up.
const FILE_BYTES: u64 = 5 * 1024;

/// How many files a round adds to the folder that holds many already: few beside those.
const ADDED_PART: usize = 5;

/// CPU time per file of a bare loop in `folder`, in microseconds.
fn loop_us(
    bench: &Bench,
    way: &str,
    folder: &Path,
    count: usize,
    scratch: &Path,
) -> Result<f64, String> {
    let prefix = bench.fresh("f");
    let mut child = bench.binaries.xtask();
    child.args([CREATE_LOOP, way]).arg(folder).arg(count.to_string());
    child.arg(prefix.file_name().unwrap_or_default());
    Ok(measure(child, CLIENT_CORE, LIMIT, scratch)?.cpu_us / count as f64)
}

/// `windrow get --format files` beside wrk and a loop that creates, writes and closes.
pub(crate) fn files(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.files;
    bench.room(objects as u64 * FILE_BYTES * 2 * bench.rounds as u64)?;
    let nginx = Nginx::start(objects)?;
    let scratch = bench.fresh_folder("out")?;
    let (mut ours, mut bare, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        bench.settle();
        let get = Get {
            binaries: &bench.binaries,
            url: &nginx.server.url,
            destination: &bench.fresh("files"),
            objects,
            core: CLIENT_CORE,
            args: &["--format", "files", "-c", "64", "--cores", "1"],
        };
        let got = get.run(LIMIT, &scratch)?;
        bench.settle();
        let wrk = wrk_us(&nginx.server, bench.counts.wrk_seconds, &scratch)?;
        let folder = bench.fresh_folder("bare")?;
        let create = loop_us(bench, "plain", &folder, objects, &scratch)?;
        println!(
            "  windrow {:.2} us per object, wrk {wrk:.2} us per request, bare loop {create:.2} us \
             per file",
            got.us_per_object
        );
        ratio.push(got.us_per_object / (wrk + create));
        ours.push(got.us_per_object);
        bare.push(create);
    }
    let row = |what: &str, figures, unit, target| Row {
        name: "files",
        what: what.to_owned(),
        figures,
        unit,
        target,
    };
    let what = "files of 100 bytes from nginx, 1 core: client CPU per object / (wrk's per request \
                + a bare loop of create, write, close per file)";
    Ok(vec![
        row(what, ratio, "", Some(Target::Most(1.3))),
        row("the same: windrow's CPU per object", ours, "us", None),
        row("the same: the bare loop's CPU per file", bare, "us", None),
    ])
}

/// Three ways of making a small file, in a new folder and in one that holds many.
pub(crate) fn ways(bench: &Bench) -> Result<Vec<Row>, String> {
    let (count, before) = (bench.counts.ways, bench.counts.ways_before);
    let files = (count + count / ADDED_PART) * WAYS.len() * bench.rounds + before;
    bench.room(files as u64 * FILE_BYTES)?;
    let scratch = bench.fresh_folder("out")?;
    let mut rows = Vec::new();
    let mut compare = |place: &str, count: usize, shared: Option<&Path>| {
        let mut figures = WAYS.map(|_| Vec::new());
        for _ in 0..bench.rounds {
            for ((_, way, _), figures) in WAYS.into_iter().zip(&mut figures) {
                let folder = match shared {
                    Some(folder) => folder.to_owned(),
                    None => bench.fresh_folder(way)?,
                };
                bench.settle();
                let us = loop_us(bench, way, &folder, count, &scratch)?;
                println!("  {way}, {place}: {us:.2} us per file");
                figures.push(us);
            }
        }
        rows.extend(WAYS.into_iter().zip(figures).map(|((_, _, what), figures)| Row {
            name: "ways",
            what: format!("CPU per file of 100 bytes, {place}: {what}"),
            figures,
            unit: "us",
            target: None,
        }));
        Ok::<(), String>(())
    };
    compare("new flat folder", count, None)?;
    if before > 0 {
        let folder = bench.fresh_folder("many")?;
        loop_us(bench, "plain", &folder, before, &scratch)?;
        let place = format!("flat folder of {before} files and more");
        compare(&place, count / ADDED_PART, Some(&folder))?;
    }
    Ok(rows)
}
