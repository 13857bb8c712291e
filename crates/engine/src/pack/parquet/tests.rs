//! What is written is read again, by us and by the `parquet` crate; what is damaged is noticed.

use super::*;
use crate::pack::columns::{Column, Columns};
use crate::pack::jsonl::tests::Pieces;
use crate::pack::{Content, Decode, Encode, Found, Meta, Record};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use windrow_model::limits::{PARQUET_ALONE_BYTES, PARQUET_BODY_BYTES, PARQUET_KEPT_BYTES};

/// A row and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    name: Vec<u8>,
    ordinal: u64,
    meta: Option<Meta>,
    body: Vec<u8>,
}

/// One that lies about its length.
struct Liar(u64, &'static [u8]);

impl Content for Liar {
    fn len(&self) -> u64 {
        self.0
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    fn pieces(&mut self, piece: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
        piece(self.1)
    }
}

fn written(
    objects: &[Object],
    columns: Columns,
    options: &Options,
    spool: Option<usize>,
) -> Vec<u8> {
    let mut encoder = ParquetEncoder::new(columns, options).unwrap();
    let mut out = Vec::new();
    encoder.begin(&mut out).unwrap();
    for (row, object) in objects.iter().enumerate() {
        let Object { name, ordinal, meta, body } = object;
        let record = Record { name, ordinal: *ordinal, meta: meta.as_ref() };
        let place = match spool {
            None => encoder.record(&record, &mut &body[..], &mut out),
            Some(piece) => encoder.record(&record, &mut Pieces(body, piece), &mut out),
        };
        assert_eq!(place.unwrap(), (row as u64, false));
        encoder.frame(&mut out).unwrap();
    }
    encoder.end(&mut out).unwrap();
    out
}

/// The next row with its body.
fn next(decoder: &mut ParquetDecoder) -> io::Result<Option<(Found, Vec<u8>)>> {
    let mut body = Vec::new();
    let found = decoder.next(Some(&mut |piece| {
        body.extend_from_slice(piece);
        Ok(())
    }))?;
    Ok(found.map(|found| (found, body)))
}

fn open(file: &[u8]) -> io::Result<ParquetDecoder> {
    let file: &'static [u8] = file.to_vec().leak();
    ParquetDecoder::open(Box::new(file))
}

fn all(file: &[u8]) -> io::Result<Vec<(Found, Vec<u8>)>> {
    let mut decoder = open(file)?;
    std::iter::from_fn(|| next(&mut decoder).transpose()).collect()
}

fn meta() -> impl Strategy<Value = Meta> {
    let value = prop_oneof![Just("text/html; charset=utf-8".to_owned()), "[a-zäß\"]{0,12}"];
    let field = |name: &'static str| {
        proptest::option::of(value.clone()).prop_map(move |value| value.map(|value| (name, value)))
    };
    let fields = (field("content-type"), field("etag"), field("last-modified"));
    (("[a-z:/%]{0,40}", any::<u16>(), 0..=i64::MAX as u64), fields).prop_map(
        |((url, status, fetched_at), (a, b, c))| {
            let lines = [a, b, c].into_iter().flatten();
            let lines = lines.map(|(name, value)| format!("{name}: {value}\r\n"));
            let headers = lines.collect::<String>().into_bytes();
            Meta { url, status, fetched_at, headers, ..Meta::default() }
        },
    )
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z/ .%=]{1,30}".prop_map(String::into_bytes),
        "\\PC{1,10}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 1..20),
        Just(b"%=already".to_vec()),
    ]
}

fn object() -> impl Strategy<Value = Object> {
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (0..6000_usize).prop_map(|len| vec![b'x'; len]),
        proptest::collection::vec(any::<u8>(), 4000..6000),
    ];
    (name(), 0..=i64::MAX as u64, proptest::option::of(meta()), body)
        .prop_map(|(name, ordinal, meta, body)| Object { name, ordinal, meta, body })
}

fn options() -> impl Strategy<Value = Options> {
    let page = prop_oneof![Just(1), Just(64), Just(1000), Just(100_000)];
    let group = prop_oneof![Just(1), Just(2000), Just(20_000), Just(10_000_000)];
    (page, group, 1..4).prop_map(|(page_bytes, group_bytes, level)| Options {
        level,
        group_bytes,
        page_bytes,
    })
}

fn small() -> Options {
    Options { level: 1, group_bytes: 4000, page_bytes: 300 }
}

