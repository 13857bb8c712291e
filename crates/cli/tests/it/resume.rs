//! The same line again: what is there is not fetched again, and what is missing is.

use crate::support::{Place, assert_same, entries, interrupted, packs, stored, windrow};
use rustix::process::Signal;
use serde_json::Value;
use windrow_model::Corpus;
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Finished, Gate, Script, Step, Tree, Windrow};

const FORMATS: [&[&str]; 2] = [&["--format", "files"], &["--format", "tar", "--shard-size", "7"]];

/// What this process did, and what the run has.
#[track_caller]
fn continues(done: &Finished, before: u64) {
    assert_eq!(done.summary()["resumed"], true);
    done.figures_are([("stored_before", before)]);
}

/// What was asked for in a second run only.
fn asked_since(server: &Script, before: usize) -> Vec<String> {
    let mut asked: Vec<_> =
        server.requests()[before..].iter().map(|request| request.target.clone()).collect();
    asked.sort_unstable();
    asked
}

#[test]
fn a_complete_run_does_nothing_again() {
    for format in FORMATS {
        let site = Site::numbered(50).pages_of(20);
        let server = site.start();
        let place = Place::new();
        let get = || place.get(&server.url()).args(format);
        get().run().complete(50);
        let output = || Tree::read(&place.at("out")).without(".windrow");
        let (asked, before) = (server.requests().len(), output());
        for _ in 0..2 {
            let done = get().run().complete(50);
            continues(&done, 50);
            done.figures_are([("requests", 0), ("retries", 0), ("pages", 3)]);
            assert_eq!(done.failures().len(), 0);
        }
        assert_eq!(server.requests().len(), asked, "nothing was asked for");
        assert_eq!(output(), before);
        assert_same(&stored(&get().run()), &site.objects());
    }
}

#[test]
fn an_interrupted_run_fetches_what_is_missing_and_no_more() {
    for format in FORMATS {
        let site = Site::numbered(300).pages_of(40);
        let (gate, server) = slow_from(&site, 200);
        let place = Place::new();
        let get = || place.get(&server.url()).args(format);
        let done = interrupted(get(), &server, &gate, "/get/n2");
        let first = done.figure("stored");
        assert!((1..300).contains(&first), "{:#}", done.summary());
        assert_eq!(done.figure("pending") + first, done.figure("listed"));
        let before = server.targets("/get/").len() as u64;

        let done = get().run().complete(300);
        continues(&done, first);
        done.figures_are([("requests", 300 - first), ("skipped", 0)]);
        assert_eq!(server.targets("/get/").len() as u64 - before, 300 - first);
        assert_same(&stored(&done), &site.objects());
        nothing_left(&place);
    }
}

/// A server that keeps the objects from `first` on back until the gate is open, resets those that
/// wait then, and is well from there on.
fn slow_from(site: &Site, first: usize) -> (Gate, Script) {
    let gate = Gate::new();
    let server = site.start_but({
        let gate = gate.clone();
        move |_, name| {
            let number: usize = name?.strip_prefix('n')?.parse().ok()?;
            let waits = number >= first && !gate.is_open();
            waits.then(|| vec![Step::Await(gate.clone()), Step::Reset])
        }
    });
    (gate, server)
}

#[track_caller]
fn nothing_left(place: &Place) {
    assert_eq!(entries(&place.at("out/.windrow/open")), Vec::<String>::new());
    let expected = [
        "failures.jsonl",
        "index",
        "ledger",
        "lock",
        "manifest",
        "open",
        "run.json",
        "summary.json",
    ];
    assert_eq!(entries(&place.at("out/.windrow")), expected);
}

#[test]
fn interrupted_again_and_again() {
    // Each process gets a little further, and each with another number of cores.
    let corpus = Corpus { count: 4000, size: 100, seed: 12 };
    let server = windrow().serve([
        "--synthetic",
        "4000",
        "--seed",
        "12",
        "--latency",
        "2ms",
        "--page",
        "100",
    ]);
    for format in FORMATS {
        let place = Place::new();
        let mut before = 0;
        for round in 0.. {
            let cores = ["1", "4", "2", "3"][round % 4];
            let get = place.get(&server.url).args(format).args(["--cores", cores]);
            let mut running = get.args(["--progress", "json"]).start();
            running.until_stderr("some more is stored, or all", |said| {
                let last = said.lines().filter_map(stored_in).next_back();
                last > Some(before + 100) || said.contains("summary")
            });
            if !running.stderr().contains("summary") {
                running.signal(Signal::INT);
            }
            let done = running.finish().sum_holds();
            assert_eq!(done.figure("stored_before"), before, "{:#}", done.summary());
            before = done.figure("stored");
            if done.code == Some(0) {
                let done = done.complete(4000);
                assert_eq!(crate::support::all_right(&corpus, &stored(&done)), 4000);
                break;
            }
            done.expect(130);
            assert!(round < 100, "it does not end");
        }
        nothing_left(&place);
    }
}

