//! Finds members of a tar file by their headers alone, at any offset, to the byte.
//!
//! [`super::read`] reads a whole file and ends at the first damage. Here the caller says where a
//! member should begin, and learns whether one does: the headers are made again from the name and
//! the size they hold, and whatever differs from that is damage.

use super::header::{self, BLOCK};
use super::read::{Extended, check_sum, octal, plain_path};
use std::io;

/// The bytes of a file.
pub trait Bytes {
    /// Bytes from an offset on: as many as asked for, fewer only at the file's end.
    ///
    /// # Errors
    /// Reading fails.
    fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]>;
}

impl Bytes for &[u8] {
    fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..));
        let rest = rest.unwrap_or_default();
        Ok(&rest[..rest.len().min(want)])
    }
}

/// A member, as its headers say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Stored path.
    pub path: Vec<u8>,
    /// Offset of the body in the file.
    pub body: u64,
    /// Bytes of the body.
    pub bytes: u64,
    /// Where the next member begins.
    pub end: u64,
    /// It is no object: it tells of the one before it.
    pub meta: bool,
}

/// What is found where a member should begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A member; its body may still be cut off.
    Member,
    /// A block of zeros.
    Empty,
    /// The file ends before the headers do.
    Cut,
    /// Something that windrow would not write.
    Damaged,
}

/// Bytes of extended records, at most: windrow writes a path and a size.
const RECORDS: u64 = 1 << 20;

/// Reads the headers at an offset into `entry`, which holds anything where no member is found.
///
/// # Errors
/// Reading fails.
pub fn find(tar: &mut dyn Bytes, at: u64, entry: &mut Entry) -> io::Result<Found> {
    let Some(first) = block(tar, at)? else { return Ok(Found::Cut) };
    if first == [0; BLOCK] {
        return Ok(Found::Empty);
    }
    let Ok(size) = octal(&first[124..135]) else { return Ok(Found::Damaged) };
    let mut head = BLOCK as u64;
    match first[156] {
        b'0' => {
            plain_path(&first, &mut entry.path);
            entry.bytes = size;
            entry.meta = header::is_meta(&first);
        }
        b'x' if size <= RECORDS => {
            let records = size.next_multiple_of(BLOCK as u64);
            let whole = tar.at(at, 2 * BLOCK + records as usize)?;
            let Some(second) = whole.get(BLOCK + records as usize..) else {
                return Ok(Found::Cut);
            };
            let Ok(second) = <&[u8; BLOCK]>::try_from(second) else { return Ok(Found::Cut) };
            let records_end = BLOCK + size as usize;
            let Ok(extended) = Extended::parse(&whole[BLOCK..records_end]) else {
                return Ok(Found::Damaged);
            };
            let Ok(plain) = octal(&second[124..135]) else { return Ok(Found::Damaged) };
            entry.bytes = extended.size.unwrap_or(plain);
            entry.meta = header::is_meta(second);
            match extended.path {
                Some(path) => entry.path = path,
                None => plain_path(second, &mut entry.path),
            }
            head += records + BLOCK as u64;
        }
        _ => return Ok(Found::Damaged),
    }
    let Some(end) = end_of(at + head, entry.bytes) else { return Ok(Found::Damaged) };
    (entry.body, entry.end) = (at + head, end);
    let mut expected = Vec::with_capacity(head as usize);
    headers(&mut expected, entry);
    let found = tar.at(at, head as usize)?;
    Ok(if found == expected { Found::Member } else { Found::Damaged })
}

/// What a damaged header, or one that somebody else wrote, says; `None` where that makes no sense.
/// With `whole`, its checksum must be right.
///
/// # Errors
/// Reading fails.
pub fn guess(tar: &mut dyn Bytes, mut at: u64, whole: bool) -> io::Result<Option<Entry>> {
    let mut long = None;
    // An extended header, perhaps one more of another tool's, then the member's own.
    for _ in 0..4 {
        let Some(header) = block(tar, at)? else { return Ok(None) };
        let Ok(size) = octal(&header[124..135]) else { return Ok(None) };
        if whole && check_sum(&header).is_err() {
            return Ok(None);
        }
        let body = at + BLOCK as u64;
        let Some(end) = end_of(body, size) else { return Ok(None) };
        if matches!(header[156], b'x' | b'g' | b'L' | b'K') && size <= RECORDS {
            if let Some(records) = tar.at(body, size as usize)?.get(..size as usize)
                && let Ok(extended) = Extended::parse(records)
            {
                long = extended.path.or(long);
            }
            at = end;
            continue;
        }
        let meta = header::is_meta(&header);
        let mut entry = Entry { path: Vec::new(), body, bytes: size, end, meta };
        match long {
            Some(path) => entry.path = path,
            None => plain_path(&header, &mut entry.path),
        }
        return Ok(Some(entry));
    }
    Ok(None)
}

