//! One frame of a ledger: its bytes, and what they say. docs/FORMAT.md has the layout.

use super::codec::{Take, put, put_ordinals, put_text};
use std::ops::Range;
use windrow_model::{FailedObject, FailureClass, Ordinal};

/// Bytes of a file's header.
pub const HEADER_BYTES: usize = 32;

/// Bytes of a frame beside its payload: length, type, checksum.
pub(super) const FRAME_BYTES: usize = 9;

/// Bytes of one payload, at most.
pub const PAYLOAD_BYTES: usize = 1 << 20;

/// The version that this windrow writes, and the newest that it reads.
pub const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"windrow\0";

/// What a ledger file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The outcomes that one core came to.
    Core = 1,
    /// The pages of the listing.
    Listing = 2,
    /// Checksums (and names) that belong to a core's outcomes.
    Manifest = 3,
}

/// The first bytes of every file of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the file holds.
    pub kind: Kind,
    /// Says which run it belongs to.
    pub run: u64,
}

impl Header {
    /// The header's bytes.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.kind as u8;
        bytes[12..20].copy_from_slice(&self.run.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(HeaderError::Damaged)?;
        let sum = u32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
        if &bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..28]) != sum {
            return Err(HeaderError::Damaged);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let kind = match bytes[10] {
            1 => Kind::Core,
            2 => Kind::Listing,
            3 => Kind::Manifest,
            _ => return Err(HeaderError::Damaged),
        };
        let mut run = [0; 8];
        run.copy_from_slice(&bytes[12..20]);
        Ok(Self { kind, run: u64::from_le_bytes(run) })
    }
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// Another version of the format.
    Version(u16),
    /// Not a header.
    Damaged,
}

