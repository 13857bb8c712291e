//! Packs that every tool can read: POSIX ustar (IEEE Std 1003.1, "pax"), with extended headers
//! only where a name or a size does not fit.
//!
//! The same objects in the same order give the same bytes: owner, time and mode are constant.

mod header;
pub mod read;

use super::pack::Packs;
use super::{Body, Object, Sink, SinkError};
use windrow_model::{Error, Place, Receipt, name};

/// Writes one pack at a time.
pub(super) struct TarSink {
    packs: Packs,
    path: Vec<u8>,
}

impl TarSink {
    pub(super) fn new(packs: Packs) -> Self {
        Self { packs, path: Vec::new() }
    }

    fn append(&mut self, object: Object<'_>) -> Result<Receipt, Error> {
        self.path.clear();
        name::to_path(object.name, &mut self.path);
        let bytes = object.body.len();
        let pack = self.packs.pack()?;
        header::member(pack.out(), &self.path, bytes);
        let place = Place::Pack { pack: pack.number(), offset: pack.len() };
        match object.body {
            Body::Bytes(body) => self.packs.append(body)?,
            Body::Spool(spool) => spool.read_all(|piece| self.packs.append(piece))?,
        }
        header::pad(self.packs.pack()?.out(), bytes);
        if self.packs.complete(bytes)? {
            self.seal()?;
        }
        self.packs.taken(bytes);
        Ok(Receipt { ordinal: object.ordinal, bytes, place })
    }

    fn seal(&mut self) -> Result<(), Error> {
        if self.packs.is_open() {
            header::end(self.packs.pack()?.out());
            self.packs.seal()?;
        }
        Ok(())
    }
}

impl Sink for TarSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        self.append(object).map_err(SinkError::Run)
    }

    fn finish(&mut self) -> Result<(), Error> {
        // What an earlier error left open is not whole.
        let sealed = self.seal();
        self.packs.finish().and(sealed)
    }

    fn unfinished(&self) -> (u64, u64) {
        self.packs.unfinished()
    }
}
