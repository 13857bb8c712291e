//! Killed, or failed by the system, at its system calls, one by one: a sample of what
//! `cargo xtask torture` tries to the last one.

use crate::support::{Place, windrow};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use windrow_model::Corpus;
use windrow_testkit::torture::{
    self, Begin, CHANGING, Census, Line, Point, Swept, errors, kills, sample, sweep,
};
use windrow_testkit::{Serve, wait};

const CORPUS: Corpus = Corpus { count: 60, size: 100, seed: 21 };

const FORMATS: [&[&str]; 2] = [&["--format", "files"], &["--format", "tar", "--shard-size", "10"]];

/// A server, and the line that fetches from it.
fn line(format: &[&str]) -> (Serve, Line) {
    let server =
        windrow().serve(["--synthetic", "60", "--seed", "21", "--page", "20", "--latency", "1ms"]);
    let always = ["--cores", "1", "-c", "8", "--commit-interval", "10ms"];
    let args = format.iter().chain(&always).map(|&arg| arg.to_owned()).collect();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_windrow"));
    let line = Line { program, corpus: CORPUS, url: server.url.clone(), args };
    (server, line)
}

/// Whether these tests can be carried out here; says so if not.
fn can_trace() -> bool {
    torture::is_usable().inspect_err(|why| eprintln!("not tested: {why}")).is_ok()
}

/// Tries some of the points of a run.
#[track_caller]
fn try_some(begin: &Begin, line: &Line, points: fn(&Census) -> Vec<Point>, most: usize) -> Swept {
    let place = Place::new();
    let census = line.census(begin, &CHANGING, place.path()).expect("a run that can be traced");
    let points = sample(&points(&census), most);
    let swept = sweep(line, begin, &points, 2, place.path());
    assert!(swept.broken.is_empty(), "{}", swept.broken.join("\n\n"));
    swept
}

/// What a kill in the middle leaves.
fn killed_half_way(line: &Line, dest: &Path) {
    let running = line.call(dest).env("WINDROW_CONCURRENCY", "1").start();
    let begun = || std::fs::metadata(dest.join(".windrow/manifest/core-0000.wm"));
    wait::until("objects are recorded", || begun().is_ok_and(|file| file.len() > 32));
    running.signal(Signal::KILL);
    running.finish();
}

#[test]
fn killed_at_a_call() {
    if !can_trace() {
        return;
    }
    for format in FORMATS {
        let (_server, line) = line(format);
        let swept = try_some(&Begin::Empty, &line, kills, 40);
        assert!(swept.hit > 30, "{swept}");
    }
}

#[test]
fn killed_at_a_call_while_it_takes_up_a_run() {
    if !can_trace() {
        return;
    }
    for format in FORMATS {
        let (_server, line) = line(format);
        let place = Place::new();
        killed_half_way(&line, &place.at("half"));
        let swept = try_some(&Begin::Resumed(place.at("half")), &line, kills, 30);
        assert!(swept.hit > 20, "{swept}");
    }
}

#[test]
fn killed_at_a_call_while_it_forgets_a_run() {
    if !can_trace() {
        return;
    }
    for format in FORMATS {
        let (_server, line) = line(format);
        let place = Place::new();
        line.call(&place.at("whole")).run().complete(CORPUS.count);
        let swept = try_some(&Begin::Fresh(place.at("whole")), &line, kills, 30);
        assert!(swept.hit > 20, "{swept}");
    }
}

#[test]
fn failed_by_the_system_at_a_call() {
    if !can_trace() {
        return;
    }
    for format in FORMATS {
        let (_server, line) = line(format);
        let swept = try_some(&Begin::Empty, &line, errors, 60);
        assert!(swept.hit > 20 && swept.ended > 10, "{swept}");
    }
}
