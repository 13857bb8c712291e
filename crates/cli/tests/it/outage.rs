//! Servers that are down for a while, or for good: the run waits, asks seldom, and fails nothing.

use crate::support::{Place, assert_same, stored};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use windrow_testkit::script::{Request, Site, body_of, http};
use windrow_testkit::{Script, Step};

/// Objects of a run.
const COUNT: usize = 1500;

/// Requests for objects, behind which the outage begins.
const BEFORE: usize = 300;

/// How long it lasts.
const LASTS: Duration = Duration::from_secs(3);

/// A server that misbehaves for three seconds, once it has sent some objects.
struct Outage {
    site: Site,
    server: Script,
}

impl Outage {
    fn start(during: impl Fn(Duration) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let site = Site::numbered(COUNT).pages_of(500);
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let begun = OnceLock::new();
        let server = site.start_but(move |_, name| {
            if name.is_some() {
                asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            if asked.load(std::sync::atomic::Ordering::Relaxed) < BEFORE {
                return None;
            }
            let left = LASTS.checked_sub(begun.get_or_init(Instant::now).elapsed())?;
            Some(during(left))
        });
        Self { site, server }
    }

    /// Everything arrives, and the server saw at most a tenth more requests than it had objects.
    #[track_caller]
    fn survived(self, settings: &[&str]) -> Vec<Request> {
        let place = Place::new();
        let done = place.get(&self.server.url()).args(settings).run().complete(COUNT as u64);
        assert_same(&stored(&done), &self.site.objects());
        assert!(done.figure("probes") > 0, "{:#}", done.summary());
        let asked = self.server.targets("/get/").len();
        assert!(asked <= COUNT + COUNT / 10, "{asked} requests for {COUNT} objects");
        self.server.requests()
    }
}

#[test]
fn an_outage_of_503_fails_nothing() {
    for settings in [&["--retry", "5"][..], &["--retry", "0"], &["--cores", "1"]] {
        Outage::start(|_| http::send_status("503 Service Unavailable")).survived(settings);
    }
}

#[test]
fn an_outage_of_resets_fails_nothing() {
    for pipeline in ["1", "4"] {
        Outage::start(|_| vec![Step::Reset]).survived(&["--retry", "1", "--pipeline", pipeline]);
    }
}

#[test]
fn an_outage_of_bodies_cut_short_fails_nothing() {
    let half = || {
        let mut bytes = http::head("200 OK", &[], Some(100));
        bytes.extend_from_slice(&[b'x'; 50]);
        vec![Step::Send(bytes), Step::Close]
    };
    Outage::start(move |_| half()).survived(&["--retry", "1"]);
    Outage::start(|_| {
        let bytes = http::head("200 OK", &[], Some(100));
        vec![Step::Send(bytes), Step::Reset]
    })
    .survived(&["--retry", "1"]);
}

#[test]
fn an_outage_of_silence_fails_nothing() {
    let settings = ["--retry", "1", "--timeout", "300ms"];
    Outage::start(|_| vec![Step::Hang]).survived(&settings);
}

#[test]
fn too_many_requests_fail_nothing_and_no_request_comes_early() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let requests = Outage::start(move |left| {
            let line = format!("Retry-After: {}", left.as_secs().max(1));
            vec![Step::Send(http::response(status, &[&line], b"later"))]
        })
        .survived(&["--retry", "1"]);
        // Three seconds, asked for in one or two pauses: between what was under way when the
        // first was told, and the end, next to nothing comes.
        let gets = requests.iter().filter(|request| request.target.starts_with("/get/"));
        let times: Vec<_> = gets.map(|request| request.time).collect();
        let begun = times[BEFORE - 1];
        let early = times
            .iter()
            .filter(|time| {
                let after = time.saturating_duration_since(begun);
                after > Duration::from_millis(500) && after < Duration::from_millis(1900)
            })
            .count();
        assert_eq!(early, 0, "requests in a pause");
    }
}

