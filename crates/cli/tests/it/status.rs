//! `windrow status`: how a run stands, told without touching it.

use crate::support::{Place, entries, windrow};
use rustix::process::Signal;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Step, tree, wait};

/// What `status --json` says; it changes nothing.
#[track_caller]
fn status(dest: &Path) -> Value {
    let done = windrow().arg("status").arg(dest).arg("--json").run().expect(0);
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[track_caller]
fn resting(dest: &Path) -> Value {
    let before = tree::outline(dest, Path::new("-"));
    let told = status(dest);
    windrow().arg("status").arg(dest).run().expect(0);
    assert!(tree::outline(dest, Path::new("-")) == before, "status changed something");
    told
}

#[track_caller]
fn says<const N: usize>(told: &Value, figures: [(&str, Value); N]) {
    for (name, value) in figures {
        assert_eq!(told[name], value, "{name}: {told:#}");
    }
}

#[test]
fn a_run_from_its_first_process_to_its_end() {
    for format in ["tar", "files"] {
        let site = Site::numbered(100).pages_of(40);
        let place = Place::new();
        let dest = place.at("out");
        let hangs = Arc::new(AtomicBool::new(true));
        let server = {
            let hangs = Arc::clone(&hangs);
            site.start_but(move |_, name| match name {
                Some("n3") => Some(http::send_status("404 Not Found")),
                Some("n30") if hangs.load(Ordering::Acquire) => Some(vec![Step::Hang]),
                _ => None,
            })
        };
        let get = || place.get(&server.url()).args(["--format", format, "--shard-size", "30"]);
        let running = get().args(["--cores", "1"]).start();
        wait::until("98 objects are recorded", || {
            dest.join(".windrow/run.json").exists() && status(&dest)["stored"] == 98
        });
        wait::until("the failure is recorded", || status(&dest)["failed"] == 1);
        let told = status(&dest);
        says(
            &told,
            [
                ("state", "running".into()),
                ("pid", running.id().into()),
                ("next", format!("process {} is at work", running.id()).into()),
                ("source", format!("{}/", server.url()).trim_end_matches('/').into()),
                ("format", format.into()),
                ("processes", 1.into()),
                ("listed", 100.into()),
                ("listing_complete", true.into()),
                ("pages", 3.into()),
                ("pending", 1.into()),
            ],
        );
        assert_eq!(told["failures"]["not_found"], 1);
        running.signal(Signal::KILL);
        drop(running.finish());
        let told = resting(&dest);
        says(
            &told,
            [
                ("state", "unfinished".into()),
                ("pid", Value::Null),
                ("next", "the same command again goes on".into()),
                ("stored", 98.into()),
                ("pending", 1.into()),
            ],
        );
        if format == "tar" {
            let packs = &told["packs"];
            let count = |key: &str| packs[key].as_u64().expect("a count");
            assert_eq!(count("gone"), 0);
            assert_eq!(count("finished") + count("unnamed") + count("open"), 4, "{packs}");
            assert_eq!(count("open"), 1, "98 objects in packs of 30: {packs}");
        } else {
            assert_eq!(told["packs"], Value::Null);
        }
        hangs.store(false, Ordering::Release);
        get().run().expect(1);
        let told = resting(&dest);
        says(
            &told,
            [
                ("state", "failed".into()),
                ("next", "the same command again tries the 1 that failed once more".into()),
                ("processes", 2.into()),
                ("stored", 99.into()),
                ("pending", 0.into()),
                ("cut_bytes", 0.into()),
                ("unsynced", false.into()),
            ],
        );
        assert!(told["ledger_bytes_per_object"].as_f64().expect("a figure") > 0.0);
        let text = windrow().arg("status").arg(&dest).run().expect(0).stdout;
        for part in
            ["listed   100 on 3 pages: the whole listing", "failed   1: not_found 1", "2 processes"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn complete_limited_and_not_listed_to_the_end() {
    let site = Site::numbered(20).pages_of(5);
    let server = site.start();
    let place = Place::new();
    place.get(&server.url()).args(["--limit", "7"]).run().expect(0);
    says(
        &resting(&place.at("out")),
        [
            ("state", "complete".into()),
            ("listed", 7.into()),
            ("listing_complete", true.into()),
            ("listing_limited", true.into()),
        ],
    );
    place.get(&server.url()).run().complete(20);
    says(
        &resting(&place.at("out")),
        [
            ("state", "complete".into()),
            ("next", "nothing is left to do".into()),
            ("listing_limited", false.into()),
        ],
    );

    let stuck =
        site.start_but(|request, _| request.target.ends_with("=10").then(|| vec![Step::Hang]));
    let place = Place::new();
    let running = place.get(&stuck.url()).start();
    wait::until("two pages are stored", || {
        place.at("out/.windrow/run.json").exists() && status(&place.at("out"))["stored"] == 10
    });
    running.signal(Signal::KILL);
    drop(running.finish());
    says(
        &resting(&place.at("out")),
        [
            ("state", "unfinished".into()),
            ("listed", 10.into()),
            ("pending", 0.into()),
            ("listing_complete", false.into()),
        ],
    );
}

#[test]
fn a_torn_tail_is_told_and_left() {
    let place = Place::new();
    let server = Site::numbered(20).start();
    place.get(&server.url()).args(["--format", "tar"]).run().complete(20);
    let ledger = place.at("out/.windrow/ledger");
    let name = entries(&ledger).into_iter().find(|name| name.starts_with("core-"));
    let file = ledger.join(name.expect("a core's file"));
    let mut file = std::fs::OpenOptions::new().append(true).open(file).expect("a ledger");
    file.write_all(&[7; 33]).expect("a ledger that can be written");
    let told = resting(&place.at("out"));
    says(&told, [("state", "complete".into()), ("stored", 20.into()), ("cut_bytes", 33.into())]);
}

#[test]
fn damage_is_told_as_json_too() {
    let place = Place::new();
    let server = Site::numbered(20).start();
    place.get(&server.url()).run().complete(20);
    let file = place.at("out/.windrow/ledger/listing.wl");
    let mut bytes = std::fs::read(&file).expect("a ledger");
    bytes[50] ^= 4;
    std::fs::write(&file, bytes).expect("a ledger that can be written");
    let before = tree::outline(&place.at("out"), Path::new("-"));
    let done = windrow().arg("status").arg(place.at("out")).arg("--json").run().expect(4);
    let told: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(told["state"], "damaged");
    let error = told["error"].as_str().expect("a text");
    assert!(error.contains("listing.wl") && error.contains("byte 32"), "{error}");
    assert!(tree::outline(&place.at("out"), Path::new("-")) == before);
}

#[test]
fn looking_stops_nobody_who_begins() {
    // Whoever asks for the holder has the lock for a moment; here somebody asks all the time.
    let place = Place::new();
    let dest = place.at("out");
    let server = Site::numbered(5).start();
    place.get(&server.url()).run().complete(5);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = windrow_engine::sink::dest::holder(&dest);
            }
        });
        let all: Vec<_> = (0..20).map(|_| place.get(&server.url()).run()).collect();
        done.store(true, Ordering::Relaxed);
        for finished in all {
            finished.complete(5);
        }
    });
}
