//! One destination, one run: the second is refused, unless it may begin again.

use crate::support::{Place, assert_same, entries, packed, stored};
use windrow_testkit::Step;
use windrow_testkit::port::Refusing;
use windrow_testkit::script::{Site, http};

#[test]
fn an_earlier_run_is_not_overwritten() {
    let first = Site::numbered(20);
    let other = Site::new((0..5).map(|number| format!("other{number}")));
    for format in ["files", "tar"] {
        let place = Place::new();
        let args = ["--format", format, "--shard-size", "3"];
        let server = first.start();
        place.get(&server.url()).args(args).run().complete(20);
        let now = || windrow_testkit::Tree::read(&place.at("out")).without(".windrow/lock");
        let before = now();

        let second = other.start();
        let done = place.get(&second.url()).args(args).run().expect(2);
        done.says(["holds an earlier run", "hint: ", "--fresh"]);
        assert_eq!(second.requests().len(), 0);
        assert_eq!(now(), before);

        let done = place.get(&second.url()).args(args).args(["--fresh"]).run().complete(5);
        assert_eq!(done.failures().len(), 0);
        if format == "tar" {
            // No pack of the earlier run is taken for one of this.
            assert_same(&packed(&place.at("out")), &other.objects());
        } else {
            let mut both = first.objects();
            both.extend(other.objects());
            assert_same(&stored(&done), &both);
        }
    }
}

#[test]
fn a_mistyped_source_costs_the_earlier_run_nothing() {
    for format in ["files", "tar"] {
        let place = Place::new();
        let args = ["--format", format, "--shard-size", "3"];
        let server = Site::numbered(20)
            .start_but(|_, name| (name == Some("n3")).then(|| http::send_status("404 Not Found")));
        place.get(&server.url()).args(args).run().expect(1);
        let now = || windrow_testkit::Tree::read(&place.at("out")).without(".windrow/lock");
        let before = now();
        let refusing = Refusing::new();
        place.get(&refusing.url()).args(args).args(["--fresh"]).run().expect(4);
        let wrong = format!("{}/elsewhere", server.url());
        place.get(&wrong).args(args).args(["--fresh", "--retry", "0"]).run().expect(2);
        assert_eq!(now(), before, "{format}");
    }
}

#[test]
fn two_at_the_same_time_do_not_mix() {
    let site = Site::numbered(10);
    let slow = site.start_but(|_, name| name.map(|_| vec![Step::Hang]));
    let place = Place::new();
    let first = place.get(&slow.url()).start();
    slow.until_asked("/get/", 1);
    let pid = first.id().to_string();
    for settings in [&[][..], &["--fresh"]] {
        let server = site.start();
        let done = place.get(&server.url()).args(settings).run().expect(4);
        let done = done.says(["in use", &pid, "hint: "]);
        assert!(done.summary.is_none(), "the other's run is not summed up");
        assert_eq!(server.requests().len(), 0);
    }
    // The lock dies with its holder, even when it had no time to clean up.
    first.signal(rustix::process::Signal::KILL);
    let done = first.finish();
    assert_eq!(done.signal, Some(9));
    let server = site.start();
    let done = place.get(&server.url()).args(["--fresh"]).run().complete(10);
    assert_same(&stored(&done), &site.objects());
}

#[test]
fn what_a_killed_run_left_unfinished_is_cleared() {
    let site = Site::numbered(200);
    for format in ["files", "tar"] {
        let server = site.start_but(|_, name| match name {
            Some("n150") => Some(vec![
                Step::Send(http::head("200 OK", &[], Some(10_000_000))),
                Step::Send(vec![0; 5_000_000]),
                Step::Hang,
            ]),
            _ => None,
        });
        let place = Place::new();
        let args = ["--format", format, "--cores", "1", "--memory", "1MiB", "--shard-size", "50"];
        let running = place.get(&server.url()).args(args).start();
        server.until_asked("/get/n150", 1);
        running.signal(rustix::process::Signal::KILL);
        drop(running.finish());
        // Nothing torn has a final name.
        if format == "tar" {
            let packed = packed(&place.at("out"));
            assert!(packed.iter().all(|(name, body)| site.objects().get(name) == Some(body)));
        } else {
            let tree = windrow_testkit::Tree::read(&place.at("out")).without(".windrow");
            let objects = tree.objects();
            assert!(objects.iter().all(|(name, body)| site.objects().get(name) == Some(body)));
        }
        let server = site.start();
        let done = place.get(&server.url()).args(args).args(["--fresh"]).run().complete(200);
        assert_same(&stored(&done), &site.objects());
        let open = place.at("out/.windrow/open");
        assert!(!open.exists() || entries(&open).is_empty(), "unfinished files are left");
    }
}
