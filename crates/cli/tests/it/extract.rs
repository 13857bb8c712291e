//! `windrow extract`: objects as files, whatever they were stored as.

use crate::cat::FORMATS;
use crate::names::HOSTILE;
use crate::support::{Place, assert_same, entries, windrow};
use windrow_testkit::script::{Site, body_of};
use windrow_testkit::{Finished, Tree};

fn extract<const N: usize>(place: &Place, args: [&str; N]) -> Finished {
    let out = place.at("deep/er/files");
    windrow().arg("extract").arg(place.at("out")).arg("-o").arg(out).args(args).run()
}

#[test]
fn what_get_writes_as_files_is_extracted_from_any_format() {
    let site = Site::new(HOSTILE);
    let server = site.start();
    for format in FORMATS {
        let place = Place::new();
        let outside: Tree = [("deep/x", "outside"), ("x", "outside")].into_iter().collect();
        outside.write(place.path());
        let get = place.get(&server.url()).args(["--format", format, "--shard-size", "10"]);
        get.run().complete(HOSTILE.len() as u64);
        extract(&place, []).expect(0).says(["42 objects written"]);
        assert_same(&Tree::read(&place.at("deep/er/files")).objects(), &site.objects());
        let now = Tree::read(place.path()).without("deep/er/files").without("out");
        assert_eq!(now, outside, "something was written beside the directory");
        // Once more changes nothing.
        extract(&place, []).expect(0).says(["0 objects written", "42 were there already"]);
        assert_same(&Tree::read(&place.at("deep/er/files")).objects(), &site.objects());
    }
}

#[test]
fn a_pattern_chooses() {
    let server = Site::new(["a/1.jpg", "a/2.png", "b.jpg", "c/d/e.jpg"]).start();
    for format in FORMATS {
        let place = Place::new();
        place.get(&server.url()).args(["--format", format]).run().complete(4);
        extract(&place, ["--match", "*/*.jpg"]).expect(0).says(["2 objects written"]);
        assert_eq!(entries(&place.at("deep/er/files")), ["a", "c"]);
        extract(&place, ["--match", "none"]).expect(0).says(["0 objects written"]);
        extract(&place, ["--match", "[a"]).expect(2).says(["--match"]);
    }
}

#[test]
fn files_that_are_there_stay_unless_told_otherwise() {
    let server = Site::new(["a/b", "c", "link"]).start();
    for format in FORMATS {
        let place = Place::new();
        place.get(&server.url()).args(["--format", format]).run().complete(3);
        let out = place.at("deep/er/files");
        std::fs::create_dir_all(out.join("a")).expect("a directory");
        std::fs::write(out.join("a/b"), "mine").expect("a file");
        std::fs::write(place.at("mine"), "mine").expect("a file");
        std::os::unix::fs::symlink(place.at("mine"), out.join("link")).expect("a link");
        let done = extract(&place, []).expect(1);
        done.says(["a/b: another file is there", "1 objects written", "hint: --overwrite"]);
        assert_eq!(std::fs::read(out.join("a/b")).expect("a file"), b"mine");
        extract(&place, ["--overwrite"])
            .expect(0)
            .says(["2 objects written", "; 1 were there already"]);
        for name in ["a/b", "c", "link"] {
            assert!(std::fs::read(out.join(name)).expect("a file") == body_of(name.as_bytes()));
        }
        assert_eq!(
            std::fs::read(place.at("mine")).expect("a file"),
            b"mine",
            "no link is followed"
        );
        assert_eq!(entries(&out), ["a", "c", "link"], "nothing temporary is left");
    }
}

#[test]
fn large_bodies_are_extracted() {
    let server = windrow().serve(["--synthetic", "3", "--size", "5000000"]);
    for format in FORMATS {
        let place = Place::new();
        place.get(&server.url).args(["--format", format]).run().complete(3);
        extract(&place, []).expect(0);
        let files = Tree::read(&place.at("deep/er/files")).objects();
        let corpus = windrow_model::Corpus { count: 3, size: 5_000_000, seed: 0 };
        assert_eq!(crate::support::all_right(&corpus, &files), 3);
        extract(&place, []).expect(0).says(["3 were there already"]);
    }
}
