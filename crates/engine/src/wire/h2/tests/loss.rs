//! What is lost, and whether it counts: GOAWAY, RST_STREAM, and connections that end.

use super::peer::*;
use super::*;
use std::future::Future;

/// One connection, one server by hand. Gives what became of the connection.
pub(super) async fn talk<F: Future<Output = ()> + 'static>(
    book: &Shared,
    server: impl FnOnce(DuplexStream) -> F,
) -> Ended<((), book::Ticket)> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let server = tokio::task::spawn_local(server(far));
    let watch = Watch::default();
    let first = Book::first(book).unwrap();
    let ended = drive(book, (0, ()), near, Some(first), options(), &watch).await;
    server.await.unwrap();
    assert_eq!(book.borrow().out, 0, "a ticket is missing");
    ended
}

const RESET: Fate = Fate::Failed(FailureClass::Reset);

fn stored(number: usize) -> Fate {
    Fate::Whole(200, vec![number as u8])
}

/// Takes `requests` of them in order; the streams are 1, 3, 5, ...
pub(super) async fn take(peer: &mut Peer, requests: usize) {
    for number in 0..requests {
        assert_eq!(peer.request().await, 1 + 2 * number as u32);
    }
}

async fn answer(peer: &mut Peer, number: usize) {
    peer.answer(1 + 2 * number as u32, &[number as u8]).await;
}

#[test]
fn streams_above_the_last_one_are_free_and_the_others_end() {
    for (code, throttled) in [(NO_ERROR, false), (INTERNAL_ERROR, false), (ENHANCE_YOUR_CALM, true)]
    {
        let book = Book::new(10);
        let ended = block_on(talk(&book, async move |io| {
            let mut peer = Peer::accept(io, Some(4)).await;
            take(&mut peer, 4).await;
            answer(&mut peer, 0).await;
            peer.go_away(3, code).await;
            answer(&mut peer, 1).await;
            peer.end().await;
        }));
        assert_eq!(ended, Ended::Closed);
        let book = book.borrow();
        assert_eq!((book.fate(0), book.fate(1)), (&stored(0), &stored(1)));
        let refused = match throttled {
            true => Fate::Failed(FailureClass::Throttled),
            false => Fate::Unanswered,
        };
        assert_eq!((book.fate(2), book.fate(3)), (&refused, &refused), "{code}");
        // The newest first; what was sent in the place of the first one may be among them.
        let order: Vec<_> = book.order.iter().copied().filter(|n| (2..4).contains(n)).collect();
        assert!(throttled || order == [3, 2], "{order:?}");
        assert!((5..10).all(|number| book.fates[number].is_empty()), "sent after GOAWAY");
    }
}

#[test]
fn a_server_that_refuses_all_from_the_start_costs_an_attempt() {
    let book = Book::new(10);
    let ended = block_on(talk(&book, async |io| {
        let mut peer = Peer::accept(io, Some(3)).await;
        take(&mut peer, 3).await;
        peer.go_away(0, NO_ERROR).await;
        peer.end().await;
    }));
    assert_eq!(ended, Ended::Closed);
    assert!((0..3).all(|number| *book.borrow().fate(number) == RESET));

    let book = Book::new(10);
    let ended = block_on(talk(&book, async |io| {
        let mut peer = Peer::accept(io, Some(3)).await;
        take(&mut peer, 3).await;
        for stream in [1, 3, 5] {
            peer.rst(stream, REFUSED_STREAM).await;
        }
        peer.end().await;
    }));
    assert_eq!(ended, Ended::Closed);
    assert!((0..3).all(|number| *book.borrow().fate(number) == RESET));
    assert!((3..10).all(|number| book.borrow().fates[number].is_empty()));
}

#[test]
fn some_refused_are_free_and_fewer_are_asked_at_once() {
    let book = Book::new(30);
    book.borrow_mut().again = true;
    block_on(talk(&book, async |io| {
        let mut peer = Peer::accept(io, Some(8)).await;
        let mut under_way: Vec<u32> = Vec::new();
        let (mut refused, mut answered) = (0, 0);
        while answered < 30 {
            match peer.frame().await.unwrap() {
                frame if frame.kind != HEADERS => continue,
                // It says 8 and means 2, until it said so six times.
                frame if under_way.len() == 2 => {
                    refused += 1;
                    peer.rst(frame.stream, REFUSED_STREAM).await;
                }
                frame => under_way.push(frame.stream),
            }
            if refused >= 6 {
                for stream in under_way.drain(..) {
                    answered += 1;
                    peer.answer(stream, b"x").await;
                }
            }
        }
        assert!(refused < 60, "{refused}");
        peer.end().await;
    }));
    book.borrow().check_stored(|_| b"x".to_vec());
    let fates = book.borrow().fates.concat();
    assert!(fates.iter().all(|fate| *fate == Fate::Unanswered || fate.body().is_some()));
}

