//! A disk in memory that forgets: for trying the commit protocol against every crash.
//!
//! Nothing is durable but what a sync covered. A crash keeps, of everything else, an arbitrary part
//! that the seed chooses: single sectors of a file's unsynced writes, in any combination; its old
//! length or a new one, with zeros or garbage where nothing was written; the entries of directories
//! each in its old state or its new one. A rename is one step, as journalling file systems have it.

use super::{Dir, Disk, File, Synced, Use};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// The generator of everything that is left to chance here.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Debug, Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Unsynced writes, in order.
    writes: Vec<(u64, Vec<u8>)>,
    /// Unsynced lengths, in order.
    lengths: Vec<u64>,
    /// Sectors that a failed sync dropped: they read as written, and will not be written.
    dropped: std::collections::BTreeSet<usize>,
}

type Name = (Dir, String);

#[derive(Debug, Clone)]
enum Entry {
    Link(Name, usize),
    Unlink(Name),
    /// From, to, and what it is.
    Rename(Name, Name, usize),
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    now: BTreeMap<Name, usize>,
    durable: BTreeMap<Name, usize>,
    /// Unsynced changes of directories, in order.
    entries: Vec<Entry>,
    /// Calls until the process is killed; none counts after that.
    left: Option<u64>,
    /// Which sync fails, counted from 1; 0 for none.
    failing_sync: u64,
    syncs: u64,
    /// What has failed once fails for ever.
    failed: bool,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sim(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimFile {
    sim: Sim,
    inode: usize,
    failed: std::sync::atomic::AtomicBool,
}

impl Sim {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that the process makes: it may not live to make it.
    fn call(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.lock();
        match &mut state.left {
            Some(0) => return Err(Errno::IO),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }

    /// The process dies after so many more calls.
    pub(crate) fn kill_after(&self, calls: u64) {
        self.lock().left = Some(calls);
    }

    /// The n-th sync from now fails, and what it should have kept is lost.
    pub(crate) fn fail_sync(&self, nth: u64) {
        let mut state = self.lock();
        state.failing_sync = state.syncs + nth;
    }

    /// The process was killed: what the kernel has stays.
    pub(crate) fn kill(&self) {
        let mut state = self.lock();
        state.left = None;
        state.failed = false;
        state.failing_sync = 0;
    }

    /// The power failed.
    pub(crate) fn crash(&self, random: &mut Random) {
        let mut state = self.lock();
        let state = &mut *state;
        // A whole family of crashes keeps nothing, or everything.
        let keep = match random.below(8) {
            0 => 0,
            1 => 100,
            _ => random.below(101),
        };
        let mut names = std::mem::take(&mut state.durable);
        for entry in std::mem::take(&mut state.entries) {
            if !random.chance(keep) {
                continue;
            }
            match entry {
                Entry::Link(name, inode) => drop(names.insert(name, inode)),
                Entry::Unlink(name) => drop(names.remove(&name)),
                Entry::Rename(from, to, inode) => {
                    names.remove(&from);
                    names.insert(to, inode);
                }
            }
        }
        for inode in &mut state.inodes {
            let mut data = std::mem::take(&mut inode.durable);
            let lengths: Vec<u64> = inode.lengths.drain(..).collect();
            for (offset, bytes) in inode.writes.drain(..) {
                for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                    if random.chance(keep) {
                        let at = offset as usize + index * SECTOR;
                        if data.len() < at + sector.len() {
                            // What was never written there reads as zeros or as old garbage.
                            let fill = if random.chance(80) { 0 } else { 0xA5 };
                            data.resize(at + sector.len(), fill);
                        }
                        data[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            if !lengths.is_empty() && random.chance(keep) {
                let pick = random.below(lengths.len() as u64) as usize;
                let fill = if random.chance(80) { 0 } else { 0xA5 };
                data.resize(lengths[pick] as usize, fill);
            }
            inode.now.clone_from(&data);
            inode.durable = data;
            inode.dropped.clear();
        }
        state.now.clone_from(&names);
        state.durable = names;
        state.left = None;
        state.failed = false;
        state.failing_sync = 0;
    }

    /// Every file of a directory, as it is now.
    pub(crate) fn files(&self, dir: Dir) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let files = state.now.iter().filter(|((own, _), _)| *own == dir);
        files.map(|((_, name), &inode)| (name.clone(), state.inodes[inode].now.clone())).collect()
    }

    /// Makes a file that has no name.
    pub(crate) fn nameless(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut state = self.call()?;
        let mut inode = Inode::default();
        inode.write(bytes, 0);
        state.inodes.push(inode);
        Ok(state.inodes.len() - 1)
    }

    /// Gives a file a name, in place of one that has it.
    pub(crate) fn link(&self, inode: usize, dir: Dir, name: &str) -> Result<(), Errno> {
        let mut state = self.call()?;
        let name = (dir, name.to_owned());
        state.now.insert(name.clone(), inode);
        state.entries.push(Entry::Link(name, inode));
        Ok(())
    }

    fn open_file(&self, inode: usize) -> Box<dyn File> {
        Box::new(SimFile { sim: self.clone(), inode, failed: false.into() })
    }

    fn find(&self, dir: Dir, name: &str) -> Result<Box<dyn File>, Errno> {
        let state = self.lock();
        let inode = *state.now.get(&(dir, name.to_owned())).ok_or(Errno::NOENT)?;
        drop(state);
        Ok(self.open_file(inode))
    }

    /// Counts a sync; the one that is to fail drops what it should have kept.
    fn sync(state: &mut State, inodes: &[usize]) -> Result<(), Errno> {
        state.syncs += 1;
        if state.syncs == state.failing_sync {
            // The pages are clean now, and were never written (USENIX ATC 2020).
            for &inode in inodes {
                let inode = &mut state.inodes[inode];
                for (offset, bytes) in std::mem::take(&mut inode.writes) {
                    let sectors =
                        offset as usize / SECTOR..=(offset as usize + bytes.len()) / SECTOR;
                    inode.dropped.extend(sectors);
                }
            }
            return Err(Errno::IO);
        }
        for &inode in inodes {
            let inode = &mut state.inodes[inode];
            let old = std::mem::replace(&mut inode.durable, inode.now.clone());
            for sector in &inode.dropped {
                for at in sector * SECTOR..((sector + 1) * SECTOR).min(inode.durable.len()) {
                    inode.durable[at] = old.get(at).copied().unwrap_or(0);
                }
            }
            inode.writes.clear();
            inode.lengths.clear();
        }
        Ok(())
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        let at = offset as usize;
        if self.now.len() < at + bytes.len() {
            self.now.resize(at + bytes.len(), 0);
            self.lengths.push(self.now.len() as u64);
        }
        self.now[at..at + bytes.len()].copy_from_slice(bytes);
        for sector in at / SECTOR..=(at + bytes.len()) / SECTOR {
            self.dropped.remove(&sector);
        }
        self.writes.push((offset, bytes.to_vec()));
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        let mut state = self.sim.lock();
        // A write that the kill interrupts is done in part.
        if state.left == Some(0) {
            return Err(Errno::IO);
        }
        let part = match &mut state.left {
            Some(left) => {
                *left -= 1;
                if *left == 0 { bytes.len() / 2 } else { bytes.len() }
            }
            None => bytes.len(),
        };
        state.inodes[self.inode].write(&bytes[..part], offset);
        if part < bytes.len() { Err(Errno::IO) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let state = self.sim.lock();
        let data = &state.inodes[self.inode].now;
        let rest = data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn size(&self) -> Result<u64, Errno> {
        Ok(self.sim.lock().inodes[self.inode].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        let mut state = self.sim.call()?;
        let inode = &mut state.inodes[self.inode];
        inode.now.resize(len as usize, 0);
        inode.lengths.push(len);
        Ok(())
    }

    fn sync(&self) -> Result<Synced, Errno> {
        let failed = &self.failed;
        if failed.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Errno::IO);
        }
        let mut state = self.sim.call()?;
        let result = Sim::sync(&mut state, &[self.inode]);
        failed.store(result.is_err(), std::sync::atomic::Ordering::Relaxed);
        result.map(|()| Synced(()))
    }
}

impl Disk for Sim {
    fn create(&self, dir: Dir, name: &str, _: Use) -> Result<Box<dyn File>, Errno> {
        let mut state = self.call()?;
        let name = (dir, name.to_owned());
        let inode = match state.now.get(&name) {
            Some(&inode) => {
                let old = &mut state.inodes[inode];
                old.now.clear();
                old.lengths.push(0);
                inode
            }
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.now.insert(name.clone(), inode);
                state.entries.push(Entry::Link(name, inode));
                inode
            }
        };
        drop(state);
        Ok(self.open_file(inode))
    }

    fn open(&self, dir: Dir, name: &str, _: Use) -> Result<Box<dyn File>, Errno> {
        self.find(dir, name)
    }

    fn read(&self, dir: Dir, name: &str) -> Result<Box<dyn File>, Errno> {
        self.find(dir, name)
    }

    fn rename(&self, from: Dir, to: Dir, name: &str) -> Result<(), Errno> {
        let mut state = self.call()?;
        let (from, to) = ((from, name.to_owned()), (to, name.to_owned()));
        if state.now.contains_key(&to) {
            return Err(Errno::EXIST);
        }
        let inode = state.now.remove(&from).ok_or(Errno::NOENT)?;
        state.now.insert(to.clone(), inode);
        state.entries.push(Entry::Rename(from, to, inode));
        Ok(())
    }

    fn replace(&self, dir: Dir, from: &str, to: &str) -> Result<(), Errno> {
        let mut state = self.call()?;
        let (from, to) = ((dir, from.to_owned()), (dir, to.to_owned()));
        let inode = state.now.remove(&from).ok_or(Errno::NOENT)?;
        state.now.insert(to.clone(), inode);
        state.entries.push(Entry::Rename(from, to, inode));
        Ok(())
    }

    fn remove(&self, dir: Dir, name: &str) -> Result<(), Errno> {
        let mut state = self.call()?;
        let name = (dir, name.to_owned());
        state.now.remove(&name).ok_or(Errno::NOENT)?;
        state.entries.push(Entry::Unlink(name));
        Ok(())
    }

    fn list(&self, dir: Dir) -> Result<Vec<String>, Errno> {
        Ok(self.files(dir).into_keys().collect())
    }

    fn sync_dir(&self, dir: Dir) -> Result<Synced, Errno> {
        let mut state = self.call()?;
        if state.failed {
            return Err(Errno::IO);
        }
        if let Err(errno) = Sim::sync(&mut state, &[]) {
            state.failed = true;
            return Err(errno);
        }
        let entries = std::mem::take(&mut state.entries);
        for entry in entries {
            let touches = match &entry {
                Entry::Link(name, _) | Entry::Unlink(name) => name.0 == dir,
                Entry::Rename(from, to, _) => from.0 == dir || to.0 == dir,
            };
            if !touches {
                state.entries.push(entry);
                continue;
            }
            match entry {
                Entry::Link(name, inode) => drop(state.durable.insert(name, inode)),
                Entry::Unlink(name) => drop(state.durable.remove(&name)),
                Entry::Rename(from, to, inode) => {
                    state.durable.remove(&from);
                    state.durable.insert(to, inode);
                }
            }
        }
        Ok(Synced(()))
    }

    fn sync_all(&self) -> Result<Synced, Errno> {
        let mut state = self.call()?;
        if state.failed {
            return Err(Errno::IO);
        }
        let all: Vec<usize> = (0..state.inodes.len()).collect();
        if let Err(errno) = Sim::sync(&mut state, &all) {
            state.failed = true;
            return Err(errno);
        }
        let now = state.now.clone();
        state.durable = now;
        state.entries.clear();
        Ok(Synced(()))
    }
}
