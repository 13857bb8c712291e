//! Servers that ask something of their clients, over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use std::io::Read;
use std::time::{Duration, SystemTime};

use client::{Client, name, options, request};
use windrow_model::Corpus;
use windrow_server::{ClockOffset, Content, Options, Server, SignKey, Urls};

const CORPUS: Corpus = Corpus { count: 10, size: 100, seed: 7 };

fn serve(change: impl FnOnce(Options) -> Options) -> Server {
    Server::start(change(options(Content::Synthetic(CORPUS)))).unwrap()
}

fn target(ordinal: u64) -> String {
    format!("/get/{}", name(&CORPUS, ordinal))
}

fn date(head: &str) -> SystemTime {
    let line = head.lines().find_map(|line| line.strip_prefix("Date: "));
    httpdate::parse_http_date(line.expect(head)).unwrap()
}

#[test]
fn an_object_is_given_to_those_who_sign() {
    let key = SignKey::new("secret");
    let server = serve(|options| Options { sign_key: Some(key.clone()), ..options });
    let mut client = Client::new(&server);
    let now = ClockOffset::default().unix();
    let mut signed = |expires: u64| {
        let signed = Some((key.clone(), expires));
        let mut urls = Vec::new();
        Urls { base: String::new(), corpus: CORPUS, signed }.write_to(&mut urls).unwrap();
        let urls = String::from_utf8(urls).unwrap();
        let answers = urls.lines().map(|url| client.get(url));
        answers.collect::<Vec<_>>()
    };
    for (ordinal, answer) in (0..).zip(signed(now + 1000)) {
        assert_eq!(answer.status, 200);
        assert!(CORPUS.matches(ordinal, &answer.body));
        assert!(date(&answer.head).elapsed().unwrap_or_default() < Duration::from_secs(100));
    }
    for answer in signed(now - 1) {
        assert_eq!(answer.status, 403);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("<Code>AccessDenied</Code><Message>Request has expired</Message>"));
        assert!(answer.head.contains("\r\nContent-Type: application/xml\r\n"));
    }
    for query in ["", "?Expires=99999999999", "?Expires=99999999999&Signature=00"] {
        let answer = client.get(&(target(1) + query));
        assert_eq!((answer.status, answer.body.starts_with(b"<?xml")), (403, true), "{query}");
    }
    assert_eq!(client.get("/list").status, 200, "a listing needs no signature");
}

#[test]
fn a_clock_that_is_wrong_is_told_and_gone_by() {
    let key = SignKey::new("secret");
    let server = serve(|options| Options {
        sign_key: Some(key.clone()),
        clock_offset: Some("-2h".parse().unwrap()),
        ..options
    });
    let mut client = Client::new(&server);
    let mut urls = Vec::new();
    let expires = ClockOffset::default().unix() - 3600;
    let signed = Some((key, expires));
    Urls { base: String::new(), corpus: CORPUS, signed }.write_to(&mut urls).unwrap();
    let urls = String::from_utf8(urls).unwrap();
    let answer = client.get(urls.lines().next().unwrap());
    assert_eq!(answer.status, 200, "it expired an hour ago, which this server does not know");
    for head in [answer.head, client.get("/list").head] {
        let behind = date(&head).elapsed().unwrap();
        assert!((7100..7300).contains(&behind.as_secs()), "{behind:?}");
    }
}

#[test]
fn without_being_asked_a_server_tells_no_date() {
    for server in [serve(|options| options), serve(|options| Options { stats: true, ..options })] {
        let head = Client::new(&server).send(request(&target(0))).read().head;
        assert!(!head.contains("Date"), "{head}");
    }
}

#[test]
fn redirects_lead_to_the_object() {
    let server = serve(|options| Options {
        redirect: Some("2,status=307".parse().unwrap()),
        sign_key: Some(SignKey::new("k")),
        stats: true,
        ..options
    });
    let mut client = Client::new(&server);
    let mut urls = Vec::new();
    let signed = Some((SignKey::new("k"), u64::MAX));
    Urls { base: String::new(), corpus: CORPUS, signed }.write_to(&mut urls).unwrap();
    let mut target = String::from_utf8(urls).unwrap().lines().next().unwrap().to_owned();
    for hop in 1..=2 {
        let answer = client.get(&target);
        assert_eq!((answer.status, answer.body.len()), (307, 0));
        let location = answer.head.lines().find_map(|line| line.strip_prefix("Location: "));
        target = location.unwrap().to_owned();
        assert!(target.starts_with(&format!("/r{hop}/get/")), "{target}");
    }
    let answer = client.get(&target);
    assert!(answer.status == 200 && CORPUS.matches(0, &answer.body));
    assert_eq!(client.get("/r1/get/x").status, 403);
    assert_eq!(client.get("/r1/list").status, 404);
    let stats = String::from_utf8(client.get("/-/stats").body).unwrap();
    assert!(stats.contains("\"statuses\":{\"200\":1,\"307\":2,\"403\":1}"), "{stats}");
    // Without being asked there are no such paths.
    let server = serve(|options| options);
    assert_eq!(Client::new(&server).get(&format!("/r1{}", self::target(0))).status, 404);
}

