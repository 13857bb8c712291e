//! Lists as files, in every form.

mod broken;
mod columnar;
mod forms;
mod reentry;

use super::*;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// What a list says of an object, or what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    said: Result<String, (u64, &'static str)>,
}

fn entry(name: &str, url: &str) -> Entry {
    Entry { name: name.into(), said: Ok(url.into()) }
}

fn bad(name: &str, line: u64, why: &'static str) -> Entry {
    Entry { name: name.into(), said: Err((line, why)) }
}

/// The objects of a page; sees to it that its parts fit each other.
fn entries_of(sheet: &Sheet) -> Vec<Entry> {
    let details = sheet.details.as_ref().expect("a list has details");
    let count = sheet.names.len();
    assert_eq!((details.origin.len(), details.targets.len()), (count, count));
    assert!(details.expiry.is_empty() || details.expiry.len() == count);
    assert!(details.expected.is_empty() || details.expected.len() == count);
    assert!(details.malformed.is_sorted_by_key(|line| line.index));
    let (origins, mut once) = (&details.origins, details.origins.clone());
    once.sort();
    once.dedup();
    assert_eq!(once.len(), origins.len(), "each server once");
    (0..count)
        .map(|index| {
            let name = String::from_utf8_lossy(sheet.names.get(index).unwrap()).into_owned();
            let target = std::str::from_utf8(details.targets.get(index).unwrap()).unwrap();
            let said = match details.malformed(index) {
                Some(line) => {
                    assert_eq!(details.origin[index], Details::NOWHERE);
                    assert_eq!(target, "");
                    Err((line.line, line.why))
                }
                None => {
                    assert!(
                        target.starts_with('/') && target.bytes().all(|b| b.is_ascii_graphic())
                    );
                    Ok(format!("{}{target}", origins[details.origin[index] as usize]))
                }
            };
            Entry { name, said }
        })
        .collect()
}

/// Every object of a list up to its end or an error; sees to it that the markers hang together.
fn read(list: &mut List) -> (Vec<Entry>, Option<Error>) {
    let mut entries = Vec::new();
    let mut before: Option<Option<String>> = None;
    loop {
        match list.page() {
            Ok(Some(page)) => {
                assert!(!page.sheet.names.is_empty());
                if let Some(before) = before {
                    assert!(before.is_some(), "a page behind the last one");
                    assert_eq!(before, page.asked);
                }
                assert!(page.next.as_ref().is_none_or(|marker| marker.is_ascii()));
                before = Some(page.next);
                entries.extend(entries_of(&page.sheet));
            }
            Ok(None) => return (entries, None),
            Err(error) => {
                assert_eq!(list.page().unwrap_err(), error, "an error stays");
                return (entries, Some(error));
            }
        }
    }
}

fn all(spec: &ListSpec) -> Vec<Entry> {
    let (entries, error) = read(&mut List::open(spec, None).unwrap());
    assert_eq!(error, None);
    entries
}

/// A directory with one file in it, and a list of that.
fn file(name: &str, bytes: impl AsRef<[u8]>) -> (TempDir, ListSpec) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (dir, ListSpec { inputs: vec![path], ..ListSpec::default() })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// A parquet file of text columns, perhaps with nulls, in row groups of so many rows.
fn parquet_file(path: &Path, columns: &[(&str, &[Option<&str>])], group: usize) {
    use ::parquet::data_type::{ByteArray, ByteArrayType};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use std::sync::Arc;

    let fields: String =
        columns.iter().map(|(name, _)| format!("OPTIONAL BYTE_ARRAY {name} (UTF8); ")).collect();
    let schema =
        ::parquet::schema::parser::parse_message_type(&format!("message l {{ {fields} }}"));
    let properties = WriterProperties::builder()
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .set_data_page_row_count_limit(7)
        .set_write_batch_size(3)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema.unwrap()), Arc::new(properties)).unwrap();
    let rows = columns[0].1.len();
    for from in (0..rows).step_by(group) {
        let mut row_group = writer.next_row_group().unwrap();
        for (_, values) in columns {
            let values = &values[from..rows.min(from + group)];
            let levels: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
            let present: Vec<_> =
                values.iter().flatten().map(|&value| ByteArray::from(value)).collect();
            let mut column = row_group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&present, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        row_group.close().unwrap();
    }
    writer.close().unwrap();
}

use windrow_model::task::Details;
