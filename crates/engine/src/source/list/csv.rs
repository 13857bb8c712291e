//! Values separated by commas or tabs, with a header line (RFC 4180).
//!
//! A line without `"` is cut here; others go through csv-core, as far as the record goes. A record
//! that is longer than a line may be, or that no quote closes before the end of the file, is taken
//! for a stray quote: its first line is malformed, and the next line is read as a new record. So one
//! stray quote costs one object.

use super::columns::Columns;
use super::page::{Name, Page, Row, Size};
use super::text::{Ahead, Text};
use super::{ListSpec, TextRows, txt};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use windrow_model::Error;
use windrow_model::limits::LIST_LINE_BYTES;
use windrow_model::url::Parts;

/// Records of a text.
pub(super) struct Csv {
    text: Text,
    delimiter: u8,
    reader: Box<Reader>,
    columns: Columns,
    /// Fields in the header.
    count: usize,
    /// Fields of a record with quotes, one behind the other.
    fields: Vec<u8>,
    /// Where each field ends.
    ends: Vec<usize>,
}

/// A record in the window.
enum Record {
    /// Without quotes: its fields are in the window.
    Plain { bytes: usize },
    /// Its fields were copied.
    Quoted { bytes: usize, lines: u64 },
    /// No record, only its first line.
    Stray { bytes: usize },
}

/// Fields of a record: field `i` begins `gap` behind the end of the one before.
struct Fields<'f> {
    bytes: &'f [u8],
    ends: &'f [usize],
    gap: usize,
}

impl<'f> Fields<'f> {
    fn get(&self, index: usize) -> Option<&'f [u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] + self.gap };
        self.bytes.get(start..end)
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"" | b"\n" | b"\r\n" | b"\r")
}

impl Csv {
    /// Reads the header. `None`: the file is empty.
    pub(super) fn open(
        mut text: Text,
        delimiter: u8,
        shown: &str,
        spec: &ListSpec,
    ) -> Result<Option<Self>, Error> {
        if !txt::skip(&mut text, is_blank)? {
            return Ok(None);
        }
        let reader =
            ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
        let none = Columns { url: 0, name: None, size: None, digest: None };
        let (fields, ends) = (Vec::new(), Vec::new());
        let reader = Box::new(reader);
        let mut csv = Self { text, delimiter, reader, columns: none, count: 0, fields, ends };
        let bad = |why: &str| Error::usage(shown, "has no header line").why(why);
        let record = match csv.text.ahead()? {
            Ahead::Line(len) => csv.record(len)?,
            _ => return Err(bad("its first line is too long")),
        };
        let (bytes, lines) = match record {
            Record::Plain { bytes } => (bytes, 1),
            Record::Quoted { bytes, lines } => (bytes, lines),
            Record::Stray { .. } => return Err(bad("a quote in its first line is not closed")),
        };
        let fields = csv.fields_of(&record);
        let mut names = Vec::new();
        for index in 0..csv.ends.len() {
            let name = std::str::from_utf8(fields.get(index).unwrap_or_default());
            names.push(name.map_err(|_| bad("its first line is not UTF-8"))?.trim().to_owned());
        }
        if names.iter().any(|name| Parts::of(name).is_ok()) {
            return Err(bad("there is a URL in its first line")
                .hint("put a line with the names of the columns before it, or use a .txt file"));
        }
        csv.columns = Columns::find(shown, &names, spec)?;
        csv.count = names.len();
        csv.text.consume(bytes, lines);
        Ok(Some(csv))
    }

