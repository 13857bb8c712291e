//! kill -9 at random moments, again and again, and the same line to the end: a short form of what
//! `cargo xtask torture` does.

use crate::support::{Place, windrow};
use std::path::PathBuf;
use windrow_model::Corpus;
use windrow_testkit::torture::{Line, Random, kill_at, length_of};
use windrow_testkit::wait;

const CORPUS: Corpus = Corpus { count: 20_000, size: 100, seed: 33 };

/// Objects that may be fetched again for each kill: what is in flight and in hand, which does not
/// depend on how many objects there are. It is less than 1 % of 200,000.
const MOST_AGAIN: u64 = 2000;

/// Kills a run at so many moments before it may end, `rounds` times.
fn kill(args: &[&str], seed: u64, rounds: &[u64]) {
    let server =
        windrow().serve(["--synthetic", "20000", "--size", "100", "--seed", "33", "--stats"]);
    let line = Line {
        program: PathBuf::from(env!("CARGO_BIN_EXE_windrow")),
        corpus: CORPUS,
        url: server.url.clone(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
    };
    let place = Place::new();
    let length = length_of(&line, &place.at("whole"), wait::LIMIT).expect("it can be done");
    let mut random = Random(seed);
    let mut kills = 0;
    for (round, &count) in rounds.iter().enumerate() {
        let moments: Vec<_> = (0..count).map(|_| random.part_of(length / count as u32)).collect();
        let dest = place.at(&format!("round-{round}"));
        let killed = kill_at(&line, &dest, &server, &moments, wait::LIMIT, MOST_AGAIN);
        let killed = killed.unwrap_or_else(|why| {
            panic!("{args:?}, seed {seed}, round {round}, killed at {moments:?}: {why}")
        });
        kills += killed.kills;
    }
    assert!(kills > 0, "no process was slow enough to be killed");
}

#[test]
fn files() {
    kill(&["--format", "files"], 1, &[1, 2, 3]);
}

#[test]
fn packs() {
    kill(&["--format", "tar", "--shard-size", "3000"], 2, &[1, 2, 3]);
}

#[test]
fn lines() {
    kill(&["--format", "jsonl", "--shard-size", "3000"], 4, &[1, 2, 3]);
}

#[test]
fn lines_in_frames() {
    kill(&["--format", "jsonl.zst", "--shard-size", "3000"], 5, &[1, 2, 3]);
}

#[test]
fn tables() {
    kill(&["--format", "parquet"], 6, &[1, 2, 3]);
}

#[test]
fn archives() {
    kill(&["--format", "warc", "--shard-size", "3000"], 7, &[1, 2]);
}

#[test]
fn packs_pipelined() {
    let args = ["--format", "tar", "--shard-size", "3000", "--pipeline", "32"];
    kill(&args, 3, &[1, 1, 2, 2]);
}
