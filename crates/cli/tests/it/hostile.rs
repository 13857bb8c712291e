//! Names from hell: some hundred that were thought of, and as many more as there is time for.
//!
//! Whatever a name says, it is stored under one path that leads back to it, with the body of that
//! very name, or it failed with class `name` and is told of; and beside the destination not even a
//! time stamp changes. `WINDROW_LONG=1` tries 100,000 generated names instead of 20,000.

use crate::support::{Objects, Place, assert_same, packed, windrow};
use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;
use windrow_model::{limits, percent};
use windrow_testkit::script::{Site, body_of};
use windrow_testkit::{Finished, Tree, tree};

/// Components that want out, that are none, or that are taken for something else by somebody.
const PIECES: &[&[u8]] = &[
    b"",
    b".",
    b"..",
    b"...",
    b". ",
    b".. ",
    b"..\0",
    b"%2e%2e",
    b"..%2f",
    b"%2F",
    b"%00",
    b"%",
    b"%%",
    b"%=",
    b"%@",
    b"%+",
    b"%=a",
    b"%@a",
    b"%+a",
    b"%=%2E%2E",
    b"%@%2E%2E",
    b"%+%=",
    b"%=%ZZ",
    b".windrow",
    b".WINDROW",
    b".windrow.",
    b"open",
    b"lock",
    b"run.json",
    b"summary.json",
    b"failures.jsonl",
    b"ledger",
    b"file-0",
    b"00000.tar",
    b"00001.tar",
    b"00000.tar.part",
    b"nul\0byte",
    b"\0",
    b"line\nfeed",
    b"\n",
    b"\r\n",
    b"cr\rreturn",
    b"tab\t",
    b"\x1b[2J\x1b[H",
    b"\x1b]0;title\x07",
    b"\x07",
    b"\x08\x08\x08",
    b"\x7f",
    b"\xc2\x9b2J",
    b"\xc2\x85",
    b"\xff",
    b"\xfe\xff",
    b"\xc0\xae\xc0\xae",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xb3\xbf",
    b"\xf4\x90\x80\x80",
    b"\xe2\x28\xa1",
    b"caf\xe9",
    b"case",
    b"CASE",
    b"Case",
    "\u{e9}".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{212b}".as_bytes(),
    "\u{c5}".as_bytes(),
    "A\u{30a}".as_bytes(),
    "\u{df}".as_bytes(),
    b"ss",
    "\u{130}".as_bytes(),
    "i".as_bytes(),
    "\u{202e}gpj.exe".as_bytes(),
    "\u{200b}".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{2215}".as_bytes(),
    "\u{ff0f}".as_bytes(),
    "\u{2024}\u{2024}".as_bytes(),
    "\u{1f980}".as_bytes(),
    "日本".as_bytes(),
    b"trailing.",
    b"trailing ",
    b" leading",
    b" ",
    b"CON",
    b"con.txt",
    b"NUL",
    b"AUX",
    b"COM1",
    b"LPT9.",
    b"CLOCK$",
    b"back\\slash",
    b"..\\..\\x",
    b"\\\\server\\share",
    b"\\\\?\\C:",
    b"C:",
    b"C:\\x",
    b"c:x",
    b"stream:alt",
    b"file:",
    b"http:",
    b"~",
    b"~root",
    b"$HOME",
    b"${IFS}",
    b"$(id)",
    b"`id`",
    b"-rf",
    b"--",
    b"--help",
    b"-",
    b"*",
    b"?",
    b"[a-z]",
    b"{a,b}",
    b"!",
    b"#",
    b"&",
    b";",
    b"|",
    b"<",
    b">",
    b"'",
    b"\"",
    b"?query=1",
    b"#fragment",
    b"a=b&c=d",
    b"+",
    b"@",
    b":",
    b",",
    b"^",
    b"a",
    b"b",
    b"c",
    b"n0",
];

