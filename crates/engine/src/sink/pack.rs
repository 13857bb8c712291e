//! Packs: files that hold many objects.
//!
//! A pack lies in `.windrow/open` while it is written, and gets its final name when it is whole.
//! What its members look like is the format's affair.

use super::block::Block;
use super::depot::Depot;
use super::hand::Beside;
use super::records::Pending;
use super::writer::Pen;
use super::{Lane, PackNumbers, ShardSize, Shared, Unfinished};
use crate::disk::{ALIGN, Dir, Disk};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windrow_model::limits::{PACK_FIRST_BLOCK_BYTES, REDO_PART};
use windrow_model::{Error, FailedObject};

/// The packs of one core, one open at a time.
#[derive(Debug)]
pub(super) struct Packs {
    disk: Arc<dyn Disk>,
    numbers: PackNumbers,
    unfinished: Unfinished,
    kind: PackKind,
    full: ShardSize,
    pen: Pen,
    shared: Arc<Shared>,
    block_bytes: usize,
    /// Which packs these are, where each belongs to a shard.
    lane: Option<Lane>,
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
        kind: PackKind,
        full: ShardSize,
        pen: Pen,
        lane: Option<Lane>,
    ) -> Self {
        let (shared, block_bytes) = {
            let writer = pen.get();
            (Arc::clone(writer.shared()), writer.block_bytes())
        };
        let write_at = block_bytes.min(PACK_FIRST_BLOCK_BYTES);
        Self {
            disk,
            numbers,
            unfinished,
            kind,
            full,
            pen,
            shared,
            block_bytes,
            lane,
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
        self.pen.get().check()?;
        if let Some((number, state)) = self.unfinished.take(self.lane.as_ref()) {
            return self.go_on(number, state.len, state.objects);
        }
        let number = match &mut self.lane {
            None => self.numbers.next(),
            Some(lane) => lane.next(&self.numbers),
        };
        let mut writer = self.pen.get();
        writer.begin(number)?;
        let block = writer.block()?;
        Ok(Pack { number, block, written: 0, objects: 0 })
    }

    fn go_on(&mut self, number: u32, len: u64, objects: u64) -> Result<Pack, Error> {
        let written = len / ALIGN as u64 * ALIGN as u64;
        let mut writer = self.pen.get();
        let mut block = writer.block()?;
        // What is behind the last aligned piece is written again with what follows.
        let name = self.kind.file_name(number);
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
        writer.go_on(number, written, len)?;
        Ok(Pack { number, block, written, objects })
    }

    /// Writes the open pack's block if it is full. To be called when some bytes were rendered.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        match &self.open {
            Some(pack) if pack.block.len() >= self.write_at => self.hand_over(),
            _ => Ok(()),
        }
    }

    /// Writes what is complete of the open pack.
    pub(super) fn hand_over(&mut self) -> Result<(), Error> {
        let Some(mut pack) = self.open.take() else { return Ok(()) };
        self.waiting = None;
        let aligned = pack.block.aligned() as u64;
        pack.block = self.pen.get().write(pack.number, pack.block)?;
        pack.written += aligned;
        self.open = Some(pack);
        // The more is done, the more may be lost: large blocks are cheaper.
        self.written += aligned;
        let part = usize::try_from(self.written / REDO_PART).unwrap_or(usize::MAX);
        let most = self.block_bytes;
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
        if let Some(pack) = &mut self.open {
            pack.block.fetch_ahead();
        }
        self.taken.0 += 1;
        self.taken.1 += bytes;
    }

    /// Objects are complete, all at once: they are recorded together. Says whether the pack is full
    /// now.
    pub(super) fn complete_all(&mut self, objects: &mut Vec<Pending>) -> Result<bool, Error> {
        self.pack()?.add(objects);
        let is_full = self.is_full_with(0, 0);
        if !is_full {
            self.settle()?;
        }
        Ok(is_full)
    }

    /// Whether the open pack is full, or will be with so many objects and bytes more.
    pub(super) fn is_full_with(&self, objects: u64, bytes: u64) -> bool {
        self.open.as_ref().is_some_and(|pack| {
            pack.objects + objects >= self.full.objects || pack.len() + bytes >= self.full.bytes
        })
    }

    /// Bytes of the open pack so far.
    pub(super) fn len(&self) -> u64 {
        self.open.as_ref().map_or(0, Pack::len)
    }

    /// Ends the open pack, whose ending was rendered; with it these objects are complete.
    pub(super) fn seal(&mut self, objects: &mut Vec<Pending>) -> Result<(), Error> {
        self.waiting = None;
        let Some(mut pack) = self.open.take() else { return Ok(()) };
        pack.add(objects);
        self.pen.get().end(pack.number, pack.block)
    }

    /// Has this written when that pack has its name.
    pub(super) fn beside(&mut self, number: u32, beside: Beside) -> Result<(), Error> {
        self.pen.get().beside(number, beside)
    }

    /// Objects that were complete since something was written.
    #[inline]
    pub(super) fn in_hand(&self) -> usize {
        self.open.as_ref().map_or(0, |pack| pack.block.batch.ordinals.len())
    }

    /// Whether a pack is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Goes on with a pack that an earlier process left, if there is one and none is open.
    pub(super) fn adopt(&mut self) -> Result<bool, Error> {
        if self.open.is_none() && !self.unfinished.has(self.lane.as_ref()) {
            return Ok(false);
        }
        self.pack().map(|_| true)
    }

    /// Writes what waits for too long.
    pub(super) fn tick(&mut self, now: Instant, patience: Duration) -> Result<(), Error> {
        let waits = self.in_hand() > 0;
        if waits && now.saturating_duration_since(*self.waiting.get_or_insert(now)) >= patience {
            self.hand_over()?;
        }
        Ok(())
    }

    pub(super) fn failed(&mut self, failures: Vec<FailedObject>) -> Result<(), Error> {
        self.pen.get().failed(failures)
    }

    /// Writes what is complete, for a commit.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        match self.in_hand() {
            0 => Ok(()),
            _ => self.hand_over(),
        }
    }

    pub(super) fn commit(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.pen.get().commit()
    }

    /// Waits until everything is written and recorded.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.pen.get().finish()
    }

    /// Objects and bytes that were taken.
    pub(super) fn all_taken(&self) -> (u64, u64) {
        self.taken
    }

    /// Objects and bytes that were taken and are in no committed record.
    pub(super) fn unfinished(&self) -> (u64, u64) {
        super::unfinished(self.taken, &self.shared)
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

    /// Objects end here.
    fn add(&mut self, objects: &mut Vec<Pending>) {
        self.objects += objects.len() as u64;
        self.block.whole = self.block.len();
        let batch = &mut self.block.batch;
        for object in objects.drain(..) {
            batch.ordinals.push(object.ordinal);
            batch.manifest.extend_from_slice(&object.check);
            batch.bytes += object.bytes;
        }
    }
}

