//! A body while it comes in: in memory, or in a spool file once it is large.

use crate::sink::{Destination, Spool};
use std::sync::Arc;
use windrow_model::Error;
use windrow_model::limits::{KEPT_BUFFER_BYTES, PARTED_BYTES};

/// The bytes of a body so far.
#[derive(Debug, Default)]
pub(super) enum Incoming {
    /// None yet.
    #[default]
    Empty,
    /// In memory.
    Memory(Vec<u8>),
    /// In a file. Rare, and a request under way is moved about: it is to be small.
    Spool(Box<Spool>),
}

impl Incoming {
    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Memory(memory) => memory.len() as u64,
            Self::Spool(spool) => spool.len(),
        }
    }
}

/// Makes room for bodies; memory that one needed is used for the next.
#[derive(Debug)]
pub(super) struct Bodies {
    dest: Arc<Destination>,
    /// Bodies above so many bytes go to a spool.
    spool_above: usize,
    /// Bytes of all bodies in memory: now, and at most.
    held: usize,
    most: usize,
    spare: Vec<Vec<u8>>,
}

/// Buffers kept for later, at most: beyond the few that a core fills at the same moment they
/// would only hold memory.
const SPARES: usize = 16;

impl Bodies {
    pub(super) fn new(dest: Arc<Destination>, spool_above: usize, most: usize) -> Self {
        Self { dest, spool_above, held: 0, most, spare: Vec::new() }
    }

    /// Appends bytes to a body of `length`, if that is known.
    ///
    /// # Errors
    /// The environment's.
    pub(super) fn append(
        &mut self,
        incoming: &mut Incoming,
        length: Option<u64>,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if let Incoming::Empty = incoming {
            *incoming = match length {
                Some(length) if length > self.spool_above as u64 => {
                    Incoming::Spool(Box::new(Spool::create(&self.dest)?))
                }
                length => {
                    let mut memory = self.spare.pop().unwrap_or_default();
                    let length = length.unwrap_or_default() as usize;
                    // At once, and not in steps; but a length is only said, and memory is for what came.
                    if length <= KEPT_BUFFER_BYTES && self.held + length <= self.most {
                        let _ = memory.try_reserve_exact(length);
                    }
                    Incoming::Memory(memory)
                }
            };
        }
        if let Incoming::Memory(memory) = incoming {
            let fits = self.held + bytes.len() <= self.most;
            if memory.len() + bytes.len() <= self.spool_above && fits {
                self.held += bytes.len();
                memory.extend_from_slice(bytes);
                return Ok(());
            }
            let mut spool = Box::new(Spool::create(&self.dest)?);
            spool.write(memory)?;
            let memory = std::mem::take(memory);
            *incoming = Incoming::Spool(spool);
            self.keep(memory);
        }
        match incoming {
            Incoming::Spool(spool) => spool.write(bytes),
            Incoming::Empty | Incoming::Memory(_) => unreachable!("made a spool above"),
        }
    }

    /// Takes back what a body needed.
    pub(super) fn recycle(&mut self, incoming: Incoming) {
        if let Incoming::Memory(memory) = incoming {
            self.keep(memory);
        }
    }

    /// A body for somebody who keeps it. What is large goes as it is; what is small is copied, and its
    /// memory serves the next.
    pub(super) fn part_with(&mut self, memory: Vec<u8>) -> Vec<u8> {
        let wasted = memory.capacity() - memory.len();
        if memory.len() >= PARTED_BYTES && wasted <= memory.len() / 4 {
            self.held = self.held.saturating_sub(memory.len());
            return memory;
        }
        let own = memory.as_slice().to_vec();
        self.keep(memory);
        own
    }

    fn keep(&mut self, mut memory: Vec<u8>) {
        self.held = self.held.saturating_sub(memory.len());
        if self.spare.len() < SPARES && memory.capacity() <= KEPT_BUFFER_BYTES {
            memory.clear();
            self.spare.push(memory);
        }
    }
}
