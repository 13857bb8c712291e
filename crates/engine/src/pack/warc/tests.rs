//! Round trips, header lines that are renamed, damage, files of other tools.

use super::*;
use crate::pack::jsonl::tests::{Object, Slow, all, assert_found, bear, next, objects, written};
use crate::pack::{Decode, Found};
use proptest::prelude::*;

fn warc() -> Warc {
    Warc::new(b"run", 1_795_255_200_000, 1)
}

/// As they come back: with a length where there was none.
fn with_length(objects: &[Object]) -> Vec<Object> {
    let mut objects = objects.to_vec();
    for (_, body, meta) in &mut objects {
        if let Some(meta) = meta {
            meta.headers.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
        }
    }
    objects
}

fn small(name: &[u8], body: &[u8], meta: Option<Meta>) -> Object {
    (name.to_vec(), body.to_vec(), meta)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_written_is_read(
        objects in objects(),
        step in 500..70_000_usize,
        slow in prop_oneof![Just(1 << 20), 1..100_usize],
    ) {
        let (file, places) = written(&mut warc(), &objects, step);
        // However the bodies are cut, the records are the same; gzip may cut its blocks elsewhere.
        let whole = written(&mut warc(), &objects, 1 << 20).0;
        prop_assert!(unzipped(&whole) == unzipped(&file));
        assert_found(&mut Warcs::new(Slow(&file, slow)), &with_length(&objects), &places)?;
    }

    #[test]
    fn damage_is_borne(objects in objects(), at: prop::sample::Index, byte: u8) {
        let objects: Vec<_> =
            objects.into_iter().filter(|(_, body, _)| body.len() < 5000).collect();
        let (mut file, places) = written(&mut warc(), &objects, 1000);
        let cut = at.index(file.len());
        match all(&mut Warcs::new(&file[..cut])) {
            // Whole objects, behind which nothing of another is there.
            Ok(found) => {
                prop_assert_eq!(found.len(), places.iter().filter(|&&p| p < cut as u64).count());
            }
            Err(error) => prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
        }
        file[cut] = byte;
        bear(&mut Warcs::new(&file[..]), file.len());
        let mut warcs = Warcs::new(&file[..]);
        if warcs.seek(cut as u64).is_ok() {
            bear(&mut warcs, file.len());
        }
    }
}

fn unzipped(file: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
    text
}

fn one(meta: Meta, body: &[u8]) -> (String, Found, Vec<u8>) {
    let objects = [small(b"a", body, Some(meta))];
    let (file, places) = written(&mut warc(), &objects, 1000);
    let text = unzipped(&file);
    let mut warcs = Warcs::new(&file[..]);
    warcs.seek(places[0]).unwrap();
    let (found, read) = next(&mut warcs).unwrap().unwrap();
    (String::from_utf8_lossy(&text).into_owned(), found, read)
}

#[test]
fn header_lines_fit_the_stored_body() {
    let headers = "content-encoding: gzip\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n";
    let meta = Meta {
        url: "http://h/a b\r\nX: y".to_owned(),
        status: 200,
        fetched_at: 1_795_255_200_123,
        headers: headers.as_bytes().to_vec(),
        decoded: true,
        request: b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
    };
    let (text, found, body) = one(meta.clone(), b"hello");
    assert!(text.contains(
        "\r\n\r\nHTTP/1.1 200 OK\r\nX-Crawler-content-encoding: gzip\r\n\
         X-Crawler-Transfer-Encoding: chunked\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n"
    ));
    assert!(text.contains("WARC-Target-URI: http://h/a%20b%0D%0AX:%20y\r\n"));
    assert!(
        text.contains("WARC-Type: request\r\n") && text.contains("\r\nHost: h\r\n\r\n\r\n\r\n")
    );
    assert!(text.contains("WARC-Date: 2026-11-21T10:00:00.123Z\r\n"));
    assert_eq!(body, b"hello");
    let known = found.meta.unwrap();
    assert_eq!((known.headers, known.decoded), (headers.as_bytes().to_vec(), true));

    // Not decoded, it stays coded; a length that is right stays where it is.
    let headers = "Content-Length: 5\r\nContent-Encoding: gzip\r\n".as_bytes().to_vec();
    let kept = Meta { headers: headers.clone(), decoded: false, ..meta.clone() };
    let (text, found, _) = one(kept, b"hello");
    let all = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\nhello";
    assert!(text.contains(all));
    assert_eq!(found.meta.unwrap().headers, headers);

    // Another length than that of the body is renamed; what is no header line is left out.
    let headers = b"Content-Length: 9\r\n\r\nHTTP/1.1 500\r\n odd : 1\r\n: 2\r\nB:\r\n".to_vec();
    let (text, found, _) = one(Meta { headers, status: 299, ..meta }, b"hello");
    let all =
        "HTTP/1.1 299 \r\nX-Crawler-Content-Length: 9\r\nB: \r\nContent-Length: 5\r\n\r\nhello";
    assert!(text.contains(all), "{text}");
    assert_eq!(found.meta.unwrap().headers, b"Content-Length: 9\r\nB: \r\n");
}

