//! Secrets: what the user gives to be sent is in no message and in no file of windrow's own.

use crate::network::list;
use crate::support::Place;
use std::path::Path;
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Finished, Script, Step};

/// Asserts that these texts are nowhere in what windrow said and wrote, names of files included.
#[track_caller]
pub(crate) fn nowhere(done: &Finished, secrets: &[&str]) {
    let dest = done.dest.as_ref().expect("a call with a destination");
    let mut looked = vec![
        ("stderr".to_owned(), done.stderr.clone().into_bytes()),
        ("stdout".to_owned(), done.stdout.clone().into_bytes()),
    ];
    collect(dest, &mut looked);
    assert!(looked.iter().any(|(path, _)| path.ends_with("summary.json")), "{looked:?}");
    for secret in secrets {
        let lower = secret.to_ascii_lowercase().into_bytes();
        let has = |bytes: &[u8]| {
            bytes.to_ascii_lowercase().windows(lower.len()).any(|window| window == lower)
        };
        for (path, content) in &looked {
            assert!(!has(path.as_bytes()), "`{secret}` is in the name {path}");
            assert!(!has(content), "`{secret}` is in {path}: {}", content.escape_ascii());
        }
    }
}

fn collect(folder: &Path, looked: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, looked);
        } else {
            let content = std::fs::read(&path).expect("a file that can be read");
            looked.push((path.to_string_lossy().into_owned(), content));
        }
    }
}

/// Answers in many ways: bodies, and failures of all kinds.
fn odd() -> Script {
    Script::start(|request| {
        let text = |status| http::send_status(status);
        match &request.target.as_bytes()[1..2] {
            b"0" => http::send_ok(b"here"),
            b"1" => text("404 Not Found"),
            b"2" => text("403 Forbidden"),
            b"3" => text("500 Oh"),
            b"4" => vec![Step::Reset],
            b"5" => vec![
                Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".into()),
                Step::Close,
            ],
            b"6" => vec![Step::Send(http::response(
                "302 Found",
                &["Location: http://u:canary@h/"],
                b"",
            ))],
            b"7" => {
                let location = format!("Location: /1{}", &request.target[2..]);
                vec![Step::Send(http::response("302 Found", &[&location], b""))]
            }
            b"8" => vec![Step::Send(http::response("302 Found", &["Location: canary:x"], b""))],
            _ => vec![Step::Send(b"SSH-2.0-canary\r\n\r\n".into()), Step::Close],
        }
    })
}

#[test]
fn signed_queries_and_headers() {
    let server = odd();
    let signed = [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=canary%2F20990101&X-Amz-Date=20990101T000000Z\
         &X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=canary",
        "AWSAccessKeyId=canary&Expires=4070908800&Signature=canary",
        "Policy=canary&Signature=canary&Key-Pair-Id=canary",
        "sv=2020-01-01&sr=b&se=2099-01-01T00%3A00%3A00Z&sp=r&sig=canary%2Bcanary",
        "token=canary",
        "api_key=canary",
        "access_token=canary",
    ];
    for (format, names) in [("files", true), ("tar", false)] {
        let place = Place::new();
        let base = server.url();
        let rows = signed.iter().flat_map(|query| {
            let base = &base;
            (0..10).map(move |way| format!("{base}/{way}?{query}"))
        });
        let rows: Vec<_> = rows.collect();
        let source = if names {
            let row = |(at, url): (usize, &String)| (url.clone(), format!("o{at}"));
            list(&place, rows.iter().enumerate().map(row))
        } else {
            let path = place.at("list.txt");
            std::fs::write(&path, rows.join("\n")).expect("a temporary file");
            path.to_string_lossy().into_owned()
        };
        let get = place.get(&source).args(["--retry", "1", "--format", format, "-v"]);
        let get = get.args(names.then_some(["--name-col", "name"]).into_iter().flatten());
        let get = get.args(["--header", "Authorization: Bearer canary"]);
        let done = get.args(["--header", "X-Api-Key: canary", "--progress", "json"]).run();
        let done = done.expect(1).sum_holds();
        assert_eq!(done.figure("listed"), rows.len() as u64);
        assert!(done.figure("stored") >= 1 && done.figure("failed") >= 9, "{:#}", done.summary());
        nowhere(&done, &["canary"]);
        assert!(server.requests().iter().any(|request| request.target.contains("canary")));
        assert!(server.requests().iter().all(|request| request.header("x-api-key").is_some()));
    }
}

#[test]
fn lines_that_are_no_urls_are_told_without_what_is_secret() {
    let place = Place::new();
    let server = odd();
    let text = format!(
        "{}/0\nhttps://user:canary@example.org/a\nhttps://example.org:port/?sig=canary\n\
         ftp://user:canary@example.org/?Signature=canary\nhttp://exa mple.org/?token=canary\n",
        server.url()
    );
    let path = place.at("list.txt");
    std::fs::write(&path, text).expect("a temporary file");
    let done = place.get(&path.to_string_lossy()).arg("-v").run().expect(1).sum_holds();
    assert_eq!(done.failed("malformed"), 4, "{:#}", done.summary());
    nowhere(&done, &["canary"]);
}

#[test]
fn a_listing_with_a_signed_path_and_a_key() {
    let site = Site::numbered(50).pages_of(10);
    let server = site.start_but(|request, name| {
        if name.is_some_and(|name| name.ends_with('7')) {
            return Some(http::send_status("404 Not Found"));
        }
        let target = &request.target;
        (target.starts_with("/list") && request.header("authorization").is_none())
            .then(|| http::send_status("403 Forbidden"))
    });
    let place = Place::new();
    let get = place.get(&server.url()).args(["-v", "--header", "Authorization: Basic canary"]);
    let done = get.run().expect(1).sum_holds();
    done.figures_are([("stored", 45), ("failed", 5)]);
    nowhere(&done, &["canary"]);

    let place = Place::new();
    let get = place.get(&server.url()).args(["-v", "--list-path", "/list?token=canary"]);
    let done = get.run();
    assert_ne!(done.code, Some(0));
    assert!(!done.stderr.contains("canary"), "{}", done.stderr);
}
