//! Checksums of bodies, as headers tell them.

use md5::Md5;
use sha2::{Digest, Sha256};

/// The checksums of a body that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    md5: Md5,
    sha256: Sha256,
    crc32c: u32,
}

impl Sums {
    pub(crate) fn add(&mut self, part: &[u8]) {
        self.md5.update(part);
        self.sha256.update(part);
        self.crc32c = crc32c::crc32c_append(self.crc32c, part);
    }

    /// Header lines: Content-MD5 (RFC 1864), Digest (RFC 3230) and the one of S3. Wrong ones look
    /// as good and belong to no body.
    pub(crate) fn lines(self, right: bool) -> String {
        let flip = if right { 0 } else { 0x55 };
        let text = |sum: &[u8]| base64(&sum.iter().map(|byte| byte ^ flip).collect::<Vec<_>>());
        let (md5, sha256) = (text(&self.md5.finalize()), text(&self.sha256.finalize()));
        let crc32c = text(&self.crc32c.to_be_bytes());
        format!(
            "Content-MD5: {md5}\r\nDigest: sha-256={sha256}\r\nx-amz-checksum-crc32c: {crc32c}\r\n"
        )
    }
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn checksums_are_those_of_the_standards() {
        let sums = |parts: &[&[u8]]| {
            let mut sums = Sums::default();
            parts.iter().for_each(|part| sums.add(part));
            sums
        };
        // RFC 1321, FIPS 180-4, and the check value of CRC-32C.
        let abc = sums(&[b"a", b"", b"bc"]).lines(true);
        assert!(abc.starts_with("Content-MD5: kAFQmDzST7DWlj99KOF/cg==\r\nDigest: sha-256=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\r\n"), "{abc}");
        let crc = sums(&[b"123456789"]).lines(true);
        assert!(crc.ends_with("\r\nx-amz-checksum-crc32c: 4waSgw==\r\n"), "{crc}");
        let wrong = sums(&[b"abc"]).lines(false);
        assert_eq!(wrong.len(), abc.len());
        assert!(wrong.lines().zip(abc.lines()).all(|(wrong, right)| wrong != right));
    }
}
