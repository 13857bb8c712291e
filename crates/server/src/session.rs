//! One connection without its socket: bytes in, bytes out.
//!
//! However the input is split, the output is the same. What the socket loop adds is when to read
//! and when to write.

use crate::request::{Connection, HEAD_BYTES, Memo, Method, Parsed, parse};
use crate::respond::{After, Body, Piece, Site, answer};
use std::time::Duration;

/// What is known about one connection between two reads.
#[derive(Debug, Default)]
pub(crate) struct Session {
    memo: Memo,
    /// Input that is not answered yet: an unfinished head, or requests that wait until answers
    /// before them have left.
    rest: Vec<u8>,
    /// Whether `rest` may hold complete requests.
    stalled: bool,
    /// The unsent part of the current answer; its pieces come before any other answer.
    body: Option<Body>,
    /// No request is answered any more.
    closing: bool,
    ending: Ending,
    /// The answer goes on only after such a silence.
    pause: Option<Duration>,
    requests: u64,
}

/// How the connection ends once it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ending {
    /// The peer can tell that it has every answer.
    #[default]
    Orderly,
    /// The last answer could not be completed, and the peer must not take it for complete.
    Broken,
    /// By a reset.
    Reset,
}

impl Session {
    /// Takes input and appends answers until `out` holds `limit` bytes or a long body begins.
    ///
    /// Call it only when [`wants_input`](Self::wants_input).
    pub(crate) fn feed(&mut self, site: &Site, input: &[u8], out: &mut Vec<u8>, limit: usize) {
        debug_assert!(self.wants_input());
        if self.rest.is_empty() {
            let used = self.answer_all(site, input, out, limit);
            self.rest.extend_from_slice(&input[used..]);
            return;
        }
        self.rest.extend_from_slice(input);
        // A head ends with a line feed, so without one there is nothing to find: a peer that
        // sends byte by byte does not have its head parsed again for each of them.
        if self.rest.len() >= HEAD_BYTES || memchr::memchr(b'\n', input).is_some() {
            self.answer_rest(site, out, limit);
        }
    }

    /// Goes on where the limit or a long body stopped it. Pieces of a body are appended one at a
    /// time, so call it again when they are sent, and not before the
    /// [pause](Self::take_pause) is over.
    pub(crate) fn resume(&mut self, site: &Site, out: &mut Vec<u8>, limit: usize) {
        if let Some(body) = &mut self.body {
            match body.piece_into(out) {
                Ok(Piece::More) => return,
                Ok(Piece::Pause(pause)) => {
                    self.pause = Some(pause);
                    return;
                }
                Ok(Piece::Last(After::Stays)) => self.body = None,
                Ok(Piece::Last(After::Closes)) => return self.finish(Ending::Orderly),
                Ok(Piece::Last(After::Resets)) => return self.finish(Ending::Reset),
                Err(_) => return self.finish(Ending::Broken),
            }
        }
        if self.stalled {
            self.answer_rest(site, out, limit);
        }
    }

    fn finish(&mut self, ending: Ending) {
        self.body = None;
        self.rest = Vec::new();
        self.closing = true;
        self.ending = ending;
    }

    /// The peer sends nothing more.
    pub(crate) fn end(&mut self, site: &Site, out: &mut Vec<u8>) {
        // What is wrong with a last line that never ended has not been looked at yet.
        self.answer_rest(site, out, usize::MAX);
        self.closing = true;
    }

    fn answer_rest(&mut self, site: &Site, out: &mut Vec<u8>, limit: usize) {
        let mut rest = std::mem::take(&mut self.rest);
        let used = self.answer_all(site, &rest, out, limit);
        if used < rest.len() {
            rest.drain(..used);
            self.rest = rest;
        }
    }

    /// Answers the requests in `input`; how many bytes of it are done with.
    fn answer_all(&mut self, site: &Site, input: &[u8], out: &mut Vec<u8>, limit: usize) -> usize {
        let mut at = 0;
        loop {
            // RFC 9112 section 2.2: empty lines before a request are passed over.
            loop {
                match input[at..] {
                    [b'\r', b'\n', ..] => at += 2,
                    [b'\n', ..] => at += 1,
                    _ => break,
                }
            }
            if self.closing {
                return input.len();
            }
            self.stalled = self.body.is_some() || out.len() >= limit;
            if self.stalled || at == input.len() {
                return at;
            }
            match parse(&input[at..], &mut self.memo) {
                Parsed::Unfinished => return at,
                Parsed::Request(request, used) => {
                    at += used;
                    self.requests += 1;
                    // There is none yet; storing none would only look for what to drop.
                    if let Some(body) = answer(site, &request, out) {
                        self.body = Some(body);
                    }
                    self.closing = request.connection == Connection::Closes;
                }
                Parsed::Refused(refusal) => {
                    self.requests += 1;
                    refusal.into_answer(Method::Get, Connection::Closes, out);
                    self.closing = true;
                }
            }
        }
    }

    /// Whether further input can be taken now.
    pub(crate) fn wants_input(&self) -> bool {
        !self.closing && !self.has_more()
    }

    /// Whether [`resume`](Self::resume) has something to append.
    pub(crate) fn has_more(&self) -> bool {
        self.body.is_some() || self.stalled && !self.closing
    }

    /// Whether a body is being sent piece by piece.
    pub(crate) fn in_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether the connection ends once the output is sent.
    pub(crate) fn is_over(&self) -> bool {
        self.closing && self.body.is_none()
    }

