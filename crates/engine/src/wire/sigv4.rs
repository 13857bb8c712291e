//! AWS Signature Version 4 in the `Authorization` header.
//!
//! A request is signed when it is rendered, that is when it leaves, and again at every attempt: the
//! signature is good for a quarter of an hour, a queue may be longer. The signing key depends on the
//! day and the credentials, and is kept until one of them changes: what is left for each request is
//! three hashes.
//!
//! Source: AWS, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)",
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use windrow_model::calendar::civil;

/// SHA-256 of nothing: the payload of every `GET`.
pub const NO_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is signed of a request beside its target.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    /// In capitals.
    pub method: &'a str,
    /// SHA-256 of the body, in hexadecimal digits.
    pub payload: &'a str,
    /// Header lines of this one request that are signed and sent too, beside those of the signer: names in
    /// lower case (`x-amz-*`), values without white space around them.
    pub headers: &'a [(&'a str, &'a str)],
}

impl Act<'_> {
    /// Asks for something.
    pub const GET: Act<'static> = Act { method: "GET", payload: NO_PAYLOAD, headers: &[] };
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's identifier.
    pub access_key: String,
    /// The key.
    pub secret: String,
    /// Of temporary credentials.
    pub token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The credentials of a run, which may be renewed while it goes on, and how far the own clock is
/// from the servers'. Shared by all cores.
#[derive(Debug)]
pub struct Identity {
    credentials: RwLock<Arc<Credentials>>,
    /// Changes with them.
    version: AtomicU64,
    /// Milliseconds to be added to the own clock.
    skew_ms: AtomicI64,
    /// When that was found.
    learned: Mutex<Option<Instant>>,
}

