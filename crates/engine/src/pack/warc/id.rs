//! Identifiers and digests of WARC records as text.

use sha1::{Digest as _, Sha1};

/// A UUID's bytes.
pub(super) type Uuid = [u8; 16];

/// The space of the identifiers of windrow's records; drawn once.
pub(super) const SPACE: Uuid = 0x6b1f_4c5e_90d2_4a37_8e61_d35a_07bc_92f4_u128.to_be_bytes();

/// The UUID of those bytes in a space (RFC 9562 section 5.5, version 5): the same each time.
pub(super) fn uuid(space: &Uuid, parts: &[&[u8]]) -> Uuid {
    let mut sha1 = Sha1::new_with_prefix(space);
    parts.iter().for_each(|part| sha1.update(part));
    let digest: [u8; 20] = sha1.finalize().into();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = uuid[6] & 0x0F | 0x50;
    uuid[8] = uuid[8] & 0x3F | 0x80;
    uuid
}

/// Appends `<urn:uuid:...>`.
pub(super) fn urn(uuid: &Uuid, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<urn:uuid:");
    for (at, &byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        let hex = b"0123456789abcdef";
        out.extend([hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
    }
    out.push(b'>');
}

/// The UUID in `<urn:uuid:...>`, if that is what it is.
pub(super) fn of_urn(text: &[u8]) -> Option<Uuid> {
    let text = text.strip_prefix(b"<urn:uuid:")?.strip_suffix(b">")?;
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let mut digits = [0; 32];
    for (at, &digit) in text.iter().filter(|&&byte| byte != b'-').enumerate() {
        *digits.get_mut(at)? = digit;
    }
    windrow_model::digits::hex::<16>(&digits)
}

/// Appends `sha1:` and the digest in base32 (RFC 4648 section 6), as WARC tools write it.
pub(super) fn labelled(digest: &[u8; 20], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    out.extend_from_slice(b"sha1:");
    for group in digest.as_chunks::<5>().0 {
        let bits = group.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        out.extend((0..8).rev().map(|digit| DIGITS[(bits >> (5 * digit)) as usize & 31]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_9562() {
        // Appendix A.4: "www.example.com" in the space of DNS names.
        let dns = 0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8_u128.to_be_bytes();
        let uuid = uuid(&dns, &[b"www.", b"example.com"]);
        let mut text = Vec::new();
        urn(&uuid, &mut text);
        assert_eq!(text, b"<urn:uuid:2ed6657d-e927-568b-95e1-2665a8aea6a2>");
        assert_eq!(of_urn(&text), Some(uuid));
        for cut in 0..text.len() {
            assert_eq!(of_urn(&text[..cut]), None);
        }
        text[12] = b'-';
        assert_eq!(of_urn(&text), None);
    }

    #[test]
    fn the_digest_of_nothing() {
        let mut text = Vec::new();
        labelled(&Sha1::digest(b"").into(), &mut text);
        assert_eq!(text, b"sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ");
    }
}
