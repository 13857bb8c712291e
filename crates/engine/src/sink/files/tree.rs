//! The directories that names with `/` need, made and opened one step at a time.
//!
//! Every step is relative to the handle of the one before and follows no symbolic link, so
//! nothing outside the destination is reached, whatever a name says and whoever plants a link.

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use windrow_model::limits::{DIRECTORY_HANDLES, NAME_DEPTH};
use windrow_model::name;

/// Open handles of directories, by the part of the name that leads to them.
///
/// Two generations stand for "lately used": when the young one is full it becomes the old one,
/// and what the old one held is closed unless it was used since.
#[derive(Debug, Default)]
pub(super) struct Tree {
    young: HashMap<Box<[u8]>, Arc<OwnedFd>>,
    old: HashMap<Box<[u8]>, Arc<OwnedFd>>,
}

impl Tree {
    /// The directory for the part of a name before its last `/`.
    ///
    /// # Errors
    /// The system's; `NAMETOOLONG` for more than [`NAME_DEPTH`] levels.
    pub(super) fn dir(&mut self, root: BorrowedFd<'_>, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(dir) = self.young.get(path) {
            return Ok(Arc::clone(dir));
        }
        let dir = match self.old.remove(path) {
            Some(dir) => dir,
            None => Arc::new(walk(root, path)?),
        };
        if self.young.len() >= DIRECTORY_HANDLES / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(path.into(), Arc::clone(&dir));
        Ok(dir)
    }
}

fn walk(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    if path.iter().filter(|&&b| b == b'/').count() >= NAME_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let mut here: Option<OwnedFd> = None;
    for (index, component) in path.split(|&b| b == b'/').enumerate() {
        let parent = here.as_ref().map_or(root, |dir| dir.as_fd());
        here = Some(enter(parent, component, index == 0)?);
    }
    here.ok_or(Errno::INVAL)
}

/// Enters the directory of one component, in its plain form unless a file has that place.
fn enter(parent: BorrowedFd<'_>, component: &[u8], first: bool) -> Result<OwnedFd, Errno> {
    if name::is_plain(component, first) {
        match open_or_make(parent, component) {
            // A file, or a link that somebody planted.
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            other => return other,
        }
    }
    let mut encoded = Vec::new();
    name::encode_component(component, name::Kind::Directory, &mut encoded);
    descend(parent, &encoded)
}

/// Enters directories whose stored names are known.
pub(super) fn descend(parent: BorrowedFd<'_>, stored: &[u8]) -> Result<OwnedFd, Errno> {
    let mut here: Option<OwnedFd> = None;
    for piece in stored.split(|&b| b == b'/') {
        let parent = here.as_ref().map_or(parent, |dir| dir.as_fd());
        here = Some(open_or_make(parent, piece)?);
    }
    here.ok_or(Errno::INVAL)
}

fn open_or_make(parent: BorrowedFd<'_>, stored: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    match fs::openat(parent, stored, flags, Mode::empty()) {
        Err(Errno::NOENT) => match fs::mkdirat(parent, stored, Mode::from(0o755)) {
            // Another core may have been quicker.
            Ok(()) | Err(Errno::EXIST) => fs::openat(parent, stored, flags, Mode::empty()),
            Err(errno) => Err(errno),
        },
        other => other,
    }
}
