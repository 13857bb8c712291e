//! The head of a response: status line and fields, and what they say about the body's length.

use std::fmt;
use std::mem::MaybeUninit;
use windrow_model::limits::{HEAD_BYTES, HEAD_LINES};

/// Why bytes are not a response that windrow accepts. The connection that brought them is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Not an HTTP/1 status line and fields.
    Head,
    /// More than [`HEAD_BYTES`] or [`HEAD_LINES`].
    HeadTooLarge,
    /// `Content-Length` is no number, or there are several that differ.
    ContentLength,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndEncoding,
    /// A transfer coding other than `chunked`, or one in HTTP/1.0.
    TransferEncoding,
    /// 101, which nobody asked for.
    Upgrade,
    /// A flood of 1xx responses.
    Interim,
    /// The chunked body breaks its grammar or its bounds.
    Chunk,
    /// Bytes behind the last response.
    Extra,
    /// The connection ended inside a response.
    Truncated,
}

impl Malformed {
    /// What is wrong, for people.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Head => "the response does not begin with an HTTP/1 head",
            Self::HeadTooLarge => "the head of the response is too large",
            Self::ContentLength => "the response has a broken Content-Length",
            Self::LengthAndEncoding => "the response has Content-Length and Transfer-Encoding",
            Self::TransferEncoding => "the response has a transfer coding other than chunked",
            Self::Upgrade => "the server switched protocols unasked",
            Self::Interim => "the server sends interim responses without end",
            Self::Chunk => "the chunked body is broken",
            Self::Extra => "the server sent bytes that belong to no request",
            Self::Truncated => "the connection ended inside the response",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Malformed {}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none (204, 304).
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks, the last of them empty.
    Chunked,
    /// All bytes until the server closes the connection.
    UntilClose,
}

/// The head of a final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Status code, 200-999.
    pub status: u16,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the connection may carry another response after this one.
    pub keep_alive: bool,
    /// Whether there is a field that says something of the body beside its length; see
    /// [`is_notable`].
    pub notable: bool,
}

/// Whether a field says something of the body beside its length: how it is encoded, or a checksum.
/// (An `ETag` alone does not.)
pub fn is_notable(name: &[u8]) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        6 => is(b"digest"),
        11 => is(b"content-md5") || is(b"repr-digest") || is(b"x-goog-hash"),
        14 => is(b"content-digest"),
        16 => is(b"content-encoding") || is(b"x-amz-request-id"),
        18..=24 => {
            name.get(..15).is_some_and(|begin| begin.eq_ignore_ascii_case(b"x-amz-checksum-"))
        }
        _ => false,
    }
}

/// The fields in the bytes of a head, as name and value.
pub fn fields(head: &[u8], mut each: impl FnMut(&[u8], &[u8])) {
    let mut lines = [const { MaybeUninit::uninit() }; HEAD_LINES];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut response, head, &mut lines);
    if parsed.is_ok() {
        for line in response.headers.iter() {
            each(line.name.as_bytes(), line.value);
        }
    }
}

/// What parsing a head came to.
pub(super) enum Parsed {
    /// The head is not there yet.
    Partial,
    /// An interim response of so many bytes.
    Interim(usize),
    /// A final response, its head so many bytes long.
    Final(usize, Head),
}

/// Parses the head at the front of `input`.
pub(super) fn parse(input: &[u8]) -> Result<Parsed, Malformed> {
    // An empty line before a response is what servers may forgive in requests (RFC 9112 section
    // 2.2); between responses it is a byte that belongs to none.
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return Err(Malformed::Head);
    }
    let mut lines = [const { MaybeUninit::uninit() }; HEAD_LINES];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        // RFC 9112 section 5.2: a user agent reads a folded line as one value.
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut response, input, &mut lines);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => {
            return if input.len() > HEAD_BYTES {
                Err(Malformed::HeadTooLarge)
            } else {
                Ok(Parsed::Partial)
            };
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::HeadTooLarge),
        Err(_) => return Err(Malformed::Head),
    };
    if len > HEAD_BYTES {
        return Err(Malformed::HeadTooLarge);
    }
    let status = response.code.unwrap_or(0);
    match status {
        200.. => {}
        101 => return Err(Malformed::Upgrade),
        100..=199 => return Ok(Parsed::Interim(len)),
        _ => return Err(Malformed::Head),
    }
    let http_1_1 = response.version == Some(1);
    let mut fields = Fields { keep_alive: http_1_1, ..Fields::default() };
    for line in response.headers.iter() {
        fields.read(line.name.as_bytes(), line.value)?;
    }
    let framing = fields.framing(status, http_1_1)?;
    let keep_alive = fields.keep_alive && !fields.close && framing != Framing::UntilClose;
    Ok(Parsed::Final(len, Head { status, framing, keep_alive, notable: fields.notable }))
}

/// The fields that decide where the response ends.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    encoded: bool,
    keep_alive: bool,
    close: bool,
    notable: bool,
}

impl Fields {
    fn read(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        // Lengths first: most fields are dismissed by one comparison.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in tokens(value) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                // RFC 9110 section 8.6: a list of the same number may be read as that number.
                for token in value.split(|&b| b == b',') {
                    let length = decimal(trim(token)).ok_or(Malformed::ContentLength)?;
                    if self.length.is_some_and(|earlier| earlier != length) {
                        return Err(Malformed::ContentLength);
                    }
                    self.length = Some(length);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.encoded || !trim(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::TransferEncoding);
                }
                self.encoded = true;
            }
            6 | 11 | 14 | 16 | 18..=24 => self.notable |= is_notable(name),
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, status: u16, http_1_1: bool) -> Result<Framing, Malformed> {
        match (status, self.encoded, self.length) {
            (204 | 304, _, _) => Ok(Framing::Empty),
            (_, true, Some(_)) => Err(Malformed::LengthAndEncoding),
            // RFC 9112 section 6.1: a transfer coding in HTTP/1.0 means faulty framing.
            (_, true, None) if !http_1_1 => Err(Malformed::TransferEncoding),
            (_, true, None) => Ok(Framing::Chunked),
            (_, false, Some(length)) => Ok(Framing::Length(length)),
            (_, false, None) => Ok(Framing::UntilClose),
        }
    }
}

/// The first value of field `name` in the bytes of a head; for fields that are rarely asked for.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = [const { MaybeUninit::uninit() }; HEAD_LINES];
    let mut response = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut response, head, &mut lines)
        .ok()?;
    response.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim)
}

/// Cuts white space at both ends, line ends of folded lines included.
fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// `1*DIGIT` (RFC 9110 section 8.6), nothing else: no sign, no space, no overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
