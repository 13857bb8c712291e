//! Other people's tools read the packs that are only appended to, and find in them what was stored:
//! `jq` and Python in JSON Lines, `zstd` in compressed ones, `warcio` in WARC files.
//!
//! A tool that is not installed is said, and its test skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use windrow_engine::pack::columns::Columns;
use windrow_engine::pack::jsonl::Jsonl;
use windrow_engine::pack::warc::Warc;
use windrow_engine::pack::zst::{Framed, LEVEL, OFFSET_BITS};
use windrow_engine::pack::{Encode, Meta, Record};

/// Objects in each pack.
const OBJECTS: usize = 20_000;

type Objects = Vec<(Vec<u8>, Vec<u8>)>;

/// Objects with odd names and bodies.
fn objects() -> Objects {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let odd: [&[u8]; 14] = [
        b"",
        b"a/b/",
        b"../",
        b" a b ",
        "\u{e9}\u{4e2d}\u{1F600}".as_bytes(),
        b"\xFF\xFE",
        b"\n\r\t",
        b"\x00\x01\x1B[31m",
        b"\"\\",
        b"%41%zz",
        "\u{2028}\u{85}\u{FEFF}".as_bytes(),
        b"\xED\xA0\x80",
        b"<a>&'",
        b"?x=1#y",
    ];
    (0..OBJECTS)
        .map(|at| {
            let mut name = odd[at % odd.len()].to_vec();
            name.extend_from_slice(format!("{at}").as_bytes());
            let body = match at % 9 {
                _ if at == 7777 => (0..16 << 20).map(|_| draw() as u8).collect(),
                _ if at == 8888 => vec![b'\n'; 16 << 20],
                0 => Vec::new(),
                1 => vec![draw() as u8],
                2 => (0..draw() % 300).map(|_| draw() as u8).collect(),
                3 => odd[draw() as usize % odd.len()].repeat(draw() as usize % 9),
                4 => format!("{{\"at\": {at}, \"text\": [1.50, \"\\u00e9\", null]}}").into_bytes(),
                5 => format!("line {at}\r\nline\r\n\r\n").into_bytes(),
                6 => format!("\"{at}\"").into_bytes(),
                7 => format!("{at}").into_bytes(),
                _ => "\u{4e2d}\u{6587}".repeat(draw() as usize % 40).into_bytes(),
            };
            (name, body)
        })
        .collect()
}

fn meta(at: usize, body: &[u8]) -> Meta {
    let length = body.len();
    let lines = match at % 3 {
        0 => "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n".to_owned(),
        1 => format!("Content-Length: {length}\r\nETag: \"{at}\"\r\n"),
        _ => "Content-Type: text/plain; charset=utf-8\r\nX-Odd: \u{e9}\r\n".to_owned(),
    };
    Meta {
        url: format!("http://host.example/{at}?q=a b"),
        status: 200 + (at % 4) as u16,
        fetched_at: 1_795_255_200_000 + at as u64,
        headers: lines.into_bytes(),
        decoded: at.is_multiple_of(3),
        request: format!("GET /{at} HTTP/1.1\r\nHost: host.example\r\n\r\n").into_bytes(),
    }
}

