//! The server over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::{Answer, Client, encoded, name, options, request};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use windrow_model::{Corpus, Exit};
use windrow_server::{Content, Options, Server, Stats};

fn synthetic(count: u64, size: u64) -> (Server, Corpus) {
    let corpus = Corpus { count, size, seed: 7 };
    (Server::start(options(Content::Synthetic(corpus))).unwrap(), corpus)
}

fn directory(path: &Path, page: usize) -> Server {
    let content = Content::Directory(path.to_owned());
    Server::start(Options { page, ..options(content) }).unwrap()
}

#[test]
fn every_synthetic_object_is_listed_once_and_served() {
    for (count, expected_pages) in [(0, 1), (999, 1), (1000, 1), (1001, 2), (2345, 3)] {
        let (server, corpus) = synthetic(count, 100);
        let mut client = Client::new(&server);
        let (names, pages) = client.list();
        assert_eq!(pages, expected_pages, "{count}");
        let expected: Vec<String> = (0..count).map(|ordinal| name(&corpus, ordinal)).collect();
        assert_eq!(names, expected);
        for (ordinal, name) in (0..).zip(&names) {
            let answer = client.get(&format!("/get/{name}"));
            assert_eq!(
                answer.head,
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\n"
            );
            assert!(corpus.matches(ordinal, &answer.body), "{name}");
        }
        assert_eq!(client.get(&format!("/get/{}", name(&corpus, count))).status, 404);
        server.stop();
        client.assert_over();
    }
}

#[test]
fn sizes_around_the_piece_are_whole() {
    for size in [0, 1, 8, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 3_000_001] {
        let (server, corpus) = synthetic(2, size);
        let mut client = Client::new(&server);
        // Both at once: what follows a long body waits for it.
        let target = |ordinal| request(&format!("/get/{}?query", name(&corpus, ordinal)));
        client.send(target(0) + &target(1) + &request("/list"));
        for ordinal in 0..2 {
            let answer = client.read();
            assert!(corpus.matches(ordinal, &answer.body), "{size}: {}", answer.head);
        }
        assert!(client.read().body.starts_with(b"{\"FileNames\":[\"o"));
        let head = request(&format!("/get/{}", name(&corpus, 1))).replace("GET", "HEAD");
        let head = client.send(head).head();
        assert!(head.contains(&format!("\r\nContent-Length: {size}\r\n")), "{head}");
        assert_eq!(client.get("/get/x").status, 404, "HEAD has no body");
    }
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let (server, corpus) = synthetic(1000, 100);
    let all: String = (0..1000)
        .map(|ordinal| request(&format!("/get/{}", name(&corpus, 999 - ordinal))))
        .collect();
    let mut client = Client::new(&server);
    client.send(&all);
    client.stream.shutdown(Shutdown::Write).unwrap();
    for ordinal in 0..1000 {
        assert!(corpus.matches(999 - ordinal, &client.read().body), "{ordinal}");
    }
    client.assert_over();
    let Stats { requests, bytes, connections } = server.stats();
    assert_eq!((requests, connections), (1000, 1));
    assert_eq!(bytes, 180 * 1000);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let (server, corpus) = synthetic(10, 100);
    let mut client = Client::new(&server);
    client.stream.set_nodelay(true).unwrap();
    for ordinal in [3, 4] {
        for byte in request(&format!("/get/{}", name(&corpus, ordinal))).bytes() {
            client.send([byte]);
        }
        assert!(corpus.matches(ordinal, &client.read().body));
    }
}

#[test]
fn the_connection_ends_when_the_client_or_the_version_says_so() {
    let (server, corpus) = synthetic(1, 300_000);
    let target = format!("/get/{}", name(&corpus, 0));
    let cases = [
        ("HTTP/1.1", "Connection: close\r\n", "close"),
        ("HTTP/1.0", "", "close"),
        ("HTTP/1.0", "Connection: keep-alive\r\n", "keep-alive"),
    ];
    for (version, line, said) in cases {
        let mut client = Client::new(&server);
        let request = format!("GET {target} {version}\r\nHost: h\r\n{line}\r\n");
        // The second is answered only where the connection stays.
        client.send(request.repeat(2));
        for _ in 0..if said == "close" { 1 } else { 2 } {
            let answer = client.read();
            assert!(
                answer.head.contains(&format!("\r\nConnection: {said}\r\n")),
                "{}",
                answer.head
            );
            assert!(corpus.matches(0, &answer.body));
        }
        if said == "close" {
            client.assert_over();
        } else {
            assert_eq!(client.get("/list").status, 200);
        }
    }
}

