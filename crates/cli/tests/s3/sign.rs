//! URLs signed by hand: AWS Signature Version 4 in the query ("Authenticating Requests: Using Query
//! Parameters", "Signature Calculations for the Authorization Header", `UriEncode`).
//!
//! Nothing here is shared with windrow or with the server, which verifies it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

/// Who signs.
#[derive(Clone)]
pub(crate) struct Signer {
    /// `HOST:PORT`, as the client sends it.
    pub(crate) host: String,
    pub(crate) access_key: String,
    pub(crate) secret: String,
    /// A temporary credential has one.
    pub(crate) token: Option<String>,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

impl Signer {
    /// A URL for `/BUCKET/KEY`, signed at `signed` (seconds since 1970), valid so many seconds.
    pub(crate) fn url(&self, method: &str, object: &str, signed: u64, valid: u32) -> String {
        let date = basic_date(signed);
        let day = &date[..8];
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let path = format!("/{}", uri_encode(object, false));
        let mut parameters = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{scope}", self.access_key)),
            ("X-Amz-Date", date.clone()),
            ("X-Amz-Expires", valid.to_string()),
        ];
        if let Some(token) = &self.token {
            parameters.push(("X-Amz-Security-Token", token.clone()));
        }
        parameters.push(("X-Amz-SignedHeaders", "host".to_owned()));
        let pairs = parameters.iter().map(|(name, value)| {
            let value = uri_encode(value, true);
            format!("{name}={value}")
        });
        // In the order of their names already.
        let query = pairs.collect::<Vec<_>>().join("&");
        let host = &self.host;
        let request = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let request = hex(&Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request}");
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, "us-east-1", "s3", "aws4_request"] {
            key = hmac(&key, part);
        }
        let signature = hex(&hmac(&key, &text));
        format!("http://{host}{path}?{query}&X-Amz-Signature={signature}")
    }
}

/// `UriEncode` of the documentation: all but the unreserved characters, in upper-case digits.
pub(crate) fn uri_encode(text: &str, slash: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if !slash => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Base64 (RFC 4648 section 4), as header lines have it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk.iter().fold(0_u32, |all, &byte| all << 8 | u32::from(byte));
        let all = all << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            match digit <= chunk.len() {
                true => out.push(char::from(DIGITS[(all >> (18 - 6 * digit)) as usize & 63])),
                false => out.push('='),
            }
        }
    }
    out
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `YYYYMMDDTHHMMSSZ`.
pub(crate) fn basic_date(unix: u64) -> String {
    let (mut year, mut days) = (1970, unix / 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (month, day, time) = (month + 1, days + 1, unix % 86_400);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[test]
fn the_example_of_the_documentation() {
    let signer = Signer {
        host: "examplebucket.s3.amazonaws.com".to_owned(),
        access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        token: None,
    };
    let url = signer.url("GET", "test.txt", 1_369_353_600, 86_400);
    let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert!(url.contains("X-Amz-Date=20130524T000000Z"), "{url}");
    assert!(url.ends_with(signature), "{url}");
    assert_eq!(base64(b"ab"), "YWI=");
    assert_eq!(base64(b"abc"), "YWJj");
}
