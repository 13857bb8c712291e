//! Checksums: their values, how they are written, and what computes them.

use super::crc64;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use windrow_model::digits::base64;
use windrow_model::task::Digest;

/// The algorithms that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
    Crc32,
    Crc32c,
    Crc64Nvme,
}

/// The value of a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Md5([u8; 16]),
    Sha1([u8; 20]),
    Sha256([u8; 32]),
    Sha512([u8; 64]),
    Crc32(u32),
    Crc32c(u32),
    Crc64Nvme(u64),
}

impl Sum {
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
            Self::Crc32(_) => Algorithm::Crc32,
            Self::Crc32c(_) => Algorithm::Crc32c,
            Self::Crc64Nvme(_) => Algorithm::Crc64Nvme,
        }
    }

    /// Reads a value in base64 (RFC 4648 section 4), a number in network byte order.
    pub(super) fn of_base64(algorithm: Algorithm, text: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Md5 => Self::Md5(base64(text)?),
            Algorithm::Sha1 => Self::Sha1(base64(text)?),
            Algorithm::Sha256 => Self::Sha256(base64(text)?),
            Algorithm::Sha512 => Self::Sha512(base64(text)?),
            Algorithm::Crc32 => Self::Crc32(u32::from_be_bytes(base64(text)?)),
            Algorithm::Crc32c => Self::Crc32c(u32::from_be_bytes(base64(text)?)),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(u64::from_be_bytes(base64(text)?)),
        })
    }

    /// Computes that of a whole body.
    pub(super) fn of_body(algorithm: Algorithm, body: &[u8]) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::digest(body).into()),
            Algorithm::Sha1 => Self::Sha1(Sha1::digest(body).into()),
            Algorithm::Sha256 => Self::Sha256(Sha256::digest(body).into()),
            Algorithm::Sha512 => Self::Sha512(Sha512::digest(body).into()),
            Algorithm::Crc32 => Self::Crc32(crc32fast::hash(body)),
            Algorithm::Crc32c => Self::Crc32c(crc32c::crc32c(body)),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(crc64::append(0, body)),
        }
    }
}

impl Sum {
    /// What a source says; a tag is none.
    pub(super) fn of_digest(digest: Digest) -> Option<Self> {
        Some(match digest {
            Digest::Md5(value) => Self::Md5(value),
            Digest::Sha1(value) => Self::Sha1(value),
            Digest::Sha256(value) => Self::Sha256(value),
            Digest::Crc32(value) => Self::Crc32(value),
            Digest::Crc32c(value) => Self::Crc32c(value),
            Digest::Etag(_) => return None,
        })
    }
}

/// What computes the checksums of one body, as its bytes come. Those that nobody asked for cost a
/// comparison each.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashers {
    md5: Option<Md5>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
    crc32: Option<crc32fast::Hasher>,
    crc32c: Option<u32>,
    crc64: Option<u64>,
}

impl Hashers {
    pub(super) fn begin(&mut self, algorithm: Algorithm) {
        match algorithm {
            Algorithm::Md5 => self.md5 = Some(Md5::new()),
            Algorithm::Sha1 => self.sha1 = Some(Sha1::new()),
            Algorithm::Sha256 => self.sha256 = Some(Sha256::new()),
            Algorithm::Sha512 => self.sha512 = Some(Sha512::new()),
            Algorithm::Crc32 => self.crc32 = Some(crc32fast::Hasher::new()),
            Algorithm::Crc32c => self.crc32c = Some(0),
            Algorithm::Crc64Nvme => self.crc64 = Some(0),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
        if let Some(crc32) = &mut self.crc32 {
            crc32.update(bytes);
        }
        if let Some(crc32c) = &mut self.crc32c {
            *crc32c = crc32c::crc32c_append(*crc32c, bytes);
        }
        if let Some(crc64) = &mut self.crc64 {
            *crc64 = crc64::append(*crc64, bytes);
        }
    }

    /// The value of one that was begun, `None` of another. Taken twice, the second is `None` too.
    pub(super) fn take(&mut self, algorithm: Algorithm) -> Option<Sum> {
        Some(match algorithm {
            Algorithm::Md5 => Sum::Md5(self.md5.take()?.finalize().into()),
            Algorithm::Sha1 => Sum::Sha1(self.sha1.take()?.finalize().into()),
            Algorithm::Sha256 => Sum::Sha256(self.sha256.take()?.finalize().into()),
            Algorithm::Sha512 => Sum::Sha512(self.sha512.take()?.finalize().into()),
            Algorithm::Crc32 => Sum::Crc32(self.crc32.take()?.finalize()),
            Algorithm::Crc32c => Sum::Crc32c(self.crc32c.take()?),
            Algorithm::Crc64Nvme => Sum::Crc64Nvme(self.crc64.take()?),
        })
    }
}

/// 1 to 8 hexadecimal digits.
pub(super) fn hex32(text: &[u8]) -> Option<u32> {
    if !(1..=8).contains(&text.len()) {
        return None;
    }
    text.iter().try_fold(0, |number, &b| Some(number << 4 | char::from(b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrow_model::digits::hex;

    #[test]
    fn base64_is_read_strictly() {
        // RFC 4648 section 10.
        assert_eq!(base64::<0>(b""), Some(*b""));
        assert_eq!(base64::<1>(b"Zg=="), Some(*b"f"));
        assert_eq!(base64::<2>(b"Zm8="), Some(*b"fo"));
        assert_eq!(base64::<3>(b"Zm9v"), Some(*b"foo"));
        assert_eq!(base64::<4>(b"Zm9vYg=="), Some(*b"foob"));
        assert_eq!(base64::<6>(b"Zm9vYmFy"), Some(*b"foobar"));
        assert_eq!(base64::<3>(b"+/+/"), Some([0xFB, 0xFF, 0xBF]));
        for bad in ["Zm8", "Zm9=", "Zm8==", "Zm8=\n", "Z-8=", "Zm==", "====", " Zm8=", "Zm9v"] {
            assert_eq!(base64::<2>(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(hex::<16>(b"d41d8cd98f00b204e9800998ECF8427E"), Some(Md5::digest(b"").into()));
        assert_eq!(hex::<16>(b"d41d8cd98f00b204e9800998ecf8427"), None);
        assert_eq!(hex::<16>(b"d41d8cd98f00b204e9800998ecf8427g"), None);
        assert_eq!(hex32(b"0a72a4df"), Some(0x0A72_A4DF));
        assert_eq!(hex32(b"A"), Some(10));
        assert_eq!(hex32(b""), None);
        assert_eq!(hex32(b"00a72a4df"), None);
        assert_eq!(hex32(b"+1"), None);
    }
}