fn stored_in(line: &str) -> Option<u64> {
    let line: Value = serde_json::from_str(line).ok()?;
    line["stored"].as_u64()
}

#[test]
fn fresh_begins_from_nothing() {
    for format in FORMATS {
        let site = Site::numbered(100);
        let (gate, server) = slow_from(&site, 60);
        let place = Place::new();
        let get = || place.get(&server.url()).args(format);
        interrupted(get(), &server, &gate, "/get/n6");
        let done = get().arg("--fresh").run().complete(100);
        assert_eq!(done.summary()["resumed"], false);
        done.figures_are([("requests", 100), ("stored_before", 0)]);
        assert_same(&stored(&done), &site.objects());
        nothing_left(&place);
    }
}

#[test]
fn another_run_is_refused_and_told_apart() {
    let site = Site::numbered(30);
    let server = site.start();
    let place = Place::new();
    let get = || place.get(&server.url());
    get().run().complete(30);
    let now = || Tree::read(&place.at("out")).without(".windrow/lock");
    let (asked, before) = (server.requests().len(), now());
    let base = format!("{}/base", server.url());
    let cases: [(Windrow, &str); 7] = [
        (place.get(&base), "its source is http://127.0.0.1:"),
        (get().args(["--format", "tar"]), "its format is files"),
        (get().args(["--get-path", "/other/{name}"]), "its get-path is /get/{name}"),
        (get().args(["--list-path", "/other"]), "its list-path is /list"),
        (get().args(["--names-field", "Names"]), "its names-field is FileNames"),
        (get().args(["--marker-field", "Next"]), "its marker-field is NextMarker,NextFile"),
        (get().args(["--marker-param", "m"]), "its marker-param is next-marker"),
    ];
    for (case, says) in cases {
        let shown = format!("{case:?}");
        let done = case.run().expect(2).says(["holds an earlier run", "hint: ", "--fresh", says]);
        assert_eq!(done.stdout, "", "{shown}");
    }
    // What a query of the listing holds may be a secret.
    let signed = get().args(["--list-path", "/list?key=canary"]).run().expect(2);
    assert!(!signed.stderr.contains("canary"), "{}", signed.stderr);
    assert_eq!(server.requests().len(), asked);
    assert_eq!(now(), before);
    // How it is fetched makes no other run of it.
    let other = ["-c", "3", "--cores", "1", "--pipeline", "4", "--retry", "1", "--memory", "1MiB"];
    get().args(other).args(["--timeout", "3s", "--commit-interval", "1s"]).run().complete(30);
}

#[test]
fn what_an_earlier_run_left_can_be_chosen() {
    for format in FORMATS {
        let site = Site::numbered(40);
        let well = Gate::new();
        let server = site.start_but({
            let well = well.clone();
            move |_, name| {
                let status = match name? {
                    "n3" => "404 Not Found",
                    "n5" | "n6" => "500 Internal Server Error",
                    "n7" => "403 Forbidden",
                    _ => return None,
                };
                (!well.is_open()).then(|| http::send_status(status))
            }
        });
        let place = Place::new();
        let get = || place.get(&server.url()).args(format).args(["--retry", "0"]);
        let failed = |done: &Finished| {
            let name = |line: &Value| line["name"].as_str().expect("a name").to_owned();
            let mut names: Vec<_> = done.failures().iter().map(name).collect();
            names.sort_unstable();
            names
        };
        let done = get().run().expect(1).sum_holds();
        done.figures_are([("stored", 36), ("failed", 4), ("pending", 0)]);
        assert_eq!(failed(&done), ["n3", "n5", "n6", "n7"]);
        let requests = || server.requests().len();

        // Still ill: tried again, and in the file once each.
        let before = requests();
        let done = get().run().expect(1).sum_holds();
        assert_eq!(failed(&done), ["n3", "n5", "n6", "n7"]);
        let mut asked = asked_since(&server, before);
        // Where everything fails, an object that was stored tells whether the server is down.
        asked.retain(|target| target != "/get/n0");
        assert_eq!(asked, ["/get/n3", "/get/n5", "/get/n6", "/get/n7", "/list"]);

        // Nothing is pending.
        let before = requests();
        let done = get().args(["--only", "pending"]).run().expect(1).sum_holds();
        assert_eq!(failed(&done), ["n3", "n5", "n6", "n7"]);
        assert_eq!(asked_since(&server, before).len(), 0);

        well.open();
        let before = requests();
        let done = get().args(["--only", "failed:not_found"]).run().expect(1).sum_holds();
        assert_eq!(asked_since(&server, before), ["/get/n3", "/list"]);
        assert_eq!(failed(&done), ["n5", "n6", "n7"]);
        done.figures_are([("stored", 37), ("failed", 3)]);
        assert_eq!((done.failed("not_found"), done.failed("forbidden")), (0, 1));

        let before = requests();
        let done = get().args(["--only", "failed:forbidden,not_found"]).run().expect(1).sum_holds();
        assert_eq!(asked_since(&server, before), ["/get/n7", "/list"]);
        assert_eq!(failed(&done), ["n5", "n6"]);

        // By default what failed is tried again.
        let before = requests();
        let done = get().run().complete(40);
        assert_eq!(asked_since(&server, before), ["/get/n5", "/get/n6", "/list"]);
        assert_eq!(done.failures().len(), 0);
        assert_same(&stored(&done), &site.objects());
        nothing_left(&place);
    }
}

