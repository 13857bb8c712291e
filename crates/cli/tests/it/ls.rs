//! `windrow ls`: the names of what was stored, for people and for programs.

use crate::names::HOSTILE;
use crate::support::{Place, packs, windrow};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use windrow_model::percent;
use windrow_testkit::script::{Site, body_of};
use windrow_testkit::{Step, tree, wait};

fn ls<const N: usize>(dest: &Path, args: [&str; N]) -> Vec<u8> {
    let output = windrow().arg("ls").arg(dest).args(args).command().output().expect("windrow runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said, "");
    output.stdout
}

fn names() -> Vec<Vec<u8>> {
    // No name with a NUL, which `-0` could not tell apart.
    let odd =
        HOSTILE.iter().filter(|name| !name.contains('\0')).map(|name| name.as_bytes().to_vec());
    let mut names: Vec<_> = odd.chain([b"\xff\xfe".to_vec(), vec![b'x'; 300]]).collect();
    names.sort_unstable();
    names
}

/// What an escaped line stands for.
fn unescaped(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            (b'\\', [b'\\', behind @ ..]) => {
                out.push(b'\\');
                rest = behind;
            }
            (b'\\', [b'x', high, low, behind @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("digits");
                out.push(u8::from_str_radix(digits, 16).expect("digits"));
                rest = behind;
            }
            (b'\\', _) => panic!("a lone backslash: {line}"),
            (byte, _) => out.push(byte),
        }
    }
    out
}

#[test]
fn every_name_once_in_every_form() {
    let server = Site::new(names()).start();
    for format in ["tar", "files"] {
        let place = Place::new();
        let get = place.get(&server.url()).args(["--format", format, "--shard-size", "10"]);
        get.run().complete(names().len() as u64);
        let dest = place.at("out");
        let before = tree::outline(&dest, Path::new("-"));

        let lines = String::from_utf8(ls(&dest, [])).expect("UTF-8");
        assert!(!lines.chars().any(|c| c.is_control() && c != '\n'), "for terminals");
        let mut found: Vec<_> =
            lines.strip_suffix('\n').expect("an end").split('\n').map(unescaped).collect();
        found.sort_unstable();
        assert_eq!(found, names());

        let raw = ls(&dest, ["-0"]);
        let raw = raw.strip_suffix(b"\0").expect("an end");
        let mut found: Vec<_> = raw.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
        found.sort_unstable();
        assert_eq!(found, names());

        let json = String::from_utf8(ls(&dest, ["--json"])).expect("UTF-8");
        let mut found = Vec::new();
        for line in json.lines() {
            let object: Value = serde_json::from_str(line).expect("JSON");
            let name = match object["name_encoded"].as_str() {
                Some(encoded) => percent::decode(encoded.as_bytes()).expect("percent-encoded"),
                None => object["name"].as_str().expect("a name").as_bytes().to_vec(),
            };
            let body = body_of(&name);
            assert_eq!(object["bytes"], body.len());
            if format == "tar" {
                let pack = dest.join(object["pack"].as_str().expect("a pack"));
                let at = usize::try_from(object["offset"].as_u64().expect("an offset"));
                let at = at.expect("a small pack");
                let pack = std::fs::read(pack).expect("a pack");
                assert_eq!(pack[at..at + body.len()], body);
            }
            found.push(name);
        }
        found.sort_unstable();
        assert_eq!(found, names());
        assert!(tree::outline(&dest, Path::new("-")) == before, "ls changed something");
    }
}

#[test]
fn a_prefix_chooses() {
    let server = Site::new(["a/1", "a/2", "ab", "b/a", "a"]).start();
    for format in ["tar", "files"] {
        let place = Place::new();
        place.get(&server.url()).args(["--format", format]).run().complete(5);
        let lines = |prefix| {
            let lines = String::from_utf8(ls(&place.at("out"), [prefix])).expect("UTF-8");
            let mut lines: Vec<_> = lines.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(lines("a/"), ["a/1", "a/2"]);
        assert_eq!(lines("a"), ["a", "a/1", "a/2", "ab"]);
        assert_eq!(lines("x"), Vec::<String>::new());
        assert_eq!(ls(&place.at("out"), ["--prefix", "ab"]), b"ab\n");
    }
}

#[test]
fn a_run_under_way_and_a_killed_one_are_listed_as_far_as_they_are() {
    let site = Site::numbered(50);
    for format in ["tar", "files"] {
        let server = site.start_but(|_, name| (name == Some("n20")).then(|| vec![Step::Hang]));
        let place = Place::new();
        let running = place.get(&server.url()).args(["--format", format]).start();
        let listed = || {
            let ls = windrow().arg("ls").arg(place.at("out")).run();
            ls.stdout.lines().count()
        };
        wait::until("49 objects are listed", || listed() == 49);
        running.signal(Signal::KILL);
        drop(running.finish());
        assert_eq!(ls(&place.at("out"), []).iter().filter(|&&byte| byte == b'\n').count(), 49);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_listed() {
    let server = Site::numbered(40).start();
    let place = Place::new();
    let get = place.get(&server.url()).args(["--format", "tar", "--shard-size", "10"]);
    get.args(["--cores", "1"]).run().complete(40);
    let packs = packs(&place.at("out"));
    std::fs::remove_file(&packs[0]).expect("a pack");
    let mut bytes = std::fs::read(&packs[1]).expect("a pack");
    bytes[0] ^= 1;
    std::fs::write(&packs[1], bytes).expect("a pack");
    let done = windrow().arg("ls").arg(place.at("out")).run().expect(1);
    let done =
        done.says(["00000.tar: not there: 10 objects", "00001.tar: damaged at byte 0", "hint: "]);
    assert!(done.stdout.lines().count() >= 20, "{}", done.stdout);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let corpus = ["--synthetic", "30000", "--size", "1"];
    let server = windrow().serve(corpus);
    let place = Place::new();
    place.get(&server.url).args(["--format", "tar"]).run().complete(30_000);
    for args in [&["ls"][..], &["ls", "--json"]] {
        let mut command = windrow().args(args).arg(place.at("out")).command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("windrow runs");
        let mut out = BufReader::with_capacity(100, child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        drop(out);
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{said}");
        assert_eq!(said, "");
    }
}
