//! Reads objects from `warc.gz` files: those that [`Warc`](super::Warc) writes, and others whose
//! records are gzip members of their own. There the name is the URI.
//!
//! In memory are two heads of at most [`WARC_HEAD_BYTES`], and buffers. Bodies pass through whatever
//! their size. Damage is found by gzip's checksum; the digests are for those who copy records.

use super::id::{Uuid, of_urn, uuid};
use super::{METADATA, NAME_URI, http, member};
use crate::pack::jsonl::date;
use crate::pack::{Decode, Found, Meta, ReadAt};
use std::io;
use windrow_model::limits::WARC_HEAD_BYTES;
use windrow_model::{Ordinal, percent};

/// Reads the objects of a file.
#[derive(Debug)]
pub struct Warcs<R> {
    members: member::Reader<R>,
    /// The last head that was read.
    head: Vec<u8>,
    /// The next record has to be that of an object.
    sought: bool,
}

/// What is known of a record by its head.
#[derive(Default)]
struct Head {
    kind: Vec<u8>,
    id: Option<Uuid>,
    concurrent_to: Vec<Uuid>,
    target: Vec<u8>,
    millis: u64,
    http: bool,
    bytes: u64,
}

/// Identifiers of one record that are looked at.
const CONCURRENT: usize = 8;

impl<R: ReadAt> Warcs<R> {
    /// From the beginning of the file.
    pub fn new(input: R) -> Self {
        Self { members: member::Reader::new(input), head: Vec::new(), sought: false }
    }

    /// Reads lines into `self.head` up to an empty one, at most so many bytes. Gives how many.
    fn lines(&mut self, most: u64) -> io::Result<u64> {
        self.head.clear();
        let most = most.min(WARC_HEAD_BYTES as u64) as usize;
        let mut line = 0;
        loop {
            let ahead = self.members.fill()?;
            if ahead.is_empty() {
                return Err(damage("a head that does not end"));
            }
            let found = memchr::memchr(b'\n', ahead);
            let taken = found.map_or(ahead.len(), |at| at + 1);
            if self.head.len() + taken > most {
                return Err(damage("a head that does not end"));
            }
            self.head.extend_from_slice(&ahead[..taken]);
            self.members.consume(taken);
            if found.is_some() {
                if matches!(&self.head[line..], b"\n" | b"\r\n") {
                    return Ok(self.head.len() as u64);
                }
                line = self.head.len();
            }
        }
    }

    fn record_head(&mut self) -> io::Result<Head> {
        self.lines(u64::MAX)?;
        let mut lines = self.head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        if !lines.next().is_some_and(|first| first.starts_with(b"WARC/1.")) {
            return Err(damage("a member that is not a WARC record"));
        }
        let (mut head, mut told) = (Head::default(), false);
        for line in lines {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("WARC-Type") {
                head.kind = value.to_vec();
            } else if is("WARC-Record-ID") {
                head.id = of_urn(value);
            } else if is("WARC-Concurrent-To") && head.concurrent_to.len() < CONCURRENT {
                head.concurrent_to.extend(of_urn(value));
            } else if is("WARC-Target-URI") {
                // WARC 1.0 put it into brackets.
                let bare = value.strip_prefix(b"<").and_then(|uri| uri.strip_suffix(b">"));
                head.target = bare.unwrap_or(value).to_vec();
            } else if is("WARC-Date") {
                head.millis = date::read(value).unwrap_or(0);
            } else if is("Content-Type") {
                head.http = value.starts_with(b"application/http");
            } else if is("Content-Length") {
                let length =
                    std::str::from_utf8(value.trim_ascii()).ok().and_then(|text| text.parse().ok());
                head.bytes = length.ok_or_else(|| damage("a record of no length"))?;
                told = true;
            }
        }
        if told { Ok(head) } else { Err(damage("a record of no length")) }
    }

