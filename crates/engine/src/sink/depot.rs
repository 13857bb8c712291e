//! A destination in an object store, as sinks see it. What it does is joined by the pipeline, which
//! has the wire.

use super::Spool;
use crate::disk::File;
use std::fmt::Debug;
use windrow_model::{Error, Failure, Ordinal};

/// Puts things where they belong, over the network. Shared by all cores.
pub trait Depot: Debug + Send + Sync {
    /// Puts objects as they come, many at a time, and tells of each how that ended, some at once. Returns
    /// when `uploads` has ended and every one was told of.
    fn objects(&self, uploads: async_channel::Receiver<Upload>, told: &mut dyn FnMut(Vec<Told>));

    /// Puts a file that is whole under a name. What this run has put there is replaced, and nothing else.
    ///
    /// # Errors
    /// It is not there, as far as is known.
    ///
    /// # Durability
    /// What the service acknowledged it keeps.
    fn file(&self, name: &str, file: Box<dyn File>) -> Result<(), Error>;

    /// Where that is, for people.
    fn shown(&self) -> String;
}

/// An object to be put.
#[derive(Debug)]
pub struct Upload {
    /// The object.
    pub ordinal: Ordinal,
    /// Its name, as the source gave it.
    pub name: Vec<u8>,
    /// Its bytes.
    pub body: UploadBody,
    /// CRC32C of name and body.
    pub sum: u32,
    /// What is said of it: header lines.
    pub headers: Vec<(String, String)>,
    /// Where it came from, secrets cut; empty where that is not known.
    pub url: String,
}

/// The bytes of an object that is to be put.
#[derive(Debug)]
pub enum UploadBody {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file.
    Spool(Box<Spool>),
}

impl Upload {
    /// Bytes of the body.
    pub fn len(&self) -> u64 {
        match &self.body {
            UploadBody::Memory(bytes) => bytes.len() as u64,
            UploadBody::Spool(spool) => spool.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes its body away, and tells how putting it ended.
    pub fn told(mut self, result: Result<(), Refused>) -> Told {
        let (bytes, held) = (self.len(), self.held());
        self.body = UploadBody::Memory(Vec::new());
        Told { upload: self, bytes, held, result }
    }

    /// Bytes of it in memory.
    pub(super) fn held(&self) -> u64 {
        match &self.body {
            UploadBody::Memory(bytes) => bytes.len() as u64,
            UploadBody::Spool(_) => 0,
        }
    }
}

/// What became of an upload.
#[derive(Debug)]
pub struct Told {
    /// The upload; its body is gone.
    pub upload: Upload,
    /// Bytes of the body, and how many of them were in memory.
    pub bytes: u64,
    /// See `bytes`.
    pub held: u64,
    /// How it ended.
    pub result: Result<(), Refused>,
}

/// Why an object was not put.
#[derive(Debug)]
pub enum Refused {
    /// This one cannot be; others can.
    Object(Failure),
    /// None can be any more.
    Run(Error),
    /// The run is to end, and there was no answer.
    Left,
}
