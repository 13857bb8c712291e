//! One file of an index: a header, sorted entries in pages that have checksums, and the packs of
//! which all entries are there.

use super::Entry;
use crate::disk::{Dir, Disk, File, Use};
use roaring::RoaringBitmap;
use std::io;

/// Bytes of an entry: hash, pack, place, little-endian.
const ENTRY: usize = 20;

/// Bytes of a page: 819 entries and a CRC32C of them. The last page may be shorter.
const PAGE: usize = PER_PAGE * ENTRY + SUM;

/// Entries of a page.
pub(super) const PER_PAGE: usize = 819;

const SUM: usize = 4;

/// Bytes of the header.
pub(super) const HEAD: usize = 64;

const MAGIC: &[u8; 8] = b"windrow\0";

/// The version that is written, and the only one that is read.
const VERSION: u16 = 1;

/// The files of the ledger are 1 to 3.
const KIND: u8 = 4;

/// What a file says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// Number of the run that wrote the packs.
    pub(super) owner: u64,
    /// Entries.
    pub(super) count: u64,
    /// Files `NNNNN-P.run` that belong to it: without them it is not all of the pack.
    pub(super) parts: u32,
    /// Packs all whose entries are here, or in the parts.
    pub(super) covers: RoaringBitmap,
}

impl Head {
    fn pages(&self) -> u64 {
        self.count.div_ceil(PER_PAGE as u64)
    }

    /// Where the pages end; `None` where no file is as long as that.
    fn pages_end(&self) -> Option<u64> {
        let bytes = self.count.checked_mul(ENTRY as u64)?;
        bytes.checked_add(self.pages() * SUM as u64)?.checked_add(HEAD as u64)
    }

    fn encode(&self, covers: &[u8]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..10].copy_from_slice(&VERSION.to_le_bytes());
        head[10] = KIND;
        head[12..20].copy_from_slice(&self.owner.to_le_bytes());
        head[20..28].copy_from_slice(&self.count.to_le_bytes());
        head[28..36].copy_from_slice(&(covers.len() as u64).to_le_bytes());
        head[36..40].copy_from_slice(&crc32c::crc32c(covers).to_le_bytes());
        head[40..44].copy_from_slice(&self.parts.to_le_bytes());
        let sum = crc32c::crc32c(&head[..HEAD - SUM]);
        head[HEAD - SUM..].copy_from_slice(&sum.to_le_bytes());
        head
    }
}

/// Renders sorted entries as pages, into a buffer that its owner may empty in between.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) out: Vec<u8>,
    /// Entries of the page at hand.
    filled: usize,
    count: u64,
    last: Option<Entry>,
}

impl Pages {
    /// Appends an entry that is not less than the one before; the same once more is left out.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.last == Some(entry) {
            return;
        }
        self.last = Some(entry);
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&entry.hash.to_le_bytes());
        bytes[8..12].copy_from_slice(&entry.pack.to_le_bytes());
        bytes[12..].copy_from_slice(&entry.place.to_le_bytes());
        self.out.extend_from_slice(&bytes);
        self.count += 1;
        self.filled += 1;
        if self.filled == PER_PAGE {
            self.seal();
        }
    }

    /// Ends the page at hand.
    fn seal(&mut self) {
        let page = &self.out[self.out.len() - self.filled * ENTRY..];
        let sum = crc32c::crc32c(page).to_le_bytes();
        self.out.extend_from_slice(&sum);
        self.filled = 0;
    }

    /// Ends the last page and appends the packs; gives the header that goes before it all.
    pub(super) fn end(&mut self, mut head: Head) -> [u8; HEAD] {
        if self.filled > 0 {
            self.seal();
        }
        head.count = self.count;
        let from = self.out.len();
        // Writing to memory does not fail.
        let _ = head.covers.serialize_into(&mut self.out);
        head.encode(&self.out[from..])
    }
}

/// Writes a file of any length through a buffer.
#[derive(Debug)]
pub(super) struct Writer {
    file: Box<dyn File>,
    pages: Pages,
    at: u64,
}

/// Bytes that are written at once.
const WRITE: usize = 512 << 10;