/// What the packs of a format have in common.
#[derive(Debug, Clone, Copy)]
pub struct PackKind {
    /// Ending of their names, without the dot.
    pub extension: &'static str,
    /// The bytes that end a pack, where they are always the same and go behind any record.
    pub ending: &'static [u8],
}

impl PackKind {
    /// The file name of a pack.
    pub fn file_name(self, number: u32) -> String {
        format!("{number:05}.{}", self.extension)
    }

    /// The file name of a pack's statistics.
    pub fn stats_name(self, number: u32) -> String {
        format!("{number:05}_stats.json")
    }

    /// The number of a pack with this file name.
    pub fn number(self, name: &str) -> Option<u32> {
        number(name.strip_suffix(self.extension)?.strip_suffix('.')?)
    }

    /// The number of the pack whose statistics have this file name.
    pub fn stats_number(self, name: &str) -> Option<u32> {
        number(name.strip_suffix("_stats.json")?)
    }
}

fn number(digits: &str) -> Option<u32> {
    let plain = digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Adds what can be done about a pack that cannot get its name.
pub(super) fn unnamed(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::EXIST => error.hint(
            "windrow did not write the file that has it: move that, then run the same command again",
        ),
        _ => error,
    }
}

/// Gives a pack that is whole its name: here, or in an object store, and then it is no longer here. What goes
/// wrong on the disk is put into words by `wrong`.
pub(super) fn shelve(
    disk: &dyn Disk,
    depot: Option<&dyn Depot>,
    name: &str,
    wrong: &dyn Fn(&str, Errno) -> Error,
) -> Result<(), Error> {
    let Some(depot) = depot else {
        return disk
            .rename(Dir::Open, Dir::Root, name)
            .map_err(|errno| wrong("cannot give the pack its name", errno));
    };
    let file = disk.read(Dir::Open, name).map_err(|errno| wrong("cannot read", errno))?;
    depot.file(name, file)?;
    disk.remove(Dir::Open, name).map_err(|errno| wrong("cannot remove", errno))
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
    kind: PackKind,
    packs: &std::collections::BTreeMap<u32, crate::sink::PackRecord>,
    depot: Option<&dyn Depot>,
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
        let name = kind.file_name(number);
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
            let wrong = |what: &str, errno| unnamed(wrong(&name, what, errno), errno);
            shelve(disk, depot, &name, &wrong)?;
            moved = true;
        } else {
            unfinished.push((number, *pack));
        }
    }
    for name in left {
        disk.remove(Dir::Open, name).map_err(|errno| wrong(name, "cannot remove", errno))?;
    }
    if moved {
        let dir = if depot.is_some() { Dir::Open } else { Dir::Root };
        let _ = disk.sync_dir(dir).map_err(|errno| wrong("", "cannot sync", errno))?;
    }
    unfinished.reverse();
    Ok(Unfinished::new(unfinished))
}
