//! Redirects: how far they are followed, and what goes along.

use crate::network::{Authority, get_list, list, list_at, numbered};
use crate::support::{Objects, Place, all_right, assert_same, stored, windrow};
use std::collections::BTreeMap;
use windrow_model::Corpus;
use windrow_testkit::script::{Request, body_of, http};
use windrow_testkit::{Finished, Nginx, Script, Step};

/// A redirect with this status.
fn on(status: u16, location: &str) -> Vec<Step> {
    let line = match status {
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        307 => "307 Temporary Redirect",
        _ => "308 Permanent Redirect",
    };
    vec![Step::Send(http::response(line, &[&format!("Location: {location}")], b"elsewhere"))]
}

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// The error of each line of `failures.jsonl`.
fn errors(done: &Finished) -> Vec<String> {
    done.failures().iter().map(|line| line["error"].as_str().unwrap_or_default().into()).collect()
}

/// Requests for objects that a server counted.
fn asked(server: &windrow_testkit::Serve) -> u64 {
    let stats = server.stats().expect("--stats");
    stats["objects"].as_u64().unwrap_or_else(|| panic!("no figure `objects`: {stats:#}"))
}

#[test]
fn as_many_as_allowed_are_followed() {
    let corpus = Corpus { count: 100, size: 100, seed: 0 };
    for (spec, allowed, stores) in [
        ("3", None, true),
        ("5", None, true),
        ("6", None, false),
        ("6", Some("6"), true),
        ("2", Some("1"), false),
        ("1", Some("0"), false),
        ("loop", None, false),
        ("loop", Some("40"), false),
    ] {
        for status in ["301", "307"] {
            let redirect = format!("{spec},status={status}");
            let server =
                windrow().serve(["--synthetic", "100", "--redirect", &redirect, "--stats"]);
            let place = Place::new();
            let get = place.get(&server.url).args(["--format", "tar"]);
            let get = allowed.iter().fold(get, |get, n| get.args(["--max-redirect", *n]));
            let done = get.run();
            let hops = allowed.map_or(5, |n| n.parse::<u64>().expect("a number"));
            if stores {
                let done = done.complete(100).figures([("retries", 0)]);
                assert_eq!(all_right(&corpus, &stored(&done)), 100);
            } else {
                let done = done.expect(1).sum_holds().figures([("retries", 0), ("stored", 0)]);
                assert_eq!(done.failed("redirect"), 100, "{:#}", done.summary());
                for line in done.failures() {
                    assert_eq!(line["status"].as_u64().map(|s| s.to_string()), Some(status.into()));
                }
                assert_eq!(asked(&server), 100 * (hops + 1), "{spec}, {allowed:?}");
            }
        }
    }
}

#[test]
fn references_of_every_form_lead_where_they_should() {
    let server = Script::start(|request| match request.target.as_str() {
        "/a/b/plain?q=1" => on(302, "sibling"),
        "/a/b/up" => on(302, "../c/./sibling"),
        "/a/b/query?q=1" => on(302, "?q=2"),
        "/a/b/root" => on(302, "/sibling#part"),
        "/a/b/space" => on(302, "/with space"),
        "/a/b/utf8" => on(302, "/caf\u{e9}"),
        "/a/b/same?signed=1" => on(302, "//@host@/x?y=//z"),
        other => http::send_ok(other.as_bytes()),
    });
    let place = Place::new();
    let names = ["plain?q=1", "up", "query?q=1", "root", "space", "utf8"];
    let rows = names.map(|name| (format!("{}/a/b/{name}", server.url()), name.to_owned()));
    let source = list(&place, rows);
    let done = get_list(&place, &source).run().complete(6);
    let body = |name: &str, target: &str| (name.as_bytes().to_vec(), target.as_bytes().to_vec());
    // Under the names of the list.
    let expected: Objects = [
        body("plain?q=1", "/a/b/sibling"),
        body("up", "/a/c/sibling"),
        body("query?q=1", "/a/b/query?q=2"),
        body("root", "/sibling"),
        body("space", "/with%20space"),
        body("utf8", "/caf%C3%A9"),
    ]
    .into();
    assert_same(&stored(&done), &expected);
}