/// Rows for tests that want no variety.
fn plain(count: u64) -> Vec<Object> {
    let object = |ordinal: u64| Object {
        name: format!("dir/{ordinal:06}.txt").into_bytes(),
        ordinal,
        meta: (!ordinal.is_multiple_of(3)).then(|| Meta {
            url: format!("http://host/{ordinal}"),
            status: 200,
            fetched_at: 1_700_000_000_000 + ordinal,
            headers: format!("content-type: text/plain\r\netag: \"{ordinal}\"\r\n").into_bytes(),
            ..Meta::default()
        }),
        body: format!("body of {ordinal} ").repeat((ordinal % 7) as usize).into_bytes(),
    };
    (0..count).map(object).collect()
}

fn check(found: &(Found, Vec<u8>), object: &Object, place: u64) {
    let (found, body) = found;
    assert_eq!(found.name, object.name);
    assert_eq!(found.place, place);
    assert_eq!(found.bytes, object.body.len() as u64);
    assert_eq!(found.ordinal, Some(object.ordinal));
    assert_eq!(found.meta, object.meta);
    assert!(*body == object.body, "body of row {place}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read(
        objects in proptest::collection::vec(object(), 0..40),
        options in options(),
        spool in proptest::option::of(1..5000_usize),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let file = written(&objects, Columns::all(), &options, spool);
        let read = all(&file).unwrap();
        prop_assert_eq!(read.len(), objects.len());
        for (place, (found, object)) in read.iter().zip(&objects).enumerate() {
            check(found, object, place as u64);
        }
        // Without bodies, and then at places in any order.
        let mut decoder = open(&file).unwrap();
        prop_assert_eq!(decoder.rows(), objects.len() as u64);
        for object in &objects {
            let found = decoder.next(None).unwrap().unwrap();
            prop_assert_eq!(&found.name, &object.name);
            prop_assert_eq!(found.bytes, object.body.len() as u64);
        }
        prop_assert_eq!(decoder.next(None).unwrap(), None);
        for place in order.iter().filter(|_| !objects.is_empty()) {
            let place = place.index(objects.len());
            decoder.seek(place as u64).unwrap();
            check(&next(&mut decoder).unwrap().unwrap(), &objects[place], place as u64);
            if let Some(object) = objects.get(place + 1) {
                check(&next(&mut decoder).unwrap().unwrap(), object, place as u64 + 1);
            }
        }
        prop_assert!(decoder.seek(objects.len() as u64).is_err());
    }

    /// The pages have checksums, and what their heads say is compared with them: there is no byte
    /// before the offset indexes that changes a row.
    #[test]
    fn flipped_bytes_are_noticed(
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
        has_groups in any::<bool>(),
    ) {
        let options = if has_groups { small() } else { Options::default() };
        let mut file = written(&plain(60), Columns::all(), &options, None);
        let whole = all(&file).unwrap();
        let at = at.index(pages_end(&file));
        file[at] ^= flip;
        if let Ok(rows) = all(&file) {
            prop_assert!(rows == whole, "byte {} changes rows in silence", at);
        }
    }

    #[test]
    fn nothing_that_is_damaged_panics(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        at_end in any::<bool>(),
    ) {
        let mut file = written(&plain(60), Columns::all(), &small(), None);
        let first = if at_end { pages_end(&file) } else { 0 };
        for (at, flip) in &flips {
            let at = first + at.index(file.len() - first);
            file[at] ^= flip;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(mut decoder) = open(&file) {
            for place in [0, 59, 30] {
                if decoder.seek(place).is_ok() {
                    for _ in 0..70 {
                        let _ = next(&mut decoder);
                    }
                }
            }
        }
    }

    #[test]
    fn every_name_comes_back(name in name()) {
        let text = shown(&name);
        prop_assert!(std::str::from_utf8(&text).is_ok());
        prop_assert_eq!(named(&text), Some(name));
    }
}

/// Where the pages end and the indexes begin.
fn pages_end(file: &[u8]) -> usize {
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(file)).unwrap();
    let group = reader.metadata().row_groups().last().unwrap();
    let (begin, len) = group.columns().last().unwrap().byte_range();
    (begin + len) as usize
}

#[test]
fn every_truncation_is_noticed() {
    let file = written(&plain(20), Columns::all(), &small(), None);
    for len in 0..file.len() {
        assert!(open(&file[..len]).is_err(), "{len} of {}", file.len());
    }
}

