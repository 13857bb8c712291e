//! The one URL parser of windrow: `http[s]://HOST[:PORT][/PATH][?QUERY]` (RFC 3986), strict.
//!
//! Two parsers that read one URL differently are how credentials reach the wrong host; so
//! everything that windrow asks for passes through here, and what is doubtful is refused.

use crate::percent::{self, Keep};
use std::fmt;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where a URL names none.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port: what a connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Host as it stands in the URL, lower-case, IPv6 addresses without brackets.
    pub host: String,
    /// Port, also where the URL leaves it out.
    pub port: u16,
}

impl Origin {
    /// Value of the `Host` header: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            port if port == self.scheme.port() => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

/// A URL in its parts, as they stand in the text; nothing is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'u> {
    /// How the server is spoken to.
    pub scheme: Scheme,
    /// Host as written, IPv6 addresses without brackets; perhaps in upper case.
    pub host: &'u str,
    /// Port, also where the URL leaves it out.
    pub port: u16,
    /// Path and query as written: empty, or beginning with `/` or `?`.
    pub target: &'u str,
}

impl<'u> Parts<'u> {
    /// Cuts an absolute URL. Path and query are taken as they stand, whatever characters they
    /// have: whoever sends them looks to that.
    ///
    /// # Errors
    /// Says in a few words what is wrong: another scheme, user information, an empty or odd host,
    /// a port outside 1-65535, a fragment.
    pub fn of(text: &'u str) -> Result<Parts<'u>, &'static str> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            _ => return Err("not an http or https URL"),
        };
        if rest.contains('#') {
            return Err("a fragment (`#`) names nothing on a server; in a name it is `%23`");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a user name or password in a URL is not supported");
        }
        let (host, port) = split_authority(authority)?;
        Ok(Parts { scheme, host, port: port.unwrap_or(scheme.port()), target })
    }

    /// The origin, with the host in lower case.
    pub fn origin(&self) -> Origin {
        Origin { scheme: self.scheme, host: self.host.to_ascii_lowercase(), port: self.port }
    }
}

/// An absolute URL, cut at the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whom to ask.
    pub origin: Origin,
    /// Path without its last `/`s, empty for the root.
    pub base: String,
    /// What stands behind `?`, if anything.
    pub query: Option<String>,
}

impl Url {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// Those of [`Parts::of`], and characters that a URL does not have.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a space, a control character or a character that is not ASCII");
        }
        let parts = Parts::of(text)?;
        let (path, query) = match parts.target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (parts.target, None),
        };
        Ok(Url { origin: parts.origin(), base: path.trim_end_matches('/').to_owned(), query })
    }
}

impl fmt::Display for Url {
    /// Without the query: it may hold a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.base)
    }
}

/// Resolves a reference, as in `Location`, against the address that was asked: its origin and its
/// path with query (RFC 3986 section 5.2, RFC 9110 section 10.2.2). Gives origin and path with query
/// of what it leads to, percent-encoded; a fragment is dropped.
///
/// # Errors
/// As [`Parts::of`].
pub fn resolve(
    origin: &Origin,
    target: &str,
    reference: &str,
) -> Result<(Origin, String), &'static str> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let colon = reference.find(':').unwrap_or(reference.len());
    let is_absolute = reference.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && colon < reference.find(['/', '?']).unwrap_or(reference.len());
    let whole;
    let (origin, target) = match reference.as_bytes() {
        _ if is_absolute => {
            let parts = Parts::of(reference)?;
            (parts.origin(), parts.target.to_owned())
        }
        [b'/', b'/', ..] => {
            whole = format!("{}:{reference}", origin.scheme.name());
            let parts = Parts::of(&whole)?;
            (parts.origin(), parts.target.to_owned())
        }
        [b'/', ..] => (origin.clone(), reference.to_owned()),
        [b'?', ..] => (origin.clone(), format!("{path}{reference}")),
        [] => (origin.clone(), format!("{path}{query}")),
        _ => {
            let directory = &path[..path.rfind('/').map_or(0, |at| at + 1)];
            (origin.clone(), format!("{directory}{reference}"))
        }
    };
    let mut sent = Vec::new();
    encode_target(without_dots(&target).as_bytes(), &mut sent);
    // It is ASCII now.
    Ok((origin, String::from_utf8(sent).unwrap_or_default()))
}