/// One frame. Every frame also says how much of its file was durable when it was written: a frame
/// that is whole proves that nothing before that point can be torn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A process began to write here.
    Session {
        /// Counts the processes of a run.
        generation: u64,
        /// The kernel's boot, all zero where it is unknown.
        boot: [u8; 16],
        /// Seconds since 1970-01-01T00:00:00Z.
        time: u64,
    },
    /// Objects were written.
    Stored(Stored<'a>),
    /// Objects failed.
    Failed(Payload<'a>),
    /// Whatever the frames before this one say is durable.
    Commit,
    /// Packs have their final name.
    Sealed(Payload<'a>),
    /// A page of the listing.
    Page(Page<'a>),
    /// The listing has no more pages; or `false`: the user's limit was reached.
    End(bool),
    /// Failed objects are to be tried again.
    Reopened(Payload<'a>),
    /// Objects that an earlier ordinal stands for already: nothing is to be done.
    Skipped(Payload<'a>),
    /// A page had changed: from this ordinal on whatever is not stored is forgotten, and listed
    /// anew under ordinals from `next` on.
    Relisted {
        /// First ordinal of the page.
        from: Ordinal,
        /// First ordinal of what is listed anew.
        next: Ordinal,
        /// The marker to ask for the page with.
        marker: Option<&'a str>,
    },
}

/// Objects that were written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<'a> {
    /// The pack that holds them; `None` for files.
    pub pack: Option<u32>,
    /// Length of the pack behind the last of them.
    pub len: u64,
    /// Whether nothing more comes into that pack.
    pub full: bool,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Where their part of the manifest ends.
    pub manifest_end: u64,
    /// Checksum of their part of the manifest.
    pub manifest_sum: u32,
    /// Which they are.
    pub ordinals: Payload<'a>,
}

/// A page of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    /// Ordinal of its first name.
    pub first: Ordinal,
    /// Names taken from it.
    pub count: u64,
    /// Names at its front that an earlier page frame has.
    pub skipped: u64,
    /// Fingerprint of the names taken.
    pub fingerprint: u128,
    /// The marker it was asked for with; `None` for the first page.
    pub marker: Option<&'a str>,
    /// The marker of the page after it, if it named one.
    pub next: Option<&'a str>,
}

/// The rest of a frame, read when it is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Payload<'a>(&'a [u8]);

impl<'a> Payload<'a> {
    /// Shows every range of ordinals; `None` where they are not well-formed.
    pub fn ordinals(&self, visit: impl FnMut(Range<Ordinal>)) -> Option<()> {
        let mut take = Take(self.0);
        take.ordinals(visit)?;
        take.is_empty().then_some(())
    }

    /// Shows every failure; `None` where they are not well-formed.
    pub fn failures(&self, mut visit: impl FnMut(FailedObject)) -> Option<()> {
        let mut take = Take(self.0);
        let mut last = 0_u64;
        for _ in 0..take.number()? {
            last = last.checked_add(take.number()?)?;
            let class = take.number()?;
            let class = *FailureClass::ALL.get(usize::try_from(class).ok()?)?;
            let status = u16::try_from(take.number()?).ok()?;
            let attempts = u32::try_from(take.number()?).ok()?;
            visit(FailedObject { ordinal: last, class, status, attempts });
        }
        take.is_empty().then_some(())
    }

    /// Shows every number of a pack; `None` where they are not well-formed.
    pub fn packs(&self, mut visit: impl FnMut(u32)) -> Option<()> {
        let mut take = Take(self.0);
        while !take.is_empty() {
            visit(u32::try_from(take.number()?).ok()?);
        }
        Some(())
    }
}

const SESSION: u8 = 1;
const STORED: u8 = 2;
const FAILED: u8 = 3;
const COMMIT: u8 = 4;
const SEALED: u8 = 5;
const PAGE: u8 = 6;
const END: u8 = 7;
const REOPENED: u8 = 8;
const RELISTED: u8 = 9;
const SKIPPED: u8 = 10;

impl<'a> Frame<'a> {
    /// Reads a payload of this type; `None` where that is not well-formed. Gives also how much of
    /// the file was durable.
    pub(super) fn parse(kind: u8, payload: &'a [u8]) -> Option<(u64, Self)> {
        let mut take = Take(payload);
        let durable = take.number()?;
        let frame = match kind {
            SESSION => {
                let generation = take.number()?;
                let time = take.number()?;
                let boot = take.bytes(16)?.try_into().ok()?;
                Self::Session { generation, boot, time }
            }
            STORED => {
                let flags = take.number()?;
                let pack = take.number()?;
                let len = take.number()?;
                let bytes = take.number()?;
                let manifest_end = take.number()?;
                let sum = take.bytes(4)?;
                let stored = Stored {
                    pack: match pack {
                        0 => None,
                        pack => Some(u32::try_from(pack - 1).ok()?),
                    },
                    len,
                    full: flags & 1 != 0,
                    bytes,
                    manifest_end,
                    manifest_sum: u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]),
                    ordinals: Payload(take.0),
                };
                return (flags <= 1).then_some((durable, Self::Stored(stored)));
            }
            FAILED => return Some((durable, Self::Failed(Payload(take.0)))),
            COMMIT => Self::Commit,
            SEALED => return Some((durable, Self::Sealed(Payload(take.0)))),
            PAGE => {
                let first = take.number()?;
                let count = take.number()?;
                let skipped = take.number()?;
                let fingerprint = u128::from_le_bytes(take.bytes(16)?.try_into().ok()?);
                let flags = take.number()?;
                let marker = if flags & 1 != 0 { Some(take.text()?) } else { None };
                let next = if flags & 2 != 0 { Some(take.text()?) } else { None };
                Self::Page(Page { first, count, skipped, fingerprint, marker, next })
            }
            END => Self::End(take.number()? == 1),
            REOPENED => return Some((durable, Self::Reopened(Payload(take.0)))),
            SKIPPED => return Some((durable, Self::Skipped(Payload(take.0)))),
            RELISTED => {
                let (from, next) = (take.number()?, take.number()?);
                let marker = if take.number()? == 1 { Some(take.text()?) } else { None };
                Self::Relisted { from, next, marker }
            }
            _ => return None,
        };
        take.is_empty().then_some((durable, frame))
    }
}

/// Puts frames together.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) out: Vec<u8>,
}