    /// Gives so many bytes of the record to `keep`, and sees that it ends behind them.
    fn rest(&mut self, mut left: u64, keep: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
        while left > 0 {
            let ahead = self.members.fill()?;
            if ahead.is_empty() {
                return Err(damage("a record that is shorter than it says"));
            }
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(ahead.len());
            keep(&ahead[..taken])?;
            self.members.consume(taken);
            left -= taken as u64;
        }
        for expected in *b"\r\n\r\n" {
            if self.members.fill()?.first() != Some(&expected) {
                return Err(damage("a record that does not end"));
            }
            self.members.consume(1);
        }
        if self.members.fill()?.is_empty() { Ok(()) } else { Err(damage("bytes behind a record")) }
    }

    /// Name and ordinal of the object, from the record behind it.
    fn metadata(&mut self, id: Uuid) -> io::Result<(Vec<u8>, Ordinal)> {
        if self.members.open()?.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let head = self.record_head()?;
        if head.kind != b"metadata" || head.id != Some(id) {
            return Err(damage("an object without its metadata"));
        }
        if head.bytes > WARC_HEAD_BYTES as u64 {
            return Err(damage("metadata that is too long"));
        }
        let mut block = Vec::new();
        self.rest(head.bytes, &mut |piece| {
            block.extend_from_slice(piece);
            Ok(())
        })?;
        let (mut name, mut ordinal) = (None, None);
        for line in block.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            if let Some(value) = line.strip_prefix(b"name:") {
                name = percent::decode(value.trim_ascii());
            } else if let Some(value) = line.strip_prefix(b"ordinal:") {
                ordinal =
                    std::str::from_utf8(value.trim_ascii()).ok().and_then(|text| text.parse().ok());
            }
        }
        let wrong = || damage("metadata without name or ordinal");
        let name = name.ok_or_else(wrong)?;
        Ok((name, ordinal.ok_or_else(wrong)?))
    }
}

impl<R: ReadAt> Decode for Warcs<R> {
    fn next(
        &mut self,
        mut body: Option<&mut crate::pack::Pieces<'_>>,
    ) -> io::Result<Option<Found>> {
        let (place, head) = loop {
            let Some(place) = self.members.open()? else { return Ok(None) };
            let head = self.record_head()?;
            if matches!(&head.kind[..], b"response" | b"resource") {
                break (place, head);
            }
            if self.sought {
                return Err(damage("no object begins there"));
            }
            self.rest(head.bytes, &mut |_| Ok(()))?;
        };
        self.sought = false;
        let mut bytes = head.bytes;
        let mut meta = None;
        let url = || String::from_utf8_lossy(&head.target).into_owned();
        if head.kind == b"response" {
            let known = Meta { url: url(), fetched_at: head.millis, ..Meta::default() };
            let known = meta.insert(known);
            if head.http {
                bytes -= self.lines(head.bytes)?;
                http::read(&self.head, known)?;
            }
        } else if !head.target.starts_with(NAME_URI.as_bytes()) {
            meta = Some(Meta { url: url(), fetched_at: head.millis, ..Meta::default() });
        }
        self.rest(bytes, &mut |piece| body.as_mut().map_or(Ok(()), |body| body(piece)))?;
        // Ours name a record behind them whose identifier follows from their own.
        let ours = head.id.map(|id| uuid(&id, &[METADATA]));
        let ours = ours.filter(|id| head.concurrent_to.contains(id));
        let (name, ordinal) = match ours {
            Some(id) => self.metadata(id).map(|(name, ordinal)| (name, Some(ordinal)))?,
            None if head.target.is_empty() => return Err(damage("an object without a URI")),
            None => (head.target, None),
        };
        Ok(Some(Found { name, place, bytes, ordinal, meta }))
    }

    fn seek(&mut self, place: u64) -> io::Result<()> {
        self.members.seek(place)?;
        if self.members.open()?.is_none() {
            return Err(damage("no object begins there"));
        }
        self.sought = true;
        self.members.seek(place)
    }
}

fn damage(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
