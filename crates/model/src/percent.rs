//! Percent-encoding (RFC 3986 section 2.1), on bytes.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Which bytes stay as they are.
#[derive(Debug, Clone, Copy)]
pub struct Keep([bool; 256]);

impl Keep {
    /// The unreserved characters of RFC 3986 section 2.3: letters, digits, `-`, `.`, `_`, `~`.
    pub const UNRESERVED: Keep = Keep::letters_digits_and(b"-._~");

    /// The unreserved characters and `/`: for a name that spans several path segments.
    pub const UNRESERVED_AND_SLASH: Keep = Keep::letters_digits_and(b"-._~/");

    /// What may stand in path and query as they are sent; also `%`, so that what is encoded stays.
    pub const TARGET: Keep = Keep::letters_digits_and(b"!#$%&'()*+,-./:;=?@[]_~");

    /// Whether all of these stay as they are.
    pub fn all(&self, bytes: &[u8]) -> bool {
        // Without an early exit: most are short, and nearly all of them do.
        bytes.iter().fold(true, |all, &byte| all & self.0[byte as usize])
    }

    /// Letters, digits and the bytes of `more`.
    pub const fn letters_digits_and(more: &[u8]) -> Keep {
        let mut keep = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            keep[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut i = 0;
        while i < more.len() {
            keep[more[i] as usize] = true;
            i += 1;
        }
        Keep(keep)
    }

    /// Whether `byte` stays as it is.
    pub fn contains(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// Appends `bytes` to `out`, everything outside `keep` as `%XX`.
///
/// A name that is `.` or `..` has its dots encoded as well: RFC 3986 section 5.2.4 lets clients
/// and servers remove such segments, and then another object would be asked for.
pub fn encode_into(bytes: &[u8], keep: &Keep, out: &mut Vec<u8>) {
    if !has_dot_segment(bytes) {
        return escape_into(bytes, keep, out);
    }
    let mut no_dots = *keep;
    no_dots.0[usize::from(b'.')] = false;
    escape_into(bytes, &no_dots, out);
}

/// Appends `bytes` to `out`, everything outside `keep` as `%XX`, dots or not: what is a path
/// already has its segments on purpose.
pub fn escape_into(bytes: &[u8], keep: &Keep, out: &mut Vec<u8>) {
    if keep.all(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        if keep.contains(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
        }
    }
}

fn has_dot_segment(bytes: &[u8]) -> bool {
    memchr::memchr(b'.', bytes).is_some()
        && bytes.split(|&b| b == b'/').any(|s| s == b"." || s == b"..")
}

/// Decodes `%XX`; `None` where a `%` is not followed by two hexadecimal digits.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let [high, low, ..] = rest[at + 1..] else { return None };
        out.push(digit(high)? << 4 | digit(low)?);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(bytes: &[u8], keep: &Keep) -> String {
        let mut out = Vec::new();
        encode_into(bytes, keep, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn encodes_what_rfc_3986_reserves() {
        assert_eq!(encode(b"a b/c%d", &Keep::UNRESERVED), "a%20b%2Fc%25d");
        assert_eq!(encode(b"a b/c%d", &Keep::UNRESERVED_AND_SLASH), "a%20b/c%25d");
        assert_eq!(encode("é?#".as_bytes(), &Keep::UNRESERVED), "%C3%A9%3F%23");
        assert_eq!(encode(b"..", &Keep::UNRESERVED), "%2E%2E");
        assert_eq!(encode(b"a/../b.c", &Keep::UNRESERVED_AND_SLASH), "a/%2E%2E/b%2Ec");
        assert_eq!(encode(b"...", &Keep::UNRESERVED), "...");
    }

    #[test]
    fn refuses_broken_escapes() {
        for text in ["%", "%4", "%zz", "a%2", "%%41"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decode(b"%41%5a%5A+").unwrap(), b"AZZ+");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for keep in [Keep::UNRESERVED, Keep::UNRESERVED_AND_SLASH] {
                let mut out = Vec::new();
                encode_into(&bytes, &keep, &mut out);
                prop_assert!(out.iter().all(|b| b.is_ascii_graphic()));
                prop_assert_eq!(decode(&out).unwrap(), bytes.clone());
            }
        }
    }
}
