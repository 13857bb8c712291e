//! What is known of an answer, as a member of its own: its name, and its JSON.
//!
//! WebDataset cuts the last component of a path at its first dot: what is before is the sample, what
//! is behind the field. `a/7.jpg` is accompanied by `a/7.json`, the field `json` of the same
//! sample. Where that would be there twice (the object before was of the same sample, or the object
//! is itself `7.json`) the whole name is taken: `a/7.jpg.json`, the field `jpg.json`.
//!
//! ```json
//! {"url": "http://host/7.jpg", "status": 200, "fetched_at": 1700000000000, "ordinal": 7,
//!  "headers": [["Content-Type", "image/jpeg"]]}
//! ```
//!
//! Bytes of headers from 0x80 on stand for U+0080 to U+00FF, so that none is lost.

use crate::pack::Meta;
use serde::{Deserialize, Serialize};
use std::io;
use windrow_model::Ordinal;

/// The ending of such members.
const JSON: &[u8] = b".json";

/// A name up to the first dot of its last component; `None` where there is no sample: no dot, or
/// nothing before it.
pub fn sample(name: &[u8]) -> Option<&[u8]> {
    let file = memchr::memrchr(b'/', name).map_or(0, |at| at + 1);
    let dot = memchr::memchr(b'.', &name[file..]).filter(|&dot| dot > 0)?;
    Some(&name[..file + dot])
}

/// The name of the member that tells of an object, which follows one of the sample `before`.
pub fn member_name(name: &[u8], before: &[u8]) -> Vec<u8> {
    let short = sample(name).filter(|sample| {
        let field = &name[sample.len()..];
        *sample != before && !field.eq_ignore_ascii_case(JSON)
    });
    [short.unwrap_or(name), JSON].concat()
}

#[derive(Serialize, Deserialize)]
struct Told {
    url: String,
    status: u16,
    fetched_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ordinal: Option<Ordinal>,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

/// Appends the JSON, one line.
pub fn render(meta: &Meta, ordinal: Ordinal, out: &mut Vec<u8>) {
    let text = |bytes: &[u8]| bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
    let header = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        Some((text(name), text(value)))
    };
    let told = Told {
        url: meta.url.clone(),
        status: meta.status,
        fetched_at: meta.fetched_at,
        ordinal: Some(ordinal),
        headers: meta.headers.split(|&byte| byte == b'\n').filter_map(header).collect(),
    };
    // Writing to memory does not fail, and all of it can be JSON.
    let _ = serde_json::to_writer(&mut *out, &told);
    out.push(b'\n');
}

/// Reads the JSON back.
///
/// # Errors
/// It is something else (`InvalidData`).
pub fn parse(json: &[u8]) -> io::Result<(Meta, Option<Ordinal>)> {
    let told: Told = serde_json::from_slice(json).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "what is known of it is damaged")
    })?;
    let mut headers = Vec::new();
    let put = |text: &str, out: &mut Vec<u8>| {
        // A line break within would be another header.
        let byte = |c| u8::try_from(c).ok().filter(|byte| !matches!(byte, b'\r' | b'\n'));
        out.extend(text.chars().map(|c| byte(c).unwrap_or(b'?')));
    };
    for (name, value) in &told.headers {
        put(name, &mut headers);
        headers.extend_from_slice(b": ");
        put(value, &mut headers);
        headers.extend_from_slice(b"\r\n");
    }
    let Told { url, status, fetched_at, ordinal, .. } = told;
    Ok((Meta { url, status, fetched_at, headers, ..Meta::default() }, ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sample_of_an_object_has_its_meta() {
        for (name, before, member) in [
            (&b"a/7.jpg"[..], &b""[..], &b"a/7.json"[..]),
            (b"a/7.seg.png", b"", b"a/7.json"),
            (b"a/7.cls", b"a/7", b"a/7.cls.json"),
            (b"a/7.JSON", b"", b"a/7.JSON.json"),
            (b"a.b/7", b"", b"a.b/7.json"),
            (b"a/.hidden", b"", b"a/.hidden.json"),
            (b"", b"", b".json"),
            (b"x/", b"", b"x/.json"),
        ] {
            assert_eq!(member_name(name, before), member, "{}", String::from_utf8_lossy(name));
        }
    }

    proptest! {
        #[test]
        fn what_is_told_comes_back(
            url in ".{0,30}", status in any::<u16>(), fetched_at in any::<u64>(),
            ordinal in any::<u64>(),
            headers in prop::collection::vec(("[!#-9;-~]{1,12}", "([!-~\u{80}-\u{ff}]{1,20})?"), 0..5),
        ) {
            let mut lines = Vec::new();
            let byte = |c: char| u8::try_from(c).unwrap();
            for (name, value) in &headers {
                lines.extend(format!("{name}: {value}\r\n").chars().map(byte));
            }
            let meta = Meta { url, status, fetched_at, headers: lines, ..Meta::default() };
            let mut json = Vec::new();
            render(&meta, ordinal, &mut json);
            prop_assert_eq!(parse(&json).unwrap(), (meta, Some(ordinal)));
        }

        #[test]
        fn anything_can_be_parsed(json in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&json);
        }
    }
}
