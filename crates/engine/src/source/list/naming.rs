//! The name of an object, made of its URL; and the target, which is what is asked for.
//!
//! A target is path and query as written, beginning with `/`, with what a URL may not have (spaces,
//! controls, non-ASCII bytes, ``"<>\^`{|}``) percent-encoded. A `%` is left as it is.
//!
//! A name is `HOST[:PORT]` and the target, without what changes when the URL is signed anew:
//!
//! - The host is in lower case. The port always stands there for http (`h:80`), for https only where
//!   it is not 443, and then with a 0 before it (`h:080`, `h:08443`): so two servers never share a
//!   name.
//! - Nothing is decoded and no parameter moved: two targets share a name only by the rules below.
//! - Left out are: `X-Amz-*` and `X-Goog-*` (SigV4, GCS V4); `AWSAccessKeyId` or `GoogleAccessId`
//!   with `Signature` and `Expires` (SigV2, GCS V2), where the first two are there; `Key-Pair-Id`,
//!   `Policy`, `Signature` and `Expires` (CloudFront), where the first and the third are there;
//!   `Signature` and `Expires` of others (Cloud CDN, `windrow serve`), where both are there;
//!   the parameters of an Azure SAS, where `sig` and `sv` are there. Where nothing is left, the `?`
//!   goes too.
//! - The value of another parameter that is secret by its name (`token`, `key`, `signature` and the
//!   like) is `~` and the 16 hexadecimal digits of its xxh3 hash. Two secrets give one name once in
//!   2^64; who has the name can find out a secret that is short enough to be tried.
//!
//! So two lines that give the same name are the same object, signed anew.

use std::borrow::Cow;
use std::ops::Range;
use windrow_model::percent;
use windrow_model::url::{Origin, Scheme};
use xxhash_rust::xxh3::xxh3_64;

/// What a name begins with: host and port.
pub(super) fn head(origin: &Origin, out: &mut Vec<u8>) {
    let host = &origin.host;
    match host.contains(':') {
        true => out.extend_from_slice(format!("[{host}]").as_bytes()),
        false => out.extend_from_slice(host.as_bytes()),
    }
    let port = match (origin.scheme, origin.port) {
        (Scheme::Https, 443) => return,
        (Scheme::Https, port) => format!(":0{port}"),
        (Scheme::Http, port) => format!(":{port}"),
    };
    out.extend_from_slice(port.as_bytes());
}

/// Writes the name of a target, behind its head. `target` is as it is sent; `found` is for use here
/// again and again.
pub(super) fn name_of(target: &[u8], found: &mut Parameters, out: &mut Vec<u8>) {
    let Some(at) = memchr::memchr(b'?', target) else {
        out.extend_from_slice(target);
        return;
    };
    let (path, query) = (&target[..at], &target[at + 1..]);
    out.extend_from_slice(path);
    parameters(query, found);
    let signed = Signed::of(found);
    let mut mark = b'?';
    for (range, kind) in found {
        let (parameter, kind) = (&query[range.clone()], *kind);
        if signed.leaves_out(kind) {
            continue;
        }
        out.push(mark);
        mark = b'&';
        match kind {
            Kind::Plain | Kind::V4 => out.extend_from_slice(parameter),
            _ => hide(parameter, kind, out),
        }
    }
}

/// A target for people: what is a secret, or signed, is `***`.
pub fn without_secrets(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let mut out = path.to_owned();
    let mut found = Parameters::new();
    parameters(query.as_bytes(), &mut found);
    for (index, (range, kind)) in found.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        // Cut at `&`: these are characters' ends.
        let parameter = &query[range.clone()];
        match parameter.split_once('=') {
            Some((key, _)) if *kind != Kind::Plain => {
                out.push_str(key);
                out.push_str("=***");
            }
            _ => out.push_str(parameter),
        }
    }
    out
}

/// The extension for a name that is a number: that of the last segment of the path, with its dot
/// and in lower case, where it is 1-5 letters and digits.
pub(super) fn extension(target: &[u8], out: &mut Vec<u8>) {
    let path = &target[..memchr::memchr(b'?', target).unwrap_or(target.len())];
    let last = &path[memchr::memrchr(b'/', path).map_or(0, |at| at + 1)..];
    let Some(dot) = memchr::memrchr(b'.', last) else { return };
    let extension = &last[dot + 1..];
    if (1..=5).contains(&extension.len()) && extension.iter().all(u8::is_ascii_alphanumeric) {
        out.push(b'.');
        out.extend(extension.iter().map(u8::to_ascii_lowercase));
    }
}

