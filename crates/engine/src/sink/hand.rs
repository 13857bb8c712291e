//! The writing side: carries out what a core hands over, and commits it.
//!
//! # The order of a commit
//!
//! Packs: the data is written and synced in `.windrow/open`; then the ledger's commit is written
//! and synced; then full packs get their final name, and the directory is synced. So a pack has its
//! name only when the ledger knows it, and after a crash between the two the name is given when the
//! run is resumed: nothing is ever removed from the destination itself.
//!
//! Files: the data is written into nameless files and synced (one `syncfs` for all of them), the
//! files are linked under their names, the directories are synced, then the ledger. A crash between
//! leaves files that the ledger does not know; they are fetched again and replaced.
//!
//! After a sync that failed nothing is synced again, and what was recorded since the last commit is
//! taken back: the kernel may have dropped it (see [`crate::disk`]).

use super::block::Block;
use super::book::Book;
use super::depot::Depot;
use super::errno::fatal;
use super::pack::{PackKind, unnamed};
use crate::disk::{Dir, Disk, File, Synced, Use};
use crate::pack::index::{self, Run};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use windrow_model::limits::{SYNCED_DIRECTORIES, SYNCED_PACKS};
use windrow_model::{Batch, Error, FailedObject, Failure, FailureClass, InPack, Ordinal};

/// A file that waits for its name.
pub(super) trait Item: Debug + Send {
    /// The object.
    fn ordinal(&self) -> Ordinal;
    /// Its name, as the source gave it.
    fn name(&self) -> &[u8];
    /// Length of its body.
    fn bytes(&self) -> u64;
    /// Appends what it takes to check it later.
    fn manifest(&self, out: &mut Vec<u8>);
    /// Writes it, if that was not done.
    fn write(&mut self) -> Result<(), Errno>;
    /// Gives it its name, in place of a file that has it.
    fn place(&mut self) -> Result<(), Errno>;
    /// Says which directory it is in.
    fn dir(&self) -> u64;
    /// Syncs that directory.
    fn sync_dir(&self) -> Result<Synced, Errno>;
    /// Syncs the file itself, where one call for all of them is not enough.
    fn sync(&self) -> Result<Synced, Errno>;
}

pub(super) type Items = Vec<Box<dyn Item>>;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    /// A new pack.
    Begin(u32),
    /// The same for a pack that is there, written from an aligned offset on; the ledger knows it up
    /// to `len`.
    GoOn { number: u32, offset: u64, len: u64 },
    /// The next bytes of that pack.
    Write(u32, Block),
    /// Its last bytes.
    Full(u32, Block),
    /// Files that are to have their names.
    Place(Items),
    /// Objects that failed.
    Failed(Vec<FailedObject>),
    /// What is to be written beside a pack once that has its name.
    Beside(u32, Beside),
    /// Whatever was written is to be durable.
    Commit,
}

/// A file that goes with packs, and can be made again from them: it is written when they have their
/// names, and nobody is told if that fails.
#[derive(Debug)]
pub(super) enum Beside {
    /// A part of the index.
    Index(Run),
    /// The statistics of a pack.
    Stats(Vec<u8>),
}

/// What can be used again.
pub(super) enum Spent {
    Block(Block),
    Items(Items),
}

/// What both sides see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) failed: AtomicBool,
    pub(super) error: Mutex<Option<Error>>,
    /// Objects and bytes in committed records.
    pub(super) objects: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Objects that were taken and then refused by the file system, and their bytes.
    pub(super) rejected: AtomicU64,
    pub(super) rejected_bytes: AtomicU64,
}

/// When to commit without being told to.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitSize {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Full packs: each is an open file.
    pub(super) packs: usize,
}

