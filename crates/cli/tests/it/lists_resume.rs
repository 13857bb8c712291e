//! Lists that are gone on with: after a kill, from a pipe, signed anew, changed.

use crate::support::{Place, all_right, assert_same, by_url, interrupted, stored, urls, windrow};
use std::io::Write as _;
use std::path::PathBuf;
use windrow_model::Corpus;
use windrow_testkit::script::{Site, http};
use windrow_testkit::torture::{Line, Random, kill_at, length_of};
use windrow_testkit::{Gate, Script, Step, Windrow, wait};

const CORPUS: Corpus = Corpus { count: 20_000, size: 100, seed: 34 };

/// See `kills`.
const MOST_AGAIN: u64 = 2000;

/// What `windrow serve --print-urls` prints.
fn printed(base: &str, args: &[&str]) -> String {
    let serve = windrow().args(["serve", "--print-urls", "--base", base]).args(args);
    serve.run().expect(0).stdout
}

/// A list of the corpus by its own names, so that it can be judged.
fn named(url: &str) -> String {
    let urls = printed(url, &["--synthetic", "20000", "--size", "100", "--seed", "34"]);
    let row = |url: &str| {
        let (_, name) = url.split_once("/get/").expect("the URL of an object");
        let name = windrow_model::percent::decode(name.as_bytes()).expect("percent-encoded");
        format!("{},{url}\n", String::from_utf8(name).expect("text"))
    };
    format!("name,url\n{}", urls.lines().map(row).collect::<String>())
}

#[test]
fn killed_again_and_again() {
    let server =
        windrow().serve(["--synthetic", "20000", "--size", "100", "--seed", "34", "--stats"]);
    let place = Place::new();
    let csv = named(&server.url);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).expect("it can be done");
    let packed = place.file("l.csv.gz", gzip.finish().expect("it can be done"));
    let plain = place.file("l.csv", csv);
    for (round, (list, format)) in [(plain, "files"), (packed, "tar")].into_iter().enumerate() {
        let line = Line {
            program: PathBuf::from(env!("CARGO_BIN_EXE_windrow")),
            corpus: CORPUS,
            url: list,
            args: ["--name-col", "name", "--format", format].map(str::to_owned).to_vec(),
        };
        let whole = place.at(&format!("whole-{round}"));
        let length = length_of(&line, &whole, wait::LIMIT).expect("it can be done");
        let mut random = Random(round as u64);
        let moments: Vec<_> = (0..3).map(|_| random.part_of(length / 2)).collect();
        let dest = place.at(&format!("killed-{round}"));
        let killed = kill_at(&line, &dest, &server, &moments, wait::LIMIT, MOST_AGAIN);
        let killed = killed.unwrap_or_else(|why| panic!("{format}, killed at {moments:?}: {why}"));
        assert!(killed.kills > 0, "no process was slow enough to be killed: {moments:?}");
    }
}

/// A server of the site that keeps objects from number `first` on back until the gate is open.
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

fn numbered(url: &str, count: usize) -> String {
    (0..count).map(|number| format!("{url}/get/n{number}\n")).collect()
}

#[test]
fn standard_input_goes_by_name() {
    for format in ["files", "tar"] {
        let site = Site::numbered(3000);
        let (gate, server) = slow_from(&site, 2000);
        let place = Place::new();
        let list = place.file("list", numbered(&server.url(), 3000));
        let script = r#"in="$0"; exec "$@" < "$in""#;
        let get = |list: &str| {
            let get = place.get("-").args(["--format", format]);
            get.under("sh", &["-c".into(), script.into(), list.into()])
        };
        let first = interrupted(get(&list), &server, &gate, "/get/n2").figure("stored");
        assert!((1..3000).contains(&first), "{first}");
        let before = server.targets("/get/").len() as u64;
        let done = get(&list).run().expect(0).sum_holds();
        // What was stored before is stored, and skipped where it is listed once more.
        let skipped = done.figure("skipped");
        done.figures_are([("stored", 3000), ("failed", 0), ("pending", 0), ("skipped", first)]);
        assert_eq!(done.figure("listed"), 3000 + skipped);
        assert_eq!(server.targets("/get/").len() as u64 - before, 3000 - first);
        assert_same(&stored(&done), &by_url(&server.url(), &site.objects()));
        // Complete: nothing is read, and nothing asked for.
        let before = server.requests().len();
        let done = get("/dev/null").run().expect(0).sum_holds();
        done.figures_are([("stored", 3000), ("requests", 0)]);
        assert_eq!(server.requests().len(), before);
    }
}

