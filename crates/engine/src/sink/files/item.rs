//! A file that was written and has no name yet.

use super::super::dest::Destination;
use super::super::hand::Item;
use super::method::{Content, Method};
use super::tree;
use crate::disk::Synced;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use windrow_model::{Ordinal, name};

#[derive(Debug)]
pub(super) struct FileItem {
    dest: Arc<Destination>,
    method: Method,
    /// Where it belongs; `None` for the destination itself.
    dir: Option<Arc<OwnedFd>>,
    /// Where it got its name, where that is another directory.
    placed_in: Option<OwnedFd>,
    content: Content,
    name: Box<[u8]>,
    ordinal: Ordinal,
    bytes: u64,
    sum: u32,
}

impl FileItem {
    #[expect(clippy::too_many_arguments, reason = "a record, made in one place")]
    pub(super) fn new(
        dest: Arc<Destination>,
        method: Method,
        dir: Option<Arc<OwnedFd>>,
        content: Content,
        name: &[u8],
        ordinal: Ordinal,
        bytes: u64,
        sum: u32,
    ) -> Self {
        let name = name.into();
        Self { dest, method, dir, placed_in: None, content, name, ordinal, bytes, sum }
    }

    fn place_in_dir(&mut self) -> Result<(), Errno> {
        let at = memchr::memrchr(b'/', &self.name).map_or(0, |at| at + 1);
        let file: Box<[u8]> = self.name[at..].into();
        let dir = self.dir.clone();
        let (method, dest) = (self.method, Arc::clone(&self.dest));
        let dir_fd = dir.as_deref().map_or(dest.root(), AsFd::as_fd);
        if name::is_plain(&file, dir.is_none()) {
            match method.place(&dest, dir_fd, &file, &mut self.content) {
                // A directory of other objects is there; the encoded form is the second place.
                Err(Errno::ISDIR) => {}
                other => return other,
            }
        }
        let mut encoded = Vec::new();
        name::encode_component(&file, name::Kind::File, &mut encoded);
        match memchr::memrchr(b'/', &encoded) {
            None => method.place(&dest, dir_fd, &encoded, &mut self.content),
            Some(at) => {
                let dir = tree::descend(dir_fd, &encoded[..at])?;
                method.place(&dest, dir.as_fd(), &encoded[at + 1..], &mut self.content)?;
                self.placed_in = Some(dir);
                Ok(())
            }
        }
    }

    fn dir_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_deref().map_or(self.dest.root(), AsFd::as_fd)
    }
}

impl Item for FileItem {
    fn ordinal(&self) -> Ordinal {
        self.ordinal
    }

    fn name(&self) -> &[u8] {
        &self.name
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn manifest(&self, out: &mut Vec<u8>) {
        crate::manifest::put_file(out, &self.name, self.bytes, self.sum);
    }

    fn place(&mut self) -> Result<(), Errno> {
        match self.place_in_dir() {
            // Somebody removed the directory meanwhile: it is made again.
            Err(Errno::NOENT) if self.dir.is_some() => {
                let at = memchr::memrchr(b'/', &self.name).unwrap_or(0);
                let dir = tree::walk(self.dest.root(), &self.name[..at])?;
                self.dir = Some(Arc::new(dir));
                self.place_in_dir()
            }
            other => other,
        }
    }

    fn dir(&self) -> u64 {
        match (&self.placed_in, &self.dir) {
            // Made for this file: like no other.
            (Some(_), _) => self.ordinal | 1 << 63,
            (None, Some(dir)) => Arc::as_ptr(dir) as u64 & !(1 << 63),
            (None, None) => 0,
        }
    }

    fn sync_dir(&self) -> Result<Synced, Errno> {
        match &self.placed_in {
            // The directories on the way to it are new too.
            Some(_) => self.dest.sync_all(),
            None => self.dest.sync_other_dir(self.dir_fd()),
        }
    }

    fn sync(&self) -> Result<Synced, Errno> {
        self.dest.sync_file(self.content.file())
    }
}