/// Writes a pack. Gives the places of its objects.
fn write(encoder: &mut dyn Encode, objects: &Objects, known: bool, file: &Path) -> Vec<u64> {
    let mut out = Vec::new();
    let mut places = Vec::new();
    encoder.begin(&mut out).unwrap();
    for (at, (name, body)) in objects.iter().enumerate() {
        let meta = known.then(|| meta(at, body));
        let record = Record { name, ordinal: at as u64, meta: meta.as_ref() };
        places.push(encoder.record(&record, &mut &body[..], &mut out).unwrap().0);
    }
    encoder.frame(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    std::fs::write(file, out).unwrap();
    places
}

/// Whether that can be run; says so where it cannot.
fn there(program: &str, args: &[&str], hint: &str) -> bool {
    let run = Command::new(program).args(args).output();
    let there = run.is_ok_and(|output| output.status.success());
    if !there {
        let what = format!("skipped: {program} {} does not run\nhint: {hint}\n", args.join(" "));
        std::io::stderr().write_all(what.as_bytes()).unwrap();
    }
    there
}

fn tool(command: &mut Command) -> Output {
    command.env("LC_ALL", "C.UTF-8").env("PYTHONUTF8", "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// Objects as the scripts print them: both lengths in eight bytes, then name and body.
fn printed(mut bytes: &[u8]) -> Objects {
    let mut objects = Vec::new();
    while let Some((lengths, rest)) = bytes.split_first_chunk::<16>() {
        let length =
            |at: usize| u64::from_le_bytes(lengths[at..at + 8].try_into().unwrap()) as usize;
        let (name, rest) = rest.split_at(length(0));
        let (body, rest) = rest.split_at(length(8));
        objects.push((name.to_vec(), body.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    objects
}

fn assert_same(found: &Objects, expected: &Objects) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.0, expected.0, "name {at}");
        assert!(found.1 == expected.1, "body {at}");
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Prints the objects of a file of lines.
const LINES: &str = r#"
import base64, json, struct, sys
out = sys.stdout.buffer
with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
    for line in lines:
        one = json.loads(line)
        both = []
        for key in "name", "body":
            if key in one:
                assert key + "_base64" not in one
                both.append(one[key].encode())
            else:
                both.append(base64.b64decode(one[key + "_base64"], validate=True))
        name, body = both
        assert one["size"] == len(body)
        out.write(struct.pack("<QQ", len(name), len(body)) + name + body)
"#;

fn python_lines(file: &Path) -> Objects {
    printed(&tool(Command::new("python3").args(["-c", LINES]).arg(file)).stdout)
}

#[test]
fn python_and_jq_read_lines() {
    let (place, objects) = (Place::new(), objects());
    let file = place.at("00000.jsonl");
    write(&mut Jsonl::new(Columns::all(), false), &objects, true, &file);
    if there("python3", &["--version"], "apt-get install python3") {
        assert_same(&python_lines(&file), &objects);
    }
    if there("jq", &["--version"], "apt-get install jq") {
        let says =
            "[.ordinal, .size, .status, (has(\"body\") != has(\"body_base64\")), .url] | @json";
        let output = tool(Command::new("jq").args(["-r", says]).arg(&file));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), OBJECTS);
        for (at, line) in text.lines().enumerate() {
            let (size, status) = (objects[at].1.len(), 200 + at % 4);
            let url = format!("http://host.example/{at}?q=a b");
            assert_eq!(line, format!("[{at},{size},{status},true,\"{url}\"]"));
        }
    }
}

#[test]
fn bodies_of_json_are_values_to_jq() {
    if !there("jq", &["--version"], "apt-get install jq") {
        return;
    }
    let place = Place::new();
    let file = place.at("00000.jsonl");
    let bodies = ["{\r\n \"a\": [1,\n2]\n}\n", "[]", "12", "true", "\"text\"", "no json", "{} {}"];
    let objects: Objects =
        bodies.iter().map(|body| (body.as_bytes().to_vec(), body.as_bytes().to_vec())).collect();
    write(&mut Jsonl::new(Columns::of_lines(), true), &objects, false, &file);
    let output = tool(Command::new("jq").args(["-c", ".body"]).arg(&file));
    let expected = "{\"a\":[1,2]}\n[]\n12\ntrue\n\"\\\"text\\\"\"\n\"no json\"\n\"{} {}\"\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn zstd_reads_frames() {
    let tools = there("zstd", &["--version"], "apt-get install zstd")
        && there("python3", &["--version"], "apt-get install python3");
    if !tools {
        return;
    }
    let (place, objects) = (Place::new(), objects());
    let file = place.at("00000.jsonl.zst");
    let mut encoder = Framed::new(Jsonl::new(Columns::all(), false), LEVEL).unwrap();
    let places = write(&mut encoder, &objects, true, &file);
    let unpacked = |name: &str| {
        let out = place.at("unpacked.jsonl");
        tool(Command::new("zstd").args(["-d", "-f", "-q", "-o"]).arg(&out).arg(place.at(name)));
        python_lines(&out)
    };
    assert_same(&unpacked("00000.jsonl.zst"), &objects);
    // Cut where a frame begins: what is before is there, every object of it.
    let bytes = std::fs::read(&file).unwrap();
    let frame = |at: usize| places[at] >> OFFSET_BITS;
    for at in [1 + OBJECTS / 3, 7778, 8888, OBJECTS - 1] {
        let cut = frame(at);
        std::fs::write(place.at("cut.zst"), &bytes[..cut as usize]).unwrap();
        let left = places.iter().take_while(|&&place| place >> OFFSET_BITS < cut).count();
        assert!(left > 0 && left < OBJECTS);
        assert_same(&unpacked("cut.zst"), &objects[..left].to_vec());
    }
}

/// Prints the objects of a WARC file, and looks at what stands around them.
const WARC: &str = r#"
import struct, sys, urllib.parse
from warcio.archiveiterator import ArchiveIterator
out = sys.stdout.buffer
known = sys.argv[2] == "known"
main, asked, seen = None, None, set()
with open(sys.argv[1], "rb") as file:
    records = ArchiveIterator(file, check_digests="raise")
    for at, record in enumerate(records):
        head = record.rec_headers
        assert head.protocol == "WARC/1.1", head.protocol
        this = head.get_header("WARC-Record-ID")
        assert this not in seen
        seen.add(this)
        block = record.content_stream().read()
        kind = record.rec_type
        if kind == "warcinfo":
            assert at == 0
        elif kind == "request":
            assert known and record.http_headers.get_header("Host") == "host.example"
            asked = this, head.get_header("WARC-Concurrent-To")
        elif kind in ("response", "resource"):
            assert (kind == "response") == known
            main = this, block, records.get_record_offset()
            if known:
                assert asked[1] == this
                assert record.http_headers.get_header("Content-Length") == str(len(block))
                assert not record.http_headers.get_header("Transfer-Encoding")
                assert head.get_header("WARC-Target-URI").startswith("http://host.example/")
        else:
            assert kind == "metadata" and head.get_header("WARC-Concurrent-To") == main[0]
            lines = dict(line.split(": ", 1) for line in block.decode("ascii").splitlines())
            name = urllib.parse.unquote_to_bytes(lines["name"])
            body = main[1]
            out.write(struct.pack("<QQ", len(name), len(body)) + name + body)
            print(lines["ordinal"], main[2], file=sys.stderr)
"#;

#[test]
fn warcio_reads_archives() {
    let hint = "pip install warcio";
    if !there("python3", &["-c", "import warcio"], hint) {
        return;
    }
    let (place, mut objects) = (Place::new(), objects());
    for known in [true, false] {
        if !known {
            objects.truncate(2000);
        }
        let file = place.at("00000.warc.gz");
        let mut encoder = Warc::new(b"a test", 1_795_255_200_000, 1);
        let places = write(&mut encoder, &objects, known, &file);
        let check = ["-m", "warcio.cli", "check", "-v"];
        let said = tool(Command::new("python3").args(check).arg(&file)).stdout;
        let said = String::from_utf8(said).unwrap();
        let kinds = if known { 3 } else { 2 };
        assert_eq!(said.matches("digest pass").count(), 1 + kinds * objects.len());
        assert!(!said.contains("failed") && !said.contains("no digest"));
        let arg = if known { "known" } else { "unknown" };
        let read = tool(Command::new("python3").args(["-c", WARC]).arg(&file).arg(arg));
        assert_same(&printed(&read.stdout), &objects);
        let found: HashMap<u64, u64> = String::from_utf8(read.stderr)
            .unwrap()
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(ordinal, place)| (ordinal.parse().unwrap(), place.parse().unwrap()))
            .collect();
        for (at, place) in places.iter().enumerate() {
            assert_eq!(found[&(at as u64)], *place, "place of {at}");
        }
    }
}
