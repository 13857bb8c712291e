//! Proxies that the environment names.

use crate::network::{Authority, Relay, get_list, list, list_at, numbered, over_tls};
use crate::secrets::nowhere;
use crate::support::{Objects, Place, assert_same, stored};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use windrow_testkit::script::{Site, body_of, http};
use windrow_testkit::{Nginx, Script};

/// A proxy that has every object of every host itself.
fn forwarding() -> Script {
    Script::start(|request| {
        let Some(rest) = request.target.strip_prefix("http://") else {
            return http::send_status("400 Bad Request");
        };
        http::send_ok(&body_of(rest.rsplit('/').next().unwrap_or_default().as_bytes()))
    })
}

/// A proxy that makes tunnels, and what it was asked for.
struct Tunnels {
    relay: Relay,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Tunnels {
    /// Every host is this machine; `answer` is what is said before the tunnel.
    fn start(answer: &'static str) -> Self {
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        let relay = Relay::start(0, move |client: &mut TcpStream| {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).ok()?;
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).expect("a head is ASCII");
            let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
            let port = target.and_then(|target| target.rsplit(':').next()?.parse::<u16>().ok());
            kept.lock().expect("no panic").push(head);
            client.write_all(answer.as_bytes()).ok()?;
            if !answer.contains(" 200 ") {
                return None;
            }
            TcpStream::connect(("127.0.0.1", port?)).ok()
        });
        Self { relay, heads }
    }

    fn url(&self, user: &str) -> String {
        format!("http://{user}127.0.0.1:{}", self.relay.port())
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

const GOOD: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// `canary:tweet` in base 64.
const BASIC: &str = "Basic Y2FuYXJ5OnR3ZWV0";

#[test]
fn http_goes_through_in_absolute_form() {
    let (place, proxy, objects) = (Place::new(), forwarding(), numbered(50));
    // No name server knows the host: the proxy looks it up.
    let source = list_at(&place, "http://far-away.example:8081/at", &objects);
    let at = proxy.url().replace("http://", "http://canary:tweet@");
    let get =
        get_list(&place, &source).env("HTTP_PROXY", &at).args(["-v", "--header", "X-Own: mine"]);
    let done = get.run().complete(50);
    assert_same(&stored(&done), &objects);
    let requests = proxy.requests();
    assert_eq!(requests.len(), 50);
    for request in requests {
        assert!(request.target.starts_with("http://far-away.example:8081/at/n"));
        assert_eq!(request.header("host"), Some("far-away.example:8081"));
        assert_eq!(request.header("proxy-authorization"), Some(BASIC));
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("x-own"), Some("mine"));
    }
    nowhere(&done, &["tweet", "canary", &BASIC["Basic ".len()..]]);
}

#[test]
fn a_server_with_a_listing_is_reached_through_a_proxy() {
    let site = Site::numbered(300).pages_of(100);
    let answer = site.clone();
    let proxy = Script::start(move |request| {
        let mut inner = request.clone();
        let prefix = "http://far-away.example";
        inner.target = request.target.strip_prefix(prefix).unwrap_or("/none").to_owned();
        answer.answer(&inner)
    });
    let place = Place::new();
    let get = place.get("http://far-away.example").env("http_proxy", proxy.url());
    assert_same(&stored(&get.run().complete(300)), &site.objects());
}

#[test]
fn https_goes_through_a_tunnel() {
    let (place, authority, objects) = (Place::new(), Authority::new(), numbered(60));
    let tunnels = Tunnels::start(GOOD);
    for (listen, http2) in [("ssl", None), ("ssl http2", Some("--http2"))] {
        let nginx = over_tls(&place, &authority, &objects, listen, "");
        let own = Place::new();
        let source = list_at(&own, &format!("https://localhost:{}", nginx.port()), &objects);
        let get = get_list(&own, &source).arg("--cacert").arg(authority.file()).args(http2);
        let get = get.args(["-v", "--header", "Authorization: Bearer nightingale"]);
        let done = get.env("HTTPS_PROXY", tunnels.url("canary:tweet@")).run().complete(60);
        assert_same(&stored(&done), &objects);
        nowhere(&done, &["tweet", "canary", &BASIC["Basic ".len()..], "nightingale"]);
        let heads = std::mem::take(&mut *tunnels.heads.lock().expect("no panic"));
        assert!(!heads.is_empty());
        for head in heads {
            let line = format!("CONNECT localhost:{} HTTP/1.1\r\n", nginx.port());
            assert!(head.starts_with(&line), "{head}");
            assert!(head.contains(&format!("\r\nProxy-Authorization: {BASIC}\r\n")), "{head}");
            // What is meant for the server is said inside the tunnel.
            assert!(!head.contains("nightingale"), "{head}");
        }
    }
}