#[test]
fn broken_requests_are_refused_and_end_the_connection() {
    let (server, _) = synthetic(1, 1);
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(70_000));
    for (bytes, status) in [
        ("GARBAGE\r\n\r\n", 400),
        ("\x16\x03\x01\x02", 400),
        ("GET /list HTTP/1.1\r\n\r\n", 400),
        ("GET /list HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("GET /list HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (&long, 431),
    ] {
        let mut client = Client::new(&server);
        // The request before it is answered, the one behind it is not.
        client.send(request("/list") + bytes + &request("/list"));
        assert_eq!(client.read().status, 200);
        let answer = client.read();
        assert_eq!(answer.status, status, "{bytes:.40}");
        assert!(answer.head.contains("\r\nConnection: close\r\n") && answer.body.ends_with(b"\n"));
        client.assert_over();
    }
    let mut client = Client::new(&server);
    client.send("DELETE /list HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.read().status, 405);
    assert_eq!(client.get("/list").status, 200, "a refused method ends nothing");
}

#[test]
fn each_answer_waits_for_its_latency() {
    let latency = Duration::from_millis(60);
    let corpus = Corpus { count: 5, size: 300_000, seed: 7 };
    let server = Server::start(Options { latency, ..options(Content::Synthetic(corpus)) }).unwrap();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::new(&server)).collect();
    let start = Instant::now();
    for (ordinal, client) in (0..).zip(&mut clients) {
        client.send(request(&format!("/get/{}", name(&corpus, ordinal))));
    }
    for (ordinal, client) in (0..).zip(&mut clients) {
        assert!(corpus.matches(ordinal, &client.read().body));
        assert!(start.elapsed() >= latency);
    }
    // Requests that come while others wait: each for its own time, in order.
    let client = &mut clients[0];
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(Instant::now());
        client.send(request("/list")).send(request("/get/nothing"));
    }
    for sent in sent {
        assert_eq!(client.read().status, 200);
        assert!(sent.elapsed() >= latency);
        assert_eq!(client.read().status, 404);
    }
}

#[test]
fn a_reader_that_stops_is_not_read_from() {
    let (server, corpus) = synthetic(1, 100_000);
    let mut client = Client::new(&server);
    // Long requests: the sockets' buffers hold hundreds of them, not a hundred thousand.
    let padding = format!("\r\nPadding: {}\r\n\r\n", "p".repeat(8000));
    let one = request(&format!("/get/{}", name(&corpus, 0))).replace("\r\n\r\n", &padding);
    let batch = one.repeat(100);
    client.stream.set_nonblocking(true).unwrap();
    let (mut sent, mut full_since) = (0, None);
    loop {
        match client.stream.write(&batch.as_bytes()[sent % one.len()..]) {
            Ok(count) => (sent, full_since) = (sent + count, None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // A server that reads on makes room again within this time.
                let since = *full_since.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_millis(300) {
                    break;
                }
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 200 << 20, "the server reads on for ever");
    }
    let whole = sent / one.len();
    let answered = server.stats().requests;
    assert!(answered < whole as u64 / 2, "{answered} of {whole} answered to nobody");
    // Nothing is lost: the last request is completed while the answers are read.
    client.stream.set_nonblocking(false).unwrap();
    let mut writer = client.stream.try_clone().unwrap();
    let tail = one.as_bytes()[sent % one.len()..].to_owned();
    let writing = std::thread::spawn(move || {
        writer.write_all(&tail).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    for _ in 0..=whole {
        assert!(corpus.matches(0, &client.read().body));
    }
    client.assert_over();
    writing.join().unwrap();
}

#[test]
fn a_taken_port_and_a_missing_directory_are_named() {
    let (server, corpus) = synthetic(1, 1);
    let options = Options::new(server.addr(), Content::Synthetic(corpus));
    let error = Server::start(options.clone()).unwrap_err();
    assert_eq!(error.exit(), Exit::Environment);
    let expected = format!("{}: cannot listen: Address already in use", server.addr());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.advice().unwrap().contains("--addr"));
    server.stop();
    Server::start(options.clone()).expect("the port is free after a stop");

    let refused = |content, page| {
        Server::start(Options { page, ..Options::new(options.addr, content) }).unwrap_err()
    };
    let error = refused(Content::Directory(PathBuf::from("/nowhere/at/all")), 1);
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.to_string().starts_with("/nowhere/at/all: "), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(refused(Content::Directory(file.path().to_owned()), 1).exit(), Exit::Usage);
    assert_eq!(refused(Content::Synthetic(corpus), 0).exit(), Exit::Usage);
}

/// A tree of odd names, and their contents.
fn tree() -> (tempfile::TempDir, Vec<(String, Vec<u8>)>) {
    let root = tempfile::tempdir().unwrap();
    let mut files: Vec<(String, Vec<u8>)> = [
        "a",
        "a b",
        "a+b",
        "100%",
        "%41",
        "%2F",
        "é/ü 😀",
        "quo\"te",
        "back\\slash",
        "new\nline",
        "tab\tand\u{1}",
        "deep/er/and/deeper/x",
        "deep/er/y",
        "deep.txt",
        "?query#x",
        "&=",
        "...",
        "sub/.windrow/kept",
        ".hidden",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), name.repeat(3).into_bytes()))
    .collect();
    files.push(("empty".to_owned(), Vec::new()));
    files.push(("large".to_owned(), (0..1_000_003_u32).map(|i| (i % 251) as u8).collect()));
    for (name, body) in &files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }
    files.sort();
    (root, files)
}

