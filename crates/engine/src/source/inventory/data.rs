//! A file that is read at places, by several readers that know nothing of each other.

use super::DataFile;
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use windrow_model::Error;

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// A file, or what of it is behind a place.
#[derive(Debug, Clone)]
pub struct Data {
    file: Arc<File>,
    len: u64,
    at: u64,
}

impl Data {
    /// The whole of a file.
    ///
    /// # Errors
    /// The system's.
    pub fn of(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), len, at: 0 })
    }

    /// The first bytes, as many as there are.
    pub(super) fn first<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let _ = self.file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl Read for Data {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Length for Data {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Data {
    type T = BufReader<Self>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(Self { at: start, ..self.clone() }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|&end| end <= self.len);
        if end.is_none() {
            return Err(ParquetError::EOF("a part behind the end of the file".into()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Compares a file with what the manifest says of it.
///
/// # Errors
/// It cannot be read, or is another one.
pub fn check(data: &Data, said: &DataFile, shown: &str) -> std::result::Result<(), Error> {
    let damaged = |why: String| {
        Err(Error::environment(shown, "is not the file that the manifest names").why(why).hint(
            "it was damaged on the way, or belongs to another inventory: get it again, or another \
             manifest",
        ))
    };
    if data.len != said.size {
        return damaged(format!("it has {} bytes, not {}", data.len, said.size));
    }
    let Some(wanted) = said.md5 else { return Ok(()) };
    let mut data = Data { at: 0, ..data.clone() };
    let (mut hash, mut buffer) = (Md5::new(), vec![0; BUFFER]);
    loop {
        let read = data.read(&mut buffer);
        let read = read.map_err(|why| Error::environment(shown, "cannot read").why(why))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    let found: [u8; 16] = hash.finalize().into();
    match found == wanted {
        true => Ok(()),
        false => damaged("its MD5 is another".to_owned()),
    }
}