fn fixed() -> Vec<Vec<u8>> {
    let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
    // Each piece alone, as a folder, in a folder, and on the way back up.
    for piece in PIECES {
        names.insert(piece.to_vec());
        names.insert([piece, &b"/in"[..]].concat());
        names.insert([&b"at/"[..], piece].concat());
        names.insert([&b"../"[..], piece, b"/../", piece].concat());
    }
    for name in [
        "/",
        "//",
        "///",
        "/etc/passwd",
        "//etc/passwd",
        "/proc/self/mem",
        "/dev/null",
        "../../../../../../../../../../tmp/x",
        "a/../../../x",
        "a/./b",
        "a//b",
        "a/b/",
        "a/b//",
        "./",
        "../",
        "a",
        "a/b",
        "a/b/c",
        "a/b/c/d",
        "z/y/x",
        "z/y",
        "z",
        ".windrow/ledger/x",
        ".windrow/open/file-0",
        ".windrow/../x",
        "x/../.windrow/run.json",
        "%@a/b",
        "%=a/b",
        "a/%=b",
        "a/%@b",
        "%@%2E%2E/x",
        "%+%=/x",
        "%@/x",
        "x/%=",
    ] {
        names.insert(name.into());
    }
    // Lengths around every bound: a component, a path, a name.
    for unit in ["x", "\u{e9}", "%", "\u{1}"] {
        for bytes in [84, 85, 126, 127, 253, 254, 255, 256, 257, 4095, 4096, 4097, 10_000] {
            let name = unit.repeat(bytes / unit.len());
            names.insert(format!("long/{name}/{name}").into());
            names.insert(name.into());
        }
    }
    for bytes in [limits::NAME_BYTES - 1, limits::NAME_BYTES, limits::NAME_BYTES + 1] {
        names.insert(vec![b'n'; bytes]);
    }
    for levels in [100, 255, 256, 257, 1000, 2048, 5000] {
        names.insert("d/".repeat(levels).into());
        names.insert(("d/".repeat(levels) + "f").into());
        names.insert("/".repeat(levels).into());
    }
    for levels in [10, 20] {
        names.insert((("w".repeat(255) + "/").repeat(levels) + "f").into());
        names.insert(("../".repeat(levels * 10) + "etc/passwd").into());
    }
    names.into_iter().collect()
}

/// SplitMix64: the same names from the same seed, for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn component(&mut self) -> Vec<u8> {
        let mut piece = || PIECES[self.below(PIECES.len())].to_vec();
        let (one, other) = (piece(), piece());
        match self.below(20) {
            0..12 => one,
            12..17 => [one, other].concat(),
            17..19 => (0..=self.below(6)).map(|_| self.next() as u8).collect(),
            _ => one.repeat(self.below(80)),
        }
    }

    fn name(&mut self) -> Vec<u8> {
        let mut name = self.component();
        for _ in 0..[0, 0, 1, 1, 1, 2, 2, 3, 4, 6][self.below(10)] {
            name.push(b'/');
            name.extend(self.component());
        }
        name
    }
}

fn generated(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let mut names = BTreeSet::new();
    while names.len() < count {
        names.insert(random.name());
    }
    // Not in the order of the set: what clashes shall come in any order.
    let mut names: Vec<_> = names.into_iter().collect();
    for at in (1..names.len()).rev() {
        names.swap(at, random.below(at + 1));
    }
    names
}

