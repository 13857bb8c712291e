//! Bytes written as text: hexadecimal and base64 (RFC 4648), of a length that is known.

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
