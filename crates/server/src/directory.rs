//! A directory as a site: its regular files, by their names relative to it.
//!
//! No name leads out of the directory: every component is opened below the one before it, and
//! none may be a symbolic link. Links are not followed and not listed.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;
use windrow_model::{Error, percent};

use crate::json;
use crate::request::{Method, Request};
use crate::respond::{Body, PIECE_BYTES, Refusal, Status, object_head_into, piece};

/// Where a run keeps its state. It is not content: what a run stored can be served again.
const STATE: &[u8] = b".windrow";

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Without `NONBLOCK`, opening a named pipe would wait for a writer.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Sorted bytewise.
type Names = Arc<Vec<Box<str>>>;

/// The directory, held open: renaming it does not change what is served.
#[derive(Debug)]
pub(crate) struct Directory {
    root: OwnedFd,
    /// Names in one page.
    page: usize,
    /// The names at the time of the latest listing that began at the beginning.
    snapshot: Mutex<Option<Names>>,
    /// How many names the latest snapshot left out because they are not UTF-8.
    left_out: AtomicU64,
}

impl Directory {
    /// # Errors
    /// When `path` is no directory that can be opened.
    pub(crate) fn open(path: &Path, page: usize) -> Result<Self, Error> {
        // The directory itself may be reached through a link: that is the user's own word.
        let root =
            open(path, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(|why| {
                Error::usage(path.display().to_string(), "cannot serve this").why(why)
            })?;
        Ok(Self { root, page, snapshot: Mutex::new(None), left_out: AtomicU64::new(0) })
    }

    /// Answers `GET /get/{name}`.
    pub(crate) fn get(
        &self,
        name: &[u8],
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Body>, Refusal> {
        if !is_inside(name) {
            return Err(Refusal::no_object());
        }
        let mut file = self.open_file(name).map_err(|why| refusal(name, why))?;
        let stat = fstat(&file).map_err(|why| refusal(name, why))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refusal::no_object());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let start = out.len();
        object_head_into(size, request.connection, out);
        if request.method == Method::Head || size == 0 {
            return Ok(None);
        }
        if size > PIECE_BYTES as u64 {
            return Ok(Some(Body::File { file, left: size }));
        }
        let body = out.len();
        out.reserve(piece(size));
        match Read::by_ref(&mut file).take(size).read_to_end(out) {
            Ok(got) if got as u64 == size => Ok(None),
            Ok(got) => {
                // It shrank in between, and nothing is sent yet: say what there is.
                let content = out.split_off(body);
                out.truncate(start);
                object_head_into(got as u64, request.connection, out);
                out.extend_from_slice(&content);
                Ok(None)
            }
            Err(why) => Err(Refusal::new(Status::Failed, format!("cannot read this file: {why}"))),
        }
    }

    fn open_file(&self, name: &[u8]) -> rustix::io::Result<File> {
        let cut = memchr::memrchr(b'/', name);
        let last = &name[cut.map_or(0, |cut| cut + 1)..];
        let folder = self.open_folder(&name[..cut.unwrap_or(0)])?;
        let folder = folder.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
        openat(folder, last, FILE, Mode::empty()).map(File::from)
    }

    /// Opens a directory below the root; `None` is the root.
    fn open_folder(&self, name: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
        let mut folder: Option<OwnedFd> = None;
        for component in name.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
            let above: BorrowedFd<'_> = folder.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
            folder = Some(openat(above, component, DIRECTORY, Mode::empty())?);
        }
        Ok(folder)
    }