#[test]
fn an_object_keeps_the_name_that_its_url_gives() {
    let server = Script::start(|request| match request.target.strip_prefix("/from/") {
        Some(rest) => on(301, &format!("/to/other-{rest}")),
        None => http::send_ok(request.target.as_bytes()),
    });
    let place = Place::new();
    let path = place.at("list.txt");
    std::fs::write(&path, format!("{0}/from/a\n{0}/from/b?v=1\n", server.url())).expect("a file");
    let done = place.get(&path.to_string_lossy()).run().complete(2);
    let host = format!("127.0.0.1:{}", server.port());
    let expected: Objects = [
        (format!("{host}/from/a").into_bytes(), b"/to/other-a".to_vec()),
        (format!("{host}/from/b?v=1").into_bytes(), b"/to/other-b?v=1".to_vec()),
    ]
    .into();
    assert_same(&stored(&done), &expected);
}

#[test]
fn what_leads_nowhere_is_told() {
    let server = Script::start(|request| match request.target.as_str() {
        "/none" => vec![Step::Send(http::response("302 Found", &[], b""))],
        "/user" => on(302, "http://user:canary@127.0.0.1/"),
        "/name" => on(302, "//user@127.0.0.1/"),
        "/ftp" => on(302, "ftp://127.0.0.1/"),
        "/file" => on(302, "file:///etc/passwd"),
        "/script" => on(302, "javascript:alert(1)"),
        "/port" => on(302, "http://127.0.0.1:99999/"),
        "/host" => on(302, "http:///x"),
        "/300" => vec![Step::Send(http::response("300 Many", &["Location: /ok"], b""))],
        "/304" => vec![Step::Send(b"HTTP/1.1 304 Not Modified\r\nLocation: /ok\r\n\r\n".into())],
        _ => http::send_ok(b"never"),
    });
    let names = ["none", "user", "name", "ftp", "file", "script", "port", "host", "300", "304"];
    let place = Place::new();
    let rows = names.map(|name| (format!("{}/{name}", server.url()), name.to_owned()));
    let source = list(&place, rows);
    let done = get_list(&place, &source).run().expect(1).sum_holds().figures([("retries", 0)]);
    assert_eq!(done.failed("redirect"), names.len() as u64, "{:#}", done.summary());
    assert_eq!(server.requests().len(), names.len(), "each is asked for once");
    crate::secrets::nowhere(&done, &["canary"]);
}

/// Addresses that nobody asks because a server said so, in several spellings.
const FORBIDDEN: &[&str] = &[
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "http://169.254.7.7:8080/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
];

#[test]
fn addresses_that_are_nobodys_business_are_not_even_connected() {
    let server = Script::start(|request| {
        let index = request.target.strip_prefix("/to/").and_then(|index| index.parse().ok());
        match index.and_then(|index: usize| FORBIDDEN.get(index)) {
            Some(location) => on(302, location),
            None => http::send_ok(b"fine"),
        }
    });
    let place = Place::new();
    let led =
        (0..FORBIDDEN.len()).map(|at| (format!("{}/to/{at}", server.url()), format!("r{at}")));
    // What the list itself names is refused as well.
    let named = FORBIDDEN.iter().enumerate().map(|(at, url)| ((*url).to_owned(), format!("n{at}")));
    let fine = (format!("{}/fine", server.url()), "fine".to_owned());
    let source = list(&place, led.chain(named).chain([fine]));
    let get = get_list(&place, &source).args(["--retry", "2"]);
    // Every connection that windrow begins is in the trace, if this machine can make one.
    let trace = place.at("trace");
    let traced = windrow_testkit::torture::strace::is_usable();
    let get = match &traced {
        Ok(()) => {
            let args = ["-f", "-qq", "-e", "trace=connect", "-o"].map(Into::into);
            let args: Vec<_> = args.into_iter().chain([trace.clone().into_os_string()]).collect();
            get.under("strace", &args)
        }
        Err(why) => {
            println!("connections are not looked at: {why}");
            get
        }
    };
    let done = get.run().expect(1).sum_holds().figures([("stored", 1), ("retries", 0)]);
    assert_eq!(done.failed("blocked"), 2 * FORBIDDEN.len() as u64, "{:#}", done.summary());
    if traced.is_ok() {
        let trace = std::fs::read_to_string(&trace).expect("a trace");
        let calls =
            trace.lines().filter(|line| line.contains("sin_port") || line.contains("sin6_port"));
        let calls: Vec<_> = calls.collect();
        assert!(!calls.is_empty(), "the connections to the server are missing: {trace}");
        for call in calls {
            let own = format!("sin_port=htons({})", server.port());
            assert!(call.contains(&own) && call.contains("\"127.0.0.1\""), "{call}");
        }
    }
}

