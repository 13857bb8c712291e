//! `windrow serve --faults`: every promise of docs/FAULTS.md, seen as bytes on a socket, and a
//! whole fetch from a server that misbehaves.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::{Place, all_right, stored, windrow};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use windrow_model::Corpus;
use windrow_testkit::wait;
use windrow_testkit::windrow::Serve;

const CORPUS: Corpus = Corpus { count: 20_000, size: 100, seed: 3 };

fn serve(spec: &str) -> Serve {
    windrow().serve(["--synthetic", "20000", "--seed", "3", "--faults", spec])
}

fn name(ordinal: u64) -> String {
    let mut name = Vec::new();
    CORPUS.name_into(ordinal, &mut name);
    String::from_utf8(name).unwrap()
}

fn body(ordinal: u64) -> Vec<u8> {
    let mut body = Vec::new();
    CORPUS.body_into(ordinal, &mut body);
    body
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn object(ordinal: u64) -> String {
    get(&format!("/get/{}", name(ordinal)))
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order.
    Closed,
    Reset,
}

#[derive(Debug)]
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        &self.head["HTTP/1.1 ".len()..][..3]
    }

    fn length(&self) -> usize {
        let length = self.head.split("Content-Length: ").nth(1).expect("a length");
        length.split("\r\n").next().unwrap().parse().unwrap()
    }
}

/// A connection that is read byte for byte.
struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    fn new(server: &Serve) -> Self {
        let stream = TcpStream::connect(server.url.replace("http://", "")).unwrap();
        // A server that falls silent fails the test instead of hanging it.
        stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    fn send(mut self, request: &str) -> Self {
        self.stream.write_all(request.as_bytes()).unwrap();
        self
    }

    /// Reads more, or says how the connection ended.
    fn more(&mut self) -> Option<End> {
        let mut part = vec![0; 64 << 10];
        match self.stream.read(&mut part) {
            Ok(0) => Some(End::Closed),
            Ok(count) => {
                self.unread.extend_from_slice(&part[..count]);
                None
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything until the connection ends.
    fn rest(mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.more() {
                return (self.unread, end);
            }
        }
    }

    fn head(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.unread.drain(..at + 4).collect();
                return Ok(String::from_utf8(head).unwrap());
            }
            if let Some(end) = self.more() {
                return Err(end);
            }
        }
    }

    /// One answer by its stated length, or how the connection ended inside it.
    fn answer(&mut self) -> Result<Answer, End> {
        let mut answer = Answer { head: self.head()?, body: Vec::new() };
        while self.unread.len() < answer.length() {
            if let Some(end) = self.more() {
                return Err(end);
            }
        }
        answer.body = self.unread.drain(..answer.length()).collect();
        Ok(answer)
    }

    /// Nothing comes for a moment.
    fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let silent =
            self.stream.read(&mut [0]).is_err_and(|why| why.kind() == ErrorKind::WouldBlock);
        self.stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
        silent
    }
}

/// What comes of one request for an object, and how the connection ends if the server ends it.
fn all(server: &Serve) -> (String, Vec<u8>, End) {
    let (bytes, end) = Wire::new(server).send(&object(1)).rest();
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let (head, body) = bytes.split_at(at);
    (String::from_utf8(head.to_vec()).unwrap(), body.to_vec(), end)
}