#[test]
fn large_bodies_and_places() {
    let large: Vec<u8> =
        (0..16_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let objects = [small(b"\xFF\x00\n/..", &large, None), small(b"b", b"", None)];
    let (file, places) = written(&mut warc(), &objects, 100_000);
    assert_found(&mut Warcs::new(&file[..]), &objects, &places).unwrap();
    // Nothing but the beginning of an object's record is a place.
    for place in (0..300).chain(places[1] - 3..file.len() as u64 + 2) {
        let mut warcs = Warcs::new(&file[..]);
        let found = warcs.seek(place).and_then(|()| warcs.next(None));
        assert_eq!(found.is_ok_and(|f| f.is_some()), places.contains(&place), "{place}");
    }
}

#[test]
fn files_have_identifiers_of_their_own() {
    let mut warc = warc();
    let (first, _) = written(&mut warc, &[], 1);
    let (second, _) = written(&mut warc, &[], 1);
    let (other, _) = written(&mut Warc::new(b"another", 1_795_255_200_000, 1), &[], 1);
    assert!(first != second && first != other && second != other);
    assert!(all(&mut Warcs::new(&first[..])).unwrap().is_empty());
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = member::Writer::new(6);
    let mut out = Vec::new();
    gzip.begin(text.len() as u64);
    gzip.write(text.as_bytes(), &mut out).unwrap();
    gzip.end(&mut out).unwrap();
    out
}

fn record(head: &str, block: &str) -> Vec<u8> {
    let length = block.len();
    gzip(&format!("WARC/1.0\r\n{head}\r\nContent-Length: {length}\r\n\r\n{block}\r\n\r\n"))
}

#[test]
fn files_of_other_tools_are_read() {
    let head =
        "WARC-Type: response\r\nWARC-Target-URI: <http://h/a>\r\nContent-Type: application/http";
    let block =
        "HTTP/1.1 404 Not Found\r\nX-Crawler-Content-Length: 7\r\nContent-Length: 2\r\n\r\nno";
    let file = [
        record("WARC-Type: request\r\nContent-Type: application/http", "GET / HTTP/1.0\r\n\r\n"),
        record(head, block),
        record(
            "WARC-Type: metadata\r\nContent-Type: application/warc-fields",
            "fetchTimeMs: 1\r\n",
        ),
        record(
            "WARC-Type: response\r\nWARC-Target-URI: dns:h\r\nContent-Type: text/dns",
            "1.2.3.4",
        ),
    ]
    .concat();
    let found = all(&mut Warcs::new(&file[..])).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0].0.name[..], &found[0].1[..]), (&b"http://h/a"[..], &b"no"[..]));
    assert_eq!((&found[1].0.name[..], &found[1].1[..]), (&b"dns:h"[..], &b"1.2.3.4"[..]));
    let meta = found[0].0.meta.as_ref().unwrap();
    assert_eq!((meta.status, &meta.headers[..]), (404, &b"Content-Length: 7\r\n"[..]));
}

#[test]
fn what_is_no_record_is_refused() {
    let long = format!("X: {}", "x".repeat(windrow_model::limits::WARC_HEAD_BYTES));
    let response = "WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: a:b\r\n";
    for bad in [
        "".to_owned(),
        "HTTP/1.1 200\r\n\r\n".to_owned(),
        "WARC/1.1\r\nWARC-Type: resource\r\n\r\n".to_owned(),
        format!("{response}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("{response}Content-Length: 18446744073709551615\r\n\r\nabc\r\n\r\n"),
        format!("{response}Content-Length: 3\r\n\r\nabc"),
        format!("{response}Content-Length: 3\r\n\r\nabc\r\n\r\nmore"),
        format!("{response}Content-Type: application/http\r\nContent-Length: 3\r\n\r\nabc\r\n\r\n"),
        format!(
            "{response}Content-Type: application/http\r\nContent-Length: 4\r\n\r\na\r\n\r\n\r\n"
        ),
        format!("{response}{long}\r\nContent-Length: 0\r\n\r\n\r\n\r\n"),
    ] {
        let file = gzip(&bad);
        let error = all(&mut Warcs::new(&file[..])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", &bad[..bad.len().min(99)]);
    }
}
