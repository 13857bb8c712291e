//! Files of an inventory in Parquet: keys as they are, columns by their names.

use super::{Data, Row, Want, etag, is_not};
use crate::source::list::columnar::{Column, Read, bytes, guarded};
use ::parquet::basic::{LogicalType, TimeUnit, Type};
use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::{BoolType, ByteArrayType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::SchemaDescriptor;
use std::fmt;
use windrow_model::Error;
use windrow_model::limits::LIST_PAGE_OBJECTS;
use windrow_model::task::Listed;

/// Rows of a file.
pub(super) struct Parquet {
    shown: String,
    file: SerializedFileReader<Data>,
    leaves: Leaves,
    /// Timestamps for each second.
    per_second: u64,
    next_group: usize,
    group: Option<Group>,
}

/// Columns by their numbers.
#[derive(Debug, Clone, Copy)]
struct Leaves {
    key: usize,
    bucket: Option<usize>,
    is_latest: Option<usize>,
    is_delete_marker: Option<usize>,
    size: Option<usize>,
    modified: Option<usize>,
    etag: Option<usize>,
}

/// The columns of one row group.
struct Group {
    /// Rows of it that are not in hand yet.
    left: u64,
    /// Rows in hand, and how many of them are done.
    batch: usize,
    done: usize,
    key: Column<ByteArrayType>,
    bucket: Option<Column<ByteArrayType>>,
    is_latest: Option<Column<BoolType>>,
    is_delete_marker: Option<Column<BoolType>>,
    size: Option<Column<Int64Type>>,
    modified: Option<Column<Int64Type>>,
    etag: Option<Column<ByteArrayType>>,
}

impl fmt::Debug for Parquet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parquet {{ leaves: {:?} }}", self.leaves)
    }
}

impl Parquet {
    pub(super) fn open(data: Data, shown: &str) -> Result<Self, Error> {
        let file = guarded(shown, || SerializedFileReader::new(data))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let leaves = Leaves::find(schema).map_err(|why| {
            Error::environment(shown, "is corrupt, or no file of an inventory").why(why)
        })?;
        let unit = leaves.modified.and_then(|leaf| schema.column(leaf).logical_type_ref().cloned());
        let per_second = match unit {
            Some(LogicalType::Timestamp(stamp)) => match stamp.unit {
                TimeUnit::MILLIS => 1000,
                TimeUnit::MICROS => 1_000_000,
                TimeUnit::NANOS => 1_000_000_000,
            },
            _ => 1000,
        };
        let shown = shown.to_owned();
        Ok(Self { shown, file, leaves, per_second, next_group: 0, group: None })
    }

    pub(super) fn skip(&mut self, rows: u64) -> Result<(), String> {
        let mut left = rows;
        for group in self.file.metadata().row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            if rows > left {
                break;
            }
            left -= rows;
            self.next_group += 1;
        }
        if left > 0 && self.next_group < self.file.num_row_groups() {
            let mut group = self.open_group()?;
            let skip = usize::try_from(left).map_err(|_| "too many rows")?;
            self.guard(|| group.each(skip, false))?;
            group.left -= left;
            self.group = Some(group);
        }
        Ok(())
    }

    fn guard<T>(&self, work: impl FnOnce() -> Read<T>) -> Result<T, String> {
        guarded(&self.shown, work).map_err(|error| error.to_string())
    }

    fn open_group(&mut self) -> Result<Group, String> {
        let index = self.next_group;
        self.next_group += 1;
        self.guard(|| Group::open(&self.file, index, &self.leaves))
    }

    /// Sees to it that there is a row in hand; `false` at the end.
    fn load(&mut self) -> Result<bool, String> {
        loop {
            if let Some(group) = &mut self.group {
                if group.done < group.batch {
                    return Ok(true);
                }
                if group.left > 0 {
                    let load = || {
                        let left = usize::try_from(group.left).unwrap_or(usize::MAX);
                        let batch = left.min(LIST_PAGE_OBJECTS);
                        group.each(batch, true)?;
                        group.left -= batch as u64;
                        (group.batch, group.done) = (batch, 0);
                        Ok(())
                    };
                    guarded(&self.shown, load).map_err(|error| error.to_string())?;
                    return Ok(true);
                }
            }
            if self.next_group >= self.file.num_row_groups() {
                return Ok(false);
            }
            self.group = Some(self.open_group()?);
        }
    }

    /// Reads a row; `false` at the end.
    pub(super) fn read(&mut self, want: &Want, row: &mut Row) -> Result<bool, String> {
        if !self.load()? {
            return Ok(false);
        }
        let Some(group) = &mut self.group else { return Ok(false) };
        group.done += 1;
        row.key.clear();
        row.key.extend_from_slice(bytes(group.key.next()).ok_or("no key")?);
        let bucket = group.bucket.as_mut().and_then(|column| bytes(column.next()));
        row.is_foreign = bucket.is_some_and(|bucket| bucket != want.bucket.as_bytes());
        let latest = group.is_latest.as_mut().and_then(|column| column.next().copied());
        let marker = group.is_delete_marker.as_mut().and_then(|column| column.next().copied());
        row.is_current = is_not(latest, false) && is_not(marker, true);
        let size = group.size.as_mut().and_then(|column| column.next().copied());
        let size = size.map(|size| u64::try_from(size).map_err(|_| "a size below nothing"));
        let etag = etag(group.etag.as_mut().and_then(|column| bytes(column.next())));
        row.listed = Listed { size: size.transpose()?.unwrap_or(u64::MAX), etag };
        let modified = group.modified.as_mut().and_then(|column| column.next().copied());
        let modified = modified.and_then(|stamp| u64::try_from(stamp).ok());
        row.modified = modified.unwrap_or(0) / self.per_second;
        Ok(true)
    }
}

