//! Servers with limits, over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use std::time::{Duration, Instant};

use client::{Client, name, options, request};
use serde_json::{Value, json};
use windrow_model::{Corpus, Exit};
use windrow_server::{Content, Options, Server};

const CORPUS: Corpus = Corpus { count: 1000, size: 100, seed: 7 };

fn limited(change: impl FnOnce(Options) -> Options) -> Server {
    Server::start(change(options(Content::Synthetic(CORPUS)))).unwrap()
}

fn object(ordinal: u64) -> String {
    request(&format!("/get/{}", name(&CORPUS, ordinal)))
}

fn stats(server: &Server, query: &str) -> Value {
    let answer = Client::new(server).get(&format!("/-/stats{query}"));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn no_more_are_answered_than_allowed_whatever_the_threads() {
    // In an hour that begins with the server: no test takes that long.
    let server = limited(|options| Options {
        allow: Some("100/h,window,retry-after=3".parse().unwrap()),
        ..options
    });
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Client::new(&server);
            std::thread::spawn(move || {
                let statuses = (0..50).map(|at| {
                    if at % 10 == 0 {
                        assert_eq!(client.get("/list").status, 200, "pages are not counted");
                    }
                    let answer = client.send(object(at)).read();
                    let asks = answer.head.contains("\r\nRetry-After: 3\r\n");
                    assert_eq!(asks, answer.status == 429, "{}", answer.head);
                    answer.status
                });
                statuses.filter(|&status| status == 200).count()
            })
        })
        .collect();
    let allowed: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!(allowed, 100);
    let stats = stats(&server, "?arrivals=1");
    assert_eq!(stats["statuses"], json!({"200": 120, "429": 100}), "with 20 pages");
    let sum = |key: &str| -> u64 {
        stats["arrivals"][key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum()
    };
    assert_eq!((sum("per_second"), sum("per_10ms")), (200, 200));
    assert_eq!(stats["connection_requests"]["10-99"], 4);
    assert_eq!(stats["most_on_one_connection"], 55);
    assert!(self::stats(&server, "")["arrivals"].get("per_10ms").is_none());
}

#[test]
fn the_status_beyond_the_limit_is_the_one_that_was_asked_for() {
    let server = limited(|options| Options {
        allow: Some("1/h,sliding,status=503".parse().unwrap()),
        ..options
    });
    let mut client = Client::new(&server);
    client.send(object(1).repeat(3));
    assert_eq!([0; 3].map(|_| client.read().status), [200, 503, 503]);
}

#[test]
fn a_hard_knee_refuses_at_once_what_comes_above_it() {
    let latency = Duration::from_millis(100);
    let server =
        limited(|options| Options { latency, knee: Some("2,hard".parse().unwrap()), ..options });
    let mut client = Client::new(&server);
    let mut other = Client::new(&server);
    let start = Instant::now();
    client.send(object(0) + &object(1) + &object(2) + &request("/list"));
    // Answers keep their order, so the refusal comes behind those that are worked on.
    for (ordinal, status) in [(0, 200), (1, 200), (2, 503)] {
        let answer = client.read();
        assert_eq!(answer.status, status);
        assert_eq!(status == 200, CORPUS.matches(ordinal, &answer.body));
        assert!(start.elapsed() >= latency);
    }
    assert_eq!(client.read().status, 200, "the page");
    assert_eq!(other.send(object(5)).read().status, 200, "the places are free again");
    assert_eq!(stats(&server, "")["most_in_flight"], 2);
}

#[test]
fn a_line_is_served_one_after_the_other() {
    let latency = Duration::from_millis(20);
    let server =
        limited(|options| Options { latency, knee: Some("1".parse().unwrap()), ..options });
    let mut clients: Vec<Client> = (0..3).map(|_| Client::new(&server)).collect();
    let start = Instant::now();
    for client in &mut clients {
        client.send(object(0) + &object(1));
    }
    for client in &mut clients {
        assert!(CORPUS.matches(0, &client.read().body) && CORPUS.matches(1, &client.read().body));
    }
    assert!(start.elapsed() >= 6 * latency);
    assert_eq!(stats(&server, "")["statuses"], json!({"200": 6}));
}

#[test]
fn an_answer_that_is_all_to_come_waits_as_well() {
    // With a Retry-After an answer leaves in pieces; a fault may hold all of it back.
    let latency = Duration::from_millis(50);
    let server = limited(|options| Options {
        latency,
        knee: Some("1".parse().unwrap()),
        faults: Some("503=100%:1".parse().unwrap()),
        ..options
    });
    let mut client = Client::new(&server);
    let start = Instant::now();
    client.send(object(0).repeat(2));
    assert_eq!([0; 2].map(|_| client.read().status), [503, 503]);
    assert!(start.elapsed() >= 2 * latency);
}

#[test]
fn large_bodies_come_whole_through_a_line() {
    let corpus = Corpus { size: 600_000, ..CORPUS };
    let server = Server::start(Options {
        latency: Duration::from_millis(5),
        jitter: Duration::from_millis(5),
        knee: Some("2,slow".parse().unwrap()),
        ..options(Content::Synthetic(corpus))
    })
    .unwrap();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::new(&server)).collect();
    for client in &mut clients {
        client.send(object(0) + &object(1));
    }
    for client in &mut clients {
        assert!(corpus.matches(0, &client.read().body) && corpus.matches(1, &client.read().body));
    }
}

#[test]
fn a_knee_without_a_latency_is_a_mistake() {
    let options =
        Options { knee: Some("2".parse().unwrap()), ..options(Content::Synthetic(CORPUS)) };
    let error = Server::start(options).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.advice().unwrap().contains("--latency"));
}
