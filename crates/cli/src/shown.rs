//! Names on a terminal and in JSON: they are the server's, and may be any bytes.

use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::{self, Write};
use windrow_model::percent::{self, Keep};

/// A name on one line: `\` is `\\`, control characters and what is not UTF-8 are `\xNN` for each
/// byte. It leads back to the name, and says nothing to a terminal.
pub(crate) fn escaped(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    let bytes = |bytes: &[u8], out: &mut String| {
        for byte in bytes {
            // Writing to a string does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    };
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => bytes(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out),
                c => out.push(c),
            }
        }
        bytes(chunk.invalid(), &mut out);
    }
    out
}

/// Puts a name into a JSON object as `key`; where it is not UTF-8, its bytes as `key_encoded`,
/// percent-encoded as in `failures.jsonl`.
pub(crate) fn put(map: &mut Map<String, Value>, key: &str, name: &[u8]) {
    map.insert(key.to_owned(), String::from_utf8_lossy(name).into());
    if std::str::from_utf8(name).is_err() {
        let mut encoded = Vec::new();
        percent::encode_into(name, &Keep::UNRESERVED, &mut encoded);
        let encoded = String::from_utf8_lossy(&encoded).into_owned();
        map.insert(format!("{key}_encoded"), encoded.into());
    }
}

/// stdout, for data: buffered, and a reader that has had enough is no error.
pub(crate) struct Data {
    out: io::BufWriter<io::Stdout>,
    error: Option<io::Error>,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self { out: io::BufWriter::with_capacity(64 << 10, io::stdout()), error: None }
    }

    /// Writes; says whether there is any use in going on.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let written = self.out.write_all(bytes);
        self.settle(written)
    }

    fn settle(&mut self, written: io::Result<()>) -> bool {
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
        self.error.is_none()
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Something could not be written, and not because the reader had enough.
    pub(crate) fn end(mut self) -> Result<(), windrow_model::Error> {
        if self.error.is_none() {
            let flushed = self.out.flush();
            self.settle(flushed);
        }
        // What is left in the buffer is not tried again.
        let _ = self.out.into_parts();
        match self.error {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(windrow_model::Error::environment("stdout", "cannot write").why(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_on_one_line_and_lead_back() {
        for (name, line) in [
            (&b"plain name"[..], "plain name"),
            ("日本/ü".as_bytes(), "日本/ü"),
            (b"back\\slash", "back\\\\slash"),
            (b"new\nline\t\x1b[2J\x7f\0", "new\\x0aline\\x09\\x1b[2J\\x7f\\x00"),
            ("\u{9b}2J".as_bytes(), "\\xc2\\x9b2J"),
            (b"\xff\xc3", "\\xff\\xc3"),
            (b"", ""),
        ] {
            assert_eq!(escaped(name), line);
        }
    }
}
