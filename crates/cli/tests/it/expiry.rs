//! Signed URLs: what expires is told apart from what is forbidden, and no signature is told to
//! anybody.

use crate::support::{Place, all_right, stored, windrow};
use windrow_model::Corpus;
use windrow_testkit::script::http;
use windrow_testkit::{Finished, Gate, Script, Serve, Step, Tree};

const KEY: [&str; 2] = ["--sign-key", "canary-key"];
const CORPUS: Corpus = Corpus { count: 600, size: 100, seed: 9 };
const SYNTHETIC: [&str; 6] = ["--synthetic", "600", "--size", "100", "--seed", "9"];

fn serve(clock: &str) -> Serve {
    let rest = ["--stats", "--clock-offset", clock];
    windrow().serve([&SYNTHETIC[..], &KEY, &rest].concat())
}

/// URLs as a signer prints them whose clock is off by so much.
fn printed(server: &Serve, clock: &str, expires: &str) -> String {
    let base = ["serve", "--print-urls", "--base", &server.url];
    let serve = windrow().args(base).args(SYNTHETIC).args(KEY);
    serve.args(["--clock-offset", clock, "--expires-in", expires]).run().expect(0).stdout
}

fn asked(server: &Serve) -> u64 {
    server.stats().expect("stats")["objects"].as_u64().expect("a number")
}

/// No part of any signature of the list is in anything that windrow wrote or said.
#[track_caller]
fn keeps_secrets(place: &Place, list: &str, done: &Finished) {
    let signatures: Vec<_> =
        list.lines().filter_map(|line| Some(line.split_once("Signature=")?.1)).collect();
    assert!(!signatures.is_empty());
    let told = |text: &[u8]| {
        // 16 digits of a signature would be chance once in 2^64.
        signatures.iter().any(|own| {
            let own = &own.as_bytes()[..16];
            memchr(text, own)
        })
    };
    for (path, body) in Tree::read(&place.at("out")).0 {
        assert!(!told(path.to_string_lossy().as_bytes()), "{}", path.display());
        assert!(!told(&body), "a signature is in {}", path.display());
    }
    assert!(!told(done.stderr.as_bytes()) && !told(done.stdout.as_bytes()), "{}", done.stderr);
    assert!(!done.stderr.contains("canary"), "{}", done.stderr);
}

fn memchr(text: &[u8], own: &[u8]) -> bool {
    text.windows(own.len()).any(|part| part == own)
}

/// Asserts that the objects are of the corpus, and gives how many.
#[track_caller]
fn right(done: &Finished) -> u64 {
    let own = stored(done).into_iter().map(|(name, body)| {
        let name = String::from_utf8(name).expect("text");
        let (_, name) = name.split_once("/get/").expect("host and path");
        let name = name.split_once('?').map_or(name, |(name, _)| name);
        (name.as_bytes().to_vec(), body)
    });
    all_right(&CORPUS, &own.collect())
}

#[test]
fn what_is_valid_is_stored_and_no_signature_told() {
    let server = serve("0s");
    let list = printed(&server, "0s", "1h");
    for format in ["files", "tar"] {
        let place = Place::new();
        let path = place.file("l.txt", &list);
        let done = place.get(&path).args(["--format", format, "-v"]).run().complete(600);
        assert_eq!(right(&done), 600);
        keeps_secrets(&place, &list, &done);
    }
}

#[test]
fn what_expired_is_told_and_not_sent() {
    let server = serve("0s");
    // Every second one is good for an hour yet.
    let (old, new) = (printed(&server, "-3h", "1h"), printed(&server, "0s", "1h"));
    let mixed = old.lines().zip(new.lines()).enumerate();
    let mixed = mixed.map(|(at, (old, new))| if at % 2 == 0 { old } else { new });
    let list = mixed.map(|line| format!("{line}\n")).collect::<String>();
    for cores in ["1", "2"] {
        let place = Place::new();
        let path = place.file("l.txt", &list);
        let before = asked(&server);
        let done = place.get(&path).args(["--cores", cores]).run().expect(1).sum_holds();
        assert_eq!((done.failed("expired"), done.figure("stored")), (300, 300));
        assert_eq!(right(&done), 300);
        let sent = asked(&server) - before;
        // Some are sent to learn the time.
        assert!((300..=308).contains(&sent), "{sent}");
        keeps_secrets(&place, &list, &done);
        let line = &done.failures()[0];
        assert_eq!(line["class"], "expired", "{line}");
        assert!(line["error"].as_str().expect("an error").contains("expired"), "{line}");
    }
}

#[test]
fn a_wrong_signature_is_forbidden() {
    let server = serve("0s");
    let list = printed(&server, "0s", "1h").replace("Signature=", "Signature=0");
    let place = Place::new();
    let path = place.file("l.txt", &list);
    let done = place.get(&path).run().expect(1).sum_holds();
    assert_eq!((done.failed("forbidden"), done.failed("expired")), (600, 0));
    keeps_secrets(&place, &list, &done);
}

#[test]
fn a_clock_that_is_wrong_here_decides_nothing() {
    // To its server every URL is valid, though the clock here says otherwise.
    let server = serve("-2h");
    let list = printed(&server, "-2h", "1h");
    let place = Place::new();
    let path = place.file("l.txt", &list);
    let done = place.get(&path).run();
    assert_eq!(right(&done.complete(600)), 600);
}

#[test]
fn what_expired_at_the_server_is_expired() {
    // The clock here says that they are good for an hour.
    let server = serve("+2h");
    let list = printed(&server, "0s", "1h");
    let place = Place::new();
    let path = place.file("l.txt", &list);
    let done = place.get(&path).run().expect(1).sum_holds();
    // Until its time is known, an answer of 403 may mean anything.
    assert_eq!(done.failed("expired") + done.failed("forbidden"), 600);
}

#[test]
fn the_earliest_deadline_goes_first_and_a_forecast_is_told() {
    // The first answer is kept back until the list was read ahead.
    let gate = Gate::new();
    let server = Script::start({
        let gate = gate.clone();
        move |request| {
            let mut steps = http::send_ok(request.target.as_bytes());
            if request.connection == 0 && request.number == 0 {
                steps.insert(0, Step::Await(gate.clone()));
            }
            steps
        }
    });
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    // The later on the list, the earlier it expires; some never do.
    let deadline = |number: u64| now + 80_000 - number * 60;
    let line = |number: u64| match number % 3 {
        2 => format!("{}/never/{number}\n", server.url()),
        _ => format!(
            "{}/{number}?Expires={}&Signature=ab&KeyName=k\n",
            server.url(),
            deadline(number)
        ),
    };
    let place = Place::new();
    let list = place.file("l.txt", (0..60).map(line).collect::<String>());
    let mut running = place.get(&list).args(["--cores", "1", "-c", "1"]).start();
    server.until_asked("/", 1);
    running.until_stderr("the forecast", |said| said.contains("the first expires in 21 h "));
    gate.open();
    running.finish().complete(60);
    let targets = server.targets("/");
    let expires = |target: &String| -> Option<u64> {
        target.split_once("Expires=")?.1.split_once('&')?.0.parse().ok()
    };
    // What was taken before the rest was there comes out of turn.
    let order: Vec<_> = targets.iter().skip(1).map(expires).collect();
    let dated: Vec<_> = order.iter().flatten().copied().collect();
    assert!(dated.is_sorted(), "{order:?}");
    assert!(order.iter().position(Option::is_none) >= Some(39), "those without go last: {order:?}");
}
