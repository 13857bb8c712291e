//! The story of R8: images of one bucket, made small, into another; the first failure stops it.

use crate::server::{BUCKET, Server};
use crate::support::{Place, windrow};
use std::io::Write;
use std::process::Command;
use windrow_testkit::{Tree, Windrow};

/// Makes images of several kinds: in folder, count.
const MAKE: &str = r#"
import os, sys
from PIL import Image
folder, count = sys.argv[1], int(sys.argv[2])
for index in range(count):
    image = Image.linear_gradient("L").resize((300 + index, 200)).convert("RGB")
    kind = ("jpg", "png", "webp")[index % 3]
    os.makedirs(f"{folder}/set-{index % 4}", exist_ok=True)
    image.save(f"{folder}/set-{index % 4}/{index:04}.{kind}")
"#;

/// Says what each file is: format, width, height.
const LOOK: &str = r#"
import sys
from PIL import Image
for path in sys.stdin.read().split("\n"):
    if path:
        with Image.open(path) as image:
            image.load()
            print(image.format, *image.size)
"#;

fn python(script: &str, args: &[&str], input: &str) -> Option<String> {
    let found = Command::new("python3").args(["-c", "import PIL"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        eprintln!("skipped: Python has no Pillow");
        return None;
    }
    let mut list = tempfile::NamedTempFile::new().expect("a file");
    list.write_all(input.as_bytes()).expect("a file");
    let mut call = Command::new("python3");
    call.args(["-c", script]).args(args).stdin(list.reopen().expect("a file"));
    let done = call.output().expect("Python");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).expect("text"))
}

fn resize(server: &Server, place: &Place) -> Windrow {
    let job = place.at("job");
    let get = windrow().args(["get", &format!("s3://{BUCKET}"), "-o", "s3://small/thumbs/"]);
    let get = get.arg("--job").arg(&job).dest(&job).args(["--transform", "resize=64,format=jpeg"]);
    let signer = server.signer();
    get.args(["--on-error", "stop", "--endpoint-url", &format!("http://{}", server.host())])
        .env("AWS_ACCESS_KEY_ID", signer.access_key)
        .env("AWS_SECRET_ACCESS_KEY", signer.secret)
        .env("AWS_SESSION_TOKEN", signer.token.unwrap_or_default())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", place.path())
}

#[test]
fn images_go_from_bucket_to_bucket_and_the_first_failure_stops_it() {
    const COUNT: usize = 120;
    let (server, place) = (Server::start(None), Place::new());
    server.bucket("small");
    let made = place.at("made");
    std::fs::create_dir(&made).expect("a folder");
    let made_at = made.to_str().expect("a path of text");
    if python(MAKE, &[made_at, &COUNT.to_string()], "").is_none() {
        return;
    }
    for (path, body) in Tree::read(&made).0 {
        server.put(path.to_str().expect("a key"), &body);
    }
    // Cut in the middle: the first that cannot be made small.
    let whole = std::fs::read(made.join("set-2/0066.jpg")).expect("a file");
    server.put("set-2/0066.jpg", &whole[..whole.len() / 2]);
    let done = resize(&server, &place).run().expect(3);
    let (stored, failed) = (done.figure("stored"), done.failed("transform"));
    assert_eq!(failed, 1);
    assert_eq!(done.figure("listed"), stored + failed + done.figure("pending"));
    assert_eq!(server.objects("small").len() as u64, stored);
    // Mended, the same line goes on: what is there is not made again.
    server.put("set-2/0066.jpg", &whole);
    server.forget();
    let done = resize(&server, &place).run().complete(COUNT as u64);
    let gets = server.asked().iter().filter(|asked| asked.method == "GET").count() as u64;
    assert!(gets <= COUNT as u64 - stored + 1, "{gets} requests for what was left of {stored}");
    assert_eq!(done.figure("stored"), COUNT as u64);
    let small = place.at("look");
    std::fs::create_dir(&small).expect("a folder");
    let mut list = String::new();
    for (index, (key, body)) in server.objects("small").into_iter().enumerate() {
        assert!(made.join(key.strip_prefix("thumbs/").expect("the prefix")).exists(), "{key}");
        let path = small.join(index.to_string());
        std::fs::write(&path, body).expect("a file");
        list += &format!("{}\n", path.display());
    }
    let seen = python(LOOK, &[], &list).expect("it was there before");
    assert_eq!(seen.lines().count(), COUNT);
    for line in seen.lines() {
        let fits = line.starts_with("JPEG 64 ") || line.ends_with(" 64");
        assert!(fits, "{line}");
    }
}
