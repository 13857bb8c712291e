//! `windrow demo`: one command for a newcomer, that leaves nothing behind.

use crate::support::{Place, windrow};
use rustix::process::Signal;

#[test]
fn everything_is_right_and_nothing_is_left() {
    let place = Place::new();
    let demo = windrow().args(["demo", "--objects", "20000"]).env("TMPDIR", place.path());
    let done = demo.run().expect(0);
    assert_eq!(done.stdout, "");
    let done = done.says(["20,000", "every byte is right, none missing, none twice", "removed"]);
    assert!(done.stderr.contains("1,000,000,000 objects"), "{}", done.stderr);
    assert_eq!(place.entries(), Vec::<String>::new());
}

#[test]
fn one_object_and_an_odd_number() {
    for count in ["1", "64", "10001"] {
        let place = Place::new();
        let demo = windrow().args(["demo", "--objects", count]).env("TMPDIR", place.path());
        demo.run().expect(0).says(["every byte is right"]);
        assert_eq!(place.entries(), Vec::<String>::new());
    }
    windrow().args(["demo", "--objects", "0"]).run().expect(2);
}

#[test]
fn a_stopped_demo_leaves_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let demo = windrow().args(["demo", "--objects", "3000000"]).env("TMPDIR", place.path());
        let mut demo = demo.start();
        // Packs are being written.
        windrow_testkit::wait::until("the demo has begun", || {
            assert!(!demo.has_ended(), "{}", demo.stderr());
            place.entries().iter().any(|name| place.at(name).join("out/.windrow/open").is_dir())
        });
        demo.signal(signal);
        let done = demo.finish().expect(code);
        assert_eq!(place.entries(), Vec::<String>::new(), "{}", done.stderr);
    }
}

#[test]
fn no_place_for_it() {
    let place = Place::new();
    let missing = place.at("missing");
    let demo = windrow().args(["demo", "--objects", "10"]).env("TMPDIR", &missing);
    demo.run().expect(4).says(["TMPDIR"]);
}
