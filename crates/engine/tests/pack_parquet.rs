//! Parquet packs are read by the readers that people have: pyarrow, DuckDB, polars.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use windrow_engine::pack::columns::Columns;
use windrow_engine::pack::parquet::{Options, ParquetDecoder, ParquetEncoder};
use windrow_engine::pack::{Decode as _, Encode as _, Meta, Record};

const OBJECTS: u64 = 20_000;

/// What all three have in common: the truth, and the comparison with it.
const COMMON: &str = r#"
import datetime, hashlib, struct, sys, urllib.parse
path, truth = sys.argv[1:]

def rows():
    with open(truth, "rb") as file:
        while head := file.read(12):
            name, body = struct.unpack("<IQ", head)
            yield file.read(name), file.read(body)

def named(name):
    return urllib.parse.unquote_to_bytes(name[2:]) if name.startswith("%=") else name.encode()

seen, expected = 0, rows()
def compare(row):
    global seen
    name, body = next(expected)
    assert named(row["name"]) == name, (seen, row["name"], name)
    assert row["body"] == body, (seen, name)
    assert row["size"] == len(body)
    assert row["sha256"] == hashlib.sha256(body).hexdigest()
    assert row["ordinal"] == seen
    if seen % 5 == 0:
        for column in ["url", "status", "content_type", "etag", "last_modified", "fetched_at"]:
            assert row[column] is None, (seen, column)
    else:
        assert row["url"] == f"http://host/{seen}?ä"
        assert row["status"] == 200 + seen % 7
        assert row["content_type"] == "text/plain"
        assert row["etag"] == f'"{seen}"'
        assert row["last_modified"] is None
        assert row["fetched_at"].timestamp() == 1_700_000_000 + seen / 1000, row["fetched_at"]
    seen += 1

def done():
    assert next(expected, None) is None
    print(seen)
"#;

const PYARROW: &str = r#"
import pyarrow.parquet as pq, pyarrow as pa
file = pq.ParquetFile(path, page_checksum_verification=True)
assert file.metadata.metadata[b"windrow.format"] == b"1"
assert file.metadata.created_by.startswith("windrow version ")
assert file.schema_arrow.names == ["name", "body", "size", "url", "status", "content_type",
    "etag", "last_modified", "sha256", "fetched_at", "ordinal"]
assert [str(field.type) for field in file.schema_arrow] == ["string", "binary", "int64", "string",
    "uint16", "string", "string", "string", "string", "timestamp[ms, tz=UTC]", "int64"]
for batch in file.iter_batches(batch_size=1000):
    for row in batch.to_pylist():
        compare(row)
done()
"#;

const DUCKDB: &str = r#"
import duckdb
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
# What takes longer than 2 s would be drawn on stdout.
db.execute("SET enable_progress_bar = false")
types = db.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
assert [row[1] for row in types] == ["VARCHAR", "BLOB", "BIGINT", "VARCHAR", "USMALLINT", "VARCHAR",
    "VARCHAR", "VARCHAR", "VARCHAR", "TIMESTAMP WITH TIME ZONE", "BIGINT"], types
sums = "SELECT count(*) FROM read_parquet(?) WHERE sha256 = sha256(body) AND size = octet_length(body)"
count = db.execute(sums, [path]).fetchone()[0]
columns = "* EXCLUDE (fetched_at), epoch_ms(fetched_at) AS ms"
query = db.execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY ordinal", [path])
names = [column[0] for column in query.description]
while some := query.fetchmany(500):
    for row in some:
        row = dict(zip(names, row))
        ms = row.pop("ms")
        utc = datetime.timezone.utc
        row["fetched_at"] = None if ms is None else datetime.datetime.fromtimestamp(ms / 1000, utc)
        compare(row)
assert count == seen, (count, seen)
done()
"#;

const POLARS: &str = r#"
import polars as pl
table = pl.read_parquet(path)
assert table.dtypes == [pl.String, pl.Binary, pl.Int64, pl.String, pl.UInt16, pl.String, pl.String,
    pl.String, pl.String, pl.Datetime("ms", "UTC"), pl.Int64], table.dtypes
for row in table.iter_rows(named=True):
    compare(row)
one = pl.scan_parquet(path).filter(pl.col("ordinal") == 12_345).select("size").collect()
assert one.height == 1
done()
"#;