#[test]
fn a_list_that_was_signed_anew() {
    let synthetic = ["--synthetic", "1500", "--size", "100", "--seed", "5"];
    let signed = ["--sign-key", "canary-key"];
    let server = windrow().serve([&synthetic[..], &signed, &["--stats"]].concat());
    let list = |expires: &str| {
        printed(&server.url, &[&synthetic[..], &signed, &["--expires-in", expires]].concat())
    };
    let asked = || server.stats().expect("stats")["objects"].as_u64().expect("a number");
    let corpus = Corpus { count: 1500, size: 100, seed: 5 };
    for format in ["files", "tar"] {
        let place = Place::new();
        let one = place.file("one.txt", list("1h"));
        let other = place.file("other.txt", list("2h"));
        let get = |list: &str| windrow().get(list, &place.at("out")).args(["--format", format]);
        let before = asked();
        get(&one).args(["--limit", "700"]).run().expect(0).sum_holds();
        assert_eq!(asked() - before, 700);
        // Another file is another run, unless it is said what it is.
        get(&other).run().expect(2).says(["holds an earlier run", "hint: ", "--resume-by name"]);
        let done = get(&other).args(["--resume-by", "name"]).run().expect(0).sum_holds();
        done.figures_are([("listed", 1500), ("failed", 0), ("pending", 0)]);
        assert_eq!(asked() - before, 1500, "each once");
        let objects = stored(&done);
        let own = objects.into_iter().map(|(name, body)| {
            let name = String::from_utf8(name).expect("text");
            let (_, name) = name.split_once("/get/").expect("host and path");
            (name.as_bytes().to_vec(), body)
        });
        assert_eq!(all_right(&corpus, &own.collect()), 1500);
        // And again, with the other one in its old place.
        let done = get(&one).args(["--resume-by", "name"]).run().expect(0).sum_holds();
        assert_eq!((asked() - before, done.figure("requests")), (1500, 0));
    }
}

#[test]
fn a_list_that_changed() {
    for format in ["files", "tar"] {
        let site = Site::numbered(2500);
        let (gate, server) = slow_from(&site, 1500);
        let place = Place::new();
        let all = numbered(&server.url(), 2500);
        // One is not on the list yet.
        let late = format!("{}/get/n7\n", server.url());
        let list = place.file("l.txt", all.replace(&late, ""));
        let get = || place.get(&list).args(["--format", format]);
        let first = interrupted(get(), &server, &gate, "/get/n15").figure("stored");
        // Behind everything that was done, and on a page that was not.
        let before = server.targets("/get/").len() as u64;
        let middle = format!("{}/get/n1700\n", server.url());
        place.file("l.txt", all.replace(&late, "").replace(&middle, &format!("{late}{middle}")));
        let done = get().run().expect(0).sum_holds();
        let done = done.says(["the list changed"]);
        done.figures_are([("stored", 2500), ("failed", 0), ("pending", 0)]);
        assert_eq!(server.targets("/get/").len() as u64 - before, 2500 - first);
        assert_same(&stored(&done), &by_url(&server.url(), &site.objects()));
    }
}

#[test]
fn what_failed_at_several_hosts() {
    let site = Site::numbered(30);
    let well = Gate::new();
    let start = |address: &str, status: &'static str| {
        let (site, well) = (site.clone(), well.clone());
        Script::start_at(format!("{address}:0").parse().expect("it can be done"), move |request| {
            match request.target.ends_with('3') && !well.is_open() {
                true => http::send_status(status),
                false => site.answer(request),
            }
        })
    };
    let one = start("127.0.0.1", "404 Not Found");
    let two = start("127.0.0.2", "403 Forbidden");
    let place = Place::new();
    let list = urls(&one.url(), &site.objects()) + &urls(&two.url(), &site.objects()) + "no URL\n";
    let list = place.file("l.txt", list);
    let done = place.get(&list).run().expect(1).sum_holds();
    assert_eq!((done.failed("not_found"), done.failed("forbidden")), (3, 3));
    assert_eq!(done.failed("malformed"), 1);
    let mut both = stored(&done);
    well.open();
    let failures = place.at("out/.windrow/failures.jsonl");
    let failures = failures.to_str().expect("it can be done");
    let again = |name: &str| -> Windrow { windrow().get(failures, &place.at(name)) };
    let done = again("again").run().expect(1).sum_holds();
    assert_eq!((done.figure("stored"), done.failed("malformed")), (6, 1));
    both.extend(stored(&done));
    let mut expected = by_url(&one.url(), &site.objects());
    expected.extend(by_url(&two.url(), &site.objects()));
    assert_same(&both, &expected);
    // The first line again takes up what failed, too.
    let done = place.get(&list).run().expect(1).sum_holds();
    assert_eq!((done.figure("stored"), done.figure("failed")), (60, 1));
}
