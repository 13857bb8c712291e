//! What is fetched by signed URLs, and under which name.

use crate::server::{Asked, Server};
use crate::sign::now;
use crate::support::{assert_same, stored};
use crate::{Job, objects};
use rustix::process::Signal;
use std::collections::BTreeMap;
use windrow_testkit::wait;

#[test]
fn valid_urls_are_stored_byte_for_byte() {
    let server = Server::start(None);
    let bodies = server.fill(500);
    let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
    let done = job.get().run().complete(500);
    assert_same(&stored(&done), &objects(&server, &bodies));
    let asked = server.asked();
    assert!(asked.len() == 500 && asked.iter().all(|asked| asked.status == 200));
    job.keeps_secrets(&done);
}

#[test]
fn they_are_stored_in_packs_too() {
    let server = Server::start(None);
    let bodies = server.fill(60);
    let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
    let done = job.get().args(["--format", "tar"]).run().complete(60);
    assert_same(&stored(&done), &objects(&server, &bodies));
    job.keeps_secrets(&done);
}

#[test]
fn keys_are_asked_for_as_they_were_signed() {
    let server = Server::start(None);
    let bodies = crate::upload_odd(&server);
    for format in ["tar", "files"] {
        server.forget();
        let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
        let done = job.get().args(["--format", format]).run().complete(bodies.len() as u64);
        assert_same(&stored(&done), &objects(&server, &bodies));
        let mut asked: Vec<_> =
            server.asked().iter().map(|asked| asked.path().to_owned()).collect();
        asked.sort_unstable();
        let mut expected: Vec<_> = bodies.keys().map(|key| Server::path(key)).collect();
        expected.sort_unstable();
        assert_eq!(asked, expected, "{format}");
        job.keeps_secrets(&done);
    }
}

#[test]
fn slashes_in_a_row_stay() {
    // The server keeps these in one file; requests and names must not know that. (What begins with
    // a slash it takes for a path of the machine, and answers 500.)
    let server = Server::start(None);
    server.put("a/b", b"one file");
    let keys = ["a/b", "a//b", "a///b", "a/./b"];
    let job = Job::new(keys.iter().map(|key| server.url(key)).collect());
    let done = job.get().args(["--format", "tar"]).run().complete(4);
    let bodies: BTreeMap<_, _> =
        keys.iter().map(|&key| (key.to_owned(), b"one file".to_vec())).collect();
    assert_same(&stored(&done), &objects(&server, &bodies));
    for path in keys.map(Server::path) {
        let asked = server.asked();
        assert!(asked.iter().any(|asked| asked.path() == path), "{path} was not asked for");
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = Server::start(None);
    let bodies = server.fill(20);
    let mut urls: Vec<_> = bodies.keys().map(|key| server.url(key)).collect();
    urls.extend((0..10).map(|index| server.url(&format!("missing/{index}"))));
    let job = Job::new(urls);
    let done = job.get().run().expect(1).sum_holds();
    done.figures_are([("listed", 30), ("stored", 20), ("failed", 10)]);
    assert_eq!(done.failed("not_found"), 10);
    assert_eq!(server.asked().len(), 30, "each was asked for once");
    assert_same(&stored(&done), &objects(&server, &bodies));
    job.keeps_secrets(&done);
}

#[test]
fn checksums_of_the_server_hold_and_are_heeded() {
    let server = Server::start(None);
    let bodies: BTreeMap<String, Vec<u8>> = (0..24)
        .map(|index| (format!("sum-{index:02}"), vec![b'a' + index; usize::from(index) * 999]))
        .collect();
    for (key, body) in &bodies {
        server.upload(key, body);
    }
    let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
    let done = job.get().run().complete(24);
    assert_same(&stored(&done), &objects(&server, &bodies));

    // The file of one changes behind the server's back; what it says of it is the old one's.
    let (key, body) = bodies.iter().nth(7).expect("an object");
    server.put(key, &vec![b'!'; body.len()]);
    let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
    let done = job.get().args(["--retry", "1"]).run().expect(1).sum_holds();
    done.figures_are([("stored", 23), ("failed", 1)]);
    assert_eq!(done.failed("checksum"), 1);
    let failures = done.failures();
    assert!(failures[0].to_string().contains(key.as_str()), "{}", failures[0]);
    job.keeps_secrets(&done);
}

/// A run is interrupted; the next has another list of the same objects, signed anew.
fn resumed(reordered: bool) {
    let server = Server::start(None);
    let bodies = server.fill(200);
    let signed = |ago: u64, valid: u32| -> Vec<String> {
        bodies.keys().map(|key| server.url_until(key, now() - ago, valid)).collect()
    };
    let job = Job::new(signed(60, 3600));
    // Slow enough to be interrupted, whatever the machine does.
    let mut running = job.get().args(["--rate", "20/s"]).start();
    wait::until("some are fetched", || server.asked().len() >= 12);
    running.signal(Signal::INT);
    running.until_stderr("the signal is heard", |stderr| stderr.contains("stopping"));
    let first = running.finish().expect(130).sum_holds();
    job.keeps_secrets(&first);
    let before = first.figure("stored");
    assert!((1..200).contains(&before), "{before} stored");
    let asked = server.asked();
    assert_eq!(asked.len() as u64, before, "what was asked for was stored");

    server.forget();
    let mut urls = signed(0, 7200);
    if reordered {
        urls.reverse();
    }
    let job = job.with(urls);
    let done = job.get().args(["--resume-by", "name"]).run().expect(0).sum_holds();
    done.figures_are([("stored", 200), ("stored_before", before), ("failed", 0), ("pending", 0)]);
    // Where an object stands at another place in the list, its name is what it is known by.
    let skipped = if reordered { before } else { 0 };
    done.figures_are([("listed", 200 + skipped), ("skipped", skipped)]);
    assert_same(&stored(&done), &objects(&server, &bodies));
    let again = server.asked();
    assert_eq!(again.len() as u64, 200 - before);
    for path in again.iter().map(Asked::path) {
        assert!(asked.iter().all(|asked| asked.path() != path), "{path} was fetched twice");
    }
    job.keeps_secrets(&done);
}

#[test]
fn a_list_signed_anew_goes_on_where_the_old_one_ended() {
    resumed(false);
}

#[test]
fn so_does_one_in_another_order() {
    resumed(true);
}
