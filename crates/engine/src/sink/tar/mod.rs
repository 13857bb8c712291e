//! Packs that every tool can read: POSIX ustar (IEEE Std 1003.1, "pax"), with extended headers
//! only where a name or a size does not fit.
//!
//! The same objects in the same order give the same bytes: owner, time and mode are constant.

mod header;
pub mod read;

use super::dest::Destination;
use super::pack::PackFile;
use super::{Body, Object, PackNumbers, ShardSize, Sink, SinkError};
use std::sync::Arc;
use windrow_model::{Error, Place, Receipt, name};

/// Writes one pack at a time.
pub(super) struct TarSink {
    dest: Arc<Destination>,
    numbers: PackNumbers,
    size: ShardSize,
    open: Option<(PackFile, u64)>,
    path: Vec<u8>,
    /// The buffer of the last pack, to use again.
    spare: Vec<u8>,
}

impl TarSink {
    pub(super) fn new(dest: Arc<Destination>, numbers: PackNumbers, size: ShardSize) -> Self {
        Self { dest, numbers, size, open: None, path: Vec::new(), spare: Vec::new() }
    }

    /// The open pack, and how many objects it holds.
    fn pack(&mut self) -> Result<&mut (PackFile, u64), Error> {
        match &mut self.open {
            Some(open) => Ok(open),
            closed => {
                let spare = std::mem::take(&mut self.spare);
                let pack = PackFile::create(&self.dest, self.numbers.next(), "tar", spare)?;
                Ok(closed.insert((pack, 0)))
            }
        }
    }

    fn seal(&mut self) -> Result<(), Error> {
        if let Some((mut pack, _)) = self.open.take() {
            header::end(pack.buffer());
            self.spare = pack.seal()?;
        }
        Ok(())
    }

    fn append(&mut self, object: Object<'_>) -> Result<Receipt, Error> {
        let full = self.size;
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        name::to_path(object.name, &mut path);
        let (pack, count) = self.pack()?;
        let bytes = match &object.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Spool(spool) => spool.len(),
        };
        header::member(pack.buffer(), &path, bytes);
        let offset = pack.len();
        match object.body {
            Body::Bytes(body) => pack.append(body)?,
            Body::Spool(spool) => spool.read_all(|piece| pack.append(piece))?,
        }
        header::pad(pack.buffer(), bytes);
        pack.settle()?;
        *count += 1;
        let receipt = Receipt {
            ordinal: object.ordinal,
            bytes,
            place: Place::Pack { pack: pack.number(), offset },
        };
        if *count >= full.objects || pack.len() >= full.bytes {
            self.seal()?;
        }
        self.path = path;
        Ok(receipt)
    }
}

impl Sink for TarSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        self.append(object).map_err(SinkError::Run)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.seal()
    }
}
