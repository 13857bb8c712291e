//! Lookups against a name server that counts its queries.

use super::server::{NameServer, Reply};
use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::{JoinSet, LocalSet};

const V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn run<T>(main: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, main)
}

fn detail(answer: &Answer) -> &'static str {
    answer.addresses.as_ref().expect_err("no addresses").failure.detail
}

fn resolver(server: &NameServer) -> Resolver {
    Resolver::new(Some(vec![server.addr]), 64)
}

#[test]
fn a_hundred_ask_and_the_server_is_asked_once() {
    let v6 = Ipv6Addr::LOCALHOST;
    let server = NameServer::start(move |_| Reply::Addresses(vec![V4], vec![v6], 300));
    let resolver = Arc::new(resolver(&server));
    // From several runtimes, as cores ask.
    let cores = (0..4).map(|_| {
        let resolver = Arc::clone(&resolver);
        std::thread::spawn(move || {
            run(async {
                let mut askers = JoinSet::new();
                for _ in 0..25 {
                    let resolver = Arc::clone(&resolver);
                    askers.spawn_local(async move {
                        let answer = resolver.find("a.example", Instant::now()).await;
                        assert_eq!(answer.addresses, Ok(vec![v6.into(), V4.into()]));
                    });
                }
                assert_eq!(askers.join_all().await.len(), 25);
            });
        })
    });
    for core in cores.collect::<Vec<_>>() {
        core.join().unwrap();
    }
    assert_eq!(server.asked("a.example"), (1, 1));
    assert_eq!(server.names(), 1);
}

/// Some stacks ask for each connection where there is no AAAA (reqwest #2922).
#[test]
fn it_is_asked_again_only_when_the_time_is_over() {
    let server = NameServer::start(|_| Reply::Addresses(vec![V4], vec![], 300));
    let resolver = resolver(&server);
    run(async {
        let now = Instant::now();
        for _ in 0..50 {
            let answer = resolver.find("v4.example", Instant::now()).await;
            assert_eq!(answer.addresses, Ok(vec![V4.into()]));
        }
        assert_eq!(server.asked("v4.example"), (1, 1));
        resolver.find("v4.example", now + Duration::from_secs(299)).await;
        assert_eq!(server.asked("v4.example"), (1, 1));
        resolver.find("v4.example", now + Duration::from_secs(400)).await;
        assert_eq!(server.asked("v4.example"), (2, 2));
    });
}

#[test]
fn what_is_not_there_is_remembered_for_a_while() {
    let server = NameServer::start(|name| match name {
        "none.example" => Reply::NoHost(Some(900)),
        "bare.example" => Reply::NoHost(None),
        _ => Reply::Addresses(vec![], vec![], 900),
    });
    let resolver = resolver(&server);
    run(async {
        for (name, expected) in [
            ("none.example", "no such host"),
            ("bare.example", "no such host"),
            ("empty.example", "the host has no address"),
        ] {
            let now = Instant::now();
            for _ in 0..10 {
                let answer = resolver.find(name, Instant::now()).await;
                assert_eq!(detail(&answer), expected);
            }
            assert_eq!(server.asked(name), (1, 1), "{name}");
            resolver.find(name, now + Duration::from_secs(31)).await;
            assert_eq!(server.asked(name), (2, 2), "{name}: 30 s are enough");
        }
    });
}

#[test]
fn a_server_that_fails_is_no_missing_host() {
    let server = NameServer::start(|_| Reply::ServFail);
    let resolver = resolver(&server);
    run(async {
        let now = Instant::now();
        let answer = resolver.find("a.example", now).await;
        assert_eq!(detail(&answer), "the name server failed");
        let (before, _) = server.asked("a.example");
        assert!(before >= 1);
        resolver.find("a.example", now + Duration::from_secs(3)).await;
        assert!(server.asked("a.example").0 > before, "it is asked again soon");
    });
}

#[test]
fn one_family_does_not_wait_for_the_other_for_ever() {
    let server = NameServer::start(|_| Reply::SilentForV6(V4));
    let resolver = resolver(&server);
    run(async {
        let answer = resolver.find("a.example", Instant::now()).await;
        assert_eq!(answer.addresses, Ok(vec![V4.into()]));
        resolver.find("a.example", Instant::now()).await;
        assert_eq!(server.asked("a.example"), (1, 1));
    });
}

/// The server answers only when nothing more comes: with another host under way it would have come.
#[test]
fn so_many_are_asked_for_at_once() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let server = NameServer::start_slow(
        |_| Reply::Addresses(vec![V4], vec![], 300),
        move |held| {
            let mut names: Vec<_> = held.iter().map(|(_, _, name)| name).collect();
            names.sort_unstable();
            names.dedup();
            seen.fetch_max(names.len(), Ordering::AcqRel);
        },
    );
    let resolver = Arc::new(Resolver::new(Some(vec![server.addr]), 3));
    run(async {
        let mut askers = JoinSet::new();
        for host in 0..12 {
            let resolver = Arc::clone(&resolver);
            askers.spawn_local(async move {
                let answer = resolver.find(&format!("{host}.example"), Instant::now()).await;
                assert_eq!(answer.addresses, Ok(vec![V4.into()]));
            });
        }
        askers.join_all().await;
    });
    assert_eq!(most.load(Ordering::Acquire), 3);
    assert_eq!(server.names(), 12);
}

#[test]
fn who_goes_away_leaves_nothing_behind() {
    let server = NameServer::start(|_| Reply::Addresses(vec![V4], vec![], 300));
    let resolver = resolver(&server);
    run(async {
        {
            let mut asked = std::pin::pin!(resolver.find("a.example", Instant::now()));
            let polled = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(asked.as_mut().poll(cx).is_ready())
            });
            assert!(!polled.await);
        }
        let answer = resolver.find("a.example", Instant::now()).await;
        assert_eq!(answer.addresses, Ok(vec![V4.into()]));
    });
}

#[test]
fn the_systems_resolver_reads_the_hosts_file() {
    // Through `getaddrinfo`, as without a configuration; an address needs no network.
    run(async {
        let answer = Lookup::System.find("127.0.0.9").await;
        assert_eq!(answer.addresses, Ok(vec![V4.into()]));
    });
}
