//! Tasks, and the leases in which they travel.

use crate::url::Origin;
use std::ops::Range;
use std::sync::Arc;

/// Position of an object in the source order; given once, never reused.
pub type Ordinal = u64;

/// The names of one listing page (or of one block of a URL list), packed into one buffer.
///
/// A page of 1,000 names costs two allocations, not 1,000.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Names {
    bytes: Vec<u8>,
    /// `ends[i]` is the end (exclusive) of name `i` in `bytes`; it begins where `i - 1` ends.
    ends: Vec<u32>,
}

impl Names {
    /// Appends one name.
    ///
    /// # Errors
    /// Gives the name back when the buffer would pass 4 GiB.
    pub fn push<'n>(&mut self, name: &'n [u8]) -> Result<(), &'n [u8]> {
        let Ok(end) = u32::try_from(self.bytes.len() + name.len()) else {
            return Err(name);
        };
        self.bytes.extend_from_slice(name);
        self.ends.push(end);
        Ok(())
    }

    /// Name `index`, or `None` past the end.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = match index {
            0 => 0,
            i => self.ends[i - 1] as usize,
        };
        Some(&self.bytes[start..end])
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Every name, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// Bytes of all names.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many names in front fit, where all that do stand in front.
    pub fn partition_point(&self, fits: impl Fn(&[u8]) -> bool) -> usize {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from + (to - from) / 2;
            match self.get(middle).is_some_and(&fits) {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        from
    }

    /// Forgets the names from `len` on.
    pub fn truncate(&mut self, len: usize) {
        if len < self.ends.len() {
            self.ends.truncate(len);
            self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
        }
    }
}

/// One page of a source: objects in source order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The names under which the objects are stored.
    pub names: Names,
    /// Where each of them is; `None` where all are at the one server that gave the listing, at an
    /// address that is made of the name.
    pub details: Option<Box<Details>>,
    /// What the listing of a bucket says of each; empty where it is not one, or nobody asked.
    pub listed: Vec<Listed>,
}

impl From<Names> for Sheet {
    fn from(names: Names) -> Self {
        Self { names, details: None, listed: Vec::new() }
    }
}

/// What the listing of a bucket says of an object: 32 bytes for each that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its length in bytes; `u64::MAX` where that is not said.
    pub size: u64,
    /// Its tag.
    pub etag: Etag,
}

impl Default for Listed {
    fn default() -> Self {
        Self { size: u64::MAX, etag: Etag::NONE }
    }
}

impl From<Listed> for Expected {
    fn from(listed: Listed) -> Self {
        let size = (listed.size != u64::MAX).then_some(listed.size);
        Self { size, digest: Some(Digest::Etag(listed.etag)) }
    }
}

/// The entity tag of an object in S3: 32 hexadecimal digits, and `-N` where it was uploaded in N parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Etag {
    hash: [u8; 16],
    /// 0 for none of them.
    parts: u32,
}

impl Etag {
    /// None is known, or it is of another shape.
    pub const NONE: Self = Self { hash: [0; 16], parts: u32::MAX };

    /// Reads one, in quotes or without; a weak one is none.
    pub fn read(text: &[u8]) -> Self {
        let text = match text {
            [b'"', inner @ .., b'"'] => inner,
            text => text,
        };
        let read = || {
            let (digits, rest) = text.split_at_checked(32)?;
            let parts = match rest {
                [] => 0,
                [b'-', number @ ..] if number.first().is_some_and(u8::is_ascii_digit) => {
                    let number: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
                    (1..u32::MAX).contains(&number).then_some(number)?
                }
                _ => return None,
            };
            Some(Self { hash: crate::digits::hex(digits)?, parts })
        };
        read().unwrap_or(Self::NONE)
    }

    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        *self != Self::NONE
    }

    /// The MD5 of the body that it is, unless the object is encrypted in certain ways.
    pub fn md5(&self) -> Option<[u8; 16]> {
        (self.parts == 0).then_some(self.hash)
    }
}

/// Where the objects of a list's page are, and what is known of them. Each part has an entry for
/// each name, or is empty.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Details {
    /// The servers that occur on the page, each once.
    pub origins: Vec<Origin>,
    /// For each object the index of its server, or [`Details::NOWHERE`].
    pub origin: Vec<u32>,
    /// For each object what is asked for: path and query, percent-encoded, beginning with `/`;
    /// empty where the line was malformed.
    pub targets: Names,
    /// For each object the last second at which its URL is valid, as seconds since 1970; 0 where it
    /// does not expire. Empty where none does.
    pub expiry: Vec<u32>,
    /// What each body is to be. Empty where the source says nothing of it.
    pub expected: Vec<Expected>,
    /// The lines that name no object, by index on the page, in order.
    pub malformed: Vec<Malformed>,
}

impl Details {
    /// Stands in place of a server where a line names none.
    pub const NOWHERE: u32 = u32::MAX;

    /// What is wrong with the line of the object at `index`, if something is.
    pub fn malformed(&self, index: usize) -> Option<&Malformed> {
        let at = self.malformed.binary_search_by_key(&index, |line| line.index as usize).ok()?;
        self.malformed.get(at)
    }
}

/// A line that names no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Index on its page.
    pub index: u32,
    /// Number of the line (or row) in its file, from 1 on.
    pub line: u64,
    /// What is wrong, in words without anything of the line: it may hold a secret.
    pub why: &'static str,
}

/// What a body is to be, as the source says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its checksum.
    pub digest: Option<Digest>,
}

