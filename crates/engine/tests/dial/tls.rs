//! Whom windrow believes, what it says of the others, and how TLS connections end.

use super::pki::{self, Authority};
use super::site::{
    LIMIT, ask, failed, hello, listen, listen_tls, read_head, readable, run, server, server_with,
    target, trusting,
};
use rustls::HandshakeKind;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windrow_engine::wire::h1::Broken;
use windrow_engine::wire::{Network, NetworkOptions, NoConnection, Stream};
use windrow_model::{Failure, FailureClass};

fn tls(detail: &'static str) -> Failure {
    Failure::new(FailureClass::Tls, detail)
}

async fn has_news(stream: &mut Stream) -> bool {
    poll_fn(|cx| Poll::Ready(stream.has_news(cx))).await
}

#[test]
fn a_server_with_a_certificate_is_believed() {
    let authority = Authority::new();
    run(async {
        let (addr, _) = listen_tls(server(authority.good()), hello).await;
        let network = Network::new(trusting(&authority)).unwrap();
        for host in ["localhost", "127.0.0.1", "127.1", "LOCALHOST."] {
            let target = target(&network, &format!("https://{host}:{}", addr.port()));
            let mut dialed = target.connect(LIMIT).await.unwrap();
            assert!(dialed.private && !dialed.http2, "{host}");
            for _ in 0..3 {
                assert_eq!(ask(&mut dialed.stream).await.unwrap(), b"hello", "{host}");
            }
        }
    });
}

#[test]
fn each_bad_certificate_has_its_own_words() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    // The same name, and another key: its signatures do not fit.
    let local = &["localhost"];
    run(async {
        for (identity, detail) in [
            (authority.issue(local, pki::expired), "the server's certificate has expired"),
            (
                authority.issue(local, pki::not_yet_valid),
                "the server's certificate is not valid yet",
            ),
            (
                authority.issue(&["other.example", "127.0.0.2"], |_| {}),
                "the server's certificate is for another name",
            ),
            (
                authority.issue(local, pki::for_clients),
                "the server's certificate is not one for servers",
            ),
            (pki::self_signed(), "the server's certificate is self-signed or of an unknown issuer"),
            (stranger.issue(local, |_| {}), "the server's certificate has a bad signature"),
        ] {
            let (addr, kinds) = listen_tls(server(identity), hello).await;
            let network = Network::new(trusting(&authority)).unwrap();
            let target = target(&network, &format!("https://localhost:{}", addr.port()));
            let failure = failed(target.connect(LIMIT).await);
            assert_eq!(failure, tls(detail));
            assert!(!failure.retry(), "{detail}");
            assert!(kinds.borrow().is_empty(), "{detail}: no request leaves");
        }
    });
}

#[test]
fn own_roots_are_in_place_of_the_platforms() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    run(async {
        let (addr, _) = listen_tls(server(authority.good()), hello).await;
        let url = format!("https://localhost:{}", addr.port());
        let both = NetworkOptions {
            ca_certs: vec![stranger.file(), authority.file()],
            ..NetworkOptions::default()
        };
        target(&Network::new(both).unwrap(), &url).connect(LIMIT).await.unwrap();
        let network = Network::new(trusting(&stranger)).unwrap();
        assert_eq!(failed(target(&network, &url).connect(LIMIT).await).class, FailureClass::Tls);
    });
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let identity = authority.good();
        let network = Network::new(trusting(&authority)).unwrap();
        run(async {
            let config = server_with(identity, &[version], None);
            let (addr, kinds) = listen_tls(config, hello).await;
            let url = format!("https://localhost:{}", addr.port());
            for _ in 0..3 {
                // Each time as another core would.
                let mut dialed = target(&network, &url).connect(LIMIT).await.unwrap();
                assert_eq!(ask(&mut dialed.stream).await.unwrap(), b"hello");
            }
            let expected = [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed];
            assert_eq!(*kinds.borrow(), expected, "{version:?}");
        });
    }
}

