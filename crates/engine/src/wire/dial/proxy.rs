//! Proxies: which one an origin is reached through, and the tunnel through it.
//!
//! Named in the environment, read as curl reads them. A proxy's user name and password go to that
//! proxy and stand in no message.

use super::address::{AddressRange, Host};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use windrow_model::limits::{HEAD_LINES, TUNNEL_HEAD_BYTES};
use windrow_model::url::{Origin, Scheme};
use windrow_model::{Error, Failure, FailureClass};

/// Port of a proxy that is named without one, as in curl.
const PORT: u16 = 1080;

/// Which origins are reached through which proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    except: Vec<Exception>,
}

/// One HTTP proxy.
pub(in crate::wire) struct Proxy {
    pub(in crate::wire) host: Host,
    pub(in crate::wire) port: u16,
    /// Value of `Proxy-Authorization`: a secret.
    pub(in crate::wire) authorization: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        f.debug_struct("Proxy").field("host", host).field("port", port).finish_non_exhaustive()
    }
}

impl Proxies {
    /// The proxies that the environment names; `variable` gives the value of one of its variables.
    ///
    /// `http_proxy` or `HTTP_PROXY`, `https_proxy` or `HTTPS_PROXY`, else `all_proxy` or
    /// `ALL_PROXY`, but for what `no_proxy` or `NO_PROXY` lists. The lower-case one counts; an
    /// empty one means none. `HTTP_PROXY` counts only where `REQUEST_METHOD` is not set: there it
    /// is a header of a request that a web server passes on (CVE-2016-5385).
    ///
    /// # Errors
    /// A usage error where one is none that is supported.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let either = |lower: &'static str, upper: &'static str| {
            let found = |name: &'static str| Some((name, variable(name)?));
            found(lower).or_else(|| found(upper))
        };
        let cgi = variable("REQUEST_METHOD").is_some();
        let http = either("http_proxy", if cgi { "http_proxy" } else { "HTTP_PROXY" });
        let https = either("https_proxy", "HTTPS_PROXY");
        let all = either("all_proxy", "ALL_PROXY");
        let read = |named: Option<(&'static str, String)>| match named.or_else(|| all.clone()) {
            Some((name, value)) if !value.trim().is_empty() => {
                Proxy::read(value.trim()).map(|proxy| Some(Arc::new(proxy))).map_err(|what| {
                    // Not the value: it may hold a password.
                    Error::usage(name, what)
                        .hint("windrow supports http://[USER:PASSWORD@]HOST[:PORT]")
                })
            }
            _ => Ok(None),
        };
        let except = either("no_proxy", "NO_PROXY").map(|(_, list)| Exception::list(&list));
        Ok(Self { http: read(http)?, https: read(https)?, except: except.unwrap_or_default() })
    }

    /// The proxy that `origin` is reached through.
    pub(in crate::wire) fn of(&self, origin: &Origin, host: &Host) -> Option<&Arc<Proxy>> {
        let proxy = match origin.scheme {
            Scheme::Http => self.http.as_ref()?,
            Scheme::Https => self.https.as_ref()?,
        };
        let direct = self.except.iter().any(|except| except.matches(host, origin.port));
        (!direct).then_some(proxy)
    }
}

impl Proxy {
    fn read(text: &str) -> Result<Self, &'static str> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err("a proxy that is spoken to over TLS is not supported");
            }
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
                return Err("a SOCKS proxy is not supported");
            }
            Some(_) => return Err("not the URL of an HTTP proxy"),
            None => text,
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let (host, port) = split_port(authority).ok_or("the host or port cannot be read")?;
        let host = Host::read(host).map_err(|failure| failure.detail)?;
        let authorization = user.map(|user| {
            let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
            format!("Basic {}", base64(&percent_decoded(user.as_bytes())))
        });
        Ok(Self { host, port: port.unwrap_or(PORT), authorization })
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(host, _)| host.contains(':'))?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    match port.strip_prefix(':') {
        None => port.is_empty().then_some((host, None)),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok().filter(|port| *port > 0)?)))
        }
        Some(_) => None,
    }
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let hex = |b: u8| char::from(b).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let pair = match (byte, text.get(at + 1), text.get(at + 2)) {
            (b'%', Some(&high), Some(&low)) => hex(high).zip(hex(low)),
            _ => None,
        };
        match pair {
            Some((high, low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for digit in 0..4 {
            out.push(match digit <= group.len() {
                true => DIGITS[(bits >> (18 - 6 * digit)) as usize & 63].into(),
                false => '=',
            });
        }
    }
    out
}

/// What is reached without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    All,
    Range(AddressRange, Option<u16>),
    /// This name and all below it.
    Domain(String, Option<u16>),
}

