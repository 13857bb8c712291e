//! Faults as a connection meets them, without sockets and without waiting.

use super::*;
use crate::directory::Directory;
use crate::respond::Site;
use crate::session::{Ending, Session};
use crate::synthetic::Synthetic;
use proptest::prelude::*;
use std::collections::BTreeMap;
use windrow_model::Corpus;

const CORPUS: Corpus = Corpus { count: 100_000, size: 100, seed: 1 };

fn stage_of(content: Site, spec: &str) -> (Arc<Rehearsal>, Site) {
    let faults = spec.parse().unwrap_or_else(|why| panic!("{spec}: {why}"));
    let counters = vec![Arc::new(Counters::default())];
    let rehearsal = Arc::new(Rehearsal::new(Front::open(Arc::new(content)), faults, counters));
    (rehearsal.clone(), Site::Rehearsed(Stage::new(rehearsal, 0)))
}

fn stage(size: u64, spec: &str) -> (Arc<Rehearsal>, Site) {
    stage_of(Site::Synthetic(Synthetic::new(Corpus { size, ..CORPUS }, 10)), spec)
}

fn name(ordinal: u64) -> String {
    let mut name = Vec::new();
    CORPUS.name_into(ordinal, &mut name);
    String::from_utf8(name).unwrap()
}

fn get(ordinal: u64) -> String {
    format!("GET /get/{} HTTP/1.1\r\nHost: h\r\n\r\n", name(ordinal))
}

fn body(size: u64, ordinal: u64) -> Vec<u8> {
    let mut body = Vec::new();
    Corpus { size, ..CORPUS }.body_into(ordinal, &mut body);
    body
}

/// What one connection brings when nobody waits: bytes, pauses with the number of bytes before
/// them, and how it ends if the server ends it.
#[derive(Debug, PartialEq)]
struct Met {
    bytes: Vec<u8>,
    pauses: Vec<(usize, Duration)>,
    ending: Option<Ending>,
}

impl Met {
    fn head(&self) -> String {
        let end = memmem::find(&self.bytes, b"\r\n\r\n").expect("a head");
        String::from_utf8(self.bytes[..end].to_vec()).unwrap()
    }

    fn body(&self) -> &[u8] {
        let end = memmem::find(&self.bytes, b"\r\n\r\n").expect("a head");
        &self.bytes[end + 4..]
    }
}

fn meet(site: &Site, parts: &[&[u8]], limit: usize) -> Met {
    let mut session = Session::default();
    let (mut bytes, mut pauses, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        if session.wants_input() {
            session.feed(site, part, &mut out, limit);
        }
        while session.has_more() {
            bytes.append(&mut out);
            session.resume(site, &mut out, limit);
            if let Some(pause) = session.take_pause() {
                bytes.append(&mut out);
                pauses.push((bytes.len(), pause));
            }
        }
        bytes.append(&mut out);
    }
    Met { bytes, pauses, ending: session.is_over().then(|| session.ending()) }
}

fn once(size: u64, spec: &str, request: &str) -> Met {
    meet(&stage(size, spec).1, &[request.as_bytes()], usize::MAX)
}

/// Sizes below and above what is answered in one go.
const SIZES: [u64; 4] = [1, 100, 262_144, 600_000];

#[test]
fn a_status_is_answered_instead_and_the_connection_stays() {
    for (spec, status, retry_after) in [
        ("503=100%", "503 Service Unavailable", None),
        ("429=1:7s", "429 Too Many Requests", Some("Retry-After: 7")),
        ("418=1", "418 Fault", None),
    ] {
        let met = once(100, spec, &[get(1), get(2)].concat());
        assert!(met.head().starts_with(&format!("HTTP/1.1 {status}\r\n")), "{}", met.head());
        assert_eq!(met.head().lines().find(|line| line.starts_with("Retry")), retry_after);
        assert_eq!((met.ending, met.pauses.len()), (None, 0));
        assert_eq!(memmem::find_iter(&met.bytes, status).count(), 2, "both requests");
        let head = once(100, spec, &get(1).replace("GET", "HEAD"));
        assert_eq!((head.body(), head.head()), (&b""[..], met.head()));
    }
}

