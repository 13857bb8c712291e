//! The compact protocol of Apache Thrift, as far as Parquet's metadata need it.
//!
//! Source: `thrift-compact-protocol.md` of Apache Thrift.

use super::damaged;
use std::io;

/// Types of fields and elements.
pub(super) const TRUE: u8 = 1;
const FALSE: u8 = 2;
const INT8: u8 = 3;
const INT16: u8 = 4;
pub(super) const INT32: u8 = 5;
const INT64: u8 = 6;
const DOUBLE: u8 = 7;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;

/// Structs in structs, at most, of which something is passed over.
const DEPTH: u32 = 16;

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64, out: &mut Vec<u8>) {
    varint((number << 1 ^ number >> 63).cast_unsigned(), out);
}

/// Appends an unsigned number, seven bits a byte (ULEB128).
pub(super) fn put_varint(number: u64, out: &mut Vec<u8>) {
    varint(number, out);
}

/// Writes the fields of one struct, in the order of their numbers.
pub(super) struct Struct<'a> {
    out: &'a mut Vec<u8>,
    last: u8,
}

impl Struct<'_> {
    /// Appends a whole struct.
    pub(super) fn put(out: &mut Vec<u8>, fields: impl FnOnce(&mut Struct<'_>)) {
        let mut inner = Struct { out, last: 0 };
        fields(&mut inner);
        inner.out.push(0);
    }

    fn field(&mut self, id: u8, kind: u8) {
        // The fields of `parquet.thrift` are less than 15 apart.
        self.out.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    pub(super) fn flag(&mut self, id: u8, value: bool) {
        self.field(id, if value { TRUE } else { FALSE });
    }

    pub(super) fn int8(&mut self, id: u8, value: i8) {
        self.field(id, INT8);
        self.out.push(value.cast_unsigned());
    }

    pub(super) fn int32(&mut self, id: u8, value: i64) {
        self.field(id, INT32);
        zigzag(value, self.out);
    }

    pub(super) fn int64(&mut self, id: u8, value: u64) {
        self.field(id, INT64);
        zigzag(value.cast_signed(), self.out);
    }

    pub(super) fn text(&mut self, id: u8, value: &[u8]) {
        self.field(id, BINARY);
        varint(value.len() as u64, self.out);
        self.out.extend_from_slice(value);
    }

    pub(super) fn nested(&mut self, id: u8, fields: impl FnOnce(&mut Struct<'_>)) {
        self.field(id, STRUCT);
        Struct::put(self.out, fields);
    }

    fn list(&mut self, id: u8, kind: u8, len: usize) {
        self.field(id, LIST);
        if len < 15 {
            self.out.push((len as u8) << 4 | kind);
        } else {
            self.out.push(0xF0 | kind);
            varint(len as u64, self.out);
        }
    }

    pub(super) fn int32s(&mut self, id: u8, values: &[i64]) {
        self.list(id, INT32, values.len());
        values.iter().for_each(|&value| zigzag(value, self.out));
    }

    pub(super) fn texts(&mut self, id: u8, values: &[&str]) {
        self.list(id, BINARY, values.len());
        for value in values {
            varint(value.len() as u64, self.out);
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    pub(super) fn structs<T>(
        &mut self,
        id: u8,
        values: impl ExactSizeIterator<Item = T>,
        mut fields: impl FnMut(&mut Struct<'_>, T),
    ) {
        self.list(id, STRUCT, values.len());
        for value in values {
            Struct::put(self.out, |inner| fields(inner, value));
        }
    }
}

/// Reads a struct from bytes that may be anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that were not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> io::Result<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or_else(cut)?;
        self.rest = rest;
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An unsigned number, seven bits a byte.
    pub(super) fn varint(&mut self) -> io::Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too long"))
    }

    fn zigzag(&mut self) -> io::Result<i64> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Reads the fields of one struct: `field` is given the number and the type of each, and reads
    /// its value or says `false`, whereupon it is passed over.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, u8) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut last = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            last = match head >> 4 {
                0 => self.zigzag()?,
                delta => last.saturating_add(i64::from(delta)),
            };
            let kind = head & 0x0F;
            if !field(self, last, kind)? {
                self.skip(kind, DEPTH)?;
            }
        }
    }

    /// A field that is a number of any width.
    pub(super) fn int(&mut self, kind: u8) -> io::Result<i64> {
        match kind {
            INT16 | INT32 | INT64 => self.zigzag(),
            _ => Err(damaged("a field is no number")),
        }
    }

    /// The same where it cannot be negative.
    pub(super) fn count(&mut self, kind: u8) -> io::Result<u64> {
        u64::try_from(self.int(kind)?).map_err(|_| damaged("a count is negative"))
    }

    /// A field that is a string.
    pub(super) fn text(&mut self, kind: u8) -> io::Result<&'a [u8]> {
        if kind != BINARY {
            return Err(damaged("a field is no string"));
        }
        let len = usize::try_from(self.varint()?).map_err(|_| cut())?;
        self.take(len)
    }

    /// A field that is a list of this type: how many there are. Each takes at least a byte, so there
    /// are no more than bytes.
    pub(super) fn list(&mut self, kind: u8, of: u8) -> io::Result<usize> {
        let (found, len) = match kind {
            LIST => self.list_head()?,
            _ => return Err(damaged("a field is no list")),
        };
        if len > 0 && found != of {
            return Err(damaged("a list of another type"));
        }
        Ok(len)
    }

    fn list_head(&mut self) -> io::Result<(u8, usize)> {
        let head = self.byte()?;
        let len = match head >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| cut())?,
            len => usize::from(len),
        };
        if len > self.rest.len() {
            return Err(cut());
        }
        Ok((head & 0x0F, len))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> io::Result<()> {
        let deeper = || depth.checked_sub(1).ok_or_else(|| damaged("structs in too many structs"));
        match kind {
            TRUE | FALSE => {}
            INT8 => drop(self.byte()?),
            INT16 | INT32 | INT64 => drop(self.varint()?),
            DOUBLE => drop(self.take(8)?),
            BINARY => drop(self.text(BINARY)?),
            LIST | SET => {
                let (of, len) = self.list_head()?;
                for _ in 0..len {
                    self.skip_element(of, deeper()?)?;
                }
            }
            MAP => {
                let len = self.varint()?;
                let kinds = if len > 0 { self.byte()? } else { 0 };
                for _ in 0..len {
                    self.skip_element(kinds >> 4, deeper()?)?;
                    self.skip_element(kinds & 0x0F, deeper()?)?;
                }
            }
            STRUCT => loop {
                let head = self.byte()?;
                if head == 0 {
                    break;
                }
                if head >> 4 == 0 {
                    self.varint()?;
                }
                self.skip(head & 0x0F, deeper()?)?;
            },
            _ => return Err(damaged("a field of an unknown type")),
        }
        Ok(())
    }

    /// Elements have a byte where fields have their value in the type.
    fn skip_element(&mut self, kind: u8, depth: u32) -> io::Result<()> {
        match kind {
            TRUE | FALSE => self.byte().map(drop),
            _ => self.skip(kind, depth),
        }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the metadata end too early")
}
