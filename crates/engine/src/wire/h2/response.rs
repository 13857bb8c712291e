//! The head of a response, as HTTP/1.1 would have it: whoever looks fields up does it in one way.

use crate::wire::h1::{Framing, Head, is_notable};
use http::header::{self, HeaderMap};
use http::{StatusCode, response};
use windrow_model::limits::{HEAD_BYTES, HEAD_LINES};
use windrow_model::{Failure, FailureClass};

/// Writes the head of a response as text into `raw`, and says where the body ends; `empty` is
/// whether the stream ended with the head.
///
/// # Errors
/// A failure of the attempt: more than [`HEAD_BYTES`] or [`HEAD_LINES`], or a Content-Length that
/// is none.
pub(super) fn read(
    parts: &response::Parts,
    empty: bool,
    raw: &mut Vec<u8>,
) -> Result<Head, Failure> {
    let protocol = |detail| Failure::new(FailureClass::Protocol, detail);
    // Lines that can be asked for one by one must be readable all together.
    if parts.headers.len() > HEAD_LINES {
        return Err(protocol("the head of the response is too large"));
    }
    raw.clear();
    raw.extend_from_slice(b"HTTP/1.1 ");
    raw.extend_from_slice(parts.status.as_str().as_bytes());
    raw.extend_from_slice(b" \r\n");
    for (name, value) in &parts.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            raw.extend_from_slice(part);
        }
    }
    raw.extend_from_slice(b"\r\n");
    if raw.len() > HEAD_BYTES {
        return Err(protocol("the head of the response is too large"));
    }
    let length = length(&parts.headers)
        .ok_or_else(|| protocol("the response has a broken Content-Length"))?;
    let framing = match (parts.status, length) {
        (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, _) => Framing::Empty,
        // The library refuses an end here where the length is another.
        _ if empty => Framing::Empty,
        (_, Some(length)) => Framing::Length(length),
        (_, None) => Framing::Chunked,
    };
    let notable = parts.headers.keys().any(|name| is_notable(name.as_str().as_bytes()));
    Ok(Head { status: parts.status.as_u16(), framing, keep_alive: true, notable })
}

/// The length of the body, if one is given; `None` outside if it is none, or there are two.
fn length(headers: &HeaderMap) -> Option<Option<u64>> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let digits = value.to_str().ok()?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse::<u64>().ok()?;
        if length.is_some_and(|earlier| earlier != number) {
            return None;
        }
        length = Some(number);
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::h1;
    use http::Response;

    fn parts(status: u16, lines: &[(&str, &str)]) -> response::Parts {
        let mut response = Response::builder().status(status);
        for (name, value) in lines {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn fields_are_found_in_the_text() {
        let lines = [("etag", "\"x\""), ("retry-after", "7"), ("x", ""), ("content-length", "5")];
        let mut raw = b"old".to_vec();
        let head = read(&parts(503, &lines), false, &mut raw).unwrap();
        assert_eq!(
            head,
            Head { status: 503, framing: Framing::Length(5), keep_alive: true, notable: false }
        );
        for (name, value) in lines {
            assert_eq!(h1::header(&raw, name), Some(value.as_bytes()), "{name}");
        }
        assert_eq!(h1::header(&raw, "y"), None);
    }

    #[test]
    fn framing_follows_status_length_and_end() {
        let framing = |status, lengths: &[&str], empty| {
            let lines: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            read(&parts(status, &lines), empty, &mut Vec::new()).map(|head| head.framing).ok()
        };
        assert_eq!(framing(200, &["5"], false), Some(Framing::Length(5)));
        assert_eq!(framing(200, &["5", "5"], false), Some(Framing::Length(5)));
        assert_eq!(framing(200, &[], false), Some(Framing::Chunked));
        assert_eq!(framing(200, &[], true), Some(Framing::Empty));
        assert_eq!(framing(304, &["5"], true), Some(Framing::Empty));
        assert_eq!(framing(204, &[], false), Some(Framing::Empty));
        for broken in ["", "-1", "+5", "5,5", "5 ", "18446744073709551616", "x"] {
            assert_eq!(framing(200, &[broken], false), None, "{broken}");
        }
        assert_eq!(framing(200, &["5", "6"], false), None);
    }

    #[test]
    fn heads_are_bounded() {
        let many = vec![("x", "y"); HEAD_LINES];
        assert!(read(&parts(200, &many), true, &mut Vec::new()).is_ok());
        let more = vec![("x", "y"); HEAD_LINES + 1];
        assert!(read(&parts(200, &more), true, &mut Vec::new()).is_err());
        let long = "y".repeat(HEAD_BYTES);
        assert!(read(&parts(200, &[("x", &long)]), true, &mut Vec::new()).is_err());
    }
}
