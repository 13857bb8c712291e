//! Killed, or failed by the system, at its system calls, one by one: a sample of what
//! `cargo xtask torture` tries to the last one.

use crate::support::{Place, all_right, stored, windrow};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use windrow_model::Corpus;
use windrow_testkit::torture::{
    self, Begin, Blow, CHANGING, Census, Line, Point, Reach, Swept, errors, kills, sample, strike,
    sweep,
};
use windrow_testkit::{Serve, wait};

const CORPUS: Corpus = Corpus { count: 60, size: 100, seed: 21 };

const FORMATS: [&[&str]; 2] = [&["--format", "files"], &["--format", "tar", "--shard-size", "10"]];

/// A server, and the line that fetches from it.
fn line(format: &[&str]) -> (Serve, Line) {
    let server =
        windrow().serve(["--synthetic", "60", "--seed", "21", "--page", "20", "--latency", "2ms"]);
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
        assert!(swept.hit > 12 && swept.ended > 10, "{swept}");
    }
}

#[test]
fn what_a_failed_sync_takes_back_is_not_counted() {
    if !can_trace() {
        return;
    }
    // Recorded and never committed: the next process makes it durable first, or gives it up.
    let (_server, line) = line(FORMATS[1]);
    let mut seldom = line.clone();
    seldom.args.extend(["--commit-interval".to_owned(), "1h".to_owned()]);
    seldom.args.retain(|arg| arg != "10ms");
    let at = seldom.args.iter().position(|arg| arg == "--commit-interval").expect("it is there");
    seldom.args.remove(at);
    let place = Place::new();
    killed_half_way(&seldom, &place.at("half"));
    for blow in [Blow::Error("EIO"), Blow::ErrorsFrom("ENOSPC")] {
        let point = Point { call: "syncfs", nth: 1, blow };
        let outcome = strike(&line, &Begin::Resumed(place.at("half")), &point, place.path());
        let outcome = outcome.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((outcome.reach, outcome.code), (Reach::Destination, Some(4)));
    }
}

/// A limit on the size of files makes the kernel write less than it was given, for real, before
/// it says no.
#[test]
fn short_writes_at_a_limit_on_the_size_of_files() {
    let corpus = Corpus { count: 2000, size: 1000, seed: 4 };
    let server =
        windrow().serve(["--synthetic", "2000", "--size", "1000", "--seed", "4", "--stats"]);
    // In units of 512 bytes: inside the first block of a pack, and inside a later one.
    for limit in ["50", "777"] {
        let place = Place::new();
        let get = || windrow().get(&server.url, &place.at("out")).args(["--format", "tar"]);
        let script = format!("ulimit -f {limit}; exec \"$@\"");
        let limited = get().under("sh", &["-c".into(), script.into(), "sh".into()]);
        let done = limited.run().expect(4).sum_holds().says(["File too large", "hint: "]);
        let first = done.figure("stored");
        let done = get().run().complete(corpus.count);
        assert_eq!(done.figure("stored_before"), first);
        assert_eq!(all_right(&corpus, &stored(&done)), corpus.count);
    }
}
