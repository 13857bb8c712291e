//! Through a proxy: in the clear, and by a tunnel.

use super::pki::Authority;
use super::site::{
    LIMIT, ask, failed, hello, listen, listen_tls, read_head, run, server, target, trusting,
};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use windrow_engine::wire::{Network, NetworkOptions, Proxies, Stream};
use windrow_model::FailureClass;

type Heads = Rc<RefCell<Vec<String>>>;

/// A proxy that answers `answer`, and then leads to `server` whatever it was asked for.
async fn proxy(answer: &'static [u8], server: Option<SocketAddr>) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let seen = Rc::clone(&heads);
    let addr = listen(move |mut stream| {
        let seen = Rc::clone(&seen);
        async move {
            let Some(head) = read_head(&mut stream).await else { return };
            seen.borrow_mut().push(head);
            let _ = stream.write_all(answer).await;
            if let Some(server) = server {
                let mut onward = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    });
    (addr.await, heads)
}

/// Options with one proxy for all. Names would be looked up where nobody answers.
fn through(addr: SocketAddr, user: &str, options: NetworkOptions) -> NetworkOptions {
    let value = format!("http://{user}{addr}");
    let proxies = Proxies::from_env(|name| match name {
        "all_proxy" => Some(value.clone()),
        "no_proxy" => Some("direct.localhost".into()),
        _ => None,
    });
    let nameservers = Some(vec!["127.0.0.1:9".parse().unwrap()]);
    NetworkOptions { proxies: proxies.unwrap(), nameservers, ..options }
}

#[test]
fn a_tunnel_leads_to_the_server_that_is_meant() {
    let authority = Authority::new();
    run(async {
        let (server, _) = listen_tls(server(authority.good()), |mut stream| async move {
            let head = read_head(&mut stream).await.unwrap();
            assert!(!head.to_lowercase().contains("proxy"), "{head}");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            stream.flush().await.unwrap();
        })
        .await;
        let (proxy, heads) = proxy(b"HTTP/1.1 200 Connected\r\nVia: x\r\n\r\n", Some(server)).await;
        let options = through(proxy, "user:pass@", trusting(&authority));
        let network = Network::new(options).unwrap();
        assert!(!format!("{network:?}").contains("pass"));
        let target = target(&network, "https://secret.example/x");
        assert_eq!((target.absolute_form(), target.proxy_header()), (None, None));
        let mut dialed = target.connect(LIMIT).await.unwrap();
        assert!(!dialed.private, "the proxy's address is not the server's");
        assert_eq!(ask(&mut dialed.stream).await.unwrap(), b"ok");
        let expected = "CONNECT secret.example:443 HTTP/1.1\r\nHost: secret.example:443\r\n\
                        Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n";
        assert_eq!(*heads.borrow(), [expected]);
    });
}

/// A proxy that is on its own side ends nothing but the tunnel.
#[test]
fn a_proxy_cannot_stand_in_for_the_server() {
    let (authority, own) = (Authority::new(), Authority::new());
    run(async {
        let (server, _) = listen_tls(server(own.good()), hello).await;
        let (proxy, _) = proxy(b"HTTP/1.1 200 OK\r\n\r\n", Some(server)).await;
        let network = Network::new(through(proxy, "", trusting(&authority))).unwrap();
        let failure = failed(target(&network, "https://secret.example").connect(LIMIT).await);
        assert_eq!(failure.class, FailureClass::Tls);
    });
}

#[test]
fn in_the_clear_the_request_names_the_server() {
    run(async {
        let (proxy, heads) = proxy(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None).await;
        let network =
            Network::new(through(proxy, "user:pass@", NetworkOptions::default())).unwrap();
        let target = target(&network, "http://secret.example:81/x");
        assert_eq!(target.absolute_form(), Some("http://secret.example:81"));
        let header = target.proxy_header();
        assert_eq!(header, Some(("Proxy-Authorization", "Basic dXNlcjpwYXNz")));
        let shown = format!("{target:?}");
        assert!(shown.contains("secret.example") && !shown.contains("dXNl"), "{shown}");
        let mut stream = target.connect(LIMIT).await.unwrap().stream;
        assert!(matches!(&stream, Stream::Plain(stream) if stream.peer_addr().unwrap() == proxy));
        assert_eq!(ask(&mut stream).await.unwrap(), b"ok");
        assert!(heads.borrow()[0].starts_with("GET "), "no tunnel");
    });
}

#[test]
fn what_a_proxy_answers() {
    static ENDLESS: [u8; 20_000] = [b'x'; 20_000];
    let authority = Authority::new();
    run(async {
        for (answer, class, status, detail, retry) in [
            (
                &b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno"[..],
                FailureClass::Forbidden,
                407,
                "user name and password",
                false,
            ),
            (b"HTTP/1.1 403 No\r\n\r\n", FailureClass::Forbidden, 403, "refuses", false),
            (b"HTTP/1.0 502 Bad\r\n\r\n", FailureClass::Connect, 502, "cannot connect", true),
            (b"HTTP/1.1 503 Bad\r\n\r\n", FailureClass::Connect, 503, "cannot connect", true),
            (b"HTTP/1.1 501 Never\r\n\r\n", FailureClass::Connect, 501, "cannot connect", false),
            (b"HTTP/1.1 302 Go\r\n\r\n", FailureClass::Status, 302, "an error", false),
            (b"HTTP/1.1 200 OK\r\n\r\nx", FailureClass::Connect, 0, "ahead of", true),
            (b"HTTP/1.1 101 Switch\r\n\r\n", FailureClass::Connect, 0, "not HTTP", true),
            (b"SSH-2.0-OpenSSH\r\n\r\n", FailureClass::Connect, 0, "not HTTP", true),
            (b"HTTP/1.1 200 OK\r\nHalf: a", FailureClass::Connect, 0, "closed", true),
            (b"", FailureClass::Connect, 0, "closed", true),
            (&ENDLESS, FailureClass::Connect, 0, "not HTTP", true),
        ] {
            let (proxy, _) = proxy(answer, None).await;
            let network = Network::new(through(proxy, "", trusting(&authority))).unwrap();
            let failure = failed(target(&network, "https://secret.example").connect(LIMIT).await);
            let found = (failure.class, failure.status, failure.retry());
            assert_eq!(found, (class, status, retry), "{failure}");
            assert!(
                failure.detail.contains(detail) && failure.detail.contains("proxy"),
                "{failure}"
            );
        }
    });
}

#[test]
fn a_proxys_answer_has_an_end() {
    let authority = Authority::new();
    run(async {
        let addr = listen(|mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
        });
        let network = Network::new(through(addr.await, "", trusting(&authority))).unwrap();
        let failure = failed(target(&network, "https://secret.example").connect(LIMIT).await);
        assert_eq!(failure.detail, "the proxy's answer is too long");
    });
}

#[test]
fn interim_answers_and_small_pieces_are_read() {
    let authority = Authority::new();
    run(async {
        let (server, _) = listen_tls(server(authority.good()), hello).await;
        let addr = listen(move |mut stream| async move {
            read_head(&mut stream).await;
            for byte in b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut onward = TcpStream::connect(server).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        });
        let network = Network::new(through(addr.await, "", trusting(&authority))).unwrap();
        let target = target(&network, "https://secret.example");
        let mut stream = target.connect(LIMIT).await.unwrap().stream;
        assert_eq!(ask(&mut stream).await.unwrap(), b"hello");
    });
}

#[test]
fn the_policy_holds_through_a_proxy_too() {
    run(async {
        let (proxy, heads) = proxy(b"HTTP/1.1 200 OK\r\n\r\n", None).await;
        let network = Network::new(through(proxy, "", NetworkOptions::default())).unwrap();
        for url in ["http://169.254.169.254/", "https://0xa9fea9fe/", "http://[fe80::1]/"] {
            let failure = failed(target(&network, url).connect(LIMIT).await);
            assert_eq!(failure.class, FailureClass::Blocked, "{url}");
        }
        assert!(heads.borrow().is_empty());
    });
}

#[test]
fn exceptions_are_reached_directly() {
    run(async {
        let server = listen(|mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
        });
        let server = server.await;
        // Nothing listens at the proxy's address.
        let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let network = Network::new(through(nowhere, "", NetworkOptions::default())).unwrap();
        let direct = target(&network, &format!("http://direct.localhost:{}", server.port()));
        assert_eq!(direct.absolute_form(), None);
        assert!(direct.connect(LIMIT).await.unwrap().private);
        let other = target(&network, &format!("http://localhost:{}", server.port()));
        assert_eq!(failed(other.connect(LIMIT).await).class, FailureClass::Connect);
    });
}