#[test]
fn a_server_never_sees_what_is_for_the_proxy() {
    let (place, authority) = (Place::new(), Authority::new());
    let script = Script::start(|_| http::send_ok(b"here"));
    let settings = format!(
        "{} location / {{ proxy_pass {}; proxy_http_version 1.1; }}",
        authority.good().shown(),
        script.url()
    );
    let nginx = Nginx::start_as("ssl", "", &settings);
    let tunnels = Tunnels::start(GOOD);
    let base = [format!("https://localhost:{}", nginx.port()), script.url()];
    let rows = base.iter().enumerate().map(|(at, base)| (format!("{base}/x"), format!("o{at}")));
    let source = list(&place, rows);
    let get = get_list(&place, &source).arg("--cacert").arg(authority.file());
    // One is reached through the tunnel, one directly.
    let get = get.env("HTTPS_PROXY", tunnels.url("canary:tweet@"));
    get.env("HTTP_PROXY", tunnels.url("canary:tweet@"))
        .env("NO_PROXY", "127.0.0.1")
        .run()
        .complete(2);
    assert_eq!((tunnels.heads().len(), script.requests().len()), (1, 2));
    for request in script.requests() {
        assert_eq!(request.header("proxy-authorization"), None);
        assert_eq!(request.header("authorization"), None);
        assert!(!request.target.contains("://"), "{}", request.target);
    }
}

#[test]
fn which_proxy_is_used() {
    let objects = numbered(5);
    for (variables, flag, through) in [
        (&[("HTTP_PROXY", "@")][..], None, true),
        (&[("http_proxy", "@")], None, true),
        (&[("ALL_PROXY", "@")], None, true),
        (&[("all_proxy", "@")], None, true),
        (&[("HTTPS_PROXY", "@")], None, false),
        (&[("HTTP_PROXY", "@"), ("http_proxy", "")], None, false),
        (&[("ALL_PROXY", "@"), ("HTTP_PROXY", "")], None, false),
        // A web server that starts a program puts a request's headers there.
        (&[("HTTP_PROXY", "@"), ("REQUEST_METHOD", "GET")], None, false),
        (&[("http_proxy", "@"), ("REQUEST_METHOD", "GET")], None, true),
        (&[("HTTP_PROXY", "@")], Some("--no-proxy"), false),
        (&[("HTTP_PROXY", "@"), ("NO_PROXY", "*")], None, false),
        (&[("HTTP_PROXY", "@"), ("NO_PROXY", "example.org, 127.0.0.1")], None, false),
        (&[("HTTP_PROXY", "@"), ("no_proxy", "127.0.0.0/8")], None, false),
        (&[("HTTP_PROXY", "@"), ("no_proxy", "127.0.0.2,0.0.1")], None, true),
        (&[("HTTP_PROXY", "@"), ("no_proxy", ""), ("NO_PROXY", "127.0.0.1")], None, true),
    ] {
        let (proxy, server) = (
            forwarding(),
            Script::start(|request| http::send_ok(&body_of(&request.target.as_bytes()[1..]))),
        );
        let place = Place::new();
        let source = list_at(&place, &server.url(), &objects);
        let get =
            variables.iter().fold(get_list(&place, &source).args(flag), |get, (name, value)| {
                get.env(name, value.replace('@', &proxy.url()))
            });
        assert_same(&stored(&get.run().complete(5)), &objects);
        let asked = (proxy.requests().len(), server.requests().len());
        assert_eq!(asked, if through { (5, 0) } else { (0, 5) }, "{variables:?}, {flag:?}");
    }
}

#[test]
fn proxies_that_refuse_or_are_none() {
    let (authority, objects) = (Authority::new(), numbered(10));
    for answer in [
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (place, tunnels) = (Place::new(), Tunnels::start(answer));
        let source = list_at(&place, "https://far-away.example", &objects);
        let get = get_list(&place, &source).arg("--cacert").arg(authority.file()).arg("-v");
        let done = get.env("HTTPS_PROXY", tunnels.url("canary:tweet@")).run().expect(1);
        assert_eq!(done.failed("forbidden"), 10, "{:#}", done.summary());
        nowhere(&done, &["tweet", "canary"]);
        println!("{} tunnels asked for", tunnels.heads().len());
    }
    for wrong in
        ["https://canary:tweet@127.0.0.1:1", "socks5://canary:tweet@h", "http://canary:tweet@:x"]
    {
        let place = Place::new();
        let source = list_at(&place, "http://far-away.example", &objects);
        let done = get_list(&place, &source).env("HTTP_PROXY", wrong).run().expect(2);
        assert!(done.stderr.contains("HTTP_PROXY"), "{}", done.stderr);
        assert!(!done.stderr.contains("tweet"), "{}", done.stderr);
    }
}

#[test]
fn a_redirect_takes_nothing_of_the_users_along_through_a_proxy() {
    let proxy =
        Script::start(|request| match request.target.strip_prefix("http://first.example/") {
            Some(name) => {
                let location = format!("Location: http://second.example/{name}");
                vec![windrow_testkit::Step::Send(http::response("302 Found", &[&location], b""))]
            }
            None => http::send_ok(b"found"),
        });
    let place = Place::new();
    let names: Objects =
        (0..10).map(|n| (format!("n{n}").into_bytes(), b"found".to_vec())).collect();
    let source = list_at(&place, "http://first.example", &names);
    let at = proxy.url().replace("http://", "http://canary:tweet@");
    let get =
        get_list(&place, &source).env("HTTP_PROXY", &at).args(["--header", "X-Key: nightingale"]);
    assert_same(&stored(&get.run().complete(10)), &names);
    for request in proxy.requests() {
        let first = request.target.starts_with("http://first.example/");
        assert_eq!(request.header("x-key").is_some(), first, "{}", request.target);
        assert_eq!(request.header("proxy-authorization"), Some(BASIC));
    }
}
