//! Framing: only whole bodies are passed on as such.

use super::loss::{take, talk};
use super::peer::*;
use super::*;
use crate::wire::h1::Interest;
use windrow_model::Failure;
use windrow_model::limits::DISCARD_BYTES;

const PROTOCOL: Fate = Fate::Failed(FailureClass::Protocol);

/// Plays frames (kind, flags, payload) as the answer to the only request.
fn answered(frames: &[(u8, u8, &[u8])]) -> Fate {
    let book = Book::new(2);
    let frames: Vec<_> = frames.iter().map(|(k, f, p)| (*k, *f, p.to_vec())).collect();
    block_on(talk(&book, async move |io| {
        let mut peer = Peer::accept(io, Some(2)).await;
        take(&mut peer, 2).await;
        for (kind, flags, payload) in frames {
            peer.send(kind, flags, 1, &payload).await;
        }
        peer.answer(3, b"z").await;
        peer.end().await;
    }));
    let book = book.borrow();
    // Whatever the first was: the connection goes on.
    assert_eq!(book.fate(1), &Fate::Whole(200, b"z".to_vec()));
    book.fate(0).clone()
}

#[test]
fn bodies_that_are_whole_are_stored() {
    let whole = |body: &[u8]| Fate::Whole(200, body.to_vec());
    let (three, none) = (sized(3), sized(0));
    for (frames, fate) in [
        (&[(HEADERS, END | END_HEADERS, OK)][..], whole(b"")),
        (&[(HEADERS, END | END_HEADERS, &none)], whole(b"")),
        (&[(HEADERS, END_HEADERS, &none), (DATA, END, b"")], whole(b"")),
        (&[(HEADERS, END_HEADERS, &three), (DATA, END, b"abc")], whole(b"abc")),
        (&[(HEADERS, END_HEADERS, &three), (DATA, 0, b"abc"), (DATA, END, b"")], whole(b"abc")),
        (&[(HEADERS, END_HEADERS, OK), (DATA, END, b"abc")], whole(b"abc")),
        // A body in several frames, the last of them trailers.
        (
            &[
                (HEADERS, END_HEADERS, &three),
                (DATA, 0, b"ab"),
                (DATA, 0, b""),
                (DATA, 0, b"c"),
                (HEADERS, END | END_HEADERS, &field("x", "y")),
            ],
            Fate::Parts(200, b"abc".to_vec()),
        ),
        // 204 and 304 (indexed) have no body, whatever the length.
        (&[(HEADERS, END | END_HEADERS, &[0x89])], Fate::Whole(204, vec![])),
        // Padding is no part of it: one byte says how much.
        (&[(HEADERS, END_HEADERS, &three), (DATA, END | 8, b"\x02abc\0\0")], whole(b"abc")),
    ] {
        assert_eq!(answered(frames), fate, "{frames:?}");
    }
}

#[test]
fn bodies_that_are_not_are_failed_attempts() {
    let three = sized(3);
    let two_lengths = [&sized(3)[..], &field("content-length", "4")].concat();
    let no_length = [OK, &field("content-length", "")].concat();
    let list = [OK, &field("content-length", "3, 3")].concat();
    let connection = [OK, &field("connection", "close")].concat();
    for frames in [
        // Short, long, none at all.
        &[(HEADERS, END_HEADERS, &three[..]), (DATA, END, b"ab")][..],
        &[(HEADERS, END_HEADERS, &three), (DATA, END, b"abcd")],
        &[(HEADERS, END_HEADERS, &three), (DATA, 0, b"ab"), (DATA, END, b"cd")],
        &[(HEADERS, END_HEADERS, &three), (DATA, 0, b"ab"), (DATA, END, b"")],
        &[(HEADERS, END | END_HEADERS, &three)],
        // Trailers in the place of the rest.
        &[
            (HEADERS, END_HEADERS, &three),
            (DATA, 0, b"ab"),
            (HEADERS, END | END_HEADERS, &field("x", "y")),
        ],
        &[(HEADERS, END_HEADERS, &two_lengths), (DATA, END, b"abc")],
        &[(HEADERS, END_HEADERS, &no_length), (DATA, END, b"")],
        &[(HEADERS, END_HEADERS, &list), (DATA, END, b"abc")],
        // 204 with a body.
        &[(HEADERS, END_HEADERS, &[0x89]), (DATA, END, b"abc")],
        // No status; a field that belongs to HTTP/1.1.
        &[(HEADERS, END_HEADERS, &field("x", "y")), (DATA, END, b"abc")],
        &[(HEADERS, END_HEADERS, &connection), (DATA, END, b"abc")],
    ] {
        assert_eq!(answered(frames), PROTOCOL, "{frames:?}");
    }
}

#[test]
fn what_nobody_wants_is_cancelled_and_the_connection_goes_on() {
    let most = usize::try_from(DISCARD_BYTES).unwrap();
    let book = Book::new(5);
    book.borrow_mut().room = 2;
    book.borrow_mut().interest = |number, _| match number {
        0 => Interest::Refuse(Failure::new(FailureClass::TooLarge, "refused")),
        1 | 2 => Interest::Discard,
        _ => Interest::Take,
    };
    let ended = block_on(talk(&book, async move |io| {
        let mut peer = Peer::accept(io, None).await;
        take(&mut peer, 5).await;
        peer.send(HEADERS, END_HEADERS, 1, OK).await;
        assert_eq!(peer.reset().await, (1, CANCEL));
        // What was on its way does no harm.
        peer.send(DATA, END, 1, b"x").await;
        // A length that is too long is known at once.
        peer.send(HEADERS, END_HEADERS, 3, &sized(most + 1)).await;
        assert_eq!(peer.reset().await, (3, CANCEL));
        peer.send(HEADERS, END_HEADERS, 5, OK).await;
        for _ in 0..most / 16_384 {
            peer.send(DATA, 0, 5, &[0; 16_384]).await;
        }
        peer.send(DATA, 0, 5, b"x").await;
        assert_eq!(peer.reset().await, (5, CANCEL));
        // The sink has no room.
        peer.send(HEADERS, END_HEADERS, 7, OK).await;
        peer.send(DATA, 0, 7, b"ab").await;
        peer.send(DATA, 0, 7, b"c").await;
        assert_eq!(peer.reset().await, (7, CANCEL));
        peer.answer(9, b"z").await;
        peer.end().await;
    }));
    assert_eq!(ended, Ended::Finished);
    let book = book.borrow();
    let too_large = Fate::Failed(FailureClass::TooLarge);
    let discarded = Fate::Parts(200, vec![]);
    assert_eq!((book.fate(0), book.fate(3)), (&too_large, &too_large));
    assert_eq!((book.fate(1), book.fate(2)), (&discarded, &discarded));
    assert_eq!(book.fate(4), &Fate::Whole(200, b"z".to_vec()));
}
