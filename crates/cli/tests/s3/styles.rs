//! URLs as other stores sign them, against servers that say what time it is to them.

use crate::sign::{basic_date, now};
use crate::support::{Place, stored};
use std::time::{Duration, UNIX_EPOCH};
use windrow_model::limits::CLOCK_LEARNERS;
use windrow_testkit::script::{Request, http};
use windrow_testkit::{Finished, Script, Step};

/// Objects of each kind on each server.
const EACH: usize = 5;

const STYLES: [&str; 5] = ["sigv2", "cloudfront", "gcs2", "gcs4", "azure"];

/// The query of a URL that expires then.
fn query(style: &str, at: u64) -> String {
    match style {
        "sigv2" => format!("AWSAccessKeyId=AKIA&Expires={at}&Signature=c2lnbmVk%3D"),
        "cloudfront" => format!("Expires={at}&Signature=c2lnbmVk__&Key-Pair-Id=K2JCJM"),
        "gcs2" => format!("GoogleAccessId=me%40example.org&Expires={at}&Signature=c2ln%2Bbm"),
        "gcs4" => format!(
            "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=me%2F20260101%2Fauto&\
             X-Goog-Date={}&X-Goog-Expires=600&X-Goog-SignedHeaders=host&X-Goog-Signature=abcd",
            basic_date(at - 600),
        ),
        "azure" => {
            let date = basic_date(at);
            let [year, month, day] = [&date[..4], &date[4..6], &date[6..8]];
            let [hour, minute, second] = [&date[9..11], &date[11..13], &date[13..15]];
            let expiry = format!("{year}-{month}-{day}T{hour}%3A{minute}%3A{second}Z");
            format!("sv=2022-11-02&sr=b&sp=r&se={expiry}&sig=c2lnbmVk%3D")
        }
        other => panic!("{other} is no style"),
    }
}

/// A server whose clock is so many seconds away from this machine's. What lies under `/over` is
/// refused as its store refuses it.
fn server(ahead: i64) -> Script {
    Script::start(move |request: &Request| {
        let time = now().checked_add_signed(ahead).expect("a time");
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time));
        let date = format!("Date: {date}");
        let status = match request.target.as_str() {
            target if !target.starts_with("/over/") => "200 OK",
            target if target.starts_with("/over/gcs") => "400 Bad Request",
            _ => "403 Forbidden",
        };
        vec![Step::Send(http::response(status, &[&date], b"body"))]
    })
}

fn get(place: &Place, urls: &[String]) -> Finished {
    let list = place.at("urls.txt");
    std::fs::write(&list, urls.join("\n")).expect("a list");
    let list = list.to_str().expect("a path of UTF-8");
    place.get(list).args(["--cores", "1"]).run().sum_holds()
}

/// URLs that expire then, of all styles.
fn urls(server: &Script, folder: &str, at: u64) -> Vec<String> {
    let url = |style: &str, index| {
        format!("{}/{folder}/{style}/{index}?{}", server.url(), query(style, at))
    };
    let urls = STYLES.iter().flat_map(|style| (0..EACH).map(move |index| url(style, index)));
    urls.collect()
}

#[test]
fn every_store_says_when_its_urls_expire() {
    // Three servers that agree say at once what time it is.
    let servers = [server(0), server(0), server(0)];
    let all = |folder, at| servers.iter().flat_map(move |server| urls(server, folder, at));
    let mut list: Vec<String> = all("over", now() - 600).chain(all("valid", now() + 600)).collect();
    // Nothing signed this: it is a parameter as any other.
    list.push(format!("{}/valid/plain?Expires=5", servers[0].url()));
    let place = Place::new();
    let done = get(&place, &list).expect(1);
    let of_a_kind = (3 * EACH * STYLES.len()) as u64;
    done.figures_are([("stored", of_a_kind + 1), ("failed", of_a_kind)]);
    assert_eq!(done.failed("expired"), of_a_kind, "{:#}", done.summary());
    let sent: usize = servers.iter().map(|server| server.targets("/over/").len()).sum();
    assert!(sent <= CLOCK_LEARNERS as usize, "{sent} expired URLs were sent");
    for name in stored(&done).into_keys() {
        let name = String::from_utf8(name).expect("UTF-8");
        assert!(name.contains("/valid/"), "{name}");
        assert!(!name.contains('?') || name.ends_with("/valid/plain?Expires=5"), "{name}");
    }
}

#[test]
fn a_clock_ahead_of_the_only_server_throws_nothing_away() {
    // By this machine's clock everything expired an hour ago; by the server's it is valid.
    let server = server(-7200);
    let list = urls(&server, "valid", now() - 3600);
    let place = Place::new();
    get(&place, &list).complete(list.len() as u64);
}

#[test]
fn what_has_expired_altogether_is_hardly_asked_for() {
    let server = server(0);
    let list = urls(&server, "over", now() - 3600);
    let place = Place::new();
    let done = get(&place, &list).expect(1);
    assert_eq!(done.failed("expired"), list.len() as u64, "{:#}", done.summary());
    let sent = server.targets("/over/").len();
    assert!(sent <= CLOCK_LEARNERS as usize, "{sent} expired URLs were sent");
}