#[test]
fn addresses_that_the_user_allows_are_asked() {
    // Through a proxy, so that nobody's metadata is really asked for.
    let proxy = Script::start(|request| match request.target.as_str() {
        "http://first.example/a" => on(302, "http://169.254.169.254/b"),
        _ => http::send_ok(b"metadata"),
    });
    for (allowed, stores) in [
        (None, false),
        (Some("169.254.169.254"), true),
        (Some("169.254.0.0/16"), true),
        (Some("169.254.169.253"), false),
        (Some("first.example"), false),
    ] {
        let place = Place::new();
        let source = list(&place, [("http://first.example/a".to_owned(), "a".to_owned())]);
        let get = get_list(&place, &source).env("HTTP_PROXY", proxy.url());
        let done = allowed.iter().fold(get, |get, own| get.args(["--allow-private", *own])).run();
        let before = proxy.targets("http://169.254.").len();
        match stores {
            true => {
                done.complete(1);
                assert!(before > 0);
            }
            false => {
                let done = done.expect(1);
                assert_eq!(done.failed("blocked"), 1, "{allowed:?}: {:#}", done.summary());
            }
        }
    }
    assert_eq!(proxy.targets("http://169.254.").len(), 2, "once for each that was allowed");
}

/// What the user gives, that only the server of the list may see.
const HEADERS: [(&str, &str); 4] = [
    ("Authorization", "Bearer canary-1"),
    ("Cookie", "session=canary-2"),
    ("X-Api-Key", "canary-3"),
    ("Proxy-Authorization", "Basic canary-4"),
];

/// Servers of two schemes, three hosts and two ports, and all that they were asked.
struct Crowd {
    script: Script,
    origins: Vec<String>,
    _servers: Vec<Nginx>,
}

impl Crowd {
    /// `/STATUS/FIRST/SECOND/0` leads to SECOND, from there back to FIRST, and there is an object.
    fn start(authority: &Authority) -> Self {
        let origins = std::sync::Arc::<std::sync::OnceLock<Vec<String>>>::default();
        let known = std::sync::Arc::clone(&origins);
        let script = Script::start(move |request| {
            let numbers = request.target.split('/').skip(1).map(|number| number.parse().ok());
            let numbers: Option<Vec<usize>> = numbers.collect();
            let (Some(numbers), Some(origins)) = (numbers, known.get()) else {
                return http::send_status("404 Not Found");
            };
            let &[status, first, second, hop] = &numbers[..] else { panic!("{}", request.target) };
            let to = match hop {
                0 => &origins[second],
                1 => &origins[first],
                _ => return http::send_ok(&body_of(request.target.as_bytes())),
            };
            on(status as u16, &format!("{to}/{status}/{first}/{second}/{}", hop + 1))
        });
        let settings = format!(
            "listen 127.0.0.2:@port@ @listen@; {}
            location / {{
                proxy_pass {}; proxy_http_version 1.1; proxy_set_header Connection '';
                proxy_redirect off; proxy_set_header Seen-At $scheme://$http_host;
            }}",
            authority.good().shown(),
            script.url()
        );
        let start =
            |listen: &str| Nginx::start_as(listen, "", &settings.replace("@listen@", listen));
        let servers = vec![start(""), start(""), start("ssl"), start("ssl")];
        let hosts = ["127.0.0.1", "127.0.0.2", "localhost"];
        let named = servers.iter().enumerate().flat_map(|(at, server)| {
            let scheme = if at < 2 { "http" } else { "https" };
            hosts.map(|host| format!("{scheme}://{host}:{}", server.port()))
        });
        let named: Vec<_> = named.collect();
        origins.set(named.clone()).expect("set once");
        Self { script, origins: named, _servers: servers }
    }

    /// Every status, from the first http and the first https server to each.
    fn cases(&self) -> Vec<(u16, usize, usize)> {
        let firsts = [0, 6];
        let ways = firsts.into_iter().flat_map(|first| (0..12).map(move |second| (first, second)));
        ways.flat_map(|(a, b)| STATUSES.map(|status| (status, a, b))).collect()
    }

    fn list(&self, place: &Place) -> String {
        let row = |(status, first, second): (u16, usize, usize)| {
            let path = format!("{status}/{first}/{second}");
            (format!("{}/{path}/0", self.origins[first]), path)
        };
        list(place, self.cases().into_iter().map(row))
    }