#[test]
fn only_failed_leaves_what_is_pending() {
    for format in FORMATS {
        let site = Site::numbered(100);
        let gate = Gate::new();
        let server = site.start_but({
            let gate = gate.clone();
            move |_, name| match name? {
                _ if gate.is_open() => None,
                "n1" => Some(http::send_status("404 Not Found")),
                name if name.len() == 3 && name >= "n50" => {
                    Some(vec![Step::Await(gate.clone()), Step::Reset])
                }
                _ => None,
            }
        });
        let place = Place::new();
        let get = || place.get(&server.url()).args(format);
        let done = interrupted(get(), &server, &gate, "/get/n5");
        let (stored_first, pending) = (done.figure("stored"), done.figure("pending"));
        done.figures_are([("failed", 1)]);
        let done = get().args(["--only", "failed"]).run().expect(3).sum_holds().says(["--only"]);
        done.figures_are([("failed", 0), ("pending", pending), ("stored", stored_first + 1)]);
        let done = get().args(["--only", "pending"]).run().complete(100);
        assert_same(&stored(&done), &site.objects());
        nothing_left(&place);
    }
}

#[test]
fn only_wants_an_earlier_run_and_a_class_that_is_one() {
    let server = Site::numbered(3).start();
    let place = Place::new();
    let get = || place.get(&server.url());
    get().args(["--only", "failed"]).run().expect(2).says(["--only", "no earlier run", "hint: "]);
    get().args(["--only", "failed:nonsense"]).run().expect(2).says(["no class", "not_found"]);
    assert_eq!((place.entries(), server.requests().len()), (vec![], 0));
}

#[test]
fn a_limit_that_is_raised() {
    for format in FORMATS {
        let site = Site::numbered(50).pages_of(10);
        let server = site.start();
        let place = Place::new();
        let get = || place.get(&server.url()).args(format);
        // Inside a page, the same again, further in the page, its end, elsewhere, the end.
        for (limit, stored) in [(13, 13), (13, 13), (17, 17), (20, 20), (41, 41), (500, 50)] {
            let done = get().args(["--limit", &limit.to_string()]).run().expect(0).sum_holds();
            done.figures_are([("listed", stored), ("stored", stored)]);
        }
        let done = get().run().complete(50);
        assert_same(&stored(&done), &site.objects());
        assert_eq!(server.targets("/get/").len(), 50, "each once");
        nothing_left(&place);
    }
}

#[test]
fn a_file_in_the_place_of_a_pack_is_left_alone() {
    let site = Site::numbered(20);
    let server = site.start();
    let place = Place::new();
    let get = || place.get(&server.url()).args(["--format", "tar", "--shard-size", "7"]);
    let own = place.at("out/00001.tar");
    std::fs::create_dir(place.at("out")).expect("a folder");
    std::fs::write(&own, "mine").expect("a file");
    for _ in 0..2 {
        let done = get().run().expect(4).says(["00001.tar", "File exists", "hint: ", "move that"]);
        done.sum_holds();
        assert_eq!(std::fs::read(&own).expect("the user's file"), b"mine");
    }
    std::fs::rename(&own, place.at("mine.tar")).expect("moved");
    let done = get().run().complete(20);
    assert_same(&stored(&done), &site.objects());
    assert_eq!(server.targets("/get/").len(), 20, "each once");
    nothing_left(&place);

    // Nor does --fresh take it: it removes what the earlier run wrote.
    let place = Place::new();
    let get = || place.get(&server.url()).args(["--format", "tar", "--shard-size", "7"]);
    std::fs::create_dir(place.at("out")).expect("a folder");
    std::fs::write(place.at("out/00001.tar"), "mine").expect("a file");
    std::fs::write(place.at("out/77777.tar"), "mine too").expect("a file");
    get().run().expect(4);
    get().arg("--fresh").run().expect(4);
    for (file, content) in [("00001.tar", "mine"), ("77777.tar", "mine too")] {
        let found = std::fs::read_to_string(place.at("out").join(file));
        assert_eq!(found.ok().as_deref(), Some(content), "{file}");
    }
}

#[test]
fn fresh_removes_only_packs() {
    // A run into files writes no packs: what looks like one is an object, or the user's.
    let site = Site::numbered(5);
    let server = site.start();
    let place = Place::new();
    let get = || place.get(&server.url());
    get().run().complete(5);
    std::fs::write(place.at("out/00000.tar"), "mine").expect("a file");
    get().arg("--fresh").run().complete(5);
    assert_eq!(std::fs::read(place.at("out/00000.tar")).expect("the user's file"), b"mine");
    assert_eq!(packs(&place.at("out")).len(), 1);
}
