//! What goes wrong between a client and HTTP servers, row by row, and the test that says what
//! windrow makes of it.
//!
//! The rows are those of the project's failure catalogue that concern plain HTTP and the names of
//! objects. Where another module had the test already, the table points there; the others are
//! below. [`the_table_tells_the_truth`] looks that each test is there.

use crate::support::{Place, assert_same, stored};
use std::time::Duration;
use windrow_testkit::script::{Site, body_of, http};
use windrow_testkit::{Finished, Gate, Script, Step, Tree};

/// Row, failure, tests as `module::name`. A row without a test says why.
const ROWS: &[(&str, &str, &[&str])] = &[
    (
        "H1",
        "a body shorter than its Content-Length",
        &[
            "retries::a_body_cut_short_is_never_stored",
            "cuts::an_answer_that_is_cut_once_is_whole_in_the_end",
            "cuts::an_answer_that_is_always_cut_is_never_stored",
        ],
    ),
    (
        "H2",
        "chunks without the last one",
        &[
            "retries::chunks_cut_short_are_never_stored",
            "cuts::an_answer_that_is_cut_once_is_whole_in_the_end",
            "cuts::an_answer_that_is_always_cut_is_never_stored",
        ],
    ),
    (
        "H3",
        "a body that ends with the connection",
        &[
            "framing::bodies_that_end_with_the_connection",
            "catalogue::a_body_without_a_length_is_not_whole_after_a_reset",
        ],
    ),
    ("H4", "200 with an error in the body of an upload: windrow uploads nothing", &[]),
    (
        "H5",
        "200 with an error page: stored as sent, as no size or sum is known to tell it by",
        &["catalogue::an_error_page_with_200_is_an_object"],
    ),
    (
        "H6",
        "429 and 503 with Retry-After",
        &[
            "pauses::too_many_requests_pause_every_core",
            "pauses::an_unavailable_service_pauses_every_core",
        ],
    ),
    (
        "H7",
        "Retry-After as a date, in the past, as nonsense, for ever",
        &[
            "catalogue::a_date_to_come_back_is_kept_by_the_clock_of_the_server",
            "catalogue::nonsense_to_come_back_is_no_pause",
            "catalogue::a_pause_for_ever_does_not_hold_the_end_up",
        ],
    ),
    ("H8", "503 without Retry-After: concurrency does not fall yet; attempts back off", &[]),
    ("H9", "an outage: there is no budget for retries yet; attempts are bounded", &[]),
    (
        "H10",
        "a reset before, inside and behind an answer",
        &[
            "retries::a_reset_inside_a_body_is_tried_again",
            "catalogue::a_reset_before_an_answer_is_tried_again",
            "catalogue::a_reset_behind_an_answer_takes_nothing_away",
        ],
    ),
    (
        "H11",
        "a body that stops; one that crawls is waited for, as there is no least rate yet",
        &[
            "retries::a_server_that_stops_inside_a_body_is_not_waited_for",
            "catalogue::a_stalled_connection_does_not_hold_up_the_others",
        ],
    ),
    ("H12", "no answer at all", &["retries::a_server_that_never_answers_is_not_waited_for"]),
    (
        "H13",
        "the keep-alive race",
        &[
            "retries::a_connection_closed_after_an_answer_costs_nothing",
            "retries::a_fresh_connection_closed_without_an_answer_counts",
        ],
    ),
    (
        "H14",
        "a body without end",
        &["catalogue::a_body_without_end_is_cut_off", "catalogue::a_page_without_end_ends_the_run"],
    ),
    (
        "H15",
        "more bytes than were promised",
        &[
            "framing::bytes_behind_an_answer_are_no_answer",
            "framing::an_answer_that_nobody_asked_for_is_not_taken_for_another_object",
        ],
    ),
    (
        "H16",
        "heads without end",
        &["framing::a_head_without_end_is_refused", "catalogue::heads_without_end_are_cut_off"],
    ),
    (
        "H17",
        "framing that contradicts itself",
        &[
            "framing::contradictions_are_refused",
            "framing::broken_chunks_are_refused",
            "catalogue::the_same_length_twice_is_one_length",
        ],
    ),
    (
        "H18",
        "interim responses without end, behind an answer, and 101",
        &[
            "framing::interim_responses_stand_before_the_answer",
            "catalogue::heads_without_end_are_cut_off",
            "catalogue::an_interim_response_behind_an_answer_is_none",
            "catalogue::switching_protocols_unasked_is_refused",
        ],
    ),
    ("H19", "206 on resuming: windrow asks for no ranges; 206 is a failure", &[]),
    ("H20", "416 on resuming: windrow asks for no ranges", &[]),
    ("H21", "compressed bombs: windrow decodes nothing", &[]),
    (
        "H22",
        "Content-Encoding unasked: stored as sent",
        &["catalogue::what_heads_say_of_names_and_codings_changes_nothing"],
    ),
    ("H23", "wrong checksums: windrow is told none over plain HTTP", &[]),
    (
        "H24",
        "a redirect to another host with secrets: redirects are not followed",
        &["catalogue::a_redirect_leads_nowhere"],
    ),
    ("H25", "connections that mix credentials: one origin, one set of headers", &[]),
    ("H26", "two readings of a URL", &["errors::sources_that_are_none"]),
    (
        "H27",
        "redirects in a circle: redirects are not followed",
        &["retries::a_redirect_is_a_failure_that_says_so", "catalogue::a_redirect_leads_nowhere"],
    ),
    ("H28", "redirects and DNS to private addresses: not followed; SOURCE is the user's word", &[]),
    ("H29", "clock skew: nothing is signed over plain HTTP", &[]),
    ("H30", "expired signatures: nothing is signed over plain HTTP", &[]),
    ("H31", "DNS that fails", &["errors::nobody_has_this_name"]),
    ("H32", "TLS: not spoken yet", &[]),
    ("H33", "HTTP/2: not spoken yet", &[]),
    (
        "H34",
        "a listing that repeats a marker, runs in a circle, leads nowhere",
        &[
            "circles::no_page_of_a_circle_is_asked_for_twice",
            "circles::a_server_that_ignores_the_marker_is_found_at_the_second_page",
            "circles::a_marker_that_stays_with_empty_pages_is_found_at_the_second_page",
            "circles::empty_pages_without_end_are_borne_a_thousand_times",
            "circles::no_marker_and_an_empty_one_are_the_end",
        ],
    ),
    (
        "H35",
        "a listing that breaks off",
        &[
            "listing::a_listing_that_keeps_failing_ends_the_run",
            "listing::a_page_that_breaks_ends_the_run_with_what_was_stored",
        ],
    ),
    ("H36", "a name listed twice", &["names::a_name_that_is_listed_twice_is_counted_twice"]),
    (
        "H37",
        "names that want out",
        &[
            "hostile::names_that_were_thought_of",
            "hostile::names_that_nobody_thought_of",
            "names::hostile_names_stay_inside_as_files",
            "swapper::a_directory_that_is_exchanged_for_a_link_leads_nowhere",
            "swapper::a_directory_that_is_moved_away_for_a_link_leads_nowhere",
        ],
    ),
    (
        "H38",
        "control characters in names",
        &["hostile::names_that_were_thought_of", "names::names_are_asked_for_as_they_are"],
    ),
    (
        "H39",
        "names that are too long",
        &[
            "hostile::names_that_were_thought_of",
            "names::a_huge_name_fails_alone",
            "names::names_as_long_as_may_be_are_stored_or_fail_alone",
        ],
    ),
    (
        "H40",
        "names that are not UTF-8, twins by case and normal form",
        &[
            "hostile::names_that_were_thought_of",
            "hostile::a_name_that_is_not_text_is_told_by_its_bytes",
        ],
    ),
    (
        "H41",
        "`a` beside `a/b`",
        &[
            "names::the_order_of_names_that_clash_does_not_matter",
            "hostile::names_that_nobody_thought_of",
        ],
    ),
    (
        "H42",
        "JSON that parsers differ about",
        &["catalogue::pages_that_can_be_read", "catalogue::pages_that_cannot_be_read"],
    ),
    (
        "H43",
        "names that the server chooses (Content-Disposition)",
        &["catalogue::what_heads_say_of_names_and_codings_changes_nothing"],
    ),
    (
        "H44",
        "secrets in what is written and said",
        &[
            "catalogue::secrets_are_in_nothing_that_is_written_or_said",
            "flags::headers_are_sent_with_every_request_and_told_to_nobody",
            "flags::help_does_not_tell_what_the_environment_holds",
        ],
    ),
];