/// Fetches the names in this format, and checks everything that was promised. Gives how many were
/// stored, and how many failed.
fn check(names: &[Vec<u8>], format: &str, settings: &[&str]) -> (u64, u64) {
    let place = Place::new();
    // What hostile names would like to reach, at every height that `..` leads to.
    let around = ["x", "a", "etc/passwd", "up/x", "up/up/x", "up/up/etc/passwd", "up/up/a/b"];
    around.into_iter().map(|path| (path, "outside")).collect::<Tree>().write(place.path());
    let dest = place.at("up/up/dest");
    std::fs::create_dir(&dest).expect("a destination");
    std::os::unix::fs::symlink("../x", place.at("up/up/link")).expect("a link");
    let except = "up/up/dest".as_ref();
    let before = tree::outline(place.path(), except);

    let site = Site::new(names.iter().cloned());
    let server = site.start();
    let get = windrow().get(&server.url(), &dest).args(["--format", format]).args(settings);
    let done = get.run().sum_holds();
    drop(server);
    assert_eq!(tree::outline(place.path(), except), before, "touched beside the destination");
    assert!(matches!(done.code, Some(0 | 1)), "exit {:?}: {}", done.code, done.stderr);
    assert_eq!(done.figure("listed"), names.len() as u64);

    // Nothing is lost without a word, and what is told is what is not there.
    let objects = match format {
        "tar" => packed(&dest),
        _ => done.tree().objects(),
    };
    assert_eq!(objects.len() as u64, done.figure("stored"), "a path for each, and one only");
    let failed = failed(&done);
    assert_eq!(failed.len() as u64, done.figure("failed"), "a line for each");
    let mut expected = site.objects();
    for name in &failed {
        assert!(expected.remove(name).is_some(), "nobody listed: {}", name.escape_ascii());
    }
    assert_same(&objects, &expected);
    // What cannot be stored is what the rule says.
    for name in &failed {
        let levels = name.iter().filter(|&&byte| byte == b'/').count();
        let deep = format == "files" && levels > limits::NAME_DEPTH;
        assert!(name.len() > limits::NAME_BYTES || deep, "{:.100}", name.escape_ascii());
    }
    assert!(!done.stderr.contains('\u{1b}') && !done.stderr.contains('\u{9b}'), "{}", done.stderr);
    (done.figure("stored"), done.figure("failed"))
}

/// The names that failed, as `failures.jsonl` has them; each for the reason that it has no place.
fn failed(done: &Finished) -> BTreeSet<Vec<u8>> {
    assert_eq!(done.failed("name"), done.figure("failed"), "{:#}", done.summary());
    let lines = done.failures();
    let names = lines.iter().map(|line| {
        assert_eq!(line["class"], "name", "{line}");
        match line["name_encoded"].as_str() {
            Some(encoded) => percent::decode(encoded.as_bytes()).expect("percent-encoded"),
            None => line["name"].as_str().expect("a name").as_bytes().to_vec(),
        }
    });
    names.collect()
}

#[test]
fn names_that_were_thought_of() {
    let names = fixed();
    assert!(names.len() >= 300, "{}", names.len());
    let mut reversed = names.clone();
    reversed.reverse();
    let (files, unfiled) = check(&names, "files", &["--cores", "2"]);
    let (packed, unpacked) = check(&names, "tar", &["--pipeline", "8"]);
    check(&reversed, "files", &["--cores", "1", "-c", "1"]);
    println!("{} names: {files} as files, {packed} packed", names.len());
    println!("no place: {unfiled} as files, {unpacked} packed");
}

#[test]
fn names_that_nobody_thought_of() {
    let long = std::env::var_os("WINDROW_LONG").is_some();
    let seed = match std::env::var("WINDROW_TEST_SEED") {
        Ok(seed) => seed.parse().expect("WINDROW_TEST_SEED is a number"),
        Err(_) => UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos().into()),
    };
    println!("again with: WINDROW_TEST_SEED={seed}");
    // Several runs rather than a long one: a run has a limit of its own.
    for round in 0..if long { 5 } else { 1 } {
        let names = generated(20_000, seed + round);
        let files = check(&names, "files", &["-c", "16"]);
        let packs = check(&names, "tar", &["-c", "16", "--pipeline", "4"]);
        println!("(stored, failed) of {}: {files:?} as files, {packs:?} packed", names.len());
    }
}

#[test]
fn a_name_that_is_not_text_is_told_by_its_bytes() {
    let site = Site::new([&b"caf\xe9"[..], "caf\u{e9}".as_bytes(), b"\xff"]);
    let server = site.start_but(|_, name| {
        let gone = windrow_testkit::script::http::send_status("404 Not Found");
        name.and_then(|name| name.contains('\u{fffd}').then_some(gone))
    });
    let place = Place::new();
    let done = place.get(&server.url()).run().expect(1).sum_holds();
    let expected: Objects =
        [("caf\u{e9}".as_bytes().to_vec(), body_of("caf\u{e9}".as_bytes()))].into();
    assert_same(&done.tree().objects(), &expected);
    let mut told: Vec<_> =
        done.failures().iter().map(|line| line["name_encoded"].clone()).collect();
    told.sort_by_key(ToString::to_string);
    assert_eq!(told, ["%FF", "caf%E9"]);
}
