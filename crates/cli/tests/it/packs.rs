//! Packs of every form: what goes in comes out, by our own reader and by those that people have.

use crate::directory::{ENCODED, PLAIN, odd_tree};
use crate::support::{Objects, Place, assert_same, entries, tool, windrow};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use windrow_model::name;
use windrow_testkit::Tree;
use windrow_testkit::windrow::Serve;

/// Formats and the ending of their packs.
const FORMS: [(&str, &str); 5] = [
    ("tar", "tar"),
    ("parquet", "parquet"),
    ("jsonl", "jsonl"),
    ("jsonl.zst", "jsonl.zst"),
    ("warc", "warc.gz"),
];

fn packs(dest: &Path, ending: &str) -> Vec<PathBuf> {
    let ending = format!(".{ending}");
    let names = entries(dest).into_iter().filter(|name| name.ends_with(&ending));
    names.map(|name| dest.join(name)).collect()
}

fn serve(place: &Place, tree: &Tree) -> Serve {
    tree.write(&place.at("tree"));
    windrow().serve_dir(&place.at("tree"))
}

fn objects(tree: &Tree) -> Objects {
    let named = |(path, body): (&PathBuf, &Vec<u8>)| {
        (path.as_os_str().as_encoded_bytes().to_vec(), body.clone())
    };
    tree.0.iter().map(named).collect()
}

fn verified(dest: &Path) {
    let output = windrow().arg("verify").arg(dest).command().output().expect("windrow runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

/// Prints a line for each object: name and body in hexadecimal.
const READERS: [(&str, &str); 5] = [
    (
        "tar",
        r#"
import sys, tarfile
for pack in sys.argv[1:]:
    with tarfile.open(pack) as tar:
        for member in tar:
            print(member.name.encode("utf-8", "surrogateescape").hex(), tar.extractfile(member).read().hex())
"#,
    ),
    (
        "parquet",
        r#"
import sys, pyarrow.parquet
for pack in sys.argv[1:]:
    table = pyarrow.parquet.read_table(pack)
    assert table.column("size").to_pylist() == [len(body) for body in table.column("body").to_pylist()]
    assert set(table.column("status").to_pylist()) == {200}
    for name, body in zip(table.column("name").to_pylist(), table.column("body").to_pylist()):
        print(name.encode().hex(), body.hex())
"#,
    ),
    ("jsonl", LINES),
    ("jsonl.zst", LINES),
    (
        "warc",
        r#"
import sys
from warcio.archiveiterator import ArchiveIterator
import urllib.parse
for pack in sys.argv[1:]:
    with open(pack, "rb") as stream:
        for record in ArchiveIterator(stream, check_digests="raise"):
            if record.rec_type == "response":
                url = record.rec_headers.get_header("WARC-Target-URI")
                name = urllib.parse.unquote_to_bytes(url.split("/get/", 1)[1])
                print(name.hex(), record.content_stream().read().hex())
"#,
    ),
];

const LINES: &str = r#"
import sys, json, base64, subprocess
for pack in sys.argv[1:]:
    if pack.endswith(".zst"):
        lines = subprocess.run(["zstd", "-dc", pack], check=True, stdout=subprocess.PIPE).stdout
    else:
        lines = open(pack, "rb").read()
    for line in lines.splitlines():
        row = json.loads(line)
        body = base64.b64decode(row["body_base64"]) if "body_base64" in row else row["body"].encode()
        assert row["size"] == len(body) and row["status"] == 200, row
        print(row["name"].encode().hex(), body.hex())
"#;

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
        .collect()
}

#[test]
fn others_read_what_is_written() {
    let place = Place::new();
    let tree = odd_tree(PLAIN);
    let server = serve(&place, &tree);
    for ((format, ending), (_, script)) in FORMS.into_iter().zip(READERS) {
        let dest = place.at(format);
        let get = windrow().get(&server.url, &dest).args(["--format", format]);
        let get = get.args(["--shard-size", "10", "--memory", "16MiB", "-c", "8"]);
        get.run().complete(tree.0.len() as u64);
        verified(&dest);
        let packs = packs(&dest, ending);
        assert!(packs.len() > 2, "{format}: {packs:?}");
        let output = tool(Command::new("python3").args(["-c", script]).args(&packs));
        let mut found = Objects::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (name, body) = line.split_once(' ').expect("a name and a body");
            assert!(found.insert(unhex(name), unhex(body)).is_none(), "{format}: {line:.99}");
        }
        if format == "tar" {
            let plain = |path: Vec<u8>| name::from_path(&path).unwrap_or(path);
            found = found.into_iter().map(|(path, body)| (plain(path), body)).collect();
        }
        assert_same(&found, &objects(&tree));
    }
}