fn stats(server: &Serve) -> Value {
    let answer = Wire::new(server).send(&get("/-/stats")).answer().unwrap();
    assert!(answer.head.contains("Content-Type: application/json\r\n"), "{}", answer.head);
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn a_status_instead_of_the_object() {
    for (spec, line, retry_after) in [
        ("503=100%", "HTTP/1.1 503 Service Unavailable\r\n", None),
        ("429=100%:2s", "HTTP/1.1 429 Too Many Requests\r\n", Some("\r\nRetry-After: 2\r\n")),
        ("404=1", "HTTP/1.1 404 Not Found\r\n", None),
        ("outage=0s+1h", "HTTP/1.1 503 Service Unavailable\r\n", None),
        ("outage=0+1h:429:9", "HTTP/1.1 429 Too Many Requests\r\n", Some("\r\nRetry-After: 9\r\n")),
    ] {
        let server = serve(spec);
        let requests = [object(1), get("/list"), object(2)].concat();
        let mut wire = Wire::new(&server).send(&requests);
        for listing in [false, true, false] {
            let answer = wire.answer().unwrap();
            if listing {
                assert_eq!(answer.status(), "200", "{spec}");
                continue;
            }
            assert!(answer.head.starts_with(line), "{spec}: {}", answer.head);
            let says = retry_after.unwrap_or("Retry-After");
            assert_eq!(answer.head.contains(says), retry_after.is_some(), "{}", answer.head);
        }
        let kind = spec.split('=').next().unwrap();
        let stats = stats(&server);
        assert_eq!(stats["faults"][kind], 2, "{stats}");
        assert_eq!((&stats["objects"], &stats["listings"]), (&2.into(), &1.into()), "{stats}");
        assert_eq!(stats["requests"], 3, "{stats}");
    }
    let server = serve("503=100%,listing=on");
    assert_eq!(Wire::new(&server).send(&get("/list")).answer().unwrap().status(), "503");
}

#[test]
fn a_reset_instead_of_the_answer() {
    let server = serve("reset-head=100%");
    let wire = Wire::new(&server).send(&[object(1), object(2)].concat());
    assert_eq!(wire.rest(), (Vec::new(), End::Reset));
    // What came before it is answered.
    let mut wire = Wire::new(&server).send(&[get("/list"), object(2), get("/list")].concat());
    assert_eq!(wire.answer().unwrap().status(), "200");
    assert_eq!(wire.rest(), (Vec::new(), End::Reset));
}

#[test]
fn a_body_that_ends_too_soon() {
    for (spec, expected) in [("reset-body=100%", End::Reset), ("truncate=100%", End::Closed)] {
        let (head, part, end) = all(&serve(spec));
        assert_eq!(end, expected, "{spec}");
        assert!(head.contains("\r\nContent-Length: 100\r\n"), "{head}");
        assert!(part.len() < 100 && body(1).starts_with(&part), "{spec}: {part:?}");
    }
}

#[test]
fn a_length_that_is_wrong() {
    let (head, whole, end) = all(&serve("wrong-length=100%"));
    let answer = Answer { head, body: whole };
    assert!(answer.length() > 100 && answer.body == body(1) && end == End::Closed, "{answer:?}");

    let server = serve("wrong-length=100%:smaller");
    let mut wire = Wire::new(&server).send(&object(1));
    let answer = wire.answer().unwrap();
    assert!(answer.length() < 100 && body(1).starts_with(&answer.body), "{answer:?}");
    while wire.unread.len() < 100 - answer.length() {
        assert_eq!(wire.more(), None);
    }
    assert_eq!([answer.body, wire.unread].concat(), body(1), "the rest comes all the same");
}

#[test]
fn silence_holds_up_one_connection_and_no_other() {
    for (spec, bytes) in [("stall=100%:1h", true), ("stall-head=100%:1h", false)] {
        let server = serve(spec);
        // Connections go to the two threads in turn: each has one that is silent.
        let mut silent = [1, 2].map(|ordinal| Wire::new(&server).send(&object(ordinal)));
        for wire in &mut silent {
            if bytes {
                assert!(wire.head().unwrap().contains("Content-Length: 100"));
            }
        }
        wait::until("both requests", || stats(&server)["objects"] == 2);
        for _ in 0..4 {
            assert_eq!(Wire::new(&server).send(&get("/list")).answer().unwrap().status(), "200");
        }
        if !bytes {
            assert!(silent.iter_mut().all(Wire::is_silent));
        }
    }
    // And then the rest comes.
    for spec in ["stall=100%:150ms", "stall-head=100%:150ms"] {
        let server = serve(spec);
        let mut wire = Wire::new(&server).send(&[object(1), object(2)].concat());
        let start = Instant::now();
        for ordinal in [1, 2] {
            assert_eq!(wire.answer().unwrap().body, body(ordinal));
        }
        assert!(start.elapsed() >= Duration::from_millis(300), "{spec}: {:?}", start.elapsed());
    }
}

#[test]
fn a_drip() {
    let server = serve("drip=100%:500B/s");
    let mut wire = Wire::new(&server).send(&object(1));
    let start = Instant::now();
    assert_eq!(wire.answer().unwrap().body, body(1));
    // 19 pauses of 10 ms behind the first five bytes.
    assert!(start.elapsed() >= Duration::from_millis(180), "{:?}", start.elapsed());
}

#[test]
fn a_connection_that_ends_after_the_answer() {
    for (spec, says) in [("close=100%", true), ("close-silent=100%", false)] {
        let server = serve(spec);
        let (head, whole, end) = all(&server);
        assert_eq!(head.contains("\r\nConnection: close\r\n"), says, "{head}");
        assert_eq!((whole, end), (body(1), End::Closed), "{spec}");
        // What is asked for behind it is not answered, and that is not a reset.
        let wire = Wire::new(&server).send(&[object(1), object(2), object(3)].concat());
        let (bytes, end) = wire.rest();
        assert!(bytes.ends_with(&body(1)) && end == End::Closed, "{spec}");
    }
}

#[test]
fn a_listing_that_repeats_itself() {
    let next = |server: &Serve, marker: &str| {
        let request = get(&format!("/list?next-marker={marker}"));
        let answer = Wire::new(server).send(&request).answer().unwrap();
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let server = serve("marker-loop=repeat");
    for marker in ["", "1000", "1000", "5000"] {
        assert_eq!(next(&server, marker)["NextMarker"], "1000");
    }
    let server = serve("marker-loop=cycle:3");
    for (marker, expected) in [("", "1000"), ("1000", "2000"), ("2000", "3000"), ("3000", "1000")] {
        assert_eq!(next(&server, marker)["NextMarker"], expected);
    }
    let server = serve("duplicate-names=100%");
    let page = next(&server, "1000");
    let names = page["FileNames"].as_array().unwrap();
    assert_eq!((names.len(), &names[0]), (2000, &names[1000]));
    assert_eq!(stats(&server)["faults"]["duplicate-names"], 1000);
}

/// What comes of a request: a status, or an end.
fn outcome(wire: &mut Option<Wire>, server: &Serve, ordinal: u64) -> String {
    let mut open = wire.take().unwrap_or_else(|| Wire::new(server)).send(&object(ordinal));
    match open.answer() {
        Ok(answer) => {
            let status = answer.status().to_owned();
            assert!(status != "200" || answer.body == body(ordinal));
            *wire = Some(open);
            status
        }
        Err(end) => format!("{end:?} {}", open.unread.len()),
    }
}

#[test]
fn the_same_seed_brings_the_same_faults_in_any_order() {
    const SPEC: &str = "503=20%,500=10%:1,truncate=10%,reset-head=5%";
    let [first, second, other] = [8, 8, 9].map(|seed| serve(&format!("seed={seed},{SPEC}")));
    let mut outcomes = BTreeMap::new();
    let mut wire = None;
    for round in 0..3 {
        for ordinal in 0..300 {
            outcomes.insert((ordinal, round), outcome(&mut wire, &first, ordinal));
        }
    }
    // Backwards, all rounds of an object at once, and over several connections.
    let mut wires = [const { None::<Wire> }; 7];
    for ordinal in (0..300).rev() {
        for round in 0..3 {
            let wire = &mut wires[(ordinal as usize + round) % 7];
            assert_eq!(outcome(wire, &second, ordinal), outcomes[&(ordinal, round)], "{ordinal}");
        }
    }
    let mut wire = None;
    let differs = |&ordinal: &u64| outcome(&mut wire, &other, ordinal) != outcomes[&(ordinal, 0)];
    assert!((0..300).filter(differs).count() > 100, "another seed");
}

#[test]
fn rates_are_kept_and_counted_and_pipelined_answers_are_in_order() {
    let server = serve("seed=4,503=5%,429=2%:1,500=1%,404=0.1%,mix=0%");
    let mut wire = Wire::new(&server);
    let mut sending = wire.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let requests: String = (0..CORPUS.count).map(object).collect();
        sending.write_all(requests.as_bytes()).unwrap();
    });
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for ordinal in 0..CORPUS.count {
        let answer = wire.answer().unwrap();
        if answer.status() == "200" {
            assert!(answer.body == body(ordinal), "{ordinal}");
        }
        *counts.entry(answer.status().to_owned()).or_default() += 1;
    }
    sender.join().unwrap();
    let count = CORPUS.count as f64;
    for (status, rate) in [("503", 0.05), ("429", 0.02), ("500", 0.01), ("404", 0.001)] {
        let (found, mean) = (counts[status] as f64, count * rate);
        // Four times the standard deviation of a binomial distribution.
        let bound = 4.0 * (mean * (1.0 - rate)).sqrt();
        assert!((found - mean).abs() < bound, "{status}: {found} of {mean}");
    }
    assert_eq!(counts.len(), 5, "{counts:?}");
    let stats = stats(&server);
    for (status, found) in counts {
        if status != "200" {
            assert_eq!(stats["faults"][&status], found, "{stats}");
        }
    }
    assert_eq!((&stats["objects"], &stats["faults"]["truncate"]), (&20_000.into(), &0.into()));
}

