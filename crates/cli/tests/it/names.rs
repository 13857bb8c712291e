//! Whatever a name says: nothing is written outside DEST, and every name is found again.

use crate::support::{Objects, Place, assert_same, packed, stored, windrow};
use windrow_testkit::Tree;
use windrow_testkit::script::{Site, body_of, http};

/// Names that want out, names that are none, names in each other's way.
pub(crate) const HOSTILE: [&str; 42] = [
    "..",
    ".",
    "../../x",
    "../x",
    "a/../../x",
    "a/./b",
    "/etc/passwd",
    "//double",
    "/",
    "",
    "trailing/",
    "a//b",
    ".windrow/run.json",
    ".windrow/summary.json",
    ".WINDROW/run.json",
    ".windrow",
    "line\nbreak",
    "nul\0byte",
    "bell\u{7}",
    "cr\r\nHost: evil.example",
    "sp ace",
    "?query=1",
    "#fragment",
    "%2e%2e%2f%2e%2e%2fx",
    "%00",
    "%",
    "%=marked",
    "%@marked/x",
    "%+marked/y",
    "http://other.example/x",
    "C:\\Windows\\x",
    "..\\..\\x",
    "~/x",
    "$HOME/x",
    "-rf",
    "00000.tar",
    "clash",
    "clash/below",
    "clash/below/that",
    "other/one/two",
    "other/one",
    "other",
];

/// Everything outside the destination is as it was.
fn run(format: &str, settings: &[&str]) {
    let place = Place::new();
    let outside: Tree =
        [("deep/x", "outside"), ("deep/er/x", "outside"), ("x", "outside")].into_iter().collect();
    outside.write(place.path());
    let site = Site::new(HOSTILE);
    let server = site.start();
    let dest = place.at("deep/er/out");
    let get = windrow().get(&server.url(), &dest).args(["--format", format]);
    let done = get.args(settings).run().complete(HOSTILE.len() as u64);
    assert_same(&stored(&done), &site.objects());
    let now = Tree::read(place.path()).without("deep/er/out");
    assert_eq!(now, outside, "something was written beside the destination");
    assert!(!std::path::Path::new("/x").exists());
    // windrow's own state is still windrow's own.
    assert_eq!(done.summary()["state"], "complete");
}

#[test]
fn hostile_names_stay_inside_as_files() {
    run("files", &["--cores", "1", "-c", "1"]);
    run("files", &["--cores", "2"]);
}

#[test]
fn hostile_names_stay_inside_as_members() {
    run("tar", &[]);
    run("tar", &["--pipeline", "16"]);
}

#[test]
fn the_order_of_names_that_clash_does_not_matter() {
    let mut names = HOSTILE;
    names.reverse();
    let site = Site::new(names);
    let server = site.start();
    let place = Place::new();
    let done = place.get(&server.url()).args(["-c", "1"]).run().complete(HOSTILE.len() as u64);
    assert_same(&stored(&done), &site.objects());
}

#[test]
fn a_link_in_the_destination_is_not_followed() {
    let place = Place::new();
    std::fs::create_dir_all(place.at("elsewhere")).unwrap();
    std::fs::create_dir_all(place.at("out")).unwrap();
    std::os::unix::fs::symlink(place.at("elsewhere"), place.at("out/folder")).unwrap();
    std::os::unix::fs::symlink(place.at("elsewhere/target"), place.at("out/file")).unwrap();
    let site = Site::new(["folder/x", "file", "fine"]);
    let server = site.start();
    let done = place.get(&server.url()).run().sum_holds();
    assert!(matches!(done.code, Some(0 | 1)), "exit {:?}: {}", done.code, done.stderr);
    assert_eq!(crate::support::entries(&place.at("elsewhere")), Vec::<String>::new());
    assert_eq!(std::fs::read(place.at("out/fine")).unwrap(), body_of(b"fine"));
}

#[test]
fn a_huge_name_fails_alone() {
    for format in ["files", "tar"] {
        let site = Site::new(["before".to_owned(), "n".repeat(70_000), "after".to_owned()]);
        let server = site.start();
        let place = Place::new();
        let done = place.get(&server.url()).args(["--format", format]).run().expect(1).sum_holds();
        let done = done.figures([("stored", 2), ("failed", 1)]);
        assert_eq!(done.failed("name"), 1);
        let lines = done.failures();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["ordinal"], 1);
        assert_eq!(lines[0]["name"].as_str().map(str::len), Some(70_000));
        assert_eq!(stored(&done).len(), 2);
        assert!(server.targets("/get/").iter().all(|target| target.len() < 100));
    }
}

#[test]
fn names_as_long_as_may_be_are_stored_or_fail_alone() {
    // In one component, in components of one byte, and all to be encoded. For files no longer
    // than the path that this test can read back.
    let names = |size: usize| {
        let deep = ["d/".repeat(200) + "file", "d/".repeat(400) + "file", "fine".to_owned()];
        let long = ["long".repeat(size / 4), "\u{1}".repeat(size / 6)];
        deep.into_iter().chain(long)
    };
    for (format, size) in [("files", 3000), ("tar", 64 << 10)] {
        let site = Site::new(names(size));
        let server = site.start();
        let place = Place::new();
        let done = place.get(&server.url()).args(["--format", format]).run().sum_holds();
        assert!(matches!(done.code, Some(0 | 1)), "exit {:?}: {}", done.code, done.stderr);
        assert_eq!(done.failed("name"), done.figure("failed"));
        let objects = stored(&done);
        assert_eq!(objects.len() as u64, done.figure("stored"));
        for (name, body) in &objects {
            assert_eq!(body, &body_of(name));
        }
        assert!(objects.contains_key(&b"fine"[..]) && done.figure("stored") >= 2);
    }
}

#[test]
fn names_are_asked_for_as_they_are() {
    let site = Site::new(HOSTILE);
    let server = site.start();
    Place::new().get(&server.url()).args(["--format", "null"]).run().complete(42);
    let mut asked = Vec::new();
    for target in server.targets("/get/") {
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target}");
        // No dot segments: on the way they would be taken away (RFC 3986 section 5.2.4).
        assert!(!target.split('/').any(|part| part == "." || part == ".."), "{target}");
        asked.push(windrow_model::percent::decode(&target.as_bytes()[5..]).expect("encoded"));
    }
    asked.sort_unstable();
    let mut listed: Vec<_> = HOSTILE.iter().map(|name| name.as_bytes().to_vec()).collect();
    listed.sort_unstable();
    assert_eq!(asked, listed);
}

#[test]
fn a_name_that_is_listed_twice_is_counted_twice() {
    let server = windrow_testkit::Script::start(|request| match request.target.as_str() {
        "/list" => http::send_ok(&http::page(["same", "other", "same"], None)),
        _ => http::send_ok(b"body"),
    });
    let expected: Objects =
        [(b"same".to_vec(), b"body".to_vec()), (b"other".to_vec(), b"body".to_vec())].into();
    let place = Place::new();
    let done = place.get(&server.url()).run().complete(3);
    assert_same(&stored(&done), &expected);
    // In a pack both are there, and a tar that unpacks it ends with one file.
    let place = Place::new();
    place.get(&server.url()).args(["--format", "tar"]).run().complete(3);
    let both = std::panic::catch_unwind(|| packed(&place.at("out")));
    assert!(both.is_err(), "the reader finds the name twice");
}
