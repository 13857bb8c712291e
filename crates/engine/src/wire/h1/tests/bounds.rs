//! The bounds, to the byte.

use super::Malformed;
use super::drive::{self, Decoded};
use std::fmt::Write as _;
use windrow_model::limits::{
    CHUNK_EXTENSION_BYTES, CHUNK_LINE_BYTES, HEAD_BYTES, HEAD_LINES, INTERIM_RESPONSES,
    TRAILER_BYTES,
};

/// Decodes `input` at once and in pieces of several sizes; all come to the same.
fn decode(input: &str) -> Decoded {
    let whole = drive::decode([input.as_bytes()], false);
    for size in [1, 2, 3, 1000] {
        // Byte by byte takes its time with the large ones; their ends are what matters.
        let (front, tail) = input.as_bytes().split_at(input.len().saturating_sub(3000));
        let pieces = [front].into_iter().filter(|front| !front.is_empty());
        let split = drive::decode(pieces.chain(tail.chunks(size)), true);
        assert_eq!(split.essence(), whole.essence(), "in pieces of {size}");
    }
    whole
}

fn accepted(input: &str, body: &str) {
    let decoded = decode(input);
    assert_eq!(decoded.end, Ok(()));
    assert_eq!(decoded.responses(), [(200, body.as_bytes().to_vec())]);
}

fn refused(input: &str, malformed: Malformed) {
    let decoded = decode(input);
    assert_eq!(decoded.end, Err(malformed));
    assert_eq!(decoded.responses(), []);
}

/// A head of exactly `len` bytes, its empty line included.
fn head(len: usize) -> String {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ";
    format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4))
}

#[test]
fn head_bytes() {
    assert_eq!(head(HEAD_BYTES).len(), HEAD_BYTES);
    accepted(&format!("{}ab", head(HEAD_BYTES)), "ab");
    refused(&format!("{}ab", head(HEAD_BYTES + 1)), Malformed::HeadTooLarge);
    // Without its end.
    let long = head(HEAD_BYTES + 100);
    refused(&long[..HEAD_BYTES], Malformed::Truncated);
    refused(&long[..=HEAD_BYTES], Malformed::HeadTooLarge);
    // An interim response has a bound of its own.
    let interim = head(HEAD_BYTES).replacen("200", "103", 1);
    accepted(&format!("{interim}{interim}{}ab", head(HEAD_BYTES)), "ab");
    let interim = head(HEAD_BYTES + 1).replacen("200", "103", 1);
    refused(&format!("{interim}{}ab", head(100)), Malformed::HeadTooLarge);
}

#[test]
fn head_lines() {
    let head = |lines: usize| {
        let mut head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_owned();
        (1..lines).for_each(|line| write!(head, "X-{line}: x\r\n").unwrap());
        head + "\r\nab"
    };
    accepted(&head(HEAD_LINES), "ab");
    refused(&head(HEAD_LINES + 1), Malformed::HeadTooLarge);
    refused(&head(100_000), Malformed::HeadTooLarge);
}

#[test]
fn interim_responses() {
    let most = usize::try_from(INTERIM_RESPONSES).unwrap();
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    accepted(&(interim.repeat(most) + last), "ab");
    refused(&(interim.repeat(most + 1) + last), Malformed::Interim);
    // Each response has so many.
    let twice = (interim.repeat(most) + last).repeat(2);
    assert_eq!(decode(&twice).responses().len(), 2);
    assert_eq!(decode(&twice).end, Ok(()));
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn chunk_lines() {
    // A line of so many bytes, its end included.
    let line = |len: usize| format!("1;{}\r\n", "x".repeat(len - 4));
    assert_eq!(line(CHUNK_LINE_BYTES).len(), CHUNK_LINE_BYTES);
    accepted(&format!("{CHUNKED}{}a\r\n0\r\n\r\n", line(CHUNK_LINE_BYTES)), "a");
    refused(&format!("{CHUNKED}{}a\r\n0\r\n\r\n", line(CHUNK_LINE_BYTES + 1)), Malformed::Chunk);
    // Without its end.
    let long = line(CHUNK_LINE_BYTES + 100);
    refused(&format!("{CHUNKED}{}", &long[..CHUNK_LINE_BYTES]), Malformed::Truncated);
    refused(&format!("{CHUNKED}{}", &long[..=CHUNK_LINE_BYTES]), Malformed::Chunk);
}

#[test]
fn chunk_extensions() {
    // The bytes behind the size count, over all chunks.
    let most = usize::try_from(CHUNK_EXTENSION_BYTES).unwrap();
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(1023));
    let chunks = format!("{CHUNKED}{}", chunk.repeat(most / 1024));
    accepted(&format!("{chunks}0\r\n\r\n"), &"a".repeat(most / 1024));
    refused(&format!("{chunks}0;\r\n\r\n"), Malformed::Chunk);
    refused(&format!("{chunks}1 \r\na\r\n0\r\n\r\n"), Malformed::Chunk);
}

#[test]
fn trailers() {
    // Everything behind the last chunk counts, the empty line as well.
    let trailers = |len: usize| {
        let lines = "X: 123456\r\n".repeat((len - 100) / 11);
        let rest = len - lines.len() - 2;
        format!("{CHUNKED}0\r\n{lines}Y:{}\r\n\r\n", "y".repeat(rest - 4))
    };
    accepted(&trailers(TRAILER_BYTES), "");
    refused(&trailers(TRAILER_BYTES + 1), Malformed::Chunk);
    refused(&trailers(TRAILER_BYTES + 2), Malformed::Chunk);
    refused(&trailers(TRAILER_BYTES + 3), Malformed::Chunk);
    let long = trailers(TRAILER_BYTES + 1);
    refused(&long[..long.len() - 1], Malformed::Truncated);
    // One line without an end.
    let line = format!("{CHUNKED}0\r\nX:{}", "x".repeat(TRAILER_BYTES - 2));
    refused(&line, Malformed::Truncated);
    refused(&(line + "x"), Malformed::Chunk);
}
