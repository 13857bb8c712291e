//! `-o s3://BUCKET/PREFIX`: objects and packs put into a bucket.

use crate::server::{ACCESS_KEY, BUCKET, Server, Trick};
use crate::support::{Place, windrow};
use rustix::process::Signal;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use windrow_testkit::{Tree, Windrow, wait};

const OUT: &str = "out";

/// A server with another bucket, to write to.
fn server() -> Server {
    let server = Server::start(None);
    server.bucket(OUT);
    server
}

/// `get SOURCE -o s3://out/copy --job ...`.
fn send(server: &Server, place: &Place, source: &str) -> Windrow {
    let job = place.at("job");
    let call = windrow().args(["get", source, "-o", &format!("s3://{OUT}/copy"), "-v"]);
    let call = call.arg("--job").arg(&job).dest(&job);
    let signer = server.signer();
    call.args(["-c", "16", "--endpoint-url", &format!("http://{}", server.host())])
        .env("AWS_ACCESS_KEY_ID", signer.access_key)
        .env("AWS_SECRET_ACCESS_KEY", signer.secret)
        .env("AWS_SESSION_TOKEN", signer.token.unwrap_or_default())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", place.path())
}

fn source() -> String {
    format!("s3://{BUCKET}")
}

/// What should be there.
fn copies(bodies: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    bodies.iter().map(|(key, body)| (format!("copy/{key}"), body.clone())).collect()
}

#[track_caller]
fn assert_copied(server: &Server, bodies: &BTreeMap<String, Vec<u8>>) {
    let (found, expected) = (server.objects(OUT), copies(bodies));
    let missing: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{} are missing, as {:?}", missing.len(), missing.first());
    for (key, body) in &expected {
        assert!(found[key] == *body, "{key} has other content");
    }
    let more: Vec<_> = found.keys().filter(|key| !expected.contains_key(*key)).collect();
    assert!(more.is_empty(), "{more:?}");
}

#[test]
fn a_bucket_is_copied_object_by_object() {
    let server = server();
    let bodies = server.fill(2500);
    let place = Place::new();
    server.forget();
    let done = send(&server, &place, &source()).run().complete(2500);
    assert_copied(&server, &bodies);
    let asked = server.asked();
    let puts = asked.iter().filter(|asked| asked.method == "PUT").count();
    // Three pages, and a look whether the bucket is there.
    assert_eq!((puts, asked.len()), (2500, 5004));
    // It is all there.
    server.forget();
    send(&server, &place, &source()).run().complete(2500);
    assert!(server.asked().len() <= 2, "{:?}", server.asked());
    // Secrets are in no file and in no line.
    let said = [done.stderr.as_bytes(), done.stdout.as_bytes()].concat();
    let files = Tree::read(&place.at("job")).0.into_values().flatten();
    let all: Vec<u8> = said.into_iter().chain(files).collect();
    for secret in [ACCESS_KEY, "canary", "Signature="] {
        let found = all.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "{secret} was written");
    }
    // Another destination is another run.
    let other =
        send(&server, &place, &source()).args(["--dest-endpoint-url", "http://127.0.0.1:1"]);
    other.run().expect(2);
}

#[test]
fn odd_keys_stay_as_they_are() {
    let server = server();
    let bodies = crate::upload_odd(&server);
    server.forget();
    send(&server, &Place::new(), &source()).run().complete(bodies.len() as u64);
    let put: Vec<_> = server.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
    for key in bodies.keys() {
        let path = Server::path(key).replacen(BUCKET, &format!("{OUT}/copy"), 1);
        let same = |asked: &&crate::server::Asked| {
            asked.path().replace("%2E", ".") == path.replace("%2E", ".")
        };
        assert_eq!(put.iter().filter(same).count(), 1, "{key:?}");
    }
}

#[test]
fn what_may_have_been_carried_out_is_looked_at_first() {
    let server = server();
    let bodies = server.fill(400);
    let mut seen = HashMap::<String, u32>::new();
    let mut count = 0_u32;
    server.trick(Box::new(move |method, target| {
        if method != "PUT" {
            return None;
        }
        let times = seen.entry(target.to_owned()).or_default();
        *times += 1;
        count += 1;
        match (*times, count % 10) {
            (1, 3) => Some(Trick::Cut),
            (1, 6) => Some(Trick::Lose),
            (1, 7) => Some(Trick::LateError),
            (1, 8) => Some(Trick::Status(500)),
            (1, 9) => Some(Trick::Status(503)),
            _ => None,
        }
    }));
    server.forget();
    send(&server, &Place::new(), &source()).run().complete(400);
    assert_copied(&server, &bodies);
    // What was carried out was seen by a look, and not put again.
    let asked = server.asked();
    let of = |method: &str| {
        let mut paths = BTreeMap::<String, u32>::new();
        for asked in asked.iter().filter(|asked| asked.method == method) {
            *paths.entry(asked.path().to_owned()).or_default() += 1;
        }
        paths
    };
    let (put, looked) = (of("PUT"), of("HEAD"));
    let cut = put.iter().filter(|(path, times)| **times == 1 && looked.contains_key(*path)).count();
    assert!(cut >= 20, "{cut}");
    assert!(put.values().all(|&times| times <= 2), "{put:?}");
    assert!(looked.len() > cut, "what was lost was looked at too");
}

