//! Columns of Parquet files, a batch of rows at a time.

use ::parquet::column::reader::ColumnReaderImpl;
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use windrow_model::Error;

/// A column and what of it is in hand.
pub(in crate::source) struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    /// The definition level of a value that is there; 0 where all are.
    present: i16,
    levels: Vec<i16>,
    values: Vec<T::T>,
    /// The next row, and the next value.
    row: usize,
    value: usize,
}

/// What reading gives.
pub(in crate::source) type Read<T> = Result<T, ParquetError>;

impl<T: DataType> Column<T> {
    /// A column whose values, where they are there, have that definition level.
    pub(in crate::source) fn new(reader: ColumnReaderImpl<T>, present: i16) -> Self {
        Self { reader, present, levels: Vec::new(), values: Vec::new(), row: 0, value: 0 }
    }

    fn skip(&mut self, rows: usize) -> Read<()> {
        match self.reader.skip_records(rows)? {
            skipped if skipped == rows => Ok(()),
            _ => Err(ParquetError::General("a column ends before its row group".into())),
        }
    }

    fn load(&mut self, rows: usize) -> Read<()> {
        (self.row, self.value) = (0, 0);
        self.levels.clear();
        self.values.clear();
        let mut read = 0;
        while read < rows {
            let levels = (self.present > 0).then_some(&mut self.levels);
            let (some, _, _) =
                self.reader.read_records(rows - read, levels, None, &mut self.values)?;
            if some == 0 {
                return Err(ParquetError::General("a column ends before its row group".into()));
            }
            read += some;
        }
        Ok(())
    }

    /// Loads so many rows, or skips them.
    pub(in crate::source) fn go(&mut self, rows: usize, load: bool) -> Read<()> {
        match load {
            true => self.load(rows),
            false => self.skip(rows),
        }
    }

    /// The value of the next row; `None` where it is null.
    pub(in crate::source) fn next(&mut self) -> Option<&T::T> {
        let row = self.row;
        self.row += 1;
        if self.present > 0 && self.levels.get(row) != Some(&self.present) {
            return None;
        }
        self.value += 1;
        self.values.get(self.value - 1)
    }
}

/// The bytes of a value.
pub(in crate::source) fn bytes(value: Option<&ByteArray>) -> Option<&[u8]> {
    // A value without data would panic; none that was read is.
    value.map(ByteArray::data)
}

/// Does something with the file. The library is careful with what it reads, but not everywhere: a
/// panic there is an error of the file, not of windrow.
pub(in crate::source) fn guarded<T>(
    shown: &str,
    work: impl FnOnce() -> Read<T>,
) -> Result<T, Error> {
    let corrupt = || Error::environment(shown, "is corrupt, or no parquet file of a known kind");
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(why)) => Err(corrupt().why(why)),
        Err(_) => Err(corrupt().why("its parts contradict each other")),
    }
}
