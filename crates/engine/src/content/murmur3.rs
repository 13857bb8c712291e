//! MurmurHash3, the 32-bit form for x86 (Austin Appleby, SMHasher), with seed 0.
//!
//! What decides the shard of an object or a line. It is no checksum and keeps nobody out: whoever
//! chooses the keys can choose the shards. The numbers are those of Python's
//! `mmh3.hash(key, signed=False)`, of any machine and release, for ever.

const C1: u32 = 0xCC9E_2D51;
const C2: u32 = 0x1B87_3593;

/// The hash of `bytes`; equal to `mmh3.hash(bytes, signed=False)` of Python.
#[must_use]
#[inline]
pub fn murmur3_32(bytes: &[u8]) -> u32 {
    let (blocks, tail) = bytes.as_chunks::<4>();
    let state = blocks.iter().fold(0, |state, block| mix(state, u32::from_le_bytes(*block)));
    finish(state, tail, bytes.len() as u64)
}

/// The length of the first line of `bytes`, without its LF, and [`murmur3_32`] of that; `None` where
/// there is no LF. It looks for the LF in the words that it hashes: two thirds of the time that
/// looking first takes.
#[inline]
pub(crate) fn murmur3_line(bytes: &[u8]) -> Option<(usize, u32)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = 0;
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is LF. A borrow can set those of bytes behind such a one
        // and never of one before it: the lowest is right (Warren, Hacker's Delight, 6-1).
        let differs = word ^ (ONES * u64::from(b'\n'));
        let ends = differs.wrapping_sub(ONES) & !differs & (ONES * 0x80);
        if ends == 0 {
            state = mix(mix(state, word as u32), (word >> 32) as u32);
            continue;
        }
        let before = ends.trailing_zeros() / 8;
        let mut left = word & ((1 << (8 * before)) - 1);
        if before >= 4 {
            state = mix(state, left as u32);
            left >>= 32;
        }
        let len = 8 * nth + before as usize;
        return Some((len, avalanche(state ^ scramble(left as u32) ^ len as u32)));
    }
    let len = bytes.len() - rest.len() + rest.iter().position(|byte| *byte == b'\n')?;
    Some((len, murmur3_32(&bytes[..len])))
}

/// The same hash of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Murmur3 {
    state: u32,
    /// Bytes that do not make a block yet: `tail[..len % 4]`.
    tail: [u8; 4],
    len: u64,
}

impl Murmur3 {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        let held = (self.len % 4) as usize;
        self.len += bytes.len() as u64;
        let mut rest = bytes;
        if held > 0 {
            let taken = rest.len().min(4 - held);
            self.tail[held..held + taken].copy_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if held + taken < 4 {
                return;
            }
            self.state = mix(self.state, u32::from_le_bytes(self.tail));
        }
        let (blocks, tail) = rest.as_chunks::<4>();
        for block in blocks {
            self.state = mix(self.state, u32::from_le_bytes(*block));
        }
        self.tail[..tail.len()].copy_from_slice(tail);
    }

    /// The hash of all pieces so far.
    #[must_use]
    pub fn hash(&self) -> u32 {
        finish(self.state, &self.tail[..(self.len % 4) as usize], self.len)
    }
}

#[inline(always)]
fn scramble(block: u32) -> u32 {
    block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

#[inline(always)]
fn mix(state: u32, block: u32) -> u32 {
    (state ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64)
}

/// The bytes behind the last block, the length and the avalanche. The length counts modulo 2^32,
/// as it is a `uint32_t` there.
#[inline(always)]
fn finish(state: u32, tail: &[u8], len: u64) -> u32 {
    let tail = match *tail {
        [a] => u32::from(a),
        [a, b] => u32::from_le_bytes([a, b, 0, 0]),
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
        // Of zero nothing comes but zero.
        _ => 0,
    };
    avalanche(state ^ scramble(tail) ^ len as u32)
}

#[inline(always)]
fn avalanche(mut state: u32) -> u32 {
    state = (state ^ (state >> 16)).wrapping_mul(0x85EB_CA6B);
    state = (state ^ (state >> 13)).wrapping_mul(0xC2B2_AE35);
    state ^ (state >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_are_those_of_mmh3() {
        // By mmh3 5.3 of Python.
        let all: Vec<u8> = (0..=255).collect();
        for (key, hash) in [
            (&b""[..], 0),
            (b"a", 0x3C25_69B2),
            (b"ab", 0x9BBF_D75F),
            (b"abc", 0xB3DD_93FA),
            (b"abcd", 0x43ED_676A),
            (b"abcde", 0xE89B_9AF6),
            (b"\xFF\xFF\xFF\xFF", 0x7629_3B50),
            (b"Hello, world!", 0xC036_3E43),
            (b"The quick brown fox jumps over the lazy dog", 0x2E4F_F723),
            ("grüße, 世界".as_bytes(), 0xBAA0_048F),
            (&all, 0xE40A_0E56),
        ] {
            assert_eq!(murmur3_32(key), hash, "{}", key.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_line_is_hashed_to_its_end(
            // Bytes that differ from LF by a bit or a borrow, above all.
            line in proptest::collection::vec(
                prop_oneof![0_u8..10, 11_u8..14, 0x8A_u8..0x8D, 11_u8..=255], 0..70,
            ),
            more in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..20),
        ) {
            prop_assert_eq!(murmur3_line(&line), None);
            let bytes = [&line[..], b"\n", &more].concat();
            prop_assert_eq!(murmur3_line(&bytes), Some((line.len(), murmur3_32(&line))));
        }

        #[test]
        fn pieces_make_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0_usize..200, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut hash = Murmur3::default();
            for cut in cuts.windows(2) {
                hash.update(&bytes[cut[0]..cut[1]]);
            }
            prop_assert_eq!(hash.hash(), murmur3_32(&bytes));
        }
    }
}
