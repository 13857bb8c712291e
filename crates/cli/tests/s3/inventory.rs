//! Inventories in place of a listing: CSV and Parquet, in a bucket and beside their manifest.

use crate::buckets::{asked, by_key, get};
use crate::listing::killed_and_taken_up;
use crate::server::{Asked, BUCKET, Server, Trick};
use crate::sign::uri_encode;
use crate::support::{Place, assert_same, stored};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use windrow_testkit::script::{Request, http};
use windrow_testkit::{Script, Step, Windrow, wait};

/// Where the manifest is, as S3 lays it out.
const FOLDER: &str = "inventory/lake/all/2024-02-29T00-00Z";
const SCHEMA: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, \
                      StorageClass";

type Bodies = BTreeMap<String, Vec<u8>>;

fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row of the latest version of an object.
fn row(key: &str, body: &[u8]) -> String {
    let key = uri_encode(key, false).replace("%20", "+");
    let (size, etag) = (body.len(), md5(body));
    format!(
        "\"{BUCKET}\",\"{key}\",\"v1\",\"true\",\"false\",\"{size}\",\"2024-02-28T10:00:00.000Z\",\
         \"{etag}\",\"STANDARD\"\n"
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory");
    gzip.finish().expect("memory")
}

/// Names and bytes of files of data, and the manifest that names them.
struct Inventory {
    files: Vec<(String, Vec<u8>)>,
    manifest: serde_json::Value,
}

impl Inventory {
    fn new(format: &str, schema: &str, files: Vec<Vec<u8>>) -> Self {
        let end = if format == "CSV" { "csv.gz" } else { "parquet" };
        let name = |index: usize| format!("inventory/lake/all/data/{index:08x}-0000.{end}");
        let files: Vec<_> =
            files.into_iter().enumerate().map(|(index, file)| (name(index), file)).collect();
        let told = |(key, file): &(String, Vec<u8>)| json!({ "key": key, "size": file.len(), "MD5checksum": md5(file) });
        let manifest = json!({
            "sourceBucket": BUCKET,
            "destinationBucket": "arn:aws:s3:::lists",
            "version": "2016-11-30",
            "creationTimestamp": "1709164800000",
            "fileFormat": format,
            "fileSchema": schema,
            "files": files.iter().map(told).collect::<Vec<_>>(),
        });
        Self { files, manifest }
    }

    /// Of these objects, so many a file.
    fn csv(bodies: &Bodies, each: usize) -> Self {
        let rows: Vec<_> = bodies.iter().map(|(key, body)| row(key, body)).collect();
        Self::new("CSV", SCHEMA, rows.chunks(each).map(|rows| gzip(&rows.concat())).collect())
    }

    /// Puts it into the bucket `lists`; says where its manifest is.
    fn put(&self, server: &Server) -> String {
        for (key, file) in &self.files {
            server.put(&format!("../lists/{key}"), file);
        }
        let manifest = self.manifest.to_string();
        server.put(&format!("../lists/{FOLDER}/manifest.json"), manifest.as_bytes());
        format!("s3://lists/{FOLDER}/manifest.json")
    }

    /// Writes it into a folder, and its files into another one below or beside; says where its manifest is.
    fn save(&self, folder: &Path, files: &Path) -> String {
        std::fs::create_dir_all(folder).expect("a folder");
        for (key, file) in &self.files {
            let path = files.join(key.rsplit('/').next().expect("a name"));
            std::fs::create_dir_all(files).expect("a folder");
            std::fs::write(path, file).expect("a file");
        }
        let path = folder.join("manifest.json");
        std::fs::write(&path, self.manifest.to_string()).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

fn server() -> Server {
    let server = Server::start(None);
    server.bucket("lists");
    server
}

fn call(server: &Server, place: &Place, manifest: &str) -> Windrow {
    get(server, place, &format!("s3://{BUCKET}")).args(["--inventory", manifest])
}

fn lists(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.path().starts_with("/lists/")).count()
}

#[test]
fn an_inventory_stands_for_the_listing() {
    let server = server();
    let mut bodies = server.fill(2300);
    bodies.extend(crate::upload_odd(&server));
    let inventory = Inventory::csv(&bodies, 900);
    let manifest = inventory.put(&server);
    for format in ["files", "tar"] {
        let place = Place::new();
        server.forget();
        let done = call(&server, &place, &manifest).args(["--format", format]);
        if format == "files" {
            // Some keys are no files.
            let source = format!("s3://{BUCKET}/part-0");
            let some = get(&server, &place, &source).args(["--inventory", &manifest]);
            some.run().complete(2300);
            continue;
        }
        let done = done.run().complete(bodies.len() as u64);
        assert_same(&stored(&done), &by_key(&bodies));
        let asked = server.asked();
        assert!(asked.iter().all(|asked| !asked.target.contains("list-type")));
        // The manifest, and three files of one piece each.
        assert_eq!(lists(&asked), 4);
        // It is all there: the same line asks for none of it.
        server.forget();
        call(&server, &place, &manifest)
            .args(["--format", format])
            .run()
            .complete(bodies.len() as u64);
        let asked = server.asked();
        assert_eq!(asked.len() - lists(&asked), 0, "{asked:?}");
    }
}

#[test]
fn files_beside_the_manifest_are_not_fetched() {
    let server = server();
    let bodies = server.fill(700);
    let inventory = Inventory::csv(&bodies, 300);
    let place = Place::new();
    let layouts = [
        ("m1/2024", "m1/2024"),
        ("m2/2024", "m2/data"),
        ("m3", "m3/inventory/lake/all/data"),
        ("m4", "elsewhere"),
    ];
    for (folder, files) in layouts {
        let manifest = inventory.save(&place.at(folder), &place.at(files));
        let own = Place::new();
        server.forget();
        match files {
            "elsewhere" => {
                let wrong = call(&server, &own, &manifest).run().expect(2);
                wrong.says([
                    "s3://lists/inventory/lake/all/data/",
                    "cannot read the inventory",
                    "NoSuchKey",
                ]);
                inventory.put(&server);
                call(&server, &own, &manifest).run().complete(700);
                assert_eq!(lists(&server.asked()), 4);
            }
            _ => {
                call(&server, &own, &manifest).run().complete(700);
                assert_eq!(lists(&server.asked()), 0);
            }
        }
    }
}

#[test]
fn only_latest_versions_that_are_there() {
    let server = server();
    let bodies = server.fill(60);
    let mut text = String::new();
    for (index, (key, body)) in bodies.iter().enumerate() {
        text += &row(key, b"an earlier one").replace("\"true\"", "\"false\"");
        text += &row(key, body);
        if index % 4 == 0 {
            text += &row(&format!("gone/{key}"), b"").replace("\"false\"", "\"true\"");
        }
    }
    let manifest = Inventory::new("CSV", SCHEMA, vec![gzip(&text)]).put(&server);
    let place = Place::new();
    let done = call(&server, &place, &manifest).run().complete(60);
    assert_same(&stored(&done), &by_key(&bodies));
}

#[test]
fn what_the_inventory_says_is_checked() {
    let server = server();
    let mut bodies = server.fill(50);
    let manifest = Inventory::csv(&bodies, 50).put(&server);
    let key = bodies.keys().nth(7).expect("a key").clone();
    server.put(&key, b"something else");
    let gone = bodies.keys().nth(9).expect("a key").clone();
    server.remove(&gone);
    let place = Place::new();
    let done = call(&server, &place, &manifest).args(["--retry", "1"]).run().expect(1).sum_holds();
    assert_eq!((done.figure("stored"), done.failed("not_found")), (48, 1));
    assert_eq!(done.failed("checksum") + done.failed("changed"), 1);
    bodies.remove(&key);
    bodies.remove(&gone);
    assert_same(&stored(&done), &by_key(&bodies));
}

#[test]
fn filters_go_by_columns() {
    let server = server();
    let bodies = server.fill(1500);
    let manifest = Inventory::csv(&bodies, 700).put(&server);
    let fetched = |args: &[&str]| {
        let place = Place::new();
        let source = format!("s3://{BUCKET}/part-0");
        let get = get(&server, &place, &source).args(["--inventory", &manifest]).args(args);
        let done = get.run().expect(0).sum_holds();
        done.figures_are([("skipped", 0), ("failed", 0), ("pending", 0)]);
        (done.figure("stored"), done)
    };
    let count = |wanted: &dyn Fn(&str, usize) -> bool| {
        bodies.iter().filter(|(key, body)| wanted(key, body.len())).count() as u64
    };
    let (threes, done) = fetched(&["--include", "3/*"]);
    assert_eq!(threes, count(&|key, _| key.starts_with("part-03/")));
    let out = format!("{} objects were left out by filters", 1500 - threes);
    done.says([out.as_str()]);
    assert_eq!(fetched(&["--exclude", "*9.bin"]).0, count(&|key, _| !key.ends_with("9.bin")));
    assert_eq!(fetched(&["--if-size", "1..4KiB"]).0, count(&|_, size| (1..=4096).contains(&size)));
    assert_eq!(fetched(&["--newer-than", "2024-02-28T10:00:00Z"]).0, 1500);
    assert_eq!(fetched(&["--newer-than", "2024-02-28T10:00:01Z"]).0, 0);
    assert_eq!(fetched(&["--older-than", "2024-02-29"]).0, 1500);
    assert_eq!(fetched(&["--limit", "10"]).0, 10);
}

#[test]
fn a_run_that_was_killed_goes_on() {
    let server = server();
    let bodies = server.fill(4200);
    let manifest = Inventory::csv(&bodies, 1700).put(&server);
    for (format, filter) in [("tar", None), ("files", None), ("tar", Some("*[0-7].bin"))] {
        let place = Place::new();
        let call = || {
            let call = call(&server, &place, &manifest).args(["--format", format]);
            call.args(["--commit-interval", "50ms"])
                .args(filter.map(|glob| format!("--include={glob}")))
        };
        let wanted =
            |key: &str| filter.is_none() || !key.ends_with("8.bin") && !key.ends_with("9.bin");
        let wanted: Bodies = bodies
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, body)| (key.clone(), body.clone()))
            .collect();
        killed_and_taken_up(&server, &call, &wanted);
    }
}

