//! A disk that fills up: exit 4, and the summary says what is really there.
//!
//! A small file system of the test's own needs a mount namespace, which needs the right to have
//! one. Where that is missing, these tests say so and end.

use crate::support::{Place, all_right, packed, windrow};
use serde_json::Value;
use std::process::Command;
use windrow_model::Corpus;
use windrow_testkit::child::Process;
use windrow_testkit::{Finished, Tree, wait};

const CORPUS: Corpus = Corpus { count: 20_000, size: 1000, seed: 8 };

/// Runs windrow with its destination on a file system of 2 MiB, copies what is there then to
/// `copy`; then makes the file system larger and runs the same line again, which must end well and
/// leaves `again`. Ends as windrow ended the first time.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=2m,nr_inodes="$INODES" none "$DISK" || exit 77
"$@"
code=$?
cp -a "$DISK/out" "$COPY" || exit 78
cp "$SUMMARY" "$SUMMARY.first" || exit 79
[ "$INODES" = 0 ] || INODES=1000000
mount -o remount,size=1g,nr_inodes="$INODES" "$DISK" || exit 80
"$@" >&2 || exit 81
cp -a "$DISK/out" "$AGAIN" || exit 82
exit $code
"#;

/// `None` where there may be no mount namespace.
fn on_a_small_disk(
    corpus: &Corpus,
    place: &Place,
    inodes: &str,
    args: &[&str],
) -> Option<Finished> {
    let figures = [corpus.count, corpus.size, corpus.seed].map(|figure| figure.to_string());
    let [count, size, seed] = &figures;
    let server = windrow().serve(["--synthetic", count, "--size", size, "--seed", seed]);
    let disk = place.at("disk");
    std::fs::create_dir(&disk).expect("a folder to mount on");
    let get = windrow().get(&server.url, &disk.join("out")).args(["--cores", "2"]);
    let get = get.arg("--summary").arg(place.at("summary")).args(args).command();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(get.get_program()).args(get.get_args());
    command.env("DISK", &disk).env("COPY", place.at("copy")).env("INODES", inodes);
    command.env("AGAIN", place.at("again")).env("SUMMARY", place.at("summary"));
    let Ok(mut process) = Process::spawn(&mut command) else {
        eprintln!("not tested: there is no `unshare`");
        return None;
    };
    let status = process.wait(wait::LIMIT).expect("windrow ends");
    let stderr = process.stderr();
    if status.code() == Some(77) || stderr.contains("unshare failed") {
        eprintln!("not tested: no mount namespace: {stderr}");
        return None;
    }
    assert!(place.at("again").exists(), "the second run: {stderr}");
    let again = place.at("again");
    let again = match args.contains(&"tar") {
        true => packed(&again),
        false => Tree::read(&again).without(".windrow").objects(),
    };
    assert_eq!(all_right(corpus, &again), corpus.count, "after there was room: {stderr}");
    let summary = std::fs::read(place.at("summary.first"));
    let summary = summary.expect("the summary is written elsewhere");
    let summary: Value = serde_json::from_slice(&summary).expect("the summary is JSON");
    let done = Finished {
        code: status.code(),
        signal: None,
        stdout: process.stdout(),
        stderr,
        summary: Some(summary),
        dest: Some(place.at("copy")),
    };
    Some(done)
}

/// What has no final name takes no place on a disk that has none left.
#[track_caller]
fn nothing_unfinished(place: &Place) {
    let left = Tree::read(&place.at("copy/.windrow")).0;
    let left: Vec<_> = left.keys().filter(|path| path.starts_with("open")).collect();
    let (count, first) = (left.len(), left.first());
    assert_eq!(count, 0, "unfinished files are left, the first is {first:?}");
}

#[test]
fn files_on_a_full_disk() {
    let place = Place::new();
    let Some(done) = on_a_small_disk(&CORPUS, &place, "0", &[]) else { return };
    let done = done.expect(4).sum_holds().says(["No space left on device", "hint: "]);
    assert_eq!(done.summary()["state"], "error");
    let objects = done.tree().objects();
    assert_eq!(all_right(&CORPUS, &objects), done.figure("stored"), "{:#}", done.summary());
    nothing_unfinished(&place);
    assert!(done.figure("stored") > 100 && done.figure("pending") > 0, "{:#}", done.summary());
}

#[test]
fn files_without_inodes() {
    let place = Place::new();
    let Some(done) = on_a_small_disk(&CORPUS, &place, "200", &[]) else { return };
    let done = done.expect(4).sum_holds().says(["No space left on device", "hint: ", "inodes"]);
    let objects = done.tree().objects();
    assert_eq!(all_right(&CORPUS, &objects), done.figure("stored"), "{:#}", done.summary());
}

#[test]
fn packs_on_a_full_disk() {
    for shard in ["100", "10000"] {
        let place = Place::new();
        let args = ["--format", "tar", "--shard-size", shard];
        let Some(done) = on_a_small_disk(&CORPUS, &place, "0", &args) else { return };
        let done = done.expect(4).sum_holds().says(["No space left on device", "hint: "]);
        // Where there was no room for the end of a pack, the pack is not finished.
        let objects = all_right(&CORPUS, &packed(&place.at("copy")));
        let open = Tree::read(&place.at("copy/.windrow/open")).0.len();
        let stored = done.figure("stored");
        assert!(
            objects == stored || (objects < stored && open > 0),
            "{objects} in packs, {open} open, {stored} stored"
        );
        assert_eq!(done.figure("bytes"), stored * 1000);
    }
}

#[test]
fn a_body_that_does_not_fit() {
    // By way of a spool file, which takes the last of the disk.
    let corpus = Corpus { count: 3, size: 3_000_000, seed: 1 };
    for format in ["files", "tar"] {
        let place = Place::new();
        let args = ["--memory", "1MiB", "--format", format];
        let Some(done) = on_a_small_disk(&corpus, &place, "0", &args) else { return };
        let done = done.expect(4).sum_holds().says(["No space left on device", "hint: "]);
        let done = done.figures([("stored", 0), ("failed", 0), ("pending", 3)]);
        assert_eq!(done.tree().0.len(), 0);
        nothing_unfinished(&place);
    }
}
