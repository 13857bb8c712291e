//! What may pass is tried again, what will not pass is told: against servers that misbehave once.

use crate::support::{Place, assert_same, stored};
use serde_json::Value;
use windrow_testkit::script::{Request, Site, body_of, http};
use windrow_testkit::{Script, Step};

/// A site of ten objects whose `n3` is answered as said the first time.
fn once(first: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> (Site, Script) {
    let site = Site::numbered(10);
    let server = site.start_but(move |request, name| match name {
        Some("n3") if request.attempt == 0 => Some(first("n3")),
        _ => None,
    });
    (site, server)
}

/// A site of ten objects whose `n3` is always answered as said.
fn always(answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> (Site, Script) {
    let site = Site::numbered(10);
    let server = site.start_but(move |request, name| match name {
        Some("n3") => Some(answer(request)),
        _ => None,
    });
    (site, server)
}

/// Everything arrives, and so many attempts were made again.
#[track_caller]
fn mended(site: &Site, server: &Script, settings: &[&str], retries: u64) {
    let place = Place::new();
    let done = place.get(&server.url()).args(settings).run().complete(10);
    let done = done.figures([("retries", retries)]);
    assert_same(&stored(&done), &site.objects());
    assert_eq!(done.failures(), Vec::<Value>::new());
}

/// All but `n3` arrive; gives its line of `failures.jsonl`.
#[track_caller]
fn lost(server: &Script, settings: &[&str], class: &str) -> Value {
    let place = Place::new();
    let done = place.get(&server.url()).args(settings).run().expect(1).sum_holds();
    let done = done.figures([("listed", 10), ("stored", 9), ("failed", 1), ("pending", 0)]);
    assert_eq!(done.summary()["state"], "failed");
    assert_eq!(done.failed(class), 1, "{:#}", done.summary());
    let line = match done.failures().as_slice() {
        [line] => line.clone(),
        lines => panic!("one line is expected: {lines:?}"),
    };
    assert_eq!((&line["name"], &line["class"]), (&"n3".into(), &class.into()), "{line}");
    assert_eq!(line["ordinal"], 3);
    let objects = stored(&done);
    assert!(!objects.contains_key(&b"n3"[..]), "what failed is not stored");
    assert_eq!(objects.len(), 9);
    let attempts = line["attempts"].as_u64().expect("a number of attempts");
    done.says(["1 failed", class, "failures.jsonl"]).figures([("retries", attempts - 1)]);
    line
}

/// A part of the body that was promised.
fn half(name: &str) -> Step {
    let body = body_of(name.as_bytes());
    let mut bytes = http::head("200 OK", &[], Some(body.len()));
    bytes.extend_from_slice(&body[..body.len() / 2]);
    Step::Send(bytes)
}

#[test]
fn a_body_cut_short_is_never_stored() {
    for pipeline in ["1", "8"] {
        let (site, server) = once(|name| vec![half(name), Step::Close]);
        mended(&site, &server, &["--pipeline", pipeline], 1);
    }
    let (_, server) = always(|_| vec![half("n3"), Step::Close]);
    lost(&server, &["--retry", "1"], "truncated");
}

#[test]
fn chunks_cut_short_are_never_stored() {
    let cut = |name: &str| {
        let mut bytes = http::chunked(&body_of(name.as_bytes()), 10);
        bytes.truncate(bytes.len() - 5);
        vec![Step::Send(bytes), Step::Close]
    };
    let (site, server) = once(cut);
    mended(&site, &server, &[], 1);
    let (_, server) = always(move |_| cut("n3"));
    lost(&server, &["--retry", "0"], "truncated");
}

#[test]
fn a_reset_inside_a_body_is_tried_again() {
    for pipeline in ["1", "8"] {
        let (site, server) = once(|name| vec![half(name), Step::Reset]);
        mended(&site, &server, &["--pipeline", pipeline], 1);
    }
    let (_, server) = always(|_| vec![half("n3"), Step::Reset]);
    let line = lost(&server, &["--retry", "2"], "reset");
    assert_eq!(line["attempts"], 3);
}

#[test]
fn a_connection_closed_after_an_answer_costs_nothing() {
    // Every connection carries two answers; the third request on it is never looked at. That is
    // what a server does whose patience with idle connections ended: no attempt, no retry.
    for (pipeline, step) in [("1", Step::Close), ("1", Step::Reset), ("4", Step::Close)] {
        let site = Site::numbered(50);
        let server = site.start_but(move |request, _| match request.number {
            2 => Some(vec![step.clone()]),
            _ => None,
        });
        let place = Place::new();
        let get = place.get(&server.url()).args(["--pipeline", pipeline, "--retry", "0"]);
        let done = get.run().complete(50).figures([("retries", 0)]);
        assert_same(&stored(&done), &site.objects());
    }
}

#[test]
fn connections_that_end_after_any_number_of_answers_cost_nothing() {
    // After 1 to 50 answers, with the next request swallowed or with none under way.
    const COUNT: usize = 10_000;
    let names: Vec<_> = (0..COUNT).map(|number| format!("n{number}")).collect();
    for pipeline in ["1", "16"] {
        let page = http::page(&names, None);
        let server = Script::start(move |request| {
            let Some(name) = request.target.strip_prefix("/get/") else {
                return http::send_ok(&page);
            };
            let answers = 1 + request.connection * 7919 % 50;
            let swallows = request.connection.is_multiple_of(2);
            let body = Step::Send(http::ok(&body_of(name.as_bytes())));
            match request.number + usize::from(!swallows) {
                last if last < answers => vec![body],
                _ if swallows && request.number > 0 => vec![Step::Close],
                _ => vec![body, Step::Close],
            }
        });
        let place = Place::new();
        let get = place.get(&server.url()).args(["--pipeline", pipeline, "--retry", "0"]);
        let get = get.args(["--format", "null", "--no-hedge", "-c", "32"]);
        let done = get.run().complete(COUNT as u64);
        done.figures([("retries", 0), ("probes", 0)]);
        assert!(server.connections() > COUNT / 50, "{}", server.connections());
    }
}

#[test]
fn a_fresh_connection_closed_without_an_answer_counts() {
    let (_, server) = always(|_| vec![Step::Close]);
    let line = lost(&server, &["--retry", "2"], "reset");
    assert_eq!(line["attempts"], 3);
}

#[test]
fn what_the_server_asks_to_try_again_is_tried_again() {
    for status in ["503 Busy", "500 Oops", "502 Bad Gateway", "429 Slow Down", "408 Too Late"] {
        let (site, server) = once(move |_| http::send_status(status));
        mended(&site, &server, &[], 1);
        assert_eq!(server.targets("/get/n3").len(), 2, "{status}");
    }
}

#[test]
fn what_the_server_does_not_have_is_asked_for_once() {
    for (status, class) in [
        ("404 Not Found", "not_found"),
        ("410 Gone", "not_found"),
        ("403 Forbidden", "forbidden"),
        ("401 Unauthorized", "forbidden"),
        ("400 Bad Request", "status"),
        ("202 Accepted", "status"),
        ("206 Partial Content", "status"),
        ("501 Not Implemented", "server"),
    ] {
        let (_, server) = always(move |_| http::send_status(status));
        let line = lost(&server, &[], class);
        let number: u64 = status[..3].parse().expect("a status");
        assert_eq!((&line["status"], &line["attempts"]), (&number.into(), &1.into()), "{line}");
        assert_eq!(server.targets("/get/n3").len(), 1, "{status}");
    }
}

#[test]
fn retry_0_tries_once() {
    let (_, server) = always(|_| http::send_status("503 Busy"));
    let line = lost(&server, &["--retry", "0"], "server");
    assert_eq!(line["attempts"], 1);
    assert_eq!(server.targets("/get/n3").len(), 1);
}

#[test]
fn a_redirect_is_a_failure_that_says_so() {
    let (_, server) = always(|_| {
        let headers = ["Location: /get/n4"];
        vec![Step::Send(http::response("302 Found", &headers, b"elsewhere"))]
    });
    let line = lost(&server, &["--max-redirect", "0"], "redirect");
    assert_eq!(line["status"], 302);
    assert_eq!(server.targets("/get/n3").len(), 1);
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    for pipeline in ["1", "4"] {
        let (_, server) = always(|_| vec![Step::Hang]);
        let settings = ["--timeout", "300ms", "--retry", "1", "--pipeline", pipeline];
        let line = lost(&server, &settings, "timeout");
        assert_eq!(line["attempts"], 2);
    }
}

#[test]
fn a_server_that_stops_inside_a_body_is_not_waited_for() {
    let (_, server) = always(|_| vec![half("n3"), Step::Hang]);
    lost(&server, &["--timeout", "300ms", "--retry", "0"], "timeout");
    let (site, server) = once(|name| vec![half(name), Step::Hang]);
    mended(&site, &server, &["--timeout", "300ms"], 1);
}

#[test]
fn an_error_page_of_any_size_is_no_trouble() {
    for size in [0, 100, 300_000, 3_000_000] {
        let (site, server) =
            once(move |_| vec![Step::Send(http::response("503 Busy", &[], &vec![b'e'; size]))]);
        mended(&site, &server, &[], 1);
    }
}