#[test]
fn a_target_with_scheme_and_host_is_no_way_around_the_signature() {
    let server = serve(|options| Options { sign_key: Some(SignKey::new("k")), ..options });
    let mut client = Client::new(&server);
    for target in
        [target(0), format!("http://h{}", target(0)), format!("HTTP://h:1{}?a", target(0))]
    {
        assert_eq!(client.get(&target).status, 403, "{target}");
    }
}

/// The value of a header line.
fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn checksums_are_those_of_the_body_unless_wrong_ones_are_asked_for() {
    const NAMES: [&str; 3] = ["Content-MD5", "Digest", "x-amz-checksum-crc32c"];
    let mut told = Vec::new();
    for size in [0, 100, 600_000] {
        let corpus = Corpus { size, ..CORPUS };
        let serve = |checksums, faults: Option<&str>| {
            let faults = faults.map(|spec| spec.parse().unwrap());
            let options = options(Content::Synthetic(corpus));
            Server::start(Options { checksums, faults, ..options }).unwrap()
        };
        for (faults, checksums, right) in
            [(None, true, true), (Some("wrong-checksum=100%"), false, false)]
        {
            let server = serve(checksums, faults);
            let mut client = Client::new(&server);
            let answer = client.get(&target(1));
            assert!(answer.status == 200 && corpus.matches(1, &answer.body));
            let crc = value(&answer.head, NAMES[2]).unwrap().to_owned();
            told.push(NAMES.map(|name| value(&answer.head, name).unwrap().to_owned()));
            let bytes = crc32c::crc32c(&answer.body).to_be_bytes();
            assert_eq!(crc == base64(&bytes), right, "{crc}");
            client.send(request(&target(1)).replace("GET", "HEAD"));
            let head = client.head();
            assert_eq!(head, answer.head);
            let missing = client.get("/get/missing");
            assert_eq!((missing.status, value(&missing.head, "Digest")), (404, None));
        }
    }
    // 18 values, none of them twice.
    let mut values = told.concat();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 18);
}

/// Bits in groups of six.
fn base64(bytes: &[u8; 4]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let word = u64::from(u32::from_be_bytes(*bytes)) << 4;
    let digits = (0..6).rev().map(|at| char::from(DIGITS[(word >> (6 * at)) as usize & 63]));
    digits.chain("==".chars()).collect()
}

#[test]
fn a_body_is_encoded_for_those_who_take_it() {
    let root = tempfile::tempdir().unwrap();
    let text = b"one line like the other\n".repeat(50_000);
    std::fs::write(root.path().join("text"), &text).unwrap();
    for coding in ["gzip", "br", "zstd"] {
        let options = options(Content::Directory(root.path().to_owned()));
        let coded = Some(coding.parse().unwrap());
        let server = Server::start(Options { coding: coded, checksums: true, ..options }).unwrap();
        let mut client = Client::new(&server);
        for (line, encoded) in [
            ("", false),
            ("Accept-Encoding: identity\r\n", false),
            ("Accept-Encoding: gzip, br, zstd\r\n", true),
            ("Accept-Encoding: *;q=0\r\n", false),
        ] {
            let get = format!("GET /get/text HTTP/1.1\r\nHost: h\r\n{line}\r\n");
            // The second time by the fast path of the parser, with another before it.
            let answer = client.send(&get).read();
            assert_eq!(client.send(&get).read().head, answer.head);
            assert_eq!(value(&answer.head, "Content-Encoding"), encoded.then_some(coding));
            let crc = base64(&crc32c::crc32c(&answer.body).to_be_bytes());
            assert_eq!(value(&answer.head, "x-amz-checksum-crc32c"), Some(&*crc), "as sent");
            let body = match value(&answer.head, "Content-Encoding") {
                None => answer.body,
                Some("gzip") => {
                    let mut plain = Vec::new();
                    flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut plain).unwrap();
                    plain
                }
                Some("br") => {
                    let mut plain = Vec::new();
                    brotli::Decompressor::new(&*answer.body, 4096).read_to_end(&mut plain).unwrap();
                    plain
                }
                _ => zstd::stream::decode_all(&*answer.body).unwrap(),
            };
            assert!(body == text, "{coding} {line}");
        }
    }
}

#[test]
fn a_bomb_is_sent_whole_and_the_connection_stays() {
    let server = serve(|options| Options { faults: Some("bomb=100%".parse().unwrap()), ..options });
    let mut client = Client::new(&server);
    let answer = client.send(request(&target(0)) + &request("/list")).read();
    assert_eq!(value(&answer.head, "Content-Encoding"), Some("gzip"));
    assert!(answer.body.starts_with(&[0x1f, 0x8b]) && answer.body.len() < 20 << 20);
    assert_eq!(client.read().status, 200);
}