impl Exception {
    /// Names, addresses and ranges between commas or spaces. What cannot be read names nothing.
    fn list(text: &str) -> Vec<Self> {
        text.split([',', ' ', '\t'])
            .filter(|entry| !entry.is_empty())
            .filter_map(Self::read)
            .collect()
    }

    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(range) = text.parse() {
            return Some(Self::Range(range, None));
        }
        let (host, port) = split_port(text)?;
        match host.parse() {
            Ok(range) => Some(Self::Range(range, port)),
            Err(_) => {
                let name = host.strip_prefix("*.").unwrap_or(host);
                match Host::read(name.strip_prefix('.').unwrap_or(name)).ok()? {
                    Host::Name(name) => Some(Self::Domain(name, port)),
                    Host::Address(_) => None,
                }
            }
        }
    }

    fn matches(&self, host: &Host, at: u16) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Range(range, port), Host::Address(ip)) => {
                port.is_none_or(|port| port == at) && range.contains(plain(*ip))
            }
            (Self::Domain(domain, port), Host::Name(name)) => {
                let below = name.strip_suffix(domain.as_str());
                port.is_none_or(|port| port == at)
                    && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            _ => false,
        }
    }
}

fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Asks the proxy at the other end of `stream` for a tunnel to `authority` (`HOST:PORT`).
///
/// # Errors
/// Of the class `Connect` where the proxy failed; of another, that is not tried again, where it
/// refused.
///
/// # Cancel
/// Dropping it leaves `stream` useless.
pub(in crate::wire) async fn tunnel(
    stream: &mut TcpStream,
    authority: &str,
    authorization: Option<&str>,
) -> Result<(), Failure> {
    let broke = |_| Failure::new(FailureClass::Connect, "the connection to the proxy broke");
    let odd = |detail| Failure::new(FailureClass::Connect, detail);
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = authorization {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broke)?;
    let mut head = vec![0; TUNNEL_HEAD_BYTES];
    let (mut filled, mut begin) = (0, 0);
    loop {
        if filled == head.len() {
            return Err(odd("the proxy's answer is too long"));
        }
        let len = stream.read(&mut head[filled..]).await.map_err(broke)?;
        if len == 0 {
            return Err(odd("the proxy closed without an answer"));
        }
        filled += len;
        // An interim answer (1xx) is followed by another.
        while let Some((status, len)) = parse(&head[begin..filled])? {
            begin += len;
            match status {
                101 => return Err(odd("the proxy's answer is not HTTP")),
                100..=199 => {}
                200..=299 if begin == filled => return Ok(()),
                // The server does not speak first in TLS: these bytes are somebody else's.
                200..=299 => return Err(odd("the proxy sent bytes ahead of the server")),
                _ => return Err(refusal(status)),
            }
        }
    }
}

/// Status and length of a response head, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize)>, Failure> {
    let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES];
    let mut response = httparse::Response::new(&mut lines);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => Ok(response.code.map(|code| (code, len))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Failure::new(FailureClass::Connect, "the proxy's answer is not HTTP")),
    }
}

fn refusal(status: u16) -> Failure {
    let (class, detail) = match status {
        407 => (FailureClass::Forbidden, "the proxy asks for a user name and password"),
        401 | 403 => (FailureClass::Forbidden, "the proxy refuses to connect"),
        408 | 429 => (FailureClass::Connect, "the proxy asks to slow down"),
        500..=599 => (FailureClass::Connect, "the proxy cannot connect"),
        _ => (FailureClass::Status, "the proxy answered with an error"),
    };
    Failure { class, status, detail }
}

#[cfg(test)]
mod tests;