    /// Appends the page after `marker`, the last name of the page before it.
    ///
    /// Without a marker the directory is walked anew, meanwhile this thread answers nobody. A
    /// marker is a place in the order of names, so it holds when files came or went, and when the
    /// server was restarted.
    pub(crate) fn list(&self, marker: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (names, first) = match marker {
            None => (self.take_snapshot()?, 0),
            Some(marker) => {
                let names = match self.latest() {
                    Some(names) => names,
                    None => self.take_snapshot()?,
                };
                let first = place_after(&names, marker).ok_or_else(Refusal::marker)?;
                (names, first)
            }
        };
        let end = first.saturating_add(self.page).min(names.len());
        out.extend_from_slice(b"{\"FileNames\":[");
        for (at, name) in names[first..end].iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json::string_into(name, out);
        }
        out.push(b']');
        if end < names.len() {
            out.extend_from_slice(b",\"NextMarker\":");
            json::string_into(&names[end - 1], out);
        }
        out.push(b'}');
        Ok(())
    }

    /// The marker of page `index` of the latest listing.
    pub(crate) fn marker(&self, index: usize) -> Option<String> {
        let names = self.latest()?;
        let first = self.page.saturating_mul(index);
        (index > 0 && first < names.len()).then(|| String::from(names[first - 1].clone()))
    }

    fn latest(&self) -> Option<Names> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_snapshot(&self) -> Result<Names, Refusal> {
        let (mut names, left_out) = self.walk()?;
        names.sort_unstable();
        let names = Arc::new(names);
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(names.clone());
        if left_out != self.left_out.swap(left_out, Ordering::Relaxed) && left_out > 0 {
            eprintln!("windrow: listing: names that are not UTF-8 left out: {left_out}");
        }
        Ok(names)
    }

    /// The names of all regular files, and how many names are not UTF-8.
    ///
    /// Folders that wait are kept by name and not by descriptor, so depth costs no descriptors.
    fn walk(&self) -> Result<(Vec<Box<str>>, u64), Refusal> {
        let (mut names, mut left_out) = (Vec::new(), 0);
        let mut waiting = vec![String::new()];
        while let Some(folder) = waiting.pop() {
            let failed = |why: Errno| {
                let place = if folder.is_empty() { "the directory" } else { &folder };
                Refusal::new(Status::Failed, format!("cannot list {place}: {why}"))
            };
            let handle = match self.open_folder(folder.as_bytes()) {
                Ok(handle) => handle,
                // It went while the walk was on its way here.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                // A listing that silently lacks a part would be taken for complete.
                Err(why) => return Err(failed(why)),
            };
            let handle = handle.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
            for entry in Dir::read_from(handle).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..")
                    || folder.is_empty() && name.to_bytes() == STATE
                {
                    continue;
                }
                let kind = match entry.file_type() {
                    FileType::Unknown => match statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(Errno::NOENT) => continue,
                        Err(why) => return Err(failed(why)),
                    },
                    kind => kind,
                };
                if !matches!(kind, FileType::RegularFile | FileType::Directory) {
                    continue;
                }
                let Ok(name) = name.to_str() else {
                    left_out += 1;
                    continue;
                };
                let slash = if folder.is_empty() { "" } else { "/" };
                let name = format!("{folder}{slash}{name}");
                match kind {
                    FileType::Directory => waiting.push(name),
                    _ => names.push(name.into_boxed_str()),
                }
            }
        }
        Ok((names, left_out))
    }
}

/// Whether `name` can be an object's: relative, without empty or dotted components, and not part
/// of a run's state.
fn is_inside(name: &[u8]) -> bool {
    memchr::memchr(0, name).is_none()
        && name.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
        && name.split(|&byte| byte == b'/').next() != Some(STATE)
}

fn refusal(name: &[u8], why: Errno) -> Refusal {
    match why {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO => {
            Refusal::no_object()
        }
        Errno::ACCESS | Errno::PERM => {
            Refusal::new(Status::Forbidden, "the server may not read this file")
        }
        _ => {
            let name = String::from_utf8_lossy(name);
            Refusal::new(Status::Failed, format!("cannot open {name:?}: {why}"))
        }
    }
}

/// The index of the first name after `marker`; `None` if that is no text.
fn place_after(names: &[Box<str>], marker: &[u8]) -> Option<usize> {
    let read = |raw: &[u8]| String::from_utf8(percent::decode(raw)?).ok();
    let mut name = read(marker)?;
    if memchr::memchr(b'+', marker).is_some() {
        // A form encodes a space as `+`, other clients send a `+` as it is. A name of the
        // listing tells which of them this is.
        let spaced: Vec<u8> =
            marker.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        let known = |name: &str| names.binary_search_by(|other| (**other).cmp(name)).is_ok();
        let spaced = read(&spaced)?;
        if known(&spaced) || !known(&name) {
            name = spaced;
        }
    }
    Some(names.partition_point(|other| **other <= *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for name in ["a", "a/b", "...", "a/.windrow", ".windrowx", "a b", "..a/b.."] {
            assert!(is_inside(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a\0",
            ".windrow",
            ".windrow/ledger",
        ] {
            assert!(!is_inside(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn a_plus_in_a_marker_is_read_as_the_listing_has_it() {
        let names = ["a b", "a c", "a+b", "b", "c+d"].map(Box::from);
        for (marker, expected) in [
            ("a%20b", 1),
            ("a+b", 1),
            ("a%2Bb", 3),
            ("c+d", 5),
            ("a%20b%20", 1),
            ("", 0),
            ("zzz", 5),
        ] {
            assert_eq!(place_after(&names, marker.as_bytes()), Some(expected), "{marker}");
        }
        assert_eq!(place_after(&names, b"%ff"), None);
        assert_eq!(place_after(&names, b"%f"), None);
    }
}