#[test]
fn the_table_tells_the_truth() {
    let rows: Vec<_> = ROWS.iter().map(|(row, ..)| (*row).to_owned()).collect();
    assert_eq!(rows, (1..=44).map(|row| format!("H{row}")).collect::<Vec<_>>());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for (row, what, tests) in ROWS {
        assert!(!tests.is_empty() || what.contains(": "), "{row} says why it has no test");
        for test in *tests {
            let (module, name) = test.split_once("::").expect("module::name");
            let text = std::fs::read_to_string(folder.join(format!("{module}.rs")));
            let head = format!("#[test]\nfn {name}()");
            assert!(text.expect(module).contains(&head), "{row}: there is no test {test}");
        }
    }
}

/// A site of ten objects whose `n3` is answered as said the first `times` times.
fn ten(times: usize, answer: impl Fn() -> Vec<Step> + Send + Sync + 'static) -> (Site, Script) {
    let site = Site::numbered(10);
    let server = site.start_but(move |request, name| {
        (name == Some("n3") && request.attempt < times).then(&answer)
    });
    (site, server)
}

/// Everything arrives, and right.
#[track_caller]
fn mended(site: &Site, server: &Script, settings: &[&str]) -> Finished {
    let place = Place::new();
    let done = place.get(&server.url()).args(settings).run().complete(10);
    assert_same(&stored(&done), &site.objects());
    done
}

