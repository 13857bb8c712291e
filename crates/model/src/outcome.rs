//! What became of an object, and whether it is worth another attempt.

use std::fmt;

/// Why an attempt failed: a closed set, stable in reports, ledger and API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FailureClass {
    /// The name could not be resolved.
    Dns,
    /// No connection could be made.
    Connect,
    /// The connection ended or broke before the response was whole.
    Reset,
    /// Nothing came for longer than `--timeout`.
    Timeout,
    /// The body ended before its framing said so.
    Truncated,
    /// The response was not HTTP, or its framing was contradictory.
    Protocol,
    /// 408, 429: the server asks for patience.
    Throttled,
    /// 5xx.
    Server,
    /// 404, 410.
    NotFound,
    /// 401, 403.
    Forbidden,
    /// A redirect that is not followed.
    Redirect,
    /// Any other status that is not a success.
    Status,
    /// The body is larger than the bound.
    TooLarge,
    /// The name cannot be stored at the destination.
    Name,
    /// The line of a list is none that names an object.
    Malformed,
    /// The URL's signature expired, or would have before the answer.
    Expired,
    /// The server's certificate is not to be trusted, or no secure connection can be agreed on.
    Tls,
    /// The body is not what the source or the server said that it is.
    Checksum,
    /// The host has an address that is not to be asked (link-local, cloud metadata).
    Blocked,
    /// The body is encoded in a way that cannot be undone.
    Encoding,
    /// What was to be done with the body cannot be done with it.
    Transform,
    /// It is another version than the one that was listed.
    Changed,
}

impl FailureClass {
    /// Every class, in the order of the reports. The ledger records a class by its place here: new
    /// ones come behind the last.
    pub const ALL: [FailureClass; 22] = [
        Self::Dns,
        Self::Connect,
        Self::Reset,
        Self::Timeout,
        Self::Truncated,
        Self::Protocol,
        Self::Throttled,
        Self::Server,
        Self::NotFound,
        Self::Forbidden,
        Self::Redirect,
        Self::Status,
        Self::TooLarge,
        Self::Name,
        Self::Malformed,
        Self::Expired,
        Self::Tls,
        Self::Checksum,
        Self::Blocked,
        Self::Encoding,
        Self::Transform,
        Self::Changed,
    ];

    /// Stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Truncated => "truncated",
            Self::Protocol => "protocol",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::TooLarge => "too_large",
            Self::Name => "name",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::Tls => "tls",
            Self::Checksum => "checksum",
            Self::Blocked => "blocked",
            Self::Encoding => "encoding",
            Self::Transform => "transform",
            Self::Changed => "changed",
        }
    }

    /// The single rule: is another attempt worth it?
    pub fn retry(self) -> bool {
        match self {
            Self::Dns
            | Self::Connect
            | Self::Reset
            | Self::Timeout
            | Self::Truncated
            | Self::Protocol
            | Self::Throttled
            | Self::Server
            | Self::Checksum => true,
            Self::NotFound
            | Self::Forbidden
            | Self::Redirect
            | Self::Status
            | Self::TooLarge
            | Self::Name
            | Self::Malformed
            | Self::Expired
            | Self::Tls
            | Self::Blocked
            | Self::Encoding
            | Self::Transform
            | Self::Changed => false,
        }
    }
}

/// How one attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub class: FailureClass,
    /// The status of the response, 0 when none came.
    pub status: u16,
    /// What happened, without names, addresses or secrets.
    pub detail: &'static str,
}

impl Failure {
    /// A failure without a response.
    pub fn new(class: FailureClass, detail: &'static str) -> Self {
        Self { class, status: 0, detail }
    }

    /// The failure that a final status stands for; `None` for the three that carry the object
    /// (200, 203, and 204 for an empty one). Any other 2xx is not the object: 202 says that it is
    /// not there yet, 206 is a part that nobody asked for.
    pub fn of_status(status: u16) -> Option<Self> {
        let (class, detail) = match status {
            200 | 203 | 204 => return None,
            300..=399 => (FailureClass::Redirect, "the server redirects"),
            401 | 403 => (FailureClass::Forbidden, "the server refuses access"),
            404 | 410 => (FailureClass::NotFound, "the server has no such object"),
            408 | 429 => (FailureClass::Throttled, "the server asks to slow down"),
            500..=599 => (FailureClass::Server, "the server failed"),
            _ => (FailureClass::Status, "the server answered with an error"),
        };
        Some(Self { class, status, detail })
    }

    /// Whether another attempt is worth it (RFC 9110 section 15: 501 and 505 say that the server
    /// will never do it).
    pub fn retry(self) -> bool {
        self.class.retry() && !matches!(self.status, 501 | 505)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => write!(f, "{}", self.detail),
            status => write!(f, "{}: status {status}", self.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_exactly_one_reading() {
        for status in 100..=999_u16 {
            let failure = Failure::of_status(status);
            assert_eq!(failure.is_none(), matches!(status, 200 | 203 | 204), "{status}");
            let retried = failure.is_some_and(Failure::retry);
            let expected = matches!(status, 408 | 429)
                || ((500..600).contains(&status) && !matches!(status, 501 | 505));
            assert_eq!(retried, expected, "{status}");
        }
    }

    #[test]
    fn names_of_classes_are_distinct() {
        let mut names: Vec<_> = FailureClass::ALL.iter().map(|c| c.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureClass::ALL.len());
        for (index, class) in FailureClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, index, "ALL is in declaration order");
        }
    }
}