impl Leaves {
    /// Finds them at the top of the schema, by their names.
    fn find(schema: &SchemaDescriptor) -> Result<Self, String> {
        let find = |names: &[&str], kind: Type| {
            let is = |index: &usize| {
                let path = schema.column(*index).path().string();
                names.iter().any(|name| path.eq_ignore_ascii_case(name))
            };
            let Some(index) = (0..schema.num_columns()).find(is) else { return Ok(None) };
            let column = schema.column(index);
            match column.physical_type() == kind && column.max_rep_level() == 0 {
                true => Ok(Some(index)),
                false => Err(format!("its column {} is of another type than {kind}", names[0])),
            }
        };
        Ok(Self {
            key: find(&["key"], Type::BYTE_ARRAY)?.ok_or("it has no column key")?,
            bucket: find(&["bucket"], Type::BYTE_ARRAY)?,
            is_latest: find(&["is_latest"], Type::BOOLEAN)?,
            is_delete_marker: find(&["is_delete_marker"], Type::BOOLEAN)?,
            size: find(&["size"], Type::INT64)?,
            modified: find(&["last_modified_date"], Type::INT64)?,
            etag: find(&["e_tag", "etag"], Type::BYTE_ARRAY)?,
        })
    }
}

impl Group {
    fn open(file: &SerializedFileReader<Data>, index: usize, leaves: &Leaves) -> Read<Self> {
        let group = file.get_row_group(index)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let present = |leaf: usize| schema.column(leaf).max_def_level();
        let odd = || ParquetError::General("a column of another type than in the schema".into());
        let text = |leaf: usize| match group.get_column_reader(leaf)? {
            ColumnReader::ByteArrayColumnReader(reader) => Ok(Column::new(reader, present(leaf))),
            _ => Err(odd()),
        };
        let truth = |leaf: usize| match group.get_column_reader(leaf)? {
            ColumnReader::BoolColumnReader(reader) => Ok(Column::new(reader, present(leaf))),
            _ => Err(odd()),
        };
        let number = |leaf: usize| match group.get_column_reader(leaf)? {
            ColumnReader::Int64ColumnReader(reader) => Ok(Column::new(reader, present(leaf))),
            _ => Err(odd()),
        };
        let left = u64::try_from(group.metadata().num_rows());
        Ok(Self {
            left: left.map_err(|_| ParquetError::General("an impossible number of rows".into()))?,
            batch: 0,
            done: 0,
            key: text(leaves.key)?,
            bucket: leaves.bucket.map(text).transpose()?,
            is_latest: leaves.is_latest.map(truth).transpose()?,
            is_delete_marker: leaves.is_delete_marker.map(truth).transpose()?,
            size: leaves.size.map(number).transpose()?,
            modified: leaves.modified.map(number).transpose()?,
            etag: leaves.etag.map(text).transpose()?,
        })
    }

    /// Loads or skips so many rows of every column.
    fn each(&mut self, rows: usize, load: bool) -> Read<()> {
        self.key.go(rows, load)?;
        for column in [&mut self.bucket, &mut self.etag].into_iter().flatten() {
            column.go(rows, load)?;
        }
        for column in [&mut self.is_latest, &mut self.is_delete_marker].into_iter().flatten() {
            column.go(rows, load)?;
        }
        for column in [&mut self.size, &mut self.modified].into_iter().flatten() {
            column.go(rows, load)?;
        }
        Ok(())
    }
}
