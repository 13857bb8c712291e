//! Runs that stop by a rule of the user's, and runs of a part.

use crate::support::{Place, stored};
use windrow_testkit::script::{Site, body_of, http};
use windrow_testkit::{Gate, Step};

/// How many requests for objects a run with `-c 4` makes, whose first object fails while the
/// three others are held back until windrow has read of the failure.
fn first_fails(settings: &[&str]) -> (windrow_testkit::Finished, usize, Place) {
    let gate = Gate::new();
    let server = Site::numbered(1000).start_but(move |_, name| {
        let name = name?;
        if name == "n0" {
            let failed = http::response("404 Not Found", &[], b"");
            // windrow closes this connection, or sends the next request on it: either way it
            // knows.
            return Some(vec![Step::Send(failed), Step::AwaitPeer, Step::Open(gate.clone())]);
        }
        let answer = Step::Send(http::ok(&body_of(name.as_bytes())));
        Some(vec![Step::Await(gate.clone()), answer])
    });
    let place = Place::new();
    let get = place.get(&server.url()).args(["--cores", "1"]).env("WINDROW_CONCURRENCY", "4");
    let done = get.args(settings).run();
    let asked = server.targets("/get/").len();
    (done, asked, place)
}

#[test]
fn on_error_stop_begins_nothing_after_the_first_failure() {
    let (done, asked, _place) = first_fails(&["--on-error", "stop"]);
    let done = done.expect(3).sum_holds().figures([("failed", 1), ("stored", 3)]);
    let done = done.says(["stopped"]).figures([("requests", 4)]);
    assert_eq!(done.summary()["state"], "stopped");
    assert_eq!(asked, 4, "what was under way, and nothing more");
    assert_eq!(stored(&done).len(), 3, "what was under way is finished");
}

#[test]
fn on_error_continue_goes_on() {
    let (done, asked, _place) = first_fails(&[]);
    done.expect(1).sum_holds().figures([("failed", 1), ("stored", 999), ("pending", 0)]);
    assert_eq!(asked, 1000);
}

#[test]
fn max_failures_0_stops_at_the_first() {
    let (done, asked, _place) = first_fails(&["--max-failures", "0"]);
    done.expect(3).sum_holds().figures([("failed", 1), ("stored", 3)]);
    assert_eq!(asked, 4);
}

#[test]
fn max_failures_are_allowed_and_not_one_more() {
    // One request at a time: the fourth failure is one too many, and the last request.
    let server = Site::numbered(1000).start_but(|_, name| {
        let number: usize = name?.strip_prefix('n')?.parse().ok()?;
        (number % 2 == 1).then(|| http::send_status("404 Not Found"))
    });
    let place = Place::new();
    let get = place.get(&server.url()).args(["--max-failures", "3"]);
    let done = get.env("WINDROW_CONCURRENCY", "1").run().expect(3).sum_holds();
    let done = done.figures([("failed", 4), ("stored", 4), ("requests", 8)]);
    assert_eq!(done.failures().len(), 4);
    assert_eq!(server.targets("/get/").len(), 8);
    done.says(["more than 3"]);
}

#[test]
fn as_many_failures_as_allowed_are_no_reason_to_stop() {
    let server = Site::numbered(100).start_but(|_, name| {
        matches!(name?, "n10" | "n20" | "n30").then(|| http::send_status("404 Not Found"))
    });
    let place = Place::new();
    let done = place.get(&server.url()).args(["--max-failures", "3"]).run().expect(1).sum_holds();
    done.figures([("failed", 3), ("stored", 97), ("pending", 0)]);
}

#[test]
fn a_part_of_all_may_fail() {
    // After 100 good ones the rest fails: with the twelfth it is more than a tenth.
    let server = Site::numbered(1000).start_but(|_, name| {
        let number: usize = name?.strip_prefix('n')?.parse().ok()?;
        (number >= 100).then(|| http::send_status("404 Not Found"))
    });
    let place = Place::new();
    let get = place.get(&server.url()).args(["--max-failures", "10%"]);
    let done = get.env("WINDROW_CONCURRENCY", "1").run().expect(3).sum_holds();
    done.figures([("failed", 12), ("stored", 100), ("requests", 112)]);
}

#[test]
fn a_limit_takes_the_first() {
    for limit in [0_u64, 1, 10, 15, 20, 25, 1000] {
        let site = Site::numbered(25).pages_of(10);
        let server = site.start();
        let place = Place::new();
        let done = place.get(&server.url()).args(["--limit", &limit.to_string()]).run();
        let count = limit.min(25);
        let done = done.complete(count).figures([("requests", count)]);
        for number in 0..count {
            let name = format!("n{number}");
            assert_eq!(stored(&done).get(name.as_bytes()), Some(&body_of(name.as_bytes())));
        }
        assert_eq!(server.targets("/get/").len() as u64, count);
        let pages = server.targets("/list").len() as u64;
        assert!(pages <= limit.div_ceil(10).clamp(1, 3), "{pages} pages for {limit} objects");
    }
}
