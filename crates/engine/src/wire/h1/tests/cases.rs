//! Exact cases: bytes in, responses and verdict out.

use super::chunks::CHUNKS;
use super::drive::{self, Decoded, Item};
use super::{Framing, Malformed};

/// Name, bytes of one connection, complete responses with status and body, how it ends.
pub(super) type Case = (&'static str, &'static str, &'static [(u16, &'static str)], Ending);
type Ending = Result<(), Malformed>;

use Malformed::{ContentLength, Extra, Head, Interim, Truncated, Upgrade};

const LENGTHS: &[Case] = &[
    ("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", &[(200, "hello")], Ok(())),
    ("no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[(200, "")], Ok(())),
    ("404", "HTTP/1.1 404 No\r\ncontent-LENGTH:3\r\n\r\nnot", &[(404, "not")], Ok(())),
    (
        "white space",
        "HTTP/1.1 200 \r\nContent-Length: \t 5 \t\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    (
        "zeros",
        "HTTP/1.1 200 \r\nContent-Length: 0000000000000000000000005\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    (
        "same twice",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    (
        "same, other digits",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 05\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    (
        "list of the same",
        "HTTP/1.1 200 \r\nContent-Length: 5, 5\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    (
        "list without spaces",
        "HTTP/1.1 200 \r\nContent-Length: 5,5,5\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    (
        "differing",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        &[],
        Err(ContentLength),
    ),
    (
        "differing, other way",
        "HTTP/1.1 200 \r\nContent-Length: 6\r\nContent-Length: 5\r\n\r\nhello",
        &[],
        Err(ContentLength),
    ),
    (
        "list of differing",
        "HTTP/1.1 200 \r\nContent-Length: 5, 6\r\n\r\nhello",
        &[],
        Err(ContentLength),
    ),
    ("plus", "HTTP/1.1 200 \r\nContent-Length: +5\r\n\r\nhello", &[], Err(ContentLength)),
    ("minus", "HTTP/1.1 200 \r\nContent-Length: -1\r\n\r\nhello", &[], Err(ContentLength)),
    ("minus zero", "HTTP/1.1 200 \r\nContent-Length: -0\r\n\r\n", &[], Err(ContentLength)),
    ("two numbers", "HTTP/1.1 200 \r\nContent-Length: 5 6\r\n\r\nhello", &[], Err(ContentLength)),
    ("empty", "HTTP/1.1 200 \r\nContent-Length:\r\n\r\nhello", &[], Err(ContentLength)),
    ("spaces only", "HTTP/1.1 200 \r\nContent-Length:  \t\r\n\r\nhello", &[], Err(ContentLength)),
    ("comma behind", "HTTP/1.1 200 \r\nContent-Length: 5,\r\n\r\nhello", &[], Err(ContentLength)),
    ("comma before", "HTTP/1.1 200 \r\nContent-Length: ,5\r\n\r\nhello", &[], Err(ContentLength)),
    ("hexadecimal", "HTTP/1.1 200 \r\nContent-Length: 0x5\r\n\r\nhello", &[], Err(ContentLength)),
    ("fraction", "HTTP/1.1 200 \r\nContent-Length: 5.0\r\n\r\nhello", &[], Err(ContentLength)),
    (
        "other digits",
        "HTTP/1.1 200 \r\nContent-Length: \u{665}\r\n\r\nhello",
        &[],
        Err(ContentLength),
    ),
    (
        "2^64",
        "HTTP/1.1 200 \r\nContent-Length: 18446744073709551616\r\n\r\nhello",
        &[],
        Err(ContentLength),
    ),
    (
        "5 + 2^64",
        "HTTP/1.1 200 \r\nContent-Length: 18446744073709551621\r\n\r\nhello",
        &[],
        Err(ContentLength),
    ),
    (
        "2^64 - 1",
        "HTTP/1.1 200 \r\nContent-Length: 18446744073709551615\r\n\r\nhello",
        &[],
        Err(Truncated),
    ),
    (
        "folded number",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\n 5\r\n\r\nhello",
        &[],
        Err(ContentLength),
    ),
    (
        "folded before",
        "HTTP/1.1 200 \r\nContent-Length:\r\n 5\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    (
        "folded list",
        "HTTP/1.1 200 \r\nContent-Length: 5,\r\n\t5\r\n\r\nhello",
        &[(200, "hello")],
        Ok(()),
    ),
    ("space in the name", "HTTP/1.1 200 \r\nContent-Length : 5\r\n\r\nhello", &[], Err(Head)),
    ("short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", &[], Err(Truncated)),
    ("none of it", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &[], Err(Truncated)),
    ("long", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", &[(200, "hello")], Err(Head)),
    (
        "long by a line end",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n",
        &[(200, "hello")],
        Err(Head),
    ),
    ("204", "HTTP/1.1 204 No Content\r\n\r\n", &[(204, "")], Ok(())),
    (
        "204 with a length",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        &[(204, "")],
        Ok(()),
    ),
    (
        "204 chunked",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        &[(204, "")],
        Ok(()),
    ),
    (
        "204 with a body",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        &[(204, "")],
        Err(Head),
    ),
    (
        "304 with a length",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        &[(304, "")],
        Ok(()),
    ),
    (
        "304, then 200",
        "HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na",
        &[(304, ""), (200, "a")],
        Ok(()),
    ),
    ("205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nab", &[(205, "ab")], Ok(())),
    (
        "two",
        "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nabHTTP/1.1 500 \r\nContent-Length: 1\r\n\r\nc",
        &[(200, "ab"), (500, "c")],
        Ok(()),
    ),
];

const HEADS: &[Case] = &[
    ("nothing", "", &[], Ok(())),
    ("until close", "HTTP/1.1 200 OK\r\n\r\nall of it", &[(200, "all of it")], Ok(())),
    ("until close, nothing", "HTTP/1.0 200 OK\r\n\r\n", &[(200, "")], Ok(())),
    (
        "100",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na",
        &[(200, "a")],
        Ok(()),
    ),
    (
        "100 with a length",
        "HTTP/1.1 100 \r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na",
        &[(200, "a")],
        Ok(()),
    ),
    ("100 and no more", "HTTP/1.1 100 Continue\r\n\r\n", &[], Err(Truncated)),
    (
        "199",
        "HTTP/1.1 199 x\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        &[(200, "")],
        Ok(()),
    ),
    (
        "101",
        "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        &[],
        Err(Upgrade),
    ),
    ("101 behind 100", "HTTP/1.1 100 \r\n\r\nHTTP/1.1 101 x\r\n\r\n", &[], Err(Upgrade)),
    ("099", "HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    ("000", "HTTP/1.1 000 x\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    ("999", "HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n", &[(999, "")], Ok(())),
    ("1000", "HTTP/1.1 1000 x\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    ("20", "HTTP/1.1 20 x\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    ("no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", &[(200, "")], Ok(())),
    ("no status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    ("two spaces", "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    (
        "space behind the status only",
        "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        &[(200, "")],
        Ok(()),
    ),
    ("control in the reason", "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    ("empty line before", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    ("LF before", "\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[], Err(Head)),
    (
        "empty line behind 100",
        "HTTP/1.1 100 \r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        &[],
        Err(Head),
    ),
    (
        "empty line between",
        "HTTP/1.1 204 \r\n\r\n\r\nHTTP/1.1 204 \r\n\r\n",
        &[(204, "")],
        Err(Head),
    ),
    ("LF only", "HTTP/1.1 200 OK\nContent-Length: 2\nX: y\n\nab", &[(200, "ab")], Ok(())),
    ("LF and CRLF", "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nab", &[(200, "ab")], Ok(())),
    ("CR only", "HTTP/1.1 200 OK\rContent-Length: 2\r\rab", &[], Err(Head)),
    ("CR in a value", "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 2\r\n\r\nab", &[], Err(Head)),
    ("NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nab", &[], Err(Head)),
    (
        "folded",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc\r\nContent-Length: 2\r\n\r\nab",
        &[(200, "ab")],
        Ok(()),
    ),
    (
        "folded field",
        "HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 2\r\n\r\nab",
        &[(200, "ab")],
        Ok(()),
    ),
    (
        "folded first line",
        "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 2\r\n\r\nab",
        &[],
        Err(Head),
    ),
    ("line without colon", "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\nab", &[], Err(Head)),
    ("garbage", "<html>hello</html>", &[], Err(Head)),
    ("garbage in binary", "\0\x01\x02\r\n\r\n", &[], Err(Head)),
    ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[], Err(Head)),
    ("HTTP/2 settings", "\0\0\0\x04\0\0\0\0\0", &[], Err(Head)),
    ("HTTP/2 status", "HTTP/2 200\r\n\r\n", &[], Err(Head)),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", &[], Err(Head)),
    ("HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n", &[], Err(Head)),
    ("lower case", "http/1.1 200 OK\r\n\r\n", &[], Err(Head)),
    ("half a version", "HTTP/1.", &[], Err(Truncated)),
    ("half a head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", &[], Err(Truncated)),
    ("half a second head", "HTTP/1.1 204 \r\n\r\nHTT", &[(204, "")], Err(Truncated)),
    ("a request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[], Err(Head)),
];

/// Every case of this file, for other tests as well.
pub(super) fn all() -> impl Iterator<Item = &'static Case> {
    LENGTHS.iter().chain(HEADS).chain(CHUNKS)
}

#[test]
fn exact_cases() {
    for (name, input, responses, end) in all() {
        let want: Vec<_> =
            responses.iter().map(|(status, body)| (*status, body.as_bytes().to_vec())).collect();
        let input = input.as_bytes();
        for at_once in [false, true] {
            let whole = drive::decode([input], at_once);
            assert_eq!((whole.responses(), whole.end), (want.clone(), *end), "{name}: {whole:?}");
            let bytewise = drive::decode(input.chunks(1), at_once);
            assert_eq!(bytewise.essence(), whole.essence(), "{name}, byte by byte");
        }
        assert_ne!(*end, Err(Extra), "{name}: the decoder does not know of requests");
        assert_ne!(*end, Err(Interim), "{name}: see the bounds");
    }
}

/// What the one head in `input` says.
fn head(decoded: &Decoded) -> (Framing, bool) {
    match decoded.items.as_slice() {
        [Item::Head(head, _), ..] => (head.framing, head.keep_alive),
        items => panic!("{items:?}"),
    }
}

#[test]
fn connections_are_kept_or_not() {
    for (fields, in_1_1, in_1_0) in [
        ("", true, false),
        ("Connection: close\r\n", false, false),
        ("connection: CLOSE\r\n", false, false),
        ("Connection: keep-alive\r\n", true, true),
        ("Connection: Keep-Alive\r\n", true, true),
        ("Connection: x, keep-alive ,y\r\n", true, true),
        ("Connection: x, close ,y\r\n", false, false),
        ("Connection: close, keep-alive\r\n", false, false),
        ("Connection: keep-alive\r\nConnection: close\r\n", false, false),
        ("Connection: close\r\nConnection: keep-alive\r\n", false, false),
        ("Connection:\r\n close\r\n", false, false),
        ("Connection: x,\r\n close\r\n", false, false),
        ("Connection: closed, not-close, close;x\r\n", true, false),
        ("Connection: keep-alives\r\n", true, false),
        ("Connection: \u{e9},close\r\n", false, false),
        ("Connection:\r\n", true, false),
        ("Connections: close\r\n", true, false),
        ("Proxy-Connection: close\r\n", true, false),
        ("Keep-Alive: timeout=5\r\n", true, false),
    ] {
        for (version, want) in [("HTTP/1.1", in_1_1), ("HTTP/1.0", in_1_0)] {
            let input = format!("{version} 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
            let decoded = drive::decode([input.as_bytes()], false);
            assert_eq!(head(&decoded), (Framing::Length(0), want), "{input}");
            let input = format!("{version} 204 OK\r\n{fields}\r\n");
            let decoded = drive::decode([input.as_bytes()], false);
            assert_eq!(head(&decoded), (Framing::Empty, want), "{input}");
            let input = format!("{version} 200 OK\r\n{fields}\r\n");
            let decoded = drive::decode([input.as_bytes()], false);
            assert_eq!(head(&decoded), (Framing::UntilClose, false), "{input}");
        }
    }
}

#[test]
fn fields_are_found_by_name() {
    let head = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nx-two:\t2 \r\nX-TWO: 3\r\n\
        X-Empty:\r\nX-Four: 4\r\n 5\r\n\r\nX-Body: 6\r\n";
    for (name, value) in [
        ("x-one", Some(&b"1"[..])),
        ("X-Two", Some(b"2")),
        ("x-empty", Some(b"")),
        ("x-four", Some(b"4\r\n 5")),
        ("x", None),
        ("x-body", None),
    ] {
        assert_eq!(super::header(head, name), value, "{name}");
    }
    assert_eq!(super::header(b"HTTP/1.1 200 OK\r\nX: 1\r\n", "x"), None);
    assert_eq!(super::header(b"X: 1\r\n\r\n", "x"), None);
}
