//! Bytes to request, without a socket.
//!
//! The grammar of the head is `httparse`'s; what it means for the connection (how long it lasts,
//! whether a body follows) is decided here, strictly: two readings of one head are an attack.

use std::mem::MaybeUninit;

use httparse::{Header, Status as Progress};

use crate::coding::Accepts;
use crate::respond::{Refusal, Status};

/// Bytes of one request head, at most.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// Header lines of one request, at most.
const HEAD_LINES: usize = 128;

/// Longest request target that the fast path looks at, and longest tail that it remembers.
const FAST_BYTES: usize = 1 << 10;

/// What the request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    /// As `Get`, answered without the body.
    Head,
    /// Anything else; the server offers nothing for it.
    Other,
}

/// What becomes of the connection after the answer, and what the answer says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// HTTP/1.1: stays open, which needs no word.
    Stays,
    /// HTTP/1.0 that asked to keep it open: the answer confirms it.
    KeptAlive,
    /// Closes after this answer.
    Closes,
}

/// One complete request without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// As sent: neither decoded nor split.
    pub(crate) target: &'a [u8],
    pub(crate) connection: Connection,
    /// The codings in which the client takes a body.
    pub(crate) accepts: Accepts,
}

/// What the bytes at hand amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A head that has not ended yet, so far without a fault.
    Unfinished,
    /// A request and how many bytes it took.
    Request(Request<'a>, usize),
    /// Not a request this server reads on from: answer, then close.
    Refused(Refusal),
}

/// The tail of an earlier head on the same connection: from the space after the target to the
/// empty line, known to mean "HTTP/1.1, stays open, no body".
///
/// A client sends the same headers with every request, so after the first one the fast path is
/// one search for a space and one comparison. Equal bytes mean the same, hence it cannot answer
/// otherwise than the full parser; a property test holds it to that.
#[derive(Debug, Default)]
pub(crate) struct Memo(Box<[u8]>, Accepts);

/// Reads one request from the start of `input`.
pub(crate) fn parse<'a>(input: &'a [u8], memo: &mut Memo) -> Parsed<'a> {
    if let Some((target, used)) = recall(input, memo) {
        let (method, connection, accepts) = (Method::Get, Connection::Stays, memo.1);
        return Parsed::Request(Request { method, target, connection, accepts }, used);
    }
    parse_fully(input, memo)
}

#[inline]
fn recall<'a>(input: &'a [u8], memo: &Memo) -> Option<(&'a [u8], usize)> {
    let rest = input.strip_prefix(b"GET ")?;
    let space = memchr::memchr(b' ', &rest[..rest.len().min(FAST_BYTES)])?;
    let (target, tail) = rest.split_at(space);
    let plain = target.iter().fold(true, |plain, byte| plain & byte.is_ascii_graphic());
    (!memo.0.is_empty() && plain && !target.is_empty() && tail.starts_with(&memo.0))
        .then(|| (target, b"GET ".len() + space + memo.0.len()))
}

fn parse_fully<'a>(input: &'a [u8], memo: &mut Memo) -> Parsed<'a> {
    let mut lines = [const { MaybeUninit::<Header<'a>>::uninit() }; HEAD_LINES];
    let mut head = httparse::Request::new(&mut []);
    // Looking no further than the bound makes the answer independent of how the bytes arrived.
    let window = &input[..input.len().min(HEAD_BYTES)];
    let used = match head.parse_with_uninit_headers(window, &mut lines) {
        Ok(Progress::Complete(used)) => used,
        Ok(Progress::Partial) if window.len() < HEAD_BYTES => return Parsed::Unfinished,
        Ok(Progress::Partial) => {
            return refused(Status::HeadTooLarge, "the request head is longer than 64 KiB");
        }
        Err(httparse::Error::TooManyHeaders) => {
            return refused(Status::HeadTooLarge, "the request has more than 128 header lines");
        }
        Err(httparse::Error::Version) => {
            return refused(Status::BadRequest, "this server speaks HTTP/1.1 and HTTP/1.0");
        }
        Err(_) => return refused(Status::BadRequest, "this is not an HTTP request"),
    };
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let modern = head.version == Some(1);
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => Method::Other,
    };
    let (connection, accepts) = match judge(head.headers, modern, method) {
        Ok(found) => found,
        Err(refusal) => return Parsed::Refused(refusal),
    };
    let target = target.as_bytes();
    if method == Method::Get && connection == Connection::Stays {
        let tail = &input[b"GET ".len() + target.len()..used];
        if tail.len() <= FAST_BYTES && *memo.0 != *tail {
            *memo = Memo(tail.into(), accepts);
        }
    }
    Parsed::Request(Request { method, target, connection, accepts }, used)
}

