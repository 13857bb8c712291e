//! `windrow repack`: every form from every other, killed and taken up.

use crate::cat::FORMATS;
use crate::directory::{ENCODED, PLAIN, odd_tree};
use crate::support::{Objects, Place, assert_same, entries, windrow};
use std::path::{Path, PathBuf};
use std::time::Duration;
use windrow_model::Corpus;
use windrow_testkit::torture::{Random, judge};
use windrow_testkit::{Tree, Windrow};

fn repack(dest: &Path, new: &Path, format: &str) -> Windrow {
    windrow().arg("repack").arg(dest).arg("-o").arg(new).args(["--format", format])
}

fn verified(dest: &Path) {
    windrow().arg("verify").arg(dest).run().expect(0);
}

/// What a destination holds, by `extract`.
fn held(dest: &Path, place: &Place) -> Objects {
    let files = place.at("extracted");
    windrow().arg("extract").arg(dest).arg("-o").arg(&files).run().expect(0);
    let held = Tree::read(&files).objects();
    std::fs::remove_dir_all(files).expect("a directory");
    held
}

#[test]
fn every_form_becomes_every_other() {
    let place = Place::new();
    let tree = odd_tree(PLAIN.into_iter().chain(ENCODED));
    tree.write(&place.at("tree"));
    let server = windrow().serve_dir(&place.at("tree"));
    let count = tree.0.len() as u64;
    let mut whole = None;
    for from in FORMATS {
        let dest = place.at(&format!("of-{from}"));
        let get = windrow().get(&server.url, &dest).args(["--format", from, "--shard-size", "7"]);
        get.run().complete(count);
        for to in FORMATS {
            let new = place.at(&format!("{from}-{to}"));
            let done = repack(&dest, &new, to).args(["--shard-size", "9"]).run().expect(0);
            done.says([format!("{count} objects stored").as_str()]);
            verified(&new);
            let held = held(&new, &place);
            assert_same(&held, whole.get_or_insert_with(|| held.clone()));
            // It is there already.
            repack(&dest, &new, to).run().expect(0);
        }
    }
    assert_eq!(whole.map_or(0, |whole| whole.len() as u64), count);
}

#[test]
fn what_is_known_of_answers_goes_along() {
    let place = Place::new();
    let server = windrow().serve(["--synthetic", "20", "--size", "50"]);
    let get = place.get(&server.url).args(["--format", "warc"]);
    get.run().complete(20);
    repack(&place.at("out"), &place.at("lines"), "jsonl").run().expect(0);
    let pack = std::fs::read_to_string(place.at("lines/00000.jsonl")).expect("lines");
    for line in pack.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(row["status"], 200);
        let url = row["url"].as_str().expect("a URL");
        assert!(url.starts_with(&server.url) && url.ends_with(row["name"].as_str().unwrap_or("?")));
    }
    // And by shards of their names.
    let shards = ["--shards", "3", "--columns", "name,body"];
    repack(&place.at("out"), &place.at("shards"), "jsonl").args(shards).run().expect(0);
    let packs = entries(&place.at("shards")).into_iter().filter(|name| name.ends_with(".jsonl"));
    assert_eq!(packs.collect::<Vec<_>>(), ["00000.jsonl", "00001.jsonl", "00002.jsonl"]);
    repack(&place.at("out"), &place.at("some"), "files").args(["--match", "*1-*"]).run().expect(0);
    assert_eq!(entries(&place.at("some")).len(), 1 + 2, "o…01 and o…11");
}

#[test]
fn killed_and_taken_up() {
    const CORPUS: Corpus = Corpus { count: 20_000, size: 100, seed: 35 };
    let server = windrow().serve(["--synthetic", "20000", "--size", "100", "--seed", "35"]);
    let place = Place::new();
    let dest = place.at("out");
    let get = windrow().get(&server.url, &dest).args(["--format", "tar", "--pipeline", "32"]);
    get.run().complete(CORPUS.count);
    let mut kills = 0;
    for (format, more) in [
        ("files", &[][..]),
        ("tar", &["--shard-size", "3000"]),
        ("jsonl.zst", &["--shards", "5", "--memory", "64MiB"]),
        ("parquet", &[]),
    ] {
        let began = std::time::Instant::now();
        repack(&dest, &place.at("whole"), format).args(more).run().expect(0);
        let length = began.elapsed();
        let mut random = Random(format.len() as u64);
        for round in 0..2 {
            let new = place.at(&format!("{format}-{round}"));
            let mut moments: Vec<Duration> = Vec::new();
            for _ in 0..3 {
                moments.push(random.part_of(length / 2));
                let run = repack(&dest, &new, format).args(more).start();
                kills += u32::from(run.finish_within(moments[moments.len() - 1]).is_none());
            }
            repack(&dest, &new, format).args(more).run().expect(0);
            let verdict = judge(&new, &CORPUS);
            assert!(verdict.is_clean(&CORPUS), "{format}, killed at {moments:?}: {verdict:?}");
            verified(&new);
        }
        std::fs::remove_dir_all(place.at("whole")).expect("a directory");
    }
    assert!(kills > 0, "no process was slow enough to be killed");
}

#[test]
fn what_cannot_be_is_said() {
    let place = Place::new();
    let server = windrow().serve(["--synthetic", "40", "--size", "50"]);
    place.get(&server.url).args(["--format", "tar", "--shard-size", "20"]).run().complete(40);
    let dest = place.at("out");
    repack(&dest, &dest, "jsonl").run().expect(2).says(["is the directory that is read"]);
    repack(&dest, &place.at("new"), "null").run().expect(2);
    repack(&place.at("none"), &place.at("new"), "tar").run().expect(2);
    let new: PathBuf = place.at("new");
    repack(&dest, &new, "jsonl").run().expect(0);
    repack(&dest, &new, "parquet").run().expect(2).says(["its format is jsonl"]);
    repack(&dest, &new, "parquet").arg("--fresh").run().expect(0);
    assert!(!entries(&new).contains(&"00000.jsonl".to_owned()));
    // What is damaged is left out, and told.
    let pack = dest.join("00001.tar");
    let mut bytes = std::fs::read(&pack).expect("a pack");
    bytes.truncate(5000);
    std::fs::write(&pack, bytes).expect("a pack");
    let damaged = repack(&dest, &place.at("rest"), "jsonl").run().expect(1);
    damaged.says(["00001.tar", "could not be read"]);
    verified(&place.at("rest"));
}
