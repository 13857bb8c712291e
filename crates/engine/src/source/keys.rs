//! Keys of objects in a file, one a line, in place of a listing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use windrow_model::Error;
use windrow_model::limits::NAME_BYTES;
use windrow_model::task::Names;

/// Lines that are read at once: what a page is to a listing.
const PAGE_LINES: usize = 1000;

/// Reads the keys of a file, some at a time. A line ends in LF or CR LF; empty lines are nothing.
#[derive(Debug)]
pub struct KeyList {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes read so far.
    at: u64,
}

impl KeyList {
    /// Opens a file (`-` is standard input) at a marker that [`KeyList::page`] gave.
    ///
    /// # Errors
    /// It cannot be read; standard input cannot be read from anywhere but its beginning.
    pub fn open(path: &Path, marker: Option<&str>) -> Result<Self, Error> {
        let stdin = path.as_os_str() == "-";
        let real = if stdin { Path::new("/dev/stdin") } else { path };
        let wrong = |why: io::Error| {
            Error::usage(path.display().to_string(), "cannot read the keys").why(why)
        };
        let mut file = File::open(real).map_err(wrong)?;
        let at = marker.map_or(Some(0), |marker| marker.parse().ok());
        let at = at.ok_or_else(|| wrong(io::Error::other("a place that is none")))?;
        if at > 0 {
            if stdin {
                return Err(Error::usage("-", "can be read only once")
                    .hint("to go on with an earlier run, give the keys as a file"));
            }
            file.seek(SeekFrom::Start(at)).map_err(wrong)?;
        }
        Ok(Self { path: path.to_owned(), file: BufReader::with_capacity(256 << 10, file), at })
    }

    /// The next keys, and the marker of what follows them; `None` behind the last.
    ///
    /// # Errors
    /// It cannot be read, or has a line that is too long for a key.
    pub fn page(&mut self) -> Result<(Names, Option<String>), Error> {
        let mut names = Names::default();
        let mut line = Vec::new();
        while names.len() < PAGE_LINES {
            line.clear();
            let most = NAME_BYTES as u64 + 2;
            let read = self.file.by_ref().take(most).read_until(b'\n', &mut line);
            let read = read.map_err(|why| self.wrong("cannot read the keys").why(why))?;
            if read == 0 {
                return Ok((names, None));
            }
            self.at += read as u64;
            let key = line.strip_suffix(b"\n").unwrap_or(&line);
            let key = key.strip_suffix(b"\r").unwrap_or(key);
            if key.is_empty() {
                continue;
            }
            let ended = line.ends_with(b"\n") || read as u64 != most;
            if !ended || key.len() > NAME_BYTES || names.push(key).is_err() {
                let what = format!("a line of more than {NAME_BYTES} bytes is no key");
                return Err(self.wrong(&what).hint("one key a line"));
            }
        }
        Ok((names, Some(self.at.to_string())))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::usage(self.path.display().to_string(), what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let all: String = (0..2500).map(|nth| format!("a b/{nth}\r\n\n")).collect();
        std::fs::write(&path, all + "last").unwrap();
        let mut list = KeyList::open(&path, None).unwrap();
        let (mut count, mut marker) = (0, None);
        loop {
            let (names, next) = list.page().unwrap();
            count += names.len();
            assert_eq!(names.get(0).is_some(), next.is_some() || count > 0);
            let Some(next) = next else {
                assert_eq!(names.get(names.len() - 1), Some(&b"last"[..]));
                break;
            };
            marker = Some(next);
            // From the marker on it is the same.
            list = KeyList::open(&path, marker.as_deref()).unwrap();
        }
        assert_eq!(count, 2501);
        assert!(KeyList::open(&path, Some("x")).is_err());
        assert!(KeyList::open(Path::new("-"), marker.as_deref()).is_err());
        std::fs::write(&path, "x".repeat(NAME_BYTES + 1)).unwrap();
        assert!(KeyList::open(&path, None).unwrap().page().is_err());
    }
}