#[test]
fn the_parquet_crate_reads_the_same() {
    let objects = plain(500);
    let file = written(&objects, Columns::all(), &small(), None);
    let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
    let metadata = reader.metadata();
    assert!(metadata.num_row_groups() > 5);
    let pair = &metadata.file_metadata().key_value_metadata().unwrap()[0];
    assert_eq!((pair.key.as_str(), pair.value.as_deref()), ("windrow.format", Some("1")));
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), objects.len());
    for (row, object) in rows.into_iter().zip(&objects) {
        let text = |text: &[u8]| Field::Str(String::from_utf8(text.to_vec()).unwrap());
        let meta = object.meta.as_ref();
        let header = |name| meta.and_then(|meta| meta.header(name)).map_or(Field::Null, text);
        let sum = Sha256::digest(&object.body);
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            text(&object.name),
            Field::Bytes(object.body.clone().into()),
            Field::Long(object.body.len() as i64),
            meta.map_or(Field::Null, |meta| Field::Str(meta.url.clone())),
            meta.map_or(Field::Null, |meta| Field::UShort(meta.status)),
            header("content-type"),
            header("etag"),
            header("last-modified"),
            Field::Str(hex),
            meta.map_or(Field::Null, |meta| Field::TimestampMillis(meta.fetched_at as i64)),
            Field::Long(object.ordinal as i64),
        ];
        let columns: Vec<_> = row.into_columns();
        let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, Column::ALL.map(Column::name));
        let fields: Vec<_> = columns.into_iter().map(|(_, field)| field).collect();
        assert_eq!(fields, expected);
    }
}

/// Bytes that no coder makes smaller, and such that are made a little smaller.
fn noise(len: usize, symbols: u8) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((u64::from(symbols) * (state >> 32 & 0xFFFF)) >> 16) as u8
    };
    (0..len).map(|_| byte()).collect()
}

#[test]
fn long_bodies_pass_through() {
    let names = ["stored", "even", "twice", "small", "limit"];
    let bodies = [
        noise(PARQUET_ALONE_BYTES + 1, 255),
        noise(PARQUET_KEPT_BYTES + 12_345, 255),
        noise(PARQUET_KEPT_BYTES + (8 << 20), 100),
        vec![b'a'; 3 * PARQUET_ALONE_BYTES],
        noise(PARQUET_ALONE_BYTES, 255),
    ];
    let mut objects = plain(10);
    for (name, body) in names.iter().zip(bodies) {
        let meta = objects[1].meta.clone();
        let row = Object { name: name.as_bytes().to_vec(), ordinal: 7, meta, body };
        objects.push(row);
        objects.extend(plain(2));
    }
    for spool in [None, Some(100_000)] {
        let file = written(&objects, Columns::all(), &Options::default(), spool);
        let raw: usize = objects.iter().map(|object| object.body.len()).sum();
        assert!(file.len() < raw - 3 * PARQUET_ALONE_BYTES, "{} of {raw}", file.len());
        for (place, (found, object)) in all(&file).unwrap().iter().zip(&objects).enumerate() {
            check(found, object, place as u64);
        }
        let mut decoder = open(&file).unwrap();
        for place in (0..objects.len()).rev() {
            decoder.seek(place as u64).unwrap();
            check(&next(&mut decoder).unwrap().unwrap(), &objects[place], place as u64);
        }
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        for (row, object) in reader.get_row_iter(None).unwrap().zip(&objects) {
            let (_, body) = row.unwrap().into_columns().swap_remove(1);
            assert!(body == Field::Bytes(object.body.clone().into()), "{:?}", object.name);
        }
    }
}

