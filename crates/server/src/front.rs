//! What stands between a limited server's gate and its content: who may have an object, where, and how.

use std::io;
use std::sync::Arc;

use memchr::memmem;

use crate::coding::Coding;
use crate::digest::Sums;
use crate::faults::{Play, state_length};
use crate::redirect::{Leads, Redirect, behind_hops};
use crate::request::{Method, Request};
use crate::respond::{Body, Piece, Refusal, Site, answer, head_into, origin_form, split_query};
use crate::sign::{ClockOffset, SignKey};

/// Bytes of a body that is encoded, at most: it is in memory as a whole. A longer one is sent as it
/// is.
const CODED_BYTES: u64 = 16 << 20;

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
    /// Whether answers tell the checksums of their bodies.
    pub(crate) checksums: bool,
    /// What bodies are encoded in, where the client takes it.
    pub(crate) coding: Option<Coding>,
}

impl Front {
    /// Asks nothing and tells nothing.
    pub(crate) fn open(content: Arc<Site>) -> Self {
        Self { content, key: None, clock: None, redirect: None, checksums: false, coding: None }
    }

    /// Answers a request for an object; with checksums that are not `right`, if it is not.
    pub(crate) fn object(
        &self,
        request: &Request<'_>,
        right: bool,
        out: &mut Vec<u8>,
    ) -> Option<Body> {
        let Some((hops, target)) = behind_hops(origin_form(request.target)) else {
            Refusal::no_object().into_answer(request.method, request.connection, out);
            return None;
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
            Leads::Here => self.content(&Request { target, ..*request }, right, out),
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

    fn content(&self, request: &Request<'_>, right: bool, out: &mut Vec<u8>) -> Option<Body> {
        let coding = self.coding.filter(|&coding| request.accepts.has(coding));
        let sums = self.checksums || !right;
        if coding.is_none() && !sums {
            return answer(&self.content, request, out);
        }
        let start = out.len();
        let get = Request { method: Method::Get, ..*request };
        let mut rest = answer(&self.content, &get, out);
        let head_end = |out: &[u8]| {
            memmem::find(&out[start..], b"\r\n\r\n").map_or(out.len(), |at| start + at + 4)
        };
        let head = head_end(out);
        if !out[start..].starts_with(b"HTTP/1.1 200 ") {
            out.truncate(start);
            return answer(&self.content, request, out);
        }
        let mut lines = String::new();
        let length = (out.len() - head) as u64 + rest.as_ref().map_or(0, Body::left);
        if let Some(coding) = coding
            && length <= CODED_BYTES
        {
            let body = collect(rest.take(), out.split_off(head));
            let Ok(coded) = body.and_then(|body| coding.encode(&body)) else {
                // What cannot be read breaks off, as it would have done without a coding.
                out.truncate(start);
                return Play::new(Vec::new(), None).reset();
            };
            state_length(coded.len() as u64, start, out);
            lines = format!("Content-Encoding: {coding}\r\nVary: Accept-Encoding\r\n");
            if sums {
                let mut sums = Sums::default();
                sums.add(&coded);
                lines.push_str(&sums.lines(right));
            }
            rest = Play::new(coded, None).boxed();
        } else if sums {
            let mut sums = Sums::default();
            sums.add(&out[head..]);
            if rest.is_some() {
                // The head comes before the body, so the body is read twice.
                let mut part = Vec::new();
                let mut body = answer(&self.content, &get, &mut part);
                while let Some(more) = &mut body {
                    part.clear();
                    if !matches!(more.piece_into(&mut part), Ok(Piece::More | Piece::Pause(_))) {
                        body = None;
                    }
                    sums.add(&part);
                }
            }
            lines = sums.lines(right);
        }
        if request.method == Method::Head {
            out.truncate(head_end(out));
            rest = None;
        }
        insert(lines.as_bytes(), start, out);
        rest
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

/// All of a body, of which `held` was answered already.
fn collect(rest: Option<Body>, mut held: Vec<u8>) -> io::Result<Vec<u8>> {
    let Some(mut rest) = rest else { return Ok(held) };
    while !matches!(rest.piece_into(&mut held)?, Piece::Last(_)) {}
    Ok(held)
}

/// Inserts header lines into the answer that begins at `start`, behind its status.
fn insert(lines: &[u8], start: usize, out: &mut Vec<u8>) {
    if let Some(at) = memchr::memchr(b'\n', &out[start..]) {
        let at = start + at + 1;
        out.splice(at..at, lines.iter().copied());
    }
}
