//! Reads back what the tar sink writes, strictly: what it would not write is damage.

use super::header::{self, BLOCK};
use std::io::{self, Read};

/// One member of a tar file.
#[derive(Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Stored path.
    pub path: &'a [u8],
    /// Offset of the body in the file.
    pub offset: u64,
    /// The body.
    pub body: &'a [u8],
}

/// Shows every object of a tar file to `visit`, in order; gives how many there were. Members that
/// tell of others are passed over.
///
/// Bodies are held in memory one at a time.
///
/// # Errors
/// Reading fails, a header is damaged, the end is missing, or bytes follow it.
pub fn for_each<R: Read>(mut tar: R, mut visit: impl FnMut(Member<'_>)) -> io::Result<u64> {
    let mut header = [0; BLOCK];
    let mut body = Vec::new();
    let mut path = Vec::new();
    let mut extended = Extended::default();
    let mut at = 0;
    let mut members = 0;
    loop {
        tar.read_exact(&mut header)?;
        at += BLOCK as u64;
        if header == [0; BLOCK] {
            tar.read_exact(&mut header)?;
            if header != [0; BLOCK] {
                return Err(damage("one empty block in the middle"));
            }
            return match tar.read(&mut header)? {
                0 => Ok(members),
                _ => Err(damage("bytes behind the end")),
            };
        }
        check_sum(&header)?;
        let size = octal(&header[124..135])?;
        let size = extended.size.take().unwrap_or(size);
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let padded = padded.ok_or_else(|| damage("a body larger than any file"))?;
        // Room is made for what is there, not for what a damaged header says.
        body.clear();
        if tar.by_ref().take(padded).read_to_end(&mut body)? as u64 != padded {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (content, padding) = body.split_at(usize::try_from(size).unwrap_or(body.len()));
        if padding.iter().any(|&b| b != 0) {
            return Err(damage("padding that is not empty"));
        }
        match header[156] {
            b'x' => extended = Extended::parse(content)?,
            b'0' => {
                match extended.path.take() {
                    Some(long) => path = long,
                    None => plain_path(&header, &mut path),
                }
                if !header::is_meta(&header) {
                    visit(Member { path: &path, offset: at, body: content });
                    members += 1;
                }
            }
            _ => return Err(damage("a member of another kind")),
        }
        at += padded;
    }
}

/// What an extended header overrides.
#[derive(Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

impl Extended {
    pub(super) fn parse(mut records: &[u8]) -> io::Result<Self> {
        let mut extended = Self::default();
        while !records.is_empty() {
            let bad = || damage("a broken extended header");
            let space = memchr::memchr(b' ', records).ok_or_else(bad)?;
            let len = decimal(&records[..space]).ok_or_else(bad)?;
            let record = records.get(space + 1..len).ok_or_else(bad)?;
            let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
            if let Some(path) = record.strip_prefix(b"path=") {
                extended.path = Some(path.to_vec());
            } else if let Some(size) = record.strip_prefix(b"size=") {
                extended.size = Some(decimal(size).ok_or_else(bad)? as u64);
            } else {
                return Err(bad());
            }
            records = &records[len..];
        }
        Ok(extended)
    }
}

pub(super) fn check_sum(header: &[u8; BLOCK]) -> io::Result<()> {
    let stored = octal(&header[148..154])?;
    let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
    let field: u64 = header[148..156].iter().map(|&b| u64::from(b)).sum();
    if sum - field + 8 * u64::from(b' ') == stored {
        Ok(())
    } else {
        Err(damage("a header whose checksum is wrong"))
    }
}

pub(super) fn octal(digits: &[u8]) -> io::Result<u64> {
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => Ok(value << 3 | u64::from(digit - b'0')),
        _ => Err(damage("a number that is none")),
    })
}

fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The path in the two fields of a header.
pub(super) fn plain_path(header: &[u8; BLOCK], path: &mut Vec<u8>) {
    path.clear();
    let prefix = text(&header[345..500]);
    if !prefix.is_empty() {
        path.extend_from_slice(prefix);
        path.push(b'/');
    }
    path.extend_from_slice(text(&header[..100]));
}

fn text(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

fn damage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::super::header;
    use super::*;
    use proptest::prelude::*;

    fn tar(members: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, body) in members {
            header::member(&mut out, path, body.len() as u64);
            out.extend_from_slice(body);
            header::pad(&mut out, body.len() as u64);
        }
        header::end(&mut out);
        out
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut members = Vec::new();
        for_each(bytes, |member| {
            let at = usize::try_from(member.offset).unwrap();
            assert_eq!(&bytes[at..at + member.body.len()], member.body);
            members.push((member.path.to_vec(), member.body.to_vec()));
        })?;
        Ok(members)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(members in prop::collection::vec(
            ("[a-z/]{1,300}", prop::collection::vec(any::<u8>(), 0..1500)), 0..5,
        )) {
            let members: Vec<_> =
                members.into_iter().map(|(path, body)| (path.into_bytes(), body)).collect();
            prop_assert_eq!(read(&tar(&members)).unwrap(), members);
        }
    }

    /// Notes how large a buffer is asked to be filled.
    struct Largest<'a>(&'a [u8], usize);

    impl Read for Largest<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1.max(buffer.len());
            self.0.read(buffer)
        }
    }

    #[test]
    fn memory_follows_the_bytes_that_are_there() {
        let mut header = Vec::new();
        header::member(&mut header, b"a", 64 << 20);
        header.resize(100_000, 0);
        let mut tar = Largest(&header, 0);
        let error = for_each(&mut tar, |_| unreachable!()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(tar.1 < 1 << 20, "asks for {} bytes", tar.1);
        for size in [u64::MAX, u64::MAX - 511, u64::MAX - 512, 1 << 40] {
            let mut header = Vec::new();
            header::member(&mut header, b"a", size);
            assert!(read(&header).is_err());
        }
    }

    #[test]
    fn damage_is_found() {
        let whole = tar(&[(b"a".to_vec(), vec![7; 700]), (vec![b'n'; 300], vec![])]);
        assert!(read(&whole).is_ok());
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in [0, 100, 124, 130, 148, 156, 257, 1500, 1535] {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(read(&bad).is_err(), "flipped at {at}");
        }
        let longer = [whole, vec![0; 512]].concat();
        assert!(read(&longer).is_err());
    }
}
