//! Errors that people can act on: what happened, what to type instead, the right exit code, and
//! nothing left behind.

use crate::support::{Place, windrow};
use std::net::TcpListener;
use windrow_testkit::Finished;
use windrow_testkit::port::Refusing;
use windrow_testkit::script::Site;

/// stdout is for data, and the first line of stderr says what is wrong.
#[track_caller]
fn plain(done: Finished) -> Finished {
    assert_eq!(done.stdout, "");
    assert!(done.stderr.starts_with("windrow: "), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    done
}

#[test]
fn nobody_listens() {
    let refusing = Refusing::new();
    let url = refusing.url();
    for format in ["files", "tar", "null"] {
        let place = Place::new();
        let done = place.get(&url).args(["--format", format]).run().expect(4);
        plain(done).says([&*url, "connection refused", "hint: ", "windrow serve"]);
        assert_eq!(place.entries(), Vec::<String>::new(), "nothing is left behind");
    }
}

#[test]
fn a_destination_that_was_there_stays_as_it_was() {
    let refusing = Refusing::new();
    let place = Place::new();
    std::fs::create_dir(place.at("out")).unwrap();
    std::fs::write(place.at("out/mine"), "mine").unwrap();
    place.get(&refusing.url()).run().expect(4);
    assert_eq!(crate::support::entries(&place.at("out")), ["mine"]);
}

#[test]
fn folders_above_the_destination_are_taken_back_too() {
    let refusing = Refusing::new();
    let place = Place::new();
    windrow().get(&refusing.url(), &place.at("a/b/out")).run().expect(4);
    assert_eq!(place.entries(), Vec::<String>::new());
}

#[test]
fn nobody_has_this_name() {
    // Longer than a label may be (RFC 1035 section 2.3.4): no resolver has to be asked.
    let place = Place::new();
    let url = format!("http://{}.invalid:8080", "x".repeat(64));
    plain(place.get(&url).run().expect(4)).says(["cannot find the host", "x.invalid:8080"]);
    assert_eq!(place.entries(), Vec::<String>::new());
}

#[test]
fn sources_that_are_none() {
    for (source, said) in [
        ("localhost:8080", "http://localhost:8080"),
        ("ftp://example.org", "not a source"),
        ("http://", "host"),
        ("http://host:99999", "port"),
        ("http://user:pw@host/", "user name"),
        ("http://host/#part", "fragment"),
        ("http://host/?x=1", "query"),
        ("no-such-file.txt", "no such file"),
    ] {
        let place = Place::new();
        plain(place.get(source).run().expect(2)).says([said]);
        assert_eq!(place.entries(), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn the_destination_is_a_file() {
    let site = Site::numbered(1);
    let server = site.start();
    let place = Place::new();
    std::fs::write(place.at("out"), "mine").unwrap();
    plain(place.get(&server.url()).run().expect(2)).says(["not a directory", "hint: "]);
    assert_eq!(std::fs::read(place.at("out")).unwrap(), b"mine");
    // Below a file.
    let below = place.at("out/below");
    plain(windrow().get(&server.url(), &below).run().expect(4)).says(["out/below"]);
    assert_eq!(server.requests().len(), 0, "known before the first request");
}

#[test]
fn the_destination_takes_no_files() {
    // Not even from root.
    let site = Site::numbered(1);
    let server = site.start();
    for dest in ["/proc/windrow-test", "/sys/windrow-test", "/proc/self"] {
        let done = windrow().get(&server.url(), dest.as_ref()).run().expect(4);
        plain(done).says([dest]);
    }
    assert_eq!(server.requests().len(), 0, "known before the first request");
}

#[test]
fn the_port_is_taken() {
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = other.local_addr().unwrap().to_string();
    let done = windrow().args(["serve", "--synthetic", "1", "--addr", &address]).run().expect(4);
    plain(done).says([&*address, "in use", "hint: "]);
}

#[test]
fn nothing_to_serve() {
    let place = Place::new();
    let missing = place.at("missing");
    let serve = windrow().args(["serve", "--addr", "127.0.0.1:0", "--dir"]).arg(&missing);
    plain(serve.run().expect(2)).says(["missing"]);
    windrow().args(["serve"]).run().expect(2).says(["--synthetic", "--dir"]);
    windrow().args(["serve", "--synthetic", "5", "--dir", "."]).run().expect(2);
}

#[test]
fn flags_that_are_none() {
    let wrong: [&[&str]; 18] = [
        &["--no-such-flag"],
        &["--format", "zip"],
        &["--pipeline", "0"],
        &["--pipeline", "5000"],
        &["--cores", "0"],
        &["-c", "0"],
        &["-c", "many"],
        &["--timeout", "soon"],
        &["--retry", "often"],
        &["--memory", "lots"],
        &["--shard-size", "0"],
        &["--max-failures", "101%"],
        &["--on-error", "panic"],
        &["--header", "no colon"],
        &["--header", "Sp ace: x"],
        &["--get-path", "/no/name"],
        &["--list-path", "list"],
        &["--progress", "loud"],
    ];
    let server = Site::numbered(1).start();
    for flags in wrong {
        let place = Place::new();
        let done = place.get(&server.url()).args(flags).run().expect(2);
        assert!(done.stderr.contains(flags[0].trim_start_matches('-')), "{}", done.stderr);
        assert_eq!(place.entries(), Vec::<String>::new(), "{flags:?} left something behind");
    }
    assert_eq!(server.requests().len(), 0);
    windrow().args(["get"]).run().expect(2);
    windrow().args(["get", "http://127.0.0.1:1"]).run().expect(2).says(["--output"]);
    windrow().run().expect(2);
    windrow().args(["--version"]).run().expect(0);
}
