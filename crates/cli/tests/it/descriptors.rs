//! Few file descriptors: the run is slower, and nothing fails.

use crate::support::{Place, all_right, assert_same, stored, windrow};
use std::path::Path;
use windrow_model::Corpus;
use windrow_testkit::{Tree, Windrow};

/// `windrow get` that may have so many files open.
fn get(files: u32, source: &str, dest: &Path) -> Windrow {
    let limited = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
    let call = Windrow::new("sh").args(["-c", &limited, env!("CARGO_BIN_EXE_windrow")]);
    call.get(source, dest)
}

#[test]
fn sixty_four_open_files_are_enough() {
    let corpus = Corpus { count: 5000, size: 100, seed: 11 };
    let server = windrow().serve(["--synthetic", "5000", "--seed", "11", "--latency", "1ms"]);
    for format in ["files", "tar"] {
        for settings in [&[][..], &["--cores", "8", "-c", "500"], &["--pipeline", "16"]] {
            let place = Place::new();
            let get = get(64, &server.url, &place.at("out")).args(["--format", format]);
            let done = get.args(["--retry", "0"]).args(settings).run().complete(5000);
            assert_eq!(all_right(&corpus, &stored(&done)), 5000);
            done.figures([("retries", 0), ("failed", 0)]);
        }
    }
}

#[test]
fn many_folders_need_no_more() {
    let place = Place::new();
    let files = (0..3000).map(|number| {
        let path = format!("{}/{}/{number}", number % 97, number % 7);
        (path, format!("body of {number}").into_bytes())
    });
    let folder: Tree = files.collect();
    folder.write(&place.at("served"));
    let server = windrow().serve_dir(&place.at("served"));
    let done = get(64, &server.url, &place.at("out")).run().complete(3000);
    assert_same(&stored(&done), &folder.objects());
}

#[test]
fn large_bodies_need_no_more() {
    // Each goes by way of a file of its own.
    let corpus = Corpus { count: 60, size: 1 << 20, seed: 5 };
    let args = ["--synthetic", "60", "--size", "1MiB", "--seed", "5"];
    let server = windrow().serve(args);
    for format in ["files", "tar"] {
        let place = Place::new();
        let get = get(64, &server.url, &place.at("out")).args(["--format", format]);
        let done = get.args(["--memory", "16MiB"]).run().complete(60);
        assert_eq!(all_right(&corpus, &stored(&done)), 60);
    }
}

#[test]
fn connections_that_cannot_be_had_fail_nothing() {
    // Of the 64 that windrow counts with, 40 are taken: connections run out, now and then.
    let server = windrow().serve(["--synthetic", "3000", "--latency", "2ms"]);
    let taken = "ulimit -n 64; for ((i = 20; i < 60; i++)); do eval \"exec $i</dev/null\"; done; \
                 exec \"$0\" \"$@\"";
    let place = Place::new();
    let call = Windrow::new("bash").args(["-c", taken, env!("CARGO_BIN_EXE_windrow")]);
    let get = call.get(&server.url, &place.at("out")).args(["--format", "null", "-c", "500"]);
    get.args(["--retry", "0"]).run().complete(3000).figures([("retries", 0)]);
}

#[test]
fn too_few_are_told() {
    let server = windrow().serve(["--synthetic", "10"]);
    let place = Place::new();
    let done = get(30, &server.url, &place.at("out")).run().expect(4);
    done.says(["ulimit -n", "30 open files are too few"]);
}
