//! HTTP/2 to a server that others wrote: nothing lost, on few connections.

use crate::network::{Authority, Relay, get_list, list_at, numbered, over_tls};
use crate::support::{Place, all_right, assert_same, stored, windrow};
use windrow_model::Corpus;
use windrow_testkit::{Nginx, Windrow};

fn get(place: &Place, source: &str, authority: &Authority) -> Windrow {
    let get = place.get(source).arg("--cacert").arg(authority.file());
    // A list has names for its objects.
    let get =
        get.args(source.ends_with(".csv").then_some(["--name-col", "name"]).into_iter().flatten());
    get.args(["--http2", "--format", "tar"])
}

/// Settings that have nginx write down in which protocol it was asked.
fn recorded(place: &Place) -> (String, String) {
    let log = place.at("protocols").to_string_lossy().into_owned();
    ("log_format protocol '$server_protocol';".into(), format!("access_log {log} protocol;"))
}

/// How many requests nginx answered in this protocol, and how many in others.
fn answered(place: &Place, protocol: &str) -> (usize, usize) {
    let log = std::fs::read_to_string(place.at("protocols")).expect("a log");
    let same = log.lines().filter(|line| *line == protocol).count();
    (same, log.lines().count() - same)
}

#[test]
fn two_thousand_objects_however_the_server_bounds_a_connection() {
    let (place, authority, objects) = (Place::new(), Authority::new(), numbered(2000));
    for settings in [
        "",
        "http2_max_concurrent_streams 3;",
        // nginx says goodbye (GOAWAY) behind each fiftieth request.
        "keepalive_requests 50;",
        "http2_max_concurrent_streams 1; keepalive_requests 9;",
    ] {
        let nginx = over_tls(&place, &authority, &objects, "ssl http2", settings);
        let relay = Relay::to(nginx.port());
        let own = Place::new();
        let source = list_at(&own, &format!("https://127.0.0.1:{}", relay.port()), &objects);
        let done = get(&own, &source, &authority).run().complete(2000);
        assert_same(&stored(&done), &objects);
        let done = done.figures([("retries", 0)]);
        println!(
            "{settings:?}: {} connections, {} s",
            relay.connections(),
            done.summary()["seconds"]
        );
        // Nobody closed one: each of the requests under way (8) may have opened its own.
        if settings.is_empty() {
            assert!(relay.connections() <= 8, "{} connections", relay.connections());
        }
        assert_eq!(nginx.complaints(), "", "{settings}");
    }
}

#[test]
fn it_is_spoken_where_both_sides_want_it_and_only_there() {
    let (place, authority, objects) = (Place::new(), Authority::new(), numbered(100));
    let folder = place.at("served");
    crate::network::write_all(&folder, &objects);
    for (listen, ours, protocol) in [
        ("ssl http2", true, "HTTP/2.0"),
        ("ssl http2", false, "HTTP/1.1"),
        ("ssl", true, "HTTP/1.1"),
    ] {
        let own = Place::new();
        let (format, log) = recorded(&own);
        let shown = authority.good().shown();
        let settings = format!("{shown} {log} root {};", folder.display());
        let nginx = Nginx::start_as(listen, &format, &settings);
        let source = list_at(&own, &format!("https://localhost:{}", nginx.port()), &objects);
        let get = get_list(&own, &source).arg("--cacert").arg(authority.file());
        let done = get.args(ours.then_some("--http2")).run().complete(100);
        assert_same(&stored(&done), &objects);
        drop(nginx);
        assert_eq!(answered(&own, protocol), (100, 0), "{listen}, {ours}");
    }
}

#[test]
fn a_server_with_a_listing() {
    let (place, authority) = (Place::new(), Authority::new());
    let corpus = Corpus { count: 900, size: 100, seed: 8 };
    let serve = windrow().serve(["--synthetic", "900", "--seed", "8", "--page", "100"]);
    let settings = format!(
        "{} location / {{ proxy_pass {}; proxy_http_version 1.1; }}",
        authority.good().shown(),
        serve.url
    );
    let nginx = Nginx::start_as("ssl http2", "", &settings);
    let source = format!("https://127.0.0.1:{}", nginx.port());
    let done = get(&place, &source, &authority).run().complete(900);
    assert_eq!(all_right(&corpus, &stored(&done)), 900);
}

#[test]
fn requests_at_once_to_one_host_are_bounded() {
    let (place, authority) = (Place::new(), Authority::new());
    let args = ["--synthetic", "200", "--latency", "5ms", "--stats", "--page", "100"];
    let serve = windrow().serve(args);
    let settings = format!(
        "{} location / {{ proxy_pass {}; proxy_http_version 1.1; }}",
        authority.good().shown(),
        serve.url
    );
    let nginx = Nginx::start_as("ssl http2", "", &settings);
    let source = format!("https://127.0.0.1:{}", nginx.port());
    let get = get(&place, &source, &authority).args(["--concurrency-per-host", "2"]);
    get.run().complete(200);
    let stats = serve.stats().expect("--stats");
    let most = stats["most_in_flight"].as_u64().expect("a number");
    assert!(most <= 2, "{most} requests at once: {stats:#}");
}

#[test]
fn bodies_of_all_sizes() {
    let (place, authority) = (Place::new(), Authority::new());
    let sizes = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000, 3_000_000];
    let body = |size: usize| (format!("s{size}").into_bytes(), crate::directory::noise(size));
    let objects = sizes.into_iter().map(body).collect();
    let nginx = over_tls(&place, &authority, &objects, "ssl http2", "");
    let source = list_at(&place, &format!("https://127.0.0.1:{}", nginx.port()), &objects);
    for memory in ["256MiB", "2MiB"] {
        let own = Place::new();
        let done = get(&own, &source, &authority).args(["--memory", memory]).run();
        assert_same(&stored(&done.complete(sizes.len() as u64)), &objects);
    }
}
