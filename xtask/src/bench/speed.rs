//! CPU time per object: against nginx beside wrk, and pipelined against `windrow serve`.

use std::time::Duration;

use super::Bench;
use super::child::CLIENT_CORE;
use super::nginx::{Nginx, wrk_us};
use super::report::{Row, Target};
use super::windrow::{Get, serve};

/// For one `windrow get`; far more than any takes.
const LIMIT: Duration = Duration::from_secs(300);

/// Bytes that an object of 100 bytes takes in a tar: a header and a padded body.
const TAR_BYTES: u64 = 1024;

/// `windrow get` to tar beside wrk, which throws the bodies away.
pub(crate) fn nginx(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.nginx;
    bench.room(objects as u64 * TAR_BYTES * bench.rounds as u64)?;
    let nginx = Nginx::start(objects)?;
    let scratch = bench.fresh_folder("out")?;
    let (mut ours, mut theirs, mut speed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        bench.settle();
        let get = Get {
            binaries: &bench.binaries,
            url: &nginx.server.url,
            destination: &bench.fresh("tar"),
            objects,
            core: CLIENT_CORE,
            args: &["--format", "tar", "-c", "64", "--cores", "1"],
        };
        let got = get.run(LIMIT, &scratch)?;
        let wrk = wrk_us(&nginx.server, bench.counts.wrk_seconds, &scratch)?;
        println!("  windrow {:.2} us per object, wrk {wrk:.2} us per request", got.us_per_object);
        ours.push(got.us_per_object);
        theirs.push(wrk);
        speed.push(got.objects_per_second);
    }
    let ratio = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    let row = |what: &str, figures, unit, target| Row {
        name: "nginx",
        what: what.to_owned(),
        figures,
        unit,
        target,
    };
    let what = "nginx, 64 in flight, 1 core, to tar: client CPU per object / wrk's per request";
    Ok(vec![
        row(what, ratio, "", Some(Target::Most(1.0))),
        row("the same: windrow's CPU per object", ours, "us", None),
        row("the same: wrk's CPU per request", theirs, "us", None),
        row("the same: windrow's objects per second", speed, "", None),
    ])
}

/// `windrow get --pipeline 64` against `windrow serve`, to tar and to nowhere by turns.
pub(crate) fn pipeline(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.pipeline;
    bench.room(objects as u64 * TAR_BYTES * bench.rounds as u64)?;
    let server = serve(&bench.binaries, objects)?;
    let scratch = bench.fresh_folder("out")?;
    let (mut tar, mut null, mut served) = (Vec::new(), Vec::new(), Vec::new());
    let mut packs = Vec::new();
    for _ in 0..bench.rounds {
        for (format, figures) in [("tar", &mut tar), ("null", &mut null)] {
            bench.settle();
            let destination = bench.fresh(format);
            let before = server.cpu_us();
            let get = Get {
                binaries: &bench.binaries,
                url: &server.url,
                destination: &destination,
                objects,
                core: CLIENT_CORE,
                args: &["--format", format, "--cores", "1", "--pipeline", "64"],
            };
            let got = get.run(LIMIT, &scratch)?;
            let server_us = (server.cpu_us() - before) / objects as f64;
            println!(
                "  {format}: {:.2} us per object, server {server_us:.2} us",
                got.us_per_object
            );
            figures.push(got.us_per_object);
            served.push(server_us);
            packs.push(destination);
        }
    }
    // A few large files each: deleting them costs no later row anything, and gives it room.
    packs.iter().for_each(|pack| super::remove(pack));
    let row = |what: &str, figures, target| Row {
        name: "pipeline",
        what: what.to_owned(),
        figures,
        unit: "us",
        target,
    };
    let what = "`windrow serve`, `--pipeline 64`, 1 core, to tar: client CPU per object";
    Ok(vec![
        row(what, tar, Some(Target::Most(1.5))),
        row("the same with `--format null`", null, None),
        row("the same: the server's CPU per request", served, None),
    ])
}
