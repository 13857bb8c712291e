//! What is fetched by signed URLs, and under which name.

use crate::server::{BUCKET, Server};
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
fn files_are_stored_too() {
    let server = Server::start(None);
    let bodies = server.fill(60);
    let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
    let done = job.get().args(["--format", "files"]).run().complete(60);
    assert_same(&stored(&done), &objects(&server, &bodies));
    job.keeps_secrets(&done);
}

#[test]
fn keys_are_asked_for_as_they_were_signed() {
    let server = Server::start(None);
    let keys = [
        "a space",
        "two  spaces/and a/ path",
        "plus+plus",
        "100%",
        "%41 is not A",
        "%2F is no slash",
        "Grüße/Ünïcode ☃",
        "日本語.txt",
        "equals=and&amp?question#hash",
        "tilde~dot.dash-under_score",
        "quotes'\"`<>[]{}|\\^",
        "comma,semi;colon:at@dollar$bang!star*(paren)",
        "..hidden/.dots",
        "con/aux/nul",
        "UPPER and lower",
        "upper and lower",
    ];
    let bodies: BTreeMap<String, Vec<u8>> =
        keys.iter().map(|&key| (key.to_owned(), format!("this is {key}").into_bytes())).collect();
    for (key, body) in &bodies {
        server.upload(key, body);
    }
    for format in ["tar", "files"] {
        server.forget();
        let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
        let done = job.get().args(["--format", format]).run().complete(keys.len() as u64);
        assert_same(&stored(&done), &objects(&server, &bodies));
        let mut asked: Vec<_> =
            server.asked().iter().map(|asked| asked.path().to_owned()).collect();
        asked.sort_unstable();
        let mut expected: Vec<_> = keys.iter().map(|key| Server::path(key)).collect();
        expected.sort_unstable();
        assert_eq!(asked, expected, "{format}");
        job.keeps_secrets(&done);
    }
}

#[test]
fn slashes_in_a_row_stay() {
    // The server keeps `a//b` and `a/b` in one file; names and requests must not know that.
    let server = Server::start(None);
    server.put("a/b", b"one file");
    let keys = ["a/b", "a//b", "a///b", "/a/b"];
    let job = Job::new(keys.iter().map(|key| server.url(key)).collect());
    let done = job.get().run();
    let asked = server.asked();
    for (key, path) in keys.iter().zip(keys.map(Server::path)) {
        assert!(asked.iter().any(|asked| asked.path() == path), "{key} was not asked for");
    }
    assert!(asked[..].iter().all(|asked| asked.path().starts_with(&format!("/{BUCKET}/"))));
    // A key that begins with a slash is another object, and not there.
    let found: Vec<_> = asked.iter().filter(|asked| asked.status == 200).collect();
    let done = done.sum_holds();
    done.figures_are([("listed", 4), ("stored", found.len() as u64)]);
    let objects = stored(&done);
    for asked in found {
        let name = format!("{}{}", server.host(), asked.path()).into_bytes();
        assert_eq!(objects.get(&name).map(Vec::as_slice), Some(&b"one file"[..]));
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

#[test]
fn a_list_signed_anew_goes_on_where_the_old_one_ended() {
    let server = Server::start(None);
    let bodies = server.fill(200);
    let signed = |ago: u64| bodies.keys().map(move |key| (key, now() - ago));
    let old = signed(60).map(|(key, at)| server.url_until(key, at, 3600)).collect();
    let job = Job::new(old);
    // Slow enough to be interrupted, whatever the machine does.
    let mut running = job.get().args(["--rate", "40/s"]).start();
    wait::until("some are fetched", || server.asked().len() >= 40);
    running.signal(Signal::INT);
    running.until_stderr("the signal is heard", |stderr| stderr.contains("stopping"));
    let first = running.finish().expect(130).sum_holds();
    job.keeps_secrets(&first);
    let before = first.figure("stored");
    assert!((1..200).contains(&before), "{before} stored");
    let asked = server.asked();
    assert_eq!(asked.len() as u64, before, "what was asked for was stored");

    server.forget();
    let mut new: Vec<_> = signed(0).map(|(key, at)| server.url_until(key, at, 7200)).collect();
    new.reverse();
    let job = job.with(new);
    let done = job.get().args(["--resume-by", "name"]).run().complete(200);
    assert_eq!(done.figure("stored_before"), before);
    assert_same(&stored(&done), &objects(&server, &bodies));
    let again = server.asked();
    assert_eq!(again.len() as u64, 200 - before);
    for path in again.iter().map(crate::server::Asked::path) {
        assert!(asked.iter().all(|asked| asked.path() != path), "{path} was fetched twice");
    }
    job.keeps_secrets(&done);
}
