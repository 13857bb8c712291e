//! Many hosts in one list.

use crate::network::{get_list, list};
use crate::support::{Objects, Place, all_right, stored, windrow};
use windrow_model::Corpus;
use windrow_testkit::child::Process;
use windrow_testkit::script::{Script, http};
use windrow_testkit::{Finished, Windrow};

/// Hosts, each an address of this machine.
const HOSTS: u64 = 300;

/// Objects of each.
const EACH: u64 = 5;

const CORPUS: Corpus = Corpus { count: HOSTS * EACH, size: 100, seed: 21 };

/// `windrow serve` of the corpus on every address of this machine, and its port.
fn everywhere() -> (Process, u16) {
    let count = CORPUS.count.to_string();
    let call = windrow().args(["serve", "--addr", "0.0.0.0:0", "--threads", "1"]);
    let call = call.args(["--synthetic", &count, "--seed", "21"]);
    let mut process = Process::spawn(&mut call.command()).expect("windrow can be started");
    let url = process.first_line().expect("windrow serve starts");
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    (process, port.expect("a port"))
}

/// The objects host by host, one of each and then the next: no host has two in a row.
fn rows(port: u16) -> impl Iterator<Item = (String, String)> {
    (0..CORPUS.count).map(move |ordinal| {
        let host = ordinal % HOSTS;
        let mut name = Vec::new();
        CORPUS.name_into(ordinal, &mut name);
        let name = String::from_utf8(name).expect("ASCII");
        let address = format!("127.{}.{}.{}", 1 + host / 100, host % 100, 1 + host % 200);
        (format!("http://{address}:{port}/get/{name}"), name)
    })
}

#[track_caller]
fn right(done: Finished) {
    let done = done.complete(CORPUS.count);
    assert_eq!(all_right(&CORPUS, &stored(&done)), CORPUS.count);
}

#[test]
fn three_hundred_hosts() {
    let (_server, port) = everywhere();
    for settings in [&[][..], &["-c", "8"], &["--cores", "1", "-c", "1000"]] {
        let place = Place::new();
        let source = list(&place, rows(port));
        let get = windrow().get(&source, &place.at("out")).args([
            "--name-col",
            "name",
            "--format",
            "tar",
        ]);
        right(get.args(settings).run());
    }
}

#[test]
fn three_hundred_hosts_with_few_descriptors() {
    let (_server, port) = everywhere();
    for settings in [&[][..], &["-c", "1000"]] {
        let place = Place::new();
        let source = list(&place, rows(port));
        let limited = "ulimit -n 256; exec \"$0\" \"$@\"";
        let call = Windrow::new("sh").args(["-c", limited, env!("CARGO_BIN_EXE_windrow")]);
        right(
            call.get(&source, &place.at("out"))
                .args(["--name-col", "name", "--format", "tar"])
                .args(settings)
                .run(),
        );
    }
}

#[test]
fn a_host_that_does_not_exist_holds_no_other() {
    let (_server, port) = everywhere();
    let place = Place::new();
    // RFC 6761 section 6.4: there is no such name, anywhere.
    let lost = (0..20).map(|number| {
        (format!("http://no-such-host-{}.invalid/{number}", number % 2), format!("lost/{number}"))
    });
    let rows: Vec<_> = lost.chain(rows(port).take(200)).collect();
    let source = list(&place, rows);
    let done = get_list(&place, &source).args(["--retry", "1"]).run().expect(1).sum_holds();
    done.figures_are([("stored", 200), ("failed", 20)]);
    assert_eq!(done.failed("dns"), 20, "{:#}", done.summary());
    let found: Objects = stored(&done);
    assert_eq!(all_right(&CORPUS, &found), 200);
}

