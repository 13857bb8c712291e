//! The head of an answer as it stands in a response record.
//!
//! The body in the record is the one that was stored: without chunks, and perhaps without its
//! content coding. Readers of WARC files undo what the header lines say, so lines that are not true of
//! the stored body any more are renamed, with the prefix `X-Crawler-` that Common Crawl uses in its
//! WARC files: always `Transfer-Encoding`, `Content-Encoding` where it was undone, and a
//! `Content-Length` that is another. One that is right is added where there is none.

use super::super::Meta;
use super::super::jsonl::text::decimal;
use std::io;

const PREFIX: &[u8] = b"X-Crawler-";
const TRANSFER_ENCODING: &[u8] = b"Transfer-Encoding";
const CONTENT_ENCODING: &[u8] = b"Content-Encoding";
const CONTENT_LENGTH: &[u8] = b"Content-Length";

/// Appends status line, header lines and the empty line for a body of so many bytes.
pub(super) fn write(meta: &Meta, bytes: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(u64::from(meta.status), out);
    out.push(b' ');
    let status = http::StatusCode::from_u16(meta.status).ok();
    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut told = false;
    for (name, value) in lines(&meta.headers) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let true_length = is(CONTENT_LENGTH) && !told && length(value) == Some(bytes);
        told |= true_length;
        let renamed = is(TRANSFER_ENCODING)
            || (is(CONTENT_ENCODING) && meta.decoded)
            || (is(CONTENT_LENGTH) && !true_length);
        if renamed {
            out.extend_from_slice(PREFIX);
        }
        line(name, value, out);
    }
    if !told {
        let mut value = Vec::with_capacity(20);
        decimal(bytes, &mut value);
        line(CONTENT_LENGTH, &value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads such a head: status and header lines as they were, and whether a coding was undone. A
/// `Content-Length` that was added where the answer said nothing of its length stays.
pub(super) fn read(head: &[u8], meta: &mut Meta) -> io::Result<()> {
    let first = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let status = first
        .strip_prefix(b"HTTP/")
        .and_then(|rest| rest.split(|&byte| byte == b' ').nth(1))
        .map(<[u8]>::trim_ascii)
        .filter(|digits| digits.len() == 3 && digits.iter().all(u8::is_ascii_digit));
    let Some(status) = status else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without a status"));
    };
    meta.status = status.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let rest = &head[(first.len() + 1).min(head.len())..];
    let original = |name| original(name).unwrap_or(b"");
    let replaced = lines(rest).map(|(name, _)| original(name)).any(|name| {
        name.eq_ignore_ascii_case(TRANSFER_ENCODING) || name.eq_ignore_ascii_case(CONTENT_LENGTH)
    });
    for (name, value) in lines(rest) {
        match original(name) {
            b"" if replaced && name.eq_ignore_ascii_case(CONTENT_LENGTH) => {}
            b"" => line(name, value, &mut meta.headers),
            original => {
                meta.decoded |= original.eq_ignore_ascii_case(CONTENT_ENCODING);
                line(original, value, &mut meta.headers);
            }
        }
    }
    Ok(())
}

/// The name that a renamed line had.
fn original(name: &[u8]) -> Option<&[u8]> {
    let (prefix, original) = name.split_at_checked(PREFIX.len())?;
    let known = [TRANSFER_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH];
    let known = known.iter().any(|known| known.eq_ignore_ascii_case(original));
    (known && prefix.eq_ignore_ascii_case(PREFIX)).then_some(original)
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Names and values of lines that are header lines (RFC 9112 section 5); what is none is left out, so
/// that nothing ends a head before its time.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let token = |&byte: &u8| byte.is_ascii_graphic() && byte != b':';
        let good = !name.is_empty() && name.iter().all(token) && !value.contains(&b'\r');
        good.then_some((name, value))
    })
}
