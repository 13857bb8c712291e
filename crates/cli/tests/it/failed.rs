//! `failures.jsonl` as a source: what failed in one run is fetched by another.

use crate::support::{Place, assert_same, stored};
use std::collections::BTreeMap;
use windrow_testkit::script::{Site, http};

/// A site of odd names, of which those that `fails` names cannot be had.
fn names() -> Vec<String> {
    let odd = ["a b", "x/y", "ü", "100%", "line\nfeed", "q?x=1&y=2", "..", "long"];
    let odd = odd.map(str::to_owned);
    odd.into_iter().chain((0..30).map(|number| format!("n{number}"))).collect()
}

#[test]
fn what_failed_is_fetched_from_its_list() {
    for get_path in ["/get/{name}", "/get/{+name}"] {
        let site = Site::new(names());
        let down = site.start_but(|_, name| {
            name.filter(|name| !name.starts_with('n')).map(|_| http::send_status("404 Not Found"))
        });
        let place = Place::new();
        let args = ["--get-path", get_path];
        let first = place.get(&down.url()).args(args).run().expect(1);
        let (expected, failed) = (first.figure("stored"), first.figure("failed"));
        assert!(expected > 0 && failed > 0, "{expected} {failed}");
        let list = place.at("out/.windrow/failures.jsonl");
        let text = std::fs::read_to_string(&list).unwrap();
        assert!(text.lines().count() as u64 == failed, "{text}");

        // The same list, with the address of the server that works.
        let up = site.start();
        let moved = place.at("failures.jsonl");
        std::fs::write(&moved, text.replace(&down.url(), &up.url())).unwrap();
        let source = moved.to_str().unwrap();
        let again = || crate::support::windrow().get(source, &place.at("again"));
        let second = again().run().complete(failed);
        let mut both: BTreeMap<_, _> = stored(&first);
        both.extend(stored(&second));
        assert_same(&both, &site.objects());
        assert!(up.requests().iter().all(|request| !request.target.starts_with("/list")));

        // It is a run like any other: the same line again has nothing to do.
        let asked = up.requests().len();
        again().run().complete(failed);
        assert_eq!(up.requests().len(), asked);
    }
}

#[test]
fn what_is_no_list_is_told() {
    let place = Place::new();
    let file = |name: &str, text: &str| {
        let path = place.at(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let line = r#"{"name":"n","url":"http://127.0.0.1:9/get/n"}"#;
    for (text, says) in [
        ("", "nothing failed"),
        ("http://127.0.0.1:9/get/n\n", "not a list of failed objects"),
        (&format!("{line}\n{}\n", line.replace(":9/", ":8/")), "another server"),
        (&format!("{line}\n{{\n"), "the line at byte"),
    ] {
        let source = file("list", text);
        let get = crate::support::windrow().get(&source, &place.at("out"));
        // Where the path is said again, they are of one server.
        let done = get.args(["--get-path", "/get/{+name}"]).run();
        done.expect(2).says([says]);
        assert!(!place.at("out").exists(), "{says}: no trace is left");
    }
}

#[test]
fn secrets_are_in_no_line_and_can_be_said_again() {
    let place = Place::new();
    let site = Site::new(["a", "b"]);
    let down = site.start_but(|_, name| name.map(|_| http::send_status("403 Forbidden")));
    let path = "/get/{name}?key=s3cret&v=1";
    let done = place.get(&down.url()).args(["--get-path", path]).run().expect(1);
    let list = place.at("out/.windrow/failures.jsonl");
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.contains("key=***") && !text.contains("s3cret"), "{text}");
    assert!(!done.stderr.contains("s3cret"));
    for file in ["run.json", "summary.json"] {
        let text = std::fs::read_to_string(place.at("out/.windrow").join(file)).unwrap();
        assert!(!text.contains("s3cret"), "{file}: {text}");
    }
    let source = list.to_str().unwrap();
    // Without them each line is told; none is asked for without its secret.
    let asked = down.requests().len();
    let done = crate::support::windrow().get(source, &place.at("cut")).run().expect(1);
    assert_eq!((done.failed("malformed"), down.requests().len()), (2, asked));
    assert_eq!(done.failures()[0]["error"], "its secrets were cut");
    // In its own destination the list is of no use: the run itself knows.
    let own = crate::support::windrow().get(source, &place.at("out")).run().expect(2);
    own.says(["belongs to this destination", "--only failed"]);
    let again = crate::support::windrow().get(source, &place.at("again"));
    let done = again.args(["--get-path", path]).run().expect(1);
    assert_eq!(done.figure("failed"), 2);
    assert!(down.requests().iter().filter(|r| r.target.contains("key=s3cret&v=1")).count() == 4);
}
