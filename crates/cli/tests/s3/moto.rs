//! A second server of S3, by other people: moto. Skipped where Python has no `moto[server]`.

use crate::buckets::{asked, by_key};
use crate::support::{Place, assert_same, stored};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use windrow_testkit::child::Process;

/// Serves the objects of a JSON file until its standard input ends; prints its URL first.
const SERVER: &str = r#"
import json, sys
from moto.server import ThreadedMotoServer
import boto3

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1",
                  aws_access_key_id="key", aws_secret_access_key="secret")
s3.create_bucket(Bucket="lake")
with open(sys.argv[1], encoding="utf-8") as objects:
    for key, body in json.load(objects).items():
        s3.put_object(Bucket="lake", Key=key, Body=body.encode())
print(url, flush=True)
sys.stdin.read()
"#;

/// Without a line feed, which moto's own router does not take.
const ODD_KEYS: [&str; 23] = [
    "a space",
    "plus+plus",
    "100%",
    "%41 is not A",
    "%2F is no slash",
    "%2E%2E is no step",
    "Grüße/Ünïcode ☃",
    "日本語.txt",
    "emoji 🦀",
    "equals=and&amp?question#hash",
    "quotes'\"`<>[]{}|\\^",
    "comma,semi;colon:at@dollar$bang!star*(paren)",
    "a//b",
    "a///b",
    "trailing/",
    "./dot",
    "dots/../dots",
    "dots/./dots",
    "..",
    "tab\tand return\r",
    "-",
    "~tilde",
    "con/aux/nul",
];

#[test]
fn moto_gives_what_it_was_given() {
    let imports = ["-c", "import moto.server, boto3"];
    let there = Command::new("python3").args(imports).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: Python has no moto: pip install 'moto[server]'");
        return;
    }
    let keys = ODD_KEYS.iter().map(|&key| key.to_owned());
    let keys = keys.chain((0..2150).map(|n| format!("many/{:04}.bin", n * 3)));
    let bodies: BTreeMap<String, String> =
        keys.map(|key| (key.clone(), format!("<{key}>"))).collect();
    let place = Place::new();
    let json = serde_json::to_string(&bodies).expect("JSON");
    let objects = place.file("objects.json", json);
    let mut command = Command::new("python3");
    command.args(["-c", SERVER, &objects]).stdin(Stdio::piped());
    let mut server = Process::spawn(&mut command).expect("python3");
    let url = server.first_line().unwrap_or_else(|| panic!("{}", server.stderr()));
    let bodies: BTreeMap<_, _> =
        bodies.into_iter().map(|(key, body)| (key, body.into_bytes())).collect();
    for args in [&[][..], &["--list-objects-v1"], &["--list-concurrency", "1"]] {
        let place = Place::new();
        let get = asked(&place, "s3://lake").args(["--endpoint-url", &url, "--format", "tar"]);
        let get = get.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
        let done = get.args(args).run().complete(bodies.len() as u64);
        assert_same(&stored(&done), &by_key(&bodies));
    }
}
