//! JSON Lines: one object a line, each a JSON object (RFC 8259) that ends in LF.
//!
//! ```json
//! {"name":"a/b.txt","ordinal":7,"size":5,"url":"https://...","status":200,
//!  "content_type":"text/plain","etag":"...","last_modified":"...","sha256":"...",
//!  "fetched_at":"2026-11-21T10:00:00.000Z","body":"hello"}
//! ```
//!
//! on one line, with those members that [`Columns`] choose, in this order; what is not known is
//! left out. Three of them depend on what they hold:
//!
//! - A body that is UTF-8 is a string, `"body"`. Another is `"body_base64"` (RFC 4648 section 4).
//! - With `json_body`, a body that is exactly one JSON value other than a string stands in the line as
//!   that value. Its bytes stay as they are, white space and digits included, but for CR and LF (they
//!   stand only between tokens), which become spaces: so it is read back with as many bytes, and
//!   byte-identical where it had no line breaks. `sha256` is that of the body as it came. A value
//!   that some parsers do not read (more than [`windrow_model::limits::JSON_DEPTH`] levels, half of
//!   a surrogate pair, numbers beyond 32 bytes or an exponent beyond two digits) is a string; so is
//!   a body that is a JSON string itself, else it could not be told from text.
//! - A name that is UTF-8 is `"name"`; another is `"name_base64"` instead.
//!
//! A value of a header field that is not UTF-8 is taken for ISO 8859-1. The place of an object is the
//! offset of its line.

pub(super) mod date;
mod json;
mod read;
pub(super) mod stream;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod text;

pub use read::{Lines, read};
pub use stream::{Plain, Stream};

use super::columns::{Column, Columns};
use super::{Content, Encode, Meta, Out, Record};
use json::Scanner;
use sha2::{Digest as _, Sha256};
use std::io;
use text::{Utf8, decimal, escape, escape_field};
use windrow_model::digits::Base64Encoder;
use windrow_model::limits::PACK_PIECE_BYTES;

/// Bytes of a body that are escaped at once: six times as many fit into what is handed on.
const STEP: usize = PACK_PIECE_BYTES / 8;

/// Writes JSON Lines. Every record is complete at once. Holds [`PACK_PIECE_BYTES`] and a name in
/// memory, however large bodies are; those are read twice.
#[derive(Debug)]
pub struct Jsonl {
    columns: Columns,
    json_body: bool,
    line: Vec<u8>,
    /// CRC32C of the last body, where it lost its line breaks.
    flat: Option<u32>,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Base64,
    Json,
}

impl Jsonl {
    /// Lines with these columns; with `json_body`, bodies that are JSON stand there as such.
    pub fn new(columns: Columns, json_body: bool) -> Self {
        Self { columns, json_body, line: Vec::new(), flat: None }
    }

    /// Looks at a body: how it is to be written, and its digest where that is a column.
    fn look(&self, body: &mut dyn Content) -> io::Result<(Shape, Option<[u8; 32]>)> {
        let looks = self.columns.has(Column::Body);
        let mut utf8 = looks.then(Utf8::default);
        let mut json = (looks && self.json_body).then(|| Scanner::new(true).modest());
        let mut sha256 = self.columns.has(Column::Sha256).then(Sha256::new);
        if looks || sha256.is_some() {
            let mut bytes = 0;
            body.pieces(&mut |piece| {
                bytes += piece.len() as u64;
                utf8 = utf8.and_then(|mut utf8| utf8.push(piece).then_some(utf8));
                json = json.and_then(|mut json| (json.take(piece) == piece.len()).then_some(json));
                if let Some(sha256) = &mut sha256 {
                    sha256.update(piece);
                }
                Ok(())
            })?;
            if bytes != body.len() {
                return Err(crate::pack::other_length());
            }
        }
        let shape = match (utf8.filter(Utf8::is_whole), json) {
            (None, _) => Shape::Base64,
            (Some(_), Some(json)) if json.is_whole() && !json.is_text() => Shape::Json,
            (Some(_), _) => Shape::Text,
        };
        Ok((shape, sha256.map(|sha256| sha256.finalize().into())))
    }

    fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.line.push(b'"');
        escape_field(value, &mut self.line);
        self.line.push(b'"');
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        decimal(number, &mut self.line);
    }

    fn key(&mut self, key: &str) {
        self.line.extend_from_slice(if self.line.is_empty() { b"{\"" } else { b",\"" });
        self.line.extend_from_slice(key.as_bytes());
        self.line.extend_from_slice(b"\":");
    }

    /// Everything before the body.
    fn head(&mut self, record: &Record<'_>, bytes: u64, sha256: Option<[u8; 32]>) {
        let columns = self.columns;
        if columns.has(Column::Name) {
            match std::str::from_utf8(record.name) {
                Ok(name) => {
                    self.key("name");
                    self.line.push(b'"');
                    escape(name.as_bytes(), &mut self.line);
                }
                Err(_) => {
                    self.key("name_base64");
                    self.line.push(b'"');
                    let mut base64 = Base64Encoder::default();
                    base64.push(record.name, &mut self.line);
                    base64.finish(&mut self.line);
                }
            }
            self.line.push(b'"');
        }
        if columns.has(Column::Ordinal) {
            self.number("ordinal", record.ordinal);
        }
        if columns.has(Column::Size) {
            self.number("size", bytes);
        }
        if let Some(meta) = record.meta {
            self.answer(meta);
        }
        if let Some(sha256) = sha256 {
            self.key("sha256");
            self.line.push(b'"');
            for byte in sha256 {
                let hex = b"0123456789abcdef";
                self.line.extend([hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
            }
            self.line.push(b'"');
        }
        if columns.has(Column::FetchedAt)
            && let Some(meta) = record.meta.filter(|meta| meta.fetched_at > 0)
        {
            self.key("fetched_at");
            self.line.push(b'"');
            date::write(meta.fetched_at, &mut self.line);
            self.line.push(b'"');
        }
    }

    fn answer(&mut self, meta: &Meta) {
        if self.columns.has(Column::Url) && !meta.url.is_empty() {
            self.text("url", meta.url.as_bytes());
        }
        if self.columns.has(Column::Status) && meta.status > 0 {
            self.number("status", u64::from(meta.status));
        }
        for (column, header) in FIELDS {
            if self.columns.has(column)
                && let Some(value) = meta.header(header)
            {
                self.text(column.name(), value);
            }
        }
    }

    fn body(&mut self, shape: Shape, body: &mut dyn Content, out: &mut dyn Out) -> io::Result<()> {
        match shape {
            Shape::Base64 => self.key("body_base64"),
            Shape::Text | Shape::Json => self.key("body"),
        }
        if shape != Shape::Json {
            self.line.push(b'"');
        }
        let mut sum = 0;
        let line = &mut self.line;
        let mut base64 = Base64Encoder::default();
        body.pieces(&mut |piece| {
            for step in piece.chunks(STEP) {
                match shape {
                    Shape::Text => escape(step, line),
                    Shape::Base64 => base64.push(step, line),
                    Shape::Json => {
                        let from = line.len();
                        flat(step, line);
                        sum = crc32c::crc32c_append(sum, &line[from..]);
                    }
                }
                if line.len() >= PACK_PIECE_BYTES {
                    out.put(line)?;
                    line.clear();
                }
            }
            Ok(())
        })?;
        base64.finish(line);
        self.flat = (shape == Shape::Json).then_some(sum);
        let line = &mut self.line;
        if shape != Shape::Json {
            line.push(b'"');
        }
        Ok(())
    }
}

impl Encode for Jsonl {
    fn record(
        &mut self,
        record: &Record<'_>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<(u64, bool)> {
        let place = out.at();
        let (shape, sha256) = self.look(body)?;
        self.flat = None;
        self.line.clear();
        self.head(record, body.len(), sha256);
        if self.columns.has(Column::Body) {
            self.body(shape, body, out)?;
        } else if self.line.is_empty() {
            self.line.push(b'{');
        }
        self.line.extend_from_slice(b"}\n");
        out.put(&self.line)?;
        Ok((place, true))
    }

    fn altered(&self) -> Option<u32> {
        self.flat
    }
}

/// The columns that are header fields.
const FIELDS: [(Column, &str); 3] = [
    (Column::ContentType, "Content-Type"),
    (Column::Etag, "ETag"),
    (Column::LastModified, "Last-Modified"),
];

/// Appends JSON without its line breaks.
fn flat(json: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(json);
    let mut rest = &mut out[from..];
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        rest[at] = b' ';
        rest = &mut rest[at + 1..];
    }
}
