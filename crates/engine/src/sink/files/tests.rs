use super::super::hand::Hand;
use super::super::simulated::NoBook;
use super::super::{CommitSize, Spool, tar};
use super::*;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A sink that places so many files at once.
fn sink(dir: &Path, most: usize) -> FilesSink {
    let dest = Arc::new(Destination::prepare(dir).unwrap());
    let every = CommitSize { objects: 1000, bytes: 1 << 20, packs: 4 };
    let book = Box::new(NoBook);
    let hand = Hand::new(dest.disk(), book, tar::KIND, every, dest.shown(), true);
    let writer = Writer::here(hand, 0);
    let method = Method::probe(&dest).unwrap();
    FilesSink::open(dest, method, writer, (most, 64), Duration::from_secs(5)).unwrap()
}

fn store(sink: &mut FilesSink, name: &[u8], body: &[u8]) -> Result<Receipt, SinkError> {
    sink.store(Object { ordinal: 1, name, body: Body::Bytes(body), meta: None })
}

/// Every file below `dir` but windrow's own, by the name that its path stands for. Goes from
/// handle to handle: long names make paths that are longer than the system takes at once.
fn stored(dir: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    fn walk(dir: &OwnedFd, path: &[u8], files: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
        for entry in Dir::read_from(dir).unwrap() {
            let entry = entry.unwrap();
            let path = [path, entry.file_name().to_bytes()].concat();
            if matches!(entry.file_name().to_bytes(), b"." | b"..") || path == b".windrow" {
                continue;
            }
            let open = |flags| openat(dir, entry.file_name(), flags, Mode::empty()).unwrap();
            if entry.file_type() == FileType::Directory {
                walk(&open(OFlags::DIRECTORY), &[&path[..], b"/"].concat(), files);
            } else {
                assert_eq!(entry.file_type(), FileType::RegularFile);
                let name = name::from_path(&path).expect("every path leads back to a name");
                let mut body = Vec::new();
                File::from(open(OFlags::RDONLY)).read_to_end(&mut body).unwrap();
                assert!(files.insert(name, body).is_none(), "two files for one name");
            }
        }
    }
    let mut files = BTreeMap::new();
    let dir = openat(CWD, dir, OFlags::DIRECTORY, Mode::empty()).unwrap();
    walk(&dir, b"", &mut files);
    files
}

fn all_methods(test: impl Fn(&Path, FilesSink)) {
    for method in [None, Some(Method::Link), Some(Method::LinkProc), Some(Method::Rename)] {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = sink(dir.path(), 1);
        sink.method = method.unwrap_or(sink.method);
        test(dir.path(), sink);
        let work = dir.path().join(".windrow/open");
        assert_eq!(std::fs::read_dir(work).unwrap().count(), 0, "nothing unfinished is left");
    }
}

#[test]
fn every_name_is_kept_apart_and_comes_back() {
    let long = "x".repeat(10_000);
    let deep = "d/".repeat(200);
    let names = [
        "plain",
        "a",
        "a/b",
        "a/b/c",
        "z/y",
        "z",
        "",
        "/",
        "//",
        "..",
        "../../escape",
        "/etc/passwd",
        "./a",
        "dir/",
        "%",
        "%=",
        "%=a",
        "%+x",
        ".windrow",
        ".windrow/run.json",
        "nul\0",
        "new\nline",
        "esc\x1b[2J",
        "ünïcödé/日本",
        "sp ace",
        "a%20b",
        "-rf",
        "~",
        "CaSe",
        "case",
        "e\u{301}",
        "é",
        &long,
        &deep,
    ];
    all_methods(|dir, mut sink| {
        let expected: BTreeMap<_, _> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_bytes().to_vec(), format!("body {i}").into_bytes()))
            .collect();
        assert_eq!(expected.len(), names.len());
        for (name, body) in names.iter().enumerate().map(|(i, name)| (name, format!("body {i}"))) {
            store(&mut sink, name.as_bytes(), body.as_bytes()).unwrap();
        }
        assert_eq!(stored(dir), expected);
        let outside: Vec<_> = std::fs::read_dir(dir.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name == "escape")
            .collect();
        assert!(outside.is_empty());
    });
}