#[test]
fn a_reset_or_an_end_in_the_body_comes_before_its_end() {
    for size in SIZES {
        let whole = body(size, 1);
        for (spec, ending) in [("reset-body=1", Ending::Reset), ("truncate=1", Ending::Orderly)] {
            let met = once(size, spec, &[get(1), get(2)].concat());
            assert!(met.head().contains(&format!("\r\nContent-Length: {size}")), "the true one");
            assert!(met.body().len() < whole.len() && whole.starts_with(met.body()), "{spec}");
            assert_eq!(met.ending, Some(ending));
        }
    }
    let met = once(100, "reset-head=1", &[get(1), get(2)].concat());
    assert_eq!((met.bytes.len(), met.ending), (0, Some(Ending::Reset)));
}

#[test]
fn cuts_are_anywhere_in_the_body() {
    let (_, site) = stage(10, "truncate=1");
    let mut cuts = [0; 10];
    for ordinal in 0..1000 {
        let met = meet(&site, &[get(ordinal).as_bytes()], usize::MAX);
        cuts[met.body().len()] += 1;
    }
    assert!(cuts.iter().all(|&count| count > 50), "{cuts:?}");
}

#[test]
fn a_wrong_length_is_larger_or_smaller() {
    for size in SIZES {
        let whole = body(size, 1);
        let stated = |met: &Met| -> u64 {
            let head = met.head();
            head.split("Content-Length: ").nth(1).unwrap().parse().unwrap()
        };
        let met = once(size, "wrong-length=1", &get(1));
        assert!(stated(&met) > size && stated(&met) <= 2 * size);
        assert!(met.body() == whole && met.ending == Some(Ending::Orderly));
        let met = once(size, "wrong-length=1:smaller", &get(1));
        assert!(stated(&met) < size);
        assert!(met.body() == whole && met.ending.is_none());
    }
}

#[test]
fn silence_is_before_the_head_or_in_the_body_and_all_arrives() {
    for size in SIZES {
        let plain = once(size, "503=0%", &[get(1), get(2)].concat());
        let met = once(size, "stall=1:5s", &[get(1), get(2)].concat());
        let answer = plain.bytes.len() / 2;
        assert!(met.bytes == plain.bytes && met.ending.is_none());
        let pauses: Vec<_> = met.pauses.iter().map(|&(at, _)| at).collect();
        let head = plain.head().len() + 4;
        let [first, second] = pauses[..] else { panic!("{pauses:?}") };
        assert!((head..answer).contains(&first), "{head} <= {first} < {answer}");
        assert!((answer + head..2 * answer).contains(&second), "{second}");
        let met = once(size, "stall-head=1", &[get(1), get(2)].concat());
        assert!(met.bytes == plain.bytes);
        let minute = Duration::from_secs(60);
        assert_eq!(met.pauses, [(0, minute), (answer, minute)]);
    }
    let plain = once(100, "503=0%", &get(1));
    let met = once(100, "drip=1:50B/s", &get(1));
    assert_eq!(met.bytes, plain.bytes);
    assert_eq!(met.pauses.len(), 99);
    assert!(met.pauses.iter().all(|&(_, pause)| pause == Duration::from_millis(20)));
}

#[test]
fn a_connection_ends_after_an_answer_and_says_so_or_not() {
    for size in SIZES {
        for (spec, says) in [("close=1", true), ("close-silent=1", false)] {
            let met = once(size, spec, &[get(1), get(2)].concat());
            assert_eq!(met.head().contains("\r\nConnection: close"), says);
            assert!(met.body() == body(size, 1) && met.ending == Some(Ending::Orderly));
        }
    }
}

#[test]
fn bodies_that_are_empty_have_no_middle_and_do_no_harm() {
    for kind in ["reset-body", "truncate", "wrong-length", "stall", "drip", "close", "mix"] {
        for request in [get(1), get(1).replace("GET", "HEAD"), get(1).replace("/o", "/x")] {
            let met = once(0, &format!("{kind}=100%"), &request);
            assert!(met.bytes.is_empty() || met.bytes.starts_with(b"HTTP/1.1 "), "{kind}");
        }
    }
}