/// What a header may have said before one of its bytes was changed, by the checksum beside it.
///
/// # Errors
/// Reading fails.
pub fn repairs(tar: &mut dyn Bytes, at: u64) -> io::Result<Vec<Entry>> {
    let mut repaired = Vec::new();
    let Some(found) = block(tar, at)? else { return Ok(repaired) };
    let Ok(stored) = octal(&found[148..154]) else { return Ok(repaired) };
    let sum: u64 = found.iter().map(|&b| u64::from(b)).sum();
    let field: u64 = found[148..156].iter().map(|&b| u64::from(b)).sum();
    let change = stored as i64 - (sum - field + 8 * u64::from(b' ')) as i64;
    let body = at + BLOCK as u64;
    let mut expected = Vec::new();
    for place in (0..148).chain(156..BLOCK) {
        let Ok(byte) = u8::try_from(i64::from(found[place]) + change) else { continue };
        let mut header = found;
        header[place] = byte;
        let Ok(bytes) = octal(&header[124..135]) else { continue };
        let Some(end) = end_of(body, bytes) else { continue };
        let meta = header::is_meta(&header);
        let mut entry = Entry { path: Vec::new(), body, bytes, end, meta };
        plain_path(&header, &mut entry.path);
        expected.clear();
        headers(&mut expected, &entry);
        if expected == header {
            repaired.push(entry);
        }
    }
    Ok(repaired)
}

/// The headers that windrow writes of a member.
fn headers(out: &mut Vec<u8>, entry: &Entry) {
    match entry.meta {
        false => header::member(out, &entry.path, entry.bytes),
        true => header::meta_member(out, &entry.path, entry.bytes),
    }
}

fn block(tar: &mut dyn Bytes, at: u64) -> io::Result<Option<[u8; BLOCK]>> {
    Ok(tar.at(at, BLOCK)?.try_into().ok())
}

fn end_of(body: u64, bytes: u64) -> Option<u64> {
    body.checked_add(bytes.checked_next_multiple_of(BLOCK as u64)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(path: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        header::member(&mut out, path, body.len() as u64);
        out.extend_from_slice(body);
        header::pad(&mut out, body.len() as u64);
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_found(
            path in prop::collection::vec(1..=255_u8, 1..600),
            body in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            let tar = member(&path, &body);
            let mut entry = Entry::default();
            let found = find(&mut tar.as_slice(), 0, &mut entry).unwrap();
            prop_assert_eq!(found, Found::Member);
            prop_assert_eq!(&entry.path, &path);
            prop_assert_eq!(&tar[entry.body as usize..][..body.len()], &body[..]);
            prop_assert_eq!(entry.end, tar.len() as u64);
        }

        #[test]
        fn every_changed_byte_of_a_header_is_found(
            len in prop_oneof![1..90_usize, 101..600_usize], at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let path = vec![b'n'; len];
            let mut tar = member(&path, b"body");
            let head = tar.len() - BLOCK;
            let at = at.index(head);
            tar[at] ^= flip;
            let mut entry = Entry::default();
            let found = find(&mut tar.as_slice(), 0, &mut entry).unwrap();
            // A header has a checksum, and a record none: there it is another name.
            let other = (BLOCK..2 * BLOCK).contains(&at) && entry.path.len() == len;
            prop_assert!(found != Found::Member || other, "byte {at}: {entry:?}");
            if len < 90 && !(148..156).contains(&at) {
                let repaired = repairs(&mut tar.as_slice(), 0).unwrap();
                prop_assert!(repaired.iter().any(|entry| entry.path == path), "byte {at}");
            }
        }

        #[test]
        fn anything_can_be_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut tar = bytes.as_slice();
            let _ = find(&mut tar, 0, &mut Entry::default()).unwrap();
            let _ = guess(&mut tar, 0, false).unwrap();
            let _ = repairs(&mut tar, 0).unwrap();
        }
    }
}
