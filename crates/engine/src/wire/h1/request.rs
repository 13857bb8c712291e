//! Requests: the constant part of a head is made once for each origin.

use crate::wire::sigv4::{Act, Identity, Signer};
use std::rc::Rc;
use std::sync::Arc;

/// What a front begins with.
const GET: &[u8] = b"GET ";

/// Renders requests for one origin: `GET`, unless something else is said.
#[derive(Debug, Clone)]
pub struct Template {
    /// `GET `, and scheme and authority where a proxy is asked.
    front: Box<[u8]>,
    /// ` HTTP/1.1`, `Host`, and every other line but the empty one.
    tail: Box<[u8]>,
    /// Signs each request as it leaves.
    signer: Option<Rc<Signer>>,
}

impl Template {
    /// A template with these header lines, `Host` first.
    ///
    /// # Errors
    /// Gives the name of the first line whose name is no token or whose value holds a control
    /// character: with those, one request could be made to look like two (RFC 9112 section 11.1).
    pub fn new<'h>(
        authority: &'h str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Result<Self, String> {
        let mut tail = b" HTTP/1.1\r\n".to_vec();
        for (name, value) in std::iter::once(("Host", authority)).chain(headers) {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            let field = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7F);
            if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(field) {
                return Err(name.escape_default().to_string());
            }
            for part in [name.as_bytes(), b": ", value.trim().as_bytes(), b"\r\n"] {
                tail.extend_from_slice(part);
            }
        }
        Ok(Self { front: GET.into(), tail: tail.into(), signer: None })
    }

    /// The same for a proxy that is asked in the clear: scheme and authority stand before each
    /// target (RFC 9112 section 3.2.2).
    #[must_use]
    pub fn absolute(self, scheme_and_authority: &str) -> Self {
        let front = [GET, scheme_and_authority.as_bytes()].concat();
        Self { front: front.into(), ..self }
    }

    /// The same with a signature in every request.
    #[must_use]
    pub fn signed(self, signer: Rc<Signer>) -> Self {
        Self { signer: Some(signer), ..self }
    }

    /// Whose requests these are, where they are signed.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.signer.as_ref().map(|signer| signer.identity())
    }

    /// Appends a request; `target` appends the request target (path and query), which it has
    /// percent-encoded.
    pub fn render(&self, out: &mut Vec<u8>, target: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.front);
        let start = out.len();
        target(out);
        let end = out.len();
        debug_assert!(out[start..].iter().all(u8::is_ascii_graphic) && out[start] == b'/');
        out.extend_from_slice(&self.tail);
        if let Some(signer) = &self.signer {
            signer.sign(&Act::GET, start..end, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The same for any method. `lines` are header lines that are sent and not signed; a body of `length`
    /// bytes is to follow, where the method has one.
    pub fn render_act(
        &self,
        act: &Act<'_>,
        lines: &[(&str, &str)],
        length: Option<usize>,
        target: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(act.method.as_bytes());
        out.extend_from_slice(&self.front[GET.len() - 1..]);
        let start = out.len();
        out.extend_from_slice(target);
        let end = out.len();
        out.extend_from_slice(&self.tail);
        let mut line = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        lines.iter().for_each(|(name, value)| line(name, value));
        if let Some(length) = length {
            line("Content-Length", &length.to_string());
        }
        match &self.signer {
            Some(signer) => signer.sign(act, start..end, out),
            None => act.headers.iter().for_each(|(name, value)| line(name, value)),
        }
        out.extend_from_slice(b"\r\n");
    }
}