#[test]
fn listings_and_other_paths_are_spared_unless_asked_for() {
    let list = "GET /list HTTP/1.1\r\nHost: h\r\n\r\n";
    for (spec, start) in [("503=1", "HTTP/1.1 200 "), ("503=1,listing=on", "HTTP/1.1 503 ")] {
        assert!(once(100, spec, list).head().starts_with(start), "{spec}");
        let other = "GET /other HTTP/1.1\r\nHost: h\r\n\r\n";
        assert!(once(100, spec, other).head().starts_with("HTTP/1.1 404 "));
    }
    for (spec, start) in [
        ("outage=0s+1h", "HTTP/1.1 503 "),
        ("outage=0s+1h:500:1", "HTTP/1.1 500 "),
        ("outage=1h+1h,404=1", "HTTP/1.1 404 "),
    ] {
        assert!(once(100, spec, &get(1)).head().starts_with(start), "{spec}");
        assert!(once(100, spec, list).head().starts_with("HTTP/1.1 200 "), "{spec}");
    }
}

/// Names and the next marker of a page.
fn page(site: &Site, marker: Option<&str>) -> (Vec<String>, Option<String>) {
    let marker = marker.map_or(String::new(), |marker| format!("?next-marker={marker}"));
    let request = format!("GET /list{marker} HTTP/1.1\r\nHost: h\r\n\r\n");
    let met = meet(site, &[request.as_bytes()], usize::MAX);
    assert!(met.head().ends_with(&format!("Content-Length: {}", met.body().len())));
    let page: serde_json::Value = serde_json::from_slice(met.body()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let names = page["FileNames"].as_array().unwrap().iter().map(text).collect();
    (names, page.get("NextMarker").map(text))
}

#[test]
fn markers_lead_in_a_circle() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b\"", "c", "d", "e"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let sites = || {
        let synthetic = Synthetic::new(Corpus { count: 5, size: 1, seed: 1 }, 1);
        let directory = Directory::open(folder.path(), 1).unwrap();
        [Site::Synthetic(synthetic), Site::Directory(directory)]
    };
    for (spec, pages) in [("repeat", 1), ("cycle:3", 3), ("cycle:4", 4), ("cycle:9", 4)] {
        for site in sites() {
            let (_, site) = stage_of(site, &format!("marker-loop={spec}"));
            let (first, mut marker) = page(&site, None);
            let mut seen = Vec::new();
            for _ in 0..3 * pages {
                let next = page(&site, marker.as_deref().map(|m| m.replace('"', "%22")).as_deref());
                assert!(!next.0.contains(&first[0]), "the first page is in no circle");
                seen.push(marker.clone().expect("it never ends"));
                marker = next.1;
            }
            assert_eq!(seen[..pages], seen[pages..2 * pages], "{spec}");
            assert_eq!(seen[..pages], seen[2 * pages..], "{spec}");
            seen.truncate(pages);
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), pages, "{spec}");
        }
    }
    let (_, site) = stage(1, "marker-loop=repeat");
    assert_eq!(page(&site, Some("99990")).1.as_deref(), Some("10"), "the last page, too");
    let single = Synthetic::new(Corpus { count: 5, size: 1, seed: 1 }, 10);
    let (_, site) = stage_of(Site::Synthetic(single), "marker-loop=repeat");
    assert_eq!(page(&site, None).1, None, "a single page leads nowhere");
}

#[test]
fn names_are_listed_twice_at_their_rate_and_each_time_the_same() {
    let (rehearsal, site) = stage(1, "duplicate-names=25%");
    let mut twice = 0;
    for marker in (10..10_010).step_by(10) {
        let marker = marker.to_string();
        let (names, next) = page(&site, Some(&marker));
        let once: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(once.len(), 10);
        assert!(next.is_some());
        twice += names.len() - once.len();
        assert_eq!(page(&site, Some(&marker)).0, names);
    }
    // 10,000 names, six times the standard deviation of 43.
    assert!(twice.abs_diff(2500) < 260, "{twice}");
    let counted = rehearsal.tallies[0].duplicates.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(counted, 2 * twice as u64);
}

