//! `get --shards`: the judge of where an object belongs is Python's mmh3.

use crate::support::{Place, entries, tool, windrow};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use windrow_model::Corpus;
use windrow_testkit::torture::{Line, Random, kill_at, length_of};
use windrow_testkit::{Tree, wait};

/// Prints pack and name of each line whose pack is not the one that mmh3 says, then their number.
const JUDGE: &str = r#"
import base64, json, mmh3, os, subprocess, sys
shards, by, objects = int(sys.argv[1]), sys.argv[2], 0
for pack in sys.argv[3:]:
    number = int(os.path.basename(pack).split(".")[0])
    data = open(pack, "rb").read()
    if pack.endswith(".zst"):
        data = subprocess.run(["zstd", "-dc"], input=data, check=True, stdout=subprocess.PIPE).stdout
    for line in data.splitlines():
        row = json.loads(line)
        body = base64.b64decode(row["body_base64"]) if "body_base64" in row else row["body"].encode()
        key = row["name"].encode() if by == "name" else body if by == "body" else json.loads(body)[by]
        objects += 1
        if mmh3.hash(key, signed=False) % shards != number % shards:
            print(pack, row["name"], key)
print(objects)
"#;

fn judge(dest: &Path, shards: u32, by: &str) -> u64 {
    let packs = entries(dest).into_iter().filter(|name| name.contains(".jsonl"));
    let packs: Vec<_> = packs.map(|name| dest.join(name)).collect();
    let mut python = Command::new("python3");
    let output = tool(python.args(["-c", JUDGE, &shards.to_string(), by]).args(packs));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.trim().parse().unwrap_or_else(|_| panic!("not where they belong: {said:.999}"))
}

fn verified(dest: &Path) {
    windrow().arg("verify").arg(dest).run().expect(0);
}

/// Objects with names and bodies of all kinds.
fn tree() -> Tree {
    let body = |nth: u32| match nth % 3 {
        0 => format!("{{\"id\": \"grüße {nth}\", \"n\": {nth}}}").into_bytes(),
        1 => format!("{{\"n\": [1], \"id\": \"\\u4e16{nth}\"}}").into_bytes(),
        _ => format!("{{\"id\": \"{}\"}}", "long ".repeat(nth as usize)).into_bytes(),
    };
    let name = |nth| format!("dir {}/ä{nth}.json", nth % 7).into();
    Tree((0..600).map(|nth| (name(nth), body(nth))).collect::<BTreeMap<_, _>>())
}

#[test]
fn objects_lie_where_mmh3_says() {
    let place = Place::new();
    let tree = tree();
    tree.write(&place.at("tree"));
    let server = windrow().serve_dir(&place.at("tree"));
    for (by, key, format, more) in [
        ("name", "name", "jsonl", &["--cores", "1"][..]),
        ("body", "body", "jsonl.zst", &["--cores", "2", "--memory", "64MiB"]),
        ("json:id", "id", "jsonl", &["--cores", "3", "--shard-size", "20"]),
    ] {
        let dest = place.at(&format!("out-{key}"));
        let get = windrow().get(&server.url, &dest).args(["--format", format, "--shards", "7"]);
        get.args(["--shard-by", by, "-c", "8"]).args(more).run().complete(600);
        assert_eq!(judge(&dest, 7, key), 600);
        verified(&dest);
        let packs = entries(&dest).into_iter().filter(|name| name.contains(".jsonl")).count();
        match more.contains(&"--shard-size") {
            false => assert_eq!(packs, 7),
            true => assert!(packs > 28, "{packs}"),
        }
        let name = "dir 3/ä500.json";
        let cat = windrow().arg("cat").arg(&dest).arg(name).command().output().expect("it runs");
        assert_eq!(cat.stdout, tree.0[Path::new(name)]);
    }
}

#[test]
fn two_hundred_thousand_names_lie_where_mmh3_says() {
    let place = Place::new();
    let server = windrow().serve(["--synthetic", "200000", "--size", "10"]);
    let get = windrow().get(&server.url, &place.at("out")).args(["--format", "jsonl"]);
    get.args(["--shards", "100", "--pipeline", "32"]).run().complete(200_000);
    assert_eq!(judge(&place.at("out"), 100, "name"), 200_000);
}

#[test]
fn what_has_no_key_fails_and_is_told() {
    let place = Place::new();
    for (name, body) in [("a", "{\"id\": 1}"), ("b", "{}"), ("c", "no JSON"), ("d", "{\"id\": 2}")]
    {
        fs::create_dir_all(place.at("tree")).expect("a folder");
        place.file(&format!("tree/{name}"), body);
    }
    let server = windrow().serve_dir(&place.at("tree"));
    let get = || place.get(&server.url).args(["--format", "jsonl", "--shards", "3"]);
    get().args(["--shard-by", "json:id"]).run().expect(1).says(["2 failed"]);
    let failures = fs::read_to_string(place.at("out/.windrow/failures.jsonl")).expect("lines");
    assert_eq!(failures.matches("\"class\":\"transform\"").count(), 2, "{failures}");
    // Another division is another run.
    get().args(["--shards", "4", "--shard-by", "json:id"]).run().expect(2);
    get().run().expect(2).says(["3 by json:id"]);
}

#[test]
fn what_cannot_be_is_said() {
    let place = Place::new();
    let get = || place.get("http://127.0.0.1:9");
    get().args(["--shards", "5"]).run().expect(2).says(["no packs"]);
    get().args(["--shards", "0", "--format", "tar"]).run().expect(2);
    get().args(["--shard-by", "name", "--format", "tar"]).run().expect(2).says(["--shards"]);
    get().args(["--shards", "5", "--shard-by", "id", "--format", "tar"]).run().expect(2);
    let large = ["--shards", "10000", "--format", "jsonl.zst"];
    get().args(large).run().expect(2).says(["--memory", "at most"]);
    assert!(!place.at("out").exists());
}

#[test]
fn killed_and_taken_up() {
    const CORPUS: Corpus = Corpus { count: 20_000, size: 100, seed: 34 };
    let server =
        windrow().serve(["--synthetic", "20000", "--size", "100", "--seed", "34", "--stats"]);
    let place = Place::new();
    for (format, seed) in [("jsonl", 1), ("tar", 2), ("jsonl.zst", 3), ("parquet", 4)] {
        let args = ["--format", format, "--shards", "10", "--cores", "2"];
        let line = Line {
            program: env!("CARGO_BIN_EXE_windrow").into(),
            corpus: CORPUS,
            url: server.url.clone(),
            args: args.map(str::to_owned).to_vec(),
        };
        let length = length_of(&line, &place.at(&format!("{format}-whole")), wait::LIMIT);
        let length = length.expect("it can be done");
        let mut random = Random(seed);
        for round in 0..2 {
            let moments = [random.part_of(length / 2), random.part_of(length / 2)];
            let dest = place.at(&format!("{format}-{round}"));
            kill_at(&line, &dest, &server, &moments, wait::LIMIT, 2000)
                .unwrap_or_else(|why| panic!("{format}, killed at {moments:?}: {why}"));
            if format.starts_with("jsonl") {
                assert_eq!(judge(&dest, 10, "name"), 20_000);
            }
        }
    }
}