#[test]
fn who_comes_back_too_early_is_counted() {
    let server = serve("503=100%:3600,grace=0s");
    let mut wire = None;
    assert_eq!(stats(&server)["early"], 0);
    outcome(&mut wire, &server, 0);
    assert_eq!(stats(&server)["early"], 0, "the first could not know");
    // Times are compared in milliseconds, so the next may still count as being at the same one.
    wait::until("an early request", || {
        outcome(&mut wire, &server, 1);
        stats(&server)["early"].as_u64() > Some(0)
    });
    // The listing is not held to it.
    let early = stats(&server)["early"].clone();
    Wire::new(&server).send(&get("/list")).answer().unwrap();
    assert_eq!(stats(&server)["early"], early);

    let server = serve("503=100%:1,grace=1h");
    for ordinal in 0..10 {
        outcome(&mut None, &server, ordinal);
    }
    assert_eq!(stats(&server)["early"], 0, "all of them within the grace");
}

#[test]
fn a_server_that_was_not_asked_to_count_does_not() {
    let plain = windrow().serve(["--synthetic", "10"]);
    assert_eq!(Wire::new(&plain).send(&get("/-/stats")).answer().unwrap().status(), "404");
    let counting = windrow().serve(["--synthetic", "10", "--stats"]);
    for _ in 0..3 {
        Wire::new(&counting).send(&get("/get/none")).answer().unwrap();
    }
    let stats = stats(&counting);
    assert_eq!((&stats["objects"], &stats["early"]), (&3.into(), &0.into()));
    assert_eq!(stats["faults"], serde_json::json!({}));
}