#[test]
fn what_is_wrong_is_one_clear_line() {
    let server = server();
    let bodies = server.fill(30);
    let good = || Inventory::csv(&bodies, 10);
    let said = |exit: u8, inventory: &Inventory, says: &[&str]| {
        let place = Place::new();
        let manifest = inventory.put(&server);
        let done =
            call(&server, &place, &manifest).args(["--retry", "1"]).run().expect(exit.into());
        done.says(says.iter().copied())
    };
    let mut damaged = good();
    let middle = damaged.files[1].1.len() / 2;
    damaged.files[1].1[middle] ^= 1;
    let done = said(4, &damaged, &["is not the file that the manifest names: its MD5 is another"]);
    // What was before it is there.
    assert!(done.figure("stored") <= 10);
    let mut short = good();
    short.files[0].1.pop();
    said(4, &short, &["s3://lists/", "cannot read the inventory: ", " bytes came in place of "]);
    let mut orc = good();
    orc.manifest["fileFormat"] = "ORC".into();
    said(2, &orc, &["is an inventory in ORC", "hint: set the inventory's format"]);
    let mut other = good();
    other.manifest["sourceBucket"] = "sea".into();
    said(2, &other, &["is the inventory of another bucket: of `sea`, not of `lake`"]);
    let foreign = row("a", b"").replace(&format!("\"{BUCKET}\""), "\"sea\"");
    let foreign = Inventory::new("CSV", SCHEMA, vec![gzip(&foreign)]);
    said(2, &foreign, &["is the inventory of another bucket: row 1"]);
    let odd = Inventory::new("CSV", SCHEMA, vec![gzip("lake,a\n")]);
    said(4, &odd, &["is corrupt, or no file of an inventory: row 1: it has 2 fields, not 9"]);
    let place = Place::new();
    let none = call(&server, &place, "s3://lists/no/manifest.json").run().expect(2);
    none.says(["s3://lists/no/manifest.json", "cannot read the inventory: NoSuchKey"]);
    call(&server, &place, "/no/manifest.json").run().expect(2).says(["cannot read the inventory"]);
    call(&server, &place, "s3://lists").run().expect(2).says(["not the address of a manifest"]);
    let both = call(&server, &place, "m").args(["--keys", "k"]).run().expect(2);
    both.says(["cannot be used with"]);
    let wrong = crate::support::windrow().get("http://127.0.0.1:9", &place.at("other"));
    wrong.args(["--inventory", "m"]).run().expect(2).says(["only a bucket has one"]);
}