impl Identity {
    /// Those credentials, and a clock that is taken to be right.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials: RwLock::new(Arc::new(credentials)),
            version: AtomicU64::new(1),
            skew_ms: AtomicI64::new(0),
            learned: Mutex::new(None),
        }
    }

    /// Others take their place: for every request from now on.
    pub fn renew(&self, credentials: Credentials) {
        *self.credentials.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(credentials);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// A server that refused a request told its time, in seconds since 1970. True if the request,
    /// which left at `sent`, was signed by a clock that was far from that: it is to be signed anew.
    pub fn learn(&self, server_seconds: u64, sent: Instant) -> bool {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let own = own_millis().saturating_add(self.skew_ms.load(Ordering::Relaxed));
        let server = i64::try_from(server_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        let apart = server.saturating_sub(own);
        if apart.unsigned_abs() < SKEW_MS {
            return learned.is_some_and(|learned| sent < learned);
        }
        self.skew_ms.fetch_add(apart, Ordering::Relaxed);
        *learned = Some(Instant::now());
        true
    }

    fn millis(&self) -> u64 {
        let now = own_millis().saturating_add(self.skew_ms.load(Ordering::Relaxed));
        u64::try_from(now).unwrap_or(0)
    }
}

/// Servers refuse what is a quarter of an hour old or more; clocks that are nearer than this are not
/// the reason.
const SKEW_MS: u64 = 5 * 60 * 1000;

fn own_millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Signs requests to one host, on one core.
pub struct Signer {
    identity: Arc<Identity>,
    host: String,
    region: String,
    /// Header lines that are signed beside those that every request has, in lower case and in order.
    extra: Vec<(String, String)>,
    kept: RefCell<Kept>,
}

/// What many requests have in common.
#[derive(Default)]
struct Kept {
    version: u64,
    day: u64,
    /// Keyed, and nothing hashed yet.
    key: Option<Hmac<Sha256>>,
    /// `Authorization: AWS4-HMAC-SHA256 Credential=.../aws4_request, SignedHeaders=`
    authorization: Vec<u8>,
    scope: String,
    token: Option<String>,
    signed_headers: String,
    scratch: Vec<u8>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Signer {
    /// For a host, as the `Host` line has it, in a region; `extra` are header lines that are sent
    /// too and must be signed (`x-amz-*`).
    pub fn new(
        identity: Arc<Identity>,
        host: String,
        region: String,
        extra: &[(&str, &str)],
    ) -> Self {
        let mut extra: Vec<_> = extra
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        extra.sort();
        Self { identity, host, region, extra, kept: RefCell::default() }
    }

    /// Whose requests they are.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Appends the header lines that sign a request, each ending in CR LF; those of `act` are among them. The
    /// target, path and query, stands in `out` already, percent-encoded, the parameters of the query in the
    /// order of their names.
    pub fn sign(&self, act: &Act<'_>, target: Range<usize>, out: &mut Vec<u8>) {
        self.sign_at(act, target, self.identity.millis() / 1000, out);
    }

    /// The same at a second since 1970.
    fn sign_at(&self, act: &Act<'_>, target: Range<usize>, now: u64, out: &mut Vec<u8>) {
        let target = &out[target];
        let kept = &mut *self.kept.borrow_mut();
        let version = self.identity.version.load(Ordering::Acquire);
        if kept.version != version || kept.day != now / DAY || kept.key.is_none() {
            self.prepare(kept, version, now);
        }
        let date = basic_date(now);
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &b""[..]),
        };
        // The canonical request.
        let text = &mut kept.scratch;
        text.clear();
        text.extend_from_slice(act.method.as_bytes());
        text.push(b'\n');
        canonical_path(path, text);
        text.push(b'\n');
        text.extend_from_slice(query);
        text.push(b'\n');
        let own = OWN.iter().filter(|name| **name != TOKEN || kept.token.is_some());
        let own = own.map(|&name| {
            let value = match name {
                "host" => self.host.as_bytes(),
                "x-amz-content-sha256" => act.payload.as_bytes(),
                "x-amz-date" => &date,
                _ => kept.token.as_deref().unwrap_or_default().as_bytes(),
            };
            (name, value)
        });
        let extra = self.extra.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut line = |(name, value): (&str, &[u8])| {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            text.extend_from_slice(value);
            text.push(b'\n');
        };
        let mut names = None;
        if act.headers.is_empty() && self.extra.is_empty() {
            // Nearly every request: nothing to put in order.
            own.for_each(&mut line);
        } else {
            let more = act.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            let mut lines: Vec<_> = own.chain(extra).chain(more).collect();
            lines.sort_unstable();
            lines.iter().copied().for_each(&mut line);
            names = Some(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";"));
        }
        let names = names.as_deref().unwrap_or(&kept.signed_headers);
        text.push(b'\n');
        text.extend_from_slice(names.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(act.payload.as_bytes());
        let request = hex(&Sha256::digest(&*text).into());
        // The string to sign.
        text.clear();
        text.extend_from_slice(b"AWS4-HMAC-SHA256\n");
        text.extend_from_slice(&date);
        text.push(b'\n');
        text.extend_from_slice(kept.scope.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(&request);
        let Some(mut mac) = kept.key.clone() else { return };
        mac.update(text);
        let signature = hex(&mac.finalize().into_bytes().into());
        for (name, value) in act.headers {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"x-amz-content-sha256: ");
        out.extend_from_slice(act.payload.as_bytes());
        out.extend_from_slice(b"\r\nx-amz-date: ");
        out.extend_from_slice(&date);
        if let Some(token) = &kept.token {
            out.extend_from_slice(b"\r\nx-amz-security-token: ");
            out.extend_from_slice(token.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&kept.authorization);
        out.extend_from_slice(names.as_bytes());
        out.extend_from_slice(b", Signature=");
        out.extend_from_slice(&signature);
        out.extend_from_slice(b"\r\n");
    }

    #[cold]
    fn prepare(&self, kept: &mut Kept, version: u64, now: u64) {
        let credentials = {
            let held = self.identity.credentials.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&held)
        };
        let date = basic_date(now);
        let day = String::from_utf8_lossy(&date[..8]).into_owned();
        let secret = format!("AWS4{}", credentials.secret);
        let mut key = hmac(secret.as_bytes(), day.as_bytes());
        for part in [self.region.as_str(), "s3"] {
            key = hmac(&key, part.as_bytes());
        }
        let key = hmac(&key, b"aws4_request");
        let mut names: Vec<&str> = OWN.into();
        names.retain(|name| *name != TOKEN || credentials.token.is_some());
        kept.signed_headers = names.join(";");
        kept.scope = format!("{day}/{}/s3/aws4_request", self.region);
        kept.authorization = format!(
            "Authorization: AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders=",
            credentials.access_key, kept.scope
        )
        .into_bytes();
        kept.token.clone_from(&credentials.token);
        kept.key = Some(keyed(&key));
        (kept.version, kept.day) = (version, now / DAY);
    }
}

const DAY: u64 = 86_400;

const TOKEN: &str = "x-amz-security-token";

/// Header lines that are always signed, in order; the last where there is a token.
const OWN: [&str; 4] = ["host", "x-amz-content-sha256", "x-amz-date", TOKEN];

/// The path as the server encodes it when it has decoded it. Dots are not encoded there; what stands
/// on the wire may have them so, for no one on the way to take `..` for a step upwards.
fn canonical_path(mut path: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memmem::find(path, b"%2E") {
        out.extend_from_slice(&path[..at]);
        out.push(b'.');
        path = &path[at + 3..];
    }
    out.extend_from_slice(path);
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("a key may have any length"))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        let digits = b"0123456789abcdef";
        *pair = [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
    }
    out
}

