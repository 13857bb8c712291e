//! What it means that a stream, or its connection, ended before the response did.
//!
//! RFC 9113 section 8.7 names the two cases in which a request was not processed for sure: its
//! stream is above the last one that a GOAWAY names, or it was reset with REFUSED_STREAM. All
//! others may have been, and count as attempts.

use h2::{Error, Reason};
use windrow_model::{Failure, FailureClass};

/// What became of a request without a whole response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server did not process it.
    Refused {
        /// Because it has too much to do with this client.
        calm: bool,
    },
    /// The attempt failed.
    Failed(Failure),
    /// The connection ended under it.
    Cut,
}

fn failed(class: FailureClass, detail: &'static str) -> Verdict {
    Verdict::Failed(Failure::new(class, detail))
}

/// What the error of one stream means. `begun` is whether the head of the response was there;
/// `measured` whether the body has a length that was said beforehand.
pub(super) fn of_stream(error: &Error, begun: bool, measured: bool) -> Verdict {
    let Some(reason) = error.reason() else { return Verdict::Cut };
    if !error.is_remote() {
        // What the library found wrong: with the stream, or with all of the connection.
        let detail = match (error.is_reset(), begun, measured) {
            (true, true, true) => "the body is not as long as Content-Length says",
            (true, false, _) => "the head of the response is malformed or too large",
            (true, true, false) => "the response is malformed",
            (false, ..) => "the server breaks the rules of HTTP/2",
        };
        return failed(FailureClass::Protocol, detail);
    }
    if error.is_go_away() && !begun {
        // Only streams above the last one of a GOAWAY end with it.
        return Verdict::Refused { calm: reason == Reason::ENHANCE_YOUR_CALM };
    }
    match reason {
        Reason::REFUSED_STREAM if !begun => Verdict::Refused { calm: false },
        Reason::ENHANCE_YOUR_CALM => failed(FailureClass::Throttled, CALM),
        Reason::HTTP_1_1_REQUIRED => {
            failed(FailureClass::Protocol, "the server wants HTTP/1.1 for this")
        }
        Reason::PROTOCOL_ERROR => {
            failed(FailureClass::Protocol, "the server calls the request malformed")
        }
        _ => failed(FailureClass::Reset, "the server reset the stream"),
    }
}

const CALM: &str = "the server asks to slow down (ENHANCE_YOUR_CALM)";

/// Requests that the server refused because it has too much to do with this client.
pub(super) fn calm() -> Failure {
    Failure::new(FailureClass::Throttled, CALM)
}

/// Requests that were all refused.
pub(super) fn all_refused() -> Failure {
    let detail = "the server refused every request of the connection";
    Failure::new(FailureClass::Reset, detail)
}

/// What the end of a connection means for a response under way (`begun`), or awaited; `reason` is
/// the one that a GOAWAY gave.
pub(super) fn of_connection(reason: Option<Reason>, begun: bool) -> Failure {
    let (class, detail) = match reason {
        Some(Reason::ENHANCE_YOUR_CALM) => (FailureClass::Throttled, CALM),
        Some(Reason::HTTP_1_1_REQUIRED) => (FailureClass::Protocol, "the server wants HTTP/1.1"),
        Some(Reason::NO_ERROR | Reason::INTERNAL_ERROR | Reason::CANCEL) | None if begun => {
            (FailureClass::Truncated, "the connection ended inside the response")
        }
        Some(Reason::NO_ERROR | Reason::INTERNAL_ERROR | Reason::CANCEL) | None => {
            (FailureClass::Reset, "the server closed the connection without an answer")
        }
        Some(_) => (FailureClass::Protocol, "HTTP/2 failed on the connection"),
    };
    Failure::new(class, detail)
}
