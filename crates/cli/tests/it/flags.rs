//! Flags whose effect shows outside: headers, progress, summaries, the environment.

use crate::support::{Place, windrow};
use windrow_testkit::script::Site;
use windrow_testkit::{Finished, Tree};

const SECRET: &str = "hunter2-hunter2";

/// The secret is in nothing that windrow wrote or said.
#[track_caller]
fn keeps_the_secret(done: &Finished, place: &Place) {
    for (path, body) in Tree::read(place.path()).0 {
        let found = body.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!found, "the secret is in {}", path.display());
    }
    assert!(!done.stderr.contains(SECRET), "{}", done.stderr);
    assert!(!done.stdout.contains(SECRET), "{}", done.stdout);
}

#[test]
fn headers_are_sent_with_every_request_and_told_to_nobody() {
    let site = Site::numbered(10);
    for fails in [false, true] {
        let server = site.start_but(move |_, name| {
            let failed = || windrow_testkit::script::http::send_status("403 Forbidden");
            (fails && name == Some("n1")).then(failed)
        });
        let place = Place::new();
        let secret = format!("Authorization: Bearer {SECRET}");
        let get = place.get(&server.url()).args(["--header", &secret, "--header", "X-Two:2"]);
        let get = get.args(["-v", "--progress", "json", "--summary"]).arg(place.at("summary"));
        let done = get.run().expect(i32::from(fails)).sum_holds();
        keeps_the_secret(&done, &place);
        let requests = server.requests();
        assert_eq!(requests.len(), 11);
        for request in requests {
            let bearer = format!("Bearer {SECRET}");
            assert_eq!(request.header("authorization"), Some(&*bearer), "{}", request.target);
            assert_eq!(request.header("x-two"), Some("2"));
            assert_eq!(request.method, "GET");
            let host = server.url().replace("http://", "");
            assert_eq!(request.header("host"), Some(&*host));
            let agent = request.header("user-agent").expect("a user agent");
            assert!(agent.starts_with("windrow/"), "{agent}");
        }
    }
}

#[test]
fn header_lines_that_are_none_are_told_without_their_value() {
    for line in [SECRET.to_owned(), format!("Bad Name: {SECRET}"), format!("X: {SECRET}\r\nY: z")] {
        let server = Site::numbered(1).start();
        let place = Place::new();
        let done = place.get(&server.url()).args(["--header", &line]).run().expect(2);
        keeps_the_secret(&done, &place);
        assert_eq!(server.requests().len(), 0);
        assert_eq!(place.entries(), Vec::<String>::new());
    }
}

#[test]
fn help_does_not_tell_what_the_environment_holds() {
    let place = Place::new();
    let line = format!("Authorization: {SECRET}");
    let done = windrow().args(["get", "--help"]).env("WINDROW_HEADER", line).run().expect(0);
    assert!(done.stdout.contains("WINDROW_HEADER"), "{}", done.stdout);
    keeps_the_secret(&done, &place);
}

#[test]
fn a_user_agent_of_the_users_own() {
    let server = Site::numbered(3).start();
    let place = Place::new();
    place.get(&server.url()).args(["--user-agent", "fetcher/1 (me@example.org)"]).run().complete(3);
    for request in server.requests() {
        let agents = request.headers.iter().filter(|(name, _)| name == "User-Agent");
        let agents: Vec<_> = agents.map(|(_, value)| value.as_str()).collect();
        assert_eq!(agents, ["fetcher/1 (me@example.org)"]);
    }
}