    /// What came for a target: where, and the request.
    fn seen(&self) -> BTreeMap<String, (String, Request)> {
        let place = |request: Request| {
            let at = request.header("seen-at").expect("nginx says where").to_owned();
            (request.target.clone(), (at, request))
        };
        self.script.requests().into_iter().map(place).collect()
    }
}

#[test]
fn what_the_user_gives_stays_with_the_server_of_the_list() {
    let (authority, place) = (Authority::new(), Place::new());
    let crowd = Crowd::start(&authority);
    let cases = crowd.cases();
    let get = get_list(&place, &crowd.list(&place)).arg("--cacert").arg(authority.file());
    let get = get.args(["--insecure-redirect", "--max-redirect", "2", "--format", "tar"]);
    let get = HEADERS
        .iter()
        .fold(get, |get, (name, value)| get.args(["--header", &format!("{name}: {value}")]));
    let done = get.run().complete(cases.len() as u64);
    let seen = crowd.seen();
    let (mut leaks, mut combinations) = (Vec::new(), 0);
    for (status, first, second) in cases {
        for hop in 0..3 {
            let target = format!("/{status}/{first}/{second}/{hop}");
            let (at, request) = &seen[&target];
            let own = &crowd.origins[if hop == 1 { second } else { first }];
            assert_eq!(at, own, "{target}");
            for (name, value) in HEADERS {
                combinations += 1;
                // Who never left may be told again; who left may not, not even when it is back.
                let told = request.headers.iter().any(|(_, own)| own.contains(value));
                let may = hop == 0 || first == second;
                match (told, may) {
                    (true, false) => leaks.push(format!("{name} at {target} ({own})")),
                    (false, true) => panic!("{name} is missing at {target} ({own})"),
                    _ => {}
                }
            }
        }
    }
    println!("{combinations} combinations, {} leaks", leaks.len());
    assert!(combinations >= 100 && leaks.is_empty(), "{leaks:#?}");
    crate::secrets::nowhere(&done, &["canary-1", "canary-2", "canary-3", "canary-4"]);
    // Under the names of the list, with the bodies of where they are.
    for (name, body) in stored(&done) {
        let target = format!("/{}/2", String::from_utf8_lossy(&name));
        assert!(body == body_of(target.as_bytes()), "{target}");
    }
}

#[test]
fn from_https_to_http_only_where_the_user_allows_it() {
    let (authority, place) = (Authority::new(), Place::new());
    let crowd = Crowd::start(&authority);
    let get = get_list(&place, &crowd.list(&place)).arg("--cacert").arg(authority.file());
    let done = get.args(["--format", "tar"]).run().expect(1).sum_holds();
    // From https (6) to the six of http; from http (0) to the six of https, which lead back.
    let refused = |(_, first, second): &(u16, usize, usize)| (*first < 6) != (*second < 6);
    let count = crowd.cases().iter().filter(|case| refused(case)).count();
    assert_eq!((count, done.failed("redirect")), (60, 60), "{:#}", done.summary());
    assert!(errors(&done).iter().all(|error| error.contains("--insecure-redirect")));
    for (target, (at, _)) in crowd.seen() {
        let parts: Vec<_> = target.split('/').collect();
        let secret =
            parts[2] == "6" || (parts[4] != "0" && parts[3].parse::<u8>().unwrap_or(0) >= 6);
        assert!(!secret || at.starts_with("https://"), "{target} at {at}");
    }
}

#[test]
fn another_server_gets_no_headers_from_serve_either() {
    let objects = numbered(40);
    let other = Script::start(|request| {
        http::send_ok(&body_of(request.target.rsplit('/').next().unwrap_or_default().as_bytes()))
    });
    let front =
        windrow().serve(["--synthetic", "1", "--redirect", &format!("2,to={}", other.url())]);
    let place = Place::new();
    let source = list_at(&place, &format!("{}/get", front.url), &objects);
    let get = get_list(&place, &source).args(["--header", "X-Api-Key: canary"]);
    let done = get.args(["--user-agent", "somebody/1"]).run().complete(40);
    assert_same(&stored(&done), &objects);
    assert_eq!(other.requests().len(), 40);
    for request in other.requests() {
        assert_eq!(request.header("x-api-key"), None);
        // Who asks is no secret.
        assert_eq!(request.header("user-agent"), Some("somebody/1"));
    }
}