/// `n3` fails with this class, all others arrive, and memory stays what it is.
#[track_caller]
fn refused(class: &str, settings: &[&str], answer: impl Fn() -> Vec<Step> + Send + Sync + 'static) {
    let (site, server) = ten(usize::MAX, answer);
    let place = Place::new();
    let get = place.get(&server.url()).args(["--retry", "0"]).args(settings);
    let done = get.run().expect(1).sum_holds().figures([("stored", 9), ("failed", 1)]);
    assert_eq!(done.failed(class), 1, "{:#}", done.summary());
    let mut expected = site.objects();
    expected.remove(&b"n3"[..]);
    assert_same(&stored(&done), &expected);
    let rss = done.figure("max_rss_bytes");
    assert!(rss < 64 << 20, "{rss} bytes resident");
    let left = crate::support::entries(&place.at("out/.windrow/open"));
    assert_eq!(left, Vec::<String>::new(), "nothing unfinished is left");
}

fn head(lines: &[&str]) -> Vec<u8> {
    http::head("200 OK", lines, None)
}

#[test]
fn a_body_without_a_length_is_not_whole_after_a_reset() {
    let (site, server) = ten(1, || {
        let body = body_of(b"n3");
        vec![Step::Send([head(&[]), body[..body.len() / 2].to_vec()].concat()), Step::Reset]
    });
    mended(&site, &server, &[]);
}

#[test]
fn an_error_page_with_200_is_an_object() {
    let page = b"<html>Sorry, we are busy</html>";
    let (site, server) = ten(usize::MAX, || http::send_ok(page));
    let place = Place::new();
    let done = place.get(&server.url()).run().complete(10);
    let mut expected = site.objects();
    expected.insert(b"n3".to_vec(), page.to_vec());
    assert_same(&stored(&done), &expected);
}

#[test]
fn a_date_to_come_back_is_kept_by_the_clock_of_the_server() {
    // By its own clock a second from now; by ours long ago.
    let lines =
        ["Date: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: Sun, 06 Nov 1994 08:49:38 GMT"];
    let (site, server) =
        ten(1, move || vec![Step::Send(http::response("503 Busy", &lines, b"later"))]);
    mended(&site, &server, &[]);
    let times: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|request| request.target == "/get/n3")
        .map(|request| request.time)
        .collect();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= Duration::from_secs(1), "{:?}", times[1] - times[0]);
}

#[test]
fn nonsense_to_come_back_is_no_pause() {
    for value in ["-5", "soon", "1.5", "0x10", "", "Sun, 06 Nov 1994 08:49:37 GMT", "1e9", "300 s"]
    {
        let line = format!("Retry-After: {value}");
        let (site, server) =
            ten(1, move || vec![Step::Send(http::response("429 No", &[&line], b"later"))]);
        // The limit of a test is far below the longest pause that a server can ask for.
        mended(&site, &server, &[]);
    }
}

