//! URLs that are valid no more, or never were.

use crate::server::{BUCKET, Server};
use crate::sign::now;
use crate::support::{assert_same, stored};
use crate::{Job, objects};
use std::collections::BTreeMap;
use windrow_model::limits::CLOCK_LEARNERS;

#[test]
fn expired_urls_are_not_sent() {
    let server = Server::start(None);
    let bodies = server.fill(180);
    // Two of three are valid.
    let over = |index: usize| index.is_multiple_of(3);
    let of = |wanted: bool| {
        let all = bodies.iter().enumerate();
        all.filter(move |(index, _)| over(*index) == wanted).map(|(_, body)| body)
    };
    let (expired, valid): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (of(true).collect(), of(false).collect());
    let urls = |key: &String, over: bool| match over {
        true => server.url_until(key, now() - 7200, 3600),
        false => server.url(key),
    };
    let job = Job::new(bodies.keys().map(|key| urls(key, expired.contains_key(key))).collect());
    // Valid ones for some seconds: their answers tell what time it is.
    let done = job.get().args(["--rate", "30/s", "--cores", "1"]).run().expect(1).sum_holds();
    let (over, right) = (expired.len() as u64, valid.len() as u64);
    done.figures_are([("listed", 180), ("stored", right), ("failed", over)]);
    assert_eq!(done.failed("expired"), over, "{:#}", done.summary());
    assert_same(&stored(&done), &objects(&server, valid));
    let asked = server.asked();
    let sent = asked.iter().filter(|asked| asked.status == 403).count();
    assert!(sent <= CLOCK_LEARNERS as usize, "{sent} expired URLs were sent");
    assert_eq!(asked.len(), sent + right as usize);
    job.keeps_secrets(&done);
}

#[test]
fn wrong_signatures_are_forbidden_and_not_tried_again() {
    let server = Server::start(None);
    let bodies = server.fill(60);
    let mut stranger = server.signer();
    stranger.secret.push('x');
    let mut nobody = server.signer();
    nobody.access_key = "AKIANOBODYKNOWSTHIS1".to_owned();
    let signed = |index: usize, key: &String| {
        let object = format!("{BUCKET}/{key}");
        let url = server.url(key);
        match index % 6 {
            // The last digit is another one.
            0 => match url.strip_suffix('0') {
                Some(rest) => format!("{rest}1"),
                None => format!("{}0", &url[..url.len() - 1]),
            },
            1 => stranger.url("GET", &object, now(), 3600),
            2 => nobody.url("GET", &object, now(), 3600),
            // Valid for longer than was signed.
            3 => url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
            // Another object than was signed.
            4 => url.replace("object-", "other-"),
            _ => url,
        }
    };
    let job = Job::new(bodies.keys().enumerate().map(|(i, key)| signed(i, key)).collect());
    let done = job.get().run().expect(1).sum_holds();
    done.figures_are([("listed", 60), ("stored", 10), ("failed", 50)]);
    assert_eq!(done.failed("forbidden"), 50, "{:#}", done.summary());
    let right = bodies.iter().enumerate().filter(|(index, _)| index % 6 == 5);
    assert_same(&stored(&done), &objects(&server, right.map(|(_, body)| body)));
    assert_eq!(server.asked().len(), 60, "each was asked for once");
    job.keeps_secrets(&done);
}

#[test]
fn what_expires_first_is_fetched_first_and_then_expires() {
    const RATE: usize = 40;
    /// Seconds that the short ones are valid.
    const SHORT: u32 = 3;
    /// More than the rate allows while they are valid.
    const SHORT_LIVED: usize = 280;
    let server = Server::start(None);
    let bodies = server.fill(SHORT_LIVED + 40);
    let signed = now();
    let lives = |index: usize| match index % 16 {
        0 => 7200,
        8 => 3600,
        _ => SHORT,
    };
    let of = |seconds: u32| {
        let own = move |&(index, _): &(usize, _)| lives(index) == seconds;
        bodies.iter().enumerate().filter(own).map(|(_, (key, _))| Server::path(key))
    };
    let url = |(index, key): (usize, &String)| server.url_until(key, signed, lives(index));
    let job = Job::new(bodies.keys().enumerate().map(url).collect());
    let rate = format!("{RATE}/s");
    // Few at once, so that the server hears them in the order in which they are sent.
    let get = job.get().args(["--rate", &rate, "--cores", "1", "-c", "2"]);
    let done = get.run().expect(1).sum_holds();
    let expired = done.failed("expired");
    done.figures_are([("listed", 320), ("failed", expired), ("stored", 320 - expired)]);
    let objects = stored(&done);
    let everything = crate::objects(&server, &bodies);
    for (name, body) in &objects {
        assert_eq!(everything.get(name), Some(body), "{}", String::from_utf8_lossy(name));
    }
    for path in of(3600).chain(of(7200)) {
        let name = format!("{}{path}", server.host()).into_bytes();
        assert!(objects.contains_key(&name), "{path} was valid all the time");
    }
    assert!(expired > 0, "the rate is too low for all");

    let asked = server.asked();
    let place = |path: &String| asked.iter().position(|asked| asked.path() == path);
    let last = |seconds| of(seconds).filter_map(|path| place(&path)).max().unwrap_or(0);
    let first = |seconds| of(seconds).filter_map(|path| place(&path)).min().expect("one");
    // Two that are under way at once may overtake each other.
    assert!(last(SHORT) <= first(3600) + 1, "{:?} {:?}", last(SHORT), first(3600));
    assert!(last(3600) <= first(7200) + 1, "{:?} {:?}", last(3600), first(7200));
    // But for those that learn the time, and those that were under way when it was over.
    let refused = asked.iter().filter(|asked| asked.status == 403).count();
    assert!(refused <= CLOCK_LEARNERS as usize + 8, "{refused} were sent too late");
    job.keeps_secrets(&done);
}