#[test]
fn resets_fail_their_own_stream_only() {
    let book = Book::new(8);
    let ended = block_on(talk(&book, async |io| {
        let mut peer = Peer::accept(io, None).await;
        take(&mut peer, 8).await;
        peer.rst(1, INTERNAL_ERROR).await;
        peer.send(HEADERS, END_HEADERS, 3, &sized(2)).await;
        peer.rst(3, CANCEL).await;
        peer.send(HEADERS, END_HEADERS, 5, &sized(2)).await;
        peer.send(DATA, 0, 5, b"x").await;
        peer.rst(5, INTERNAL_ERROR).await;
        peer.rst(7, ENHANCE_YOUR_CALM).await;
        // Refused after it began to answer: it was processed.
        peer.send(HEADERS, END_HEADERS, 9, &sized(2)).await;
        peer.rst(9, REFUSED_STREAM).await;
        // The end of a response before all of it is none, whatever the code says.
        peer.send(HEADERS, END_HEADERS, 11, OK).await;
        peer.send(DATA, 0, 11, b"x").await;
        peer.rst(11, NO_ERROR).await;
        // Behind the end it does no harm.
        answer(&mut peer, 6).await;
        peer.rst(13, NO_ERROR).await;
        answer(&mut peer, 7).await;
        peer.end().await;
    }));
    assert_eq!(ended, Ended::Finished);
    let book = book.borrow();
    for number in [0, 1, 2, 4, 5] {
        assert_eq!(book.fate(number), &RESET, "{number}");
    }
    assert_eq!(book.fate(3), &Fate::Failed(FailureClass::Throttled));
    assert_eq!((book.fate(6), book.fate(7)), (&stored(6), &stored(7)));
}

#[test]
fn a_connection_that_ends_fails_what_was_under_way() {
    let book = Book::new(4);
    let ended = block_on(talk(&book, async |io| {
        let mut peer = Peer::accept(io, None).await;
        take(&mut peer, 4).await;
        answer(&mut peer, 0).await;
        peer.send(HEADERS, END_HEADERS, 3, &sized(2)).await;
        peer.send(DATA, 0, 3, b"x").await;
        peer.send(HEADERS, END_HEADERS, 5, OK).await;
    }));
    assert_eq!(ended, Ended::Closed);
    let book = book.borrow();
    assert_eq!(book.fate(0), &stored(0));
    assert_eq!(book.fate(1), &Fate::Failed(FailureClass::Truncated));
    assert_eq!(book.fate(2), &Fate::Failed(FailureClass::Truncated));
    assert_eq!(book.fate(3), &RESET);
}

#[test]
fn a_connection_that_never_speaks_fails() {
    let book = Book::new(4);
    assert_eq!(block_on(talk(&book, async |io| drop(io))), Ended::Closed);
    assert_eq!(book.borrow().fate(0), &RESET);
    for noise in ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.9\r\n"] {
        let book = Book::new(4);
        block_on(talk(&book, async |mut io| {
            use tokio::io::AsyncWriteExt;
            io.write_all(noise.as_bytes()).await.unwrap();
        }));
        assert!(matches!(book.borrow().fate(0), Fate::Failed(_)), "{noise}");
    }
}

#[test]
fn the_race_with_an_idle_connections_close_is_free() {
    for speak in [false, true] {
        let book = Book::new(1);
        book.borrow_mut().open = true;
        let adder = Rc::clone(&book);
        block_on(talk(&book, async move |io| {
            let mut peer = Peer::accept(io, None).await;
            take(&mut peer, 1).await;
            answer(&mut peer, 0).await;
            while adder.borrow().wakers.is_empty() {
                tokio::task::yield_now().await;
            }
            adder.borrow_mut().add(3);
            assert_eq!(peer.request().await, 3);
            if speak {
                peer.send(HEADERS, END_HEADERS, 3, OK).await;
            }
        }));
        let book = book.borrow();
        let (begun, waiting) = match speak {
            true => (Fate::Failed(FailureClass::Truncated), RESET),
            false => (Fate::Unanswered, Fate::Unanswered),
        };
        assert_eq!((book.fate(1), book.fate(2)), (&begun, &waiting));
    }
}

#[test]
fn an_idle_connection_that_the_server_closes_ends() {
    for go_away in [false, true] {
        let book = Book::new(1);
        book.borrow_mut().open = true;
        let ended = block_on(talk(&book, async move |io| {
            let mut peer = Peer::accept(io, None).await;
            take(&mut peer, 1).await;
            answer(&mut peer, 0).await;
            if go_away {
                peer.go_away(1, NO_ERROR).await;
                peer.end().await;
            }
        }));
        assert_eq!((ended, book.borrow().fate(0)), (Ended::Closed, &stored(0)));
    }
}

#[test]
fn an_idle_connection_serves_what_comes_later_and_ends_with_the_work() {
    let book = Book::new(1);
    book.borrow_mut().open = true;
    let adder = Rc::clone(&book);
    let ended = block_on(talk(&book, async move |io| {
        let mut peer = Peer::accept(io, None).await;
        for round in 0..3 {
            let stream = peer.request().await;
            peer.answer(stream, &[round]).await;
            while adder.borrow().wakers.is_empty() {
                tokio::task::yield_now().await;
            }
            match round {
                2 => adder.borrow_mut().close(),
                _ => adder.borrow_mut().add(1),
            }
        }
        peer.end().await;
    }));
    assert_eq!(ended, Ended::Finished);
    book.borrow().check_stored(|number| vec![number as u8]);
}

#[test]
fn a_limit_that_falls_is_kept() {
    let book = Book::new(60);
    block_on(talk(&book, async |io| {
        let mut peer = Peer::accept(io, Some(10)).await;
        let mut under_way = Vec::new();
        for _ in 0..10 {
            under_way.push(peer.request().await);
        }
        peer.allow(Some(2)).await;
        let mut answered = 0;
        // Nine answers make no room; with each one after them there is room for one.
        for stream in under_way.drain(..8) {
            peer.answer(stream, b"x").await;
            answered += 1;
        }
        while answered < 60 {
            peer.answer(under_way.remove(0), b"x").await;
            answered += 1;
            if answered < 59 {
                under_way.push(peer.request().await);
            }
            assert!(under_way.len() <= 2);
        }
        peer.end().await;
    }));
    book.borrow().check_stored(|_| b"x".to_vec());
}
