//! Packs: files that hold many objects.
//!
//! A pack lies below the work directory while it is written, and gets its final name when it is
//! whole. What its members look like is the format's affair.

use super::dest::Destination;
use super::writer::{self, Block, Writer};
use super::{PackNumbers, ShardSize};
use std::sync::Arc;
use windrow_model::Error;

/// The packs of one core, one open at a time.
#[derive(Debug)]
pub(super) struct Packs {
    dest: Arc<Destination>,
    numbers: PackNumbers,
    extension: &'static str,
    full: ShardSize,
    writer: Writer,
    open: Option<Pack>,
    /// Objects and bytes that were taken, over all packs.
    taken: (u64, u64),
}

/// The open pack.
#[derive(Debug)]
pub(super) struct Pack {
    number: u32,
    block: Block,
    /// Bytes given to the writer.
    written: u64,
    objects: u64,
    bytes: u64,
}

impl Packs {
    pub(super) fn new(
        dest: Arc<Destination>,
        numbers: PackNumbers,
        extension: &'static str,
        full: ShardSize,
        block_bytes: usize,
    ) -> Result<Self, Error> {
        let writer = Writer::start(Arc::clone(&dest), block_bytes)?;
        Ok(Self { dest, numbers, extension, full, writer, open: None, taken: (0, 0) })
    }

    /// The open pack; begins one if there is none.
    pub(super) fn pack(&mut self) -> Result<&mut Pack, Error> {
        if self.open.is_none() {
            // After an error no file is begun that could not be written.
            self.writer.check()?;
            let number = self.numbers.next();
            let name = format!("{number:05}.{}", self.extension);
            let file = writer::create(&self.dest, &name)?;
            self.writer.begin(file, name)?;
            let block = self.writer.block()?;
            self.open = Some(Pack { number, block, written: 0, objects: 0, bytes: 0 });
        }
        match &mut self.open {
            Some(open) => Ok(open),
            None => unreachable!("opened above"),
        }
    }

    /// Writes the open pack's block if it is full. To be called when some bytes were rendered.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        match &mut self.open {
            Some(pack) if pack.block.len() >= self.writer.block_bytes() => {
                let Some(mut pack) = self.open.take() else { return Ok(()) };
                let before = pack.block.len() as u64;
                pack.block = self.writer.write(pack.block)?;
                pack.written += before - pack.block.len() as u64;
                self.open = Some(pack);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Appends bytes of any number to the open pack.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        loop {
            let pack = self.pack()?;
            let take = bytes.len().min(pack.block.room());
            pack.block.vec().extend_from_slice(&bytes[..take]);
            self.settle()?;
            bytes = &bytes[take..];
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// An object of so many bytes is complete. Says whether the pack is full now.
    pub(super) fn complete(&mut self, bytes: u64) -> Result<bool, Error> {
        self.settle()?;
        let full = self.full;
        let pack = self.pack()?;
        pack.objects += 1;
        pack.bytes += bytes;
        Ok(pack.objects >= full.objects || pack.len() >= full.bytes)
    }

    /// The caller will be told that its object of so many bytes was taken: from here on it counts
    /// as [unfinished](Packs::unfinished) until its pack has its name.
    pub(super) fn taken(&mut self, bytes: u64) {
        self.taken.0 += 1;
        self.taken.1 += bytes;
    }

    /// Ends the open pack.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some(pack) => self.writer.seal(pack.block, pack.objects, pack.bytes),
            None => Ok(()),
        }
    }

    /// Whether a pack is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Waits until everything is written and has its name.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.writer.finish()
    }

    /// Objects and bytes that were taken and are in no finished pack.
    pub(super) fn unfinished(&self) -> (u64, u64) {
        let (objects, bytes) = self.writer.sealed();
        (self.taken.0.saturating_sub(objects), self.taken.1.saturating_sub(bytes))
    }
}

impl Pack {
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Bytes of the pack so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.block.len() as u64
    }

    /// Where headers are rendered: up to [`windrow_model::limits::PACK_SLACK_BYTES`] at once.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.block.vec()
    }
}

/// Whether a file name is one that windrow gives to packs: five or more digits, a known ending.
pub(super) fn is_pack_name(name: &[u8]) -> bool {
    let digits = name.iter().take_while(|b| b.is_ascii_digit()).count();
    digits >= 5 && &name[digits..] == b".tar"
}