/// Appends path and query as they can be sent: beginning with `/`, and what a URL may not have
/// percent-encoded. What is encoded already stays.
pub fn encode_target(written: &[u8], out: &mut Vec<u8>) {
    if written.first() != Some(&b'/') {
        out.push(b'/');
    }
    percent::escape_into(written, &Keep::TARGET, out);
}

/// Whether that changes nothing.
pub fn is_sendable(written: &[u8]) -> bool {
    written.first() == Some(&b'/') && Keep::TARGET.all(written)
}

/// Removes dot segments from a path (RFC 3986 section 5.2.4); the query stays.
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    if !path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return target.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

fn split_authority(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("a `[` without its `]`")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "not an IPv6 address in brackets")?;
            (host, after)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if host.is_empty() {
                return Err("the host is missing");
            }
            if !host.bytes().all(named) {
                return Err("an odd character in the host");
            }
            (host, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err("something between host and port"),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Some(
            digits.parse().ok().filter(|&port| port != 0).ok_or("the port is not in 1-65535")?,
        ),
        Some(_) => return Err("the port is not a number"),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_users_type() {
        for (text, host, port, base, query) in [
            ("http://localhost:8080", "localhost", 8080, "", None),
            ("http://localhost:8080/", "localhost", 8080, "", None),
            ("HTTP://Example.org/a/b/", "example.org", 80, "/a/b", None),
            ("http://[::1]:99/x?y=1&z", "::1", 99, "/x", Some("y=1&z")),
            ("http://127.0.0.1?q", "127.0.0.1", 80, "", Some("q")),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.origin.host.as_str(), url.origin.port), (host, port), "{text}");
            assert_eq!((url.base.as_str(), url.query.as_deref()), (base, query), "{text}");
        }
        let url = Url::parse("http://[::1]:99").unwrap();
        assert_eq!(url.origin.authority(), "[::1]:99");
        assert_eq!(Url::parse("http://a").unwrap().origin.to_string(), "http://a");
        let url = Url::parse("https://A/b?c").unwrap();
        assert_eq!((url.origin.scheme, url.origin.port), (Scheme::Https, 443));
        assert_eq!(url.to_string(), "https://a/b");
        assert_eq!(Url::parse("https://a:80").unwrap().origin.to_string(), "https://a:80");
    }

    #[test]
    fn references_lead_where_rfc_3986_says() {
        let base = Url::parse("http://a/b/c/d;p?q").unwrap();
        // RFC 3986 section 5.4, with `http` where it has other schemes, and fragments dropped.
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g;x=1", "http://a/b/c/g;x=1"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://H:9/x?y", "https://h:9/x?y"),
            ("/a b\u{e4}", "http://a/a%20b%C3%A4"),
        ] {
            let (origin, target) = resolve(&base.origin, "/b/c/d;p?q", reference).unwrap();
            assert_eq!(format!("{origin}{target}"), expected, "{reference}");
        }
        for reference in ["ftp://g", "mailto:a@b", "//u@h/", "http:g", "//h:0/", "///x"] {
            assert!(resolve(&base.origin, "/", reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn refuses_what_is_doubtful() {
        for text in [
            "",
            "localhost:8080",
            "ftp://a",
            "http://",
            "https://",
            "http:///x",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:8x",
            "http://a:",
            "http://a b/",
            "http://a/\n",
            "http://user@a",
            "http://user:pw@a/",
            "http://a%2Fb",
            "http://[::1",
            "http://[::g]",
            "http://[::1]x",
            "http://a/#f",
            "http://ä",
            "http://a\\b",
            "http://a;b",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