#[test]
fn a_host_that_refuses_holds_no_other() {
    let (_server, port) = everywhere();
    let refusing = windrow_testkit::port::Refusing::new();
    let place = Place::new();
    let lost = (0..20).map(|number| (format!("{}/{number}", refusing.url()), format!("l{number}")));
    let source = list(&place, lost.chain(rows(port).take(200)).collect::<Vec<_>>());
    let done = get_list(&place, &source).args(["--retry", "1"]).run().expect(1).sum_holds();
    done.figures_are([("stored", 200), ("failed", 20)]);
    assert_eq!(done.failed("connect"), 20, "{:#}", done.summary());
}

#[test]
fn requests_at_once_to_each_host_are_bounded() {
    let args = ["--synthetic", "150", "--latency", "3ms", "--stats"];
    let servers: Vec<_> = (0..3).map(|_| windrow().serve(args)).collect();
    let corpus = Corpus { count: 150, size: 100, seed: 0 };
    let rows = (0..corpus.count).flat_map(|ordinal| {
        let mut name = Vec::new();
        corpus.name_into(ordinal, &mut name);
        let name = String::from_utf8(name).expect("ASCII");
        let row = |(at, server): (usize, &windrow_testkit::Serve)| {
            (format!("{}/get/{name}", server.url), format!("s{at}/{name}"))
        };
        servers.iter().enumerate().map(row).collect::<Vec<_>>()
    });
    let place = Place::new();
    let source = list(&place, rows);
    for (most, cores) in [("1", "1"), ("1", "4"), ("2", "1"), ("2", "2"), ("2", "4")] {
        let own = Place::new();
        let get = get_list(&own, &source).args(["--concurrency-per-host", most, "--cores", cores]);
        get.env("WINDROW_CONCURRENCY", "64").args(["--format", "null"]).run().complete(450);
        let bound: u64 = most.parse().expect("a number");
        for server in &servers {
            let stats = server.stats().expect("--stats");
            let most = stats["most_in_flight"].as_u64().expect("a number");
            assert!((1..=bound).contains(&most), "{most} at once, {cores} cores: {stats:#}");
        }
    }
}

#[test]
fn requests_at_once_are_bounded_behind_redirects_too() {
    let args = ["--synthetic", "100", "--latency", "3ms", "--stats"];
    let server = windrow().serve(args);
    let to = format!("to={}", server.url);
    let front = windrow().serve(["--synthetic", "100", "--redirect", &to]);
    let place = Place::new();
    let get = place.get(&front.url).args(["--concurrency-per-host", "2"]);
    get.env("WINDROW_CONCURRENCY", "64").args(["--format", "null"]).run().complete(100);
    let stats = server.stats().expect("--stats");
    let most = stats["most_in_flight"].as_u64().expect("a number");
    assert!((1..=2).contains(&most), "{most} requests at once: {stats:#}");
}

#[test]
fn a_host_that_hangs_does_not_hold_the_others_where_it_is_bounded() {
    let gate = windrow_testkit::Gate::new();
    let held = gate.clone();
    let hangs = Script::start(move |_| {
        let mut steps = vec![windrow_testkit::Step::Await(held.clone())];
        steps.extend(http::send_ok(b"late"));
        steps
    });
    let (_server, port) = everywhere();
    let place = Place::new();
    // Many of the one that hangs first: more than there are requests under way (8). Without a bound
    // for each host it may have all of them before another is known.
    let first = (0..60).map(|number| (format!("{}/{number}", hangs.url()), format!("h{number}")));
    let source = list(&place, first.chain(rows(port).take(150)).collect::<Vec<_>>());
    let mut get = get_list(&place, &source).args(["--concurrency-per-host", "2"]).start();
    let done = |out: &std::path::Path| {
        let found = windrow_testkit::Tree::read(out).without(".windrow");
        found.objects().len() >= 150
    };
    let out = place.at("out");
    let all = windrow_testkit::wait::within(std::time::Duration::from_secs(20), || {
        (out.exists() && done(&out)).then_some(())
    });
    assert!(!get.has_ended());
    gate.open();
    let finished = get.finish().complete(210);
    assert!(all.is_some(), "the others waited: {:#}", finished.summary());
}
