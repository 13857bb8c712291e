//! The last requests of a run: what takes too long is sent a second time, and stored once.

use crate::support::{Place, assert_same, stored};
use windrow_testkit::script::{Request, Site, body_of, http};
use windrow_testkit::{Finished, Gate, Script, Step};

/// A site of 40 objects whose `n3` is answered as said.
fn site(answer: impl Fn(&Request) -> Option<Vec<Step>> + Send + Sync + 'static) -> (Site, Script) {
    let site = Site::numbered(40);
    let server = site.start_but(move |request, name| match name {
        Some("n3") => answer(request),
        _ => None,
    });
    (site, server)
}

/// Runs it to its end. Nobody waits for a timeout: that would take an hour.
#[track_caller]
fn run((site, server): &(Site, Script), settings: &[&str]) -> (Finished, Place) {
    let place = Place::new();
    // As packs: there a second body of an object would show.
    let get = place.get(&server.url()).args(["--format", "tar", "--timeout", "1h"]);
    let done = get.args(settings).run().complete(40);
    assert_same(&stored(&done), &site.objects());
    (done, place)
}

fn good() -> Step {
    Step::Send(http::ok(&body_of(b"n3")))
}

/// A part of the body that was promised.
fn half() -> Step {
    let body = body_of(b"n3");
    let mut bytes = http::head("200 OK", &[], Some(body.len()));
    bytes.extend_from_slice(&body[..body.len() / 2]);
    Step::Send(bytes)
}

#[test]
fn a_request_that_a_server_forgot_does_not_hold_up_the_end() {
    for settings in [&["--cores", "1"][..], &["--cores", "2"], &["--pipeline", "4", "-c", "32"]] {
        let server = site(|request| (request.attempt == 0).then(|| vec![Step::Hang]));
        let (done, _place) = run(&server, settings);
        let done = done.figures([("retries", 0)]);
        assert!(done.figure("hedges") >= 1, "{:#}", done.summary());
        let targets = server.1.targets("/get/n3");
        assert_eq!(targets.iter().filter(|target| *target == "/get/n3").count(), 2);
    }
}

#[test]
fn a_body_that_stopped_does_not_hold_up_the_end() {
    let server = site(|request| (request.attempt == 0).then(|| vec![half(), Step::Hang]));
    let (done, _place) = run(&server, &[]);
    done.figures([("retries", 0), ("hedges", 1)]);
}

#[test]
fn two_answers_are_stored_once() {
    // The first is answered when the second has come, whoever is faster then.
    for half_before in [false, true] {
        let gate = Gate::new();
        let server = site(move |request| {
            Some(match request.attempt {
                0 if half_before => {
                    let rest = body_of(b"n3").split_off(body_of(b"n3").len() / 2);
                    vec![half(), Step::Await(gate.clone()), Step::Send(rest)]
                }
                0 => vec![Step::Await(gate.clone()), good()],
                _ => vec![Step::Open(gate.clone()), good()],
            })
        });
        let (done, _place) = run(&server, &[]);
        done.figures([("retries", 0), ("hedges", 1)]);
    }
}

#[test]
fn a_second_request_that_fails_changes_nothing() {
    let gate = Gate::new();
    let server = site(move |request| {
        Some(match request.attempt {
            0 => vec![Step::Await(gate.clone()), good()],
            _ => vec![Step::Send(http::response("503 Busy", &[], b"")), Step::Open(gate.clone())],
        })
    });
    let (done, _place) = run(&server, &["--retry", "0"]);
    done.figures([("retries", 0)]);
}

#[test]
fn a_first_request_that_fails_leaves_it_to_the_second() {
    let (asked, lost) = (Gate::new(), Gate::new());
    let server = site(move |request| {
        Some(match request.attempt {
            0 => vec![Step::Await(asked.clone()), Step::Open(lost.clone()), Step::Reset],
            _ => vec![Step::Open(asked.clone()), Step::Await(lost.clone()), good()],
        })
    });
    let (done, _place) = run(&server, &["--retry", "0"]);
    done.figures([("retries", 0), ("hedges", 1)]);
}

#[test]
fn nothing_is_sent_twice_where_that_is_not_wanted() {
    let (site, server) = site(|request| (request.attempt == 0).then(|| vec![Step::Hang]));
    let place = Place::new();
    let get = place.get(&server.url()).args(["--no-hedge", "--timeout", "2s"]);
    let done = get.run().complete(40).figures([("hedges", 0), ("retries", 1)]);
    assert_same(&stored(&done), &site.objects());
}
