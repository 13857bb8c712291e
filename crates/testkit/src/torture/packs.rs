//! Reads packs without anything of windrow's: what a bug writes and reads back would look right to
//! the same bug.

use flate2::bufread::MultiGzDecoder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Told of every object: its name and its body.
pub(super) type See<'s> = &'s mut dyn FnMut(&[u8], &[u8]);

/// Shows the objects of a pack; `None` if this is none, by its name.
///
/// # Errors
/// What is wrong with it: the objects before that were shown.
pub(super) fn show(path: &Path, see: See<'_>) -> Option<Result<(), String>> {
    let name = path.file_name()?.to_str()?;
    let (stem, extension) = name.split_once('.')?;
    if !stem.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let file = || File::open(path).map(BufReader::new).expect("a pack can be opened");
    Some(match extension {
        "tar" => members(file(), see).map_err(str::to_owned),
        "jsonl" => lines(file(), see),
        "jsonl.zst" => {
            let decoder = zstd::stream::read::Decoder::with_buffer(file());
            decoder.map_err(|why| why.to_string()).and_then(|read| lines(BufReader::new(read), see))
        }
        "parquet" => rows(path, see).map_err(|why| why.to_string()),
        "warc.gz" => records(BufReader::new(MultiGzDecoder::new(file())), see),
        _ => return None,
    })
}

/// Members of a tar file with short names.
fn members(mut tar: impl Read, see: See<'_>) -> Result<(), &'static str> {
    const BLOCK: usize = 512;
    let mut header = [0; BLOCK];
    let mut body = Vec::new();
    loop {
        tar.read_exact(&mut header).map_err(|_| "no end")?;
        if header == [0; BLOCK] {
            tar.read_exact(&mut header).map_err(|_| "half an end")?;
            let whole = header == [0; BLOCK] && tar.read(&mut header).map_err(|_| "unread")? == 0;
            return if whole { Ok(()) } else { Err("something behind the end") };
        }
        let octal = |field: &[u8]| {
            let digits = field.iter().take_while(|digit| digit.is_ascii_digit());
            digits.fold(0, |value, digit| value * 8 + usize::from(digit - b'0'))
        };
        let sum: usize = header.iter().map(|&byte| usize::from(byte)).sum();
        let field: usize = header[148..156].iter().map(|&byte| usize::from(byte)).sum();
        if sum - field + 8 * usize::from(b' ') != octal(&header[148..155]) {
            return Err("a header with a wrong sum");
        }
        let size = octal(&header[124..135]);
        body.resize(size.next_multiple_of(BLOCK), 0);
        tar.read_exact(&mut body).map_err(|_| "ends in a body")?;
        let name = header[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        see(name, &body[..size]);
    }
}

/// Lines of JSON, with a body as text or in base64.
fn lines(read: impl BufRead, see: See<'_>) -> Result<(), String> {
    for line in read.split(b'\n') {
        let line = line.map_err(|why| why.to_string())?;
        let line: serde_json::Value =
            serde_json::from_slice(&line).map_err(|why| why.to_string())?;
        let text = |field: &str| line.get(field).and_then(serde_json::Value::as_str);
        let body = match (text("body"), text("body_base64")) {
            (Some(body), None) => body.as_bytes().to_vec(),
            (None, Some(body)) => base64(body).ok_or("no base64")?,
            _ => return Err("no body".into()),
        };
        see(text("name").ok_or("no name")?.as_bytes(), &body);
    }
    Ok(())
}

/// RFC 4648, section 4.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let digits = group.iter().take_while(|&&digit| digit != b'=');
        let mut bits = 0_u32;
        let mut count = 0;
        for &digit in digits {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
            count += 1;
        }
        let whole = group.len() == 4 && count >= 2;
        bytes.extend_from_slice(
            whole.then(|| (bits << (6 * (4 - count))).to_be_bytes())?.get(1..count)?,
        );
    }
    Some(bytes)
}

/// Rows of a Parquet file.
fn rows(path: &Path, see: See<'_>) -> Result<(), parquet::errors::ParquetError> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    let schema = reader.metadata().file_metadata().schema().get_fields().to_vec();
    let column = |name: &str| schema.iter().position(|field| field.name() == name);
    let missing = || parquet::errors::ParquetError::General("a column is missing".into());
    let (name, body) = (column("name").ok_or_else(missing)?, column("body").ok_or_else(missing)?);
    for row in reader.get_row_iter(None)? {
        let row = row?;
        see(row.get_string(name)?.as_bytes(), row.get_bytes(body)?.data());
    }
    Ok(())
}

/// Responses of a WARC file; their name is behind the last `/` of their target.
fn records(mut read: impl BufRead, see: See<'_>) -> Result<(), String> {
    loop {
        let (mut kind, mut target, mut length) = (String::new(), String::new(), 0);
        let mut line = String::new();
        if read.read_line(&mut line).map_err(|why| why.to_string())? == 0 {
            return Ok(());
        }
        if line != "WARC/1.1\r\n" {
            return Err(format!("a record begins with {line:?}"));
        }
        loop {
            line.clear();
            read.read_line(&mut line).map_err(|why| why.to_string())?;
            match line.trim_end().split_once(": ") {
                Some(("WARC-Type", value)) => value.clone_into(&mut kind),
                Some(("WARC-Target-URI", value)) => value.clone_into(&mut target),
                Some(("Content-Length", value)) => {
                    length = value.parse().map_err(|_| "no length")?;
                }
                Some(_) => {}
                None if line == "\r\n" => break,
                None => return Err(format!("a header that is none: {line:?}")),
            }
        }
        let mut block = vec![0; length + 4];
        read.read_exact(&mut block).map_err(|why| why.to_string())?;
        let block = block.strip_suffix(b"\r\n\r\n").ok_or("no end of a record")?;
        if kind == "response" {
            let head = block.windows(4).position(|end| end == b"\r\n\r\n").ok_or("no head")?;
            let name = target.rsplit(['/', '=']).next().unwrap_or_default();
            see(name.as_bytes(), &block[head + 4..]);
        }
    }
}
