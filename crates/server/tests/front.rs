//! Servers that ask something of their clients, over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

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
