//! Listings that never end: stopped at the page that shows it, with nothing fetched twice.
//!
//! Every server here would go on for ever. That a run ends at all is the first thing these tests
//! say; how many pages it asks for is the second.

use crate::support::{Place, assert_same, stored};
use std::collections::HashMap;
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Finished, Script};

/// Every page is a function of the marker it is asked for (0 for the first page): its names, and
/// its next marker as JSON. Objects are what [`Site`] has.
fn pages(page: impl Fn(usize, usize) -> (Vec<String>, String) + Send + Sync + 'static) -> Script {
    Site::numbered(0).start_but(move |request, name| match name {
        Some(name) => Some(http::send_ok(&windrow_testkit::script::body_of(name.as_bytes()))),
        None => {
            let marker = request.target.strip_prefix("/list?next-marker=").unwrap_or("0");
            let marker = marker.trim_start_matches('m').parse().expect("a marker of this server");
            let (names, next) = page(marker, request.attempt);
            let names = serde_json::json!(names);
            let page = format!(r#"{{"FileNames": {names}, "NextMarker": {next}}}"#);
            Some(http::send_ok(page.as_bytes()))
        }
    })
}

/// The run ends with an error of paging, the sum holds, no page and no object was asked for twice,
/// and exactly so many pages were asked for.
#[track_caller]
fn ends(server: &Script, asked: usize) -> Finished {
    let place = Place::new();
    let done = place.get(&server.url()).run().expect(2).sum_holds();
    let done = done.says(["not a listing", "/list", "hint: ", "--marker-param"]);
    assert_eq!(done.summary()["state"], "error");
    assert_eq!(done.summary()["listing_complete"], false);
    let mut times: HashMap<String, usize> = HashMap::new();
    for request in server.requests() {
        *times.entry(request.target).or_default() += 1;
    }
    times.retain(|_, times| *times > 1);
    assert!(times.is_empty(), "asked for twice: {times:?}");
    assert_eq!(server.targets("/list").len(), asked, "pages asked for: {}", done.stderr);
    // What is said to be stored is there, and right.
    let objects = stored(&done);
    assert_eq!(objects.len() as u64, done.figure("stored"));
    for (name, body) in objects {
        assert_eq!(body, windrow_testkit::script::body_of(&name));
    }
    done
}

/// After `tail` pages a circle of so many, each with names of its own.
fn circle(tail: usize, length: usize, as_number: bool) -> Script {
    pages(move |at, _| {
        let next = if at + 1 < tail + length { at + 1 } else { tail.max(1) };
        let next = if as_number { next.to_string() } else { format!("\"m{next}\"") };
        ((0..3).map(|name| format!("p{at}-{name}")).collect(), next)
    })
}

#[test]
fn no_page_of_a_circle_is_asked_for_twice() {
    // (1, 1): the page of marker 1 gives marker 1 again. (1, 2): A, B, A.
    for (tail, length) in [(1, 1), (1, 2), (1, 3), (4, 1), (2, 5), (1, 50), (30, 50)] {
        for as_number in [false, true] {
            let server = circle(tail, length, as_number);
            let done = ends(&server, tail + length).says(["runs in a circle"]);
            // The page that leads back is not taken.
            done.figures([("listed", 3 * (tail + length) as u64 - 3)]);
        }
    }
}

#[test]
fn a_server_that_ignores_the_marker_is_found_at_the_second_page() {
    let first = || (0..100).map(|number| format!("n{number}")).collect::<Vec<_>>();
    // With the same marker each time, and with a new one each time.
    let server = pages(move |_, _| (first(), "\"m1\"".into()));
    ends(&server, 2).figures([("listed", 100), ("pages", 1)]);
    let server = pages(move |at, _| (first(), format!("\"m{}\"", at + 1)));
    ends(&server, 2).figures([("listed", 100), ("pages", 1)]).says(["same names"]);
}

#[test]
fn a_marker_that_stays_with_empty_pages_is_found_at_the_second_page() {
    let server = pages(|_, _| (Vec::new(), "\"m7\"".into()));
    let place = Place::new();
    place.get(&server.url()).run().expect(2).says(["not a listing", "circle", "`m7`", "hint: "]);
    assert_eq!(server.targets("/list").len(), 2);
    assert_eq!(place.entries(), Vec::<String>::new(), "nothing came of it");
}

#[test]
fn empty_pages_without_end_are_borne_a_thousand_times() {
    let server = pages(|at, _| match at {
        0 => (vec!["one".into()], "\"m1\"".into()),
        at => (Vec::new(), format!("\"m{}\"", at + 1)),
    });
    ends(&server, 1002).figures([("listed", 1)]).says(["1001 pages in a row"]);
}

#[test]
fn empty_pages_on_the_way_are_no_end() {
    // As servers do that filter, or that walk over what is deleted.
    let server = pages(|at, _| match at {
        900 => (vec!["far".into()], "\"m901\"".into()),
        1800 => (vec!["away".into()], "null".into()),
        at => (Vec::new(), format!("\"m{}\"", at + 1)),
    });
    let place = Place::new();
    let done = place.get(&server.url()).run().complete(2).figures([("pages", 1801)]);
    assert_same(&stored(&done), &Site::new(["far", "away"]).objects());
}

#[test]
fn no_marker_and_an_empty_one_are_the_end() {
    for end in ["null", "\"\""] {
        let server = pages(move |at, _| match at {
            0 => (vec!["a".into()], "5".into()),
            _ => (vec!["b".into()], end.into()),
        });
        let place = Place::new();
        let done = place.get(&server.url()).run().complete(2);
        assert_same(&stored(&done), &Site::new(["a", "b"]).objects());
        assert_eq!(server.targets("/list").len(), 2);
    }
}

#[test]
fn a_page_that_is_asked_for_again_after_a_failure_is_no_circle() {
    let site = Site::numbered(40).pages_of(10);
    let server = site.start_but(|request, name| {
        (name.is_none() && request.attempt == 0).then(|| http::send_status("503 Busy"))
    });
    let place = Place::new();
    let done = place.get(&server.url()).run().complete(40);
    assert_same(&stored(&done), &site.objects());
}
