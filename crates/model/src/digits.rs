//! Bytes written as text: hexadecimal and base64 (RFC 4648), of a length that is known or, in
//! base64, piece by piece.

/// `N` bytes as exactly `2 * N` hexadecimal digits, of either case.
pub fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}

/// Exactly `N` bytes in base64 (RFC 4648 section 4): padded, nothing around them, and no bit set
/// that belongs to no byte.
pub fn base64<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let padding = (3 - N % 3) % 3;
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    let (digits, equals) = text.split_at(text.len() - padding);
    if equals.iter().any(|&b| b != b'=') {
        return None;
    }
    let (mut bits, mut count, mut at) = (0_u32, 0, 0);
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(at)? = (bits >> count) as u8;
            bits &= (1 << count) - 1;
            at += 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// The digits of base64 (RFC 4648 section 4).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What each digit stands for; others are [`NO_DIGIT`].
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xFF;

/// Writes bytes that come in pieces as base64 (RFC 4648 section 4), padded. However they are cut, the
/// text is the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Base64Encoder {
    /// Up to two bytes that make no group yet.
    held: [u8; 3],
    count: usize,
}

impl Base64Encoder {
    /// Appends to `out` the text of all whole groups of three bytes so far.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while self.count > 0 && !bytes.is_empty() {
            self.held[self.count] = bytes[0];
            self.count += 1;
            bytes = &bytes[1..];
            if self.count == 3 {
                out.extend_from_slice(&group(self.held));
                self.count = 0;
            }
        }
        let (groups, rest) = bytes.as_chunks::<3>();
        let from = out.len();
        out.resize(from + 4 * groups.len(), 0);
        for (text, bytes) in out[from..].as_chunks_mut::<4>().0.iter_mut().zip(groups) {
            *text = group(*bytes);
        }
        if !rest.is_empty() {
            self.held[..rest.len()].copy_from_slice(rest);
            self.count = rest.len();
        }
    }

    /// Appends what is left, with its padding. The next text may follow.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            self.held[self.count..].fill(0);
            let mut text = group(self.held);
            text[self.count + 1..].fill(b'=');
            out.extend_from_slice(&text);
            self.count = 0;
        }
    }
}

fn group([a, b, c]: [u8; 3]) -> [u8; 4] {
    let bits = u32::from_be_bytes([0, a, b, c]) as usize;
    [bits >> 18, bits >> 12, bits >> 6, bits].map(|bits| DIGITS[bits & 63])
}

/// Reads base64 (RFC 4648 section 4) that comes in pieces: padded, nothing between the digits, and
/// no bit set that belongs to no byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Base64Decoder {
    held: [u8; 4],
    count: usize,
    ended: bool,
}

impl Base64Decoder {
    /// Appends to `out` the bytes of all whole groups of four digits so far; `None` where the text is
    /// not base64.
    pub fn push(&mut self, mut text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        while self.count > 0 && !text.is_empty() {
            self.hold(text[0], out)?;
            text = &text[1..];
        }
        let (groups, rest) = text.as_chunks::<4>();
        out.reserve(3 * groups.len());
        for text in groups {
            let [a, b, c, d] = text.map(|digit| VALUES[usize::from(digit)]);
            if self.ended || a | b | c | d == NO_DIGIT {
                // The last group, or none.
                for &digit in text {
                    self.hold(digit, out)?;
                }
                continue;
            }
            let bits = [a, b, c, d].iter().fold(0, |bits, &six| bits << 6 | u32::from(six));
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
        }
        rest.iter().try_for_each(|&digit| self.hold(digit, out))
    }

    /// Whether the text ended with a whole group. The next text may follow.
    pub fn finish(&mut self) -> Option<()> {
        let whole = self.count == 0;
        *self = Self::default();
        whole.then_some(())
    }

    fn hold(&mut self, digit: u8, out: &mut Vec<u8>) -> Option<()> {
        if self.ended {
            return None;
        }
        self.held[self.count] = digit;
        self.count += 1;
        if self.count == 4 {
            self.count = 0;
            match self.held {
                [_, _, b'=', b'='] => out.extend_from_slice(&base64::<1>(&self.held)?),
                [_, _, _, b'='] => out.extend_from_slice(&base64::<2>(&self.held)?),
                _ => out.extend_from_slice(&base64::<3>(&self.held)?),
            }
            self.ended = self.held[3] == b'=';
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut encoder, mut out) = (Base64Encoder::default(), Vec::new());
        pieces.iter().for_each(|piece| encoder.push(piece, &mut out));
        encoder.finish(&mut out);
        out
    }

    fn decoded(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let (mut decoder, mut out) = (Base64Decoder::default(), Vec::new());
        pieces.iter().try_for_each(|piece| decoder.push(piece, &mut out))?;
        decoder.finish()?;
        Some(out)
    }

    #[test]
    fn the_examples_of_rfc_4648_section_10() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encoded(&[bytes.as_bytes()]), text.as_bytes());
            assert_eq!(decoded(&[text.as_bytes()]).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["Zg", "Zg=", "Zh==", "Zg==Zg==", "Zm9v=", "Z===", "====", "Zm 9", "Zm9-"] {
            assert_eq!(decoded(&[text.as_bytes()]), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn base64_in_any_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in (0..300_usize, 0..400_usize),
        ) {
            let (left, right) = bytes.split_at(cuts.0.min(bytes.len()));
            let text = encoded(&[left, right]);
            prop_assert_eq!(&text, &encoded(&[&bytes]));
            let (left, right) = text.split_at(cuts.1.min(text.len()));
            prop_assert_eq!(decoded(&[left, right]).unwrap(), bytes);
        }
    }
}