fn name(row: u64) -> Vec<u8> {
    let text = match row % 10 {
        0 => format!("ünï cödé/日本語 {row}"),
        1 => format!("with space/and//slashes/{row}/"),
        2 => return [&b"not \xFF utf-8 \xC3\x28 "[..], row.to_string().as_bytes()].concat(),
        3 => format!("%=looks encoded {row}"),
        4 => format!("control \n\t\u{1b}[2J\0 {row}"),
        5 => format!("../../{row}"),
        6 => format!("{}{row}", "long".repeat(300)),
        7 => format!("🦀 \"quoted\", 'too' {row}"),
        _ => format!("img/{row:08}.jpg"),
    };
    text.into_bytes()
}

/// Numbers that look random.
fn noise(seed: u64, len: usize, mask: u8) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8 & mask
    };
    (0..len).map(|_| byte()).collect()
}

fn body(row: u64) -> Vec<u8> {
    match (row, row % 8) {
        (777, _) => noise(row, 16 << 20, 0xFF),
        (7777, _) => noise(row, 18 << 20, 0x7F),
        (12_345, _) => b"all the same ".repeat(500_000),
        (_, 0) => Vec::new(),
        (_, 1) => vec![row as u8],
        (_, 2) => noise(row, (row % 10_000) as usize, 0xFF),
        (_, 3) => (0..=255).collect(),
        _ => format!("{{\"row\": {row}, \"text\": \"the body of an object\"}}").into_bytes(),
    }
}

fn meta(row: u64) -> Option<Meta> {
    (!row.is_multiple_of(5)).then(|| Meta {
        url: format!("http://host/{row}?ä"),
        status: 200 + (row % 7) as u16,
        fetched_at: 1_700_000_000_000 + row,
        headers: format!("Server: x\r\nContent-Type: text/plain\r\nETag: \"{row}\"\r\n")
            .into_bytes(),
        ..Meta::default()
    })
}

/// Writes the pack, and the truth beside it.
fn write(pack: &Path, truth: &Path) {
    let mut encoder = ParquetEncoder::new(Columns::all(), &Options::default()).unwrap();
    let mut out = Vec::new();
    let mut truth = BufWriter::new(File::create(truth).unwrap());
    encoder.begin(&mut out).unwrap();
    for row in 0..OBJECTS {
        let (name, body, meta) = (name(row), body(row), meta(row));
        let record = Record { name: &name, ordinal: row, meta: meta.as_ref() };
        assert_eq!(encoder.record(&record, &mut &body[..], &mut out).unwrap().0, row);
        truth.write_all(&(name.len() as u32).to_le_bytes()).unwrap();
        truth.write_all(&(body.len() as u64).to_le_bytes()).unwrap();
        truth.write_all(&name).unwrap();
        truth.write_all(&body).unwrap();
    }
    encoder.end(&mut out).unwrap();
    truth.flush().unwrap();
    std::fs::write(pack, out).unwrap();
}

/// Whether Python has a module; says so where not.
fn has(module: &str) -> bool {
    let check = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    let has = check.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: Python has no {module}\nhint: pip install {module}");
    }
    has
}

#[test]
fn other_readers_read_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (pack, truth) = (folder.path().join("00000.parquet"), folder.path().join("truth"));
    write(&pack, &truth);
    let mut decoder = ParquetDecoder::open(Box::new(File::open(&pack).unwrap())).unwrap();
    for row in [OBJECTS - 1, 7777, 0, 12_345, 777, 778] {
        decoder.seek(row).unwrap();
        let mut read = Vec::new();
        let mut take = |piece: &[u8]| {
            read.extend_from_slice(piece);
            Ok(())
        };
        let found = decoder.next(Some(&mut take)).unwrap().unwrap();
        assert_eq!((found.name, found.ordinal), (name(row), Some(row)));
        assert!(read == body(row), "row {row}");
    }
    for (module, script) in [("pyarrow", PYARROW), ("duckdb", DUCKDB), ("polars", POLARS)] {
        if !has(module) {
            continue;
        }
        let mut python = Command::new("python3");
        python.args(["-c", &[COMMON, script].concat()]).arg(&pack).arg(&truth);
        let output = python.env("PYTHONUTF8", "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{module}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), OBJECTS.to_string(), "{module}");
    }
}
