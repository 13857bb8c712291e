//! Ctrl-C: the first ends in good order, the second at once.

use crate::support::{Place, all_right, entries, stored, windrow};
use rustix::process::Signal;
use windrow_model::Corpus;
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Finished, Running, Step};

const CORPUS: Corpus = Corpus { count: 100_000, size: 100, seed: 3 };

/// Whether a line of JSON progress says that something is stored.
fn has_stored(stderr: &str) -> bool {
    stderr.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).any(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line["stored"].as_u64().expect("a number") > 0
    })
}

/// Stops a run in the middle of many slow objects.
fn interrupted(format: &str, signal: Signal) -> (Finished, Place) {
    let server = windrow().serve(["--latency", "50ms", "--synthetic", "100000", "--seed", "3"]);
    let place = Place::new();
    let get = place.get(&server.url).args(["--format", format, "--progress", "json"]);
    let mut running = get.args(["--shard-size", "10"]).env("WINDROW_CONCURRENCY", "32").start();
    running.until_stderr("objects are stored", has_stored);
    running.signal(signal);
    (running.finish(), place)
}

/// The sums hold, and what is there is whole.
#[track_caller]
fn in_good_order(done: &Finished, place: &Place, state: &str) {
    assert_eq!(done.summary()["state"], state);
    assert!(done.figure("stored") > 0 && done.figure("pending") > 0, "{:#}", done.summary());
    assert_eq!((done.figure("failed"), done.figure("retries")), (0, 0), "{:#}", done.summary());
    let objects = stored(done);
    assert_eq!(all_right(&CORPUS, &objects), done.figure("stored"));
    assert_eq!(done.figure("bytes"), done.figure("stored") * 100);
    let open = place.at("out/.windrow/open");
    assert!(!open.exists() || entries(&open).is_empty(), "unfinished files are left");
    assert_eq!(done.failures().len(), 0);
}

#[test]
fn sigint_leaves_whole_files() {
    let (done, place) = interrupted("files", Signal::INT);
    let done = done.expect(130).sum_holds();
    in_good_order(&done, &place, "interrupted");
}

#[test]
fn sigint_leaves_whole_packs() {
    let (done, place) = interrupted("tar", Signal::INT);
    let done = done.expect(130).sum_holds();
    in_good_order(&done, &place, "interrupted");
    let last = crate::support::packs(&place.at("out")).pop().expect("packs");
    crate::support::tool(std::process::Command::new("tar").arg("-tf").arg(last));
}

#[test]
fn sigterm_ends_in_good_order_too() {
    let (done, place) = interrupted("tar", Signal::TERM);
    let done = done.expect(143).sum_holds();
    in_good_order(&done, &place, "terminated");
}

/// Sends the first signal, and waits until it was heard.
fn first_signal(running: &mut Running, signal: Signal) {
    running.signal(signal);
    running.until_stderr("the signal is heard", |stderr| stderr.contains("stopping"));
}

#[test]
fn the_second_sigint_does_not_wait_for_the_server() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = Site::numbered(10).start_but(|_, name| name.map(|_| vec![Step::Hang]));
        let place = Place::new();
        let mut running = place.get(&server.url()).args(["--timeout", "1h"]).start();
        server.until_asked("/get/", 1);
        first_signal(&mut running, signal);
        assert!(!running.has_ended(), "the first waits for what runs: {}", running.stderr());
        running.signal(signal);
        running.finish().expect(code);
    }
}

#[test]
fn what_runs_is_finished() {
    // One request is under way, and its answer comes after the signal. Some more may be begun
    // until every core has heard of it; whatever was begun is stored.
    let gate = windrow_testkit::Gate::new();
    let server = Site::numbered(20_000).start_but({
        let gate = gate.clone();
        move |_, name| {
            let body = windrow_testkit::script::body_of(name?.as_bytes());
            Some(vec![Step::Await(gate.clone()), Step::Send(http::ok(&body))])
        }
    });
    let place = Place::new();
    let mut running = place.get(&server.url()).env("WINDROW_CONCURRENCY", "1").start();
    server.until_asked("/get/", 1);
    first_signal(&mut running, Signal::INT);
    gate.open();
    let done = running.finish().expect(130).sum_holds().figures([("failed", 0)]);
    let stored = done.figure("stored");
    assert!(stored >= 1 && done.figure("pending") > 0, "{:#}", done.summary());
    assert_eq!(done.figure("requests"), stored);
    assert_eq!(done.tree().0.len() as u64, stored);
    assert_eq!(server.targets("/get/").len() as u64, stored);
}

#[test]
fn a_listing_that_hangs_does_not_hold_the_end_up() {
    // On the first page and on a later one.
    for hanging in ["/list", "/list?next-marker=2"] {
        let site = Site::numbered(4).pages_of(2);
        let server =
            site.start_but(move |request, _| (request.target == hanging).then(|| vec![Step::Hang]));
        let place = Place::new();
        let mut running = place.get(&server.url()).args(["--timeout", "1h"]).start();
        server.until_asked(hanging, 1);
        first_signal(&mut running, Signal::INT);
        let done = running.finish().expect(130).sum_holds();
        assert_eq!(done.summary()["listing_complete"], false);
        assert_eq!(done.summary()["state"], "interrupted");
    }
}

#[test]
fn waiting_for_another_attempt_does_not_hold_the_end_up() {
    let server =
        Site::numbered(10).start_but(|_, name| name.map(|_| http::send_status("503 Busy")));
    let place = Place::new();
    let mut running = place.get(&server.url()).args(["--retry", "1000"]).start();
    server.until_asked("/get/", 12);
    first_signal(&mut running, Signal::INT);
    let done = running.finish().expect(130).sum_holds();
    done.figures([("listed", 10), ("stored", 0), ("failed", 0), ("pending", 10)]);
}

#[test]
fn a_server_ends_on_a_signal() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let args = ["serve", "--synthetic", "10", "--addr", "127.0.0.1:0"];
        let mut server = windrow().args(args).start();
        server.until_stderr("the server serves", |stderr| stderr.contains("serving"));
        server.signal(signal);
        let done = server.finish().expect(code);
        assert!(done.stdout.starts_with("http://127.0.0.1:"), "{}", done.stdout);
        assert_eq!(done.stdout.lines().count(), 1);
    }
}