#[test]
fn killed_again_and_again() {
    let server = server();
    let bodies = server.fill(3000);
    for format in ["files", "tar"] {
        let place = Place::new();
        let call = || {
            let call = send(&server, &place, &source()).args(["--format", format]);
            call.args(["--shard-size", "400", "--commit-interval", "100ms"])
        };
        let stored = |run: &Path| {
            // What is recorded grows: that is when to kill.
            let ledger = run.join(".windrow/ledger");
            let files = std::fs::read_dir(ledger).into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>()
        };
        let mut kills = 0;
        for _ in 0..3 {
            let before = stored(&place.at("job"));
            let mut run = call().start();
            wait::until("something is recorded", || {
                run.has_ended() || stored(&place.at("job")) > before
            });
            kills += u32::from(!run.has_ended());
            run.signal(Signal::KILL);
            drop(run);
        }
        assert!(kills > 0, "no process was slow enough to be killed");
        let done = call().run().complete(3000);
        assert_eq!(done.figure("failed"), 0);
        assert_eq!(server.uploads(), 0);
        if format == "files" {
            assert_copied(&server, &bodies);
        } else {
            assert_packed(&server, &place, &bodies);
        }
    }
}

/// The packs in the bucket hold every object once.
#[track_caller]
fn assert_packed(server: &Server, place: &Place, bodies: &BTreeMap<String, Vec<u8>>) {
    let folder = place.at("packs");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (key, body) in server.objects(OUT) {
        if let Some(name) = key.strip_prefix("copy/").filter(|name| !name.contains('/')) {
            std::fs::write(folder.join(name), body).expect("a file");
        }
    }
    let found = crate::support::packed(&folder);
    assert_eq!(found.len(), bodies.len());
    for (key, body) in bodies {
        assert!(found[key.as_bytes()] == *body, "{key} has other content");
    }
    // Nothing of them stays here.
    let left = Tree::read(&place.at("job")).0;
    assert!(left.keys().all(|path| !path.to_string_lossy().ends_with(".tar")), "{left:?}");
}

#[test]
fn packs_go_with_their_statistics() {
    let server = server();
    let bodies = server.fill(1000);
    let place = Place::new();
    let call = send(&server, &place, &source()).args(["--format", "tar", "--shard-size", "300"]);
    call.run().complete(1000);
    assert_packed(&server, &place, &bodies);
    let keys: Vec<_> = server.objects(OUT).into_keys().collect();
    assert!(keys.contains(&"copy/00000_stats.json".to_owned()), "{keys:?}");
}

#[test]
fn what_is_large_goes_in_parts_and_none_is_left() {
    let server = server();
    let big: Vec<u8> = (0..40 << 20).map(|at: u32| (at / 3) as u8 ^ (at >> 13) as u8).collect();
    server.put("big", &big);
    server.put("small", b"small");
    let bodies = BTreeMap::from([("big".to_owned(), big), ("small".to_owned(), b"small".to_vec())]);
    let place = Place::new();
    // The answer to the completion gets lost: what is there is looked at.
    let mut cut = false;
    server.trick(Box::new(move |method, target| {
        let completes = method == "POST" && target.contains("uploadId=");
        (completes && !std::mem::replace(&mut cut, completes)).then_some(Trick::Cut)
    }));
    server.forget();
    send(&server, &place, &source()).run().complete(2);
    assert_copied(&server, &bodies);
    let parts = server.asked().iter().filter(|asked| asked.target.contains("partNumber=")).count();
    assert_eq!((parts, server.uploads()), (3, 0));

    // Killed in the middle: the next process gives up what was begun.
    let place = Place::new();
    let mut parts = 0;
    server.trick(Box::new(move |_, target| {
        parts += usize::from(target.contains("partNumber="));
        (parts >= 2 && target.contains("partNumber=")).then_some(Trick::Status(503))
    }));
    let mut run = send(&server, &place, &source()).start();
    let note = place.at("job/.windrow/upload-0.json");
    let named = || std::fs::read_to_string(&note).is_ok_and(|note| note.contains("\"id\":\""));
    wait::until("an upload is under way", || run.has_ended() || named());
    run.signal(Signal::KILL);
    drop(run);
    assert_eq!(server.uploads(), 1);
    server.trick(Box::new(|_, _| None));
    send(&server, &place, &source()).run().complete(2);
    assert_eq!(server.uploads(), 0);
    assert_copied(&server, &bodies);
}

