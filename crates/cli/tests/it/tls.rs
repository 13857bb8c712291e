//! TLS: nginx with good certificates and bad ones, and connections that are cut.

use crate::network::{Authority, HERE, Relay, get_list, list, list_at, numbered, over_tls};
use crate::support::{Objects, Place, all_right, assert_same, stored, windrow};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use windrow_model::Corpus;
use windrow_testkit::script::http;
use windrow_testkit::{Finished, Nginx, Script, Step, Windrow};

/// `windrow get` that believes the authority.
fn get(place: &Place, source: &str, authority: &Authority) -> Windrow {
    let get = place.get(source).arg("--cacert").arg(authority.file());
    // A list has names for its objects.
    get.args(source.ends_with(".csv").then_some(["--name-col", "name"]).into_iter().flatten())
}

#[test]
fn connections_that_end_after_seven_lose_nothing() {
    let (place, authority, objects) = (Place::new(), Authority::new(), numbered(500));
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let settings = format!("ssl_protocols {protocol}; keepalive_requests 7;");
        let nginx = over_tls(&place, &authority, &objects, "ssl", &settings);
        for (format, pipeline) in [("tar", "1"), ("files", "16")] {
            let own = Place::new();
            let source = list_at(&own, &format!("https://127.0.0.1:{}", nginx.port()), &objects);
            let get = get(&own, &source, &authority).args(["--format", format]);
            let done = get.args(["--pipeline", pipeline]).run().complete(500);
            let done = done.figures([("retries", 0)]);
            assert_same(&stored(&done), &objects);
        }
        assert_eq!(nginx.complaints(), "", "{protocol}");
    }
}

#[test]
fn a_server_with_a_listing_behind_tls() {
    let (authority, corpus) = (Authority::new(), Corpus { count: 800, size: 100, seed: 3 });
    let serve = windrow().serve(["--synthetic", "800", "--seed", "3", "--page", "100"]);
    let settings = format!(
        "{} location / {{ proxy_pass {}; proxy_http_version 1.1; }}",
        authority.good().shown(),
        serve.url
    );
    let nginx = Nginx::start_as("ssl", "", &settings);
    for host in ["127.0.0.1", "localhost"] {
        let place = Place::new();
        let source = format!("https://{host}:{}", nginx.port());
        let done = get(&place, &source, &authority).run().complete(800);
        assert_eq!(all_right(&corpus, &stored(&done)), 800);
    }
}

#[test]
fn the_roots_of_the_system_are_believed_where_no_others_are_named() {
    let (place, authority, objects) = (Place::new(), Authority::new(), numbered(20));
    let nginx = over_tls(&place, &authority, &objects, "ssl", "");
    let source = list_at(&place, &format!("https://127.0.0.1:{}", nginx.port()), &objects);
    // What OpenSSL and so every other program takes for the system's.
    let done = get_list(&place, &source).env("SSL_CERT_FILE", authority.file()).run().complete(20);
    assert_same(&stored(&done), &objects);
    let (other, own) = (Authority::new(), Place::new());
    let done =
        get_list(&own, &source).env("SSL_CERT_FILE", other.file()).run().expect(1).sum_holds();
    assert_eq!(done.failed("tls"), 20);
}

/// What the lines of `failures.jsonl` whose names begin so say.
#[track_caller]
fn errors(done: &Finished, prefix: &str) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let lines = done.failures();
    let own = lines.iter().filter(|line| text(&line["name"]).starts_with(prefix));
    own.map(|line| (text(&line["class"]), text(&line["error"]))).collect()
}

#[test]
fn a_bad_certificate_fails_its_host_once_and_no_other() {
    const EACH: usize = 40;
    let (place, authority, other) = (Place::new(), Authority::new(), Authority::new());
    let objects = numbered(EACH);
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    };
    let early = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2999, 1, 1);
        params.not_after = date_time_ymd(3000, 1, 1);
    };
    let client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let identities = [
        ("expired", authority.issue("expired", HERE, expired), "has expired"),
        ("early", authority.issue("early", HERE, early), "not valid yet"),
        ("other", authority.issue("other", &["127.0.0.9", "example.org"], |_| {}), "another name"),
        ("client", authority.issue("client", HERE, client), "not one for servers"),
        ("own", authority.self_signed("own"), "self-signed"),
        ("unknown", other.issue("unknown", HERE, |_| {}), "unknown issuer"),
    ];
    let good = over_tls(&place, &authority, &objects, "ssl", "");
    let bad = identities.map(|(name, identity, words)| {
        let folder = place.at("served");
        let settings = format!("{} root {};", identity.shown(), folder.display());
        let nginx = Nginx::start_as("ssl", "", &settings);
        let relay = Relay::to(nginx.port());
        (name, words, relay, nginx)
    });
    let rows = (0..EACH).flat_map(|number| {
        let at = |port: u16| format!("https://127.0.0.1:{port}/n{number}");
        let bad = bad.iter().map(move |(name, _, relay, _)| (at(relay.port()), name));
        let rows = bad.chain([(at(good.port()), &"good")]);
        rows.map(move |(url, name)| (url, format!("{name}/n{number}"))).collect::<Vec<_>>()
    });
    let source = list(&place, rows);
    let done = get(&place, &source, &authority).run().expect(1).sum_holds();
    done.figures_are([("stored", EACH as u64), ("failed", (6 * EACH) as u64)]);
    assert_eq!(done.failed("tls"), (6 * EACH) as u64);
    let found = stored(&done).into_iter();
    let found: Objects = found.map(|(name, body)| (name["good/".len()..].to_vec(), body)).collect();
    assert_same(&found, &objects);
    for (name, words, relay, _) in &bad {
        let told = errors(&done, &format!("{name}/"));
        assert_eq!(told.len(), EACH, "{name}");
        for (class, error) in told {
            assert!(class == "tls" && error.contains(words), "{name}: {class}: {error}");
        }
        // Each of the requests under way (8) may have found out for itself.
        let handshakes = relay.connections();
        println!("{name}: {handshakes} handshakes for {EACH} objects");
        assert!((1..=8).contains(&handshakes), "{name}: {handshakes} handshakes");
    }
}

