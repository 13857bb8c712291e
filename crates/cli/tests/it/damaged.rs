//! State that somebody damaged between two processes: said, and nothing made worse; or a torn
//! end, which is cut.

use crate::support::{Place, all_right, packs, stored, windrow};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use windrow_engine::inspect;
use windrow_model::Corpus;
use windrow_testkit::{Serve, Tree, Windrow, wait};

const CORPUS: Corpus = Corpus { count: 600, size: 100, seed: 5 };

const FORMATS: [&[&str]; 2] = [&["--format", "files"], &["--format", "tar", "--shard-size", "50"]];

/// The line that is run again and again.
fn get(place: &Place, server: &Serve, format: &[&str]) -> Windrow {
    let get = place.get(&server.url).args(format);
    get.args(["--cores", "1", "--commit-interval", "20ms"]).env("WINDROW_CONCURRENCY", "32")
}

/// A run that was killed after so many of its objects were recorded and committed.
fn killed(format: &[&str], recorded: u64) -> (Place, Serve) {
    let server = windrow().serve([
        "--synthetic",
        "600",
        "--seed",
        "5",
        "--page",
        "50",
        "--latency",
        "5ms",
        "--stats",
    ]);
    let place = Place::new();
    let running = get(&place, &server, format).env("WINDROW_CONCURRENCY", "2").start();
    wait::until("objects are recorded", || stored_in(&place.at("out")) >= recorded);
    running.signal(Signal::KILL);
    assert_eq!(running.finish().signal, Some(9));
    (place, server)
}

/// Objects that the ledger has.
fn stored_in(dest: &Path) -> u64 {
    inspect::status(dest).map_or(0, |status| status.stored)
}

/// All that a process could have changed.
fn all_of(place: &Place) -> Tree {
    Tree::read(&place.at("out")).without(".windrow/lock")
}

/// A copy of a destination, to be damaged.
fn copy(place: &Place) -> Place {
    let other = Place::new();
    Tree::read(&place.at("out")).write(&other.at("out"));
    std::fs::create_dir_all(other.at("out/.windrow/open")).expect("a folder");
    other
}

#[track_caller]
fn refused(place: &Place, server: &Serve, format: &[&str], says: &[&str]) {
    let before = all_of(place);
    let done = get(place, server, format).run();
    assert_eq!(done.code, Some(4), "{}", done.stderr);
    let done = done.says(says.iter().copied()).says(["hint: "]);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert_eq!(all_of(place), before, "something was changed");
}

#[track_caller]
fn completes(place: &Place, server: &Serve, format: &[&str], how: &str) {
    let done = get(place, server, format).run();
    assert_eq!(done.code, Some(0), "{how}: {}", done.stderr);
    let done = done.complete(CORPUS.count);
    assert_eq!(all_right(&CORPUS, &stored(&done)), CORPUS.count, "{how}");
    assert_eq!(stored_in(&place.at("out")), CORPUS.count, "{how}");
}

fn ledger_files() -> [PathBuf; 2] {
    ["out/.windrow/ledger/core-0000.wl", "out/.windrow/ledger/listing.wl"].map(PathBuf::from)
}

/// What stands in a file of the ledger, frame by frame: where each begins, and its type.
fn frames(bytes: &[u8]) -> Vec<(usize, u8)> {
    let mut frames = Vec::new();
    let mut at = 32;
    while let Some(head) = bytes.get(at..at + 5) {
        frames.push((at, head[4]));
        at += 9 + u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    }
    frames
}