#[test]
fn names_are_listed_as_they_were() {
    let place = Place::new();
    let tree = odd_tree(PLAIN.into_iter().chain(ENCODED));
    let server = serve(&place, &tree);
    for (format, _) in FORMS {
        let dest = place.at(format);
        let get = windrow().get(&server.url, &dest).args(["--format", format, "-c", "8"]);
        get.run().complete(tree.0.len() as u64);
        verified(&dest);
        let list = windrow().arg("ls").arg(&dest).args(["-0"]).command().output();
        let output = list.expect("windrow runs");
        let mut names: Vec<_> = output.stdout.split(|&byte| byte == 0).collect();
        assert_eq!(names.pop(), Some(&b""[..]));
        names.sort_unstable();
        let expected: Vec<_> = objects(&tree).into_keys().collect();
        assert_eq!(names, expected, "{format}");
    }
}

#[test]
fn damage_is_found() {
    let place = Place::new();
    let server = windrow().serve(["--synthetic", "500", "--size", "100"]);
    for (format, ending) in FORMS {
        let dest = place.at(format);
        let get = windrow().get(&server.url, &dest).args(["--format", format, "--cores", "1"]);
        get.run().complete(500);
        verified(&dest);
        let pack = packs(&dest, ending).remove(0);
        let whole = std::fs::read(&pack).expect("a pack");
        for (what, bytes) in [
            ("cut", whole[..whole.len() / 2].to_vec()),
            ("longer", [&whole[..], b"more"].concat()),
            ("flipped", {
                let mut flipped = whole.clone();
                flipped[whole.len() / 3] ^= 0x55;
                flipped
            }),
        ] {
            std::fs::write(&pack, bytes).expect("a file that can be written");
            let output = windrow().arg("verify").arg(&dest).command().output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{format} {what}: {said}");
        }
        std::fs::write(&pack, whole).expect("a file that can be written");
        verified(&dest);
    }
}

#[test]
fn statistics_stand_beside_packs() {
    let place = Place::new();
    let server = windrow().serve(["--synthetic", "250", "--size", "100", "--faults", "404=4%"]);
    let dest = place.at("out");
    let get = windrow().get(&server.url, &dest).args(["--format", "jsonl", "--shard-size", "50"]);
    let done = get.args(["--cores", "1"]).run().expect(1);
    let mut sums = (0, 0);
    for pack in packs(&dest, "jsonl") {
        let stats = pack.to_str().expect("text").replace(".jsonl", "_stats.json");
        let stats = std::fs::read(&stats).unwrap_or_else(|why| panic!("{stats}: {why}"));
        let stats: Value = serde_json::from_slice(&stats).expect("JSON");
        let number = |name: &str| stats[name].as_u64().unwrap_or_else(|| panic!("{name}: {stats}"));
        assert_eq!(number("count"), number("successes") + number("failed_to_download"));
        assert_eq!(stats["status_dict"]["success"], stats["successes"]);
        sums.0 += number("successes");
        sums.1 += number("bytes_downloaded");
    }
    assert_eq!(sums, (done.figure("stored"), done.figure("bytes")));
}