#[test]
fn a_pause_for_ever_does_not_hold_the_end_up() {
    let gate = Gate::new();
    let seen = gate.clone();
    let server = Site::numbered(10).start_but(move |_, name| {
        let lines = ["Retry-After: 1000000000000000000", "Connection: close"];
        let busy = Step::Send(http::response("503 Busy", &lines, b"later"));
        name.map(|_| vec![busy, Step::AwaitPeer, Step::Open(seen.clone())])
    });
    let place = Place::new();
    let get = place.get(&server.url()).args(["--cores", "1"]).env("WINDROW_CONCURRENCY", "1");
    let running = get.start();
    // It has closed the connection, so it has read the answer.
    gate.pass();
    running.signal(rustix::process::Signal::INT);
    let done = running.finish().expect(130).sum_holds();
    done.figures([("listed", 10), ("stored", 0), ("failed", 0), ("pending", 10), ("requests", 1)]);
    assert_eq!(server.targets("/get/").len(), 1, "nothing was asked for during the pause");
}

#[test]
fn a_reset_before_an_answer_is_tried_again() {
    for pipeline in ["1", "8"] {
        let (site, server) = ten(1, || vec![Step::Reset]);
        mended(&site, &server, &["--pipeline", pipeline]);
    }
    refused("reset", &[], || vec![Step::Reset]);
}

#[test]
fn a_reset_behind_an_answer_takes_nothing_away() {
    for pipeline in ["1", "8"] {
        let (site, server) =
            ten(usize::MAX, || vec![Step::Send(http::ok(&body_of(b"n3"))), Step::Reset]);
        mended(&site, &server, &["--pipeline", pipeline]);
    }
}

#[test]
fn a_stalled_connection_does_not_hold_up_the_others() {
    // Seven of eight connections stall inside a body; all other objects pass by the eighth.
    let site = Site::numbered(300);
    let gate = Gate::new();
    let server = site.start_but(move |_, name| {
        let name = name?;
        let body = body_of(name.as_bytes());
        let number: usize = name[1..].parse().ok()?;
        match number {
            // What was held back comes only when the last of the others was asked for.
            0..7 => {
                let whole = [http::head("200 OK", &[], Some(body.len() + 1)), body, b"!".to_vec()];
                let mut whole = whole.concat();
                let end = whole.split_off(whole.len() - 1);
                Some(vec![Step::Send(whole), Step::Await(gate.clone()), Step::Send(end)])
            }
            299 => Some(vec![Step::Open(gate.clone()), Step::Send(http::ok(&body))]),
            _ => None,
        }
    });
    let place = Place::new();
    let done = place.get(&server.url()).args(["--cores", "1"]).run().complete(300);
    let mut expected = site.objects();
    for number in 0..7 {
        expected.get_mut(format!("n{number}").as_bytes()).expect("an object").push(b'!');
    }
    assert_same(&stored(&done), &expected);
    done.figures([("retries", 0)]);
}

#[test]
fn a_body_without_end_is_cut_off() {
    let settings = ["--max-object-size", "1MiB", "--memory", "16MiB"];
    // In chunks of any size, until the connection ends, and as long as it says and still longer.
    refused("too_large", &settings, || {
        vec![
            Step::Send(head(&["Transfer-Encoding: chunked"])),
            Step::Endless(b"5\r\nhello\r\n".to_vec()),
        ]
    });
    refused("too_large", &settings, || {
        let chunk = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
        vec![Step::Send(head(&["Transfer-Encoding: chunked"])), Step::Endless(chunk)]
    });
    refused("too_large", &settings, || {
        vec![Step::Send(head(&[])), Step::Endless(vec![b'x'; 1000])]
    });
    refused("too_large", &settings, || {
        let length = http::head("200 OK", &[], Some(usize::MAX >> 1));
        vec![Step::Send(length), Step::Endless(vec![b'x'; 1000])]
    });
    // An error page without end is not read to its end either.
    refused("server", &settings, || {
        let busy = http::head("503 Busy", &["Transfer-Encoding: chunked"], None);
        vec![Step::Send(busy), Step::Endless(b"5\r\nhello\r\n".to_vec())]
    });
    // Nor what a chunked body has beside its data.
    for endless in ["5;ext=\"", "5\r\nhello\r\n0\r\nTrailer: ", "0000000000000000000000"] {
        refused("protocol", &settings, || {
            let head = head(&["Transfer-Encoding: chunked"]);
            let begin = [&head[..], endless.as_bytes()].concat();
            vec![Step::Send(begin), Step::Endless(b"000000000".to_vec())]
        });
    }
}

