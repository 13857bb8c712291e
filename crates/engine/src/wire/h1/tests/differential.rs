//! The same bytes through hyper's client: where the two differ, a reason has a name.

use super::drive::{self, Item};
use super::grammar::{self, Choices};
use super::{Malformed, cases, config};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use proptest::prelude::*;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use windrow_model::limits::HEAD_LINES;

/// What one response came to: status and body, or why not.
type Answer<E> = Result<(u16, Vec<u8>), E>;

/// A connection in memory: answers the first request, some bytes at a time, and closes.
struct Wire<'a> {
    input: &'a [u8],
    step: usize,
    asked: bool,
}

impl Read for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        let len = self.step.min(self.input.len()).min(buf.remaining());
        let (now, later) = self.input.split_at(len);
        buf.put_slice(now);
        self.input = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The answer as hyper reads it, set up to be as lenient as windrow where it can be.
fn theirs(input: &[u8], step: usize) -> Answer<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let wire = Wire { input, step, asked: false };
    let mut builder = http1::Builder::new();
    builder.allow_obsolete_multiline_headers_in_responses(true).max_headers(HEAD_LINES);
    let handshake = pin!(builder.handshake::<_, Empty<&[u8]>>(wire));
    let Poll::Ready(connected) = handshake.poll(&mut cx) else { panic!("hyper waits") };
    let (mut sender, connection) = connected.unwrap();
    let mut exchange = pin!(async move {
        let request = hyper::Request::get("/").header("Host", "h").body(Empty::new()).unwrap();
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut incoming = response.into_body();
        while let Some(frame) = incoming.frame().await {
            if let Ok(data) = frame?.into_data() {
                body.extend_from_slice(&data);
            }
        }
        Ok((status, body))
    });
    let mut connection = pin!(connection);
    let mut open = true;
    // Every round moves at least one byte.
    for _ in 0..input.len() + 100 {
        if let Poll::Ready(answer) = exchange.as_mut().poll(&mut cx) {
            return answer.map_err(|error: hyper::Error| format!("{error:?}"));
        }
        open = open && connection.as_mut().poll(&mut cx).is_pending();
    }
    panic!("hyper never ends: {}", input.escape_ascii());
}

/// The first answer as windrow reads it.
fn ours(input: &[u8], step: usize) -> Answer<Malformed> {
    let decoded = drive::decode(input.chunks(step), true);
    if decoded.items.contains(&Item::End) {
        return Ok(decoded.responses().swap_remove(0));
    }
    Err(decoded.end.err().unwrap_or(Malformed::Truncated))
}

/// Bytes out of a seed, for choices.
fn expand(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)).to_le_bytes()
    };
    std::iter::repeat_with(next).take(24).flatten().collect()
}

#[test]
fn explore() {
    let mut counts = std::collections::BTreeMap::<String, (usize, String)>::new();
    let start = std::time::Instant::now();
    for seed in 0..20000 {
        let bytes = expand(seed);
        let mut choices = Choices(&bytes);
        let step = choices.pick(&[1000, 1000, 1000, 7, 50]);
        let mut input = grammar::response(&mut choices, "<0>").bytes;
        grammar::damage(&mut choices, &mut input);
        let (a, b) = (ours(&input, step), theirs(&input, step));
        let key = match (&a, &b) {
            (Ok(a), Ok(b)) if a == b => "same".to_owned(),
            (Err(a), Err(_)) => "both err".to_owned(),
            (Err(a), Ok((s, _))) => {
                format!("strict {a:?} {}", if *s == 204 || *s == 304 { "empty" } else { "" })
            }
            (Ok(_), Err(b)) => format!("LAX {b}"),
            _ => "OTHER".to_owned(),
        };
        let e = counts.entry(key).or_default();
        e.0 += 1;
        if e.1.is_empty() {
            e.1 = input.escape_ascii().to_string();
        }
    }
    for case in cases::all() {
        let input = case.1.as_bytes();
        let (a, b) = (ours(&input, 100), theirs(&input, 100));
        if a.as_ref().ok() != b.as_ref().ok() {
            println!("{} {a:?} {b:?}", case.0);
        }
    }
    println!("{counts:#?} {:?}", start.elapsed());
}
