//! Reads JSON Lines: those that [`Jsonl`](super::Jsonl) writes, and those that other tools made of
//! them: members in any order, unknown ones passed over, white space between tokens.
//!
//! In memory are one name, one url and three header fields, each of at most
//! [`JSONL_VALUE_BYTES`], and a buffer. Bodies pass through whatever their size.

use super::json::{LEAD_BYTES, Scanner};
use super::stream::{Plain, Stream};
use super::text::{Utf8, plain};
use super::{FIELDS, date};
use crate::pack::columns::Column;
use crate::pack::{Decode, Found, Meta, ReadAt};
use std::io;
use windrow_model::digits::Base64Decoder;
use windrow_model::limits::{JSONL_VALUE_BYTES, PACK_PIECE_BYTES};

/// Longer keys are unknown.
const KEY_BYTES: usize = 32;

/// Where pieces go.
use crate::pack::Pieces;

/// Reads the lines of a file.
pub fn read<R: ReadAt>(input: R) -> Lines<Plain<R>> {
    Lines::new(Plain::new(input))
}

/// Reads objects from lines of JSON.
#[derive(Debug)]
pub struct Lines<S> {
    stream: S,
    /// What of a string is without its escapes.
    piece: Vec<u8>,
}

/// What of a line is known so far.
#[derive(Default)]
struct Line {
    name: Option<Vec<u8>>,
    ordinal: Option<u64>,
    size: Option<u64>,
    /// Bytes of the body, and whether they are as many as they were when it was stored.
    body: Option<(u64, bool)>,
    meta: Option<Meta>,
}

impl<S: Stream> Lines<S> {
    /// From where the stream is.
    pub fn new(stream: S) -> Self {
        Self { stream, piece: Vec::new() }
    }

    fn peek(&mut self) -> io::Result<u8> {
        match self.stream.fill()?.first() {
            Some(&byte) => Ok(byte),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn next_byte(&mut self) -> io::Result<u8> {
        let byte = self.peek()?;
        self.stream.consume(1);
        Ok(byte)
    }

    /// The next byte that is no white space; what breaks a line is none.
    fn token(&mut self) -> io::Result<u8> {
        loop {
            match self.next_byte()? {
                b' ' | b'\t' => {}
                byte => return Ok(byte),
            }
        }
    }

    fn expect(&mut self, expected: u8, what: &'static str) -> io::Result<()> {
        if self.token()? == expected { Ok(()) } else { Err(damage(what)) }
    }

    /// What is behind the quote that begins a string, without its escapes. Gives how many bytes.
    fn string(&mut self, keep: &mut Pieces<'_>) -> io::Result<u64> {
        let mut utf8 = Utf8::default();
        let mut bytes = 0;
        self.piece.clear();
        loop {
            let ahead = self.stream.fill()?;
            let Some(&first) = ahead.first() else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let run = plain(ahead);
            self.piece.extend_from_slice(&ahead[..run]);
            self.stream.consume(run.max(1));
            let ended = match first {
                _ if run > 0 => false,
                b'"' => true,
                b'\\' => {
                    self.escape()?;
                    false
                }
                _ => return Err(damage("a control character in a string")),
            };
            if ended || self.piece.len() >= PACK_PIECE_BYTES {
                if !utf8.push(&self.piece) || (ended && !utf8.is_whole()) {
                    return Err(damage("a string that is not UTF-8"));
                }
                bytes += self.piece.len() as u64;
                if !self.piece.is_empty() {
                    keep(&self.piece)?;
                }
                self.piece.clear();
            }
            if ended {
                return Ok(bytes);
            }
        }
    }

    fn escape(&mut self) -> io::Result<()> {
        let wrong = || damage("a broken escape");
        let byte = match self.next_byte()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'u' => {
                let mut code = u32::from(self.hex()?);
                if (0xD800..0xDC00).contains(&code) {
                    if self.next_byte()? != b'\\' || self.next_byte()? != b'u' {
                        return Err(wrong());
                    }
                    let low = u32::from(self.hex()?).checked_sub(0xDC00).filter(|low| *low < 0x400);
                    code = 0x10000 + ((code - 0xD800) << 10) + low.ok_or_else(wrong)?;
                }
                let char = char::from_u32(code).ok_or_else(wrong)?;
                self.piece.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(wrong()),
        };
        self.piece.push(byte);
        Ok(())
    }

    fn hex(&mut self) -> io::Result<u16> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = char::from(self.next_byte()?).to_digit(16);
            value = value << 4 | digit.ok_or_else(|| damage("a broken escape"))? as u16;
        }
        Ok(value)
    }

