//! The synthetic corpus: objects whose names and bodies are functions of a seed and an ordinal.
//!
//! A server of a billion such objects needs no disk, and whoever holds the seed can check any
//! body. The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
//! generators", OOPSLA 2014).

use crate::Ordinal;

/// `count` objects of `size` bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corpus {
    /// How many objects there are.
    pub count: u64,
    /// Bytes of each body.
    pub size: u64,
    /// Chooses names and bodies.
    pub seed: u64,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Corpus {
    /// Decimal digits of the ordinal in a name.
    const DIGITS: usize = 12;
    /// `o`, the digits, `-`, eight hexadecimal digits that depend on the seed.
    const NAME_LEN: usize = 1 + Self::DIGITS + 1 + 8;

    /// Largest `count`: twelve decimal digits.
    pub const MAX_COUNT: u64 = 1_000_000_000_000;

    fn start(&self, ordinal: Ordinal) -> u64 {
        mix(self.seed ^ mix(ordinal.wrapping_add(GOLDEN)))
    }

    /// Appends the name of an object, such as `o000000000042-5f3a9c21`.
    pub fn name_into(&self, ordinal: Ordinal, out: &mut Vec<u8>) {
        let mut name = [0_u8; Self::NAME_LEN];
        name[0] = b'o';
        let mut rest = ordinal;
        for digit in name[1..=Self::DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        name[1 + Self::DIGITS] = b'-';
        let mut tag = self.start(ordinal) >> 32;
        for digit in name[2 + Self::DIGITS..].iter_mut().rev() {
            *digit = b"0123456789abcdef"[(tag & 15) as usize];
            tag >>= 4;
        }
        out.extend_from_slice(&name);
    }

    /// The ordinal that a name stands for, `None` if it is no name of this corpus.
    pub fn ordinal_of(&self, name: &[u8]) -> Option<Ordinal> {
        if name.len() != Self::NAME_LEN || name[0] != b'o' || name[1 + Self::DIGITS] != b'-' {
            return None;
        }
        let mut ordinal: u64 = 0;
        for &digit in &name[1..=Self::DIGITS] {
            if !digit.is_ascii_digit() {
                return None;
            }
            ordinal = ordinal * 10 + u64::from(digit - b'0');
        }
        let mut tag: u64 = 0;
        for &digit in &name[2 + Self::DIGITS..] {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            tag = tag << 4 | u64::from(value);
        }
        (ordinal < self.count && tag == self.start(ordinal) >> 32).then_some(ordinal)
    }

    /// Appends bytes `from..from + len` of the body of an object.
    ///
    /// # Panics
    /// If `from` is no multiple of 8: the generator makes eight bytes at a time.
    pub fn body_part_into(&self, ordinal: Ordinal, from: u64, len: usize, out: &mut Vec<u8>) {
        assert!(from.is_multiple_of(8), "a body is generated in words of eight bytes");
        let mut state = self.start(ordinal).wrapping_add((from / 8).wrapping_mul(GOLDEN));
        out.reserve(len + 8);
        let end = out.len() + len;
        while out.len() < end {
            state = state.wrapping_add(GOLDEN);
            out.extend_from_slice(&mix(state).to_le_bytes());
        }
        out.truncate(end);
    }

    /// Appends the whole body of an object.
    ///
    /// # Panics
    /// If the body does not fit into the address space.
    pub fn body_into(&self, ordinal: Ordinal, out: &mut Vec<u8>) {
        let size = usize::try_from(self.size).expect("a synthetic body fits into memory");
        self.body_part_into(ordinal, 0, size, out);
    }

    /// Whether `body` is the body of that object.
    pub fn matches(&self, ordinal: Ordinal, body: &[u8]) -> bool {
        if body.len() as u64 != self.size {
            return false;
        }
        let mut state = self.start(ordinal);
        body.chunks(8).all(|chunk| {
            state = state.wrapping_add(GOLDEN);
            mix(state).to_le_bytes()[..chunk.len()] == *chunk
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: Corpus = Corpus { count: 5_000_000_000, size: 100, seed: 7 };

    fn name(corpus: &Corpus, ordinal: u64) -> Vec<u8> {
        let mut out = Vec::new();
        corpus.name_into(ordinal, &mut out);
        out
    }

    #[test]
    fn names_lead_back_to_their_ordinal() {
        for ordinal in [0, 1, 9, 10, 999, 1 << 31, 1 << 32, CORPUS.count - 1] {
            assert_eq!(CORPUS.ordinal_of(&name(&CORPUS, ordinal)), Some(ordinal));
        }
        assert_eq!(CORPUS.ordinal_of(&name(&CORPUS, CORPUS.count)), None, "past the end");
        let other = Corpus { seed: 8, ..CORPUS };
        assert_eq!(other.ordinal_of(&name(&CORPUS, 42)), None, "another seed");
        for odd in ["", "o", "o000000000042-5f3a9c2", "o00000000004x-00000000", "../etc/passwd"] {
            assert_eq!(CORPUS.ordinal_of(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn bodies_can_be_checked_whole_and_made_in_parts() {
        let corpus = Corpus { size: 1003, ..CORPUS };
        let mut whole = Vec::new();
        corpus.body_into(77, &mut whole);
        assert_eq!(whole.len(), 1003);
        let mut parts = Vec::new();
        for (from, len) in [(0, 512), (512, 8), (520, 483)] {
            corpus.body_part_into(77, from, len, &mut parts);
        }
        assert_eq!(parts, whole);
        assert!(corpus.matches(77, &whole));
        assert!(!corpus.matches(78, &whole));
        for cut in [0, 1, 1002] {
            assert!(!corpus.matches(77, &whole[..cut]));
        }
        for at in [0, 500, 1002] {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(!corpus.matches(77, &bad));
        }
    }
}
