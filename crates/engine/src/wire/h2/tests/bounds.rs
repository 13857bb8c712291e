//! Servers that want memory or time without end.

use super::loss::{take, talk};
use super::peer::*;
use super::*;
use windrow_model::limits::{H2_RESETS, INTERIM_RESPONSES};

const PROTOCOL: Fate = Fate::Failed(FailureClass::Protocol);

/// A server that sends the same frame again and again until it cannot.
fn flood(frame: impl Fn(u32) -> (u8, u8, u32, Vec<u8>) + 'static) -> (Fate, u32) {
    let book = Book::new(1);
    let sent = Rc::new(std::cell::Cell::new(0));
    let count = Rc::clone(&sent);
    block_on(talk(&book, async move |io| {
        let mut peer = Peer::accept(io, None).await;
        take(&mut peer, 1).await;
        for number in 0..1_000_000 {
            let (kind, flags, stream, payload) = frame(number);
            if !peer.send(kind, flags, stream, &payload).await {
                return;
            }
            count.set(number);
        }
        panic!("a flood without end is borne");
    }));
    let fate = book.borrow().fate(0).clone();
    (fate, sent.get())
}

#[test]
fn interim_responses_have_an_end() {
    // `:status: 103`, as a literal behind the indexed name.
    let interim = [&[0x08, 3][..], b"103"].concat();
    let few = interim.clone();
    let book = Book::new(1);
    block_on(talk(&book, async move |io| {
        let mut peer = Peer::accept(io, None).await;
        take(&mut peer, 1).await;
        for _ in 0..INTERIM_RESPONSES {
            peer.send(HEADERS, END_HEADERS, 1, &few).await;
            tokio::task::yield_now().await;
        }
        peer.answer(1, b"x").await;
        peer.end().await;
    }));
    assert_eq!(book.borrow().fate(0), &Fate::Whole(200, b"x".to_vec()));

    // A stream that is cancelled ends the connection here, because there is no other work.
    let (fate, sent) = flood(move |_| (HEADERS, END_HEADERS, 1, interim.clone()));
    assert_eq!(fate, PROTOCOL);
    // Each turn reads 64 KiB at most.
    assert!(sent < 300_000, "{sent}");
}

#[test]
fn heads_have_an_end() {
    // 64 KiB in one block, from fields of 120 bytes.
    let (name, value) = ("x".repeat(20), "y".repeat(100));
    let block = [OK, &field(&name, &value).repeat(600)].concat();
    assert!(block.len() > 64 << 10);
    let (fate, _) = flood(move |number| match number {
        0 => (HEADERS, 0, 1, block[..16_000].to_vec()),
        1..4 => (CONTINUATION, 0, 1, block[number as usize * 16_000..][..16_000].to_vec()),
        4 => (CONTINUATION, END_HEADERS, 1, block[64_000..].to_vec()),
        _ => (PING, END, 0, vec![0; 8]),
    });
    assert_eq!(fate, PROTOCOL);
    // More lines than can be looked up.
    let block = [OK, &field("x", "").repeat(129)].concat();
    let (fate, _) = flood(move |number| match number {
        0 => (HEADERS, END_HEADERS, 1, block.clone()),
        _ => (PING, END, 0, vec![0; 8]),
    });
    assert_eq!(fate, PROTOCOL);
    // A block that never ends.
    let (fate, sent) = flood(|number| match number {
        0 => (HEADERS, 0, 1, OK.to_vec()),
        _ => (CONTINUATION, 0, 1, field("x", "y")),
    });
    assert!(matches!(fate, Fate::Failed(_)) && sent < 10_000, "{fate:?} {sent}");
}

#[test]
fn what_was_not_asked_for_ends_the_connection() {
    // Data without a byte, data in crumbs for a stream that is discarded or taken: taken bytes
    // are no flood. A push; a response for a stream that was never opened.
    let (fate, sent) = flood(|number| match number {
        0 => (HEADERS, END_HEADERS, 1, OK.to_vec()),
        _ => (DATA, 0, 1, vec![]),
    });
    assert!(matches!(fate, Fate::Failed(_)) && sent < 100_000, "{fate:?} {sent}");
    let push = [&2_u32.to_be_bytes()[..], &[0x82, 0x84, 0x86]].concat();
    let (fate, _) = flood(move |_| (5, END_HEADERS, 1, push.clone()));
    assert_eq!(fate, PROTOCOL);
    let (fate, _) = flood(|_| (HEADERS, END_HEADERS, 99, OK.to_vec()));
    assert_eq!(fate, PROTOCOL);
    // More than the window of a stream allows.
    let (fate, sent) = flood(|number| match number {
        0 => (HEADERS, END_HEADERS, 1, sized(1 << 30)),
        _ => (DATA, 0, 1, vec![0; 16_384 + 1]),
    });
    assert!(matches!(fate, Fate::Failed(_)) && sent < 1000, "{fate:?}");
}

#[test]
fn a_server_that_resets_everything_is_asked_no_more_than_once_each() {
    let book = Book::new(5000);
    block_on(talk(&book, async |io| {
        let mut peer = Peer::accept(io, Some(100)).await;
        while let Some(frame) = peer.frame().await {
            if frame.kind == HEADERS {
                peer.rst(frame.stream, CANCEL).await;
            }
        }
    }));
    let book = book.borrow();
    assert!(book.fates.iter().all(|fates| *fates == [Fate::Failed(FailureClass::Reset)]));
}

#[test]
fn a_connection_that_cancelled_much_is_replaced() {
    let book = Book::new(3 * H2_RESETS);
    book.borrow_mut().again = true;
    book.borrow_mut().interest = |_, _| crate::wire::h1::Interest::Discard;
    let connections = block_on(serve_all(
        &book,
        |_| {
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::task::spawn_local(async move {
                let mut peer = Peer::accept(far, Some(100)).await;
                while let Some(frame) = peer.frame().await {
                    if frame.kind == HEADERS {
                        peer.send(HEADERS, END_HEADERS, frame.stream, &sized(1 << 30)).await;
                        peer.send(DATA, 0, frame.stream, &[0; 1000]).await;
                    }
                }
            });
            near
        },
        options(),
    ));
    let book = book.borrow();
    assert!(book.fates.iter().all(|fates| *fates == [Fate::Parts(200, vec![])]));
    assert!((2..=3).contains(&connections), "{connections}");
}
