//! The listing of a bucket: many pages at once, again after a kill, filtered, by ListObjects.

use crate::buckets::{by_key, get};
use crate::server::{BUCKET, Server};
use crate::support::{Place, assert_same, stored};
use rustix::process::Signal;
use std::collections::BTreeMap;
use windrow_testkit::{Windrow, wait};

/// Objects of a few bytes under these keys: body by key.
fn fill(server: &Server, keys: impl IntoIterator<Item = String>) -> BTreeMap<String, Vec<u8>> {
    let one = |key: String| {
        let body = format!("of {key}").into_bytes();
        server.put(&key, &body);
        (key, body)
    };
    keys.into_iter().map(one).collect()
}

fn pages(server: &Server) -> Vec<String> {
    let asked = server.asked().into_iter().map(|asked| asked.target);
    asked.filter(|target| target.contains("max-keys")).collect()
}

#[test]
fn pages_are_asked_for_ahead_and_nothing_is_lost() {
    let server = Server::start(None);
    let days = (0..6500).map(|n| format!("logs/{:02}/{:04}.gz", 1 + n / 1300, n % 1300));
    let bodies = fill(&server, days);
    let source = format!("s3://{BUCKET}");
    for width in ["1", "32"] {
        let place = Place::new();
        server.forget();
        let call = get(&server, &place, &source).args(["--format", "tar"]);
        let done = call.args(["--list-concurrency", width]).run().complete(6500);
        assert_same(&stored(&done), &by_key(&bodies));
        let pages = pages(&server);
        // Behind a key that is none.
        let guesses = pages.iter().filter(|target| {
            let after = target.split("start-after=").nth(1).unwrap_or_default();
            !after.is_empty() && !bodies.contains_key(&after.replace("%2F", "/"))
        });
        match width {
            "1" => assert_eq!((pages.len(), guesses.count()), (7, 0)),
            _ => assert!(pages.len() <= 16 && guesses.count() >= 2, "{pages:?}"),
        }
    }
}

/// Kills a run behind some requests, three times, and sees that the next one has everything.
pub(crate) fn killed_and_taken_up(
    server: &Server,
    call: &dyn Fn() -> Windrow,
    wanted: &BTreeMap<String, Vec<u8>>,
) {
    let mut kills = 0;
    for requests in [2, 700, 1400] {
        server.forget();
        let mut running = call().start();
        wait::until("some are fetched", || server.asked().len() >= requests || running.has_ended());
        if !running.has_ended() {
            running.signal(Signal::KILL);
            kills += 1;
        }
        running.finish();
    }
    assert!(kills > 0, "no process was slow enough to be killed");
    let done = call().run().complete(wanted.len() as u64);
    assert_same(&stored(&done), &by_key(wanted));
}

#[test]
fn a_run_that_was_killed_lists_on() {
    let server = Server::start(None);
    let bodies = fill(&server, (0..3400).map(|n| format!("{:05x}", n * 37 % 65_521)));
    let source = format!("s3://{BUCKET}");
    for (format, filter) in [("tar", None), ("files", None), ("tar", Some("*[0-7]"))] {
        let place = Place::new();
        let call = || {
            let call = get(&server, &place, &source).args(["--format", format]);
            call.args(filter.map(|glob| format!("--include={glob}")))
        };
        let wanted = |key: &&String| filter.is_none() || key.as_bytes()[4] <= b'7';
        let wanted: BTreeMap<_, _> = bodies
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, body)| (key.clone(), body.clone()))
            .collect();
        killed_and_taken_up(&server, &call, &wanted);
    }
}

#[test]
fn what_is_not_wanted_is_not_there() {
    let server = Server::start(None);
    let bodies = server.fill(1500);
    let source = format!("s3://{BUCKET}/part-0");
    let fetched = |args: &[&str]| {
        let place = Place::new();
        let done = get(&server, &place, &source).args(args).run().expect(0).sum_holds();
        done.figures_are([("skipped", 0), ("failed", 0), ("pending", 0)]);
        assert_eq!(done.figure("listed"), done.figure("stored"));
        done.figure("stored")
    };
    let count = |wanted: &dyn Fn(&str, usize) -> bool| {
        bodies.iter().filter(|(key, body)| wanted(key, body.len())).count() as u64
    };
    // What is behind the prefix is `3/object-00003.bin`.
    assert_eq!(fetched(&["--include", "3/*"]), count(&|key, _| key.starts_with("part-03/")));
    assert_eq!(fetched(&["--exclude", "*9.bin"]), count(&|key, _| !key.ends_with("9.bin")));
    let both = ["--include", "3/*", "--include", "4/*", "--exclude", "*9.bin"];
    let wanted = |key: &str| key.starts_with("part-03/") || key.starts_with("part-04/");
    assert_eq!(fetched(&both), count(&|key, _| wanted(key) && !key.ends_with("9.bin")));
    assert_eq!(fetched(&["--if-size", "1..4KiB"]), count(&|_, size| (1..=4096).contains(&size)));
    assert_eq!(fetched(&["--newer-than", "1d"]), 1500);
    assert_eq!(fetched(&["--older-than", "1d"]), 0);
    assert_eq!(fetched(&["--newer-than", "2999-01-01"]), 0);
    // Another filter is another run.
    let place = Place::new();
    get(&server, &place, &source).args(["--include", "3/*"]).run().expect(0);
    let other = get(&server, &place, &source).args(["--include", "4/*"]).run().expect(2);
    other.says(["its filter is include \"3/*\""]);
    // Ages count from the first process on.
    let place = Place::new();
    get(&server, &place, &source).args(["--newer-than", "1d"]).run().complete(1500);
    get(&server, &place, &source).args(["--newer-than", "1d"]).run().complete(1500);
    let wrong = crate::support::windrow().get("http://127.0.0.1:9", &place.at("other"));
    wrong.args(["--include", "x"]).run().expect(2).says(["only a bucket can be filtered"]);
}

#[test]
fn services_of_the_first_version() {
    let server = Server::start(None);
    let bodies = server.fill(2300);
    let place = Place::new();
    server.forget();
    let call = get(&server, &place, &format!("s3://{BUCKET}")).arg("--list-objects-v1");
    let done = call.run().complete(2300);
    assert_same(&stored(&done), &by_key(&bodies));
    let pages = pages(&server);
    assert!(pages.len() >= 3 && pages.iter().all(|target| !target.contains("list-type")));
}

#[test]
fn an_object_of_another_size_than_was_listed_is_no_success() {
    let server = Server::start(None);
    let bodies = server.fill(50);
    let place = Place::new();
    let (key, _) = bodies.iter().nth(7).expect("a key");
    server.replace_when_listed(key, b"something else");
    let get = get(&server, &place, &format!("s3://{BUCKET}")).args(["--retry", "1"]);
    let done = get.run().expect(1).sum_holds();
    assert_eq!((done.figure("stored"), done.failed("checksum") + done.failed("changed")), (49, 1));
}
