//! https against nginx: windrow with a list beside wrk and h2load.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use super::Bench;
use super::child::{CLIENT_CORE, measure};
use super::nginx::{Nginx, name};
use super::report::{Row, Target};
use super::windrow::Get;
use crate::cmd::found;

const LIMIT: Duration = Duration::from_secs(60);

/// One core, 64 in flight; CPU per object of each, and windrow's beside the best of the others.
pub(crate) fn tls(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.tls;
    let nginx = Nginx::start_tls()?;
    let url = nginx.server.url.replace("http://", "https://");
    let source = bench.fresh("tls.txt");
    let mut text = String::new();
    for nth in 0..objects {
        writeln!(text, "{url}/get/{}", name(nth)).ok();
    }
    std::fs::write(&source, text).map_err(|why| format!("list: {why}"))?;
    let scratch = bench.fresh_folder("out")?;
    let certificate = nginx.certificate();
    let certificate = certificate.to_string_lossy();
    let one = format!("{url}/get/{}", name(0));
    let number = objects.to_string();

    let windrow = |http2: bool| {
        let mut args =
            vec!["--format", "null", "-c", "64", "--cores", "1", "--cacert", &certificate];
        args.extend(http2.then_some("--http2"));
        let get = Get {
            binaries: &bench.binaries,
            url: &source.to_string_lossy(),
            destination: &bench.fresh("tls"),
            objects,
            core: CLIENT_CORE,
            args: &args,
        };
        Ok::<_, String>(get.run(LIMIT, &scratch)?.us_per_object)
    };
    let h2load = |more: &[&str]| {
        let mut h2load = Command::new("h2load");
        h2load.args(["-t", "1", "-n", &number]).args(more).arg(&one);
        let usage = measure(h2load, CLIENT_CORE, LIMIT, &scratch)?;
        if !usage.stdout.contains(&format!("{objects} succeeded")) {
            return Err(format!("h2load: {}", usage.stdout));
        }
        Ok(usage.cpu_us / objects as f64)
    };
    let wrk = || super::nginx::wrk_us_at(&one, bench.counts.wrk_seconds, &scratch);

    let names = [
        "windrow, https, HTTP/1.1, 64 in flight, 1 core, to null: client CPU per object",
        "wrk, the same: client CPU per request",
        "h2load --h1, the same: client CPU per request",
        "windrow --http2, 64 in flight on one connection: client CPU per object",
        "h2load -c 1 -m 64, the same: client CPU per request",
    ];
    let mut figures = names.map(|_| Vec::new());
    for _ in 0..bench.rounds {
        let with = found("h2load");
        let round = [
            Some(windrow(false)?),
            Some(wrk()?),
            with.then(|| h2load(&["--h1", "-c", "64"])).transpose()?,
            Some(windrow(true)?),
            with.then(|| h2load(&["-c", "1", "-m", "64"])).transpose()?,
        ];
        println!("  {round:.2?}");
        figures.iter_mut().zip(round).for_each(|(all, one)| all.extend(one));
    }
    let [h1, wrk, h1load, h2, h2load] = &figures;
    let ratio = |ours: &[f64], theirs: &[f64]| -> Vec<f64> {
        ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
    };
    let row = |what: &str, figures, unit, target| Row {
        name: "tls",
        what: what.to_owned(),
        figures,
        unit,
        target,
    };
    let mut rows = vec![row(
        "nginx over https: client CPU per object / wrk's per request",
        ratio(h1, wrk),
        "",
        Some(Target::Most(1.0)),
    )];
    if !h2load.is_empty() {
        let what = "the same: windrow / h2load --h1";
        rows.push(row(what, ratio(h1, h1load), "", Some(Target::Most(1.0))));
        let what = "the same over HTTP/2: windrow / h2load";
        rows.push(row(what, ratio(h2, h2load), "", Some(Target::Most(1.0))));
    }
    let apart = names.iter().zip(&figures).filter(|(_, figures)| !figures.is_empty());
    rows.extend(apart.map(|(what, figures)| row(what, figures.clone(), "us", None)));
    Ok(rows)
}