#[test]
fn files_come_in_pieces_and_again_after_a_fault() {
    let server = server();
    let bodies = server.fill(20);
    // Larger than a piece, whatever gzip makes of it: rows of another prefix, stored as they are.
    let mut text: String = (0..100_000).map(|n| row(&format!("else/{n}"), b"")).collect();
    for (key, body) in &bodies {
        text += &row(key, body);
    }
    let mut plain = GzEncoder::new(Vec::new(), Compression::none());
    plain.write_all(text.as_bytes()).expect("memory");
    let file = plain.finish().expect("memory");
    assert!(file.len() > 8 << 20);
    let pieces = file.len().div_ceil(4 << 20);
    let manifest = Inventory::new("CSV", SCHEMA, vec![file]).put(&server);
    let mut seen = 0;
    server.trick(Box::new(move |_, target| {
        seen += usize::from(target.contains("/data/"));
        (seen == 2 && target.contains("/data/")).then_some(Trick::Status(500))
    }));
    let place = Place::new();
    server.forget();
    let source = format!("s3://{BUCKET}/part-0");
    let done = get(&server, &place, &source).args(["--inventory", &manifest]).run().complete(20);
    assert_eq!(lists(&server.asked()), 1 + pieces + 1);
    assert_same(&stored(&done), &by_key(&bodies));
}

