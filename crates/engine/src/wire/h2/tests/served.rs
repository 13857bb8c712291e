//! Against the library's server: objects arrive, and limits hold.

use super::*;
use ::h2::server::{self, SendResponse};
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::cell::Cell;
use std::future::poll_fn;

/// The body of a request.
fn body(number: usize) -> Vec<u8> {
    format!("object {number} ").repeat(8).into_bytes()
}

async fn send_body(respond: &mut SendResponse<Bytes>, response: Response<()>, body: Vec<u8>) {
    let Ok(mut stream) = respond.send_response(response, body.is_empty()) else { return };
    let mut body = Bytes::from(body);
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(Ok(len)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let piece = body.split_to(len.min(body.len()));
        if stream.send_data(piece, body.is_empty()).is_err() {
            return;
        }
    }
}

/// A server that answers each request of a connection by `answer`, beside each other.
fn serve<F, G>(streams: u32, answer: F) -> DuplexStream
where
    F: Fn(usize, SendResponse<Bytes>) -> G + 'static,
    G: Future<Output = ()> + 'static,
{
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::task::spawn_local(async move {
        let mut builder = server::Builder::new();
        builder.max_concurrent_streams(streams);
        let Ok(mut connection) = builder.handshake(far).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            assert_eq!(request.uri().authority().unwrap(), "h.example");
            assert_eq!(request.uri().scheme_str(), Some("http"));
            assert_eq!(request.headers().len(), 1, "{:?}", request.headers());
            let number = request.uri().path()[1..].parse().unwrap();
            tokio::task::spawn_local(answer(number, respond));
        }
    });
    near
}

fn ok(len: usize) -> Response<()> {
    Response::builder().header("content-length", len).header("etag", "\"e\"").body(()).unwrap()
}

#[test]
fn ten_thousand_objects_arrive_within_the_servers_limit() {
    for (streams, objects) in [(1, 1_000), (3, 2_000), (100, 10_000), (1000, 10_000)] {
        let under_way = Rc::new(Cell::new((0, 0)));
        let book = Book::new(objects);
        let seen = Rc::clone(&under_way);
        let connections = block_on(serve_all(
            &book,
            |_| {
                let seen = Rc::clone(&seen);
                serve(streams, move |number, mut respond| {
                    let (now, most) = seen.get();
                    seen.set((now + 1, most.max(now + 1)));
                    let seen = Rc::clone(&seen);
                    async move {
                        tokio::task::yield_now().await;
                        let body = body(number);
                        seen.set((seen.get().0 - 1, seen.get().1));
                        send_body(&mut respond, ok(body.len()), body).await;
                    }
                })
            },
            options(),
        ));
        let book = book.borrow();
        book.check_stored(body);
        assert!(book.fates.iter().all(|fates| matches!(fates[..], [Fate::Whole(..)])));
        assert_eq!((connections, book.most), (1, (streams as usize).min(100)));
        assert!(under_way.get().1 <= streams as usize);
        let head = "HTTP/1.1 200 \r\ncontent-length: 72\r\netag: \"e\"\r\n\r\n";
        assert_eq!(book.heads[0], head);
    }
}

#[test]
fn large_bodies_pass_the_windows() {
    let large = |number: usize| vec![number as u8; 5 << 20];
    let book = Book::new(6);
    block_on(serve_all(
        &book,
        |_| {
            serve(100, move |number, mut respond| async move {
                // One with a length, the next without.
                let response = if number % 2 == 0 { ok(5 << 20) } else { Response::new(()) };
                send_body(&mut respond, response, large(number)).await;
            })
        },
        options(),
    ));
    book.borrow().check_stored(large);
}

#[test]
fn windows_are_given_back_by_all_ways_out() {
    // Together many times what a connection may receive; none of the ways may leak its share.
    let book = Book::new(4000);
    book.borrow_mut().room = 20_000;
    book.borrow_mut().interest = |number, _| match number % 4 {
        0 => crate::wire::h1::Interest::Discard,
        _ => crate::wire::h1::Interest::Take,
    };
    let connections = block_on(serve_all(
        &book,
        |_| {
            serve(100, |number, mut respond| async move {
                let len = if number % 100 == 3 { 40_000 } else { 16_000 };
                send_body(&mut respond, Response::new(()), vec![b'x'; len]).await;
            })
        },
        options(),
    ));
    let book = book.borrow();
    assert_eq!((book.out, connections), (0, 1));
    let refused =
        book.fates.iter().filter(|fates| fates[..] == [Fate::Failed(FailureClass::TooLarge)]);
    assert_eq!(refused.count(), 40);
}

#[test]
fn trailers_and_interim_responses_are_passed_over() {
    let book = Book::new(20);
    block_on(serve_all(
        &book,
        |_| {
            serve(100, |number, mut respond| async move {
                for _ in 0..3 {
                    let interim = Response::builder().status(103).header("link", "x").body(());
                    respond.send_informational(interim.unwrap()).unwrap();
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(body(number).into(), false).unwrap();
                let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
                stream.send_trailers(trailers).unwrap();
            })
        },
        options(),
    ));
    book.borrow().check_stored(body);
    assert!(book.borrow().heads.iter().all(|head| head == "HTTP/1.1 200 \r\n\r\n"));
}

/// A server that goes away after so many requests, in one of the two ways that the library has.
fn leaving(after: usize, abrupt: Option<::h2::Reason>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::task::spawn_local(async move {
        let Ok(mut connection) = server::handshake(far).await else { return };
        let mut seen = 0;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            seen += 1;
            if seen == after {
                match abrupt {
                    Some(reason) => connection.abrupt_shutdown(reason),
                    None => connection.graceful_shutdown(),
                }
            }
            let number = request.uri().path()[1..].parse().unwrap();
            tokio::task::spawn_local(async move {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                send_body(&mut respond, ok(body(number).len()), body(number)).await;
            });
        }
    });
    near
}

#[test]
fn a_server_that_leaves_gracefully_costs_no_attempt() {
    for after in [2, 30, 77, 200] {
        let book = Book::new(1000);
        book.borrow_mut().again = true;
        let connections = block_on(serve_all(&book, |_| leaving(after, None), options()));
        let book = book.borrow();
        book.check_stored(body);
        assert!(connections > 1, "{after}");
        let failed = book.fates.iter().flatten().filter(|fate| matches!(fate, Fate::Failed(_)));
        assert_eq!(failed.count(), 0, "{after}");
    }
}

#[test]
fn a_server_that_leaves_abruptly_loses_nothing() {
    use ::h2::Reason;
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let book = Book::new(1000);
        book.borrow_mut().again = true;
        let connect = |connection| leaving(30 + connection * 10, Some(reason));
        block_on(serve_all(&book, connect, options()));
        book.borrow().check_stored(body);
        let throttled = Fate::Failed(FailureClass::Throttled);
        let calm = book.borrow().fates.iter().flatten().any(|fate| *fate == throttled);
        assert_eq!(calm, reason == Reason::ENHANCE_YOUR_CALM);
    }
}
