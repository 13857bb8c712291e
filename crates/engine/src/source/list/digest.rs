//! Checksums and sizes as they stand in a list.

use windrow_model::digits::{base64, hex};
use windrow_model::task::Digest;

/// Which checksum a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestKind {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// CRC-32 as of zlib and PNG.
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
}

impl DigestKind {
    /// Every kind, with the name by which a user asks for it.
    pub const ALL: [(&'static str, DigestKind); 5] = [
        ("md5", Self::Md5),
        ("sha1", Self::Sha1),
        ("sha256", Self::Sha256),
        ("crc32", Self::Crc32),
        ("crc32c", Self::Crc32c),
    ];

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|&(_, kind)| kind)
    }

    /// Reads a value: hexadecimal, or base64 (RFC 4648 section 4; `=` may be missing). Numbers are
    /// big-endian, as in `x-amz-checksum-crc32c`. `None` where it is neither or has another length.
    pub fn parse(self, text: &[u8]) -> Option<Digest> {
        let text = text.trim_ascii();
        Some(match self {
            Self::Md5 => Digest::Md5(bytes(text)?),
            Self::Sha1 => Digest::Sha1(bytes(text)?),
            Self::Sha256 => Digest::Sha256(bytes(text)?),
            Self::Crc32 => Digest::Crc32(u32::from_be_bytes(bytes(text)?)),
            Self::Crc32c => Digest::Crc32c(u32::from_be_bytes(bytes(text)?)),
        })
    }
}

/// A size: decimal digits.
pub(super) fn size(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |size, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        size.checked_mul(10)?.checked_add(digit)
    })
}

/// `N` bytes: the length of the text tells the two notations apart. Base64 may do without its
/// padding.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    // As long as any digest of a list.
    let mut padded = [b'='; 64];
    if text.len() == 2 * N
        && let Some(bytes) = hex(text)
    {
        return Some(bytes);
    }
    if text.ends_with(b"=") {
        return base64(text);
    }
    padded.get_mut(..text.len())?.copy_from_slice(text);
    base64(padded.get(..text.len().next_multiple_of(4))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_in_both_notations() {
        let md5 = [
            0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8,
            0x42, 0x7e,
        ];
        for text in [
            "d41d8cd98f00b204e9800998ecf8427e",
            " D41D8CD98F00B204E9800998ECF8427E ",
            "1B2M2Y8AsgTpgAmY7PhCfg==",
            "1B2M2Y8AsgTpgAmY7PhCfg",
        ] {
            assert_eq!(DigestKind::Md5.parse(text.as_bytes()), Some(Digest::Md5(md5)), "{text}");
        }
        for text in ["e3069283", "4waSgw==", "4waSgw"] {
            let found = DigestKind::Crc32c.parse(text.as_bytes());
            assert_eq!(found, Some(Digest::Crc32c(0xe306_9283)), "{text}");
        }
        let empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert!(
            matches!(DigestKind::Sha256.parse(empty.as_bytes()), Some(Digest::Sha256(d)) if d[0] == 0xe3)
        );
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        for text in [
            "",
            "=",
            "==",
            "d41d8cd98f00b204e9800998ecf8427",
            "d41d8cd98f00b204e9800998ecf8427g",
            "1B2M2Y8AsgTpgAmY7PhCfg=",
            "1B2M2Y8AsgTpgAmY7PhCfh==",
            "1B2M2Y8AsgTpgAmY7PhC g==",
            "1B2M2Y8AsgTpgAmY7PhCfg===",
        ] {
            assert_eq!(DigestKind::Md5.parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_digits() {
        assert_eq!(size(b" 0042 "), Some(42));
        assert_eq!(size(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "-1", "1.0", "1e3", "18446744073709551616", "000000000000000000001"] {
            assert_eq!(size(text.as_bytes()), None, "{text}");
        }
    }
}
