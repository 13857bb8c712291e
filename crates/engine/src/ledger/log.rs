//! The writing side of a ledger file: frames are appended, and now and then made durable.

use super::frame::{Encoder, HEADER_BYTES, Header, Kind};
use crate::disk::{Dir, Disk, File, Use};
use rustix::io::Errno;

/// Disk space that is asked for ahead, at least, so that the last record fits on a disk that is
/// full. A longer file asks for more at once: to ask costs more than to write.
const RESERVE_BYTES: u64 = 64 << 10;

/// What to ask for behind so many bytes.
fn reserve(end: u64) -> u64 {
    end + (end / 4).clamp(RESERVE_BYTES, 32 * RESERVE_BYTES)
}

/// A file of the ledger that is appended to.
#[derive(Debug)]
pub(super) struct Log {
    file: Box<dyn File>,
    len: u64,
    /// Bytes that were synced.
    durable: u64,
    reserved: u64,
    encoder: Encoder,
}

/// What a process writes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) generation: u64,
    pub(super) boot: Option<[u8; 16]>,
    pub(super) time: u64,
}

impl Log {
    /// Opens a file of which the first `len` bytes count, the first `proven` of them durable for
    /// certain, and begins a session in it. When this
    /// returns, everything that counts is durable but for the file's name.
    pub(super) fn open(
        disk: &dyn Disk,
        name: &str,
        header: Header,
        (proven, len): (u64, u64),
        session: Session,
    ) -> Result<Self, Errno> {
        let file = match len {
            0 => disk.create(Dir::Ledger, name, Use::Plain)?,
            _ => disk.open(Dir::Ledger, name, Use::Plain)?,
        };
        let mut log = Self { file, len, durable: 0, reserved: 0, encoder: Encoder::default() };
        if len == 0 {
            log.encoder.out.extend_from_slice(&header.encode());
        } else {
            // What was cut must not come back behind what is written now.
            log.file.set_len(len)?;
            rewrite(&*log.file, proven, len)?;
            let _ = log.file.sync()?;
        }
        log.durable = len;
        let boot = session.boot.unwrap_or_default();
        log.encoder.session(log.durable, session.generation, &boot, session.time);
        log.encoder.commit(log.durable);
        log.append()?;
        log.sync()?;
        Ok(log)
    }

    /// Makes durable what counts of a file that nothing is appended to.
    pub(super) fn keep(
        disk: &dyn Disk,
        name: &str,
        (proven, len): (u64, u64),
    ) -> Result<(), Errno> {
        let file = disk.open(Dir::Ledger, name, Use::Plain)?;
        rewrite(&*file, proven, len)?;
        file.sync().map(drop)
    }

    /// The encoder for the next frame, and what is durable.
    pub(super) fn next(&mut self) -> (&mut Encoder, u64) {
        (&mut self.encoder, self.durable)
    }

    /// Hands the frames encoded so far to the operating system.
    pub(super) fn append(&mut self) -> Result<(), Errno> {
        let end = self.len + self.encoder.out.len() as u64;
        if end + RESERVE_BYTES / 2 > self.reserved {
            self.reserved = reserve(end);
            self.file.reserve(self.reserved);
        }
        let written = self.file.write_at(&self.encoder.out, self.len);
        self.encoder.out.clear();
        written?;
        self.len = end;
        Ok(())
    }

    /// Makes all frames durable.
    pub(super) fn sync(&mut self) -> Result<(), Errno> {
        if self.durable < self.len {
            let _ = self.file.sync()?;
            self.durable = self.len;
        }
        Ok(())
    }

    /// Takes back what is not durable. What cannot be taken back is not trusted for long: it
    /// counts only until the kernel goes down.
    pub(super) fn revoke(&mut self) {
        self.encoder.out.clear();
        if self.file.set_len(self.durable).is_ok() {
            self.len = self.durable;
        }
    }

    /// Gives back the space that was asked for ahead.
    pub(super) fn release(&mut self) {
        self.reserved = u64::MAX;
        let _ = self.file.set_len(self.len);
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable == self.len
    }
}

/// Writes again what may not be on the disk although the kernel says so: a sync that failed may
/// have marked it as written, a commit that looks whole too.
fn rewrite(file: &dyn File, from: u64, to: u64) -> Result<(), Errno> {
    let mut piece = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let want = usize::try_from(to - at).unwrap_or(usize::MAX).min(piece.len());
        let read = file.read_at(&mut piece[..want], at)?;
        if read == 0 {
            return Err(Errno::IO);
        }
        file.write_at(&piece[..read], at)?;
        at += read as u64;
    }
    Ok(())
}

/// A file of the manifest: a header, then bytes that the frames of a core's ledger point to.
#[derive(Debug)]
pub(super) struct Manifest {
    file: Box<dyn File>,
    pub(super) len: u64,
    durable: u64,
    reserved: u64,
}

impl Manifest {
    /// Opens a file of which the first `len` bytes count.
    pub(super) fn open(disk: &dyn Disk, name: &str, run: u64, len: u64) -> Result<Self, Errno> {
        if len >= HEADER_BYTES as u64 {
            let file = disk.open(Dir::Manifest, name, Use::Plain)?;
            file.set_len(len)?;
            return Ok(Self::reserved(file, len, len));
        }
        let file = disk.create(Dir::Manifest, name, Use::Plain)?;
        file.write_at(&Header { kind: Kind::Manifest, run }.encode(), 0)?;
        Ok(Self::reserved(file, HEADER_BYTES as u64, 0))
    }

    /// With room for the first part: the files that it is about may take the last of the disk.
    fn reserved(file: Box<dyn File>, len: u64, durable: u64) -> Self {
        let reserved = reserve(len);
        file.reserve(reserved);
        Self { file, len, durable, reserved }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let end = self.len + bytes.len() as u64;
        if end + RESERVE_BYTES / 2 > self.reserved {
            self.reserved = reserve(end);
            self.file.reserve(self.reserved);
        }
        self.file.write_at(bytes, self.len)?;
        self.len = end;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), Errno> {
        if self.durable < self.len {
            let _ = self.file.sync()?;
            self.durable = self.len;
        }
        Ok(())
    }

    /// Gives back the space that was asked for ahead.
    pub(super) fn release(&mut self) {
        self.reserved = u64::MAX;
        let _ = self.file.set_len(self.len);
    }
}
