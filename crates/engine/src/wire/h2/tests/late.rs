//! Servers that are late, in a time that passes as fast as tasks get their turns.

use super::loss::take;
use super::peer::*;
use super::*;
use std::cell::Cell;
use std::future::Future;
use std::time::Instant;

const PERIOD: Duration = Duration::from_millis(25);
const TIMEOUT: Fate = Fate::Failed(FailureClass::Timeout);

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The watchdog's time.
fn now() -> Instant {
    NOW.get().unwrap_or_else(Instant::now)
}

/// Serves one connection while the time passes.
/// Returns when the connection ended, with its seconds.
async fn watched<F: Future<Output = ()> + 'static>(
    book: &Shared,
    options: H2Options,
    server: impl FnOnce(DuplexStream, Rc<Cell<u64>>) -> F,
) -> (Ended<((), book::Ticket)>, u64) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let mut dog = Watchdog::new(PERIOD);
    let watch = dog.watch();
    let second = Rc::new(Cell::new(0));
    let server = tokio::task::spawn_local(server(far, Rc::clone(&second)));
    let first = Book::first(book).unwrap();
    let start = Instant::now();
    NOW.set(Some(start));
    let options = H2Options { clock: now, ..options };
    let mut driven = std::pin::pin!(drive(book, (0, ()), near, Some(first), options, &watch));
    let mut step = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut driven => break ended,
            () = async { for _ in 0..20 { tokio::task::yield_now().await; } } => {}
        }
        step += 1;
        second.set(u64::from(step) / 40);
        NOW.set(Some(start + PERIOD * step));
        dog.sweep(now());
        assert!(second.get() < 1000, "nothing ends it");
    };
    server.abort();
    assert_eq!(book.borrow().out, 0, "a ticket is missing");
    (ended, second.get())
}

#[test]
fn a_server_that_never_answers_is_left() {
    // It says nothing at all; it says SETTINGS; it allows no stream.
    for settings in [None, Some(None), Some(Some(0))] {
        let book = Book::new(200);
        let (ended, second) =
            block_on(watched(&book, options(), async move |io, _| match settings {
                Some(streams) => Peer::accept(io, streams).await.end().await,
                None => {
                    let _open = io;
                    std::future::pending::<()>().await;
                }
            }));
        assert_eq!(ended, Ended::Closed);
        assert!((29..=31).contains(&second), "{second}");
        let ended = book.borrow().fates.iter().filter(|fates| **fates == [TIMEOUT]).count();
        let sent = if settings == Some(None) { 100 } else { 1 };
        assert_eq!(ended, sent);
    }
}

#[test]
fn pings_are_no_answer() {
    let book = Book::new(1);
    let (ended, second) = block_on(watched(&book, options(), async |io, _| {
        let mut peer = Peer::accept(io, None).await;
        while peer.send(PING, 0, 0, &[0; 8]).await {
            while peer.frame().await.unwrap().kind != PING {}
        }
    }));
    assert_eq!((ended, book.borrow().fate(0)), (Ended::Closed, &TIMEOUT));
    assert!((29..=31).contains(&second), "{second}");
}

#[test]
fn a_late_stream_is_cancelled_alone() {
    let book = Book::new(2000);
    let (ended, _) = block_on(watched(&book, options(), async |io, second| {
        let mut peer = Peer::accept(io, Some(3)).await;
        let mut answered = 0;
        let mut cancelled = Vec::new();
        loop {
            match peer.frame().await {
                None => return,
                Some(frame) if frame.kind == RST_STREAM => {
                    assert!((29..=31).contains(&second.get()), "{}", second.get());
                    cancelled.push(frame.stream);
                }
                // The first is never answered, the others one in each second or so.
                Some(frame) if frame.kind == HEADERS && frame.stream > 1 => {
                    let now = second.get();
                    while cancelled.is_empty() && second.get() == now {
                        tokio::task::yield_now().await;
                        if answered > 60 {
                            break;
                        }
                    }
                    answered += 1;
                    peer.answer(frame.stream, b"x").await;
                }
                Some(_) => {}
            }
        }
    }));
    assert_eq!(ended, Ended::Finished);
    let book = book.borrow();
    assert_eq!(book.fate(0), &TIMEOUT);
    assert!((1..2000).all(|number| book.fate(number).body() == Some(b"x")));
}

#[test]
fn a_drip_is_cut_by_speed_and_by_length() {
    let hasty = Patience { min_speed: 100, ..PATIENCE };
    let brief = Patience { total: Some(Duration::from_secs(12)), ..PATIENCE };
    for (patience, limit) in [(hasty, 20), (brief, 12)] {
        let options = H2Options { patience, ..options() };
        let book = Book::new(1);
        let (_, second) = block_on(watched(&book, options, async |io, second| {
            let mut peer = Peer::accept(io, None).await;
            take(&mut peer, 1).await;
            peer.send(HEADERS, END_HEADERS, 1, OK).await;
            loop {
                let now = second.get();
                peer.send(DATA, 0, 1, b"x").await;
                while second.get() == now {
                    tokio::task::yield_now().await;
                }
            }
        }));
        assert_eq!(book.borrow().fate(0), &TIMEOUT);
        assert!((limit - 1..=limit + 1).contains(&second), "{second} of {limit}");
    }
}

#[test]
fn a_connection_that_was_idle_for_long_is_not_used_again() {
    for (seconds, carried) in [(3, false), (6, true)] {
        let book = Book::new(1);
        book.borrow_mut().open = true;
        let adder = Rc::clone(&book);
        let (near, far) = tokio::io::duplex(64 << 10);
        let start = Instant::now();
        NOW.set(Some(start));
        let ended = block_on(async {
            tokio::task::spawn_local(async move {
                let mut peer = Peer::accept(far, None).await;
                let stream = peer.request().await;
                peer.answer(stream, b"x").await;
                while adder.borrow().wakers.is_empty() {
                    tokio::task::yield_now().await;
                }
                NOW.set(Some(start + Duration::from_secs(seconds)));
                adder.borrow_mut().add(1);
                // The answer to a second one, if it comes, is the connection's end.
                peer.next_request().await;
            });
            let options = H2Options { clock: now, ..options() };
            let first = Book::first(&book).unwrap();
            drive(&book, (0, ()), near, Some(first), options, &Watch::default()).await
        });
        match ended {
            Ended::Carried(((), ticket)) => assert!(carried && ticket.number == 1),
            ended => assert!(!carried && ended == Ended::Closed),
        }
    }
}