#[test]
fn a_directory_is_listed_in_order_and_served() {
    let (root, files) = tree();
    // What is no content: links, pipes, the state of a run, names that are not text.
    symlink(root.path().join("a"), root.path().join("link")).unwrap();
    symlink("/etc", root.path().join("etc")).unwrap();
    symlink(root.path(), root.path().join("deep/loop")).unwrap();
    fs::create_dir(root.path().join(".windrow")).unwrap();
    fs::write(root.path().join(".windrow/ledger"), "state").unwrap();
    fs::create_dir(root.path().join("nothing")).unwrap();
    fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"\xff.bin")), "bytes").unwrap();
    let (pipe, mode) = (root.path().join("pipe"), Mode::RUSR | Mode::WUSR);
    mknodat(CWD, pipe, FileType::Fifo, mode, 0).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();

    for page in [1, 2, files.len() - 1, files.len(), 1000] {
        let server = directory(root.path(), page);
        let mut client = Client::new(&server);
        let (names, pages) = client.list();
        assert_eq!(pages, files.len().div_ceil(page));
        assert!(names.iter().eq(files.iter().map(|(name, _)| name)), "{names:?}");
    }
    let server = directory(root.path(), 1000);
    let mut client = Client::new(&server);
    for (name, body) in &files {
        for target in [encoded(name), encoded(name).replace("%2F", "/")] {
            let answer = client.get(&format!("/get/{target}?ignored=1"));
            assert_eq!((answer.status, &answer.body), (200, body), "{name:?}");
        }
        let head = client.send(format!("HEAD /get/{} HTTP/1.1\r\nHost: h\r\n\r\n", encoded(name)));
        assert!(head.head().contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    }
    for target in [
        "link",
        "etc",
        "etc/passwd",
        "etc%2Fpasswd",
        "deep/loop/a",
        ".windrow/ledger",
        ".windrow",
        "%2Ewindrow/ledger",
        "../a",
        "..%2Fa",
        "%2e%2e/a",
        "deep/../a",
        "deep/%2e%2e/a",
        "./a",
        "/a",
        "%2Fa",
        "/etc/passwd",
        "deep//er/y",
        "deep",
        "deep/",
        "a/",
        "a/b",
        "",
        "a%00",
        "%00",
        "%",
        "%zz",
        "socket",
        "pipe",
        "missing",
        "nothing/x",
    ] {
        let answer = client.get(&format!("/get/{target}"));
        assert_eq!(answer.status, 404, "{target}");
    }
    let long = client.get(&format!("/get/{}", "n".repeat(5000)));
    assert_eq!(long.status, 404);
    drop(socket);
}

#[test]
fn a_marker_holds_while_files_come_and_go_and_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        fs::write(root.path().join(name), name).unwrap();
    }
    let server = directory(root.path(), 2);
    let mut client = Client::new(&server);
    let page = |answer: Answer| String::from_utf8(answer.body).unwrap();
    let first = r#"{"FileNames":["a","b"],"NextMarker":"b"}"#;
    assert_eq!(page(client.get("/list")), first);
    fs::remove_file(root.path().join("b")).unwrap();
    fs::write(root.path().join("e"), "e").unwrap();
    let rest = r#"{"FileNames":["c","d"]}"#;
    assert_eq!(page(client.get("/list?next-marker=b")), rest, "in the snapshot");
    assert_eq!(client.get("/get/b").status, 404);

    let server = directory(root.path(), 2);
    let mut client = Client::new(&server);
    let now = r#"{"FileNames":["c","d"],"NextMarker":"d"}"#;
    assert_eq!(page(client.get("/list?next-marker=b")), now, "in a new one");
    assert_eq!(page(client.get("/list?next-marker=zzz")), r#"{"FileNames":[]}"#);
    assert_eq!(client.get("/list?next-marker=%ff").status, 400);
}
