//! Round trips, in any pieces; damage; what other tools make of lines.

use super::*;
use crate::pack::{Decode, Found, ReadAt};
use proptest::prelude::*;

/// A body that comes in pieces of that size.
pub(in crate::pack) struct Pieces<'a>(pub(in crate::pack) &'a [u8], pub(in crate::pack) usize);

impl Content for Pieces<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    fn pieces(&mut self, piece: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
        self.0.chunks(self.1).try_for_each(piece)
    }
}

/// A file of which one read gives only so many bytes, as though it ended and went on.
pub(in crate::pack) struct Slow<'a>(pub(in crate::pack) &'a [u8], pub(in crate::pack) usize);

impl ReadAt for Slow<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let some = buffer.len().min(self.1);
        self.0.read_at(&mut buffer[..some], offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// An object to store.
pub(in crate::pack) type Object = (Vec<u8>, Vec<u8>, Option<Meta>);

/// Writes objects in pieces of that size. Gives the places beside the file.
pub(in crate::pack) fn written(
    encoder: &mut dyn Encode,
    objects: &[Object],
    step: usize,
) -> (Vec<u8>, Vec<u64>) {
    let (mut out, mut places) = (Vec::new(), Vec::new());
    encoder.begin(&mut out).unwrap();
    for (ordinal, (name, body, meta)) in objects.iter().enumerate() {
        let record = Record { name, ordinal: ordinal as u64, meta: meta.as_ref() };
        let (place, _) = encoder.record(&record, &mut Pieces(body, step), &mut out).unwrap();
        places.push(place);
    }
    encoder.frame(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    (out, places)
}

/// The next object of a file, with its body.
pub(in crate::pack) fn next(decoder: &mut dyn Decode) -> io::Result<Option<(Found, Vec<u8>)>> {
    let mut body = Vec::new();
    let found = decoder.next(Some(&mut |piece| {
        body.extend_from_slice(piece);
        Ok(())
    }))?;
    Ok(found.map(|found| (found, body)))
}

/// All objects, up to the end or the first error.
pub(in crate::pack) fn all(decoder: &mut dyn Decode) -> io::Result<Vec<(Found, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some(one) = next(decoder)? {
        found.push(one);
    }
    Ok(found)
}

/// Names and bodies of all kinds.
pub(in crate::pack) fn objects() -> impl Strategy<Value = Vec<Object>> {
    let name = prop_oneof![
        "[a-z/]{1,30}".prop_map(String::into_bytes),
        "\\PC{1,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..30),
    ];
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any::<String>().prop_map(String::into_bytes),
        "[ \\n\"\\\\\\x00-\\x1f]{0,50}".prop_map(String::into_bytes),
        (1..150_000_usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        Just(br#" {"a": [1, 2.50, "x\u00e9"] }  "#.to_vec()),
        Just(b"\t[]".to_vec()),
        Just(b"null".to_vec()),
        Just(b"-0.10e5".to_vec()),
        Just(br#""a string""#.to_vec()),
    ];
    prop::collection::vec((name, body, prop::option::of(meta())), 0..8)
}

fn meta() -> impl Strategy<Value = Meta> {
    ("[a-z/:?%]{1,20}", 100..600_u16, 1..(1_u64 << 42), "[!-~]{1,9}").prop_map(
        |(url, status, fetched_at, etag)| Meta {
            url,
            status,
            fetched_at,
            headers: format!("Content-Type: text/plain\r\nETag: {etag}\r\n").into_bytes(),
            ..Meta::default()
        },
    )
}

/// What is found is what was written, from the beginning and at each place.
pub(in crate::pack) fn assert_found(
    decoder: &mut dyn Decode,
    objects: &[Object],
    places: &[u64],
) -> Result<(), TestCaseError> {
    let found = all(decoder).unwrap();
    prop_assert_eq!(found.len(), objects.len());
    for ((found, body), ((name, expected, meta), place)) in
        found.iter().zip(objects.iter().zip(places))
    {
        prop_assert_eq!(&found.name, name);
        prop_assert!(body == expected, "body of {:?}", name);
        prop_assert_eq!(found.bytes, expected.len() as u64);
        prop_assert_eq!(found.place, *place);
        prop_assert_eq!(&found.meta, meta);
    }
    for at in (0..places.len()).rev() {
        decoder.seek(places[at]).unwrap();
        let (found, body) = next(decoder).unwrap().unwrap();
        prop_assert_eq!((&found.name, found.ordinal), (&objects[at].0, Some(at as u64)));
        prop_assert!(body == objects[at].1);
        // Passed over, it is as long.
        decoder.seek(places[at]).unwrap();
        prop_assert_eq!(decoder.next(None).unwrap().unwrap(), found);
    }
    Ok(())
}

/// Reads damaged bytes: an end or an error, and never more than was there.
pub(in crate::pack) fn bear(decoder: &mut dyn Decode, most: usize) {
    for _ in 0..most {
        match next(decoder) {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
    panic!("more objects than bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn what_is_written_is_read(
        objects in objects(),
        step in 1..70_000_usize,
        slow in prop_oneof![Just(1 << 20), 1..100_usize],
        json_body: bool,
    ) {
        // In pieces of a byte only what is small.
        let large = objects.iter().any(|(_, body, _)| body.len() > 10_000);
        let step = if large { step.max(500) } else { step };
        let mut jsonl = Jsonl::new(Columns::all(), json_body);
        // Line breaks of inlined bodies are the one thing that is not kept; none of these have any.
        let (file, places) = written(&mut jsonl, &objects, step);
        prop_assert_eq!(&written(&mut jsonl, &objects, 1 << 20).0, &file);
        prop_assert_eq!(memchr::memchr_iter(b'\n', &file).count(), objects.len());
        for line in file.split_inclusive(|&byte| byte == b'\n') {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
        }
        assert_found(&mut read(Slow(&file, slow)), &objects, &places)?;
    }

    #[test]
    fn damage_is_borne(objects in objects(), json_body: bool, at: prop::sample::Index, byte: u8) {
        let objects: Vec<_> =
            objects.into_iter().filter(|(_, body, _)| body.len() < 5000).collect();
        let (mut file, places) = written(&mut Jsonl::new(Columns::all(), json_body), &objects, 99);
        let cut = at.index(file.len() + 1);
        bear(&mut read(&file[..cut]), file.len() + 1);
        let whole = places.iter().filter(|&&place| (place as usize) < cut);
        // What is cut in a line is seen, but for a line that lacks nothing but its end.
        let lines_end = file[..cut].iter().filter(|&&byte| byte == b'\n').count();
        if whole.count() > lines_end && file.get(cut) != Some(&b'\n') {
            let error = all(&mut read(&file[..cut])).unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        if !file.is_empty() {
            let at = at.index(file.len());
            file[at] = byte;
            bear(&mut read(&file[..]), file.len() + 1);
            let _ = read(&file[..]).seek(at as u64);
        }
    }
}

fn line(columns: &str, json_body: bool, body: &[u8], meta: Option<&Meta>) -> String {
    let mut jsonl = Jsonl::new(Columns::parse(columns).unwrap(), json_body);
    let mut out = Vec::new();
    let record = Record { name: "a/\u{e9}\"\n".as_bytes(), ordinal: 7, meta };
    jsonl.record(&record, &mut &*body, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn columns_choose() {
    let meta = Meta {
        url: "http://h/a".to_owned(),
        status: 200,
        fetched_at: 1_795_255_200_123,
        headers: b"content-type: text/plain\r\netag: \"x\xE9\"\r\n".to_vec(),
        ..Meta::default()
    };
    let meta = Some(&meta);
    assert_eq!(
        line(
            "name,body,size,url,status,content_type,ordinal,etag,last_modified,fetched_at",
            false,
            b"hi",
            meta
        ),
        "{\"name\":\"a/\u{e9}\\\"\\n\",\"ordinal\":7,\"size\":2,\"url\":\"http://h/a\",\"status\":200,\
         \"content_type\":\"text/plain\",\"etag\":\"\\\"x\u{e9}\\\"\",\
         \"fetched_at\":\"2026-11-21T10:00:00.123Z\",\"body\":\"hi\"}\n"
    );
    assert_eq!(line("url,size", false, b"hi", None), "{\"size\":2}\n");
    assert_eq!(line("url", false, b"hi", None), "{}\n");
    assert_eq!(
        line("sha256", false, b"", meta),
        "{\"sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}\n"
    );
}

#[test]
fn bodies_of_each_kind() {
    for (body, plain, inlined) in [
        (&b"{\"a\":\r\n [1]}\n"[..], r#""body":"{\"a\":\r\n [1]}\n""#, "\"body\":{\"a\":   [1]} "),
        (b"\"text\"", r#""body":"\"text\"""#, r#""body":"\"text\"""#),
        (b"12.50", r#""body":"12.50""#, r#""body":12.50"#),
        (b"{} {}", r#""body":"{} {}""#, r#""body":"{} {}""#),
        (b"", r#""body":"""#, r#""body":"""#),
        (b"{\"a\":\"\xFF\"}", r#""body_base64":"eyJhIjoi/yJ9""#, r#""body_base64":"eyJhIjoi/yJ9""#),
        (b"\xC3", r#""body_base64":"ww==""#, r#""body_base64":"ww==""#),
    ] {
        assert_eq!(line("body", false, body, None), format!("{{{plain}}}\n"));
        assert_eq!(line("body", true, body, None), format!("{{{inlined}}}\n"));
    }
}

#[test]
fn lines_of_other_tools_are_read() {
    let file = br#"
 { "body" : "x\u0041\ud83d\ude00\/" , "more": [1, {"body": null}], "name": "a", "size": null, "url": null}
{"name_base64":"\u0059Q==","body": {"k": 1} }
{"name":"c","body_base64":"aGk=","a key that is so long that it cannot be one of ours":"body"}"#;
    let found = all(&mut read(&file[..])).unwrap();
    let bodies: Vec<_> = found.iter().map(|(found, body)| (&*found.name, &**body)).collect();
    let smile = "xA\u{1F600}/".as_bytes();
    assert_eq!(bodies, [(&b"a"[..], smile), (b"a", b" {\"k\": 1} "), (b"c", b"hi")]);
    assert!(found.iter().all(|(found, _)| found.meta.is_none()));
}

#[test]
fn what_is_no_line_is_refused() {
    for bad in [
        "[]",
        "{}",
        "{\"name\":\"a\"}",
        "{\"name\":\"a\",\"body\":\"\",}",
        "{\"name\":\"a\",\"body\":\"x\"} x",
        "{\"name\":\"a\",\"name\":\"b\",\"body\":\"x\"}",
        "{\"name\":\"a\",\"body\":\"x\",\"body\":\"x\"}",
        "{\"name\":\"a\",\"body\":\"x\",\"size\":2}",
        "{\"name\":\"a\",\"body\":\"x\",\"size\":-1}",
        "{\"name\":\"a\",\"body\":\"x\",\"ordinal\":18446744073709551616}",
        "{\"name\":\"a\",\"body\":\"\\ud800\"}",
        "{\"name\":\"a\",\"body\":\"\\x\"}",
        "{\"name\":\"a\",\"body\":\"\n\"}",
        "{\"name\":\"a\",\"body\":[\n]}",
        "{\"name\":\"a\",\"body\":nul}",
        "{\"name\":\"a\",\"body_base64\":\"a\"}",
        "{\"name\":\"a\",\"body\":\"x\",\"status\":70000}",
        "{\"name\":\"a\",\"body\":\"x\",\"etag\":\"a\\r\\nb\"}",
    ] {
        let error = all(&mut read(bad.as_bytes())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad}");
    }
    let error = all(&mut read(&b"{\"name\":\"a\",\"body\":\"\xFF\"}"[..])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    // Without a body there is still a name.
    let found = read(&b"{\"name\":\"a\",\"size\":3}"[..]).next(None).unwrap().unwrap();
    assert_eq!((found.name, found.bytes), (b"a".to_vec(), 3));
}

#[test]
fn what_is_kept_of_a_line_is_bounded() {
    let long = "x".repeat(windrow_model::limits::JSONL_VALUE_BYTES);
    let file = format!("{{\"name\":\"{long}\",\"body\":\"\"}}\n");
    assert_eq!(all(&mut read(file.as_bytes())).unwrap()[0].0.name.len(), long.len());
    let file = format!("{{\"name\":\"{long}x\",\"body\":\"\"}}\n");
    assert!(all(&mut read(file.as_bytes())).is_err());
    // Bodies, keys and unknown members have no bound and come in pieces.
    let huge = "y".repeat(16 << 20);
    let file = format!("{{\"{huge}\":\"{huge}\",\"name\":\"a\",\"body\":\"{huge}\"}}\n");
    let (mut largest, mut bytes) = (0, 0);
    let mut lines = read(file.as_bytes());
    let found = lines.next(Some(&mut |piece| {
        largest = largest.max(piece.len());
        bytes += piece.len();
        Ok(())
    }));
    assert_eq!((found.unwrap().unwrap().bytes, bytes), (16 << 20, 16 << 20));
    assert!(largest <= 2 * PACK_PIECE_BYTES);
}

#[test]
fn places_are_beginnings_of_lines() {
    let objects = [(b"a".to_vec(), b"x".to_vec(), None), (b"b".to_vec(), b"{\n".to_vec(), None)];
    let (file, places) = written(&mut Jsonl::new(Columns::of_lines(), false), &objects, 1);
    for place in 0..file.len() as u64 + 2 {
        let sought = read(&file[..]).seek(place);
        assert_eq!(sought.is_ok(), places.contains(&place), "{place}");
    }
    assert!(read(&file[..]).seek(u64::MAX).is_err());
}

#[test]
fn a_body_of_another_length_is_refused() {
    struct Liar;
    impl Content for Liar {
        fn len(&self) -> u64 {
            3
        }
        fn bytes(&self) -> Option<&[u8]> {
            None
        }
        fn pieces(&mut self, piece: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
            piece(b"xx")
        }
    }
    let mut out = Vec::new();
    let record = Record { name: b"a", ..Record::default() };
    let mut jsonl = Jsonl::new(Columns::of_lines(), false);
    assert!(jsonl.record(&record, &mut Liar, &mut out).is_err() && out.is_empty());
}
