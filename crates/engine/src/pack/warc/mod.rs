//! WARC 1.1 (ISO 28500:2017), for archives of the web: `warc.gz`, each record a gzip member of its own
//! (its annex D), so that tools begin to read anywhere.
//!
//! A file begins with a `warcinfo` record. Each object is
//!
//! 1. a `request` record, where the request is known ([`Meta::request`]),
//! 2. a `response` record: status line, header lines and body. Header lines that are not true of the
//!    stored body are renamed, see `http.rs`. Where nothing is known of the answer, it is a
//!    `resource` record with the body alone, as of the URI `file:///NAME`;
//! 3. a `metadata` record with the lines `name: NAME` and `ordinal: N`; the name's bytes are
//!    percent-encoded (RFC 3986), but for letters, digits and `-._~/`.
//!
//! The three name each other by `WARC-Concurrent-To`. Their identifiers are UUIDs of version 5, of name,
//! ordinal, URL and date, so that the same objects give the same records. Digests of blocks and of
//! bodies are SHA-1 in base32, which is what tools and indexes of WARC files have.
//!
//! The place of an object is the offset of its `response` (or `resource`) member.

mod http;
mod id;
mod member;
mod read;
#[cfg(test)]
mod tests;

pub use read::Warcs;

use super::jsonl::{date, text::decimal};
use super::{Content, Encode, Meta, Out, Record};
use id::{SPACE, Uuid, labelled, urn, uuid};
use sha1::{Digest as _, Sha1};
use std::io;
use windrow_model::percent::{Keep, escape_into};

/// Level of gzip where nobody says another.
pub const LEVEL: u32 = 6;

/// What the identifier of an object's `metadata` record is made of, beside that of its response.
const METADATA: &[u8] = b"metadata";
const REQUEST: &[u8] = b"request";

/// What a `resource` record without a URL is said to be of; the standard's annex has an example with
/// such a URI.
const NAME_URI: &str = "file:///";

/// Writes WARC files. Every record is complete at once. Holds two heads and a buffer in memory, however
/// large bodies are; those are read twice.
#[derive(Debug)]
pub struct Warc {
    run: Vec<u8>,
    created_at: u64,
    files: u64,
    gzip: member::Writer,
    /// Where the object comes from, as it stands in its records.
    target: Vec<u8>,
    head: Vec<u8>,
    block: Vec<u8>,
}

/// What the head of a record says.
struct Says<'a> {
    kind: &'a str,
    id: Uuid,
    concurrent_to: &'a [Uuid],
    millis: u64,
    content_type: &'a str,
    block: [u8; 20],
    payload: Option<[u8; 20]>,
    bytes: u64,
}

impl Warc {
    /// Files of a run, or of one core of it: `run` is what it is called, different from all others, as
    /// the identifiers of `warcinfo` records follow from it. They are dated `created_at`, in
    /// milliseconds since 1970, as are objects of which no date is known. `level` is gzip's, up to 9.
    pub fn new(run: &[u8], created_at: u64, level: u32) -> Self {
        Self {
            run: run.to_vec(),
            created_at,
            files: 0,
            gzip: member::Writer::new(level.min(9)),
            target: Vec::new(),
            head: Vec::new(),
            block: Vec::new(),
        }
    }

    /// Begins a member with the head of a record.
    fn begin_record(&mut self, says: &Says<'_>, out: &mut dyn Out) -> io::Result<()> {
        let head = &mut self.head;
        head.clear();
        head.extend_from_slice(b"WARC/1.1\r\nWARC-Type: ");
        head.extend_from_slice(says.kind.as_bytes());
        head.extend_from_slice(b"\r\nWARC-Record-ID: ");
        urn(&says.id, head);
        head.extend_from_slice(b"\r\nWARC-Date: ");
        date::write(says.millis, head);
        if !self.target.is_empty() {
            head.extend_from_slice(b"\r\nWARC-Target-URI: ");
            head.extend_from_slice(&self.target);
        }
        for other in says.concurrent_to {
            head.extend_from_slice(b"\r\nWARC-Concurrent-To: ");
            urn(other, head);
        }
        head.extend_from_slice(b"\r\nContent-Type: ");
        head.extend_from_slice(says.content_type.as_bytes());
        head.extend_from_slice(b"\r\nWARC-Block-Digest: ");
        labelled(&says.block, head);
        if let Some(payload) = &says.payload {
            head.extend_from_slice(b"\r\nWARC-Payload-Digest: ");
            labelled(payload, head);
        }
        head.extend_from_slice(b"\r\nContent-Length: ");
        decimal(says.bytes, head);
        head.extend_from_slice(b"\r\n\r\n");
        let bytes = head.len() as u64 + says.bytes;
        self.gzip.begin(bytes);
        self.gzip.write(head, out)
    }