#[test]
fn a_flipped_bit_is_found_or_cut_off_and_never_believed() {
    for format in FORMATS {
        let (place, server) = killed(format, 200);
        for file in ledger_files() {
            let whole = std::fs::read(place.at(file.to_str().expect("UTF-8"))).expect("a ledger");
            let name = file.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
            let found = frames(&whole);
            assert!(found.len() >= 4, "{name} has frames: {found:?}");
            // In the header, in the first frames, in the middle, and near the end.
            let middle = found[found.len() / 2].0;
            let last = found[found.len() - 1].0;
            let places = [0, 9, 13, 30, 32, 36, 40, middle, middle + 4, middle + 7, last, last + 4];
            for at in places.into_iter().chain([last + 6, whole.len() - 1]) {
                let damaged = copy(&place);
                let mut bytes = whole.clone();
                bytes[at] ^= 0x10;
                std::fs::write(damaged.at(file.to_str().expect("UTF-8")), &bytes).expect("written");
                // What later frames prove to have been durable is damage. Of a listing everything
                // that a core committed was synced, too.
                if at < middle && !name.starts_with("listing") || at < 60 {
                    refused(&damaged, &server, format, &[&format!(".windrow/ledger/{name}")]);
                } else {
                    let before = all_of(&damaged);
                    let done = get(&damaged, &server, format).run();
                    if done.code == Some(4) {
                        let done = done.says([".windrow/ledger", "hint: "]);
                        assert_eq!(all_of(&damaged), before, "byte {at}: {}", done.stderr);
                    } else {
                        let done = done.complete(CORPUS.count);
                        let objects = stored(&done);
                        assert_eq!(all_right(&CORPUS, &objects), CORPUS.count, "byte {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_torn_end_is_cut_and_the_run_goes_on() {
    for format in FORMATS {
        let (place, server) = killed(format, 150);
        for file in ledger_files() {
            let path = file.to_str().expect("UTF-8");
            let whole = std::fs::read(place.at(path)).expect("a ledger");
            let is_core = path.contains("core");
            // Whatever stands behind the last frame: rubbish, zeros, half of a frame.
            let half = &whole[whole.len() - 7..];
            for more in [&b"\x07"[..], &[0; 4096], &[0xFF; 300], half, &whole[32..60]] {
                let torn = copy(&place);
                std::fs::write(torn.at(path), [&whole, more].concat()).expect("written");
                completes(&torn, &server, format, &format!("{} bytes more in {path}", more.len()));
            }
            // The last commit is missing in part: what it stands for is still in the cache.
            if is_core {
                for less in [1, 3, 8] {
                    let torn = copy(&place);
                    std::fs::write(torn.at(path), &whole[..whole.len() - less]).expect("written");
                    completes(&torn, &server, format, &format!("{less} bytes less in {path}"));
                }
            }
        }
    }
}

/// The checksum of headers and frames, bit by bit: CRC-32C.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0x82F6_3B78 * (sum & 1)))
    })
}

#[test]
fn what_a_newer_windrow_wrote_is_left_alone() {
    for format in FORMATS {
        let (place, server) = killed(format, 100);
        for file in ledger_files() {
            let newer = copy(&place);
            let path = newer.at(file.to_str().expect("UTF-8"));
            let mut bytes = std::fs::read(&path).expect("a ledger");
            assert_eq!(
                (bytes[8], crc32c(&bytes[..28]).to_le_bytes()),
                (1, [bytes[28], bytes[29], bytes[30], bytes[31],])
            );
            bytes[8] = 2;
            let sum = crc32c(&bytes[..28]).to_le_bytes();
            bytes[28..32].copy_from_slice(&sum);
            std::fs::write(&path, &bytes).expect("written");
            let name = file.file_name().expect("a name").to_str().expect("UTF-8");
            let says = [name, "version 2", "this windrow has 1", "began this run"];
            refused(&newer, &server, format, &says);
        }
        let newer = copy(&place);
        let path = newer.at("out/.windrow/run.json");
        let text = std::fs::read_to_string(&path).expect("run.json");
        let text = text.replace("\"version\": 2", "\"version\": 3");
        std::fs::write(&path, text).expect("written");
        refused(&newer, &server, format, &["run.json", "has version 3"]);
        std::fs::write(&path, "{ \"version\"").expect("written");
        refused(&newer, &server, format, &["run.json", "cannot be understood"]);
    }
}

#[test]
fn the_ledger_of_another_run_is_not_taken() {
    let format = FORMATS[1];
    let ((place, server), (other, _server)) = (killed(format, 100), killed(format, 100));
    for file in ledger_files() {
        let mixed = copy(&place);
        let path = file.to_str().expect("UTF-8");
        std::fs::copy(other.at(path), mixed.at(path)).expect("copied");
        let name = file.file_name().expect("a name").to_str().expect("UTF-8");
        refused(&mixed, &server, format, &[name, "belongs to another run"]);
    }
}

#[test]
fn an_open_pack_that_somebody_touched() {
    let format = FORMATS[1];
    let (place, server) = killed(format, 220);
    let open = |place: &Place| {
        let packs = packs(&place.at("out/.windrow/open"));
        let name = packs.last().expect("an open pack").file_name().expect("a name").to_owned();
        (place.at("out/.windrow/open").join(&name), name.to_string_lossy().into_owned())
    };
    let requests = || server.stats().expect("it counts")["objects"].as_u64();
    let before = requests();

    let removed = copy(&place);
    let (path, name) = open(&removed);
    std::fs::remove_file(&path).expect("removed");
    let stays_told = |place: &Place, says: &[&str]| {
        for _ in 0..2 {
            let done = get(place, &server, format).run().expect(4);
            done.says([name.as_str(), "--fresh", "hint: "]).says(says.iter().copied());
        }
    };
    stays_told(&removed, &["is gone"]);

    let shortened = copy(&place);
    let (path, _) = open(&shortened);
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(700).expect("shortened");
    stays_told(&shortened, &["shorter than what is recorded"]);
    assert_eq!(requests(), before, "nothing is asked for before that is seen");

    // Longer is what a crash leaves.
    let longer = copy(&place);
    let (path, _) = open(&longer);
    let mut bytes = std::fs::read(&path).expect("read");
    bytes.extend_from_slice(&[7; 5000]);
    std::fs::write(&path, bytes).expect("written");
    completes(&longer, &server, format, "a longer pack");

    for place in [&removed, &shortened] {
        let done = get(place, &server, format).arg("--fresh").run().complete(CORPUS.count);
        assert_eq!(all_right(&CORPUS, &stored(&done)), CORPUS.count);
    }
}

#[test]
fn a_pack_that_its_owner_took_away_stays_away() {
    // A finished pack belongs to the user: what is done with it is no loss.
    let format = FORMATS[1];
    let (place, server) = killed(format, 220);
    let finished = packs(&place.at("out"));
    let first = finished.first().expect("a finished pack");
    std::fs::rename(first, place.at("taken.tar")).expect("moved");
    let done = get(&place, &server, format).run().complete(CORPUS.count);
    assert_eq!(all_right(&CORPUS, &stored(&done)), CORPUS.count - 50);
}

#[test]
fn names_that_a_killed_process_left_are_in_nobodys_way() {
    // Where files cannot do without a name before they have theirs, a kill leaves many; they
    // are numbered from 0 on in every process.
    for format in FORMATS {
        let (place, server) = killed(format, 100);
        for number in 0..50 {
            let path = place.at("out/.windrow/open").join(format!("file-{number}"));
            std::fs::write(path, "half of it").expect("written");
        }
        completes(&place, &server, format, "names of unfinished files");
        let left = crate::support::entries(&place.at("out/.windrow/open"));
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn a_summary_that_cannot_be_written_is_no_success() {
    let server = windrow().serve(["--synthetic", "600", "--seed", "5"]);
    for format in FORMATS {
        let place = Place::new();
        let folder = place.at("out/.windrow/summary.json");
        std::fs::create_dir_all(&folder).expect("a folder where the file should be");
        let done = place.get(&server.url).args(format).dest(&place.at("elsewhere")).run();
        done.expect(4).says(["summary.json", "cannot write"]);
        std::fs::remove_dir(&folder).expect("removed");
        completes(&place, &server, format, "with the summary");
    }
}
