//! Parquet files.

use super::*;
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use std::sync::Arc;
use windrow_model::task::{Digest, Expected};

#[test]
fn rows_are_objects() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l.parquet");
    parquet_file(
        &path,
        &[
            ("caption", &[Some("x"), None, None, Some("y")]),
            ("URL", &[Some("https://h/a"), None, Some("no"), Some("https://h/d?e f")]),
            ("file", &[Some("one"), Some("two"), Some("three"), None]),
        ],
        3,
    );
    let mut spec = ListSpec { inputs: vec![path.clone()], ..ListSpec::default() };
    let expected = [
        entry("h/a", "https://h/a"),
        bad("line-2", 2, "no URL"),
        bad("line-3", 3, "not an http or https URL"),
        entry("h/d?e%20f", "https://h/d?e%20f"),
    ];
    assert_eq!(all(&spec), expected);
    spec.name_col = Some("file".into());
    let found = all(&spec);
    assert_eq!(found[0].name, "one");
    assert_eq!(found[3], bad("line-4", 4, "no name"));
    spec.url_col = Some("address".into());
    let error = List::open(&spec, None).unwrap_err().to_string();
    assert!(error.ends_with("no column `address`: its columns are caption, URL, file"), "{error}");
    // Not from front to back.
    let (_dir, packed) = file("l.parquet.gz", gzip(&std::fs::read(&path).unwrap()));
    let error = List::open(&packed, None).unwrap_err().to_string();
    assert!(error.contains("from front to back"), "{error}");
    let stdin = ListSpec { inputs: vec!["-".into()], form: Some(Form::Parquet), ..spec };
    assert!(List::open(&stdin, None).is_err());
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, std::fs::File>,
    values: &[T::T],
    levels: Option<(&[i16], Option<&[i16]>)>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    let (definition, repetition) = levels.map_or((None, None), |(d, r)| (Some(d), r));
    column.typed::<T>().write_batch(values, definition, repetition).unwrap();
    column.close().unwrap();
}

#[test]
fn numbers_structs_and_lists() {
    let (_dir, mut spec) = file("l.parquet", "");
    let schema = "message l {
        REQUIRED INT64 n; OPTIONAL INT32 m (UINT_32); REQUIRED BYTE_ARRAY sum; REQUIRED DOUBLE d;
        REPEATED BYTE_ARRAY uri; OPTIONAL GROUP meta { REQUIRED BYTE_ARRAY link; }
    }";
    let schema = ::parquet::schema::parser::parse_message_type(schema).unwrap();
    let out = std::fs::File::create(&spec.inputs[0]).unwrap();
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    column::<Int64Type>(&mut group, &[7, -1, i64::MAX], None);
    column::<Int32Type>(&mut group, &[-1], Some((&[0, 0, 1], None)));
    let sums = ["e3069283", "", "4waSgw=="].map(ByteArray::from);
    column::<ByteArrayType>(&mut group, &sums, None);
    column::<DoubleType>(&mut group, &[0.5; 3], None);
    column::<ByteArrayType>(&mut group, &[], Some((&[0; 3], Some(&[0; 3]))));
    let urls = ["https://h/a", "https://h/c"].map(ByteArray::from);
    column::<ByteArrayType>(&mut group, &urls, Some((&[1, 0, 1], None)));
    group.close().unwrap();
    writer.close().unwrap();

    let error = List::open(&spec, None).unwrap_err().to_string();
    assert!(error.ends_with("`url`: its columns are n, m, sum, d, meta.link"), "{error}");
    spec.url_col = Some("d".into());
    let error = List::open(&spec, None).unwrap_err().to_string();
    assert!(error.contains("column `d` of a type that fits") && error.contains("d (DOUBLE)"));
    spec.url_col = Some("meta.link".into());
    spec.verify_col = Some(("sum".into(), DigestKind::Crc32c));
    for (size, sizes, second) in [
        ("n", [Some(7), Some(i64::MAX as u64)], "no URL"),
        ("m", [None, Some(u64::from(u32::MAX))], "no URL"),
    ] {
        spec.size_col = Some(size.into());
        let page = List::open(&spec, None).unwrap().page().unwrap().unwrap();
        let details = page.sheet.details.unwrap();
        let digest = Some(Digest::Crc32c(0xe306_9283));
        assert_eq!(details.expected[0], Expected { size: sizes[0], digest });
        assert_eq!(details.expected[2], Expected { size: sizes[1], digest });
        assert_eq!(details.malformed(1).map(|line| line.why), Some(second));
    }
}
