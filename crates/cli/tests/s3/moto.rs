//! A second server of S3, by other people: moto. Skipped where Python has no `moto[server]`.

use crate::buckets::{asked, by_key};
use crate::support::{Place, assert_same, stored, windrow};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use windrow_testkit::Windrow;
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
for bucket in ["lake", "out"]:
    s3.create_bucket(Bucket=bucket)
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

/// Moto, with these objects in the bucket `lake` and none in `out`; `None` where Python has none.
fn moto(place: &Place, bodies: &BTreeMap<String, String>) -> Option<(Process, String)> {
    let imports = ["-c", "import moto.server, boto3"];
    let there = Command::new("python3").args(imports).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: Python has no moto: pip install 'moto[server]'");
        return None;
    }
    let json = serde_json::to_string(bodies).expect("JSON");
    let objects = place.file("objects.json", json);
    let mut command = Command::new("python3");
    command.args(["-c", SERVER, &objects]).stdin(Stdio::piped());
    let mut server = Process::spawn(&mut command).expect("python3");
    let url = server.first_line().unwrap_or_else(|| panic!("{}", server.stderr()));
    Some((server, url))
}

#[test]
fn moto_gives_what_it_was_given() {
    let keys = ODD_KEYS.iter().map(|&key| key.to_owned());
    let keys = keys.chain((0..2150).map(|n| format!("many/{:04}.bin", n * 3)));
    let bodies: BTreeMap<String, String> =
        keys.map(|key| (key.clone(), format!("<{key}>"))).collect();
    let place = Place::new();
    let Some((_server, url)) = moto(&place, &bodies) else { return };
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

/// What a client of AWS's own says of the server: `URL` and the script's arguments.
fn boto3(url: &str, script: &str) -> String {
    let client = format!(
        "import boto3, json\ns3 = boto3.client('s3', endpoint_url='{url}', region_name='us-east-1', \
         aws_access_key_id='key', aws_secret_access_key='secret')\n{script}"
    );
    let done = Command::new("python3").args(["-c", &client]).output().expect("python3");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

fn send(place: &Place, url: &str, args: &[&str]) -> Windrow {
    let job = place.at("job");
    let call = windrow().args(["get", "s3://lake", "-o", "s3://out", "--endpoint-url", url]);
    let call = call.arg("--job").arg(&job).dest(&job).arg("--force-path-style").args(args);
    call.env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", place.path())
}

#[test]
fn moto_takes_what_it_is_given() {
    let keys = ODD_KEYS.iter().map(|&key| key.to_owned());
    let keys = keys.chain((0..300).map(|n| format!("many/{n:04}.bin")));
    let bodies: BTreeMap<String, String> =
        keys.map(|key| (key.clone(), format!("<{key}>"))).collect();
    let place = Place::new();
    let Some((_server, url)) = moto(&place, &bodies) else { return };
    boto3(
        &url,
        "s3.put_object(Bucket='lake', Key='said.png', Body=b'x', ContentType='image/png', \
         CacheControl='max-age=5', Metadata={'owner': 'me  two', 'b': '1'}, \
         ContentEncoding='identity')\n\
         s3.put_object(Bucket='lake', Key='packed', Body=b'y', ContentEncoding='br')\n\
         s3.put_object(Bucket='out', Key='many/0007.bin', Body=b'another')\n\
         s3.put_object(Bucket='out', Key='many/0008.bin', Body=b'<many/0008.bin>')\n\
         s3.create_multipart_upload(Bucket='out', Key='many/0009.bin')\n\
         s3.create_multipart_upload(Bucket='out', Key='many/0009.bin.not')\n\
         s3.create_multipart_upload(Bucket='out', Key='many/0010.bin')\n",
    );
    // An earlier process was killed before it heard the names of its uploads. One of them was begun
    // when moto says that all were; the other is an hour younger than what is there of that key.
    let state = place.at("job/.windrow");
    std::fs::create_dir_all(&state).expect("a folder");
    let moment = 1_289_422_113;
    for (nth, (key, begun)) in [("0009", moment - 60), ("0010", moment + 3600)].iter().enumerate() {
        let path = format!("/out/many/{key}.bin");
        let note = serde_json::json!({ "at": format!("{url}out"), "path": path, "id": null, "begun": begun });
        std::fs::write(state.join(format!("upload-{nth}.json")), note.to_string()).expect("a file");
    }
    let all = bodies.len() as u64 + 2;
    let done = send(&place, &url, &["--if-none-match", "--keep-metadata"]).run().expect(1);
    assert_eq!((done.figure("stored"), done.failed("name")), (all - 1, 1), "{}", done.stderr);
    let left = "print([u['Key'] for u in s3.list_multipart_uploads(Bucket='out')['Uploads']])";
    assert_eq!(boto3(&url, left).trim(), "['many/0009.bin.not', 'many/0010.bin']");
    let bodies_there = "out = {}\n\
         for page in s3.get_paginator('list_objects_v2').paginate(Bucket='out'):\n \
         for o in page['Contents']:\n  \
         out[o['Key']] = s3.get_object(Bucket='out', Key=o['Key'])['Body'].read().decode()\n\
         print(json.dumps(out))";
    let mut found: BTreeMap<String, String> =
        serde_json::from_str(&boto3(&url, bodies_there)).expect("JSON");
    assert_eq!(found.remove("many/0007.bin").as_deref(), Some("another"));
    assert_eq!(found.remove("said.png").as_deref(), Some("x"));
    assert_eq!(found.remove("packed").as_deref(), Some("y"));
    let mut expected = bodies;
    expected.remove("many/0007.bin");
    assert_eq!(found, expected);
    let heads = "for key in ['said.png', 'packed']:\n \
         h = s3.head_object(Bucket='out', Key=key)\n \
         print(h['ContentType'], h.get('CacheControl'), h['Metadata'], h.get('ContentEncoding'))";
    let heads = boto3(&url, heads);
    let (said, packed) = heads.trim().split_once('\n').expect("two lines");
    for part in ["image/png max-age=5", "'owner': 'me two'", "'b': '1'"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(packed.ends_with("{} br"), "{packed}");
    // What is in the way stays, also when the run is taken up.
    send(&place, &url, &["--if-none-match", "--keep-metadata"]).run().expect(1);
}

#[test]
fn packs_go_to_moto_in_parts() {
    let bodies: BTreeMap<String, String> =
        (0..2_u32).map(|n| (format!("{n}.bin"), format!("{n:07}\n").repeat(2_500_000))).collect();
    let place = Place::new();
    let Some((_server, url)) = moto(&place, &bodies) else { return };
    send(&place, &url, &["--format", "tar"]).run().complete(2);
    let folder = place.at("packs");
    std::fs::create_dir(&folder).expect("a folder");
    let fetch = format!(
        "for o in s3.list_objects_v2(Bucket='out')['Contents']:\n \
         s3.download_file('out', o['Key'], '{}/' + o['Key'])\n \
         print(o['Key'], o['ETag'])",
        folder.display()
    );
    let tags = boto3(&url, &fetch);
    assert!(tags.lines().any(|line| line.ends_with("-3\"")), "{tags}");
    let found = crate::support::packed(&folder);
    let bodies: BTreeMap<_, _> =
        bodies.into_iter().map(|(key, body)| (key, body.into_bytes())).collect();
    assert_same(&found, &by_key(&bodies));
}
