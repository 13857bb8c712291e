//! `s3://BUCKET/PREFIX` as the source: listed, and signed as requests leave.

use crate::server::{ACCESS_KEY, BUCKET, Server, Trick};
use crate::support::{Objects, Place, assert_same, stored, windrow};
use std::collections::BTreeMap;
use windrow_testkit::{Tree, Windrow};

/// A call that knows the server and who may ask.
pub(crate) fn get(server: &Server, place: &Place, source: &str) -> Windrow {
    let signer = server.signer();
    let get = asked(place, source).args(["--endpoint-url", &format!("http://{}", server.host())]);
    get.env("AWS_ACCESS_KEY_ID", signer.access_key)
        .env("AWS_SECRET_ACCESS_KEY", signer.secret)
        .env("AWS_SESSION_TOKEN", signer.token.unwrap_or_default())
}

/// Without either. The home is empty, and nobody asks what is no machine of AWS.
pub(crate) fn asked(place: &Place, source: &str) -> Windrow {
    let get = windrow().get(source, &place.at("out")).args(["-v", "-c", "16"]);
    get.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", place.path())
}

pub(crate) fn by_key(bodies: &BTreeMap<String, Vec<u8>>) -> Objects {
    bodies.iter().map(|(key, body)| (key.clone().into_bytes(), body.clone())).collect()
}

#[test]
fn a_bucket_is_emptied_page_by_page() {
    let server = Server::start(None);
    let bodies = server.fill(2500);
    for format in ["files", "tar"] {
        let place = Place::new();
        let get = || get(&server, &place, &format!("s3://{BUCKET}")).args(["--format", format]);
        server.forget();
        let done = get().run().complete(2500);
        assert_same(&stored(&done), &by_key(&bodies));
        let asked = server.asked();
        let pages = asked.iter().filter(|asked| asked.target.contains("list-type=2")).count();
        assert_eq!((pages, asked.len()), (3, 2503));
        assert!(asked.iter().all(|asked| asked.status == 200));
        // It is all there.
        server.forget();
        get().run().complete(2500);
        assert!(server.asked().len() <= 1, "{:?}", server.asked());
        // Secrets are in no file and in no line.
        let said = [done.stderr.as_bytes(), done.stdout.as_bytes()].concat();
        let files = Tree::read(&place.at("out/.windrow")).0.into_values().flatten();
        let all: Vec<u8> = said.into_iter().chain(files).collect();
        for secret in [ACCESS_KEY, "canary", "Signature="] {
            let found = all.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} was written");
        }
    }
}

#[test]
fn a_prefix_and_what_is_behind_a_key() {
    let server = Server::start(None);
    let bodies = server.fill(300);
    let place = Place::new();
    let source = format!("s3://{BUCKET}/part-03/");
    let done = get(&server, &place, &source).run().expect(0);
    let of = |key: &&String| key.starts_with("part-03/");
    assert_eq!(done.figure("stored"), bodies.keys().filter(of).count() as u64);
    let (place, after) = (Place::new(), "part-03/object-00150.bin");
    let done = get(&server, &place, &source).args(["--start-after", after]).run().expect(0);
    let behind = bodies.keys().filter(of).filter(|key| key.as_str() > after).count();
    assert_eq!(done.figure("stored"), behind as u64);
    let done = get(&server, &Place::new(), &format!("s3://{BUCKET}/nothing/")).run().expect(0);
    assert_eq!(done.figure("listed"), 0);
}

#[test]
fn keys_of_a_file_need_no_listing() {
    let server = Server::start(None);
    let bodies = server.fill(1500);
    let place = Place::new();
    let some: BTreeMap<_, _> = bodies.into_iter().step_by(2).collect();
    let mut lines: String = some.keys().map(|key| format!("{key}\n")).collect();
    lines += "no/such/key\n";
    let keys = place.file("keys.txt", lines);
    let get = || get(&server, &place, &format!("s3://{BUCKET}")).args(["--keys", &keys]);
    server.forget();
    let done = get().run().expect(1);
    assert_eq!((done.figure("stored"), done.failed("not_found")), (some.len() as u64, 1));
    assert_same(&stored(&done), &by_key(&some));
    assert!(server.asked().iter().all(|asked| !asked.target.contains("list-type")));
    // What failed is tried again, and only that.
    server.forget();
    get().run().expect(1);
    assert!(server.asked().iter().all(|asked| asked.status == 404), "{:?}", server.asked());
}

