//! Manifests, and rows of CSV and Parquet.

use super::*;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use proptest::prelude::*;
use std::io::Write as _;
use std::sync::Arc;
use windrow_model::percent::{self, Keep};

const SCHEMA: &str =
    "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag";

fn manifest(format: &str, schema: &str) -> String {
    format!(
        "{{\"sourceBucket\": \"lake\", \"destinationBucket\": \"arn:aws:s3:::lists\", \"version\": \
         \"2016-11-30\", \"creationTimestamp\": \"1514944800000\", \"fileFormat\": \"{format}\", \
         \"fileSchema\": \"{schema}\", \"files\": [{{\"key\": \"a/b.csv.gz\", \"size\": 3, \
         \"MD5checksum\": \"f11166069f1990abeb9c97ace9cdfabc\"}}]}}"
    )
}

fn read(text: &str) -> Result<Manifest, String> {
    Manifest::read(text.as_bytes(), "lake", "m").map_err(|error| error.to_string())
}

#[test]
fn manifests_as_aws_writes_them() {
    let csv = read(&manifest("CSV", SCHEMA)).unwrap();
    assert_eq!(csv.destination, "lists");
    let DataFile { key, size, md5 } = &csv.files[0];
    assert_eq!((key.as_str(), *size, md5.is_some()), ("a/b.csv.gz", 3, true));
    let Form::Csv(columns) = csv.form else { panic!("{:?}", csv.form) };
    assert_eq!((columns.count, columns.key, columns.etag), (8, 1, Some(7)));
    assert_eq!(columns.is_delete_marker, Some(4));
    let parquet = manifest("Parquet", "message s3.inventory { required binary key (UTF8); }");
    assert_eq!(read(&parquet).unwrap().form, Form::Parquet);
    let arn = manifest("CSV", SCHEMA).replace("\"lake\"", "\"arn:aws-cn:s3:::lake\"");
    assert!(read(&arn).is_ok());
}