#[test]
fn a_file_and_a_directory_of_one_name_both_stay_in_either_order() {
    for order in [["a", "a/b", "a/b/c"], ["a/b/c", "a/b", "a"], ["a/b", "a", "a/b/c"]] {
        all_methods(|dir, mut sink| {
            for _ in 0..2 {
                for name in order {
                    store(&mut sink, name.as_bytes(), name.as_bytes()).unwrap();
                }
            }
            let files = stored(dir);
            assert_eq!(files.len(), 3);
            assert!(files.iter().all(|(name, body)| name == body));
        });
    }
}

/// Small bodies wait in memory for the writer, large ones are in files without names.
#[test]
fn a_directory_that_is_removed_meanwhile_is_made_again() {
    for method in [Method::Link, Method::LinkProc, Method::Rename] {
        for gone_after in 1..8 {
            let dir = tempfile::tempdir().unwrap();
            let mut sink = sink(dir.path(), 8);
            sink.method = method;
            let mut expected = BTreeMap::new();
            for nth in 0..9_usize {
                let (name, body) = (format!("d/{nth}"), vec![7; nth % 3 * HELD_BODY_BYTES]);
                store(&mut sink, name.as_bytes(), &body).unwrap();
                expected.insert(name.into_bytes(), body);
                if nth + 1 == gone_after {
                    assert_eq!(stored(dir.path()).len(), 0, "no file has its name yet");
                    std::fs::remove_dir(dir.path().join("d")).unwrap();
                }
            }
            sink.finish().unwrap();
            assert_eq!(stored(dir.path()), expected, "{method:?}, gone after {gone_after}");
        }
    }
}

#[test]
fn a_second_body_replaces_the_first_whole() {
    all_methods(|dir, mut sink| {
        for body in ["first and longer", "second", ""] {
            store(&mut sink, b"d/n", body.as_bytes()).unwrap();
            assert_eq!(stored(dir)[&b"d/n"[..]], body.as_bytes());
        }
    });
}

#[test]
fn spooled_bodies_get_their_place() {
    all_methods(|dir, mut sink| {
        for name in ["big", "big", "d/big"] {
            let mut spool = Spool::create(&sink.dest).unwrap();
            spool.write(&[1; 300_000]).unwrap();
            spool.write(&[2; 5]).unwrap();
            let object = Object {
                ordinal: 1,
                name: name.as_bytes(),
                body: Body::Spool(Box::new(spool)),
                meta: None,
            };
            assert_eq!(sink.store(object).unwrap().bytes, 300_005);
        }
        let files = stored(dir);
        assert_eq!(files[&b"big"[..]], files[&b"d/big"[..]]);
        assert_eq!(files[&b"big"[..]].len(), 300_005);
    });
}

#[test]
fn planted_links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "untouched").unwrap();
    all_methods(|dir, mut sink| {
        std::os::unix::fs::symlink(outside.path(), dir.join("dir")).unwrap();
        std::os::unix::fs::symlink(&secret, dir.join("file")).unwrap();
        for name in ["dir/secret", "dir/new", "file"] {
            store(&mut sink, name.as_bytes(), b"mine").unwrap();
        }
        assert_eq!(std::fs::read(&secret).unwrap(), b"untouched");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(dir.join("file")).unwrap(), b"mine");
        std::fs::remove_file(dir.join("dir")).unwrap();
        assert_eq!(stored(dir).len(), 3);
    });
}

#[test]
fn names_without_end_fail_alone() {
    all_methods(|dir, mut sink| {
        let deep = "d/".repeat(5_000);
        let failed = store(&mut sink, deep.as_bytes(), b"");
        assert!(matches!(failed, Err(SinkError::Object(_))), "{failed:?}");
        store(&mut sink, b"next", b"").unwrap();
        assert_eq!(stored(dir).len(), 1);
    });
}