#[test]
fn a_spec_that_is_wrong_is_told_piece_by_piece() {
    for (spec, piece, says) in [
        ("503=1%,fnord=1%", "`fnord=1%`", "reset-head, reset-body, truncate"),
        ("503=110%", "`503=110%`", "0% to 100%"),
        ("429=1%:soon", "`429=1%:soon`", "whole seconds"),
        ("", "``", "KIND=RATE"),
    ] {
        let typed = windrow().args(["serve", "--synthetic", "1", "--faults", spec]);
        let from_env = windrow().args(["serve", "--synthetic", "1"]).env("WINDROW_FAULTS", spec);
        for call in [typed, from_env] {
            let done = call.run().expect(2).says(["--faults", piece, says]);
            assert_eq!(done.stdout, "");
        }
    }
}

#[test]
fn the_environment_says_it_too_and_stdout_has_the_address_only() {
    let call = windrow().args(["serve", "--addr", "127.0.0.1:0", "--synthetic", "1"]);
    let mut server = call.env("WINDROW_FAULTS", "503=1").env("WINDROW_STATS", "true").start();
    server.until_stderr("the faults", |said| said.contains("misbehaving on demand: 503=1"));
    server.signal(Signal::TERM);
    let done = server.finish().expect(143);
    assert!(done.stdout.starts_with("http://127.0.0.1:"), "{}", done.stdout);
    assert_eq!(done.stdout.lines().count(), 1);
}

#[test]
fn a_fetch_from_a_server_that_misbehaves_is_complete() {
    let corpus = Corpus { count: 5000, size: 100, seed: 4 };
    let spec = "seed=1,mix=5%";
    for pipeline in ["1", "16"] {
        let server = windrow().serve(["--synthetic", "5000", "--seed", "4", "--faults", spec]);
        let place = Place::new();
        let get = place.get(&server.url).args(["--format", "tar", "--pipeline", pipeline]);
        // What is silent is given up soon; a drip is not silent.
        let get = get.args(["-c", "256", "--timeout", "300ms", "--retry", "10"]);
        let done = get.run().complete(5000);
        assert_eq!(all_right(&corpus, &stored(&done)), 5000);
        let stats = stats(&server);
        let faults = stats["faults"].as_object().expect("faults");
        assert_eq!(faults.len(), 14, "{stats}");
        assert!(faults.values().all(|count| count.as_u64() > Some(0)), "{stats}");
    }
}
