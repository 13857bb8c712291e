//! Packs: files that hold many objects.
//!
//! A pack lies in `.windrow/open` while it is written, and gets its final name when it is whole.
//! What its members look like is the format's affair.

use super::block::Block;
use super::writer::Writer;
use super::{PackNumbers, ShardSize, Unfinished};
use crate::disk::{ALIGN, Dir, Disk};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Instant;
use windrow_model::limits::{HAND_OVER, PACK_FIRST_BLOCK_BYTES, REDO_PART};
use windrow_model::{Error, FailedObject, Ordinal};

/// The packs of one core, one open at a time.
#[derive(Debug)]
pub(super) struct Packs {
    disk: Arc<dyn Disk>,
    numbers: PackNumbers,
    unfinished: Unfinished,
    extension: &'static str,
    full: ShardSize,
    writer: Writer,
    open: Option<Pack>,
    /// Objects and bytes that were taken, over all packs.
    taken: (u64, u64),
    /// Bytes given to the writer, over all packs.
    written: u64,
    /// A block of so many bytes is written.
    write_at: usize,
    /// When the open block got its first object, as far as the clock was looked at.
    waiting: Option<Instant>,
}

/// The open pack.
#[derive(Debug)]
pub(super) struct Pack {
    number: u32,
    block: Block,
    /// Bytes given to the writer that the block does not hold too.
    written: u64,
    objects: u64,
}

impl Packs {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        numbers: PackNumbers,
        unfinished: Unfinished,
        extension: &'static str,
        full: ShardSize,
        writer: Writer,
    ) -> Self {
        let write_at = writer.block_bytes().min(PACK_FIRST_BLOCK_BYTES);
        Self {
            disk,
            numbers,
            unfinished,
            extension,
            full,
            writer,
            open: None,
            taken: (0, 0),
            written: 0,
            write_at,
            waiting: None,
        }
    }

    /// The open pack; begins one if there is none, or goes on with one that an earlier process
    /// left.
    #[inline]
    pub(super) fn pack(&mut self) -> Result<&mut Pack, Error> {
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        match &mut self.open {
            Some(open) => Ok(open),
            None => unreachable!("opened above"),
        }
    }

    #[cold]
    fn begin(&mut self) -> Result<Pack, Error> {
        // After an error no file is begun that could not be written.
        self.writer.check()?;
        if let Some((number, state)) = self.unfinished.take() {
            return self.go_on(number, state.len, state.objects);
        }
        let number = self.numbers.next();
        self.writer.begin(number)?;
        let block = self.writer.block()?;
        Ok(Pack { number, block, written: 0, objects: 0 })
    }

    fn go_on(&mut self, number: u32, len: u64, objects: u64) -> Result<Pack, Error> {
        let written = len / ALIGN as u64 * ALIGN as u64;
        let mut block = self.writer.block()?;
        // What is behind the last aligned piece is written again with what follows.
        let name = format!("{number:05}.{}", self.extension);
        let mut tail = vec![0; (len - written) as usize];
        let read =
            self.disk.read(Dir::Open, &name).and_then(|file| file.read_at(&mut tail, written));
        match read {
            Ok(read) if read == tail.len() => {}
            Ok(_) => return Err(Error::environment(name, "shorter than its ledger says")),
            Err(errno) => {
                let why = std::io::Error::from(errno);
                return Err(Error::environment(name, "cannot go on with this pack").why(why));
            }
        }
        block.vec().extend_from_slice(&tail);
        self.writer.go_on(number, written, len)?;
        Ok(Pack { number, block, written, objects })
    }

    /// Writes the open pack's block if it is full. To be called when some bytes were rendered.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        match &self.open {
            Some(pack) if pack.block.len() >= self.write_at => self.hand_over(),
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        let Some(mut pack) = self.open.take() else { return Ok(()) };
        self.waiting = None;
        let aligned = pack.block.aligned() as u64;
        pack.block = self.writer.write(pack.block)?;
        pack.written += aligned;
        self.open = Some(pack);
        // The more is done, the more may be lost: large blocks are cheaper.
        self.written += aligned;
        let part = usize::try_from(self.written / REDO_PART).unwrap_or(usize::MAX);
        let most = self.writer.block_bytes();
        self.write_at = part.clamp(PACK_FIRST_BLOCK_BYTES.min(most), most);
        Ok(())
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

    /// The caller will be told that its object of so many bytes was taken: from here on it counts
    /// as [unfinished](Packs::unfinished) until its record is committed.
    pub(super) fn taken(&mut self, bytes: u64) {
        self.taken.0 += 1;
        self.taken.1 += bytes;
    }

    /// An object is complete; `check` goes to the manifest. Says whether the pack is full now.
    pub(super) fn complete(
        &mut self,
        ordinal: Ordinal,
        bytes: u64,
        check: [u8; 4],
    ) -> Result<bool, Error> {
        let full = self.full;
        let pack = self.pack()?;
        pack.objects += 1;
        pack.block.whole = pack.block.len();
        let batch = &mut pack.block.batch;
        batch.ordinals.push(ordinal);
        batch.manifest.extend_from_slice(&check);
        batch.bytes += bytes;
        let is_full = pack.objects >= full.objects || pack.len() >= full.bytes;
        if !is_full {
            self.settle()?;
        }
        Ok(is_full)
    }

    /// Ends the open pack, whose ending was rendered.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        self.waiting = None;
        match self.open.take() {
            Some(pack) => self.writer.end(pack.block),
            None => Ok(()),
        }
    }

    /// Whether a pack is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Goes on with a pack that an earlier process left, if there is one and none is open.
    pub(super) fn adopt(&mut self) -> Result<bool, Error> {
        if self.open.is_none() && self.unfinished.is_empty() {
            return Ok(false);
        }
        self.pack().map(|_| true)
    }

    /// Writes what waits for too long.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Error> {
        let waits = self.open.as_ref().is_some_and(|pack| !pack.block.batch.is_empty());
        if waits && now.saturating_duration_since(*self.waiting.get_or_insert(now)) >= HAND_OVER {
            self.hand_over()?;
        }
        Ok(())
    }

    pub(super) fn failed(&mut self, failures: Vec<FailedObject>) -> Result<(), Error> {
        self.writer.failed(failures)
    }

    pub(super) fn commit(&mut self) -> Result<(), Error> {
        if self.open.as_ref().is_some_and(|pack| !pack.block.batch.is_empty()) {
            self.hand_over()?;
        }
        self.writer.commit()
    }

    /// Waits until everything is written and recorded.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.writer.finish()
    }

    /// Objects and bytes that were taken and are in no committed record.
    pub(super) fn unfinished(&self) -> (u64, u64) {
        let shared = self.writer.shared();
        super::unfinished(self.taken, shared)
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

/// The number of a pack with this file name: five or more digits, a known ending.
pub(super) fn pack_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".tar")?;
    let plain = digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// What is said of a pack that cannot get its name.