#[test]
fn columns_are_chosen() {
    let place = Place::new();
    let server = windrow().serve(["--synthetic", "20", "--size", "100"]);
    let dest = place.at("out");
    let get = windrow().get(&server.url, &dest).args(["--format", "jsonl"]);
    get.args(["--columns", "sha256,name,body,ordinal"]).run().complete(20);
    let nameless = windrow().get(&server.url, &place.at("other")).args(["--columns", "body,url"]);
    nameless.run().expect(2).says(["name and body belong to it"]);
    for pack in packs(&dest, "jsonl") {
        let text = std::fs::read_to_string(pack).expect("lines");
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let mut names: Vec<_> = row.as_object().expect("an object").keys().cloned().collect();
            names.sort_unstable();
            assert_eq!(names, ["body_base64", "name", "ordinal", "sha256"]);
        }
    }
}

/// What a line keeps of JSON that is inlined is JSON without its line breaks: `verify` compares that,
/// and `cat` gives it.
#[test]
fn bodies_of_json_are_inlined() {
    let place = Place::new();
    let pretty = "{\r\n  \"a\": [1,\n 2],\n  \"b\": \"x\\ny\"\n}\n";
    for (name, body) in
        [("pretty", pretty), ("short", "[true]"), ("text", "{\"a\":"), ("bare", "7")]
    {
        std::fs::create_dir_all(place.at("tree")).expect("a folder");
        place.file(&format!("tree/{name}"), body);
    }
    let server = windrow().serve_dir(&place.at("tree"));
    for format in ["jsonl", "jsonl.zst"] {
        let dest = place.at(format);
        let get = windrow().get(&server.url, &dest).args(["--format", format, "--json-body"]);
        get.run().complete(4);
        verified(&dest);
        let cat = windrow().arg("cat").arg(&dest).arg("pretty").run().expect(0);
        assert_eq!(cat.stdout, pretty.replace(['\r', '\n'], " "));
        let new = place.at(&format!("{format}-tar"));
        windrow()
            .arg("repack")
            .arg(&dest)
            .arg("-o")
            .arg(&new)
            .args(["--format", "tar"])
            .run()
            .expect(0);
        verified(&new);
    }
    let lines =
        std::fs::read_to_string(packs(&place.at("jsonl"), "jsonl").remove(0)).expect("lines");
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        match row["name"].as_str() {
            Some("pretty") => assert_eq!(row["body"]["b"], "x\ny"),
            Some("short") => assert_eq!(row["body"][0], true),
            Some("bare") => assert_eq!(row["body"], 7),
            _ => assert_eq!(row["body"], "{\"a\":"),
        }
    }
}

#[test]
fn archives_tell_of_requests_and_no_secrets() {
    const SCRIPT: &str = r#"
import sys
from warcio.archiveiterator import ArchiveIterator
with open(sys.argv[1], "rb") as stream:
    for record in ArchiveIterator(stream, check_digests="raise"):
        if record.rec_type == "request":
            headers = dict(record.http_headers.headers)
            assert headers["Authorization"] == "***" and headers["X-Key"] == "***", headers
            assert "windrow/" in headers["User-Agent"] and headers["Host"].startswith("127."), headers
            print(record.http_headers.protocol, record.http_headers.statusline)
        elif record.rec_type == "response":
            assert record.rec_headers.get_header("WARC-Target-URI").startswith("http://127."), record
"#;
    let place = Place::new();
    let server = windrow().serve(["--synthetic", "5", "--size", "10"]);
    let get = windrow().get(&server.url, &place.at("out")).args(["--format", "warc"]);
    let get = get.args(["--header", "Authorization: Bearer geheim", "--header", "X-Key: geheim"]);
    get.args(["--cores", "1", "--get-path", "/get/{name}?token=geheim"]).run().complete(5);
    let pack = packs(&place.at("out"), "warc.gz").remove(0);
    let output = tool(Command::new("python3").args(["-c", SCRIPT]).arg(&pack));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.lines().filter(|line| line.starts_with("GET /get/o")).count(), 5, "{said}");
    let text = tool(Command::new("zcat").arg(&pack)).stdout;
    assert!(!text.windows(6).any(|word| word == b"geheim"));
}
