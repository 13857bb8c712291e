//! What stands between a limited server's gate and its content: who may have an object, and where.

use std::sync::Arc;

use crate::redirect::{Leads, Redirect, behind_hops};
use crate::request::{Method, Request};
use crate::respond::{Body, Refusal, Site, answer, head_into, split_query};
use crate::sign::{ClockOffset, SignKey};

/// The content of a server, and what is asked of those who want it.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) content: Arc<Site>,
    /// Every URL has to be signed with this.
    pub(crate) key: Option<SignKey>,
    /// The server's clock, if answers tell it.
    pub(crate) clock: Option<ClockOffset>,
    /// Where those are sent who ask for an object.
    pub(crate) redirect: Option<Redirect>,
}

impl Front {
    /// Asks nothing and tells nothing.
    pub(crate) fn open(content: Arc<Site>) -> Self {
        Self { content, key: None, clock: None, redirect: None }
    }

    /// Answers a request for an object.
    pub(crate) fn object(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Option<Body> {
        let Some((hops, target)) = behind_hops(request.target) else {
            return answer(&self.content, request, out);
        };
        let (path, query) = split_query(target);
        if let Some(key) = &self.key
            && let Err(denied) = key.check(path, query, self.clock.unwrap_or_default().unix())
        {
            let text = denied.xml();
            let length = text.len() as u64;
            head_into("403 Forbidden", "application/xml", length, request.connection, out);
            if request.method != Method::Head {
                out.extend_from_slice(text.as_bytes());
            }
            return None;
        }
        match self.redirect.as_ref().map_or(Leads::Here, |redirect| redirect.leads(hops, target)) {
            Leads::Here => answer(&self.content, &Request { target, ..*request }, out),
            Leads::On { status, location } => {
                let start = out.len();
                head_into(status, "text/plain", 0, request.connection, out);
                insert(&[b"Location: ", &*location, b"\r\n"].concat(), start, out);
                None
            }
            Leads::Nowhere => {
                Refusal::no_object().into_answer(request.method, request.connection, out);
                None
            }
        }
    }

    /// Whether this target is a step on the way to an object.
    pub(crate) fn is_hop(&self, target: &[u8]) -> bool {
        self.redirect.is_some() && behind_hops(target).is_some()
    }

    /// Adds what every answer tells to the one that begins at `start`, which may be nothing.
    pub(crate) fn tell(&self, start: usize, out: &mut Vec<u8>) {
        if let Some(clock) = self.clock {
            let date = httpdate::fmt_http_date(clock.now());
            insert(format!("Date: {date}\r\n").as_bytes(), start, out);
        }
    }
}

/// Inserts header lines into the answer that begins at `start`, behind its status.
fn insert(lines: &[u8], start: usize, out: &mut Vec<u8>) {
    if let Some(at) = memchr::memchr(b'\n', &out[start..]) {
        let at = start + at + 1;
        out.splice(at..at, lines.iter().copied());
    }
}