    /// How it ends then.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// Takes the silence that has to pass before it goes on.
    pub(crate) fn take_pause(&mut self) -> Option<Duration> {
        self.pause.take()
    }

    /// Takes the number of requests since the last call.
    pub(crate) fn take_requests(&mut self) -> u64 {
        std::mem::take(&mut self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::PIECE_BYTES;
    use crate::synthetic::Synthetic;
    use proptest::prelude::*;
    use windrow_model::Corpus;

    fn site(size: u64) -> Site {
        Site::Synthetic(Synthetic::new(Corpus { count: 3, size, seed: 1 }, 2))
    }

    /// Plays the socket loop: feeds the parts, takes the output after each call.
    fn run(site: &Site, parts: &[&[u8]], limit: usize) -> Vec<u8> {
        let mut session = Session::default();
        let mut sent = Vec::new();
        let mut out = Vec::new();
        let mut settle = |session: &mut Session, out: &mut Vec<u8>| {
            loop {
                assert!(out.len() < limit.saturating_add(PIECE_BYTES + 1024), "output is bounded");
                sent.append(out);
                if !session.has_more() {
                    return;
                }
                session.resume(site, out, limit);
            }
        };
        for part in parts {
            if session.wants_input() {
                session.feed(site, part, &mut out, limit);
                settle(&mut session, &mut out);
            }
        }
        if session.wants_input() {
            session.end(site, &mut out);
            settle(&mut session, &mut out);
        }
        assert!(session.is_over() && session.ending() == Ending::Orderly);
        sent
    }

    fn split<'a>(mut input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut parts = Vec::new();
        for &cut in cuts.iter().cycle() {
            if input.is_empty() {
                break;
            }
            let (part, rest) = input.split_at(cut.min(input.len()));
            parts.push(part);
            input = rest;
        }
        parts
    }

    fn name(ordinal: u64) -> String {
        let mut name = Vec::new();
        Corpus { count: 3, size: 0, seed: 1 }.name_into(ordinal, &mut name);
        String::from_utf8(name).unwrap()
    }

    /// Input that is mostly a run of requests, some of them damaged.
    fn inputs() -> impl Strategy<Value = Vec<u8>> {
        let request = prop::sample::select(vec![
            "GET /list HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "GET /list?next-marker=2 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            format!("GET /get/{} HTTP/1.1\r\nHost: h\r\n\r\n", name(0)),
            format!("GET /get/{} HTTP/1.1\r\nHost: h\r\n\r\n", name(1)),
            format!("HEAD /get/{} HTTP/1.1\r\nhost: h\r\nA: b\r\n\r\n", name(2)),
            "GET /get/nothing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
            "\r\n\nPUT /list HTTP/1.1\nHost: h\n\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
            "GET /list HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(),
        ]);
        let damage = (any::<prop::sample::Index>(), any::<u8>());
        (prop::collection::vec(request, 0..8), prop::collection::vec(damage, 0..3), any::<bool>())
            .prop_map(|(requests, damages, harm)| {
                let mut input = requests.concat().into_bytes();
                if harm && !input.is_empty() {
                    for (at, byte) in damages {
                        let at = at.index(input.len());
                        input[at] = byte;
                    }
                }
                input
            })
    }

    proptest! {
        #[test]
        fn splitting_and_the_limit_never_change_the_output(
            input in inputs(), cuts in prop::collection::vec(1_usize..60, 1..6),
            limit in 1_usize..4000, size in prop::sample::select(vec![0, 3, 100, 300_000]),
        ) {
            let site = site(size);
            let whole = run(&site, &[&input], usize::MAX);
            prop_assert_eq!(&run(&site, &split(&input, &cuts), usize::MAX), &whole);
            prop_assert_eq!(&run(&site, &split(&input, &[1]), limit), &whole);
            prop_assert_eq!(&run(&site, &[&input], limit), &whole);
        }

        #[test]
        fn random_bytes_do_no_harm(
            input in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(1_usize..60, 1..6),
        ) {
            let site = site(100);
            prop_assert_eq!(run(&site, &split(&input, &cuts), 1), run(&site, &[&input], 1));
        }
    }

    #[test]
    fn an_endless_head_is_refused_and_not_kept() {
        let site = site(1);
        let mut session = Session::default();
        let mut out = Vec::new();
        session.feed(&site, b"GET /", &mut out, 1 << 20);
        let mut fed = 0;
        while session.wants_input() {
            session.feed(&site, &[b'a'; 1000], &mut out, 1 << 20);
            fed += 1000;
            assert!(session.rest.len() <= HEAD_BYTES + 1000 && fed < 100_000);
        }
        assert!(out.starts_with(b"HTTP/1.1 431 ") && session.rest.is_empty());
        // Empty lines cost nothing, however many.
        let mut session = Session::default();
        for _ in 0..100_000 {
            session.feed(&site, b"\r\n\n", &mut out, 1 << 20);
        }
        assert!(session.rest.is_empty() && session.wants_input());
    }

    #[test]
    fn a_file_that_shrinks_breaks_the_answer_off() {
        let file = tempfile::tempfile().unwrap();
        let mut session =
            Session { body: Some(Body::File { file, left: 5 }), ..Session::default() };
        session.resume(&site(1), &mut Vec::new(), 1);
        assert!(session.is_over() && session.ending() == Ending::Broken);
    }
}
