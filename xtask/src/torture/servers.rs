//! Servers that misbehave, at length.

use std::path::Path;
use std::time::Duration;

use windrow_model::Corpus;
use windrow_testkit::torture::{Line, judge};
use windrow_testkit::{Finished, Nginx};

use super::Torture;

const LIMIT: Duration = Duration::from_secs(1200);

/// 5 % of all answers: every kind of `mix` but those that are silence or dripping, which take as
/// long as their timeout whatever the client does.
const QUICK_FAULTS: &str = "429=0.45%,500=0.45%,502=0.45%,503=0.45%,504=0.45%,reset-head=0.46%,\
                            reset-body=0.46%,truncate=0.46%,wrong-length=0.46%,close=0.46%,\
                            close-silent=0.45%";

/// With these every core waits for the server and not for the processor.
const RACE: [&str; 6] = ["--format", "tar", "-c", "256", "--retry", "8"];

/// Good objects in a second, beside a server without faults, at least.
const GOODPUT: f64 = 0.85;

fn finish(line: &Line, dest: &Path) -> Result<Finished, String> {
    let done = line.call(dest).start().finish_within(LIMIT);
    let done = done.ok_or_else(|| format!("{}: hangs", line.args.join(" ")))?;
    match done.code {
        Some(0) => Ok(done),
        code => Err(format!("{}: ends with {code:?}: {}", line.args.join(" "), done.stderr)),
    }
}

fn clear(dest: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(dest).map_err(|why| format!("clearing up: {why}"))
}

/// 5 % of the answers are faulty, and every object is right; how much it costs.
pub(super) fn faults(torture: &Torture) -> Result<(), String> {
    let corpus = Corpus { count: 200_000, size: 100, seed: torture.seed };
    let dest = torture.folder.path().join("faults");
    let rounds = torture.rounds.unwrap_or(3);
    let seconds = |faults: &str| -> Result<(f64, u64, u64), String> {
        let spec = format!("seed={},{faults}", torture.seed);
        let server = torture.serve(&corpus, &["--latency", "20ms", "--stats", "--faults", &spec]);
        let line = torture.line(corpus, &server, &RACE);
        let done = finish(&line, &dest)?;
        let verdict = judge(&dest, &corpus);
        clear(&dest)?;
        if !verdict.is_clean(&corpus) {
            return Err(format!("{faults}: {verdict}"));
        }
        let stats = server.stats().unwrap_or_default();
        let met = stats["faults"]
            .as_object()
            .map_or(0, |faults| faults.values().filter_map(serde_json::Value::as_u64).sum());
        let seconds = done.summary()["seconds"].as_f64().unwrap_or_default();
        Ok((seconds, met, done.figure("retries")))
    };
    let mut parts = Vec::new();
    for round in 0..rounds {
        let (plain, ..) = seconds("503=0%")?;
        let (faulty, met, retries) = seconds(QUICK_FAULTS)?;
        let part = plain / faulty;
        println!(
            "faults {round}: 200,000 objects, {met} faults, {retries} retries, all right; {plain:.1} s \
             without, {faulty:.1} s with: {:.0} %",
            part * 100.0
        );
        parts.push(part);
    }
    parts.sort_by(f64::total_cmp);
    let middle = parts[parts.len() / 2];

    // Silence too, for being right only: with the timeout of a second.
    let spec = format!("seed={},mix=5%", torture.seed);
    let server = torture.serve(&corpus, &["--faults", &spec]);
    let args = ["--format", "tar", "-c", "1024", "--retry", "8", "--timeout", "1s"];
    let done = finish(&torture.line(corpus, &server, &args), &dest)?;
    let verdict = judge(&dest, &corpus);
    clear(&dest)?;
    println!(
        "faults mix=5%: {verdict}, {} retries, {:.1} s (silences of 60 s, timeout 1 s)",
        done.figure("retries"),
        done.summary()["seconds"].as_f64().unwrap_or_default()
    );
    if !verdict.is_clean(&corpus) {
        return Err(format!("mix=5%: {verdict}"));
    }
    match middle >= GOODPUT {
        true => Ok(()),
        false => Err(format!("{:.0} % of the speed without faults", middle * 100.0)),
    }
}

/// Connections that end when they are wanted: no object fails, even without another attempt.
pub(super) fn close(torture: &Torture) -> Result<(), String> {
    let corpus = Corpus { count: 1_000_000, size: 100, seed: torture.seed };
    let dest = torture.folder.path().join("close");
    for pipeline in ["1", "32"] {
        for faults in ["close=4%", "close-silent=4%", "close=2%,close-silent=2%"] {
            let spec = format!("seed={},{faults}", torture.seed);
            let server = torture.serve(&corpus, &["--faults", &spec]);
            let args = ["--format", "tar", "--retry", "0", "--pipeline", pipeline];
            let done = finish(&torture.line(corpus, &server, &args), &dest)?;
            let verdict = judge(&dest, &corpus);
            clear(&dest)?;
            let connections = server.stats().unwrap_or_default()["connections"].clone();
            println!(
                "close {faults} --pipeline {pipeline}: 1,000,000 GETs over {connections} \
                 connections, {} failed; {verdict}",
                done.figure("failed")
            );
            if !verdict.is_clean(&corpus) {
                return Err(format!("{faults}: {verdict}"));
            }
        }
    }
    for requests in [1, 7, 50] {
        let (server, _folder) = nginx(100_000, requests)?;
        let args = ["--format", "null", "--retry", "0"];
        let line = Line {
            program: torture.windrow.clone(),
            corpus: Corpus { count: 100_000, size: 0, seed: 0 },
            url: server.url(),
            args: args.map(str::to_owned).into(),
        };
        let done = finish(&line, &dest)?;
        clear(&dest)?;
        let (stored, failed) = (done.figure("stored"), done.figure("failed"));
        println!("close nginx keepalive_requests {requests}: {stored} stored, {failed} failed");
        if (stored, failed) != (100_000, 0) {
            return Err(format!("nginx: {:#}", done.summary()));
        }
    }
    Ok(())
}

/// nginx that closes after so many requests, with a listing in one page.
fn nginx(objects: u64, requests: u64) -> Result<(Nginx, tempfile::TempDir), String> {
    let folder = tempfile::tempdir().map_err(|why| format!("nginx's folder: {why}"))?;
    let names: Vec<_> = (0..objects).map(|number| format!("n{number}")).collect();
    let page = serde_json::json!({ "FileNames": names }).to_string();
    std::fs::write(folder.path().join("list"), page).map_err(|why| format!("the list: {why}"))?;
    let server = format!(
        "keepalive_requests {requests}; root {}; location /get/ {{ return 200 \"$uri\"; }}",
        folder.path().display()
    );
    Ok((Nginx::start("", &server), folder))
}
