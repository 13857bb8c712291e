//! The `manifest.json` of an inventory.

use serde::Deserialize;
use windrow_model::Error;
use windrow_model::digits::hex;
use windrow_model::limits::{INVENTORY_COLUMNS, KEY_BYTES};

/// What an inventory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The bucket that has its files.
    pub destination: String,
    /// How they are written.
    pub form: Form,
    /// They themselves.
    pub files: Vec<DataFile>,
}

/// A file of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its key in the bucket.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// The MD5 of its bytes, if it is said.
    pub md5: Option<[u8; 16]>,
}

/// How files of an inventory are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Values separated by commas, without a header line.
    Csv(Columns),
    /// Apache Parquet, which knows its columns.
    Parquet,
}

/// Which columns there are, by their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// All of them.
    pub count: usize,
    /// The object's key.
    pub key: usize,
    /// The others, where they are.
    pub bucket: Option<usize>,
    /// Whether it is the latest version.
    pub is_latest: Option<usize>,
    /// Whether it is a delete marker.
    pub is_delete_marker: Option<usize>,
    /// Its length in bytes.
    pub size: Option<usize>,
    /// When it was written.
    pub modified: Option<usize>,
    /// Its entity tag.
    pub etag: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    source_bucket: String,
    destination_bucket: String,
    file_format: String,
    #[serde(default)]
    file_schema: String,
    files: Vec<WrittenFile>,
}

#[derive(Deserialize)]
struct WrittenFile {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum", default)]
    md5: Option<String>,
}

/// The name of a bucket that may be written as its ARN (`arn:aws:s3:::NAME`).
pub fn bucket_name(text: &str) -> &str {
    let arn = text.strip_prefix("arn:").and_then(|rest| rest.split_once(":s3:::"));
    arn.map_or(text, |(_, name)| name)
}

impl Manifest {
    /// Reads one that is to be of that bucket; `shown` is it, for people.
    ///
    /// # Errors
    /// It is none, of another bucket, or in ORC.
    pub fn read(body: &[u8], bucket: &str, shown: &str) -> Result<Self, Error> {
        let none = |why: String| {
            Error::usage(shown, "is not the manifest of an inventory")
                .why(why)
                .hint("S3 writes it as .../SOURCEBUCKET/INVENTORY/2024-02-29T00-00Z/manifest.json")
        };
        let written: Written =
            serde_json::from_slice(body).map_err(|error| none(error.to_string()))?;
        let source = bucket_name(&written.source_bucket);
        if source != bucket {
            let why = format!("of `{}`, not of `{bucket}`", source.escape_debug());
            return Err(Error::usage(shown, "is the inventory of another bucket").why(why));
        }
        let destination = bucket_name(&written.destination_bucket);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if destination.is_empty() || !destination.bytes().all(plain) {
            return Err(none("its destinationBucket is no bucket".to_owned()));
        }
        let form = match written.file_format.to_ascii_lowercase().as_str() {
            "csv" => Form::Csv(Columns::find(&written.file_schema).map_err(none)?),
            "parquet" => Form::Parquet,
            "orc" => {
                return Err(Error::usage(shown, "is an inventory in ORC")
                    .why("CSV and Parquet are read")
                    .hint("set the inventory's format to CSV or Parquet; or give the keys as a file: --keys"));
            }
            _ => {
                let why = format!("its fileFormat is `{}`", written.file_format.escape_debug());
                return Err(none(why));
            }
        };
        let file = |file: WrittenFile| {
            if file.key.is_empty() || file.key.len() > KEY_BYTES {
                return Err(none("a file's key is empty, or too long".to_owned()));
            }
            let sum = |text: &String| {
                hex(text.as_bytes()).ok_or_else(|| {
                    none(format!("the MD5checksum of `{}` is none", file.key.escape_debug()))
                })
            };
            let md5 = file.md5.as_ref().map(sum).transpose()?;
            Ok(DataFile { key: file.key, size: file.size, md5 })
        };
        let files = written.files.into_iter().map(file).collect::<Result<_, Error>>()?;
        Ok(Self { destination: destination.to_owned(), form, files })
    }
}

impl Columns {
    /// Finds them in a `fileSchema`: names with commas between them, in any case.
    fn find(schema: &str) -> Result<Self, String> {
        let names: Vec<_> = schema.split(',').map(str::trim).collect();
        if names.len() > INVENTORY_COLUMNS {
            return Err(format!("more than {INVENTORY_COLUMNS} columns"));
        }
        let find = |name: &str| names.iter().position(|own| own.eq_ignore_ascii_case(name));
        Ok(Self {
            count: names.len(),
            key: find("Key").ok_or("its fileSchema has no column Key")?,
            bucket: find("Bucket"),
            is_latest: find("IsLatest"),
            is_delete_marker: find("IsDeleteMarker"),
            size: find("Size"),
            modified: find("LastModifiedDate"),
            etag: find("ETag"),
        })
    }
}