#[test]
fn damage_in_a_long_body_is_noticed() {
    for symbols in [255, 100] {
        let body = noise(PARQUET_ALONE_BYTES + 100, symbols);
        let objects = [Object { name: b"a".to_vec(), ordinal: 0, meta: None, body }];
        let mut file = written(&objects, Columns::all(), &Options::default(), None);
        file[1_000_000] ^= 1;
        assert_eq!(all(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_refused_body_leaves_nothing() {
    let mut encoder = ParquetEncoder::new(Columns::all(), &Options::default()).unwrap();
    let mut out = Vec::new();
    encoder.begin(&mut out).unwrap();
    let long = PARQUET_ALONE_BYTES as u64 + 1;
    let mut place = 0;
    for mut liar in [
        Liar(5, b"four"),
        Liar(3, b"four"),
        Liar(long, b"four"),
        Liar(PARQUET_BODY_BYTES + 1, b""),
        Liar(u64::MAX, b""),
    ] {
        let record = Record { name: b"liar", ordinal: 1, meta: None };
        let error = encoder.record(&record, &mut liar, &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}: {error}", liar.0);
        let record = Record { name: b"honest", ordinal: 1, meta: None };
        assert_eq!(encoder.record(&record, &mut &b"body"[..], &mut out).unwrap(), (place, false));
        place += 1;
    }
    let name = vec![b'x'; 2 << 20];
    let record = Record { name: &name, ordinal: 1, meta: None };
    assert!(encoder.record(&record, &mut &b""[..], &mut out).is_err());
    encoder.end(&mut out).unwrap();
    let rows = all(&out).unwrap();
    assert_eq!(rows.len() as u64, place);
    assert!(rows.iter().all(|(found, body)| found.name == b"honest" && body == b"body"));
}

#[test]
fn one_encoder_writes_many_files() {
    let objects = plain(50);
    let mut encoder = ParquetEncoder::new(Columns::all(), &small()).unwrap();
    let mut files = [Vec::new(), Vec::new(), Vec::new()];
    for (number, file) in files.iter_mut().enumerate() {
        encoder.begin(file).unwrap();
        for Object { name, ordinal, meta, body } in &objects {
            let record = Record { name, ordinal: *ordinal, meta: meta.as_ref() };
            encoder.record(&record, &mut &body[..], file).unwrap();
        }
        // The second is given up in the middle.
        if number != 1 {
            encoder.end(file).unwrap();
        }
    }
    assert!(files[0] == files[2], "the same rows give the same bytes");
    assert_eq!(all(&files[0]).unwrap().len(), 50);
}

#[test]
fn any_columns_are_enough() {
    let objects = plain(100);
    for column in Column::ALL {
        let columns = Columns::of([column]);
        let file = written(&objects, columns, &small(), None);
        let mut decoder = open(&file).unwrap();
        assert_eq!(decoder.columns(), columns);
        for object in &objects {
            let (found, body) = next(&mut decoder).unwrap().unwrap();
            let has = |which| column == which;
            assert_eq!(found.name, if has(Column::Name) { &object.name[..] } else { b"" });
            assert_eq!(body, if has(Column::Body) { &object.body[..] } else { b"" });
            let sized = has(Column::Body) || has(Column::Size);
            assert_eq!(found.bytes, if sized { object.body.len() as u64 } else { 0 });
            assert_eq!(found.ordinal, has(Column::Ordinal).then_some(object.ordinal));
            if !column.is_optional() {
                assert_eq!(found.meta, None);
            }
        }
        assert_eq!(decoder.next(None).unwrap(), None);
    }
}

#[test]
fn headers_are_found_in_any_case_and_the_first_counts() {
    let meta = Meta {
        headers:
            b"x: content-type: no\r\nCONTENT-TYPE:a/b\r\nETag:  \"1\" \r\ncontent-type: c/d\r\n\
            content-types: e\r\nLast-Modified: M\xE4rz\r\nage: 3\r\n"
                .to_vec(),
        ..Meta::default()
    };
    let row = Object { name: b"n".to_vec(), ordinal: 0, meta: Some(meta), body: Vec::new() };
    let file = written(&[row], Columns::all(), &small(), None);
    let (found, _) = all(&file).unwrap().remove(0);
    let headers = found.meta.unwrap().headers;
    let expected = "content-type: a/b\r\netag: \"1\"\r\nlast-modified: März\r\n";
    assert_eq!(String::from_utf8(headers).unwrap(), expected);
}

#[test]
fn files_of_others_are_refused() {
    let file = written(&plain(3), Columns::all(), &small(), None);
    let at = file.windows(FORMAT_KEY.len()).position(|part| part == FORMAT_KEY.as_bytes()).unwrap();
    let mut other = file.clone();
    other[at] = b'W';
    assert!(open(&other).unwrap_err().to_string().contains("none that windrow wrote"));
    let mut later = file;
    later[at + FORMAT_KEY.len() + 2] = b'2';
    assert!(open(&later).unwrap_err().to_string().contains("later form"));
}

/// A page head may claim any length; what is read for it is bounded by what a page can have.
#[test]
fn a_page_that_claims_gigabytes_gets_no_memory() {
    let objects = [Object { name: b"n".to_vec(), ordinal: 0, meta: None, body: vec![b'b'; 70] }];
    let columns = Columns::parse("name").unwrap();
    let file = written(&objects, columns, &small(), None);
    let packed = file.len();
    for (raw, packed_bytes) in
        [(1 << 31, 5), (i64::MAX as u64, 5), (5, 1 << 31), (1 << 31, 1 << 31)]
    {
        let mut head = Vec::new();
        chunk::PageHead { raw, packed: packed_bytes, crc: 0, values: 1 }.put(&mut head);
        // The head grows into what follows; the footer stays where it is.
        let mut hostile = file.clone();
        hostile[4..4 + head.len()].copy_from_slice(&head);
        assert_eq!(hostile.len(), packed);
        let error = all(&hostile).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("long"), "{error}");
    }
}