#[test]
fn http2_is_spoken_where_both_want_it() {
    let authority = Authority::new();
    run(async {
        for (wanted, offered, chosen) in [
            (false, &["h2", "http/1.1"][..], Some(false)),
            (true, &["h2", "http/1.1"], Some(true)),
            (true, &["http/1.1"], Some(false)),
            (true, &[], Some(false)),
            (false, &[], Some(false)),
            (false, &["h2"], None),
        ] {
            let mut config = server(authority.good());
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let (addr, _) = listen_tls(config, hello).await;
            let options = NetworkOptions { http2: wanted, ..trusting(&authority) };
            let target = target(
                &Network::new(options).unwrap(),
                &format!("https://localhost:{}", addr.port()),
            );
            match (target.connect(LIMIT).await, chosen) {
                (Ok(dialed), Some(chosen)) => assert_eq!(dialed.http2, chosen, "{offered:?}"),
                (Err(NoConnection::Failed(failure)), None) => {
                    assert_eq!(failure, tls("the server speaks no HTTP version that is wanted"));
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_client_shows_its_certificate() {
    let authority = Authority::new();
    let shown = authority.issue(&["client"], pki::for_clients);
    let cert = authority.write("client.pem", &shown.cert_pem);
    let key = authority.write("client.key", &shown.key_pem);
    let both = authority.write("both.pem", &format!("{}{}", shown.key_pem, shown.cert_pem));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        run(async {
            let config = server_with(authority.good(), &[version], Some(&authority));
            let (addr, _) = listen_tls(config, hello).await;
            let url = format!("https://localhost:{}", addr.port());
            for (client_cert, client_key) in
                [(Some(&cert), Some(&key)), (Some(&both), None), (None, None)]
            {
                let options = NetworkOptions {
                    client_cert: client_cert.cloned(),
                    client_key: client_key.cloned(),
                    ..trusting(&authority)
                };
                let network = Network::new(options).unwrap();
                // With TLS 1.3 the refusal comes behind the handshake.
                let asked = match target(&network, &url).connect(LIMIT).await {
                    Ok(mut dialed) => ask(&mut dialed.stream).await,
                    Err(NoConnection::Failed(failure)) => Err(Broken::Failed(failure)),
                    Err(starved) => panic!("{starved:?}"),
                };
                match (client_cert, asked) {
                    (Some(_), Ok(body)) => assert_eq!(body, b"hello"),
                    (None, Err(Broken::Failed(failure))) => {
                        assert_eq!(failure.class, FailureClass::Tls, "{failure}");
                        assert!(failure.detail.contains("client certificate"), "{failure}");
                    }
                    (_, other) => panic!("{version:?}: {other:?}"),
                }
            }
        });
    }
}

#[test]
fn files_that_do_not_fit_are_said_at_the_start() {
    let authority = Authority::new();
    let (one, other) = (authority.good(), authority.good());
    let cert = authority.write("cert.pem", &one.cert_pem);
    let foreign = authority.write("foreign.key", &other.key_pem);
    let garbage = authority.write("garbage.pem", "-----BEGIN NONSENSE-----\nsecret\n");
    let missing = garbage.with_file_name("missing.pem");
    let error = |roots: &[&std::path::PathBuf], client_cert, client_key| {
        let options = NetworkOptions {
            ca_certs: roots.iter().map(|path| (*path).clone()).collect(),
            client_cert: Option::<&std::path::PathBuf>::cloned(client_cert),
            client_key: Option::<&std::path::PathBuf>::cloned(client_key),
            ..NetworkOptions::default()
        };
        let text = Network::new(options).expect_err("it does not fit").to_string();
        assert!(!text.contains("secret"), "{text}");
        text
    };
    let good = authority.file();
    for (text, subject, what) in [
        (error(&[&missing], None, None), "missing.pem", "cannot read"),
        (error(&[&garbage], None, None), "garbage.pem", "no certificate"),
        (error(&[&foreign], None, None), "foreign.key", "no certificate"),
        (error(&[&good], Some(&missing), None), "missing.pem", "cannot read"),
        (error(&[&good], Some(&cert), None), "cert.pem", "no private key"),
        (error(&[&good], Some(&cert), Some(&garbage)), "garbage.pem", "no private key"),
        (error(&[&good], Some(&cert), Some(&foreign)), "cert.pem", "cannot be used"),
        (error(&[&good], None, Some(&foreign)), "foreign.key", "without its certificate"),
    ] {
        assert!(text.contains(subject) && text.contains(what), "{text}");
    }
}

#[test]
fn what_is_not_tls_and_what_breaks_are_told_apart() {
    let authority = Authority::new();
    let network = Network::new(trusting(&authority)).unwrap();
    let connect = |port: u16, limit| {
        let target = target(&network, &format!("https://localhost:{port}"));
        async move { failed(target.connect(limit).await) }
    };
    run(async {
        let addr = listen(|mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 4096]).await;
        });
        let failure = connect(addr.await.port(), LIMIT).await;
        assert_eq!(failure, tls("the server does not speak TLS on this port"));

        let addr = listen(|mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
        });
        let failure = connect(addr.await.port(), LIMIT).await;
        assert_eq!(failure.class, FailureClass::Connect);
        assert_eq!(failure.detail, "the server closed during the TLS handshake");

        // Bytes left unread make a reset of a close.
        let addr = listen(|stream| async move {
            stream.readable().await.unwrap();
        });
        let failure = connect(addr.await.port(), LIMIT).await;
        assert_eq!(failure.class, FailureClass::Connect);
        assert_eq!(failure.detail, "connection reset during the TLS handshake");

        let addr = listen(|stream| async move {
            let _stream = stream;
            std::future::pending::<()>().await;
        });
        let failure = connect(addr.await.port(), Duration::from_millis(50)).await;
        assert_eq!(failure.class, FailureClass::Connect);
        assert_eq!(failure.detail, "the TLS handshake took too long");
    });
}

/// Who can cut a connection must not be able to cut a body.
#[test]
fn a_body_that_lasts_until_the_end_needs_an_end() {
    let authority = Authority::new();
    run(async {
        let ends_well = Rc::new(Cell::new(true));
        let well = Rc::clone(&ends_well);
        let (addr, _) = listen_tls(server(authority.good()), move |mut stream| {
            let well = well.get();
            async move {
                read_head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap();
                stream.flush().await.unwrap();
                if well {
                    stream.shutdown().await.unwrap();
                }
            }
        })
        .await;
        let network = Network::new(trusting(&authority)).unwrap();
        let target = target(&network, &format!("https://localhost:{}", addr.port()));
        let mut stream = target.connect(LIMIT).await.unwrap().stream;
        assert_eq!(ask(&mut stream).await.unwrap(), b"all of it");
        ends_well.set(false);
        let mut stream = target.connect(LIMIT).await.unwrap().stream;
        let cut = Broken::Failed(Failure::new(FailureClass::Reset, "cut"));
        assert_eq!(ask(&mut stream).await, Err(cut));
    });
}

/// Tickets and new keys come while nothing is asked; the connection is as good as before.
#[test]
fn what_tls_says_for_itself_is_no_news() {
    let authority = Authority::new();
    run(async {
        let speak = Rc::new(tokio::sync::Notify::new());
        let told = Rc::clone(&speak);
        let config = server_with(authority.good(), &[&rustls::version::TLS13], None);
        let (addr, _) = listen_tls(config, move |mut stream| {
            let told = Rc::clone(&told);
            async move {
                read_head(&mut stream).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                stream.flush().await.unwrap();
                told.notified().await;
                stream.get_mut().1.refresh_traffic_keys().unwrap();
                stream.flush().await.unwrap();
                told.notified().await;
                stream.shutdown().await.unwrap();
            }
        })
        .await;
        let network = Network::new(trusting(&authority)).unwrap();
        let target = target(&network, &format!("https://localhost:{}", addr.port()));
        let mut stream = target.connect(LIMIT).await.unwrap().stream;
        assert_eq!(ask(&mut stream).await.unwrap(), b"");
        assert!(!has_news(&mut stream).await);
        speak.notify_one();
        readable(&stream).await;
        assert!(!has_news(&mut stream).await, "new keys");
        speak.notify_one();
        readable(&stream).await;
        assert!(has_news(&mut stream).await, "it is closed");
    });
}
