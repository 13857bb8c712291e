//! Signed URLs, as object stores hand them out: `?Expires=UNIX&Signature=HEX`.
//!
//! `Signature` is the HMAC-SHA256 (RFC 2104, FIPS 180-4) of the path as sent, a line feed and
//! `Expires`, in lower-case hexadecimal digits. It is not the scheme of any store; what happens
//! when such a URL expires is the same.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use windrow_model::Corpus;

use crate::faults::time;

/// Bytes of URLs that are written at a time.
const BLOCK: usize = 256 << 10;

/// Bytes of a signature, in hexadecimal digits.
const DIGITS: usize = 64;

/// A key to sign URLs with.
#[derive(Clone)]
pub struct SignKey(Hmac<Sha256>);

impl SignKey {
    /// Any text will do, the empty one too.
    pub fn new(secret: &str) -> Self {
        // HMAC takes a key of any length.
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("a key of any length will do"))
    }

    /// The signature of a path that expires at this time, in seconds since 1970 in decimal.
    fn sign(&self, path: &[u8], expires: &[u8]) -> [u8; DIGITS] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut mac = self.0.clone();
        mac.update(path);
        mac.update(b"\n");
        mac.update(expires);
        let mut digits = [0; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(mac.finalize().into_bytes()) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        digits
    }

    /// Whether this path with this query may be had at this time.
    pub(crate) fn check(&self, path: &[u8], query: &[u8], unix: u64) -> Result<(), Denied> {
        let value = |key: &[u8]| {
            let mut pairs = query.split(|&byte| byte == b'&');
            pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix(b"="))
        };
        let (Some(expires), Some(signature)) = (value(b"Expires"), value(b"Signature")) else {
            return Err(Denied::Missing);
        };
        if !self.sign(path, expires).eq_ignore_ascii_case(signature) {
            return Err(Denied::Wrong);
        }
        // It is ours, so it is a number.
        let expires = std::str::from_utf8(expires).ok().and_then(|text| text.parse::<u64>().ok());
        if expires.is_none_or(|expires| unix >= expires) { Err(Denied::Expired) } else { Ok(()) }
    }
}

impl fmt::Debug for SignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignKey(..)")
    }
}

impl FromStr for SignKey {
    type Err = std::convert::Infallible;

    fn from_str(secret: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(secret))
    }
}

/// Why a URL leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    Missing,
    Wrong,
    Expired,
}

impl Denied {
    /// The body, in the words of S3.
    pub(crate) fn xml(self) -> &'static str {
        match self {
            Self::Missing => {
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>\n"
            }
            Self::Wrong => {
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we \
                 calculated does not match the signature you provided.</Message></Error>\n"
            }
            Self::Expired => {
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>\n"
            }
        }
    }
}

/// By how much a server's clock is wrong; read from text such as `-2h` or `+90s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockOffset {
    back: bool,
    by: Duration,
}

impl ClockOffset {
    /// What this clock shows now.
    pub fn now(self) -> SystemTime {
        let now = SystemTime::now();
        let shifted = if self.back { now.checked_sub(self.by) } else { now.checked_add(self.by) };
        shifted.unwrap_or(now)
    }

