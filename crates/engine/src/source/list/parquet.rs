//! Apache Parquet: row group after row group, page after page, only the columns that are wanted.
//!
//! Memory is that of one page of each of these columns, decompressed, as the file has it (1 MiB as
//! writers make them), and of a dictionary of as much.

use super::columnar::{Column, Read, bytes, guarded};
use super::columns::{Columns, missing};
use super::page::{Name, Page, Row, Size};
use super::{ListSpec, Rows};
use ::parquet::basic::{ConvertedType, Type};
use ::parquet::column::reader::ColumnReader;
use ::parquet::data_type::{ByteArrayType, Int32Type, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::File;
use std::path::Path;
use windrow_model::Error;
use windrow_model::limits::LIST_PAGE_OBJECTS;

/// Rows of a file.
pub(super) struct Parquet {
    shown: String,
    file: SerializedFileReader<File>,
    /// Leaves of the schema that are read.
    columns: Columns,
    /// Rows of the file, and those before the next.
    rows: u64,
    row: u64,
    /// The next row group, and the one that is read.
    next_group: usize,
    group: Option<Group>,
}

/// The columns of one row group.
struct Group {
    /// Rows of it that are not in the batch yet.
    left: u64,
    url: Column<ByteArrayType>,
    name: Option<Column<ByteArrayType>>,
    size: Option<Sizes>,
    digest: Option<Column<ByteArrayType>>,
    /// Rows in hand, and how many of them are done.
    batch: usize,
    done: usize,
}

/// A column of numbers.
enum Sizes {
    Int32 { column: Column<Int32Type>, unsigned: bool },
    Int64 { column: Column<Int64Type>, unsigned: bool },
    Text(Column<ByteArrayType>),
}

impl Sizes {
    fn next(&mut self) -> Size<'_> {
        let number = match self {
            Self::Text(column) => return bytes(column.next()).map_or(Size::Unsaid, Size::Text),
            Self::Int32 { column, unsigned } => column.next().map(|&size| match unsigned {
                true => i64::from(size.cast_unsigned()),
                false => i64::from(size),
            }),
            Self::Int64 { column, unsigned: true } => {
                return column
                    .next()
                    .map_or(Size::Unsaid, |size| Size::Number(size.cast_unsigned()));
            }
            Self::Int64 { column, .. } => column.next().copied(),
        };
        match number.map(u64::try_from) {
            None => Size::Unsaid,
            Some(Ok(size)) => Size::Number(size),
            Some(Err(_)) => Size::Odd,
        }
    }
}

impl Parquet {
    /// Opens a file and finds its columns: those at the top of its schema, by their names, and those
    /// in structs, as in `a.b`.
    pub(super) fn open(path: &Path, shown: &str, spec: &ListSpec) -> Result<Self, Error> {
        let unreadable = |why: std::io::Error| Error::environment(shown, "cannot read").why(why);
        let file = File::open(path).map_err(unreadable)?;
        let file = guarded(shown, || SerializedFileReader::new(file))?;
        let metadata = file.metadata();
        let schema = metadata.file_metadata().schema_descr();
        // A column that may have several values a row says nothing of one object.
        let plain: Vec<usize> = (0..schema.num_columns())
            .filter(|&index| schema.column(index).max_rep_level() == 0)
            .collect();
        let names: Vec<String> =
            plain.iter().map(|&index| schema.column(index).path().string()).collect();
        let found = Columns::find(shown, &names, spec)?;
        let leaf = |column: usize, kinds: &[Type]| {
            let descr = schema.column(plain[column]);
            if kinds.contains(&descr.physical_type()) {
                return Ok(plain[column]);
            }
            let of: Vec<_> = names
                .iter()
                .enumerate()
                .map(|(at, name)| format!("{name} ({})", schema.column(plain[at]).physical_type()))
                .collect();
            Err(missing(shown, &format!("`{}` of a type that fits", names[column]), &of))
        };
        let optional = |column: Option<usize>, kinds: &[Type]| {
            column.map(|column| leaf(column, kinds)).transpose()
        };
        let columns = Columns {
            url: leaf(found.url, &[Type::BYTE_ARRAY])?,
            name: optional(found.name, &[Type::BYTE_ARRAY])?,
            size: optional(found.size, &[Type::INT32, Type::INT64, Type::BYTE_ARRAY])?,
            digest: optional(found.digest, &[Type::BYTE_ARRAY])?,
        };
        let mut rows = 0_u64;
        for group in metadata.row_groups() {
            let count = u64::try_from(group.num_rows()).ok();
            rows = count.and_then(|count| rows.checked_add(count)).ok_or_else(|| {
                Error::environment(shown, "is corrupt").why("an impossible number of rows")
            })?;
        }
        let shown = shown.to_owned();
        Ok(Self { shown, file, columns, rows, row: 0, next_group: 0, group: None })
    }

