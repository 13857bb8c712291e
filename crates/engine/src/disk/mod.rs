//! The disk as the commit protocol sees it: a few directories, files, and what makes them durable.
//!
//! The real one is [`Real`]. The simulated one (tests) loses, tears and reorders whatever was not
//! synced, so that the protocol is tried against every crash that a file system may show.
//!
//! Two rules are held here, by types and not by care. Only a sync that succeeded gives a
//! [`Synced`], and the ledger takes no commit without one. And a file whose sync failed once gives
//! nothing but errors afterwards: the kernel marks the pages clean that it could not write, so a
//! second sync would succeed and mean nothing (Rebello et al., "Can Applications Recover from
//! fsync Failures?", USENIX ATC 2020).

mod real;
#[cfg(test)]
pub(crate) mod sim;

pub use real::{ALIGN, Real};

use rustix::io::Errno;
use std::fmt::Debug;

/// The directories of a destination that the protocol works in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dir {
    /// The destination itself: finished packs.
    Root,
    /// `.windrow`: what the run is, its failures, its summary.
    State,
    /// `.windrow/ledger`.
    Ledger,
    /// `.windrow/manifest`: what `verify` compares with.
    Manifest,
    /// `.windrow/open`: packs that are not finished.
    Open,
    /// `.windrow/index`: where each object of a pack lies. It can be made again, and is not there in
    /// destinations of earlier versions.
    Index,
}

/// Proof that a sync succeeded, or that a service acknowledged what it was sent. There is no other way to
/// get one.
#[derive(Debug)]
#[must_use]
pub struct Synced(());

impl Synced {
    /// The proof that an object store gives: what it acknowledged it keeps. For who has no more to sync
    /// than that.
    pub(crate) fn by_service() -> Synced {
        Synced(())
    }

    /// One proof for several.
    pub fn and(self, _other: Synced) -> Synced {
        self
    }
}

/// An open file.
pub trait File: Debug + Send {
    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// The system's; then any part of the bytes may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Errno>;

    /// Reads bytes from an offset until the buffer is full or the file ends; gives how many.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> Result<u64, Errno>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> Result<(), Errno>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The system's; then what was written since the last sync is lost, and no later call
    /// succeeds.
    fn sync(&self) -> Result<Synced, Errno>;

    /// Asks for disk space up to an offset, without making the file longer. Where the file system
    /// cannot, nothing happens.
    fn reserve(&self, _upto: u64) {}
}

/// How a file will be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Written in large aligned blocks and not read again.
    Pack,
    /// Anything else.
    Plain,
}

/// A destination's directories.
pub trait Disk: Debug + Send + Sync {
    /// Makes an empty file, in place of one that has the name.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, dir: Dir, name: &str, how: Use) -> Result<Box<dyn File>, Errno>;

    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// The system's; `NOENT` where there is none.
    fn open(&self, dir: Dir, name: &str, how: Use) -> Result<Box<dyn File>, Errno>;

    /// Opens a file that is there, for reading only.
    ///
    /// # Errors
    /// The system's; `NOENT` where there is none.
    fn read(&self, dir: Dir, name: &str) -> Result<Box<dyn File>, Errno>;

    /// Moves a file from one directory to another, never over one that has the name there.
    ///
    /// # Errors
    /// The system's; `EXIST` where the name is taken.
    fn rename(&self, from: Dir, to: Dir, name: &str) -> Result<(), Errno>;

    /// Puts a file in the place of another of the same directory.
    ///
    /// # Errors
    /// The system's.
    fn replace(&self, dir: Dir, from: &str, to: &str) -> Result<(), Errno>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, dir: Dir, name: &str) -> Result<(), Errno>;

    /// Names of the plain files of a directory, sorted.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: Dir) -> Result<Vec<String>, Errno>;

    /// Makes the names of a directory durable.
    ///
    /// # Errors
    /// As [`File::sync`].
    fn sync_dir(&self, dir: Dir) -> Result<Synced, Errno>;

    /// Makes everything durable that was ever written to the file system.
    ///
    /// # Errors
    /// As [`File::sync`].
    fn sync_all(&self) -> Result<Synced, Errno>;
}

/// Whether a file of a directory is there.
///
/// # Errors
/// The system's.
pub fn exists(disk: &dyn Disk, dir: Dir, name: &str) -> Result<bool, Errno> {
    match disk.read(dir, name) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Reads a whole file; `None` if it is not there.
///
/// # Errors
/// The system's.
pub fn read_whole(disk: &dyn Disk, dir: Dir, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let file = match disk.read(dir, name) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let len = usize::try_from(file.size()?).map_err(|_| Errno::FBIG)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Writes a whole file durably: after a crash the old content is there or the new.
///
/// # Errors
/// The system's.
pub fn write_whole(disk: &dyn Disk, dir: Dir, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let temporary = format!("{name}.new");
    let written = || -> Result<(), Errno> {
        let file = disk.create(dir, &temporary, Use::Plain)?;
        file.write_at(bytes, 0)?;
        let _ = file.sync()?;
        disk.replace(dir, &temporary, name)?;
        let _ = disk.sync_dir(dir)?;
        Ok(())
    };
    written().inspect_err(|_| {
        let _ = disk.remove(dir, &temporary);
    })
}