    /// The same in seconds since 1970.
    pub fn unix(self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

impl FromStr for ClockOffset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (back, by) = match text.strip_prefix('-') {
            Some(by) => (true, by),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        Ok(Self { back, by: time(by)? })
    }
}

/// The URLs of a synthetic corpus.
#[derive(Debug)]
pub struct Urls {
    /// What stands before `/get/`, as in `http://127.0.0.1:8080`.
    pub base: String,
    /// Whose objects.
    pub corpus: Corpus,
    /// A key to sign with, and when the URLs expire, in seconds since 1970.
    pub signed: Option<(SignKey, u64)>,
}

impl Urls {
    /// Writes all of them, each with a line feed behind it, in blocks of 256 KiB.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut block = Vec::with_capacity(BLOCK + 4096);
        let expires = self.signed.as_ref().map_or(0, |(_, expires)| *expires).to_string();
        for ordinal in 0..self.corpus.count {
            block.extend_from_slice(self.base.as_bytes());
            let path = block.len();
            block.extend_from_slice(b"/get/");
            self.corpus.name_into(ordinal, &mut block);
            if let Some((key, _)) = &self.signed {
                let signature = key.sign(&block[path..], expires.as_bytes());
                block.extend_from_slice(b"?Expires=");
                block.extend_from_slice(expires.as_bytes());
                block.extend_from_slice(b"&Signature=");
                block.extend_from_slice(&signature);
            }
            block.push(b'\n');
            if block.len() >= BLOCK {
                out.write_all(&block)?;
                block.clear();
            }
        }
        out.write_all(&block)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231 has `what do ya want for nothing?`, which no path and time make;
    /// this value is OpenSSL's.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let signature = SignKey::new("Jefe").sign(b"/get/a", b"1700000000");
        assert_eq!(&signature, b"d5307dcbbc655e303c145918d2b24c6ac3f011116d316b424362c260449779cc");
    }

    #[test]
    fn a_url_is_good_until_it_expires_and_for_its_path_alone() {
        let key = SignKey::new("secret");
        let signature = String::from_utf8(key.sign(b"/get/a", b"1000").to_vec()).unwrap();
        let query = format!("Expires=1000&Signature={signature}");
        let later = format!("Expires=1001&Signature={signature}");
        let upper = format!("a=b&Signature={}&Expires=1000&c", signature.to_uppercase());
        for (path, query, unix, expected) in [
            ("/get/a", query.as_str(), 999, Ok(())),
            ("/get/a", &upper, 0, Ok(())),
            ("/get/a", &query, 1000, Err(Denied::Expired)),
            ("/get/b", &query, 999, Err(Denied::Wrong)),
            ("/get/a", &later, 999, Err(Denied::Wrong)),
            ("/get/a", &query[..query.len() - 1], 999, Err(Denied::Wrong)),
            ("/get/a", "Expires=1000", 999, Err(Denied::Missing)),
            ("/get/a", "XExpires=1000&Signature=", 999, Err(Denied::Missing)),
            ("/get/a", "", 999, Err(Denied::Missing)),
        ] {
            assert_eq!(key.check(path.as_bytes(), query.as_bytes(), unix), expected, "{query}");
        }
        let other = SignKey::new("other").check(b"/get/a", query.as_bytes(), 0);
        assert_eq!(other, Err(Denied::Wrong));
        assert!(!format!("{key:?}").contains("secret"));
    }

    #[test]
    fn every_url_that_is_written_is_good() {
        let corpus = Corpus { count: 5000, size: 1, seed: 3 };
        let key = SignKey::new("k");
        for signed in [None, Some((key.clone(), 77))] {
            let urls = Urls { base: "http://h:1".into(), corpus, signed };
            let mut out = Vec::new();
            urls.write_to(&mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.ends_with('\n'));
            assert_eq!(text.lines().count(), 5000);
            for (ordinal, line) in (0..).zip(text.lines()) {
                let target = line.strip_prefix("http://h:1").unwrap();
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let name = path.strip_prefix("/get/").unwrap();
                assert_eq!(corpus.ordinal_of(name.as_bytes()), Some(ordinal));
                let good = key.check(path.as_bytes(), query.as_bytes(), 76).is_ok();
                assert_eq!(good, urls.signed.is_some());
            }
        }
    }

    #[test]
    fn a_clock_may_be_ahead_or_behind() {
        let offset = |text: &str| text.parse::<ClockOffset>();
        let now = ClockOffset::default().unix();
        assert!((now + 7190..=now + 7300).contains(&offset("+2h").unwrap().unix()));
        assert!((now + 80..=now + 190).contains(&offset("90s").unwrap().unix()));
        assert!((now - 7200..=now - 7100).contains(&offset("-2h").unwrap().unix()));
        for text in ["", "-", "--1s", "+-1s", "8d8", "1000h"] {
            assert!(offset(text).is_err(), "{text}");
        }
    }
}