pub(super) const UNNAMED: &str = "cannot give the pack its name";

/// Adds what can be done about a pack that cannot get its name.
pub(super) fn unnamed(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::EXIST => error.hint(
            "windrow did not write the file that has it: move that, then run the same command again",
        ),
        _ => error,
    }
}

/// Puts the directories in order before a run goes on: packs are cut to what is recorded of them,
/// full ones get their names, and what nobody recorded goes.
///
/// | the ledger says | in `open` | otherwise |
/// |---|---|---|
/// | not full, so long | cut there; to be gone on with | error: it is lost |
/// | full, so long | gets its name | it has its name, or its owner took it away |
/// | nothing | removed | not ours |
///
/// # Errors
/// A pack is shorter than what is recorded of it, or the environment's.
pub(crate) fn tidy(
    disk: &dyn Disk,
    packs: &std::collections::BTreeMap<u32, crate::sink::PackRecord>,
    shown: &str,
) -> Result<Unfinished, Error> {
    let wrong = |name: &str, what: &str, errno: Errno| {
        super::errno::fatal(&format!("{}/{name}", shown.trim_end_matches('/')), what, errno)
    };
    let mut unfinished = Vec::new();
    let names =
        disk.list(Dir::Open).map_err(|errno| wrong(".windrow/open", "cannot read", errno))?;
    let mut left: std::collections::BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut moved = false;
    for (&number, pack) in packs {
        let name = format!("{number:05}.tar");
        if !left.remove(name.as_str()) {
            if !pack.full {
                return Err(Error::environment(
                    format!("{}/.windrow/open/{name}", shown.trim_end_matches('/')),
                    "an unfinished pack is gone",
                )
                .hint("its objects are recorded as stored; to fetch everything again: --fresh"));
            }
            continue;
        }
        let cut = || -> Result<bool, Errno> {
            let file = disk.open(Dir::Open, &name, crate::disk::Use::Plain)?;
            let len = file.size()?;
            if len > pack.len {
                file.set_len(pack.len)?;
                let _ = file.sync()?;
            }
            Ok(len >= pack.len)
        };
        match cut() {
            Ok(true) => {}
            Ok(false) => {
                return Err(Error::environment(
                    format!("{}/.windrow/open/{name}", shown.trim_end_matches('/')),
                    "shorter than what is recorded of it",
                )
                .hint("to fetch everything again: --fresh"));
            }
            Err(errno) => return Err(wrong(&name, "cannot cut the pack", errno)),
        }
        if pack.full {
            disk.rename(Dir::Open, Dir::Root, &name)
                .map_err(|errno| unnamed(wrong(&name, UNNAMED, errno), errno))?;
            moved = true;
        } else {
            unfinished.push((number, *pack));
        }
    }
    for name in left {
        disk.remove(Dir::Open, name).map_err(|errno| wrong(name, "cannot remove", errno))?;
    }
    if moved {
        let _ = disk.sync_dir(Dir::Root).map_err(|errno| wrong("", "cannot sync", errno))?;
    }
    unfinished.reverse();
    Ok(Unfinished::new(unfinished))
}