#[test]
fn a_page_without_end_ends_the_run() {
    // Valid so far, for ever: a page has a bound too.
    let server = Site::numbered(1).start_but(|request, _| match request.target.as_str() {
        "/list" => Some(http::send_ok(&http::page(["n0"], Some("2")))),
        "/list?next-marker=2" => Some(vec![
            Step::Send(head(&["Transfer-Encoding: chunked"])),
            Step::Send(b"10\r\n{\"FileNames\": [\"\r\n".to_vec()),
            Step::Endless([b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat()),
        ]),
        _ => None,
    });
    let place = Place::new();
    let done = place.get(&server.url()).args(["--retry", "0"]).run().expect(4).sum_holds();
    let done = done.says(["/list?next-marker=2", "cannot read the listing"]);
    let done = done.figures([("listed", 1)]);
    assert_eq!(done.summary()["listing_complete"], false);
    let rss = done.figure("max_rss_bytes");
    assert!(rss < 256 << 20, "{rss} bytes resident");
}

#[test]
fn heads_without_end_are_cut_off() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (begin, endless) in [
        // Lines without end, a line without end, its name, the reason, the version.
        (format!("{ok}Content-Length: 5\r\n"), "X: y\r\n"),
        (format!("{ok}X: "), "yyyyyyyy"),
        (format!("{ok}X: y\r\n"), " folded\r\n"),
        (ok.to_owned(), "XXXXXXXX"),
        ("HTTP/1.1 200 ".to_owned(), "yes "),
        (String::new(), "\r\n"),
        (String::new(), "HTTP"),
        // Interim responses without end.
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n"),
        (String::new(), "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"),
    ] {
        for pipeline in ["1", "8"] {
            let (begin, endless) = (begin.clone(), endless.as_bytes().to_vec());
            refused("protocol", &["--pipeline", pipeline], move || {
                vec![Step::Send(begin.clone().into_bytes()), Step::Endless(endless.clone())]
            });
        }
    }
}

#[test]
fn the_same_length_twice_is_one_length() {
    for lines in [["Content-Length: 5", "Content-Length: 5"], ["Content-Length: 5, 5", "X: y"]] {
        let (site, server) =
            ten(usize::MAX, move || vec![Step::Send([head(&lines), b"hello".to_vec()].concat())]);
        let place = Place::new();
        let done = place.get(&server.url()).run().complete(10).figures([("retries", 0)]);
        let mut expected = site.objects();
        expected.insert(b"n3".to_vec(), b"hello".to_vec());
        assert_same(&stored(&done), &expected);
    }
}

#[test]
fn an_interim_response_behind_an_answer_is_none() {
    // It belongs to the next request, or to none; either way to no object.
    for pipeline in ["1", "8"] {
        let (site, server) = ten(usize::MAX, || {
            let late = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec();
            vec![Step::Send([http::ok(&body_of(b"n3")), late].concat())]
        });
        mended(&site, &server, &["--pipeline", pipeline]);
    }
}

#[test]
fn switching_protocols_unasked_is_refused() {
    refused("protocol", &[], || {
        let lines = ["Upgrade: websocket", "Connection: Upgrade"];
        let switch = http::head("101 Switching Protocols", &lines, None);
        vec![Step::Send([switch, http::ok(&body_of(b"n3"))].concat())]
    });
}