/// What a parameter is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// `X-Amz-*`, `X-Goog-*`.
    V4,
    AccessId,
    Signature,
    Expires,
    KeyPair,
    Policy,
    /// `sig`.
    Sas,
    /// `sv`.
    SasVersion,
    SasPart,
    Secret,
}

const SAS_PARTS: [&str; 19] = [
    "ss", "srt", "sp", "se", "st", "spr", "sr", "sip", "si", "skoid", "sktid", "skt", "ske", "sks",
    "skv", "sdd", "saoid", "suoid", "scid",
];

const SECRETS: [&str; 8] =
    ["token", "access_token", "api_key", "apikey", "key", "auth", "password", "secret"];

fn kind(name: &[u8]) -> Kind {
    // A server decodes `%6Bey`; so must who looks for secrets.
    let name = match name.contains(&b'%') {
        false => Cow::Borrowed(name),
        true => percent::decode(name).map_or(Cow::Borrowed(name), Cow::Owned),
    };
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let begins = |known: &str| {
        name.get(..known.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(known.as_bytes()))
    };
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'x') if begins("x-amz-") || begins("x-goog-") => Kind::V4,
        Some(b'e') if is("expires") => Kind::Expires,
        Some(b'p') if is("policy") => Kind::Policy,
        Some(b's') if is("signature") => Kind::Signature,
        Some(b's') if is("sig") => Kind::Sas,
        Some(b's') if is("sv") => Kind::SasVersion,
        Some(b's') if SAS_PARTS.into_iter().any(is) => Kind::SasPart,
        Some(b'a') if is("awsaccesskeyid") => Kind::AccessId,
        Some(b'g') if is("googleaccessid") => Kind::AccessId,
        Some(b'k') if is("key-pair-id") => Kind::KeyPair,
        Some(b'a' | b'k' | b'p' | b's' | b't') if SECRETS.into_iter().any(is) => Kind::Secret,
        _ => Kind::Plain,
    }
}

/// The parameters of a query, and what each of them is.
pub(super) type Parameters = Vec<(Range<usize>, Kind)>;

fn parameters(query: &[u8], out: &mut Parameters) {
    out.clear();
    let mut start = 0;
    loop {
        let rest = &query[start..];
        let end = memchr::memchr(b'&', rest).unwrap_or(rest.len());
        let name = rest[..end].iter().position(|&b| b == b'=').unwrap_or(end);
        out.push((start..start + end, kind(&rest[..name])));
        start += end + 1;
        if start > query.len() {
            return;
        }
    }
}

/// Which signatures a query bears.
#[derive(Debug, Default)]
struct Signed {
    access_id: bool,
    signature: bool,
    expires: bool,
    key_pair: bool,
    sas: bool,
    sas_version: bool,
}

impl Signed {
    fn of(parameters: &Parameters) -> Self {
        let mut signed = Self::default();
        for (_, kind) in parameters {
            match kind {
                Kind::AccessId => signed.access_id = true,
                Kind::Signature => signed.signature = true,
                Kind::Expires => signed.expires = true,
                Kind::KeyPair => signed.key_pair = true,
                Kind::Sas => signed.sas = true,
                Kind::SasVersion => signed.sas_version = true,
                _ => {}
            }
        }
        signed
    }

    fn leaves_out(&self, kind: Kind) -> bool {
        let v2 = self.access_id && self.signature;
        let others = self.expires && self.signature;
        let cloud_front = self.key_pair && self.signature;
        match kind {
            Kind::V4 => true,
            Kind::AccessId => v2,
            Kind::Signature | Kind::Expires => v2 || cloud_front || others,
            Kind::KeyPair | Kind::Policy => cloud_front,
            Kind::Sas | Kind::SasVersion | Kind::SasPart => self.sas && self.sas_version,
            Kind::Plain | Kind::Secret => false,
        }
    }
}