/// `YYYYMMDDTHHMMSSZ`.
fn basic_date(unix: u64) -> [u8; 16] {
    let (days, time) = (unix / DAY, unix % DAY);
    let (year, month, day) = civil(days);
    let mut out = *b"00000000T000000Z";
    let mut put = |at: usize, digits: usize, mut value: u64| {
        for place in (at..at + digits).rev() {
            out[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(4, 2, month);
    put(6, 2, day);
    put(9, 2, time / 3600);
    put(11, 2, time / 60 % 60);
    put(13, 2, time % 60);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2013-05-24T00:00:00Z, the day of the documentation's examples.
    const THEN: u64 = 1_369_353_600;

    fn signer(extra: &[(&str, &str)], token: Option<&str>) -> Signer {
        let identity = Identity::new(Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: token.map(str::to_owned),
        });
        let host = "examplebucket.s3.amazonaws.com".to_owned();
        Signer::new(Arc::new(identity), host, "us-east-1".into(), extra)
    }

    fn signed(signer: &Signer, target: &str) -> String {
        let mut out = target.as_bytes().to_vec();
        signer.sign_at(&Act::GET, 0..target.len(), THEN, &mut out);
        String::from_utf8(out.split_off(target.len())).unwrap()
    }

    #[test]
    fn the_examples_of_the_documentation() {
        for (extra, target, signature) in [
            (
                &[("Range", "bytes=0-9")][..],
                "/test.txt",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                &[],
                "/?lifecycle=",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                &[],
                "/?max-keys=2&prefix=J",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let lines = signed(&signer(extra, None), target);
            assert!(lines.ends_with(&format!("Signature={signature}\r\n")), "{target}: {lines}");
            assert!(lines.contains("x-amz-date: 20130524T000000Z\r\n"), "{lines}");
        }
    }

    #[test]
    fn the_example_with_a_body() {
        let act = Act {
            method: "PUT",
            payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            headers: &[
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ],
        };
        let mut out = b"/test%24file.text".to_vec();
        signer(&[], None).sign_at(&act, 0..17, THEN, &mut out);
        let lines = String::from_utf8(out.split_off(17)).unwrap();
        let signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
        assert!(lines.ends_with(&format!("Signature={signature}\r\n")), "{lines}");
        assert!(lines.contains("x-amz-storage-class: REDUCED_REDUNDANCY\r\n"), "{lines}");
    }

    #[test]
    fn a_key_is_kept_until_the_day_or_the_credentials_change() {
        let signer = signer(&[], None);
        let first = signed(&signer, "/a");
        assert_eq!(first, signed(&signer, "/a"));
        signer.identity.renew(Credentials {
            access_key: "other".into(),
            secret: "other".into(),
            token: Some("token".into()),
        });
        let second = signed(&signer, "/a");
        assert!(second.contains("Credential=other/20130524/us-east-1/s3/aws4_request"), "{second}");
        assert!(second.contains("x-amz-security-token: token\r\n"), "{second}");
        assert!(second.contains("x-amz-date;x-amz-security-token"), "{second}");
        let mut out = b"/a".to_vec();
        signer.sign_at(&Act::GET, 0..2, THEN + DAY, &mut out);
        assert!(String::from_utf8(out).unwrap().contains("/20130525/"));
    }

    #[test]
    fn dots_are_signed_as_dots() {
        let signer = signer(&[], None);
        assert_eq!(signed(&signer, "/b/%2E%2E/x"), signed(&signer, "/b/../x"));
    }

    #[test]
    fn dates() {
        for (unix, date) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(basic_date(unix), *date.as_bytes());
        }
    }

    #[test]
    fn a_clock_that_is_far_off_is_corrected() {
        let identity = signer(&[], None).identity;
        let now = u64::try_from(own_millis() / 1000).unwrap();
        let sent = Instant::now();
        assert!(!identity.learn(now + 200, sent));
        assert!(identity.learn(now + 7200, sent));
        assert!(identity.learn(now + 7200, sent), "signed before it was known");
        assert!(identity.millis() / 1000 >= now + 7199);
        assert!(!identity.learn(now + 7201, Instant::now()), "known by now");
        assert!(identity.learn(now, Instant::now()));
    }
}