#[test]
fn a_redirect_leads_nowhere() {
    // Neither to another server, which would see the secret, nor round and round.
    let other = Site::numbered(10).start();
    for status in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"] {
        for location in [format!("{}/get/n3", other.url()), "/get/n3".into(), "//evil/".into()] {
            let line = format!("Location: {location}");
            let settings = ["--header", "Authorization: Bearer secret", "--retry", "3"];
            let (_, server) =
                ten(usize::MAX, move || vec![Step::Send(http::response(status, &[&line], b""))]);
            let place = Place::new();
            let done = place.get(&server.url()).args(settings).run().expect(1).sum_holds();
            assert_eq!((done.failed("redirect"), done.figure("stored")), (1, 9));
            assert_eq!(server.targets("/get/n3").len(), 1);
        }
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn what_heads_say_of_names_and_codings_changes_nothing() {
    for line in [
        "Content-Disposition: attachment; filename=\"../../x\"",
        "Content-Disposition: attachment; filename*=UTF-8''..%2F..%2Fx",
        "Content-Location: /etc/passwd",
        "Content-Encoding: gzip",
        "Content-Type: multipart/mixed; boundary=x",
        "Content-Range: bytes 0-4/100",
        "Content-MD5: not a checksum",
        "Set-Cookie: a=b",
        "Refresh: 0; url=/other",
    ] {
        let (site, server) = ten(usize::MAX, move || {
            vec![Step::Send(http::response("200 OK", &[line], &body_of(b"n3")))]
        });
        mended(&site, &server, &[]).figures([("retries", 0)]);
        let cookies = server.requests().iter().filter(|r| r.header("cookie").is_some()).count();
        assert_eq!(cookies, 0);
    }
}

/// A server whose only page is this; it has every object.
fn page(json: Vec<u8>) -> Script {
    Script::start(move |request| match request.target.as_str() {
        "/list" => http::send_ok(&json),
        "/list?next-marker=-1" => http::send_ok(br#"{"FileNames": []}"#),
        _ => http::send_ok(b"body"),
    })
}

#[test]
fn pages_that_can_be_read() {
    let huge = format!(r#"{{"FileNames": ["a"], "Size": [1e400, -1e400, {}]}}"#, "9".repeat(5000));
    let deep =
        format!(r#"{{"x": {}{}, "FileNames": ["a"]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let many = format!(r#"{{"FileNames": ["a"]{}}}"#, r#", "x": 1"#.repeat(10_000));
    for (json, names) in [
        (&br#"{"FileNames": ["a"], "FileSizes": [-1], "x": "1e400", "y": 1e400}"#[..], vec!["a"]),
        (huge.as_bytes(), vec!["a"]),
        (many.as_bytes(), vec!["a"]),
        // What is not read is passed over without going down into it.
        (deep.as_bytes(), vec!["a"]),
        (b" \t\r\n{\"FileNames\"\n:\t[\"a\" , \"b\"]\r}\n ", vec!["a", "b"]),
        (br#"{"FileNames": ["a"], "NextMarker": -1}"#, vec!["a"]),
        (br#"{"x": {"FileNames": ["no"]}, "FileNames": ["\u0061"]}"#, vec!["a"]),
        (br#"{"FileNames": ["\ud83e\udd80"]}"#, vec!["\u{1f980}"]),
        (br#"{"FileNames": ["", "a"]}"#, vec!["", "a"]),
    ] {
        let server = page(json.to_vec());
        let place = Place::new();
        let done = place.get(&server.url()).run().complete(names.len() as u64);
        let expected = names.iter().map(|name| (name.as_bytes().to_vec(), b"body".to_vec()));
        assert_same(&stored(&done), &expected.collect());
    }
    // Half a surrogate pair and bytes that are not UTF-8 are names like others.
    let server =
        page(b"{\"FileNames\": [\"\\ud800\", \"\\udfff\", \"\xff\", \"\xc0\xaf\"]}".to_vec());
    let place = Place::new();
    let done = place.get(&server.url()).run().complete(4);
    let names = [&b"\xED\xA0\x80"[..], b"\xED\xBF\xBF", b"\xFF", b"\xC0\xAF"];
    assert_same(
        &stored(&done),
        &names.iter().map(|name| (name.to_vec(), b"body".to_vec())).collect(),
    );
}

#[test]
fn pages_that_cannot_be_read() {
    let deep = [r#"{"x": "#.as_bytes(), &[b'['; 100_000]].concat();
    let objects = br#"{"x":"#.repeat(100_000);
    for json in [
        &deep[..],
        &objects,
        b"\xEF\xBB\xBF{\"FileNames\": []}",
        b"\xFF\xFE{\0\"\0",
        br#"{"FileNames": ["a"], "FileNames": ["b"]}"#,
        br#"{"FileNames": ["a"], "NextMarker": 1e400}"#,
        br#"{"FileNames": ["a"], "NextMarker": 18446744073709551616}"#,
        br#"{"FileNames": ["a"], "NextMarker": 1.5}"#,
        br#"{"FileNames": ["a"], "NextMarker": true}"#,
        br#"{"FileNames": ["a"], "NextMarker": ["m"]}"#,
        br#"{"FileNames": ["a"], "NextMarker": "m", "NextFile": "n"}"#,
        br#"{"FileNames": ["a"], "x": NaN}"#,
        br#"{"FileNames": ["a",]}"#,
        br#"{"FileNames": ["a"]}{}"#,
        br#"{"FileNames": ['a']}"#,
        br#"{"FileNames": {"0": "a"}}"#,
        br#"{"FileNames": ["a", null]}"#,
        b"{\"FileNames\": [\"a\nb\"]}",
        b"{\"FileNames\": [\"\xff\", \"a\nb\"]}",
        b"{\"FileNames\": [\"a\"]}\0",
    ] {
        let server = page(json.to_vec());
        let place = Place::new();
        let done = place.get(&server.url()).run().expect(2).says(["not a listing", "hint: "]);
        assert_eq!(done.signal, None);
        assert!(done.stderr.len() < 2000, "{} bytes of message", done.stderr.len());
        assert_eq!(place.entries(), Vec::<String>::new(), "nothing came of it");
        assert_eq!(server.requests().len(), 1, "what cannot be read is asked for once");
    }
}

/// Stands in every place that may hold a secret.
const CANARY: &str = "canary-7f3a91";

#[test]
fn secrets_are_in_nothing_that_is_written_or_said() {
    /// What happens to object `n3`, or to the second page of the listing.
    type Trouble = fn(&str) -> Vec<Step>;
    let troubles: [(&str, Trouble); 12] = [
        ("none", |_| http::send_ok(b"fine")),
        ("/get/n3", |_| http::send_status("401 Unauthorized")),
        ("/get/n3", |_| http::send_status("500 Oops")),
        ("/get/n3", |_| vec![Step::Send(b"nonsense".to_vec()), Step::Close]),
        ("/get/n3", |_| vec![Step::Send(http::head("200 OK", &[], Some(9))), Step::Reset]),
        ("/get/n3", |_| vec![Step::Hang]),
        ("/list?", |_| http::send_status("403 Forbidden")),
        ("/list?", |_| http::send_status("500 Oops")),
        ("/list?", |_| http::send_ok(b"<html>")),
        ("/list?", |_| vec![Step::Hang]),
        ("/list?", |_| vec![Step::Send(b"nonsense".to_vec()), Step::Close]),
        // A server that signs the address it points to.
        ("/list?", |canary| {
            let line =
                format!("Location: http://user:{canary}@elsewhere/list?sig={canary}#{canary}");
            vec![Step::Send(http::response("302 Found", &[&line], b""))]
        }),
    ];
    for (target, trouble) in troubles {
        let site = Site::numbered(20).pages_of(10);
        let own = site.clone();
        let server = site.start_but(move |request, name| {
            let page = request.target.contains("next-marker=10");
            let hit = match target {
                "/list?" => name.is_none() && page,
                _ => request.target.starts_with(target),
            };
            hit.then(|| trouble(CANARY)).or_else(|| {
                // The query of --list-path stands before the marker's.
                let mut plain = request.clone();
                let query = format!("?sig={CANARY}");
                plain.target = plain.target.replace(&query, "").replace('&', "?");
                Some(own.answer(&plain))
            })
        });
        let place = Place::new();
        let headers =
            ["Authorization: Bearer", "Cookie: session=", "X-Api-Key:", "Proxy-Authorization:"];
        let mut get = place.get(&server.url());
        for header in headers {
            get = get.args(["--header", &format!("{header} {CANARY}")]);
        }
        let get = get.args(["--user-agent", &format!("agent {CANARY}")]);
        let get = get.args(["--list-path", &format!("/list?sig={CANARY}")]);
        let get = get.args(["-v", "--progress", "json", "--retry", "1", "--timeout", "300ms"]);
        let done = get.arg("--summary").arg(place.at("summary")).run();
        let shown = format!("{target}: {}", done.stderr);
        assert!(
            server.requests().iter().all(|request| { request.header("x-api-key") == Some(CANARY) })
        );
        assert!(matches!(done.code, Some(0..=4)), "{shown}");
        assert!(!done.stderr.contains(CANARY) && !done.stdout.contains(CANARY), "{shown}");
        for (path, body) in Tree::read(place.path()).0 {
            let found = body.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
            assert!(!found, "{target}: the secret is in {}", path.display());
        }
    }
}
