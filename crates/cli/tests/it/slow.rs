//! Servers that are slow without being silent: dropped, and asked again; nobody else waits.

use crate::support::{Place, assert_same, stored};
use std::time::Duration;
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Script, Step};

/// Between two bytes of a server that is slow.
const PERIOD: Duration = Duration::from_millis(50);

/// 20 bytes a second are too few for these.
const QUICK: [&str; 4] = ["--min-speed", "100", "--min-speed-window", "400ms"];

/// A site whose `n3` comes byte by byte, the first `times`.
fn trickling(times: usize, head_too: bool) -> (Site, Script) {
    let site = Site::numbered(10);
    let server = site.start_but(move |request, name| {
        if name? != "n3" || request.attempt >= times {
            return None;
        }
        let head = http::head("200 OK", &[], Some(10_000));
        let body = vec![b'x'; 10_000];
        Some(match head_too {
            true => vec![Step::Trickle([head, body].concat(), PERIOD)],
            false => vec![Step::Send(head), Step::Trickle(body, PERIOD)],
        })
    });
    (site, server)
}

#[test]
fn a_response_that_trickles_is_dropped_and_asked_for_again() {
    for head_too in [false, true] {
        for pipeline in ["1", "4"] {
            let (site, server) = trickling(1, head_too);
            let place = Place::new();
            let get = place.get(&server.url()).args(QUICK).args(["--pipeline", pipeline]);
            let done = get.arg("--no-hedge").run().complete(10).figures([("retries", 1)]);
            assert_same(&stored(&done), &site.objects());
        }
    }
}

#[test]
fn a_response_that_always_trickles_is_a_timeout() {
    for settings in [&QUICK[..], &["--min-speed", "0", "--total-timeout", "400ms"]] {
        let (_, server) = trickling(usize::MAX, false);
        let place = Place::new();
        let get = place.get(&server.url()).args(["--retry", "1", "--no-hedge"]).args(settings);
        let done = get.run().expect(1).sum_holds();
        let done = done.figures([("stored", 9), ("failed", 1)]);
        assert_eq!(done.failed("timeout"), 1, "{:#}", done.summary());
        let why = done.failures()[0]["error"].to_string();
        assert!(
            why.contains(if settings.len() == 4 && settings[1] == "0" {
                "total"
            } else {
                "min-speed"
            }),
            "{why}"
        );
    }
}

#[test]
fn a_page_that_trickles_is_asked_for_again() {
    let site = Site::numbered(10);
    let server = site.start_but(|request, _| {
        let slow = request.target == "/list" && request.attempt == 0;
        let head = || http::head("200 OK", &[], Some(10_000));
        slow.then(|| vec![Step::Send(head()), Step::Trickle(vec![b' '; 10_000], PERIOD)])
    });
    let place = Place::new();
    let done = place.get(&server.url()).args(QUICK).run().complete(10);
    assert_same(&stored(&done), &site.objects());
}

#[test]
fn slow_connections_hold_up_no_other() {
    // Each fifth connection brings its answers byte by byte.
    let site = Site::numbered(2000);
    let server = site.start_but(move |request, name| {
        name?;
        let body = vec![b'x'; 10_000];
        let head = http::head("200 OK", &[], Some(10_000));
        let slow = request.connection % 5 == 1;
        slow.then(|| vec![Step::Send(head), Step::Trickle(body, PERIOD)])
    });
    let place = Place::new();
    let get = place.get(&server.url()).args(["-c", "10", "--cores", "2", "--no-hedge"]).args(QUICK);
    let done = get.run().complete(2000);
    assert_same(&stored(&done), &site.objects());
    // While the first of them was borne with, others were answered as ever.
    let requests = server.requests();
    let slow = requests
        .iter()
        .find(|request| request.connection % 5 == 1 && request.target.starts_with("/get/"));
    let since = slow.expect("a slow connection").time;
    let meanwhile = requests
        .iter()
        .filter(|request| {
            request.connection % 5 != 1
                && request.time >= since
                && request.time - since < Duration::from_millis(400)
        })
        .count();
    assert!(meanwhile >= 50, "{meanwhile} requests in the time of a slow one");
    // And each was dropped: no connection brought a second answer of this kind.
    let slow = requests.iter().filter(|r| r.connection % 5 == 1 && r.number > 0).count();
    assert_eq!(slow, 0);
}