fn refused(status: Status, text: &'static str) -> Parsed<'static> {
    Parsed::Refused(Refusal::new(status, text))
}

/// What the header lines say about host, body, connection and codings.
fn judge(
    lines: &[Header<'_>],
    modern: bool,
    method: Method,
) -> Result<(Connection, Accepts), Refusal> {
    let bad = |text| Err(Refusal::new(Status::BadRequest, text));
    let (mut hosts, mut length, mut coded) = (0, None, false);
    let (mut close, mut keep_alive) = (false, false);
    let mut accepts = Accepts::default();
    for line in lines {
        let is = |name: &str| line.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("content-length") {
            let Some(value) = decimal(line.value) else {
                return bad("the content length is not a number");
            };
            if length.is_some_and(|earlier| earlier != value) {
                return bad("the request states two content lengths");
            }
            length = Some(value);
        } else if is("transfer-encoding") {
            coded = true;
        } else if is("accept-encoding") {
            accepts.add(line.value);
        } else if is("connection") {
            for token in line.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                close |= token.eq_ignore_ascii_case(b"close");
                keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    // RFC 9112 sections 3.2 and 6.3.
    if hosts > 1 || hosts == 0 && modern {
        return bad("an HTTP/1.1 request names its host once");
    }
    if coded && (length.is_some() || !modern) {
        return bad("the request contradicts itself on where its body ends");
    }
    if coded || length.is_some_and(|length| length > 0) {
        return Err(match method {
            Method::Other => Refusal::method(),
            _ if coded => Refusal::new(Status::LengthRequired, "a request has no body here"),
            _ => Refusal::new(Status::BadRequest, "a request has no body here"),
        });
    }
    let connection = match (modern, close, keep_alive) {
        (true, false, _) => Connection::Stays,
        (false, false, true) => Connection::KeptAlive,
        _ => Connection::Closes,
    };
    Ok((connection, accepts))
}

/// A non-negative decimal number without sign or blank; saturates.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = text.iter().fold(0_u64, |value, digit| {
        value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh(input: &[u8]) -> Parsed<'_> {
        parse(input, &mut Memo::default())
    }

    fn status(input: &str) -> Option<Status> {
        match fresh(input.as_bytes()) {
            Parsed::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    fn connection(head: &str) -> Connection {
        match fresh(head.as_bytes()) {
            Parsed::Request(request, used) => {
                assert_eq!(used, head.len());
                request.connection
            }
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn the_connection_lasts_as_the_version_and_the_header_say() {
        use Connection::{Closes, KeptAlive, Stays};
        for (version, more, expected) in [
            ("1.1", "", Stays),
            ("1.1", "Connection: keep-alive\r\n", Stays),
            ("1.1", "connection: CLOSE\r\n", Closes),
            ("1.1", "Connection: keep-alive, close\r\n", Closes),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", Closes),
            ("1.1", "Connection: closed\r\n", Stays),
            ("1.1", "Content-Length: 0\r\n", Stays),
            ("1.0", "", Closes),
            ("1.0", "Connection: Keep-Alive\r\n", KeptAlive),
            ("1.0", "Connection: keep-alive, close\r\n", Closes),
        ] {
            let head = format!("GET /list HTTP/{version}\r\nHost: h\r\n{more}\r\n");
            assert_eq!(connection(&head), expected, "{head:?}");
        }
        assert_eq!(connection("GET /list HTTP/1.0\r\n\r\n"), Closes, "1.0 knows no Host");
    }

    #[test]
    fn a_request_with_a_body_or_doubtful_framing_is_refused() {
        for (method, more, expected) in [
            ("GET", "Content-Length: 5\r\n", Status::BadRequest),
            ("GET", "Content-Length: -0\r\n", Status::BadRequest),
            ("GET", "Content-Length: +0\r\n", Status::BadRequest),
            ("GET", "Content-Length:\r\n", Status::BadRequest),
            ("GET", "Content-Length: 0, 0\r\n", Status::BadRequest),
            ("GET", "Content-Length: 99999999999999999999999\r\n", Status::BadRequest),
            ("GET", "Content-Length: 0\r\nContent-Length: 1\r\n", Status::BadRequest),
            ("POST", "Content-Length: 0\r\nContent-Length: 1\r\n", Status::BadRequest),
            ("GET", "Transfer-Encoding: chunked\r\n", Status::LengthRequired),
            ("GET", "Transfer-Encoding: x\r\nContent-Length: 0\r\n", Status::BadRequest),
            ("POST", "Content-Length: 5\r\n", Status::MethodNotAllowed),
            ("POST", "Transfer-Encoding: chunked\r\n", Status::MethodNotAllowed),
            ("GET", "Host: other\r\n", Status::BadRequest),
            ("GET", " folded: x\r\n", Status::BadRequest),
            ("GET", "space : x\r\n", Status::BadRequest),
            ("GET", "no colon\r\n", Status::BadRequest),
        ] {
            let head = format!("{method} /list HTTP/1.1\r\nHost: h\r\n{more}\r\n");
            assert_eq!(status(&head), Some(expected), "{head:?}");
        }
        for head in [
            "GET /list HTTP/1.1\r\n\r\n",
            "GET /list HTTP/2.0\r\n\r\n",
            "GET /list\r\n\r\n",
            "GET  /list HTTP/1.1\r\n",
            "\u{16}\u{3}\u{1}",
            "GET /li\0st HTTP/1.1\r\n",
            "GET /list HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(status(head), Some(Status::BadRequest), "{head:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(HEAD_BYTES));
        assert_eq!(fresh(&long.as_bytes()[..HEAD_BYTES - 1]), Parsed::Unfinished);
        assert_eq!(status(&long[..HEAD_BYTES]), Some(Status::HeadTooLarge));
        assert_eq!(status(&long), Some(Status::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEAD_LINES + 1));
        assert_eq!(status(&many), Some(Status::HeadTooLarge));
    }

    /// Heads that a client might send, and what damage makes of them.
    fn heads() -> impl Strategy<Value = Vec<u8>> {
        let method = prop::sample::select(vec!["GET", "GET", "GET", "HEAD", "POST", "get", ""]);
        let target = "(/|/get/|/list|/get/é|/a b|[!-~]{0,9})";
        let version = prop::sample::select(vec![" HTTP/1.1", " HTTP/1.1", " HTTP/1.0", " HTTP/3"]);
        let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]);
        let line = prop::sample::select(vec![
            "Host: h",
            "Host: h",
            "host:x",
            "Connection: close",
            "Connection: keep-alive",
            "Accept-Encoding: gzip, br",
            "Content-Length: 0",
            "Content-Length: 7",
            "Transfer-Encoding: chunked",
            "A: b",
            "",
        ]);
        (method, target, version, prop::collection::vec(line, 0..4), end).prop_map(
            |(method, target, version, lines, end)| {
                let mut head = format!("{method} {target}{version}{end}");
                for line in lines {
                    head.push_str(line);
                    head.push_str(end);
                }
                head.push_str(end);
                head.into_bytes()
            },
        )
    }

    proptest! {
        #[test]
        fn the_fast_path_reads_as_the_full_parser_does(
            first in heads(), mut second in heads(), own_headers in any::<bool>(),
            damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
        ) {
            if own_headers {
                // The usual case: another target, the same headers.
                let tail = first.iter().skip(4).position(|&byte| byte == b' ');
                let tail = tail.map_or(&b""[..], |at| &first[4 + at..]);
                second = [b"GET /get/other", tail].concat();
            }
            if let Some((at, byte)) = damage {
                let at = at.index(second.len());
                second[at] = byte;
            }
            let mut memo = Memo::default();
            let _ = parse(&first, &mut memo);
            prop_assert_eq!(parse(&second, &mut memo), fresh(&second));
        }

        #[test]
        fn a_longer_input_never_takes_a_verdict_back(head in heads(), cut in any::<prop::sample::Index>()) {
            let part = &head[..cut.index(head.len() + 1)];
            match fresh(part) {
                Parsed::Unfinished => {}
                verdict => prop_assert_eq!(verdict, fresh(&head)),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = fresh(&input);
        }
    }
}
