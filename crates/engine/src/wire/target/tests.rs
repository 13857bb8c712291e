//! Connections to several addresses, some of which do not answer.

use super::super::dial::NetworkOptions;
use super::super::dial::dns::server::{NameServer, Reply};
use super::*;
use std::net::TcpListener;
use tokio::net::TcpSocket;

const LIMIT: Duration = Duration::from_secs(30);

fn run<T>(main: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(main)
}

fn network(server: &NameServer) -> Arc<Network> {
    let nameservers = Some(vec![server.addr]);
    Network::new(NetworkOptions { nameservers, ..NetworkOptions::default() }).unwrap()
}

fn target(network: &Arc<Network>, host: &str, port: u16, trust: Trust) -> Target {
    let origin = Origin { scheme: Scheme::Http, host: host.into(), port };
    Target::new(Arc::clone(network), origin, trust)
}

fn local(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

fn failed(result: Result<Dialed, NoConnection>) -> Failure {
    match result {
        Err(NoConnection::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// A listener at `addr` whose queue is full: who connects waits for ever.
async fn black_hole(addr: SocketAddr) -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(addr).unwrap();
    let listener = socket.listen(0).unwrap();
    let mut queue = Vec::new();
    let patience = Duration::from_millis(100);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(addr)).await {
        queue.push(stream.unwrap());
    }
    (listener, queue)
}

#[test]
fn one_dead_address_of_four_costs_one_wait() {
    let ips = [2, 3, 4, 5].map(local);
    let server = NameServer::start(move |_| Reply::Addresses(ips.to_vec(), vec![], 300));
    let network = network(&server);
    run(async {
        let alive = TcpListener::bind((local(3), 0)).unwrap();
        let port = alive.local_addr().unwrap().port();
        let _others = [4, 5].map(|last| TcpListener::bind((local(last), port)).unwrap());
        let _hole = black_hole(SocketAddr::new(local(2).into(), port)).await;
        let target = target(&network, "many.example", port, Trust::User);
        let mut peers = Vec::new();
        for _ in 0..50 {
            let dialed = target.connect(LIMIT).await.unwrap();
            assert!(dialed.private && !dialed.http2);
            let Stream::Plain(stream) = dialed.stream else { panic!("in the clear") };
            assert!(stream.nodelay().unwrap());
            peers.push(stream.peer_addr().unwrap());
        }
        assert!(peers.iter().all(|peer| *peer == peers[0]), "the one that worked: {peers:?}");
        assert_ne!(peers[0].ip(), IpAddr::from(local(2)));
        // The dead one is behind the others even when the one that worked is gone.
        let order = target.experience.borrow().order(&ips.map(IpAddr::from), Instant::now());
        assert_eq!(order.last(), Some(&local(2).into()));
    });
    assert_eq!(server.asked("many.example"), (1, 1));
}

#[test]
fn a_refusal_is_followed_by_the_next_address() {
    let ips = [2, 3].map(local);
    let server = NameServer::start(move |_| Reply::Addresses(ips.to_vec(), vec![], 300));
    let network = network(&server);
    run(async {
        let alive = TcpListener::bind((local(3), 0)).unwrap();
        let port = alive.local_addr().unwrap().port();
        let target = target(&network, "two.example", port, Trust::User);
        target.connect(LIMIT).await.unwrap();
        drop(alive);
        let failure = failed(target.connect(LIMIT).await);
        assert_eq!(failure, Failure::new(FailureClass::Connect, "connection refused"));
    });
}

#[test]
fn silence_ends_with_the_limit() {
    let server = NameServer::start(|_| Reply::NoHost(None));
    let network = network(&server);
    run(async {
        let free = TcpListener::bind((local(6), 0)).unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let _hole = black_hole(addr).await;
        let target = target(&network, "127.0.0.6", addr.port(), Trust::User);
        let failure = failed(target.connect(Duration::from_millis(50)).await);
        assert_eq!(failure.detail, "the connection timed out");
        let experience = target.experience.borrow();
        let order = experience.order(&[local(6).into(), local(7).into()], Instant::now());
        assert_eq!(order[0], IpAddr::from(local(7)), "it is known to be silent");
    });
    assert_eq!(server.names(), 0, "addresses are not looked up");
}

#[test]
fn no_host_is_said() {
    let server = NameServer::start(|_| Reply::NoHost(None));
    let network = network(&server);
    run(async {
        let target = target(&network, "none.example", 80, Trust::User);
        let failure = failed(target.connect(LIMIT).await);
        assert_eq!(failure, Failure::new(FailureClass::Dns, "no such host"));
        assert_eq!(target.find(LIMIT).await, Err(NoConnection::Failed(failure)));
    });
}

/// The name is harmless, what it stands for is not; and it may stand for something else at the
/// next lookup.
#[test]
fn a_name_does_not_lead_past_the_policy() {
    let server = NameServer::start(|name| match name {
        "meta.example" => Reply::Addresses(vec![Ipv4Addr::new(169, 254, 169, 254)], vec![], 1),
        "mapped.example" => {
            let mapped = Ipv4Addr::new(169, 254, 1, 1).to_ipv6_mapped();
            Reply::Addresses(vec![], vec![mapped], 1)
        }
        _ => Reply::Addresses(vec![local(8)], vec![], 1),
    });
    let network = network(&server);
    let public = Trust::Redirect { from_private: false };
    run(async {
        let alive = TcpListener::bind((local(8), 0)).unwrap();
        let port = alive.local_addr().unwrap().port();
        for (host, trust) in [
            ("meta.example", Trust::User),
            ("mapped.example", Trust::User),
            ("169.254.169.254", Trust::User),
            ("0xa9fea9fe", Trust::User),
            ("own.example", public),
            ("localhost", public),
            ("a.localhost", public),
            ("::1", public),
            ("127.1", public),
            ("1.2.3.4.5", Trust::User),
        ] {
            let failure = failed(target(&network, host, port, trust).connect(LIMIT).await);
            assert_eq!(failure.class, FailureClass::Blocked, "{host}");
        }
        for trust in [Trust::User, Trust::Redirect { from_private: true }] {
            target(&network, "own.example", port, trust).connect(LIMIT).await.unwrap();
            target(&network, "127.8", port, trust).connect(LIMIT).await.unwrap();
        }
        let options = NetworkOptions {
            nameservers: Some(vec![server.addr]),
            allow_private: vec!["127.0.0.0/8".parse().unwrap()],
            ..NetworkOptions::default()
        };
        let network = Network::new(options).unwrap();
        target(&network, "own.example", port, public).connect(LIMIT).await.unwrap();
    });
}
