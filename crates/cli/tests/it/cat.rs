//! `windrow cat`: one object out of a destination, byte for byte.

use crate::names::HOSTILE;
use crate::support::{Place, packs, windrow};
use rustix::process::Signal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use windrow_testkit::script::{Site, body_of};
use windrow_testkit::{Step, wait};

/// Formats that can be read back.
pub(crate) const FORMATS: [&str; 6] = ["tar", "files", "parquet", "jsonl", "jsonl.zst", "warc"];

fn cat(dest: &Path, name: &[u8]) -> Output {
    let mut command = windrow().arg("cat").arg(dest).arg("--").command();
    command.arg(std::ffi::OsStr::from_bytes(name)).output().expect("windrow runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names that a command line can say.
fn names() -> Vec<Vec<u8>> {
    let odd =
        HOSTILE.iter().filter(|name| !name.contains('\0')).map(|name| name.as_bytes().to_vec());
    odd.chain([b"\xff\xfe".to_vec(), vec![b'x'; 300]]).collect()
}

#[test]
fn every_object_is_had_by_its_name() {
    let server = Site::new(names()).start();
    for format in FORMATS {
        let place = Place::new();
        let get = place.get(&server.url()).args(["--format", format, "--shard-size", "10"]);
        get.run().complete(names().len() as u64);
        let dest = place.at("out");
        for (count, name) in names().iter().enumerate() {
            let output = cat(&dest, name);
            assert_eq!(output.status.code(), Some(0), "{format} {name:?}: {}", said(&output));
            assert!(output.stdout == body_of(name), "{format}: the body of {name:?}");
            // An index is made at most once.
            assert!(count == 0 || said(&output).is_empty(), "{format}: {}", said(&output));
        }
        for name in ["no such", "n", "clash/", "../out/.windrow/run.json", "/x"] {
            let output = cat(&dest, name.as_bytes());
            assert_eq!(output.status.code(), Some(1), "{format} {name}");
            assert!(output.stdout.is_empty());
            assert!(
                said(&output).contains(&format!("{name}: no such object")),
                "{}",
                said(&output)
            );
        }
        windrow().arg("verify").arg(&dest).run().expect(0);
        let both =
            windrow().arg("cat").arg(&dest).args(["other", "missing", "clash"]).run().expect(1);
        let bodies = [body_of(b"other"), body_of(b"clash")].concat();
        assert_eq!(both.stdout.as_bytes(), bodies);
    }
}

#[test]
fn a_lost_or_damaged_index_costs_time_only() {
    let server = Site::numbered(40).start();
    let place = Place::new();
    let get = place
        .get(&server.url())
        .args(["--format", "tar", "--shard-size", "10"])
        .args(["--cores", "1"]);
    get.run().complete(40);
    let dest = place.at("out");
    let right = || {
        for name in ["n0", "n39"] {
            let output = cat(&dest, name.as_bytes());
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
            assert!(output.stdout == body_of(name.as_bytes()));
        }
        assert_eq!(cat(&dest, b"n40").status.code(), Some(1));
    };
    right();
    let index = dest.join(".windrow/index");
    let all = index.join(&crate::support::entries(&index)[0]);
    let whole = std::fs::read(&all).expect("an index");
    for at in (0..whole.len()).step_by(29) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&all, &bytes).expect("an index");
        right();
        std::fs::write(&all, &whole[..at]).expect("an index");
        right();
    }
    std::fs::remove_dir_all(dest.join(".windrow/index")).expect("an index");
    right();
    let all = std::fs::read(index.join("all")).expect("an index");
    assert!(all == whole, "the same packs, the same index");
}

#[test]
fn a_run_that_goes_on_is_found_in_as_it_grows() {
    let site = Site::numbered(50);
    // A table is none before it is whole.
    for format in FORMATS.into_iter().filter(|&format| format != "parquet") {
        let open = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&open);
        let server = site.start_but(move |_, name| {
            let hangs = name == Some("n20") && !opened.load(Ordering::Relaxed);
            hangs.then(|| vec![Step::Hang])
        });
        let place = Place::new();
        let get = || place.get(&server.url()).args(["--format", format, "--shard-size", "20"]);
        let running = get().start();
        let dest = place.at("out");
        wait::until("49 objects are listed", || {
            windrow().arg("ls").arg(&dest).run().stdout.lines().count() == 49
        });
        let has = |name: &str| cat(&dest, name.as_bytes()).stdout == body_of(name.as_bytes());
        // A process is at work, then none, and nothing is whole; then everything is.
        assert!(has("n7") && has("n49") && cat(&dest, b"n20").status.code() == Some(1));
        running.signal(Signal::KILL);
        drop(running.finish());
        assert!(has("n7") && has("n49") && cat(&dest, b"n20").status.code() == Some(1));
        open.store(true, Ordering::Relaxed);
        get().run().complete(50);
        for name in (0..50).map(|number| format!("n{number}")) {
            assert!(has(&name), "{format}: {name}");
        }
        let said = said(&cat(&dest, b"n20"));
        assert!(said.is_empty(), "{format}: everything is in the index: {said}");
    }
}

#[test]
fn damage_of_the_object_is_told() {
    let server = Site::numbered(10).start();
    let place = Place::new();
    place.get(&server.url()).args(["--format", "tar"]).run().complete(10);
    let dest = place.at("out");
    assert_eq!(cat(&dest, b"n3").status.code(), Some(0));
    let pack = &packs(&dest)[0];
    let mut bytes = std::fs::read(pack).expect("a pack");
    let at = bytes.windows(3).position(|part| part == b"n3\0").expect("its header");
    bytes[at] ^= 1;
    std::fs::write(pack, &bytes).expect("a pack");
    let output = cat(&dest, b"n3");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(output.stdout.is_empty());
    std::fs::remove_file(pack).expect("a pack");
    assert_eq!(cat(&dest, b"n4").status.code(), Some(1));
}