    fn end_record(&mut self, out: &mut dyn Out) -> io::Result<()> {
        self.gzip.write(b"\r\n\r\n", out)?;
        self.gzip.end(out)
    }

    /// A record whose block is in memory, in `self.block`.
    fn small(&mut self, mut says: Says<'_>, out: &mut dyn Out) -> io::Result<()> {
        says.block = Sha1::digest(&self.block).into();
        says.bytes = self.block.len() as u64;
        self.begin_record(&says, out)?;
        self.gzip.write(&self.block, out)?;
        self.end_record(out)
    }

    /// The record with the body. Gives where it begins.
    fn main(
        &mut self,
        mut says: Says<'_>,
        meta: Option<&Meta>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<u64> {
        self.block.clear();
        if let Some(meta) = meta {
            http::write(meta, body.len(), &mut self.block);
        }
        let (mut block, mut payload) = (Sha1::new_with_prefix(&self.block), Sha1::new());
        let mut bytes = 0;
        body.pieces(&mut |piece| {
            bytes += piece.len() as u64;
            block.update(piece);
            if meta.is_some() {
                payload.update(piece);
            }
            Ok(())
        })?;
        if bytes != body.len() {
            return Err(super::other_length());
        }
        says.block = block.finalize().into();
        // Without a head they are the same.
        says.payload = Some(meta.map_or(says.block, |_| payload.finalize().into()));
        says.bytes = self.block.len() as u64 + bytes;
        let place = out.at();
        self.begin_record(&says, out)?;
        self.gzip.write(&self.block, out)?;
        body.pieces(&mut |piece| self.gzip.write(piece, out))?;
        self.end_record(out)?;
        Ok(place)
    }
}

impl Encode for Warc {
    fn begin(&mut self, out: &mut dyn Out) -> io::Result<()> {
        self.files += 1;
        let id = uuid(&SPACE, &[b"warcinfo", &self.files.to_le_bytes(), &self.run]);
        self.target.clear();
        self.block.clear();
        self.block.extend_from_slice(b"software: windrow/");
        self.block.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
        self.block.extend_from_slice(
            b"\r\nformat: WARC File Format 1.1\r\nconformsTo: \
              http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n",
        );
        self.small(says("warcinfo", id, &[], self.created_at, FIELDS), out)
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<(u64, bool)> {
        let none = Meta::default();
        let known = record.meta.unwrap_or(&none);
        let answer = record.meta.filter(|meta| (100..1000).contains(&meta.status));
        self.target.clear();
        if known.url.is_empty() {
            self.target.extend_from_slice(NAME_URI.as_bytes());
            escape_into(record.name, &Keep::UNRESERVED_AND_SLASH, &mut self.target);
        } else {
            escape_into(known.url.as_bytes(), &Keep::TARGET, &mut self.target);
        }
        let millis = if known.fetched_at > 0 { known.fetched_at } else { self.created_at };
        let (ordinal, date) = (record.ordinal.to_le_bytes(), millis.to_le_bytes());
        let main = uuid(&SPACE, &[b"object", &ordinal, &date, &self.target, b" ", record.name]);
        let (request, metadata) = (uuid(&main, &[REQUEST]), uuid(&main, &[METADATA]));
        let asked = answer.filter(|meta| !meta.request.is_empty());
        if let Some(meta) = asked {
            self.block.clear();
            self.block.extend_from_slice(&meta.request);
            let kind = "application/http;msgtype=request";
            self.small(says("request", request, &[main], millis, kind), out)?;
        }
        let (kind, content_type) = match answer {
            Some(_) => ("response", "application/http;msgtype=response"),
            None => ("resource", "application/octet-stream"),
        };
        let all = [metadata, request];
        let others = if asked.is_some() { &all[..] } else { &all[..1] };
        let place = self.main(says(kind, main, others, millis, content_type), answer, body, out)?;
        self.block.clear();
        self.block.extend_from_slice(b"name: ");
        escape_into(record.name, &Keep::UNRESERVED_AND_SLASH, &mut self.block);
        self.block.extend_from_slice(b"\r\nordinal: ");
        decimal(record.ordinal, &mut self.block);
        self.block.extend_from_slice(b"\r\n");
        self.small(says("metadata", metadata, &[main], millis, FIELDS), out)?;
        Ok((place, true))
    }
}

/// The media type of blocks that are lines of fields.
const FIELDS: &str = "application/warc-fields";

/// What is said of a record before its block is known.
fn says<'a>(
    kind: &'a str,
    id: Uuid,
    concurrent_to: &'a [Uuid],
    millis: u64,
    content_type: &'a str,
) -> Says<'a> {
    Says { kind, id, concurrent_to, millis, content_type, block: [0; 20], payload: None, bytes: 0 }
}