/// A parameter that stays, with its value hidden where that is secret.
fn hide(parameter: &[u8], kind: Kind, out: &mut Vec<u8>) {
    let secret = matches!(kind, Kind::Secret | Kind::Signature | Kind::Sas);
    match memchr::memchr(b'=', parameter) {
        Some(at) if secret && at + 1 < parameter.len() => {
            out.extend_from_slice(&parameter[..=at]);
            out.extend_from_slice(format!("~{:016x}", xxh3_64(&parameter[at + 1..])).as_bytes());
        }
        _ => out.extend_from_slice(parameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use windrow_model::url::{Parts, encode_target};

    fn name(url: &str) -> String {
        let parts = Parts::of(url).unwrap();
        let (mut target, mut name) = (Vec::new(), Vec::new());
        encode_target(parts.target.as_bytes(), &mut target);
        head(&parts.origin(), &mut name);
        name_of(&target, &mut Parameters::new(), &mut name);
        String::from_utf8(name).unwrap()
    }

    #[test]
    fn names_are_host_path_and_query() {
        for (url, expected) in [
            ("https://Example.org", "example.org/"),
            ("https://h?q", "h/?q"),
            ("https://h/?", "h/?"),
            ("http://h/a//b/../%41", "h:80/a//b/../%41"),
            ("http://h:443/a", "h:443/a"),
            ("https://h:443/a", "h/a"),
            ("https://h:80/a", "h:080/a"),
            ("https://h:8443/a", "h:08443/a"),
            ("http://[::1]:99/a", "[::1]:99/a"),
            ("https://h/a b\u{e9}|", "h/a%20b%C3%A9%7C"),
            ("https://h/a?b=2&a=1&&b=2&", "h/a?b=2&a=1&&b=2&"),
        ] {
            assert_eq!(name(url), expected, "{url}");
        }
    }

    #[test]
    fn signatures_are_left_out() {
        for (query, expected) in [
            ("X-Amz-Signature=s&X-Amz-Date=d&versionId=7&x-amz-security-token=t", "?versionId=7"),
            ("X-Goog-Signature=s&x-goog-date=d", ""),
            ("AWSAccessKeyId=i&Expires=5&Signature=s&a=b", "?a=b"),
            ("a=b&GoogleAccessId=i&Expires=5&Signature=s", "?a=b"),
            ("Expires=5", "?Expires=5"),
            ("Expires=5&KeyName=k&Signature=s", "?KeyName=k"),
            ("Policy=p&Key-Pair-Id=k&Signature=s&c", "?c"),
            ("Policy=p", "?Policy=p"),
            ("sv=1&ss=b&srt=o&sp=r&se=e&st=s&spr=https&sig=x&comp=list", "?comp=list"),
            ("sv=1&st=2", "?sv=1&st=2"),
        ] {
            assert_eq!(name(&format!("https://h/a?{query}")), format!("h/a{expected}"), "{query}");
        }
    }

    #[test]
    fn secrets_are_in_no_name() {
        for parameter in [
            "token",
            "Access_Token",
            "api_key",
            "APIKEY",
            "key",
            "auth",
            "password",
            "secret",
            "signature",
            "sig",
            "%6Bey",
        ] {
            let one = name(&format!("https://h/a?{parameter}=hunter2&v=1"));
            let two = name(&format!("https://h/a?{parameter}=hunter3&v=1"));
            assert!(!one.contains("hunter"), "{one}");
            assert!(one.contains(&format!("?{parameter}=~")) && one.ends_with("&v=1"), "{one}");
            assert_ne!(one, two);
            assert_eq!(name(&format!("https://h/?{parameter}")), format!("h/?{parameter}"));
        }
    }

    #[test]
    fn numbers_get_the_extension_of_the_path() {
        for (target, expected) in [
            ("/a/b.JPG?x=y.png", ".jpg"),
            ("/a.tar.gz", ".gz"),
            ("/a.b/c", ""),
            ("/a.", ""),
            ("/a.toolong", ""),
            ("/a.p%41", ""),
            ("/", ""),
        ] {
            let mut out = Vec::new();
            extension(target.as_bytes(), &mut out);
            assert_eq!(out, expected.as_bytes(), "{target}");
        }
    }

    proptest! {
        #[test]
        fn names_of_unsigned_urls_are_injective(
            one in ("https?", "[aA]", "(:(80|443|8443))?", "(/[ab%/ ]{0,3})?", "(\\?[ab=&]{0,4})?"),
            two in ("https?", "[aA]", "(:(80|443|8443))?", "(/[ab%/ ]{0,3})?", "(\\?[ab=&]{0,4})?"),
        ) {
            let url = |(s, h, port, path, query): (String, String, String, String, String)| {
                format!("{s}://{h}{port}{path}{query}")
            };
            let (one, two) = (url(one), url(two));
            let asked = |url: &str| {
                let parts = Parts::of(url).unwrap();
                let mut target = Vec::new();
                encode_target(parts.target.as_bytes(), &mut target);
                (parts.origin(), target)
            };
            prop_assert_eq!(name(&one) == name(&two), asked(&one) == asked(&two), "{} {}", one, two);
        }
    }
}
