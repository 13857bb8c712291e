//! How numbers and sets of ordinals are written.

use std::ops::Range;
use windrow_model::Ordinal;

/// Appends a number as LEB128: seven bits a byte, the lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a set of ordinals as ranges: how many, then for each the gap since the last one's end
/// and the length less one. `ordinals` is sorted, and none is there twice.
pub(super) fn put_ordinals(out: &mut Vec<u8>, ordinals: &[Ordinal]) {
    let ranges = ordinals.chunk_by(|a, b| a.wrapping_add(1) == *b);
    put(out, ranges.clone().count() as u64);
    let mut end = 0;
    for range in ranges {
        put(out, range[0] - end);
        put(out, range.len() as u64 - 1);
        end = range[0] + range.len() as u64;
    }
}

/// Takes numbers and bytes from the front of a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.bytes(len)?).ok()
    }

    /// Shows every range of a set; `None` where it is not well-formed.
    pub(super) fn ordinals(&mut self, mut visit: impl FnMut(Range<Ordinal>)) -> Option<()> {
        let mut end = 0_u64;
        for _ in 0..self.number()? {
            let start = end.checked_add(self.number()?)?;
            end = start.checked_add(self.number()?)?.checked_add(1)?;
            visit(start..end);
        }
        Some(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a text with its length before it.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut out = Vec::new();
            for &number in &numbers {
                put(&mut out, number);
                put(&mut out, number >> 40);
            }
            let mut take = Take(&out);
            for &number in &numbers {
                prop_assert_eq!(take.number(), Some(number));
                prop_assert_eq!(take.number(), Some(number >> 40));
            }
            prop_assert!(take.is_empty());
            prop_assert_eq!(take.number(), None);
        }

        #[test]
        fn sets_come_back(
            set in prop::collection::btree_set(prop_oneof![0..300_u64, any::<u64>()], 0..200)
        ) {
            let set: BTreeSet<u64> = set.into_iter().filter(|&o| o != u64::MAX).collect();
            let sorted: Vec<_> = set.iter().copied().collect();
            let mut out = Vec::new();
            put_ordinals(&mut out, &sorted);
            let mut back = Vec::new();
            Take(&out).ordinals(|range| back.extend(range)).unwrap();
            prop_assert_eq!(back, sorted);
        }

        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Take(&bytes).number();
            let _ = Take(&bytes).text();
            // Reading ranges never loops for longer than there are bytes.
            let mut ranges = 0;
            let _ = Take(&bytes).ordinals(|_| ranges += 1);
            prop_assert!(ranges <= 20);
        }
    }

    #[test]
    fn a_page_in_order_takes_four_bytes() {
        let mut out = Vec::new();
        put_ordinals(&mut out, &(100..1100).collect::<Vec<_>>());
        assert_eq!(out.len(), 4);
    }
}