/// Which rule each of these requests met, by the counters of the rehearsal.
fn drawn(site: &Site, rehearsal: &Rehearsal, ordinals: &[u64]) -> Vec<Option<usize>> {
    let counts = || -> Vec<u64> {
        let faults = rehearsal.tallies[0].faults.iter();
        faults.map(|count| count.load(std::sync::atomic::Ordering::Relaxed)).collect()
    };
    let mut before = counts();
    let mut draw = |ordinal: &u64| {
        meet(site, &[get(*ordinal).as_bytes()], usize::MAX);
        let now = counts();
        let rule = (0..now.len()).find(|&rule| now[rule] > before[rule]);
        before = now;
        rule
    };
    ordinals.iter().map(&mut draw).collect()
}

#[test]
fn every_rate_is_kept() {
    const COUNT: u64 = 20_000;
    let (rehearsal, site) = stage(10, "seed=3,mix=28%,503=10%:2,404=0.5%,truncate=0");
    let all: Vec<_> = (0..COUNT).collect();
    let mut met = BTreeMap::new();
    for rule in drawn(&site, &rehearsal, &all).into_iter().flatten() {
        *met.entry(rule).or_insert(0.0) += 1.0;
    }
    for (rule, rate) in (0..14).map(|rule| (rule, 0.02)).chain([(14, 0.1), (15, 0.005), (16, 0.0)])
    {
        let count = met.get(&rule).copied().unwrap_or(0.0);
        let mean = COUNT as f64 * rate;
        let bound = 4.5 * (mean * (1.0 - rate)).sqrt();
        assert!((count - mean).abs() <= bound, "{}: {count} of {mean}", rehearsal.kinds[rule]);
    }
}

#[test]
fn the_order_of_requests_changes_nothing() {
    let spec = "seed=5,mix=60%";
    let ordinals: Vec<u64> = (0..2000).collect();
    let (rehearsal, site) = stage(10, spec);
    let rounds = [0; 3].map(|_| drawn(&site, &rehearsal, &ordinals));
    assert!(rounds[0] != rounds[1] && rounds[1] != rounds[2], "each attempt is drawn anew");

    // One object after the other instead of one round after the other, and backwards.
    let (rehearsal, site) = stage(10, spec);
    for &ordinal in ordinals.iter().rev() {
        let at = ordinal as usize;
        let expected = [rounds[0][at], rounds[1][at], rounds[2][at]];
        assert_eq!(drawn(&site, &rehearsal, &[ordinal; 3]), expected, "{ordinal}");
    }
    let (rehearsal, site) = stage(10, "seed=6,mix=60%");
    assert_ne!(drawn(&site, &rehearsal, &ordinals), rounds[0], "another seed");
}

proptest! {
    #[test]
    fn splitting_and_the_limit_change_nothing(
        ordinals in prop::collection::vec(0_u64..20, 1..12), cut in 1_usize..90,
        limit in 1_usize..4000, size in prop::sample::select(vec![0, 3, 100, 300_000]),
        seed in any::<u64>(),
    ) {
        let spec = format!("seed={seed},mix=70%,drip=0.1%:100MB/s,listing=on");
        let spec = if size > 1000 { format!("seed={seed},503=20%:1,stall=20%,truncate=5%") } else { spec };
        let mut input: String = ordinals.iter().map(|&ordinal| get(ordinal)).collect();
        input.push_str("GET /list HTTP/1.1\r\nHost: h\r\n\r\n");
        let whole = meet(&stage(size, &spec).1, &[input.as_bytes()], usize::MAX);
        let parts: Vec<_> = input.as_bytes().chunks(cut).collect();
        prop_assert_eq!(&meet(&stage(size, &spec).1, &parts, usize::MAX), &whole);
        prop_assert_eq!(&meet(&stage(size, &spec).1, &[input.as_bytes()], limit), &whole);
        prop_assert_eq!(&meet(&stage(size, &spec).1, &parts, limit), &whole);
    }
}
