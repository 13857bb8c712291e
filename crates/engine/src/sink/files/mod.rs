//! Each object a file, whole under its name or not there at all.

mod method;
mod tree;

use super::dest::Destination;
use super::errno::{fatal, sort};
use super::{Body, Object, Sink, SinkError};
use method::Method;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::Arc;
use tree::Tree;
use windrow_model::name;
use windrow_model::{Error, Failure, FailureClass, Place, Receipt};

pub(super) struct FilesSink {
    dest: Arc<Destination>,
    tree: Tree,
    method: Method,
}

impl FilesSink {
    pub(super) fn open(dest: Arc<Destination>) -> Result<Self, Error> {
        let method = Method::probe(&dest)
            .map_err(|errno| fatal(&dest.shown(), "cannot make files here", errno))?;
        Ok(Self { dest, tree: Tree::default(), method })
    }

    fn place(&mut self, name: &[u8], body: &mut Body<'_>) -> Result<(), Errno> {
        let (dir, file) = match memchr::memrchr(b'/', name) {
            Some(at) => (Some(self.tree.dir(self.dest.root(), &name[..at])?), &name[at + 1..]),
            None => (None, name),
        };
        let dir_fd = dir.as_ref().map_or(self.dest.root(), |dir| dir.as_fd());
        if name::is_plain(file, dir.is_none()) {
            match self.method.place(&self.dest, dir_fd, file, body) {
                // A directory of other objects is there; the encoded form is the second place.
                Err(Errno::ISDIR) => {}
                other => return other,
            }
        }
        let mut encoded = Vec::new();
        name::encode_component(file, name::Kind::File, &mut encoded);
        match memchr::memrchr(b'/', &encoded) {
            None => self.method.place(&self.dest, dir_fd, &encoded, body),
            Some(at) => {
                let dir = tree::descend(dir_fd, &encoded[..at])?;
                self.method.place(&self.dest, dir.as_fd(), &encoded[at + 1..], body)
            }
        }
    }
}

impl Sink for FilesSink {
    fn store(&mut self, mut object: Object<'_>) -> Result<Receipt, SinkError> {
        let bytes = object.body.len();
        match self.place(object.name, &mut object.body) {
            Ok(()) => Ok(Receipt { ordinal: object.ordinal, bytes, place: Place::File }),
            // Both places are taken by something that is not this run's.
            Err(Errno::ISDIR | Errno::NOTDIR | Errno::LOOP | Errno::EXIST) => {
                let detail = "something else has the place of this name";
                Err(SinkError::Object(Failure::new(FailureClass::Name, detail)))
            }
            Err(errno) => {
                let mut path = Vec::new();
                name::to_path(object.name, &mut path);
                let path = self.dest.path().join(String::from_utf8_lossy(&path).as_ref());
                Err(sort(&path.display().to_string(), "cannot store", errno))
            }
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
