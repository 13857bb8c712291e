//! Packs are read by every tar that people have, and the same run gives the same bytes.

use crate::directory::{ENCODED, PLAIN, odd_tree};
use crate::support::{Objects, Place, assert_same, packed, packs, tool, windrow};
use std::path::{Path, PathBuf};
use std::process::Command;
use windrow_testkit::script::Site;
use windrow_testkit::{Tree, windrow::Serve};

/// Unpacks with Python's tarfile, member by member.
const PYTHON: &str = r#"
import os, sys, tarfile
folder = sys.argv[1]
for pack in sys.argv[2:]:
    with tarfile.open(pack) as tar:
        for member in tar:
            assert member.isreg(), member
            path = os.path.join(folder, member.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as out:
                out.write(tar.extractfile(member).read())
"#;

/// What the three tools make of the packs of a destination.
fn unpacked(dest: &Path, place: &Place) -> Vec<(&'static str, Tree)> {
    let packs = packs(dest);
    let mut trees = Vec::new();
    for name in ["tar", "bsdtar", "python3"] {
        let folder = place.at(name);
        std::fs::create_dir(&folder).expect("a folder to unpack into");
        if name == "python3" {
            tool(Command::new(name).args(["-c", PYTHON]).arg(&folder).args(&packs));
        } else {
            for pack in &packs {
                tool(Command::new(name).arg("-xf").arg(pack).arg("-C").arg(&folder));
            }
        }
        trees.push((name, Tree::read(&folder)));
    }
    trees
}

/// How many members GNU tar and bsdtar list.
fn listed(packs: &[PathBuf]) -> [usize; 2] {
    ["tar", "bsdtar"].map(|name| {
        let list = |pack| tool(Command::new(name).arg("-tf").arg(pack)).stdout;
        packs.iter().map(|pack| String::from_utf8_lossy(&list(pack)).lines().count()).sum()
    })
}

fn serve(place: &Place, tree: &Tree) -> Serve {
    tree.write(&place.at("tree"));
    windrow().serve_dir(&place.at("tree"))
}

#[test]
fn every_tar_reads_the_packs() {
    let place = Place::new();
    let tree = odd_tree(PLAIN.into_iter().chain(ENCODED));
    let count = tree.0.len();
    let server = serve(&place, &tree);
    let get = place.get(&server.url).args(["--format", "tar", "--shard-size", "10"]);
    get.args(["--memory", "16MiB"]).run().complete(count as u64);
    let dest = place.at("out");
    let expected = tree.0.into_iter();
    let expected = expected.map(|(path, body)| (path.into_os_string().into_encoded_bytes(), body));
    let expected: Objects = expected.collect();
    assert_same(&packed(&dest), &expected);
    for (tool, tree) in unpacked(&dest, &place) {
        assert_eq!(tree.0.len(), count, "{tool}");
        assert_same(&tree.objects(), &expected);
    }
    assert_eq!(listed(&packs(&dest)), [count; 2]);
}

#[test]
fn names_longer_than_a_file_system_takes_are_packed_too() {
    let place = Place::new();
    let long = [100, 101, 150, 155, 256, 300, 1000].map(|length| "x".repeat(length));
    let nested = format!("{}/{}", "a".repeat(155), "b".repeat(100));
    let unicode = "ü".repeat(200);
    let site = Site::new(long.into_iter().chain([nested, unicode, "short".into()]));
    let server = site.start();
    let done = place.get(&server.url()).args(["--format", "tar"]).run().complete(10);
    assert_same(&packed(done.dest.as_ref().unwrap()), &site.objects());
    for (_, tree) in unpacked(&place.at("out"), &place) {
        assert_same(&tree.objects(), &site.objects());
    }
    assert_eq!(listed(&packs(&place.at("out"))), [10; 2]);
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let place = Place::new();
    let tree = odd_tree(PLAIN);
    let server = serve(&place, &tree);
    let run = |name: &str| {
        let dest = place.at(name);
        let get = windrow().get(&server.url, &dest).args(["--format", "tar", "--shard-size", "10"]);
        let done = get.args(["--cores", "1", "-c", "1"]).run().complete(tree.0.len() as u64);
        let mut tree = done.tree();
        // Statistics tell the time.
        tree.0.retain(|path, _| path.extension().is_some_and(|ending| ending == "tar"));
        tree
    };
    let first = run("first");
    assert!(first.0.len() > 2, "several packs: {first:?}");
    assert!(first == run("second"), "two runs differ");
}
