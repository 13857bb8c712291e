//! `--transform`: what is done with bodies between answer and sink. What each transform does is tested
//! where it is; here it is about runs.

use crate::support::{Objects, Place, assert_same, stored, windrow};
use rustix::process::Signal;
use std::collections::BTreeMap;
use windrow_model::Corpus;
use windrow_testkit::{Windrow, wait};

/// Objects that say which they are.
fn folder(place: &Place, count: usize) -> Objects {
    std::fs::create_dir(place.at("in")).expect("a folder");
    let one = |index: usize| {
        let (name, body) = (format!("{index:05}.txt"), format!("this is number {index}\n"));
        std::fs::write(place.at("in").join(&name), &body).expect("a file");
        (name.into_bytes(), body.into_bytes())
    };
    (0..count).map(one).collect()
}

fn loud(objects: &Objects) -> Objects {
    objects.iter().map(|(name, body)| (name.clone(), body.to_ascii_uppercase())).collect()
}

#[test]
fn bodies_are_changed_and_what_is_dropped_is_skipped() {
    let place = Place::new();
    let mut objects = loud(&folder(&place, 400));
    objects.retain(|name, _| !name.starts_with(b"001"));
    for format in ["files", "tar", "jsonl", "parquet"] {
        let server = windrow().serve_dir(&place.at("in"));
        let dest = place.at(format);
        let get = || {
            let get = windrow().get(&server.url, &dest).args(["--format", format]);
            get.args(["--transform", "exec=tr a-z A-Z", "--transform", "drop-if=name=001*"])
        };
        let done = get().run().expect(0);
        let figures = ["listed", "stored", "skipped", "pending"].map(|figure| done.figure(figure));
        assert_eq!(figures, [400, 300, 100, 0]);
        if matches!(format, "files" | "tar") {
            assert_same(&stored(&done), &objects);
        }
        windrow().arg("verify").arg(&dest).run().expect(0);
        // Nothing is left to do, and other transforms are another run.
        let requests = get().run().expect(0).figure("requests");
        assert_eq!(requests, 0);
        let other = get().args(["--transform", "gunzip"]).run().expect(2);
        assert!(other.stderr.contains("its transform is"), "{}", other.stderr);
    }
}

#[test]
fn one_that_fails_is_told_and_the_rest_goes_on() {
    let place = Place::new();
    let objects = folder(&place, 300);
    let server = windrow().serve_dir(&place.at("in"));
    let failing = "exec=if grep -q 'number 7$'; then echo seven is bad >&2; exit 3; fi; echo fine";
    let get = place.get(&server.url).args(["--transform", failing]).run().expect(1);
    assert_eq!((get.figure("stored"), get.failed("transform")), (299, 1));
    let lines = std::fs::read_to_string(place.at("out/.windrow/failures.jsonl")).expect("a file");
    assert_eq!(lines.lines().count(), 1);
    for told in ["00007.txt", "exit code 3: seven is bad", "\"attempts\":1"] {
        assert!(lines.contains(told), "{told} is not in {lines}");
    }
    // A command that hangs is killed, and its object fails alone.
    let hanging = "exec=grep -q 'number 9$' && sleep 600; echo fine";
    let done = windrow().get(&server.url, &place.at("hung"));
    let done = done.args(["--transform", hanging, "--transform-timeout", "2s"]).run().expect(1);
    assert_eq!((done.figure("stored"), done.failed("transform")), (objects.len() as u64 - 1, 1));
}

#[test]
fn the_first_failure_stops_what_has_not_begun() {
    let place = Place::new();
    let objects = folder(&place, 3000);
    let server = windrow().serve_dir(&place.at("in"));
    let bad = place.file("bad", "");
    let command =
        format!("exec=if grep -q 'number 100$' && test -e {bad}; then exit 1; fi; echo fine");
    let get = || {
        let get =
            place.get(&server.url).args(["--transform", &command, "--transform-threads", "2"]);
        get.args(["--on-error", "stop"])
    };
    let done = get().run().expect(3);
    let (stored, failed) = (done.figure("stored"), done.figure("failed"));
    assert_eq!(failed, 1);
    assert_eq!(stored + 1 + done.figure("pending"), done.figure("listed"));
    assert!(stored < 2900, "{stored} were stored");
    std::fs::remove_file(bad).expect("a file");
    let done = get().run().expect(0);
    assert_eq!(done.figure("stored"), objects.len() as u64);
    // The second run fetched what was missing, and that only.
    assert_eq!(done.figure("requests"), objects.len() as u64 - stored);
}

