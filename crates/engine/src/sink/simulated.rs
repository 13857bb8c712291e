//! Sinks on the simulated disk, that do everything on the caller's thread.

use super::hand::{CommitSize, Hand, Item, Items};
use super::pack::Packs;
use super::records::{Manner, RecordSink};
use super::writer::{Pen, Writer};
use super::{Book, Format, Object, PackNumbers, ShardSize, Sink, Unfinished, tar};
use crate::disk::sim::Sim;
use crate::disk::{Dir, Disk, Synced};
use crate::pack::warc::Warc;
use crate::pack::{Encode, PackOptions};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;
use windrow_model::{Batch, Error, FailedObject, Failure, InPack, Ordinal};

/// A book that takes everything and keeps nothing.
#[derive(Debug)]
pub(crate) struct NoBook;

impl Book for NoBook {
    fn stored(&mut self, _: Option<InPack>, _: &mut Batch) -> Result<(), Errno> {
        Ok(())
    }
    fn failed(&mut self, _: &mut [FailedObject]) -> Result<(), Errno> {
        Ok(())
    }
    fn rejected(&mut self, _: Ordinal, _: &[u8], _: &str, _: Failure) -> Result<(), Errno> {
        Ok(())
    }
    fn is_open(&self) -> bool {
        false
    }
    fn commit(&mut self, _: Synced) -> Result<(), Errno> {
        Ok(())
    }
    fn sealed(&mut self, _: &[u32]) -> Result<(), Errno> {
        Ok(())
    }
    fn revoke(&mut self) {}
    fn close(&mut self) {}
    fn durable(&self) -> (u64, u64) {
        (0, 0)
    }
}

const EVERY: CommitSize = CommitSize { objects: 9, bytes: 20_000, packs: 16 };

/// A sink for packs with small blocks, packs and commits.
pub(crate) fn packs_sink(
    sim: &Sim,
    format: Format,
    book: Box<dyn Book>,
    unfinished: &Unfinished,
    numbers: &PackNumbers,
) -> Box<dyn Sink> {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let encoder: Box<dyn Encode> = match format {
        // The same bytes whenever it runs.
        Format::Warc => Box::new(Warc::new(b"sim", 0, 1)),
        format => format.encoder(&PackOptions::default(), 0).unwrap().expect("a format of packs"),
    };
    let kind = format.packs().expect("a format of packs");
    let hand = Hand::new(Arc::clone(&disk), book, kind, EVERY, "sim".into(), true);
    let pen = Pen::new(Writer::here(hand, 4096));
    let size = ShardSize { objects: 5, bytes: 30_000 };
    let packs = Packs::new(disk, numbers.clone(), unfinished.clone(), kind, size, pen, None);
    let whole = format.is_whole();
    let manner = Manner { whole, commit_interval: Duration::ZERO, owner: 0, lanes: 1 };
    Box::new(RecordSink::new(packs, encoder, manner))
}

/// A files sink that puts every file into the destination's root.
pub(crate) struct SimFiles {
    sim: Sim,
    writer: Writer,
    items: Items,
    most: usize,
}

impl SimFiles {
    pub(crate) fn new(sim: &Sim, book: Box<dyn Book>, most: usize) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let hand = Hand::new(disk, book, tar::KIND, EVERY, "sim".into(), true);
        Self { sim: sim.clone(), writer: Writer::here(hand, 4096), items: Items::new(), most }
    }

    pub(crate) fn store(&mut self, object: &Object<'_>, body: &[u8]) -> Result<(), Error> {
        let mut item = SimItem {
            sim: self.sim.clone(),
            inode: None,
            body: body.to_vec(),
            name: object.name.to_vec(),
            ordinal: object.ordinal,
        };
        // The others are left to the writer, as where a disk was full at first.
        if object.ordinal.is_multiple_of(3) {
            let wrong = |errno: Errno| Error::environment("sim", "cannot write").why(errno);
            item.write().map_err(wrong)?;
        }
        self.items.push(Box::new(item));
        if self.items.len() >= self.most { self.hand_over() } else { Ok(()) }
    }

    pub(crate) fn failed(&mut self, failed: FailedObject) -> Result<(), Error> {
        self.writer.failed(vec![failed])
    }

    pub(crate) fn hand_over(&mut self) -> Result<(), Error> {
        self.writer.place(std::mem::take(&mut self.items))
    }

    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.hand_over()?;
        self.writer.finish()
    }
}

#[derive(Debug)]
struct SimItem {
    sim: Sim,
    inode: Option<usize>,
    body: Vec<u8>,
    name: Vec<u8>,
    ordinal: Ordinal,
}

impl Item for SimItem {
    fn ordinal(&self) -> Ordinal {
        self.ordinal
    }
    fn name(&self) -> &[u8] {
        &self.name
    }
    fn bytes(&self) -> u64 {
        self.body.len() as u64
    }
    fn manifest(&self, out: &mut Vec<u8>) {
        crate::manifest::put_file(out, &self.name, self.bytes(), 7);
    }
    fn write(&mut self) -> Result<(), Errno> {
        if self.inode.is_none() {
            self.inode = Some(self.sim.nameless(&self.body)?);
        }
        Ok(())
    }
    fn place(&mut self) -> Result<(), Errno> {
        let inode = self.inode.ok_or(Errno::BADF)?;
        self.sim.link(inode, Dir::Root, &String::from_utf8_lossy(&self.name))
    }
    fn dir(&self) -> u64 {
        0
    }
    fn sync_dir(&self) -> Result<Synced, Errno> {
        self.sim.sync_dir(Dir::Root)
    }
    fn sync(&self) -> Result<Synced, Errno> {
        self.sim.sync_all()
    }
}