    /// Cuts the record that begins with a line of `len` bytes.
    fn record(&mut self, len: usize) -> Result<Record, Error> {
        let line = &self.text.window()[..len];
        if memchr::memchr(b'"', line).is_some() {
            return self.quoted(len);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.ends.clear();
        self.ends.extend(memchr::memchr_iter(self.delimiter, line));
        self.ends.push(line.len());
        Ok(Record::Plain { bytes: len })
    }

    fn quoted(&mut self, first: usize) -> Result<Record, Error> {
        self.reader.reset();
        let (mut used, mut written, mut ended) = (0, 0, 0);
        // Line by line, so that no more is read than is needed.
        let mut upto = first;
        loop {
            let input = &self.text.window()[used..upto];
            // csv-core takes an empty input for the end of the file; with so much room it takes
            // all of this one at once.
            let delimiters = memchr::memchr_iter(self.delimiter, input).count();
            self.fields.resize(written + input.len() + 1, 0);
            self.ends.resize(ended + delimiters + 2, 0);
            let (result, read, wrote, ends) = self.reader.read_record(
                input,
                &mut self.fields[written..],
                &mut self.ends[ended..],
            );
            (used, written, ended) = (used + read, written + wrote, ended + ends);
            if used > LIST_LINE_BYTES {
                return Ok(Record::Stray { bytes: first });
            }
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::InputEmpty => {}
                _ => return Ok(Record::Stray { bytes: first }),
            }
            match self.text.line_from(used)? {
                Some(end) => upto = end,
                // The end of the file is the end of a line.
                None if self.text.window()[..used].ends_with(b"\n") => {
                    return Ok(Record::Stray { bytes: first });
                }
                None => {
                    self.fields.resize(written + 1, 0);
                    self.ends.resize(ended + 2, 0);
                    let (result, _, wrote, ends) = self.reader.read_record(
                        b"\n",
                        &mut self.fields[written..],
                        &mut self.ends[ended..],
                    );
                    if result != ReadRecordResult::Record {
                        return Ok(Record::Stray { bytes: first });
                    }
                    (written, ended) = (written + wrote, ended + ends);
                    break;
                }
            }
        }
        self.ends.truncate(ended);
        let raw = &self.text.window()[..used];
        let lines = memchr::memchr_iter(b'\n', raw).count().max(1) as u64;
        let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
        if raw.ends_with(b"\r")
            && self.fields[..written].ends_with(b"\r")
            && let Some(last) = self.ends.last_mut()
        {
            *last -= 1;
        }
        Ok(Record::Quoted { bytes: used, lines })
    }

    fn fields_of(&self, record: &Record) -> Fields<'_> {
        match record {
            Record::Quoted { .. } => Fields { bytes: &self.fields, ends: &self.ends, gap: 0 },
            _ => Fields { bytes: self.text.window(), ends: &self.ends, gap: 1 },
        }
    }

    /// The record at hand as a row.
    fn row<'f>(&self, fields: &Fields<'f>) -> Result<Row<'f>, &'static str> {
        if fields.ends.len() != self.count {
            return Err("not as many fields as in the header");
        }
        let columns = &self.columns;
        Ok(Row {
            url: fields.get(columns.url).ok_or("no URL"),
            name: match columns.name {
                None => Name::ByRule,
                Some(name) => Name::Column(fields.get(name)),
            },
            size: columns.size.and_then(|at| fields.get(at)).map_or(Size::Unsaid, Size::Text),
            digest: columns.digest.and_then(|at| fields.get(at)),
        })
    }
}

impl TextRows for Csv {
    fn text(&self) -> &Text {
        &self.text
    }

    fn text_mut(&mut self) -> &mut Text {
        &mut self.text
    }

    fn is_none(line: &[u8]) -> bool {
        is_blank(line)
    }

    fn read(&mut self, page: &mut Page) -> Result<bool, Error> {
        while !page.is_full() {
            if !page.is_empty() && self.text.would_wait() {
                return Ok(true);
            }
            let len = match self.text.ahead()? {
                Ahead::End => return Ok(false),
                Ahead::Long => {
                    if page.wants_next() {
                        page.malformed(self.text.lines() + 1, super::LONG);
                    }
                    self.text.skip_line()?;
                    continue;
                }
                Ahead::Line(len) => len,
            };
            if is_blank(&self.text.window()[..len]) {
                self.text.consume(len, 1);
                page.take(len);
                continue;
            }
            let record = self.record(len)?;
            let line = self.text.lines() + 1;
            if page.wants_next() {
                match record {
                    Record::Stray { .. } => page.malformed(line, "a quote that is not closed"),
                    _ => match self.row(&self.fields_of(&record)) {
                        Ok(row) => page.push(line, &row),
                        Err(why) => page.malformed(line, why),
                    },
                }
            }
            let (bytes, lines) = match record {
                Record::Plain { bytes } | Record::Stray { bytes } => (bytes, 1),
                Record::Quoted { bytes, lines } => (bytes, lines),
            };
            self.text.consume(bytes, lines);
            page.take(bytes);
        }
        Ok(true)
    }
}