#[test]
fn killed_in_the_middle_and_taken_up() {
    const CORPUS: Corpus = Corpus { count: 4000, size: 2000, seed: 8 };
    let server = windrow().serve(["--synthetic", "4000", "--size", "2000", "--seed", "8"]);
    let place = Place::new();
    let worker = place.file("worker.py", WORKER);
    let transform = format!("exec-worker=python3 {worker}");
    let get = || {
        let get = place.get(&server.url).args(["--format", "tar", "--shard-size", "500"]);
        get.args(["--transform", &transform, "--commit-interval", "100ms"])
    };
    let mut kills = 0;
    for _ in 0..3 {
        let mut run = get().start();
        let ledger = place.at("out/.windrow/ledger");
        let recorded = || {
            let files = std::fs::read_dir(&ledger).into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>()
        };
        let before = recorded();
        wait::until("something is recorded", || run.has_ended() || recorded() > before);
        kills += u32::from(!run.has_ended());
        run.signal(Signal::KILL);
        drop(run);
    }
    assert!(kills > 0, "no process was slow enough to be killed");
    let done = get().run().expect(0);
    let mut expected = Objects::new();
    for index in 0..CORPUS.count {
        let (mut name, mut body) = (Vec::new(), Vec::new());
        CORPUS.name_into(index, &mut name);
        CORPUS.body_into(index, &mut body);
        body.reverse();
        if !name.ends_with(b"7") {
            expected.insert(name, body);
        }
    }
    let sums = ["stored", "skipped", "failed"].map(|figure| done.figure(figure));
    let kept = expected.len() as u64;
    assert_eq!(sums, [kept, CORPUS.count - kept, 0]);
    assert_same(&stored(&done), &expected);
}

/// Turns bodies round, and drops those whose names end in a 7.
const WORKER: &str = r#"
import struct, sys
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
stdout.write(b"windrow-worker 1\n")
stdout.flush()
while head := stdin.read(24):
    ordinal, name, media, body = struct.unpack("<QIIQ", head)
    name, media, body = stdin.read(name), stdin.read(media), stdin.read(body)
    drop = name.endswith(b"7")
    result = b"" if drop else body[::-1]
    stdout.write(struct.pack("<IIQ", int(drop), 0, len(result)) + result)
    stdout.flush()
"#;

#[test]
fn what_cannot_be_is_told_before_anything_is_asked() {
    let place = Place::new();
    let refused = |args: &[&str], said: &str| {
        let done = place.get("http://127.0.0.1:1").args(args).run().expect(2);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    };
    refused(&["--transform", "resize=0"], "resize");
    refused(&["--transform", "sharpen"], "sharpen");
    refused(&["--transform", "verify=sha256:digest"], "SOURCE has no columns");
    assert_eq!(place.entries(), Vec::<String>::new());
}

#[test]
fn a_column_of_the_list_is_compared_with_what_was_unpacked() {
    let place = Place::new();
    std::fs::create_dir(place.at("in")).expect("a folder");
    let mut lines = "url,digest\n".to_owned();
    let server = windrow().serve_dir(&place.at("in"));
    let mut bodies = BTreeMap::new();
    for index in 0..50 {
        let body = format!("body {index}").repeat(20);
        let path = place.file(&format!("in/{index}.gz"), "");
        let plain = place.file("plain", &body);
        let call = format!("gzip -nc {plain} > {path} && sha256sum < {plain} | cut -c1-64");
        let digest = std::process::Command::new("sh").args(["-c", &call]).output().expect("sh");
        let digest = String::from_utf8(digest.stdout).expect("text");
        // The last one is another's.
        let digest = if index == 49 { "0".repeat(64) } else { digest.trim().to_owned() };
        lines += &format!("{}/get/{index}.gz,{digest}\n", server.url);
        bodies.insert(index, body);
    }
    let list = place.file("list.csv", lines);
    let get: Windrow = place.get(&list).args(["--transform", "gunzip", "--retry", "1"]);
    let done = get.args(["--transform", "verify=sha256:digest"]).run().expect(1);
    assert_eq!((done.figure("stored"), done.failed("checksum")), (49, 1));
    let found: Vec<_> = stored(&done).into_values().collect();
    assert_eq!(found.len(), 49);
    assert!(found.iter().all(|body| body.starts_with(b"body ")));
}