#[test]
fn manifests_that_are_none() {
    let good = manifest("CSV", SCHEMA);
    for (from, to, said) in [
        ("\"lake\"", "\"sea\"", "of another bucket: of `sea`"),
        ("CSV", "ORC", "in ORC: CSV and Parquet are read"),
        ("CSV", "Avro", "fileFormat is `Avro`"),
        (" Key,", " Name,", "no column Key"),
        ("arn:aws:s3:::lists", "../lists", "destinationBucket is no bucket"),
        ("f111", "g111", "MD5checksum"),
        ("a/b.csv.gz", "", "key is empty"),
        ("\"size\": 3", "\"size\": -3", "not the manifest"),
        ("\"files\"", "\"things\"", "missing field `files`"),
    ] {
        let error = read(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    for bad in ["", "{}", "[]", "<xml/>", &"[".repeat(10_000)] {
        assert!(read(bad).is_err());
    }
}

/// A file with these bytes.
fn data(bytes: &[u8]) -> Data {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Data::of(file).unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn csv_form(schema: &str) -> Form {
    read(&manifest("CSV", schema)).unwrap().form
}

fn want(prefix: &str) -> Want {
    Want { bucket: "lake".into(), prefix: prefix.into(), ..Want::default() }
}

/// All pages from a row on: where each begins, and its keys.
fn pages(data: &Data, form: &Form, want: &Want, skip: u64) -> Result<Vec<(u64, Page)>, String> {
    let mut rows = Rows::open(data.clone(), form, "f", skip).map_err(|error| error.to_string())?;
    let (mut pages, mut at) = (Vec::new(), skip);
    loop {
        let piece = rows.piece(want).map_err(|error| error.to_string())?;
        pages.push((at, piece.page));
        match piece.next {
            Some(next) => at = next,
            None => return Ok(pages),
        }
    }
}

fn keys(pages: &[(u64, Page)]) -> Vec<String> {
    let keys = pages.iter().flat_map(|(_, page)| page.keys.iter());
    keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

#[test]
fn rows_of_csv() {
    let etag = "fba9dede5f27731c9771645a39863328";
    let text = format!(
        "\"lake\",\"a+b%2Bc/100%25\",\"v\",\"true\",\"false\",\"3\",\"2009-10-12T17:50:30.000Z\",\"{etag}\"\n\
         \"lake\",\"old\",\"v\",\"false\",\"false\",\"3\",\"2009-10-12T17:50:30.000Z\",\"{etag}\"\n\
         \"lake\",\"gone\",\"v\",\"true\",\"true\",\"\",\"2009-10-12T17:50:30.000Z\",\"\"\n\
         lake,bare,,TRUE,,,,\r\n\
         \"lake\",\"comma%2C%22quote%22\"\"\",\"\",\"\",\"\",\"0\",\"\",\"{etag}-7\"\n"
    );
    let form = csv_form(SCHEMA);
    for bytes in [gzip(&text), text.clone().into_bytes()] {
        let all = pages(&data(&bytes), &form, &want(""), 0).unwrap();
        assert_eq!(keys(&all), ["a b+c/100%", "bare", "comma,\"quote\"\""]);
        let page = &all[0].1;
        let sizes: Vec<u64> = page.listed.iter().map(|listed| listed.size).collect();
        assert_eq!(sizes, [3, u64::MAX, 0]);
        assert_eq!(page.modified, [1_255_369_830, 0, 0]);
        assert!(page.listed[0].etag.md5().is_some() && page.listed[2].etag.is_some());
        assert!(!page.listed[1].etag.is_some());
        let some = pages(&data(&bytes), &form, &want("a b+"), 0).unwrap();
        assert_eq!(keys(&some), ["a b+c/100%"]);
    }
    // Without columns that say more than that.
    let all = pages(&data(b"lake,x\nlake,y"), &csv_form("Bucket, Key"), &want(""), 0).unwrap();
    assert_eq!(keys(&all), ["x", "y"]);
    assert_eq!(keys(&pages(&data(b""), &csv_form("Key"), &want(""), 0).unwrap()), [""; 0]);
}

#[test]
fn rows_that_are_none() {
    let long = format!("lake,{}\n", "x".repeat(70_000));
    let many = ",".repeat(400);
    for (text, said) in [
        ("lake,a\nsea,b\n", "another bucket: row 2"),
        ("lake\n", "row 1: it has 1 fields, not 2"),
        ("lake,a,b\n", "it has 3 fields"),
        ("lake,%zz\n", "cannot be decoded"),
        ("lake,\n", "empty"),
        (&long, "more than 65536 bytes"),
        (&many, "more than 256 fields"),
    ] {
        let error = pages(&data(&gzip(text)), &csv_form("Bucket, Key"), &want(""), 0).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let mut cut = gzip(&"lake,a\n".repeat(1000));
    cut.truncate(cut.len() - 9);
    let error = pages(&data(&cut), &csv_form("Bucket, Key"), &want(""), 0).unwrap_err();
    assert!(error.contains("is corrupt"), "{error}");
    let error = Rows::open(data(b"no parquet"), &Form::Parquet, "f", 0).unwrap_err();
    assert!(error.to_string().contains("corrupt"), "{error}");
}

#[test]
fn every_page_can_be_entered() {
    let text: String = (0..9321)
        .map(|n| format!("lake,{n:04},{}\n", if n % 3 == 0 { "false" } else { "true" }))
        .collect();
    let mut wanted = want("");
    wanted.filter = Filter::default().keys(&[], &["*7".to_owned()]).unwrap();
    let file = data(&gzip(&text));
    let form = csv_form("Bucket, Key, IsLatest");
    let all = pages(&file, &form, &wanted, 0).unwrap();
    assert!(all.len() > 2);
    for (index, (at, _)) in all.iter().enumerate() {
        assert_eq!(pages(&file, &form, &wanted, *at).unwrap(), all[index..]);
    }
    // A place behind the end has nothing.
    assert_eq!(keys(&pages(&file, &form, &wanted, 99_999).unwrap()), [""; 0]);
}

#[test]
fn a_file_is_what_the_manifest_says() {
    let md5 = Some(Md5::digest(b"abc").into());
    let said = |size, md5| DataFile { key: "k".into(), size, md5 };
    assert!(check(&data(b"abc"), &said(3, md5), "f").is_ok());
    assert!(check(&data(b"abc"), &said(3, None), "f").is_ok());
    for (bytes, size) in [(&b"abd"[..], 3), (b"ab", 3), (b"abcd", 3)] {
        let error = check(&data(bytes), &said(size, md5), "f").unwrap_err().to_string();
        assert!(error.starts_with("f: is not the file that the manifest names"), "{error}");
    }
}

/// What a row is written of.
type Written = (String, Option<bool>, Option<bool>, Option<u32>);

fn parquet_of(rows: &[Written], group: usize) -> Vec<u8> {
    let schema = "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); \
                  optional boolean is_latest; optional boolean is_delete_marker; optional int64 size; \
                  optional int64 last_modified_date (TIMESTAMP_MILLIS); }";
    let schema = Arc::new(::parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut out = Vec::new();
    let properties = Arc::new(WriterProperties::default());
    let mut writer = SerializedFileWriter::new(&mut out, schema, properties).unwrap();
    for rows in rows.chunks(group) {
        fn levels<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<i16>) {
            let all: Vec<_> = values.collect();
            let levels = all.iter().map(|value| i16::from(value.is_some())).collect();
            (all.into_iter().flatten().collect(), levels)
        }
        let mut group = writer.next_row_group().unwrap();
        let mut text = |values: Vec<ByteArray>| {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        };
        text(rows.iter().map(|_| ByteArray::from("lake")).collect());
        text(rows.iter().map(|row| ByteArray::from(row.0.as_str())).collect());
        for (values, levels) in
            [levels(rows.iter().map(|row| row.1)), levels(rows.iter().map(|row| row.2))]
        {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<BoolType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        let sizes = rows.iter().map(|row| row.3.map(i64::from));
        let times = rows.iter().map(|row| row.3.map(|size| i64::from(size) * 1000));
        for (values, levels) in [levels(sizes), levels(times)] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    out
}

fn csv_of(rows: &[Written], hex_spaces: bool) -> Vec<u8> {
    let mut text = String::new();
    for (key, latest, marker, size) in rows {
        let mut encoded = Vec::new();
        percent::escape_into(key.as_bytes(), &Keep::UNRESERVED_AND_SLASH, &mut encoded);
        let mut key = String::from_utf8(encoded).unwrap();
        if !hex_spaces {
            key = key.replace("%20", "+");
        }
        let said = |truth: Option<bool>| truth.map_or(String::new(), |truth| truth.to_string());
        let size = size.map_or(String::new(), |size| size.to_string());
        text +=
            &format!("\"lake\",\"{key}\",\"{}\",\"{}\",\"{size}\"\n", said(*latest), said(*marker));
    }
    gzip(&text)
}

proptest! {
    #[test]
    fn a_row_that_was_written_is_the_row_that_is_read(
        rows in prop::collection::vec(
            ("\\PC{1,20}|[ +%a-c/]{1,9}", any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<u32>>()),
            0..60,
        ),
        group in 1_usize..20,
        skip in 0_usize..70,
        hex_spaces: bool,
    ) {
        let wanted = |row: &&Written| row.1 != Some(false) && row.2 != Some(true);
        let behind = rows.get(skip..).unwrap_or_default();
        let expected: Vec<_> = behind.iter().filter(wanted).collect();
        let parquet = (parquet_of(&rows, group), Form::Parquet);
        let csv = (csv_of(&rows, hex_spaces), csv_form("Bucket, Key, IsLatest, IsDeleteMarker, Size"));
        for (bytes, form) in [parquet, csv] {
            let all = pages(&data(&bytes), &form, &want(""), skip as u64).unwrap();
            let page = &all[0].1;
            prop_assert_eq!(keys(&all), expected.iter().map(|row| row.0.clone()).collect::<Vec<_>>());
            for (index, row) in expected.iter().enumerate() {
                prop_assert_eq!(page.listed[index].size, row.3.map_or(u64::MAX, u64::from));
                if form == Form::Parquet {
                    prop_assert_eq!(page.modified[index], row.3.map_or(0, u64::from));
                }
            }
        }
    }

    #[test]
    fn nothing_that_is_read_brings_it_down(bytes in prop::collection::vec(any::<u8>(), 0..300), at: usize) {
        let rows: Vec<Written> = (0..40).map(|n| (format!("key-{n}"), None, None, Some(n))).collect();
        let mut broken = parquet_of(&rows, 15);
        let at = at % broken.len();
        for (place, byte) in broken[at..].iter_mut().zip(&bytes) {
            *place ^= byte;
        }
        let form = csv_form("Bucket, Key");
        for (bytes, form) in [(&bytes, &form), (&broken, &form), (&broken, &Form::Parquet)] {
            let _ = pages(&data(bytes), form, &want(""), 0);
        }
    }
}