impl Encoder {
    fn frame(&mut self, kind: u8, durable: u64, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0, 0, 0, 0, kind]);
        put(&mut self.out, durable);
        payload(&mut self.out);
        let len = (self.out.len() - start - 5) as u32;
        debug_assert!(len as usize <= PAYLOAD_BYTES, "a payload is within its bound");
        self.out[start..start + 4].copy_from_slice(&len.to_le_bytes());
        let sum = crc32c::crc32c(&self.out[start..]);
        self.out.extend_from_slice(&sum.to_le_bytes());
    }

    pub(super) fn session(&mut self, durable: u64, generation: u64, boot: &[u8; 16], time: u64) {
        self.frame(SESSION, durable, |out| {
            put(out, generation);
            put(out, time);
            out.extend_from_slice(boot);
        });
    }

    /// `ordinals` is sorted; those of `stored` are not looked at.
    pub(super) fn stored(&mut self, durable: u64, stored: &Stored<'_>, ordinals: &[Ordinal]) {
        self.frame(STORED, durable, |out| {
            put(out, u64::from(stored.full));
            put(out, stored.pack.map_or(0, |pack| u64::from(pack) + 1));
            put(out, stored.len);
            put(out, stored.bytes);
            put(out, stored.manifest_end);
            out.extend_from_slice(&stored.manifest_sum.to_le_bytes());
            put_ordinals(out, ordinals);
        });
    }

    /// `failures` is sorted by ordinal.
    pub(super) fn failed(&mut self, durable: u64, failures: &[FailedObject]) {
        self.frame(FAILED, durable, |out| {
            put(out, failures.len() as u64);
            let mut last = 0;
            for failure in failures {
                put(out, failure.ordinal - last);
                put(out, failure.class as u64);
                put(out, u64::from(failure.status));
                put(out, u64::from(failure.attempts));
                last = failure.ordinal;
            }
        });
    }

    pub(super) fn commit(&mut self, durable: u64) {
        self.frame(COMMIT, durable, |_| {});
    }

    pub(super) fn sealed(&mut self, durable: u64, packs: impl Iterator<Item = u32>) {
        self.frame(SEALED, durable, |out| packs.for_each(|pack| put(out, u64::from(pack))));
    }

    pub(super) fn page(&mut self, durable: u64, page: &Page<'_>) {
        self.frame(PAGE, durable, |out| {
            put(out, page.first);
            put(out, page.count);
            put(out, page.skipped);
            out.extend_from_slice(&page.fingerprint.to_le_bytes());
            put(out, u64::from(page.marker.is_some()) | u64::from(page.next.is_some()) << 1);
            for text in [page.marker, page.next].into_iter().flatten() {
                put_text(out, text);
            }
        });
    }

    pub(super) fn end(&mut self, durable: u64, whole: bool) {
        self.frame(END, durable, |out| put(out, u64::from(whole)));
    }

    pub(super) fn reopened(&mut self, durable: u64, ordinals: &[Ordinal]) {
        self.frame(REOPENED, durable, |out| put_ordinals(out, ordinals));
    }

    pub(super) fn skipped(&mut self, durable: u64, ordinals: &[Ordinal]) {
        self.frame(SKIPPED, durable, |out| put_ordinals(out, ordinals));
    }

    pub(super) fn relisted(
        &mut self,
        durable: u64,
        from: Ordinal,
        next: Ordinal,
        marker: Option<&str>,
    ) {
        self.frame(RELISTED, durable, |out| {
            put(out, from);
            put(out, next);
            put(out, u64::from(marker.is_some()));
            if let Some(marker) = marker {
                put_text(out, marker);
            }
        });
    }
}