    /// A string that is a value beside the body; `None` for `null`.
    fn short(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.token()? {
            b'"' => {}
            b'n' => return self.null().map(|()| None),
            _ => return Err(damage("a member that is not a string")),
        }
        let mut value = Vec::new();
        self.string(&mut |piece| {
            if value.len() + piece.len() > JSONL_VALUE_BYTES {
                return Err(damage("a member that is too long"));
            }
            value.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(Some(value))
    }

    fn null(&mut self) -> io::Result<()> {
        for expected in *b"ull" {
            if self.next_byte()? != expected {
                return Err(damage("a member that is no value"));
            }
        }
        Ok(())
    }

    /// A number without sign, point or exponent; `None` for `null`.
    fn number(&mut self) -> io::Result<Option<u64>> {
        let wrong = || damage("a member that is not a number");
        let mut value = match self.token()? {
            byte @ b'0'..=b'9' => u64::from(byte - b'0'),
            b'n' => return self.null().map(|()| None),
            _ => return Err(wrong()),
        };
        while let digit @ b'0'..=b'9' = self.peek()? {
            self.stream.consume(1);
            let more = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
            value = more.ok_or_else(wrong)?;
        }
        Ok(Some(value))
    }

    /// Any value as it stands, with the white space behind it. Gives how many bytes.
    fn raw(&mut self, keep: &mut Pieces<'_>) -> io::Result<u64> {
        let mut scanner = Scanner::new(false);
        let mut bytes = 0;
        loop {
            let ahead = self.stream.fill()?;
            if ahead.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = ahead.len();
            let taken = scanner.take(ahead);
            if taken > 0 {
                keep(&ahead[..taken])?;
            }
            bytes += taken as u64;
            self.stream.consume(taken);
            if taken < len {
                let whole = scanner.is_whole();
                return if whole { Ok(bytes) } else { Err(damage("a member that is no value")) };
            }
        }
    }

    /// The body as the string or value that it is.
    fn body(&mut self, keep: &mut Pieces<'_>) -> io::Result<(u64, bool)> {
        // White space in front belongs to a value, as it was written. To a string it does not: other
        // tools put spaces behind colons.
        self.piece.clear();
        while let space @ (b' ' | b'\t') = self.peek()? {
            if self.piece.len() == LEAD_BYTES {
                return Err(damage("a body behind too much white space"));
            }
            self.stream.consume(1);
            self.piece.push(space);
        }
        if self.peek()? != b'"' {
            let lead = self.piece.len() as u64;
            if lead > 0 {
                keep(&self.piece)?;
            }
            return Ok((lead + self.raw(keep)?, false));
        }
        self.stream.consume(1);
        Ok((self.string(keep)?, true))
    }

    fn body_base64(&mut self, keep: &mut Pieces<'_>) -> io::Result<(u64, bool)> {
        let wrong = || damage("a body that is not base64");
        self.expect(b'"', "a body that is not a string")?;
        let (mut base64, mut bytes, mut total) = (Base64Decoder::default(), Vec::new(), 0);
        self.string(&mut |text| {
            bytes.clear();
            base64.push(text, &mut bytes).ok_or_else(wrong)?;
            total += bytes.len() as u64;
            if bytes.is_empty() { Ok(()) } else { keep(&bytes) }
        })?;
        base64.finish().ok_or_else(wrong)?;
        Ok((total, true))
    }

    fn key(&mut self) -> io::Result<Vec<u8>> {
        let mut key = Vec::with_capacity(KEY_BYTES);
        self.string(&mut |piece| {
            // One that is too long is none of ours, whatever its beginning.
            let room = (KEY_BYTES - key.len()).min(piece.len());
            key.extend_from_slice(&piece[..room]);
            Ok(())
        })?;
        Ok(key)
    }

    /// A member of the line.
    fn member(&mut self, key: &[u8], line: &mut Line, keep: &mut Pieces<'_>) -> io::Result<()> {
        match key {
            b"name" | b"name_base64" if line.name.is_some() => return Err(damage("two names")),
            b"body" | b"body_base64" if line.body.is_some() => return Err(damage("two bodies")),
            b"name" => line.name = self.short()?,
            b"name_base64" => {
                let text = self.short()?.unwrap_or_default();
                let (mut base64, mut name) = (Base64Decoder::default(), Vec::new());
                let whole = base64.push(&text, &mut name).and_then(|()| base64.finish());
                whole.ok_or_else(|| damage("a name that is not base64"))?;
                line.name = Some(name);
            }
            b"ordinal" => line.ordinal = self.number()?,
            b"size" => line.size = self.number()?,
            b"body" => line.body = Some(self.body(keep)?),
            b"body_base64" => line.body = Some(self.body_base64(keep)?),
            b"url" => {
                if let Some(url) = self.short()? {
                    line.meta().url = String::from_utf8(url).map_err(|_| damage("an odd url"))?;
                }
            }
            b"status" => {
                if let Some(status) = self.number()? {
                    let status = u16::try_from(status).map_err(|_| damage("an odd status"))?;
                    line.meta().status = status;
                }
            }
            b"fetched_at" => {
                if let Some(text) = self.short()? {
                    let at = date::read(&text).ok_or_else(|| damage("an odd date"))?;
                    line.meta().fetched_at = at;
                }
            }
            _ => {
                let name = |column: Column| column.name().as_bytes();
                match FIELDS.iter().find(|(column, _)| name(*column) == key) {
                    Some((_, field)) => {
                        if let Some(value) = self.short()? {
                            line.field(field, &value)?;
                        }
                    }
                    None => self.raw(&mut |_| Ok(())).map(|_| ())?,
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, keep: &mut Pieces<'_>) -> io::Result<Line> {
        let mut line = Line::default();
        self.expect(b'{', "a line that is not a JSON object")?;
        let mut token = self.token()?;
        while token != b'}' {
            if token != b'"' {
                return Err(damage("a line that is not a JSON object"));
            }
            let key = self.key()?;
            self.expect(b':', "a member without a value")?;
            self.member(&key, &mut line, keep)?;
            token = self.token()?;
            if token == b',' {
                token = self.token()?;
                if token == b'}' {
                    return Err(damage("a comma without a member"));
                }
            } else if token != b'}' {
                return Err(damage("a member that does not end"));
            }
        }
        self.line_end()?;
        Ok(line)
    }

    /// The end of the line, or that of the file: other tools leave the last one out.
    fn line_end(&mut self) -> io::Result<()> {
        while let Some(&byte) = self.stream.fill()?.first() {
            self.stream.consume(1);
            match byte {
                b'\n' => return Ok(()),
                b' ' | b'\t' | b'\r' => {}
                _ => return Err(damage("bytes behind a line")),
            }
        }
        Ok(())
    }
}

impl Line {
    fn meta(&mut self) -> &mut Meta {
        self.meta.get_or_insert_default()
    }

    fn field(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        if value.iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7F) {
            return Err(damage("a control character in a header field"));
        }
        let headers = &mut self.meta().headers;
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            headers.extend_from_slice(part);
        }
        Ok(())
    }
}

impl<S: Stream> Decode for Lines<S> {
    fn next(
        &mut self,
        mut body: Option<&mut crate::pack::Pieces<'_>>,
    ) -> io::Result<Option<Found>> {
        // Empty lines are nothing.
        loop {
            match self.stream.fill()?.first() {
                None => return Ok(None),
                Some(b'\n' | b'\r' | b' ' | b'\t') => self.stream.consume(1),
                Some(_) => break,
            }
        }
        let place = self.stream.place()?;
        let wanted = body.is_some();
        let line = self.line(&mut |piece| body.as_mut().map_or(Ok(()), |body| body(piece)))?;
        let name = line.name.ok_or_else(|| damage("a line without a name"))?;
        let bytes = match (line.body, line.size) {
            (None, _) if wanted => return Err(damage("a line without a body")),
            (None, size) => size.unwrap_or(0),
            (Some((bytes, true)), Some(size)) if bytes != size => {
                return Err(damage("a body of another size than its line says"));
            }
            (Some((bytes, _)), _) => bytes,
        };
        Ok(Some(Found { name, place, bytes, ordinal: line.ordinal, meta: line.meta }))
    }

    fn seek(&mut self, place: u64) -> io::Result<()> {
        match self.stream.seek(place)? {
            None | Some(b'\n') => {}
            Some(_) => return Err(damage("no line begins there")),
        }
        match self.stream.fill()?.first() {
            Some(b'{') => Ok(()),
            _ => Err(damage("no line begins there")),
        }
    }
}

fn damage(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
