//! Objects become files, below any directory.

use super::Glob;
use super::place::{Folder, Placed, Unnamed};
use super::read::{Reader, Take, shown};
use crate::pack::Found;
use rustix::io::Errno;
use std::io;
use std::path::Path;
use windrow_model::Error;

/// Bodies up to so many bytes are written when they are complete; larger ones as they come.
const HEAD: usize = 1 << 20;

/// What extracting came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files written.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects whose files were there, with the same content.
    pub same: u64,
    /// Objects whose files were there with another content, and still are.
    pub kept: u64,
    /// Objects that could not be read, or whose names the file system does not take.
    pub failed: u64,
}

/// Writes each object of a run, or those whose names fit a pattern, as a file below `out`, under the
/// path that `get --format files` gives it. A file that is there is replaced only where `overwrite`
/// says so; what is whole gets its name, and nothing else. Files are not synced.
///
/// `tell` hears of everything that is not as it should be; `seen` what was done so far, after each
/// object, and says whether to go on.
///
/// # Errors
/// The run cannot be read, or `out` not written.
pub fn extract(
    reader: &Reader,
    out: &Path,
    glob: Option<&Glob>,
    overwrite: bool,
    tell: &mut dyn FnMut(&str),
    seen: &mut dyn FnMut(&Extracted) -> bool,
) -> Result<Extracted, Error> {
    let subject = out.display().to_string();
    let folder = Folder::open(out, overwrite)
        .map_err(|why| Error::environment(&subject, "cannot write here").why(why))?;
    let (head, large, done, complaints) = (Vec::new(), None, Extracted::default(), Vec::new());
    let mut files = Files { folder, subject, glob, head, large, done, complaints, seen };
    let told = std::cell::RefCell::new(tell);
    let unread = reader.each(&mut files, &mut |what| (told.borrow_mut())(what))?;
    files.done.failed += unread;
    for complaint in &files.complaints {
        (told.borrow_mut())(complaint);
    }
    Ok(files.done)
}

/// Complaints about single files, at most; of the others there is the number.
const COMPLAINTS: usize = 20;

struct Files<'a> {
    folder: Folder,
    subject: String,
    glob: Option<&'a Glob>,
    head: Vec<u8>,
    large: Option<Unnamed>,
    done: Extracted,
    complaints: Vec<String>,
    seen: &'a mut dyn FnMut(&Extracted) -> bool,
}

impl Files<'_> {
    fn fatal(&self, why: &io::Error) -> Error {
        let error = Error::environment(&self.subject, "cannot write").why(why);
        match Errno::from_io_error(why) {
            Some(Errno::NOSPC | Errno::DQUOT) => {
                error.hint("free some space, then run the same command again: what is there stays")
            }
            _ => error,
        }
    }

    fn spill(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.large.is_none() {
            let mut large = self.folder.unnamed()?;
            large.write(&self.head)?;
            self.large = Some(large);
        }
        match &mut self.large {
            Some(large) => large.write(bytes),
            None => Ok(()),
        }
    }

    fn complain(&mut self, name: &[u8], what: &str) {
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(format!("{}: {what}", shown(name)));
        }
    }
}

impl Take for Files<'_> {
    fn wants(&mut self, name: &[u8]) -> bool {
        self.glob.is_none_or(|glob| glob.matches(name))
    }

    fn wants_all(&self) -> bool {
        self.glob.is_none()
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.large.is_none() && self.head.len() + bytes.len() <= HEAD {
            self.head.extend_from_slice(bytes);
            return Ok(());
        }
        self.spill(bytes).map_err(|why| self.fatal(&why))
    }

    fn object(&mut self, found: &Found) -> Result<bool, Error> {
        let placed = self.folder.place(&found.name, &self.head, self.large.take());
        self.head.clear();
        match placed {
            Ok(Placed::New) => {
                self.done.written += 1;
                self.done.bytes += found.bytes;
            }
            Ok(Placed::Same) => self.done.same += 1,
            Ok(Placed::Kept) => {
                self.done.kept += 1;
                self.complain(&found.name, "another file is there, and is left as it is");
            }
            Err(why) => match Errno::from_io_error(&why) {
                Some(
                    Errno::NAMETOOLONG
                    | Errno::ILSEQ
                    | Errno::INVAL
                    | Errno::ISDIR
                    | Errno::NOTDIR
                    | Errno::LOOP
                    | Errno::EXIST,
                ) => {
                    self.done.failed += 1;
                    self.complain(&found.name, &format!("cannot be a file here: {why}"));
                }
                _ => return Err(self.fatal(&why)),
            },
        }
        Ok((self.seen)(&self.done))
    }

    fn torn(&mut self) {
        self.head.clear();
        self.large = None;
    }
}