#[test]
fn what_speaks_no_tls_is_told() {
    let (place, authority, objects) = (Place::new(), Authority::new(), numbered(30));
    let plain = Nginx::start("", &format!("root {};", place.path().display()));
    let relay = Relay::to(plain.port());
    let source = list_at(&place, &format!("https://127.0.0.1:{}", relay.port()), &objects);
    let done = get(&place, &source, &authority).run().expect(1).sum_holds();
    assert_eq!(done.failed("tls"), 30);
    for (class, error) in errors(&done, "n") {
        assert_eq!((&*class, &*error), ("tls", "the server does not speak TLS on this port"));
    }
    assert!((1..=8).contains(&relay.connections()), "{} handshakes", relay.connections());

    let tls = over_tls(&place, &authority, &objects, "ssl", "");
    let own = Place::new();
    let source = list_at(&own, &tls.url(), &objects);
    let done = get(&own, &source, &authority).run().expect(1).sum_holds();
    assert_eq!(done.failed("status"), 30, "{:#}", done.summary());
}

#[test]
fn certificates_of_clients() {
    let (place, authority, objects) = (Place::new(), Authority::new(), numbered(60));
    let settings =
        format!("ssl_verify_client on; ssl_client_certificate {};", authority.file().display());
    let nginx = over_tls(&place, &authority, &objects, "ssl", &settings);
    let base = format!("https://127.0.0.1:{}", nginx.port());
    let client = authority.issue("client", &["a client"], |_| {});
    let both = place.at("both.pem");
    let parts = [&client.cert, &client.key].map(|part| std::fs::read_to_string(part).expect("PEM"));
    std::fs::write(&both, parts.concat()).expect("a temporary file");
    let own = Place::new();
    let source = list_at(&own, &base, &objects);
    let with = |own: &Place| get(own, &source, &authority);

    let done = with(&own).arg("--cert").arg(&client.cert).arg("--key").arg(&client.key).run();
    assert_same(&stored(&done.complete(60)), &objects);
    let own = Place::new();
    assert_same(&stored(&with(&own).arg("--cert").arg(&both).run().complete(60)), &objects);

    // nginx lets everybody in, and answers 400.
    let own = Place::new();
    let done = with(&own).run().expect(1).sum_holds();
    assert_eq!((done.failed("status"), done.figure("stored")), (60, 0), "{:#}", done.summary());
    let (own, other) = (Place::new(), Authority::new());
    let stranger = other.issue("client", &["a client"], |_| {});
    let call = with(&own).arg("--cert").arg(&stranger.cert).arg("--key").arg(&stranger.key);
    let done = call.run().expect(1).sum_holds();
    assert_eq!(done.figure("stored"), 0, "{:#}", done.summary());

    // What is wrong with the files is told before anything is asked.
    for (cert, key) in [
        (&client.cert, &stranger.key),
        (&client.cert, &client.cert),
        (&client.key, &client.key),
        (&place.at("nothing"), &client.key),
    ] {
        let own = Place::new();
        let done = with(&own).arg("--cert").arg(cert).arg("--key").arg(key).run().expect(4);
        let told = [cert, key].map(|path| path.to_string_lossy().into_owned());
        assert!(told.iter().any(|path| done.stderr.contains(path)), "{}", done.stderr);
        assert!(!done.stderr.contains("BEGIN"), "{}", done.stderr);
    }
}

#[test]
fn a_body_whose_end_may_be_missing_is_not_stored() {
    // A body that ends where the connection does: only TLS's own goodbye says that it is whole.
    let body = b"all of it is here, or is it? ".repeat(1000);
    let sent = http::head("200 OK", &["Connection: close"], None);
    let own = [&sent[..], &body].concat();
    let script = Script::start(move |_| vec![Step::Send(own.clone()), Step::Close]);
    let authority = Authority::new();
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let settings = format!(
            "{} ssl_protocols {protocol}; chunked_transfer_encoding off; keepalive_timeout 0;
            location / {{ proxy_pass {}; proxy_http_version 1.1; proxy_buffering off; }}",
            authority.good().shown(),
            script.url()
        );
        let nginx = Nginx::start_as("ssl", "", &settings);
        // Nothing lost; the goodbye; a part of it; the goodbye and some of the body.
        for lost in [0, 24, 1, 31, 500, 20_000] {
            let relay = Relay::without_last(lost, nginx.port());
            let place = Place::new();
            let base = format!("https://127.0.0.1:{}", relay.port());
            let source = list(&place, [(format!("{base}/object"), "object".to_owned())]);
            let done = get(&place, &source, &authority).args(["--retry", "0"]).run().sum_holds();
            let found = stored(&done);
            match lost {
                0 => assert_same(&found, &[(b"object".to_vec(), body.clone())].into()),
                _ => {
                    assert!(found.is_empty(), "{protocol}: stored without the last {lost} bytes");
                    let failed = done.failed("truncated") + done.failed("reset");
                    assert_eq!(failed, 1, "{protocol}, {lost}: {:?}", done.failures());
                    done.expect(1);
                }
            }
        }
    }
}
