//! What every test here needs.

use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use windrow_engine::pack::tar::read;
use windrow_model::{Corpus, name};
use windrow_testkit::{Finished, Gate, Script, Windrow};

/// Objects by name.
pub(crate) type Objects = BTreeMap<Vec<u8>, Vec<u8>>;

/// The command, without arguments yet.
pub(crate) fn windrow() -> Windrow {
    Windrow::new(env!("CARGO_BIN_EXE_windrow"))
}

/// A folder of the test's own. Destinations lie in it, so that what is written beside them shows.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file in it, and gives its path as a source.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.at(path);
        std::fs::write(&path, content).expect("a file that can be written");
        path.to_str().expect("a path of text").to_owned()
    }

    /// What lies directly in it, sorted.
    pub(crate) fn entries(&self) -> Vec<String> {
        entries(self.path())
    }

    /// `windrow get` into `out` in it, with few connections.
    pub(crate) fn get(&self, source: &str) -> Windrow {
        windrow().get(source, &self.at("out")).env("WINDROW_CONCURRENCY", "8")
    }
}

/// What lies directly in a folder, sorted.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder that can be read");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// The packs of a destination, in order.
pub(crate) fn packs(dest: &Path) -> Vec<PathBuf> {
    let names = entries(dest).into_iter().filter(|name| name.ends_with(".tar"));
    names.map(|name| dest.join(name)).collect()
}

/// How many members each pack has.
pub(crate) fn pack_sizes(dest: &Path) -> Vec<u64> {
    let size = |pack: &PathBuf| {
        let file = BufReader::new(File::open(pack).expect("a pack that can be opened"));
        read::for_each(file, |_| {}).unwrap_or_else(|why| panic!("{}: {why}", pack.display()))
    };
    packs(dest).iter().map(size).collect()
}

/// The objects in the packs of a destination, read strictly; none may be there twice.
pub(crate) fn packed(dest: &Path) -> Objects {
    let mut objects = Objects::new();
    for pack in packs(dest) {
        let file = BufReader::new(File::open(&pack).expect("a pack that can be opened"));
        let visit = |member: read::Member<'_>| {
            let shown = String::from_utf8_lossy(member.path);
            let name = name::from_path(member.path).unwrap_or_else(|| panic!("no name: {shown}"));
            assert!(objects.insert(name, member.body.to_vec()).is_none(), "{shown} is there twice");
        };
        read::for_each(file, visit).unwrap_or_else(|why| panic!("{}: {why}", pack.display()));
    }
    objects
}

/// The objects of a run, wherever its format puts them.
pub(crate) fn stored(done: &Finished) -> Objects {
    let dest = done.dest.as_ref().expect("a run with a destination");
    match done.summary()["format"].as_str() {
        Some("tar") => packed(dest),
        Some("files") => done.tree().objects(),
        other => panic!("format {other:?} leaves no objects"),
    }
}

/// The URLs of the objects of a server, a line each. Their names need no encoding.
pub(crate) fn urls(server: &str, objects: &Objects) -> String {
    let line = |name: &Vec<u8>| format!("{server}/get/{}\n", String::from_utf8_lossy(name));
    objects.keys().map(line).collect()
}

/// The objects of a server by the names that their URLs give them.
pub(crate) fn by_url(server: &str, objects: &Objects) -> Objects {
    let host = server.strip_prefix("http://").expect("an address of http");
    let named = |(name, body): (&Vec<u8>, &Vec<u8>)| {
        ([host.as_bytes(), b"/get/", name].concat(), body.clone())
    };
    objects.iter().map(named).collect()
}

/// Asserts that these are objects of the corpus, each with its own body; gives how many.
#[track_caller]
pub(crate) fn all_right(corpus: &Corpus, objects: &Objects) -> u64 {
    for (name, body) in objects {
        let shown = String::from_utf8_lossy(name);
        let ordinal = corpus.ordinal_of(name);
        let ordinal = ordinal.unwrap_or_else(|| panic!("{shown} is no object of the corpus"));
        assert!(corpus.matches(ordinal, body), "the body of {shown} ({} bytes)", body.len());
    }
    objects.len() as u64
}

/// Asserts that two sets of objects are the same; says by name what differs.
#[track_caller]
pub(crate) fn assert_same(found: &Objects, expected: &Objects) {
    let shown = |name: &[u8]| format!("{:.80}", String::from_utf8_lossy(name).escape_debug());
    for (name, body) in expected {
        match found.get(name) {
            None => panic!("missing: {}", shown(name)),
            Some(own) => {
                let sizes = (own.len(), body.len());
                assert!(own == body, "differs: {}, {sizes:?} bytes", shown(name));
            }
        }
    }
    for name in found.keys() {
        assert!(expected.contains_key(name), "nobody listed: {}", shown(name));
    }
}

/// Begins a run, and sends SIGINT when the server was asked for `prefix`; what hangs at the gate
/// is let go then.
#[track_caller]
pub(crate) fn interrupted(get: Windrow, server: &Script, gate: &Gate, prefix: &str) -> Finished {
    let before = server.targets(prefix).len();
    let mut running = get.start();
    server.until_asked(prefix, before + 1);
    running.signal(Signal::INT);
    running.until_stderr("the signal is heard", |stderr| stderr.contains("stopping"));
    gate.open();
    running.finish().expect(130).sum_holds()
}

/// Runs a tool that must succeed. What it says about names is UTF-8.
pub(crate) fn tool(command: &mut Command) -> Output {
    command.env("LC_ALL", "C.UTF-8").env("PYTHONUTF8", "1");
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|why| {
        panic!("{program}: {why}\nhint: apt-get install tar libarchive-tools python3")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}: {said}", output.status);
    output
}