#[test]
fn progress_as_json_is_json() {
    let server = windrow().serve(["--latency", "20ms", "--synthetic", "1000"]);
    let place = Place::new();
    // 1,000 objects at 10 in 20 ms: at least two seconds, so at least one line.
    let get = place.get(&server.url).args(["--progress", "json"]);
    let done = get.env("WINDROW_CONCURRENCY", "10").run().complete(1000);
    let mut lines: Vec<serde_json::Value> = done
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let last = lines.pop().expect("the summary");
    assert_eq!(last["summary"]["stored"], 1000, "{last}");
    assert!(!lines.is_empty(), "{}", done.stderr);
    let mut earlier = 0;
    for line in &lines {
        let stored = line["stored"].as_u64().expect("stored");
        assert!(stored >= earlier && stored <= line["listed"].as_u64().expect("listed"), "{line}");
        earlier = stored;
        for figure in ["seconds", "failed", "requests", "retries", "in_flight", "bytes"] {
            assert!(line[figure].is_number(), "{figure}: {line}");
        }
        assert!(line["in_flight"].as_u64() <= Some(10), "{line}");
    }
    assert_eq!(done.stdout, "", "stdout is for data");
}

#[test]
fn the_end_is_told_in_plain_lines_or_not_at_all() {
    let server = Site::numbered(12).start();
    for progress in ["auto", "plain", "none", "bar"] {
        let place = Place::new();
        let done = place.get(&server.url()).args(["--progress", progress]).run().complete(12);
        let sum = "listed 12 = 12 stored + 0 skipped + 0 failed + 0 pending";
        let done = done.says([sum]);
        assert_eq!(done.stdout, "");
        assert!(progress == "bar" || !done.stderr.contains('\u{1b}'), "{:?}", done.stderr);
    }
    let place = Place::new();
    let done = place.get(&server.url()).args(["-q"]).run().complete(12);
    assert_eq!(done.stderr, "", "quiet");
}

#[test]
fn a_quiet_run_still_tells_errors() {
    let server = Site::numbered(1).start();
    let place = Place::new();
    let done = place.get(&format!("{}/nowhere", server.url())).args(["-q"]).run().expect(2);
    done.says(["windrow: ", "hint: "]);
}

#[test]
fn the_summary_goes_where_it_is_asked_to() {
    let server = Site::numbered(7).start();
    let place = Place::new();
    let file = place.at("my summary.json");
    let done = place.get(&server.url()).arg("--summary").arg(&file).run().complete(7);
    let own: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(&own, done.summary());
    for figure in [
        "listed",
        "stored",
        "skipped",
        "failed",
        "pending",
        "bytes",
        "requests",
        "retries",
        "failures",
        "seconds",
        "objects_per_second",
        "cpu_seconds",
        "cpu_us_per_object",
        "max_rss_bytes",
        "latency_us",
        "resumed",
    ] {
        assert!(!own[figure].is_null(), "{figure} is missing");
    }
    // Where it cannot be written, that is an error of the environment.
    let place = Place::new();
    let get = place.get(&server.url()).args(["--summary", "/proc/windrow-test/summary"]);
    get.run().expect(4).says(["/proc/windrow-test/summary"]);
}

#[test]
fn the_environment_says_what_flags_say() {
    let server = Site::numbered(9).start();
    let place = Place::new();
    let get = windrow()
        .args(["get"])
        .dest(&place.at("out"))
        .env("WINDROW_SOURCE", server.url())
        .env("WINDROW_OUTPUT", place.at("out"))
        .env("WINDROW_FORMAT", "tar")
        .env("WINDROW_LIMIT", "5")
        .env("WINDROW_HEADER", "X-From: environment")
        .env("WINDROW_QUIET", "true")
        .env("WINDROW_CONCURRENCY", "2");
    let done = get.run().complete(5).figures([("concurrency", 2)]);
    assert_eq!(done.summary()["format"], "tar");
    assert_eq!(done.stderr, "");
    assert_eq!(server.requests()[0].header("X-From"), Some("environment"));

    // What is typed counts more.
    let place = Place::new();
    place.get(&server.url()).env("WINDROW_LIMIT", "5").args(["--limit", "3"]).run().complete(3);
    // And what is wrong there is wrong.
    let place = Place::new();
    let get = place.get(&server.url()).env("WINDROW_PIPELINE", "many");
    get.run().expect(2).says(["pipeline"]);
}