#[test]
fn a_pack_that_was_not_there_yet_comes_with_the_next_run() {
    let server = server();
    let bodies = server.fill(900);
    let place = Place::new();
    let call = || {
        let call = send(&server, &place, &source()).args(["--format", "tar"]);
        call.args(["--shard-size", "200", "--commit-interval", "100ms"])
    };
    server.forget();
    server.trick(Box::new(|method, target| {
        (method == "PUT" && target.ends_with(".tar")).then_some(Trick::Status(503))
    }));
    let mut run = call().start();
    let held = || server.asked().iter().any(|asked| asked.status == 503);
    wait::until("a pack is held up", || run.has_ended() || held());
    run.signal(Signal::KILL);
    drop(run);
    assert_eq!(server.objects(OUT).len(), 0);
    server.trick(Box::new(|_, _| None));
    call().run().complete(900);
    assert_packed(&server, &place, &bodies);

    // The last of all is refused: what was fetched is not fetched again.
    let (server, place) = (self::server(), Place::new());
    let bodies = server.fill(100);
    let call = || send(&server, &place, &source()).args(["--format", "tar"]);
    server.trick(Box::new(|method, target| {
        (method == "PUT" && target.ends_with(".tar")).then_some(Trick::Refuse(403, "AccessDenied"))
    }));
    let done = call().run().expect(4);
    assert!(done.stderr.contains("AccessDenied"), "{}", done.stderr);
    server.trick(Box::new(|_, _| None));
    server.forget();
    call().run().complete(100);
    assert_packed(&server, &place, &bodies);
    let again = server.asked().iter().filter(|asked| asked.path().contains("/object-")).count();
    assert_eq!(again, 0);
}

#[test]
fn one_that_is_refused_fails_alone() {
    let server = server();
    server.fill(300);
    let odd = |target: &str, name: &str| target.starts_with("/out/") && target.contains(name);
    server.trick(Box::new(move |method, target| match method {
        "PUT" if odd(target, "object-00007") => Some(Trick::Refuse(500, "InternalError")),
        "PUT" if odd(target, "object-00150") => Some(Trick::Refuse(403, "AccessDenied")),
        "PUT" if odd(target, "object-00151") => Some(Trick::Refuse(400, "KeyTooLongError")),
        _ => None,
    }));
    let place = Place::new();
    let call = send(&server, &place, &source()).args(["--retry", "2", "--dest-concurrency", "2"]);
    let done = call.run().expect(1);
    let classes = ["server", "forbidden", "name"].map(|class| done.failed(class));
    assert_eq!((done.figure("stored"), classes), (297, [1, 1, 1]), "{}", done.stderr);
    let lines = std::fs::read_to_string(place.at("job/.windrow/failures.jsonl")).expect("a file");
    assert!(lines.contains("the destination refuses this object"), "{lines}");
}

#[test]
fn packs_replace_nothing_of_others() {
    let server = server();
    server.fill(50);
    std::fs::create_dir_all(server.folder(OUT).join("copy")).expect("a folder");
    let theirs = server.folder(OUT).join("copy/00000.tar");
    std::fs::write(&theirs, "somebody's").expect("a file");
    let place = Place::new();
    let call = || send(&server, &place, &source()).args(["--format", "tar"]);
    let done = call().run().expect(4);
    assert!(done.stderr.contains("something else has the name of a pack"), "{}", done.stderr);
    assert_eq!(std::fs::read(&theirs).expect("it is there"), b"somebody's");
    // Moved away, the same line goes on, and its own may be put again.
    std::fs::remove_file(&theirs).expect("a file");
    call().run().complete(50);
    assert!(server.objects(OUT)["copy/00000.tar"].len() > 10_000);
}

#[test]
fn who_may_not_write_is_told_in_one_line() {
    let server = server();
    server.fill(20);
    let refused = |change: &dyn Fn(Windrow) -> Windrow, said: &str, hint: &str| {
        let place = Place::new();
        let done = change(send(&server, &place, &source())).run();
        let error = done.stderr.lines().find(|line| line.starts_with("windrow:"));
        let error = error.unwrap_or_else(|| panic!("{}", done.stderr));
        assert!(error.contains(said), "{error}");
        assert!(done.stderr.contains(hint), "{}", done.stderr);
        assert!(!server.asked().iter().any(|asked| asked.method == "PUT" && asked.status == 200));
        done.expect(4);
    };
    let secret = |call: Windrow| {
        let file =
            "[writer]\naws_access_key_id = AKIACANARYACCESSKEY1\naws_secret_access_key = wrong\n";
        let config = tempfile::NamedTempFile::new().expect("a file");
        let (_, path) = config.keep().expect("a file that stays");
        std::fs::write(&path, file).expect("a file");
        call.env("AWS_SHARED_CREDENTIALS_FILE", &path).args(["--dest-profile", "writer"])
    };
    refused(&secret, "SignatureDoesNotMatch", "--dest-profile");
    let elsewhere = |call: Windrow| call.args(["--dest-endpoint-url", "http://127.0.0.1:1"]);
    refused(&elsewhere, "cannot be reached", "--dest-endpoint-url");
    let gone = |call: Windrow| call.env("WINDROW_LIMIT", "20");
    std::fs::remove_dir(server.folder(OUT)).expect("an empty bucket");
    refused(&gone, "there is no such bucket", "makes no buckets");
    // No run without a place for its state, and none for what is written nowhere.
    let out = format!("s3://{OUT}");
    let done = windrow().args(["get", &source(), "-o", &out, "--no-sign-request"]).run();
    assert!(done.stderr.contains("--job DIR"), "{}", done.stderr);
    done.expect(2);
}