#[test]
fn a_server_that_is_started_again_is_found_again() {
    let site = Site::numbered(COUNT).pages_of(500);
    let first = site.start_but({
        let asked = std::sync::atomic::AtomicUsize::new(0);
        // What comes behind these is for the second.
        move |_, name| {
            let nth =
                asked.fetch_add(usize::from(name.is_some()), std::sync::atomic::Ordering::Relaxed);
            (nth >= BEFORE).then(|| vec![Step::Hang])
        }
    });
    let port = first.port();
    let place = Place::new();
    let get = place.get(&first.url()).args(["--progress", "json", "--retry", "1"]);
    let mut running = get.start();
    first.until_asked("/get/", BEFORE);
    let mut asked = first.targets("/get/").len();
    drop(first);
    running.until_stderr("the server is down", |stderr| stderr.contains("\"outage_seconds\":1."));
    let second = Script::start_on(port, {
        let site = site.clone();
        move |request| site.answer(request)
    });
    let done = running.finish().complete(COUNT as u64);
    assert_same(&stored(&done), &site.objects());
    asked += second.targets("/get/").len();
    assert!(asked <= COUNT + COUNT / 10, "{asked} requests for {COUNT} objects");
}

#[test]
fn a_server_that_stays_away_leaves_the_rest_pending() {
    let site = Site::numbered(30);
    let server = site.start_but(|_, name| name.map(|_| vec![Step::Hang]));
    let place = Place::new();
    let settings = ["--retry", "1", "--cores", "1", "-c", "4", "--outage-max", "1s"];
    let running = place.get(&server.url()).args(settings).start();
    server.until_asked("/get/", 4);
    drop(server);
    let done = running.finish().expect(4).sum_holds().says(["gave up", "refused", "--outage-max"]);
    let done = done.figures([("listed", 30), ("stored", 0), ("failed", 0), ("pending", 30)]);
    assert_eq!(done.failures().len(), 0);
    assert_eq!(done.summary()["state"], "error");
}

#[test]
fn a_server_that_never_gave_an_object_fails_none() {
    let site = Site::numbered(30);
    let server = site.start_but(|_, name| name.map(|_| http::send_status("503 Busy")));
    for limit in ["--outage-max", "--retry-max-time"] {
        let place = Place::new();
        let done = place.get(&server.url()).args(["--retry", "1", limit, "2s"]).run().expect(4);
        let done = done.sum_holds().says(["gave up", "status 503"]);
        done.figures([("listed", 30), ("stored", 0), ("failed", 0), ("pending", 30)]);
    }
}

#[test]
fn objects_that_always_fail_are_no_outage() {
    // More than it takes for a suspicion, and the last of the run: nothing else is under way that
    // would show that the server is well.
    let site = Site::numbered(100);
    for status in ["500 Oops", "503 Service Unavailable"] {
        let server = site.start_but(move |_, name| {
            let number: usize = name?.strip_prefix('n')?.parse().ok()?;
            (number >= 70).then(|| http::send_status(status))
        });
        let place = Place::new();
        let done = place.get(&server.url()).args(["--retry", "1"]).run().expect(1).sum_holds();
        done.figures([("stored", 70), ("failed", 30), ("pending", 0)]);
        let asked = server.targets("/get/n99").len();
        assert!((2..=3).contains(&asked), "{asked} requests for an object with one retry");
    }
}

#[test]
fn a_page_of_the_listing_waits_for_the_end_of_an_outage() {
    // Everything listed so far is fetched when the next page cannot be had.
    let site = Site::numbered(40).pages_of(20);
    let begun: OnceLock<Instant> = OnceLock::new();
    let server = site.start_but(move |request, _| {
        if begun.get().is_none() && request.target != "/list?next-marker=20" {
            return None;
        }
        let lasted = begun.get_or_init(Instant::now).elapsed();
        (lasted < LASTS).then(|| http::send_status("503 Busy"))
    });
    let place = Place::new();
    let done = place.get(&server.url()).args(["--retry", "1"]).run().complete(40);
    assert_same(&stored(&done), &site.objects());
}

#[test]
fn a_body_is_never_mixed_up_by_probes() {
    // The object that probes ask for again is stored once.
    let site = Site::numbered(50);
    let server = site.start_but(|request, name| {
        let failing = name? != "n0" && request.attempt < 2;
        failing.then(|| http::send_status("503 Busy"))
    });
    let place = Place::new();
    let get = place.get(&server.url()).args(["--format", "tar", "--cores", "1"]);
    let done = get.run().complete(50);
    assert_same(&stored(&done), &site.objects());
    assert_eq!(stored(&done)[&b"n0"[..]], body_of(b"n0"));
}
