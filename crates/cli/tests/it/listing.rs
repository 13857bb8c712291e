//! The listing: pages that break, run in circles, or are none.

use crate::support::{Place, assert_same, stored};
use std::collections::HashMap;
use windrow_testkit::script::{Request, Site, http};
use windrow_testkit::{Finished, Script, Step};

/// A server whose listing is as said, and that has every object.
fn listing(page: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Script {
    Site::numbered(100_000).start_but(move |request, name| match name {
        Some(_) => Some(http::send_ok(b"body")),
        None => Some(page(request)),
    })
}

/// Pages in a row: after the pages of `row` the one at `back_to` again.
fn circle(row: usize, back_to: usize) -> Script {
    listing(move |request| {
        let at = request.target.strip_prefix("/list?next-marker=m").unwrap_or("0");
        let at: usize = at.parse().expect("a marker of this server");
        let next = if at + 1 < row { at + 1 } else { back_to };
        http::send_ok(&http::page([format!("n{at}")], Some(&format!("m{next}"))))
    })
}

/// Ended by the listing: usage or environment, with the reason, a hint and a sum that holds.
#[track_caller]
fn ended(place: &Place, server: &Script) -> Finished {
    let done = place.get(&server.url()).args(["--retry", "1"]).run();
    assert!(matches!(done.code, Some(2 | 4)), "exit {:?}: {}", done.code, done.stderr);
    done.says(["hint: ", "/list"])
}

#[test]
fn a_listing_that_runs_in_a_circle_ends() {
    for (row, back_to) in [(1, 0), (2, 0), (2, 1), (3, 1), (8, 3), (40, 7)] {
        let server = circle(row, back_to);
        let place = Place::new();
        let done = ended(&place, &server).says(["circle"]);
        let done = done.sum_holds();
        assert_eq!(done.summary()["state"], "error");
        assert_eq!(done.summary()["listing_complete"], false);
        // What it says about what was fetched is true.
        let mut asked: HashMap<_, usize> = HashMap::new();
        for target in server.targets("/get/") {
            *asked.entry(target).or_default() += 1;
        }
        let twice: Vec<_> = asked.into_iter().filter(|&(_, times)| times > 1).collect();
        let claimed = done.stderr.contains("nothing was fetched twice");
        assert!(!claimed || twice.is_empty(), "({row}, {back_to}): {twice:?}: {}", done.stderr);
    }
}

#[test]
fn what_is_no_listing_is_shown() {
    for (kind, body, shown) in [
        ("text/html", "<!DOCTYPE html><title>Hello</title>", "<!DOCTYPE html>"),
        ("application/json", r#"{"files": ["a"]}"#, "files"),
        ("application/json", r#"["a", "b"]"#, "application/json"),
        ("application/json", "", "application/json"),
        ("application/json", r#"{"FileNames": "a"}"#, "FileNames"),
    ] {
        let server = listing(move |_| {
            let kind = format!("Content-Type: {kind}");
            vec![Step::Send(http::response("200 OK", &[&kind], body.as_bytes()))]
        });
        let place = Place::new();
        let done = ended(&place, &server).says(["not a listing", "--names-field", shown]);
        assert_eq!(done.code, Some(2));
        assert_eq!(place.entries(), Vec::<String>::new(), "nothing is left behind");
        assert_eq!(server.requests().len(), 1, "what is no listing will be none the next time");
    }
}

#[test]
fn a_server_without_a_listing_says_what_to_type() {
    let server = Script::start(|_| http::send_status("404 Not Found"));
    let place = Place::new();
    let done = ended(&place, &server).says(["404", "--list-path"]);
    assert_eq!(done.stdout, "");
    assert_eq!(place.entries(), Vec::<String>::new());

    let server = Script::start(|_| http::send_status("401 Unauthorized"));
    ended(&Place::new(), &server).says(["401", "--header"]);

    let server = Script::start(|_| {
        let headers = ["Location: http://elsewhere.example/list"];
        vec![Step::Send(http::response("301 Moved", &headers, b""))]
    });
    ended(&Place::new(), &server).says(["301", "http://elsewhere.example/list"]);
}

#[test]
fn a_page_that_breaks_ends_the_run_with_what_was_stored() {
    for broken in [r#"{"FileNames": ["n1", "#, r#"{"FileNames": [1]}"#, "<html>"] {
        let server = listing(move |request| match request.target.as_str() {
            "/list" => http::send_ok(&http::page(["n0"], Some("2"))),
            _ => http::send_ok(broken.as_bytes()),
        });
        let place = Place::new();
        let done = ended(&place, &server).sum_holds().figures([("listed", 1), ("failed", 0)]);
        assert_eq!(done.summary()["state"], "error");
        assert_eq!(done.summary()["listing_complete"], false);
        assert_eq!(done.tree().0.len() as u64, done.figure("stored"));
    }
}

#[test]
fn a_page_that_fails_once_is_asked_for_again() {
    let site = Site::numbered(25).pages_of(10);
    let failures: [fn() -> Vec<Step>; 6] = [
        || http::send_status("503 Busy"),
        || http::send_status("429 Slow Down"),
        || vec![Step::Close],
        || vec![Step::Reset],
        || vec![Step::Send(http::head("200 OK", &[], Some(1000))), Step::Close],
        || vec![Step::Send(http::head("200 OK", &[], Some(1000))), Step::Reset],
    ];
    for failure in failures {
        // The first page too: a server that answers at all is the right one.
        let server = site.start_but(move |request, name| match name {
            None if request.attempt == 0 => Some(failure()),
            _ => None,
        });
        let place = Place::new();
        let done = place.get(&server.url()).run().complete(25);
        assert_same(&stored(&done), &site.objects());
    }
}

#[test]
fn a_listing_that_keeps_failing_ends_the_run() {
    for step in [Step::Close, Step::Reset, Step::Hang] {
        let site = Site::numbered(25).pages_of(10);
        let end = step.clone();
        let server = site
            .start_but(move |request, _| request.target.contains("=20").then(|| vec![end.clone()]));
        let place = Place::new();
        let get = place.get(&server.url()).args(["--retry", "2", "--timeout", "300ms"]);
        let done = get.run().expect(4).sum_holds();
        let done = done.figures([("listed", 20), ("failed", 0)]).says(["cannot read the listing"]);
        assert_eq!(done.summary()["listing_complete"], false);
        assert_eq!(done.tree().0.len() as u64, done.figure("stored"));
    }
}

#[test]
fn pages_of_every_shape_are_read() {
    // Chunked, closed, byte by byte, with the story's own name for the marker.
    let server = listing(|request| match request.target.as_str() {
        "/list" => vec![Step::Drip(http::chunked(&http::page(["n0", "n1"], Some("b")), 3), 1)],
        "/list?next-marker=b" => {
            let mut answer = http::head("200 OK", &[], None);
            answer.extend_from_slice(br#"{"NextFile": 3, "FileNames": ["n2"], "Total": {"x": 1}}"#);
            vec![Step::Send(answer), Step::Close]
        }
        "/list?next-marker=3" => http::send_ok(br#"{"FileNames": [], "NextMarker": "d"}"#),
        "/list?next-marker=d" => http::send_ok(br#"{"FileNames": ["n3"], "NextMarker": ""}"#),
        _ => http::send_status("404 Not Found"),
    });
    let place = Place::new();
    place.get(&server.url()).run().complete(4).figures([("pages", 4), ("bytes", 16)]);
}

#[test]
fn an_api_of_another_shape() {
    let server = Script::start(|request| match request.target.as_str() {
        "/v2/objects?bucket=b" => http::send_ok(br#"{"items": ["x y"], "cursor": "c 1"}"#),
        "/v2/objects?bucket=b&after=c%201" => http::send_ok(br#"{"items": ["z/w"]}"#),
        "/v2/o/x%20y?raw=1" | "/v2/o/z/w?raw=1" => http::send_ok(b"right"),
        _ => http::send_status("404 Not Found"),
    });
    let place = Place::new();
    let get = place.get(&format!("{}/v2", server.url()));
    let get = get.args(["--list-path", "/objects?bucket=b", "--get-path", "/o/{+name}?raw=1"]);
    let get = get.args(["--names-field", "items", "--marker-field", "cursor"]);
    let done = get.args(["--marker-param", "after"]).run().complete(2);
    let expected = [(b"x y".to_vec(), b"right".to_vec()), (b"z/w".to_vec(), b"right".to_vec())];
    assert_same(&stored(&done), &expected.into());
}
