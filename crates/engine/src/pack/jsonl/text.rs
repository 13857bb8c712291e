//! Text in JSON (RFC 8259 section 7), and whether bytes that come in pieces are UTF-8.

/// How many bytes stand first that a JSON string has as they are.
pub(super) fn plain(bytes: &[u8]) -> usize {
    // Long texts in large steps; most fields have less than 32 bytes.
    let mut at = plain_steps::<32>(bytes);
    at += plain_steps::<8>(&bytes[at..]);
    at + bytes[at..].iter().position(|&byte| is_odd(byte)).unwrap_or(bytes.len() - at)
}

/// The same of whole steps; the compiler makes vector instructions of one.
fn plain_steps<const STEP: usize>(bytes: &[u8]) -> usize {
    let odd = |step: &[u8; STEP]| step.iter().fold(false, |odd, &byte| odd | is_odd(byte));
    STEP * bytes.as_chunks::<STEP>().0.iter().take_while(|step| !odd(step)).count()
}

fn is_odd(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Appends text as it stands between the quotes of a JSON string.
pub(super) fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let (as_is, rest) = text.split_at(plain(text));
        out.extend_from_slice(as_is);
        let Some((&byte, rest)) = rest.split_first() else { return };
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            _ => {
                let hex = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend([hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
                text = rest;
                continue;
            }
        };
        out.extend([b'\\', short]);
        text = rest;
    }
}

/// Appends a field's value as it stands between the quotes of a JSON string. What is not UTF-8 is
/// taken for ISO 8859-1, as it was once meant (RFC 9110 section 5.5).
pub(super) fn escape_field(value: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(value) {
        Ok(text) => escape(text.as_bytes(), out),
        Err(_) => {
            let text: String = value.iter().map(|&byte| char::from(byte)).collect();
            escape(text.as_bytes(), out);
        }
    }
}

/// Appends a number in decimal digits.
pub(in crate::pack) fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Whether bytes that come in pieces are UTF-8 (RFC 3629).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character that was cut.
    held: [u8; 4],
    count: usize,
}

impl Utf8 {
    /// False if they are not, whatever follows.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.count > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return true };
            // A character has at most four bytes: one whose beginning is three is ended by the next
            // or is none.
            self.held[self.count] = byte;
            self.count += 1;
            bytes = rest;
            match std::str::from_utf8(&self.held[..self.count]) {
                Ok(_) => self.count = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let cut = &bytes[error.valid_up_to()..];
                self.held[..cut.len()].copy_from_slice(cut);
                self.count = cut.len();
                true
            }
        }
    }

    /// Whether no character is cut at the end.
    pub(super) fn is_whole(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        for number in [0, 9, 10, 12_345, u64::MAX] {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn strings_are_as_serde_reads_them(text in any::<String>(), odd in "[\\x00-\\x24\\\\\"]*") {
            for text in [&text, &odd, &[&*odd, &text, &"x".repeat(70), &odd].concat()] {
                let mut out = vec![b'"'];
                escape(text.as_bytes(), &mut out);
                out.push(b'"');
                prop_assert!(!out.iter().any(|&byte| byte < 0x20));
                prop_assert_eq!(&serde_json::from_slice::<String>(&out).unwrap(), text);
            }
        }

        #[test]
        fn utf8_in_any_pieces(
            bytes in prop_oneof![
                "\\PC{0,20}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..8),
                ("\\PC{0,9}", 0..30_usize, any::<u8>()).prop_map(|(text, at, byte)| {
                    let mut bytes = text.into_bytes();
                    let len = bytes.len().max(1);
                    if let Some(old) = bytes.get_mut(at % len) { *old = byte; }
                    bytes
                }),
            ],
            step in 1..6_usize,
        ) {
            let mut utf8 = Utf8::default();
            let good = bytes.chunks(step).all(|piece| utf8.push(piece)) && utf8.is_whole();
            prop_assert_eq!(good, std::str::from_utf8(&bytes).is_ok());
        }
    }
}
