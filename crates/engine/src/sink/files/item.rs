//! A file that has no name yet.

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
    pub(super) dest: Arc<Destination>,
    pub(super) method: Method,
    /// Where it belongs; `None` for the destination itself.
    pub(super) dir: Option<Arc<OwnedFd>>,
    /// Where it got its name, where that is another directory.
    pub(super) placed_in: Option<OwnedFd>,
    /// `None`: to be written, from what is behind the name.
    pub(super) content: Option<Content>,
    /// The object's name, and its body if that is to be written.
    pub(super) text: Box<[u8]>,
    /// Length of the name.
    pub(super) name: usize,
    pub(super) ordinal: Ordinal,
    pub(super) bytes: u64,
    pub(super) sum: u32,
}

impl FileItem {
    fn place_in_dir(&mut self) -> Result<(), Errno> {
        let (method, dest) = (self.method, &*self.dest);
        let Some(content) = &mut self.content else { return Err(Errno::BADF) };
        let name = &self.text[..self.name];
        let file = &name[memchr::memrchr(b'/', name).map_or(0, |at| at + 1)..];
        let dir_fd = self.dir.as_deref().map_or(dest.root(), AsFd::as_fd);
        if name::is_plain(file, self.dir.is_none()) {
            match method.place(dest, dir_fd, file, content) {
                // A directory of other objects is there; the encoded form is the second place.
                Err(Errno::ISDIR) => {}
                other => return other,
            }
        }
        let mut encoded = Vec::new();
        name::encode_component(file, name::Kind::File, &mut encoded);
        match memchr::memrchr(b'/', &encoded) {
            None => method.place(dest, dir_fd, &encoded, content),
            Some(at) => {
                let dir = tree::descend(dir_fd, &encoded[..at])?;
                method.place(dest, dir.as_fd(), &encoded[at + 1..], content)?;
                self.placed_in = Some(dir);
                Ok(())
            }
        }
    }

    /// Makes its directory again: somebody removed it meanwhile.
    fn find_dir(&mut self) -> Result<(), Errno> {
        let name = self.name();
        let at = memchr::memrchr(b'/', name).unwrap_or(0);
        let dir = tree::walk(self.dest.root(), &name[..at])?;
        self.dir = Some(Arc::new(dir));
        Ok(())
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
        &self.text[..self.name]
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn manifest(&self, out: &mut Vec<u8>) {
        crate::manifest::put_file(out, self.name(), self.bytes, self.sum);
    }

    fn write(&mut self) -> Result<(), Errno> {
        if self.content.is_some() {
            return Ok(());
        }
        let write =
            |this: &Self| this.method.write(&this.dest, this.dir_fd(), &this.text[this.name..]);
        let written = match write(self) {
            Err(errno) if self.dir.is_some() && tree::gone(errno) => {
                self.find_dir()?;
                write(self)
            }
            written => written,
        };
        self.content = Some(written?);
        // The body is in the file.
        let mut text = std::mem::take(&mut self.text).into_vec();
        text.truncate(self.name);
        self.text = text.into();
        Ok(())
    }

    fn place(&mut self) -> Result<(), Errno> {
        match self.place_in_dir() {
            Err(Errno::NOENT) if self.dir.is_some() => {
                self.find_dir()?;
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
        self.content
            .as_ref()
            .map_or(Err(Errno::BADF), |content| self.dest.sync_file(content.file()))
    }
}
