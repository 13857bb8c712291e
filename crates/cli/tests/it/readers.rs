//! 20,000 objects with odd names and bodies of all kinds, in every form, byte for byte as other
//! people's tools read them.

use crate::support::{Place, entries, tool, windrow};
use std::path::{Path, PathBuf};
use std::process::Command;
use windrow_testkit::Tree;

const OBJECTS: usize = 20_000;

/// How names end; each tool has its own opinion of some.
const ODD: [&str; 10] = [
    "plain.txt",
    "two words.jpg",
    "grüße.json",
    "世界.bin",
    "per%20cent.tar",
    "it's \"quoted\".txt",
    "back\\slash.gz",
    "a=b&c;d.warc",
    "#hash?query.html",
    "emoji 🦀.rs",
];

fn body(nth: usize) -> Vec<u8> {
    let noise = |len: usize| {
        let mut state = nth as u64 * 2 + 1;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(step).collect()
    };
    match nth % 7 {
        _ if nth == 12_345 => noise(16 << 20),
        0 => Vec::new(),
        1 => vec![nth as u8],
        2 => (0..=255).collect(),
        3 => format!("{{\"nth\": {nth},\r\n \"text\": \"grüße\"}}").into_bytes(),
        4 => noise(nth % 3000),
        _ => format!("the body of object {nth}\n").repeat(nth % 9).into_bytes(),
    }
}

fn tree() -> Tree {
    let name = |nth: usize| format!("d{}/{nth:06} {}", nth % 97, ODD[nth % ODD.len()]);
    (0..OBJECTS).map(|nth| (name(nth), body(nth))).collect()
}

/// Compares what a reader gives with the files; each reader yields names and bodies.
const JUDGE: &str = r#"
import base64, json, os, subprocess, sys
reader, tree, packs = sys.argv[1], sys.argv[2], sys.argv[3:]

def tarfile():
    import tarfile
    for pack in packs:
        with tarfile.open(pack) as tar:
            for member in tar:
                yield member.name, tar.extractfile(member).read()

def webdataset():
    import webdataset
    for sample in webdataset.WebDataset(packs, shardshuffle=False, empty_check=False):
        names = [name for name in sample if not name.startswith("__")]
        body = [name for name in names if name not in ("json", "json.json")] or ["json"]
        meta = "json.json" if body == ["json"] else "json"
        assert len(body) == 1 and len(names) == 2, names
        told = json.loads(sample[meta])
        assert told["status"] == 200 and "/get/" in told["url"], told
        yield sample["__key__"] + "." + body[0], sample[body[0]]

def pyarrow():
    import pyarrow.parquet
    for pack in packs:
        table = pyarrow.parquet.read_table(pack, columns=["name", "body"])
        yield from zip(table.column("name").to_pylist(), table.column("body").to_pylist())

def duckdb():
    import duckdb
    rows = duckdb.connect().execute("SELECT name, body FROM read_parquet(?)", [packs])
    while rows_now := rows.fetchmany(1000):
        yield from rows_now

def polars():
    import polars
    for pack in packs:
        yield from polars.read_parquet(pack, columns=["name", "body"]).iter_rows()

def lines():
    for pack in packs:
        for line in open(pack, "rb"):
            row = json.loads(line)
            body = base64.b64decode(row["body_base64"]) if "body_base64" in row else row["body"].encode()
            yield row["name"], body

def zstd_and_jq():
    script = '[.name, .body_base64 // (.body | @base64)] | @json'
    for pack in packs:
        zstd = subprocess.Popen(["zstd", "-dc", pack], stdout=subprocess.PIPE)
        jq = subprocess.Popen(["jq", "-r", script], stdin=zstd.stdout, stdout=subprocess.PIPE)
        for line in jq.stdout:
            name, body = json.loads(line)
            yield name, base64.b64decode(body)
        assert jq.wait() == 0 and zstd.wait() == 0

def warcio():
    import urllib.parse
    from warcio.archiveiterator import ArchiveIterator
    for pack in packs:
        with open(pack, "rb") as stream:
            for record in ArchiveIterator(stream, check_digests="raise"):
                if record.rec_type == "response":
                    url = record.rec_headers.get_header("WARC-Target-URI")
                    yield urllib.parse.unquote(url.split("/get/", 1)[1]), record.content_stream().read()

seen = set()
for name, body in globals()[reader]():
    assert name not in seen, f"{name!r} twice"
    seen.add(name)
    with open(os.path.join(tree, name), "rb") as file:
        assert file.read() == body, f"{name!r}: {body[:99]!r}"
print(len(seen))
"#;

fn packs(dest: &Path, ending: &str) -> Vec<PathBuf> {
    let names = entries(dest).into_iter().filter(|name| name.ends_with(ending));
    names.map(|name| dest.join(name)).collect()
}

/// Fetches all of it in a form, and has it judged as each of these readers sees it.
fn read_by(format: &[&str], ending: &str, readers: &[&str]) {
    let place = Place::new();
    tree().write(&place.at("tree"));
    let server = windrow().serve_dir(&place.at("tree"));
    let dest = place.at("out");
    let get = windrow().get(&server.url, &dest).arg("--format").args(format);
    get.args(["--shard-size", "6000", "-c", "16"]).run().complete(OBJECTS as u64);
    for reader in readers {
        let mut python = Command::new("python3");
        let judge = python.args(["-c", JUDGE, reader]).arg(place.at("tree"));
        let output = tool(judge.args(packs(&dest, ending)));
        let count = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(count, OBJECTS.to_string(), "{reader}");
    }
    if ending == ".tar" {
        for tar in ["tar", "bsdtar"] {
            let files = place.at(tar);
            std::fs::create_dir(&files).expect("a folder");
            for pack in packs(&dest, ending) {
                tool(Command::new(tar).arg("-xf").arg(pack).arg("-C").arg(&files));
            }
            tool(Command::new("diff").arg("-r").arg(place.at("tree")).arg(&files));
            std::fs::remove_dir_all(files).expect("a folder");
        }
    }
}

#[test]
fn tar() {
    read_by(&["tar"], ".tar", &["tarfile"]);
}

#[test]
fn web_dataset() {
    let place = Place::new();
    tree().write(&place.at("tree"));
    let server = windrow().serve_dir(&place.at("tree"));
    let get = windrow().get(&server.url, &place.at("out")).args(["--format", "tar", "--with-meta"]);
    get.args(["-c", "16"]).run().complete(OBJECTS as u64);
    let mut python = Command::new("python3");
    let judge = python.args(["-c", JUDGE, "webdataset"]).arg(place.at("tree"));
    let output = tool(judge.args(packs(&place.at("out"), ".tar")));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), OBJECTS.to_string());
}

#[test]
fn parquet() {
    read_by(&["parquet"], ".parquet", &["pyarrow", "duckdb", "polars"]);
}

#[test]
fn jsonl() {
    read_by(&["jsonl"], ".jsonl", &["lines"]);
}

#[test]
fn jsonl_zst() {
    read_by(&["jsonl.zst"], ".jsonl.zst", &["zstd_and_jq"]);
}

#[test]
fn warc() {
    read_by(&["warc"], ".warc.gz", &["warcio"]);
}