/// The writing side of one core.
#[derive(Debug)]
pub(super) struct Hand {
    disk: Arc<dyn Disk>,
    book: Box<dyn Book>,
    shared: Arc<Shared>,
    packs: PackKind,
    every: CommitSize,
    /// The destination, for messages.
    shown: String,
    open: BTreeMap<u32, Open>,
    /// Full packs that have no name yet.
    full: Vec<(u32, Box<dyn File>)>,
    /// What goes beside packs.
    beside: Vec<(u32, Beside)>,
    /// A file was made in the directory of open packs since that was synced.
    made: bool,
    /// Objects and bytes written since the last commit.
    since: (u64, u64),
    /// A sync failed.
    lost: bool,
    /// One call syncs everything of the file system.
    sync_at_once: bool,
    /// Where packs go that are whole, if not to the directory of the destination.
    depot: Option<Arc<dyn Depot>>,
    batch: Batch,
}

/// An open pack.
#[derive(Debug)]
struct Open {
    file: Box<dyn File>,
    /// Where the next block goes.
    offset: u64,
    /// Length that is recorded.
    len: u64,
    dirty: bool,
}

impl Hand {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        book: Box<dyn Book>,
        packs: PackKind,
        every: CommitSize,
        shown: String,
        sync_at_once: bool,
    ) -> Self {
        Self {
            disk,
            book,
            shared: Arc::default(),
            packs,
            every,
            shown,
            open: BTreeMap::new(),
            full: Vec::new(),
            beside: Vec::new(),
            made: false,
            since: (0, 0),
            lost: false,
            sync_at_once,
            depot: None,
            batch: Batch::default(),
        }
    }

    /// The same with another place for packs that are whole.
    pub(super) fn to(self, depot: Option<Arc<dyn Depot>>) -> Self {
        Self { depot, ..self }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Does a job, and gives back what came with it. After an error nothing is done any more: what
    /// would follow has lost its place.
    pub(super) fn carry_out(&mut self, job: Job) -> Option<Spent> {
        let ran = !self.shared.failed.load(Ordering::Relaxed);
        let (spent, result) = match job {
            Job::Begin(number) => (None, if ran { self.begin(number) } else { Ok(()) }),
            Job::GoOn { number, offset, len } => {
                (None, if ran { self.go_on(number, offset, len) } else { Ok(()) })
            }
            Job::Write(number, mut block) => {
                let result = if ran { self.write(number, &mut block) } else { Ok(()) };
                block.clear();
                (Some(Spent::Block(block)), result)
            }
            Job::Full(number, mut block) => {
                let result = if ran { self.end(number, &mut block) } else { Ok(()) };
                block.clear();
                (Some(Spent::Block(block)), result)
            }
            Job::Place(mut items) => {
                let result = if ran { self.place(&mut items) } else { Ok(()) };
                items.clear();
                (Some(Spent::Items(items)), result)
            }
            Job::Failed(mut failures) => {
                let result = if ran { self.failed(&mut failures) } else { Ok(()) };
                (None, result)
            }
            Job::Beside(number, beside) => {
                self.beside.push((number, beside));
                (None, Ok(()))
            }
            Job::Commit => (None, if ran { self.commit() } else { Ok(()) }),
        };
        if let Err(error) = result {
            self.fail(error);
        }
        spent
    }

    fn fail(&mut self, error: Error) {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.shared.failed.store(true, Ordering::Release);
    }

    fn begin(&mut self, number: u32) -> Result<(), Error> {
        let name = self.packs.file_name(number);
        let file = self
            .disk
            .create(Dir::Open, &name, Use::Pack)
            .map_err(|errno| self.wrong(&name, "cannot make a pack", errno))?;
        self.made = true;
        self.open.insert(number, Open { file, offset: 0, len: 0, dirty: true });
        Ok(())
    }

    fn go_on(&mut self, number: u32, offset: u64, len: u64) -> Result<(), Error> {
        let name = self.packs.file_name(number);
        let file = self
            .disk
            .open(Dir::Open, &name, Use::Pack)
            .map_err(|errno| self.wrong(&name, "cannot go on with this pack", errno))?;
        self.open.insert(number, Open { file, offset, len, dirty: true });
        Ok(())
    }

    /// Writes a block of an open pack and records the objects that are whole.
    fn write(&mut self, number: u32, block: &mut Block) -> Result<(), Error> {
        let (aligned, whole) = (block.aligned(), block.whole);
        let Some(open) = self.open.get_mut(&number) else { return Err(lost_place()) };
        let start = open.offset;
        let (bytes, len) = block.padded();
        let written = open.file.write_at(bytes, start);
        open.dirty = true;
        self.since.1 += len as u64;
        if let Err(errno) = written {
            return Err(self.wrong(&self.packs.file_name(number), "cannot write", errno));
        }
        open.offset = start + aligned as u64;
        if block.batch.is_empty() {
            return Ok(());
        }
        let len = start + whole as u64;
        self.record(Some(InPack { number, len, full: false }), &mut block.batch)?;
        // Only what is recorded stays when the pack has to be ended early.
        if let Some(open) = self.open.get_mut(&number) {
            open.len = len;
        }
        self.commit_if_due()
    }

    /// Writes the last block of an open pack.
    fn end(&mut self, number: u32, block: &mut Block) -> Result<(), Error> {
        let Some(open) = self.open.remove(&number) else { return Err(lost_place()) };
        let (bytes, len) = block.padded();
        let end = open.offset + len as u64;
        let name = self.packs.file_name(number);
        let written = open.file.write_at(bytes, open.offset).and_then(|()| open.file.set_len(end));
        if let Err(errno) = written {
            self.open.insert(number, open);
            return Err(self.wrong(&name, "cannot write", errno));
        }
        let pack = InPack { number, len: end, full: true };
        self.since.1 += len as u64;
        let recorded = self.record(Some(pack), &mut block.batch);
        match recorded {
            Ok(()) => self.full.push((number, open.file)),
            Err(error) => {
                self.open.insert(number, open);
                return Err(error);
            }
        }
        self.commit_if_due()
    }

    fn record(&mut self, pack: Option<InPack>, batch: &mut Batch) -> Result<(), Error> {
        self.since.0 += batch.ordinals.len() as u64;
        self.book.stored(pack, batch).map_err(|errno| self.unrecorded(errno))
    }

    fn failed(&mut self, failures: &mut [FailedObject]) -> Result<(), Error> {
        self.since.0 += failures.len() as u64;
        self.book.failed(failures).map_err(|errno| self.unrecorded(errno))?;
        self.commit_if_due()
    }

    fn commit_if_due(&mut self) -> Result<(), Error> {
        let due = self.since.0 >= self.every.objects
            || self.since.1 >= self.every.bytes
            || self.full.len() >= self.every.packs;
        if due { self.commit() } else { Ok(()) }
    }

    /// Makes durable what was written, then its record, and names the packs that are full.
    fn commit(&mut self) -> Result<(), Error> {
        self.since = (0, 0);
        if !self.book.is_open() && self.full.is_empty() {
            return Ok(());
        }
        let synced = self.sync_packs().map_err(|errno| {
            self.give_up();
            self.wrong("", "cannot make the output durable", errno)
        })?;
        self.settle(synced)?;
        if self.full.is_empty() {
            return Ok(());
        }
        let mut named = Vec::with_capacity(self.full.len());
        for (number, file) in std::mem::take(&mut self.full) {
            drop(file);
            let name = self.packs.file_name(number);
            let wrong = |what: &str, errno| unnamed(self.wrong(&name, what, errno), errno);
            super::pack::shelve(&*self.disk, self.depot.as_deref(), &name, &wrong)?;
            named.push(number);
        }
        let dir = if self.depot.is_some() { Dir::Open } else { Dir::Root };
        let _ = self.disk.sync_dir(dir).map_err(|errno| {
            self.give_up();
            self.wrong("", "cannot make the output durable", errno)
        })?;
        self.book.sealed(&named).map_err(|errno| self.unrecorded(errno))?;
        self.write_beside(&named);
        Ok(())
    }

    fn write_beside(&mut self, named: &[u32]) {
        let (disk, kind) = (&self.disk, self.packs);
        self.beside.retain(|(number, beside)| {
            if !named.contains(number) {
                return true;
            }
            let _ = match beside {
                Beside::Index(run) => index::write(&**disk, run),
                Beside::Stats(json) => {
                    let (name, depot) = (kind.stats_name(*number), self.depot.as_deref());
                    write_stats(&**disk, depot, &name, json).map_err(Into::into)
                }
            };
            false
        });
    }

    fn sync_packs(&mut self) -> Result<Synced, Errno> {
        let mut synced = None;
        let dirty = self.open.values().filter(|open| open.dirty).count() + self.full.len();
        if dirty > SYNCED_PACKS && self.sync_at_once {
            synced = Some(self.disk.sync_all()?);
            self.open.values_mut().for_each(|open| open.dirty = false);
        } else {
            for open in self.open.values_mut().filter(|open| open.dirty) {
                synced = Some(open.file.sync()?);
                open.dirty = false;
            }
            for (_, file) in &self.full {
                synced = Some(file.sync()?);
            }
        }
        // The names of new packs, before a record says that they are there.
        if self.made || synced.is_none() {
            synced = Some(self.disk.sync_dir(Dir::Open)?);
            self.made = false;
        }
        synced.ok_or(Errno::IO)
    }

    /// Commits the record.
    fn settle(&mut self, synced: Synced) -> Result<(), Error> {
        self.book.commit(synced).map_err(|errno| {
            self.give_up();
            self.unrecorded(errno)
        })?;
        let (objects, bytes) = self.book.durable();
        self.shared.objects.store(objects, Ordering::Release);
        self.shared.bytes.store(bytes, Ordering::Release);
        Ok(())
    }

    /// Syncs files, names them, and records them.
    fn place(&mut self, items: &mut Items) -> Result<(), Error> {
        let mut stopped = None;
        let placed = self.place_what_can_be(items, &mut stopped);
        // What stopped it first is told, also where what is behind it fails too.
        stopped.map_or(placed, Err)
    }

    fn place_what_can_be(
        &mut self,
        items: &mut Items,
        stopped: &mut Option<Error>,
    ) -> Result<(), Error> {
        self.write_rest(items, stopped)?;
        if items.is_empty() {
            return self.commit();
        }
        let unsynced = |this: &mut Self, errno| {
            this.give_up();
            this.wrong("", "cannot make the output durable", errno)
        };
        let synced = match self.sync_at_once {
            true => self.disk.sync_all(),
            false => items
                .iter()
                .try_fold(None, |_, item| item.sync().map(Some))
                .and_then(|synced| synced.ok_or(Errno::IO)),
        };
        let mut synced = synced.map_err(|errno| unsynced(self, errno))?;
        let mut batch = std::mem::take(&mut self.batch);
        let mut dirs: Vec<(u64, usize)> = Vec::new();
        for (index, item) in items.iter_mut().enumerate() {
            match item.place() {
                Ok(()) => {}
                // Both places are taken by something that is not this run's, or the file system
                // does not take the name.
                Err(errno) => match super::errno::of_object(errno) {
                    Some(failure) => {
                        self.reject(&**item, failure)?;
                        continue;
                    }
                    None => {
                        let error = self.wrong(&shown(item.name()), "cannot store", errno);
                        stopped.get_or_insert(error);
                        break;
                    }
                },
            }
            let dir = item.dir();
            if dirs.len() <= SYNCED_DIRECTORIES && !dirs.iter().any(|&(known, _)| known == dir) {
                dirs.push((dir, index));
            }
            batch.ordinals.push(item.ordinal());
            batch.bytes += item.bytes();
            item.manifest(&mut batch.manifest);
        }
        // One by one while they are few.
        let dirs = match dirs.len() > SYNCED_DIRECTORIES {
            true => self.disk.sync_all(),
            false => dirs.iter().try_fold(synced, |synced, &(_, index)| {
                items[index].sync_dir().map(|also| synced.and(also))
            }),
        };
        synced = dirs.map_err(|errno| unsynced(self, errno))?;
        let recorded = match batch.is_empty() {
            true => Ok(()),
            false => self.record(None, &mut batch),
        };
        batch.clear();
        self.batch = batch;
        recorded?;
        if self.book.is_open() {
            self.since = (0, 0);
            self.settle(synced)?;
        }
        Ok(())
    }

    /// Writes files that could not be written at first, and gives up those that cannot now; nothing behind
    /// an error that ends the run stays in the list.
    fn write_rest(&mut self, items: &mut Items, stopped: &mut Option<Error>) -> Result<(), Error> {
        let mut at = 0;
        while let Some(item) = items.get_mut(at) {
            match item.write() {
                Ok(()) => at += 1,
                Err(errno) => match super::errno::of_object(errno) {
                    Some(failure) => {
                        let item = items.remove(at);
                        self.reject(&*item, failure)?;
                    }
                    None => {
                        *stopped = Some(self.wrong(&shown(item.name()), "cannot store", errno));
                        items.truncate(at);
                    }
                },
            }
        }
        Ok(())
    }

    fn reject(&mut self, item: &dyn Item, failure: Failure) -> Result<(), Error> {
        self.book
            .rejected(item.ordinal(), item.name(), "", failure)
            .map_err(|errno| self.unrecorded(errno))?;
        self.shared.rejected_bytes.fetch_add(item.bytes(), Ordering::Release);
        self.shared.rejected.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Commits what is left. To be called once, when no job comes any more.
    pub(super) fn finish(&mut self) {
        let mut result = Ok(());
        if self.shared.failed.load(Ordering::Relaxed) {
            self.salvage();
        } else {
            // The second makes the names of packs known that the first gave.
            result = self.commit().and_then(|()| self.commit());
        }
        self.book.close();
        if let Err(error) = result {
            self.fail(error);
        }
    }

    /// After an error other than a failed sync: what was recorded is whole, and is committed; the
    /// open pack is ended behind it, so that everybody can read it.
    fn salvage(&mut self) {
        if self.lost {
            return;
        }
        for (number, open) in std::mem::take(&mut self.open) {
            // On a full disk this is the room for what is still to be written.
            self.book.close();
            let ended = open.file.set_len(open.len).and_then(|()| {
                if open.len == 0 {
                    return Err(Errno::NODATA);
                }
                open.file.write_at(self.packs.ending, open.len)
            });
            match ended {
                Ok(()) => {
                    let len = open.len + self.packs.ending.len() as u64;
                    let pack = InPack { number, len, full: true };
                    match self.book.stored(Some(pack), &mut Batch::default()) {
                        Ok(()) => self.full.push((number, open.file)),
                        Err(_) => drop(self.open.insert(number, open)),
                    }
                }
                Err(_) => {
                    let _ = open.file.set_len(open.len);
                    self.open.insert(number, open);
                }
            }
        }
        // The error that is told is the first.
        let _ = self.commit().and_then(|()| self.commit());
    }

    /// A sync failed: what was not committed before is lost.
    fn give_up(&mut self) {
        self.lost = true;
        self.book.revoke();
    }

    fn wrong(&self, name: &str, what: &str, errno: Errno) -> Error {
        let subject = match name {
            "" => self.shown.clone(),
            name => format!("{}/{name}", self.shown.trim_end_matches('/')),
        };
        fatal(&subject, what, errno)
    }

    fn unrecorded(&self, errno: Errno) -> Error {
        self.wrong(".windrow/ledger", "cannot write", errno)
    }
}

fn shown(name: &[u8]) -> String {
    let mut path = Vec::new();
    windrow_model::name::to_path(name, &mut path);
    String::from_utf8_lossy(&path).into_owned()
}

fn lost_place() -> Error {
    Error::environment("writer", "a block without a pack")
        .hint("this is a bug of windrow; please report it with the text above")
}

/// The place of a name is taken by something that is not this run's.
pub(super) const TAKEN: Failure = Failure {
    class: FailureClass::Name,
    status: 0,
    detail: "something else has the place of this name",
};

/// Whoever is killed meanwhile leaves no half of it, and what has its name already stays.
fn write_stats(
    disk: &dyn Disk,
    depot: Option<&dyn Depot>,
    name: &str,
    json: &[u8],
) -> Result<(), Errno> {
    disk.create(Dir::Open, name, Use::Plain)?.write_at(json, 0)?;
    let wrong = |_: &str, errno| Error::environment(name, "cannot write").why(errno);
    super::pack::shelve(disk, depot, name, &wrong).map_err(|_| {
        let _ = disk.remove(Dir::Open, name);
        Errno::IO
    })
}
