//! HTTP/1.1 as a client speaks it (RFC 9112), without I/O.
//!
//! [`Decoder`] turns bytes into heads and bodies, [`Session`] matches the responses of one
//! connection to the requests that were sent on it, [`Template`] renders requests. None of them
//! owns a socket or looks at a clock, so they are tested and fuzzed as they are.

mod chunked;
mod decoder;
mod head;
mod request;
mod retry_after;
mod session;

pub use decoder::{Decoder, Event};
pub use head::{Framing, Head, Malformed, fields, header, is_notable};
pub use request::Template;
pub use retry_after::{date, retry_after};
pub use session::{Broken, Exchange, Interest, Loss, Session};

#[cfg(test)]
mod tests;