    /// Sees to it that there is a row in hand; `false` at the end.
    fn load(&mut self) -> Result<bool, Error> {
        loop {
            if let Some(group) = &mut self.group {
                if group.done < group.batch {
                    return Ok(true);
                }
                if group.left > 0 {
                    guarded(&self.shown, || group.load())?;
                    return Ok(true);
                }
            }
            if self.next_group >= self.file.num_row_groups() {
                return Ok(false);
            }
            let next = self.next_group;
            self.next_group += 1;
            self.group =
                Some(guarded(&self.shown, || Group::open(&self.file, next, &self.columns))?);
        }
    }
}

impl Group {
    fn open(file: &SerializedFileReader<File>, index: usize, columns: &Columns) -> Read<Self> {
        let group = file.get_row_group(index)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let texts = |column: usize| match group.get_column_reader(column)? {
            ColumnReader::ByteArrayColumnReader(reader) => {
                Ok(Column::new(reader, schema.column(column).max_def_level()))
            }
            _ => Err(ParquetError::General("a column of another type than in the schema".into())),
        };
        let sizes = |column: usize| -> Read<Sizes> {
            let descr = schema.column(column);
            let present = descr.max_def_level();
            let unsigned = matches!(
                descr.converted_type(),
                ConvertedType::UINT_8
                    | ConvertedType::UINT_16
                    | ConvertedType::UINT_32
                    | ConvertedType::UINT_64
            );
            Ok(match group.get_column_reader(column)? {
                ColumnReader::Int32ColumnReader(reader) => {
                    Sizes::Int32 { column: Column::new(reader, present), unsigned }
                }
                ColumnReader::Int64ColumnReader(reader) => {
                    Sizes::Int64 { column: Column::new(reader, present), unsigned }
                }
                _ => Sizes::Text(texts(column)?),
            })
        };
        Ok(Self {
            left: group.metadata().num_rows().cast_unsigned(),
            url: texts(columns.url)?,
            name: columns.name.map(texts).transpose()?,
            size: columns.size.map(sizes).transpose()?,
            digest: columns.digest.map(texts).transpose()?,
            batch: 0,
            done: 0,
        })
    }

    fn each(&mut self, rows: usize, load: bool) -> Read<()> {
        self.url.go(rows, load)?;
        if let Some(name) = &mut self.name {
            name.go(rows, load)?;
        }
        match &mut self.size {
            None => {}
            Some(Sizes::Int32 { column, .. }) => column.go(rows, load)?,
            Some(Sizes::Int64 { column, .. }) => column.go(rows, load)?,
            Some(Sizes::Text(column)) => column.go(rows, load)?,
        }
        match &mut self.digest {
            None => Ok(()),
            Some(digest) => digest.go(rows, load),
        }
    }

    fn skip(&mut self, rows: usize) -> Read<()> {
        self.each(rows, false)
    }

    fn load(&mut self) -> Read<()> {
        let batch = usize::try_from(self.left).unwrap_or(usize::MAX).min(LIST_PAGE_OBJECTS);
        self.each(batch, true)?;
        self.left -= batch as u64;
        (self.batch, self.done) = (batch, 0);
        Ok(())
    }

    /// Adds the next row in hand to the page.
    fn push(&mut self, number: u64, page: &mut Page) {
        self.done += 1;
        let url = bytes(self.url.next());
        let name = match &mut self.name {
            None => Name::ByRule,
            Some(name) => Name::Column(bytes(name.next())),
        };
        let size = self.size.as_mut().map_or(Size::Unsaid, Sizes::next);
        let digest = self.digest.as_mut().and_then(|digest| bytes(digest.next()));
        page.take(url.map_or(0, <[u8]>::len));
        if page.wants_next() {
            page.push(number, &Row { url: url.ok_or("no URL"), name, size, digest });
        }
    }
}

impl Rows for Parquet {
    fn read(&mut self, page: &mut Page) -> Result<bool, Error> {
        while !page.is_full() {
            if !self.load()? {
                return Ok(false);
            }
            if let Some(group) = &mut self.group {
                self.row += 1;
                group.push(self.row, page);
            }
        }
        Ok(true)
    }

    fn more(&mut self) -> Result<bool, Error> {
        Ok(self.row < self.rows)
    }

    fn jump(&mut self, row: u64, _: u64) -> Result<(), Error> {
        if row > self.rows {
            return Err(Error::usage(&self.shown, "is not the list that it was")
                .hint("a run can only go on with the list that it began with"));
        }
        let mut before = 0;
        for group in self.file.metadata().row_groups() {
            let rows = group.num_rows().cast_unsigned();
            if before + rows > row {
                break;
            }
            before += rows;
            self.next_group += 1;
        }
        self.row = row;
        let skip = row - before;
        if skip > 0 {
            let mut group =
                guarded(&self.shown, || Group::open(&self.file, self.next_group, &self.columns))?;
            guarded(&self.shown, || group.skip(usize::try_from(skip).unwrap_or(usize::MAX)))?;
            group.left -= skip;
            self.group = Some(group);
            self.next_group += 1;
        }
        Ok(())
    }

    fn at(&self) -> (u64, u64) {
        (self.row, self.row)
    }

    fn is_live(&self) -> bool {
        false
    }
}