#[test]
fn odd_keys_are_addressed_exactly() {
    let server = Server::start(None);
    let bodies = crate::upload_odd(&server);
    let place = Place::new();
    let get = get(&server, &place, &format!("s3://{BUCKET}")).args(["--format", "tar"]);
    assert_same(&stored(&get.run().complete(bodies.len() as u64)), &by_key(&bodies));
}

#[test]
fn what_is_wrong_is_one_clear_line() {
    let server = Server::start(None);
    server.fill(3);
    let place = Place::new();
    let bucket = format!("s3://{BUCKET}");
    let wrong = get(&server, &place, &bucket).env("AWS_SECRET_ACCESS_KEY", "wrong");
    wrong.run().expect(2).says(["SignatureDoesNotMatch", "hint: AWS_ACCESS_KEY_ID"]);
    let wrong = get(&server, &place, &bucket).env("AWS_ACCESS_KEY_ID", "nobody");
    // InvalidAccessKeyId elsewhere.
    wrong.run().expect(2).says(["NotSignedUp", "hint: AWS_ACCESS_KEY_ID"]);
    get(&server, &place, "s3://no-such-bucket").run().expect(2).says(["NoSuchBucket"]);
    get(&server, &place, "s3://").run().expect(2).says(["not a bucket"]);
    let nobody = asked(&place, &bucket).args(["--endpoint-url", "http://127.0.0.1:9"]);
    nobody.run().expect(2).says(["credentials: none were found", "--no-sign-request"]);
    let refused = asked(&place, &bucket).arg("--no-sign-request");
    let endpoint = format!("http://{}", server.host());
    refused.args(["--endpoint-url", &endpoint]).run().expect(2).says(["AccessDenied"]);
    let other = windrow().serve(["--synthetic", "5"]);
    let other = asked(&place, &bucket).args(["--no-sign-request", "--endpoint-url", &other.url]);
    other.run().expect(2).says(["s3://lake/ at "]);
    // What s3s does not look at.
    for (status, code, told) in [
        (400, "ExpiredToken", "hint: the session's credentials are to be renewed"),
        (400, "AuthorizationHeaderMalformed", "AuthorizationHeaderMalformed: Please do not."),
        (301, "PermanentRedirect", "PermanentRedirect: Please do not."),
    ] {
        server.trick(Box::new(move |_, _| Some(Trick::Refuse(status, code))));
        get(&server, &place, &bucket).run().expect(2).says([code, told]);
    }
    assert!(!place.at("out").exists());
}

#[test]
fn a_key_that_goes_away_fails_alone() {
    let server = Server::start(None);
    let bodies = server.fill(50);
    let place = Place::new();
    // Between the listing and the object.
    let (gone, _) = bodies.iter().next().expect("a key");
    server.remove_when_listed(gone);
    let done = get(&server, &place, &format!("s3://{BUCKET}")).run().expect(1);
    assert_eq!((done.figure("stored"), done.failed("not_found")), (49, 1));
}

#[test]
fn credentials_come_from_a_profile() {
    let server = Server::start(None);
    server.fill(5);
    let place = Place::new();
    let signer = server.signer();
    std::fs::create_dir(place.at(".aws")).expect("a folder");
    let text = format!(
        "[lake]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        signer.access_key, signer.secret
    );
    place.file(".aws/credentials", text);
    let endpoint = format!("http://{}", server.host());
    let get = asked(&place, &format!("s3://{BUCKET}")).args(["--endpoint-url", &endpoint]);
    get.args(["--profile", "lake"]).run().complete(5);
}

/// The story: requests that were signed long before they were sent were refused. Here the clock is
/// an hour off all the time, and each request is signed when it leaves, by the server's clock.
#[test]
fn a_clock_that_is_wrong_is_corrected_by_the_servers() {
    let server = Server::start(None);
    let bodies = server.fill(200);
    for offset in ["-1h", "+3h"] {
        let place = Place::new();
        let call = get(&server, &place, &format!("s3://{BUCKET}"));
        let done = call.under("faketime", &["-f".into(), offset.into()]).run().complete(200);
        assert_same(&stored(&done), &by_key(&bodies));
    }
}
