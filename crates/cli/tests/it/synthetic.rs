//! `windrow get` from `windrow serve --synthetic`: every count, every format, every setting.

use crate::support::{Place, all_right, pack_sizes, stored, windrow};
use windrow_model::Corpus;
use windrow_testkit::windrow::Serve;

/// Nothing, one, and what lies around a full page.
const COUNTS: [u64; 6] = [0, 1, 999, 1000, 1001, 2500];

fn serve(corpus: &Corpus) -> Serve {
    let figures = [corpus.count, corpus.size, corpus.seed].map(|figure| figure.to_string());
    let [count, size, seed] = &figures;
    windrow().serve(["--synthetic", count, "--size", size, "--seed", seed, "--page", "1000"])
}

fn every_count(format: &str, check: impl Fn(&Corpus, &windrow_testkit::Finished, &Place)) {
    for count in COUNTS {
        let corpus = Corpus { count, size: 100, seed: 17 };
        let server = serve(&corpus);
        let place = Place::new();
        let done = place.get(&server.url).args(["--format", format]).run().complete(count);
        let pages = count.div_ceil(1000).max(1);
        let figures = [("bytes", count * 100), ("retries", 0), ("pages", pages)];
        let done = done.figures(figures);
        assert_eq!(done.summary()["format"], format);
        assert_eq!(place.entries(), ["out"]);
        check(&corpus, &done, &place);
    }
}

#[test]
fn files_are_right_for_every_count() {
    every_count("files", |corpus, done, _| {
        assert_eq!(all_right(corpus, &stored(done)), corpus.count);
    });
}

#[test]
fn packs_are_right_for_every_count() {
    every_count("tar", |corpus, done, place| {
        assert_eq!(all_right(corpus, &stored(done)), corpus.count);
        assert!(pack_sizes(&place.at("out")).iter().all(|&size| size > 0), "an empty pack");
    });
}

#[test]
fn null_leaves_only_the_state() {
    every_count("null", |_, done, _| assert_eq!(done.tree().0.len(), 0));
}

#[test]
fn every_setting_gives_the_same_objects() {
    let corpus = Corpus { count: 2500, size: 100, seed: 1 };
    let server = serve(&corpus);
    for cores in ["1", "2", "5"] {
        for pipeline in ["1", "7", "64"] {
            for concurrency in ["3", "auto"] {
                let place = Place::new();
                let get = place.get(&server.url).args(["--format", "tar", "--cores", cores]);
                let get = get.args(["--pipeline", pipeline, "-c", concurrency]);
                let done = get.run().complete(corpus.count);
                assert_eq!(all_right(&corpus, &stored(&done)), corpus.count);
                let most: u64 = if concurrency == "auto" { 64 * 5 * 4 * 4 } else { 3 };
                assert!(done.figure("concurrency") <= most, "{:#}", done.summary());
            }
        }
    }
}

#[test]
fn bodies_of_every_size_arrive_whole() {
    // Nothing; less and more than a read brings; more than memory is given to one body.
    for (size, count) in [(0, 50), (1, 50), (16_383, 50), (300_000, 20), (3_000_001, 3)] {
        let corpus = Corpus { count, size, seed: 5 };
        let server = serve(&corpus);
        for format in ["files", "tar"] {
            for pipeline in ["1", "16"] {
                let place = Place::new();
                let get = place.get(&server.url).args(["--format", format, "--memory", "1MiB"]);
                let done = get.args(["--pipeline", pipeline]).run().complete(count);
                let done = done.figures([("bytes", size * count)]);
                assert_eq!(all_right(&corpus, &stored(&done)), count);
                assert_eq!(place.entries(), ["out"]);
            }
        }
    }
}

#[test]
fn a_full_pack_is_followed_by_another() {
    let corpus = Corpus { count: 1000, size: 100, seed: 2 };
    let server = serve(&corpus);
    let place = Place::new();
    let get = place.get(&server.url).args(["--format", "tar", "--shard-size", "100"]);
    let done = get.args(["--cores", "1"]).run().complete(1000);
    assert_eq!(all_right(&corpus, &stored(&done)), 1000);
    assert_eq!(pack_sizes(&place.at("out")), [100; 10]);

    let place = Place::new();
    let get = place.get(&server.url).args(["--format", "tar", "--shard-size", "64KiB"]);
    let done = get.run().complete(1000);
    assert_eq!(all_right(&corpus, &stored(&done)), 1000);
    assert!(pack_sizes(&place.at("out")).len() > 10, "1,024 bytes for each object");
}
