//! Sinks: where bodies go.
//!
//! Every core owns one sink; cores share nothing but the counter of pack numbers.

pub mod dest;
mod errno;
mod files;
mod null;
mod pack;
mod spool;
pub mod tar;
mod writer;

pub use dest::Destination;
pub use spool::Spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use windrow_model::{Error, Failure, Ordinal, Receipt};

/// What a run leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Each object a file.
    Files,
    /// Objects as members of tar files.
    Tar,
    /// Nothing: for measuring all but the sink.
    Null,
}

impl Format {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Tar => "tar",
            Self::Null => "null",
        }
    }
}

/// When a pack is full: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardSize {
    /// Objects.
    pub objects: u64,
    /// Bytes of the file. A pack holds at least one object, however large.
    pub bytes: u64,
}

/// A body to store.
#[derive(Debug)]
pub struct Object<'a> {
    /// The object.
    pub ordinal: Ordinal,
    /// Its name, as the source gave it.
    pub name: &'a [u8],
    /// Its bytes, complete and checked.
    pub body: Body<'a>,
}

/// Where the bytes of a body are.
#[derive(Debug)]
pub enum Body<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// In a spool file of the same destination.
    Spool(&'a mut Spool),
}

impl Body<'_> {
    /// Bytes of the body.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Spool(spool) => spool.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a body was not stored.
#[derive(Debug)]
pub enum SinkError {
    /// This object cannot be stored; others can.
    Object(Failure),
    /// Nothing can be stored any more.
    Run(Error),
}

/// Stores bodies. Not `Send`: a sink lives and dies on its core.
pub trait Sink {
    /// Stores one body. What a receipt names may not be durable yet, and not visible under its
    /// final name until [`Sink::finish`].
    ///
    /// # Errors
    /// See [`SinkError`]; the object was not stored.
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError>;

    /// Puts everything that was stored under its final name. Nothing is stored after that.
    ///
    /// # Errors
    /// The environment's; then [`Sink::unfinished`] tells what was lost.
    fn finish(&mut self) -> Result<(), Error>;

    /// Objects and bytes that [`Sink::store`] took and that have no final name yet.
    fn unfinished(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Opens the sinks of a run.
#[derive(Debug, Clone)]
pub struct Sinks {
    dest: Arc<Destination>,
    format: Format,
    size: ShardSize,
    block_bytes: usize,
    numbers: PackNumbers,
}

impl Sinks {
    /// Sinks of this format at `dest`; packs are written in blocks of `block_bytes`, of which each
    /// core has [`windrow_model::limits::PACK_BLOCKS`].
    pub fn new(
        dest: Arc<Destination>,
        format: Format,
        size: ShardSize,
        block_bytes: usize,
    ) -> Self {
        Self { dest, format, size, block_bytes, numbers: PackNumbers::default() }
    }

    /// A sink for one core.
    ///
    /// # Errors
    /// The environment's: no file descriptor, no permission.
    pub fn open(&self) -> Result<Box<dyn Sink>, Error> {
        Ok(match self.format {
            Format::Files => Box::new(files::FilesSink::open(Arc::clone(&self.dest))?),
            Format::Tar => Box::new(tar::TarSink::new(self.packs("tar")?)),
            Format::Null => Box::new(null::NullSink),
        })
    }
}

impl Sinks {
    fn packs(&self, extension: &'static str) -> Result<pack::Packs, Error> {
        let numbers = self.numbers.clone();
        pack::Packs::new(Arc::clone(&self.dest), numbers, extension, self.size, self.block_bytes)
    }
}

/// Numbers of packs, given to cores as they open one.
#[derive(Debug, Clone, Default)]
pub(crate) struct PackNumbers(Arc<AtomicU32>);

impl PackNumbers {
    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