/// A checksum of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// MD5 (RFC 1321).
    Md5([u8; 16]),
    /// SHA-1.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
    /// CRC-32 as of zlib and PNG.
    Crc32(u32),
    /// CRC-32C (Castagnoli).
    Crc32c(u32),
    /// What the listing of a bucket says: of the bytes as they are sent, and of the object's version.
    Etag(Etag),
}

/// A batch of tasks of one page given to one core.
///
/// Leases of one page share its names; a task in flight names itself by lease and index, so that
/// nothing is copied or allocated for one object.
#[derive(Debug, Clone)]
pub struct Lease {
    page: Arc<Sheet>,
    /// Indices in the page, where not all of its names are tasks.
    picks: Option<Arc<[u32]>>,
    /// Part of the page, or of the picks.
    range: Range<usize>,
    /// Ordinal of the page's first name, modulo 2^64: that of the first task is what counts.
    first: Ordinal,
}

impl Lease {
    /// Cuts a page into leases of at most `size` tasks; `first` is the ordinal of its first name.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn cut(page: impl Into<Sheet>, first: Ordinal, size: usize) -> impl Iterator<Item = Lease> {
        assert!(size > 0, "a lease holds at least one task");
        let page = Arc::new(page.into());
        let len = page.names.len();
        (0..len).step_by(size).map(move |start| Lease {
            page: Arc::clone(&page),
            picks: None,
            range: start..len.min(start + size),
            first,
        })
    }

    /// Cuts some names of a page into leases of at most `size` tasks: those at `picks`.
    ///
    /// # Panics
    /// If `size` is 0, or a pick lies outside the page.
    pub fn cut_picks(
        page: impl Into<Sheet>,
        picks: Vec<u32>,
        first: Ordinal,
        size: usize,
    ) -> impl Iterator<Item = Lease> {
        assert!(size > 0, "a lease holds at least one task");
        let page = page.into();
        let names = page.names.len();
        assert!(picks.iter().all(|&pick| (pick as usize) < names), "a pick outside its page");
        let (page, picks): (_, Arc<[u32]>) = (Arc::new(page), picks.into());
        let len = picks.len();
        (0..len).step_by(size).map(move |start| Lease {
            page: Arc::clone(&page),
            picks: Some(Arc::clone(&picks)),
            range: start..len.min(start + size),
            first,
        })
    }

    /// Index in the page of the task at `index`.
    fn position(&self, index: usize) -> usize {
        assert!(index < self.range.len(), "task index outside its lease");
        let at = self.range.start + index;
        self.picks.as_ref().map_or(at, |picks| picks[at] as usize)
    }

    /// How many tasks the lease holds.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether the lease holds no task.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Name of the task at `index`.
    ///
    /// # Panics
    /// If `index >= len()`: the caller holds indices that it took from this lease.
    pub fn name(&self, index: usize) -> &[u8] {
        self.page.names.get(self.position(index)).expect("a lease lies inside its page")
    }

    /// Where the objects of the page are, if they are not all at one server; with the index there
    /// of the task at `index`.
    ///
    /// # Panics
    /// As [`Lease::name`].
    pub fn details(&self, index: usize) -> Option<(&Details, usize)> {
        let details = self.page.details.as_deref()?;
        Some((details, self.position(index)))
    }

    /// What the source says of the body of the task at `index`.
    ///
    /// # Panics
    /// As [`Lease::name`].
    pub fn expected(&self, index: usize) -> Option<Expected> {
        let at = self.position(index);
        match &self.page.details {
            Some(details) => details.expected.get(at).copied(),
            None => self.page.listed.get(at).map(|&listed| listed.into()),
        }
    }

    /// Ordinal of the task at `index`.
    ///
    /// # Panics
    /// As [`Lease::name`].
    pub fn ordinal(&self, index: usize) -> Ordinal {
        self.first.wrapping_add(self.position(index) as Ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_cover_a_page_once_and_in_order() {
        for (count, size) in [(0, 3), (1, 3), (3, 3), (10, 3), (1000, 256)] {
            let mut names = Names::default();
            for i in 0..count {
                names.push(format!("n{i}").as_bytes()).unwrap();
            }
            let mut seen = Vec::new();
            for lease in Lease::cut(names, 500, size) {
                assert!(lease.len() <= size && !lease.is_empty());
                for i in 0..lease.len() {
                    seen.push((lease.ordinal(i), lease.name(i).to_vec()));
                }
            }
            let expected: Vec<_> =
                (0..count).map(|i| (500 + i as u64, format!("n{i}").into_bytes())).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn leases_of_picks_hold_those_and_no_others() {
        let mut names = Names::default();
        for i in 0..50 {
            names.push(format!("n{i}").as_bytes()).unwrap();
        }
        let picks = vec![0, 7, 8, 9, 31, 49];
        let mut seen = Vec::new();
        for lease in Lease::cut_picks(names, picks.clone(), 1000, 4) {
            assert!(lease.len() <= 4 && !lease.is_empty());
            for i in 0..lease.len() {
                assert_eq!(lease.name(i), format!("n{}", lease.ordinal(i) - 1000).as_bytes());
                seen.push(lease.ordinal(i) - 1000);
            }
        }
        assert_eq!(seen, picks.into_iter().map(u64::from).collect::<Vec<_>>());
    }

    #[test]
    fn empty_names_keep_their_place() {
        let mut names = Names::default();
        for name in ["", "a", "", ""] {
            names.push(name.as_bytes()).unwrap();
        }
        assert_eq!(names.iter().collect::<Vec<_>>(), [&b""[..], b"a", b"", b""]);
        names.truncate(2);
        assert_eq!(names.iter().collect::<Vec<_>>(), [&b""[..], b"a"]);
        assert_eq!(names.get(2), None);
    }
}
