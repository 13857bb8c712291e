//! Requests: from the bytes that HTTP/1.1 would send to what HTTP/2 does.
//!
//! Whoever asks renders requests in one way for both. Their header lines are nearly always the
//! same: they are read again only when they differ from those of the request before.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme, Uri};
use http::{Request, Version};
use windrow_model::limits::HEAD_LINES;
use windrow_model::{Failure, FailureClass};

/// Turns rendered requests into those of HTTP/2.
#[derive(Debug)]
pub(super) struct Requests {
    scheme: Scheme,
    /// What stood behind the target of the last request.
    tail: Vec<u8>,
    /// What that says.
    authority: Option<Authority>,
    headers: HeaderMap,
}

/// Lines that are about an HTTP/1.1 connection (RFC 9113 section 8.2.2), or that HTTP/2 says
/// otherwise.
const DROPPED: [HeaderName; 6] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Values that compression must not remember (RFC 7541 section 7.1.3).
const SENSITIVE: [HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

fn cannot() -> Failure {
    Failure::new(FailureClass::Malformed, "the request cannot be sent over HTTP/2")
}

impl Requests {
    pub(super) fn new(scheme: Scheme) -> Self {
        Self { scheme, tail: Vec::new(), authority: None, headers: HeaderMap::new() }
    }

    /// The request that `rendered` is.
    ///
    /// # Errors
    /// A failure of the object: no `GET` request of HTTP/1.1, or a target that is none.
    pub(super) fn read(&mut self, rendered: &[u8]) -> Result<Request<()>, Failure> {
        let rest = rendered.strip_prefix(b"GET ").ok_or_else(cannot)?;
        let end = memchr::memchr(b' ', rest).ok_or_else(cannot)?;
        let (target, tail) = rest.split_at(end);
        if tail != self.tail {
            self.learn(rendered, tail)?;
        }
        let path = PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(target));
        // What follows a `#` would be cut off silently.
        let path = path.ok().filter(|path| path.as_str().len() == target.len() && end > 0);
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority.clone_from(&self.authority);
        parts.path_and_query = Some(path.ok_or_else(cannot)?);
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| cannot())?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    /// Reads the header lines.
    fn learn(&mut self, rendered: &[u8], tail: &[u8]) -> Result<(), Failure> {
        self.tail.clear();
        let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES];
        let mut request = httparse::Request::new(&mut lines);
        match request.parse(rendered) {
            Ok(httparse::Status::Complete(len)) if len == rendered.len() => {}
            _ => return Err(cannot()),
        }
        let mut headers = HeaderMap::new();
        let mut authority = None;
        for line in request.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| cannot())?;
            if name == header::HOST {
                authority = Some(Authority::try_from(line.value).map_err(|_| cannot())?);
            }
            if DROPPED.contains(&name) || name.as_str() == "proxy-connection" {
                continue;
            }
            let mut value = HeaderValue::from_bytes(line.value).map_err(|_| cannot())?;
            value.set_sensitive(SENSITIVE.contains(&name));
            headers.append(name, value);
        }
        self.authority = Some(authority.ok_or_else(cannot)?);
        self.headers = headers;
        self.tail.extend_from_slice(tail);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rendered: &str) -> Result<Request<()>, Failure> {
        Requests::new(Scheme::HTTPS).read(rendered.as_bytes())
    }

    #[test]
    fn the_target_and_the_lines_are_taken_over() {
        let rendered = "GET /a%20b?c=d&e= HTTP/1.1\r\nHost: h.example:8443\r\nUser-Agent: w\r\n\
                        Connection: keep-alive\r\nAuthorization: secret\r\nX: 1\r\nx: 2\r\n\
                        TE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: close\r\n\
                        Keep-Alive: 1\r\n\r\n";
        let request = read(rendered).unwrap();
        assert_eq!(request.uri(), "https://h.example:8443/a%20b?c=d&e=");
        let lines: Vec<_> =
            request.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let expected: [(&str, &[u8]); 4] =
            [("user-agent", b"w"), ("authorization", b"secret"), ("x", b"1"), ("x", b"2")];
        assert_eq!(lines, expected);
        assert!(request.headers()["authorization"].is_sensitive());
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn lines_are_read_again_when_they_change() {
        let mut requests = Requests::new(Scheme::HTTP);
        for (host, line) in [("a", "1"), ("a", "1"), ("b", "1"), ("b", "2"), ("a", "1")] {
            let rendered = format!("GET /{line} HTTP/1.1\r\nHost: {host}\r\nL: {line}\r\n\r\n");
            let request = requests.read(rendered.as_bytes()).unwrap();
            assert_eq!(request.uri().to_string(), format!("http://{host}/{line}"));
            assert_eq!(request.headers()["l"], line);
        }
        // One that cannot be read leaves nothing behind that the next would be sent with.
        assert!(requests.read(b"GET / HTTP/1.1\r\nHost: \x01\r\n\r\n").is_err());
        let request = requests.read(b"GET /1 HTTP/1.1\r\nHost: a\r\nL: 1\r\n\r\n").unwrap();
        assert_eq!(request.headers()["l"], "1");
    }

    #[test]
    fn what_is_no_such_request_is_a_failure_of_its_object() {
        for rendered in [
            "",
            "GET /",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: a\r\nL",
            "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let failure = read(rendered).unwrap_err();
            assert!(!failure.retry(), "{rendered:?}");
        }
    }
}
