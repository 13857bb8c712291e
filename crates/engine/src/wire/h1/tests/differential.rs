//! The same bytes through hyper's client: where the two differ, a reason has a name.

use super::drive::{self, Item};
use super::grammar::{self, Choices};
use super::{Malformed, cases, config};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
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

/// A difference that is meant: its name, the reason, an input that shows it, and whether it
/// explains why one of the two refuses `input`.
struct Difference {
    name: &'static str,
    #[expect(dead_code, reason = "for those who read the table")]
    reason: &'static str,
    example: fn() -> String,
    /// Gets the fault that windrow finds and the status that hyper gives.
    explains: fn(&Input<'_>, Malformed, u16) -> bool,
}

/// Simple facts about an input, found without either decoder.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn holds(&self, text: &str) -> bool {
        let mut windows = self.0.windows(text.len());
        windows.any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
    }

    /// The longest run of bytes that are of one kind.
    fn run(&self, kind: impl Fn(u8) -> bool) -> usize {
        self.0.split(|&byte| !kind(byte)).map(<[u8]>::len).max().unwrap_or(0)
    }

    /// A line end without CR behind what may be the last chunk of a chunked body.
    fn line_feed_in_trailers(&self) -> bool {
        let behind = |from: usize, ends: &[&[u8]]| {
            let found = ends.iter().filter_map(|end| memchr::memmem::find(&self.0[from..], end));
            found.min().map(|at| from + at + 1)
        };
        let mut lines = self.0.windows(19);
        let coding = lines.position(|line| line.eq_ignore_ascii_case(b"\ntransfer-encoding:"));
        let body = coding.and_then(|at| behind(at, &[b"\n\r\n", b"\n\n"]));
        let last = body.and_then(|at| behind(at, &[b"0\r\n", b"0;", b"0 ", b"0\t"]));
        let trailers = last.and_then(|at| behind(at, &[b"\n"]));
        let trailers = trailers.map_or(&[][..], |at| &self.0[at - 1..]);
        trailers.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n')
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What windrow refuses and hyper does not.
const STRICTER: [Difference; 11] = [
    Difference {
        name: "coding",
        reason: "a coding that was not asked for: hyper reads any but `chunked` until the close, \
                 and hands out `gzip, chunked` as it is",
        example: || CHUNKED.replace("chunked", "gzip, chunked") + "0\r\n\r\n",
        explains: |input, ours, _| {
            ours == Malformed::TransferEncoding && input.holds("\ntransfer-encoding:")
        },
    },
    Difference {
        name: "length and coding",
        reason: "RFC 9112 section 6.3: may be smuggling, ought to be handled as an error",
        example: || CHUNKED.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n") + "0\r\n\r\n",
        explains: |input, ours, _| {
            ours == Malformed::LengthAndEncoding
                && input.holds("\ntransfer-encoding:")
                && input.holds("\ncontent-length:")
        },
    },
    Difference {
        name: "broken length that decides nothing",
        reason: "a server that sends one is not trusted, though 204, 304 and chunks need none",
        example: || "HTTP/1.1 204 x\r\nContent-Length: x\r\n\r\n".to_owned(),
        explains: |input, ours, status| {
            ours == Malformed::ContentLength
                && (matches!(status, 204 | 304) || input.holds("\ntransfer-encoding:"))
        },
    },
    Difference {
        name: "upgrade",
        reason: "nobody asked for one; hyper hands 101 to its caller",
        example: || "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
        explains: |_, ours, status| ours == Malformed::Upgrade && status == 101,
    },
    Difference {
        name: "empty line",
        reason: "between responses it is a byte that belongs to none; RFC 9112 section 2.2 lets \
                 servers alone forgive it",
        example: || "\r\nHTTP/1.1 204 x\r\n\r\n".to_owned(),
        explains: |input, ours, _| {
            let ends = ["\n\r\n\r", "\n\r\n\n", "\n\n\r", "\n\n\n"];
            let behind_interim = input.0.starts_with(b"HTTP/1.")
                && input.0.get(8..10) == Some(b" 1")
                && ends.iter().any(|end| input.holds(end));
            ours == Malformed::Head
                && (matches!(input.0.first(), Some(b'\r' | b'\n')) || behind_interim)
        },
    },
    Difference {
        name: "interim responses",
        reason: "hyper reads any number of them",
        example: || "HTTP/1.1 100 x\r\n\r\n".repeat(33) + "HTTP/1.1 204 x\r\n\r\n",
        explains: |_, ours, _| ours == Malformed::Interim,
    },
    Difference {
        name: "large head",
        reason: "64 KiB are enough; hyper takes some 400",
        example: || format!("HTTP/1.1 204 x\r\nX: {}\r\n\r\n", "x".repeat(65 << 10)),
        explains: |input, ours, _| ours == Malformed::HeadTooLarge && input.0.len() > 64 << 10,
    },
    Difference {
        name: "long chunk size",
        reason: "more than 16 digits are leading zeros, and nobody sends those in earnest",
        example: || format!("{CHUNKED}00000000000000001\r\na\r\n0\r\n\r\n"),
        explains: |input, ours, _| {
            ours == Malformed::Chunk && input.run(|byte| byte.is_ascii_hexdigit()) > 16
        },
    },
    Difference {
        name: "long chunk extension",
        reason: "a chunk-size line has a bound of its own, 4 KiB",
        example: || format!("{CHUNKED}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(5 << 10)),
        explains: |input, ours, _| {
            ours == Malformed::Chunk && input.run(|byte| byte != b'\n') > 4 << 10
        },
    },
    Difference {
        name: "control character in a chunk extension",
        reason: "the grammar has none; hyper reads over whatever stands there",
        example: || format!("{CHUNKED}1;\0\r\na\r\n0\r\n\r\n"),
        explains: |input, ours, _| {
            let control = |byte: u8| byte.is_ascii_control() && !b"\t\r\n".contains(&byte);
            ours == Malformed::Chunk && input.run(control) > 0
        },
    },
    Difference {
        name: "LF in trailers",
        reason: "in a chunked body only CRLF ends a line, in all of it",
        example: || format!("{CHUNKED}0\r\n\nA: b\r\n\r\n"),
        explains: |input, ours, _| ours == Malformed::Chunk && input.line_feed_in_trailers(),
    },
];

/// What hyper refuses and windrow does not. hyper is set up to take folded lines and as many lines
/// of a head as windrow; without that, both would stand here.
const LAXER: [Difference; 2] = [
    Difference {
        name: "many trailers",
        reason: "their bytes are bounded, 16 KiB, and they are thrown away",
        example: || format!("{CHUNKED}0\r\n{}\r\n", "A: b\r\n".repeat(HEAD_LINES + 1)),
        explains: |input, _, _| input.0.iter().filter(|&&byte| byte == b'\n').count() > HEAD_LINES,
    },
    Difference {
        name: "last byte of the trailers",
        reason: "hyper's bound of 16 KiB is the first size it refuses, windrow's the last it takes",
        example: || format!("{CHUNKED}0\r\nA:{}\r\n\r\n", "b".repeat((16 << 10) - 6)),
        explains: |input, _, _| input.0.len() >= 16 << 10,
    },
];

/// What comparing an input came to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    BothTake,
    BothRefuse,
    Stricter(&'static str),
    Laxer(&'static str),
}

/// Compares the two.
fn compare(input: &[u8], step: usize) -> Result<Verdict, String> {
    let (ours, theirs) = (ours(input, step), theirs(input, step));
    let facts = Input(input);
    let named = |table: &[Difference], fault, status| {
        table.iter().find(|known| (known.explains)(&facts, fault, status)).map(|known| known.name)
    };
    let verdict = match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => (ours == theirs).then_some(Verdict::BothTake),
        (Err(_), Err(_)) => Some(Verdict::BothRefuse),
        (Err(fault), Ok((status, _))) => named(&STRICTER, *fault, *status).map(Verdict::Stricter),
        (Ok((status, _)), Err(_)) => named(&LAXER, Malformed::Extra, *status).map(Verdict::Laxer),
    };
    let unnamed = || format!("windrow {ours:?}, hyper {theirs:?}: {}", input.escape_ascii());
    verdict.ok_or_else(unnamed)
}

#[test]
fn every_difference_has_an_example() {
    for known in &STRICTER {
        let verdict = compare((known.example)().as_bytes(), 1000);
        assert_eq!(verdict, Ok(Verdict::Stricter(known.name)));
    }
    for known in &LAXER {
        let verdict = compare((known.example)().as_bytes(), 1000);
        assert_eq!(verdict, Ok(Verdict::Laxer(known.name)));
    }
}

#[test]
fn the_exact_cases_differ_only_by_name() {
    for (name, input, ..) in cases::all() {
        for step in [1, 1000] {
            let verdict = compare(input.as_bytes(), step);
            assert!(verdict.is_ok(), "{name}: {verdict:?}");
        }
    }
}

#[test]
fn generated_responses_differ_only_by_name() {
    const CASES: u32 = 40_000;
    let taken = Cell::new(0);
    // A smaller seed is no simpler input.
    let config = Config { max_shrink_iters: 0, ..config(CASES) };
    let result = TestRunner::new(config).run(&any::<u64>(), |seed| {
        let bytes = expand(seed);
        let mut choices = Choices(&bytes);
        let step = choices.pick(&[1000, 1000, 1000, 7, 50]);
        let mut input = grammar::response(&mut choices, "<mark>").bytes;
        grammar::damage(&mut choices, &mut input);
        let verdict = compare(&input, step).map_err(TestCaseError::fail)?;
        taken.set(taken.get() + u32::from(verdict == Verdict::BothTake));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Else the damage is so great that nothing is compared.
    assert!(taken.get() > CASES / 4, "{} of {CASES} accepted", taken.get());
}