/// Buckets in the names of hosts, by way of a proxy that plays all of them.
#[test]
fn an_inventory_is_asked_for_at_the_service_itself() {
    let file = gzip("lake,a+b,2\nlake,c,4\n");
    let inventory = Inventory::new("CSV", "Bucket, Key, Size", vec![file.clone()]);
    let (manifest, data) = (inventory.manifest.to_string(), inventory.files[0].0.clone());
    let server = Script::start(move |request: &Request| {
        let data = format!("http://store.test/lists/{data}");
        let (status, body) = match request.target.as_str() {
            "http://store.test/lists/manifest.json" => ("200 OK", manifest.as_bytes()),
            target if target == data => ("206 Partial Content", &file[..]),
            "http://lake.store.test/a%20b" => ("200 OK", &b"ab"[..]),
            "http://lake.store.test/c" => ("200 OK", &b"cccc"[..]),
            _ => ("404 Not Found", &b""[..]),
        };
        vec![Step::Send(http::response(status, &[], body))]
    });
    let place = Place::new();
    let get =
        asked(&place, &format!("s3://{BUCKET}")).args(["--endpoint-url", "http://store.test"]);
    let get =
        get.args(["--s3-style", "virtual", "--no-sign-request"]).env("HTTP_PROXY", server.url());
    let done = get.args(["--inventory", "s3://lists/manifest.json"]).run().complete(2);
    let bodies = [("a b", &b"ab"[..]), ("c", b"cccc")];
    let bodies = bodies.map(|(key, body)| (key.to_owned(), body.to_vec())).into();
    assert_same(&stored(&done), &by_key(&bodies));
}

/// Writes an inventory in Parquet of a JSON file of `[key, size, etag, is_latest, is_delete_marker]`.
const PARQUET: &str = r#"
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
from datetime import datetime, timezone

rows = json.load(open(sys.argv[1], encoding="utf-8"))
schema = pa.schema([
    pa.field("bucket", pa.string(), nullable=False), pa.field("key", pa.string(), nullable=False),
    ("version_id", pa.string()), ("is_latest", pa.bool_()), ("is_delete_marker", pa.bool_()),
    ("size", pa.int64()), ("last_modified_date", pa.timestamp("ms")), ("e_tag", pa.string()),
    ("storage_class", pa.string()), ("is_multipart_uploaded", pa.bool_()),
])
when = datetime(2024, 2, 28, 10)
table = pa.table([
    ["lake"] * len(rows), [row[0] for row in rows], ["v"] * len(rows), [row[3] for row in rows],
    [row[4] for row in rows], [row[1] for row in rows], [when] * len(rows), [row[2] for row in rows],
    ["STANDARD"] * len(rows), [False] * len(rows),
], schema=schema)
pq.write_table(table, sys.argv[2], compression="snappy", row_group_size=700)
"#;

#[test]
fn parquet_as_others_write_it() {
    let there =
        Command::new("python3").args(["-c", "import pyarrow"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: Python has no pyarrow: pip install pyarrow");
        return;
    }
    let server = server();
    let mut bodies = server.fill(2300);
    bodies.extend(crate::upload_odd(&server));
    let mut rows = Vec::new();
    for (index, (key, body)) in bodies.iter().enumerate() {
        if index % 5 == 0 {
            rows.push(json!([key, 1, md5(b"x"), false, false]));
            rows.push(json!([format!("gone/{key}"), null, null, true, true]));
        }
        rows.push(json!([key, body.len(), md5(body), true, false]));
    }
    let place = Place::new();
    let json = place.file("rows.json", serde_json::to_string(&rows).expect("JSON"));
    let file = place.at("rows.parquet");
    let mut python = Command::new("python3");
    let done = python.args(["-c", PARQUET, &json]).arg(&file).output().expect("python3");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let bytes = std::fs::read(&file).expect("a file");
    let inventory = Inventory::new("Parquet", "message s3.inventory { }", vec![bytes]);
    let manifest = inventory.put(&server);
    let call = || call(&server, &place, &manifest).args(["--format", "tar"]);
    server.forget();
    let mut running = call().args(["--commit-interval", "50ms"]).start();
    wait::until("some are fetched", || server.asked().len() >= 1300 || running.has_ended());
    if !running.has_ended() {
        running.signal(Signal::KILL);
    }
    running.finish();
    let done = call().args(["--commit-interval", "50ms"]).run().complete(bodies.len() as u64);
    assert_same(&stored(&done), &by_key(&bodies));
    let other = Place::new();
    let newer = ["--inventory", &manifest, "--newer-than", "2024-02-28T10:00:01Z"];
    get(&server, &other, &format!("s3://{BUCKET}")).args(newer).run().complete(0);
}
