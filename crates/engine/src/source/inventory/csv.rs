//! Files of an inventory in CSV: gzip, no header line, keys encoded for URLs.

use super::manifest::Columns;
use super::{Data, Row, Want, etag, is_not};
use csv_core::{ReadRecordResult, Reader};
use flate2::read::MultiGzDecoder;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use windrow_model::limits::{INVENTORY_COLUMNS, INVENTORY_ROW_BYTES};
use windrow_model::task::Listed;
use windrow_model::{calendar, percent};

/// What gzip begins with (RFC 1952 section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Rows of a file.
pub(super) struct Csv {
    input: BufReader<Box<dyn Read + Send>>,
    reader: Reader,
    columns: Columns,
    /// Fields of the row, one behind the other.
    fields: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// A key with its spaces.
    spaced: Vec<u8>,
}

impl fmt::Debug for Csv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Csv {{ columns: {:?} }}", self.columns)
    }
}

impl Csv {
    pub(super) fn open(data: Data, columns: &Columns) -> Self {
        // What cannot be read is found to be so at once.
        let is_gzip = data.first().is_ok_and(|first| first == GZIP);
        let input: Box<dyn Read + Send> = match is_gzip {
            true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, data))),
            false => Box::new(data),
        };
        Self {
            input: BufReader::with_capacity(64 << 10, input),
            reader: Reader::new(),
            columns: columns.clone(),
            fields: vec![0; INVENTORY_ROW_BYTES],
            ends: vec![0; INVENTORY_COLUMNS + 1],
            spaced: Vec::new(),
        }
    }

    pub(super) fn skip(&mut self, rows: u64) -> Result<(), String> {
        for _ in 0..rows {
            if self.record()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The number of fields of the next row; `None` at the end.
    fn record(&mut self) -> Result<Option<usize>, String> {
        let (mut written, mut ended) = (0, 0);
        loop {
            let input = match self.input.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            // An empty one is the end of the file.
            let (result, read, wrote, ends) = self.reader.read_record(
                input,
                &mut self.fields[written..],
                &mut self.ends[ended..],
            );
            self.input.consume(read);
            (written, ended) = (written + wrote, ended + ends);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => return Ok(Some(ended)),
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::OutputFull => {
                    return Err(format!("it has more than {INVENTORY_ROW_BYTES} bytes"));
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(format!("it has more than {INVENTORY_COLUMNS} fields"));
                }
            }
        }
    }

    /// Reads a row; `false` at the end.
    pub(super) fn read(&mut self, want: &Want, row: &mut Row) -> Result<bool, String> {
        let Some(count) = self.record()? else { return Ok(false) };
        if count != self.columns.count {
            return Err(format!("it has {count} fields, not {}", self.columns.count));
        }
        let Self { columns, fields, ends, spaced, .. } = self;
        let field = |index: usize| {
            let start = if index == 0 { 0 } else { ends[index - 1] };
            &fields[start..ends[index]]
        };
        let said = |column: Option<usize>| column.map(field).filter(|text| !text.is_empty());
        let bucket = columns.bucket.map(field);
        row.is_foreign = bucket.is_some_and(|bucket| bucket != want.bucket.as_bytes());
        let latest = said(columns.is_latest).map(truth).transpose()?;
        let marker = said(columns.is_delete_marker).map(truth).transpose()?;
        row.is_current = is_not(latest, false) && is_not(marker, true);
        decode(field(columns.key), spaced, &mut row.key)?;
        let size = said(columns.size).map(number).transpose()?;
        row.listed = Listed { size: size.unwrap_or(u64::MAX), etag: etag(said(columns.etag)) };
        let modified = said(columns.modified).and_then(|text| std::str::from_utf8(text).ok());
        row.modified = modified.and_then(calendar::seconds).unwrap_or(0);
        Ok(true)
    }
}

/// Decodes a key: `%XX`, and `+` for a space.
fn decode(key: &[u8], spaced: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
    out.clear();
    if memchr::memchr2(b'+', b'%', key).is_none() {
        out.extend_from_slice(key);
        return Ok(());
    }
    spaced.clear();
    spaced.extend(key.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }));
    let decoded = percent::decode(spaced).ok_or("a key that cannot be decoded")?;
    out.extend_from_slice(&decoded);
    Ok(())
}

fn truth(text: &[u8]) -> Result<bool, String> {
    match text {
        text if text.eq_ignore_ascii_case(b"true") => Ok(true),
        text if text.eq_ignore_ascii_case(b"false") => Ok(false),
        _ => Err("neither `true` nor `false` where one of them is to be".to_owned()),
    }
}

fn number(text: &[u8]) -> Result<u64, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| "a size that is no number".to_owned())
}