impl Writer {
    pub(super) fn create(disk: &dyn Disk, name: &str) -> io::Result<Self> {
        let file = disk.create(Dir::Index, name, Use::Plain)?;
        Ok(Self { file, pages: Pages::default(), at: HEAD as u64 })
    }

    pub(super) fn push(&mut self, entries: &[Entry]) -> io::Result<()> {
        for chunk in entries.chunks(PER_PAGE) {
            chunk.iter().for_each(|entry| self.pages.push(*entry));
            // Whole pages only: the one at hand still gets its checksum.
            if self.pages.out.len() >= WRITE {
                let whole = self.pages.out.len() - self.pages.filled * ENTRY;
                self.write(whole)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: usize) -> io::Result<()> {
        self.file.write_at(&self.pages.out[..bytes], self.at)?;
        self.at += bytes as u64;
        self.pages.out.drain(..bytes);
        Ok(())
    }

    /// Writes what is left, the header last. Nothing is synced.
    pub(super) fn end(mut self, head: Head) -> io::Result<(Box<dyn File>, u64)> {
        let head = self.pages.end(head);
        self.write(self.pages.out.len())?;
        self.file.write_at(&head, 0)?;
        Ok((self.file, self.pages.count))
    }
}

/// A file that is read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) head: Head,
    file: Box<dyn File>,
}

impl Opened {
    /// Opens a file, and looks at all but its pages.
    ///
    /// # Errors
    /// It is damaged (`InvalidData`), or the environment's.
    pub(super) fn open(disk: &dyn Disk, name: &str) -> io::Result<Self> {
        let file = disk.read(Dir::Index, name)?;
        let mut bytes = [0; HEAD];
        let read = file.read_at(&mut bytes, 0)?;
        let sum = crc32c::crc32c(&bytes[..HEAD - SUM]).to_le_bytes();
        if read < HEAD || &bytes[..8] != MAGIC || bytes[HEAD - SUM..] != sum || bytes[10] != KIND {
            return Err(damaged("its header is damaged"));
        }
        if bytes[8..10] != VERSION.to_le_bytes() {
            return Err(damaged("it has another version"));
        }
        let mut head = Head {
            owner: number(&bytes[12..20]),
            count: number(&bytes[20..28]),
            parts: number(&bytes[40..44]) as u32,
            covers: RoaringBitmap::new(),
        };
        let packs = number(&bytes[28..36]);
        // Room is made for what is there, not for what the header says.
        let at = head.pages_end().filter(|at| at.checked_add(packs) == file.size().ok());
        let at = at.ok_or_else(|| damaged("it has another length"))?;
        let mut covers = vec![0; packs as usize];
        let read = file.read_at(&mut covers, at)?;
        if read < covers.len() || crc32c::crc32c(&covers).to_le_bytes() != bytes[36..40] {
            return Err(damaged("its list of packs is damaged"));
        }
        head.covers = RoaringBitmap::deserialize_from(covers.as_slice())
            .map_err(|_| damaged("its list of packs is damaged"))?;
        Ok(Self { head, file })
    }

    pub(super) fn pages(&self) -> u64 {
        self.head.pages()
    }

    /// Appends the entries of a page.
    ///
    /// # Errors
    /// It is damaged (`InvalidData`), or the environment's.
    pub(super) fn page(&self, index: u64, to: &mut Vec<Entry>) -> io::Result<()> {
        let from = index * PER_PAGE as u64;
        let count = (self.head.count - from).min(PER_PAGE as u64) as usize;
        let mut bytes = [0; PAGE];
        let bytes = &mut bytes[..count * ENTRY + SUM];
        let read = self.file.read_at(bytes, HEAD as u64 + index * PAGE as u64)?;
        let (entries, sum) = bytes.split_at(count * ENTRY);
        if read < entries.len() + SUM || crc32c::crc32c(entries).to_le_bytes() != *sum {
            return Err(damaged("a page is damaged"));
        }
        to.extend(entries.chunks_exact(ENTRY).map(|entry| Entry {
            hash: number(&entry[..8]),
            pack: number(&entry[8..12]) as u32,
            place: number(&entry[12..]),
        }));
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(whole)
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
