//! Bytes become lines, and lines get their shard. No I/O.

use super::key::{Key, Unmatched, is_json};
use crate::content::murmur3::{Murmur3, murmur3_32, murmur3_line};
use windrow_model::limits::SHARD_LINE_BYTES;

/// Where a line belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The shard of that number.
    Shard(u32),
    /// It has no key, or is not what it ought to be.
    Unmatched,
    /// The input was left in the middle of it.
    Unfinished,
}

/// Takes lines.
pub trait Lines {
    /// Why it takes no more.
    type Error;

    /// A line, LF included, always.
    ///
    /// # Errors
    /// Those of the implementor; the [`Sharder`] is not to be fed any more then.
    fn line(&mut self, place: Place, line: &[u8]) -> Result<(), Self::Error>;

    /// The next part of a line that is too long to be held, before anybody knows where it belongs.
    ///
    /// # Errors
    /// As for [`Self::line`].
    fn part(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// All parts of that line have been given, LF included; it belongs there.
    ///
    /// # Errors
    /// As for [`Self::line`].
    fn parts_end(&mut self, place: Place) -> Result<(), Self::Error>;
}

/// What went through a [`Sharder`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Lines, those without a shard included. A line ends with LF; what stands behind the last LF
    /// is one more line if it is not empty and the input ended there.
    pub lines: u64,
    /// Bytes that were fed.
    pub bytes: u64,
    /// Of the lines: without a key.
    pub no_key: u64,
    /// Of the lines: no JSON.
    pub not_json: u64,
    /// Of the lines: too long to be looked at.
    pub too_long: u64,
}

impl Count {
    /// Lines without a shard.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.no_key + self.not_json + self.too_long
    }
}

/// Divides bytes into lines and lines among shards: shard = murmur3(key) % shards.
///
/// However the bytes are cut into pieces, the same lines come out, in the same order. At most
/// [`SHARD_LINE_BYTES`] of an unfinished line are held.
#[derive(Debug)]
pub struct Sharder {
    shards: u32,
    key: Key,
    json: bool,
    /// What is there of a line whose end is not; with `long`, of its latest part.
    held: Vec<u8>,
    /// A line that is too long to be held.
    long: Option<Murmur3>,
    count: Count,
}

impl Sharder {
    /// Divides among so many shards by that key; with `json`, a line that is no JSON has none.
    ///
    /// # Panics
    /// When there is no shard.
    #[must_use]
    pub fn new(shards: u32, key: Key, json: bool) -> Self {
        assert!(shards > 0, "at least one shard");
        Self { shards, key, json, held: Vec::new(), long: None, count: Count::default() }
    }

    /// What went through so far.
    #[must_use]
    pub fn count(&self) -> Count {
        self.count
    }

    /// Whether the bytes so far end within a line.
    #[must_use]
    pub fn is_within_line(&self) -> bool {
        self.long.is_some() || !self.held.is_empty()
    }

    /// Takes the next bytes, and gives the lines that are complete.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn feed<L: Lines>(&mut self, bytes: &[u8], out: &mut L) -> Result<(), L::Error> {
        self.count.bytes += bytes.len() as u64;
        let mut rest = bytes;
        if self.is_within_line() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (piece, more) = rest.split_at(end);
            self.hold(piece, out)?;
            if piece.last() == Some(&b'\n') {
                self.complete(out)?;
            }
            rest = more;
        }
        let mut start = 0;
        if self.key == Key::Line && !self.json {
            // The same as below, for what is nearly always asked for.
            let (remainder, mut lines) = (Remainder::by(self.shards), 0);
            // So that a long line whose end is not there is not hashed in vain.
            let end = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
            while let Some((len, hash)) = murmur3_line(&rest[start..end]) {
                let (line, next) = (&rest[start..=start + len], start + len + 1);
                lines += 1;
                if let Err(error) = out.line(Place::Shard(remainder.of(hash)), line) {
                    self.count.lines += lines;
                    return Err(error);
                }
                start = next;
            }
            self.count.lines += lines;
        } else {
            for at in memchr::memchr_iter(b'\n', rest) {
                let place = self.place(&rest[start..at]);
                out.line(place, &rest[start..=at])?;
                start = at + 1;
            }
        }
        self.hold(&rest[start..], out)
    }

    /// The input is at its end: what stands behind the last LF is a line, and gets one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end<L: Lines>(&mut self, out: &mut L) -> Result<(), L::Error> {
        if !self.is_within_line() {
            return Ok(());
        }
        self.hold(b"\n", out)?;
        self.complete(out)
    }

    /// The input is left where it is: what stands behind the last LF is no line, and is given as
    /// [`Place::Unfinished`], with an LF behind it. It is not counted among the lines.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn leave<L: Lines>(&mut self, out: &mut L) -> Result<(), L::Error> {
        if !self.is_within_line() {
            return Ok(());
        }
        self.hold(b"\n", out)?;
        match self.long.take() {
            Some(_) => {
                out.part(&std::mem::take(&mut self.held))?;
                out.parts_end(Place::Unfinished)
            }
            None => out.line(Place::Unfinished, &std::mem::take(&mut self.held)),
        }
    }

    /// Forgets what stands behind the last LF. Of a line that is too long to be held parts may have
    /// been given already, and no end follows.
    pub fn forget(&mut self) {
        self.held.clear();
        self.long = None;
    }

    /// Keeps a piece of a line that holds LF at its end, if at all.
    fn hold<L: Lines>(&mut self, piece: &[u8], out: &mut L) -> Result<(), L::Error> {
        if self.held.len() + piece.len() <= SHARD_LINE_BYTES && self.long.is_none() {
            self.held.extend_from_slice(piece);
            return Ok(());
        }
        let hash = self.long.get_or_insert_with(|| {
            let mut hash = Murmur3::default();
            hash.update(&self.held);
            hash
        });
        hash.update(piece.strip_suffix(b"\n").unwrap_or(piece));
        if self.held.len() + piece.len() > SHARD_LINE_BYTES {
            out.part(&self.held)?;
            self.held.clear();
        }
        if piece.len() > SHARD_LINE_BYTES {
            return out.part(piece);
        }
        self.held.extend_from_slice(piece);
        Ok(())
    }

    /// What is held has its end.
    fn complete<L: Lines>(&mut self, out: &mut L) -> Result<(), L::Error> {
        let held = std::mem::take(&mut self.held);
        match self.long.take() {
            None => {
                let place = self.place(held.strip_suffix(b"\n").unwrap_or(&held));
                out.line(place, &held)?;
                self.held = held;
                self.held.clear();
                Ok(())
            }
            Some(hash) => {
                self.count.lines += 1;
                let place = if self.key == Key::Line && !self.json {
                    Place::Shard(hash.hash() % self.shards)
                } else {
                    self.count.too_long += 1;
                    Place::Unmatched
                };
                out.part(&held)?;
                out.parts_end(place)
            }
        }
    }

    /// Where a line belongs that is given without its LF; counts it.
    fn place(&mut self, line: &[u8]) -> Place {
        self.count.lines += 1;
        let key = match &self.key {
            // A field is looked for by a parser that sees the whole line.
            Key::Field(_) => self.key.of(line),
            _ if self.json && !is_json(line) => Err(Unmatched::NotJson),
            key => key.of(line),
        };
        match key {
            Ok(key) => return Place::Shard(murmur3_32(&key) % self.shards),
            Err(Unmatched::NoKey) => self.count.no_key += 1,
            Err(Unmatched::NotJson) => self.count.not_json += 1,
            Err(Unmatched::TooLong) => self.count.too_long += 1,
        }
        Place::Unmatched
    }
}

/// `% divisor` by two multiplications, which is exact for 32 bits (Lemire, Kaser, Kurz, "Faster
/// Remainder by Direct Computation", 2019).
#[derive(Clone, Copy)]
struct Remainder {
    divisor: u32,
    /// 2^64 / divisor, rounded up; 0 stands for 2^64.
    inverse: u64,
}

impl Remainder {
    fn by(divisor: u32) -> Self {
        Self { divisor, inverse: (u64::MAX / u64::from(divisor)).wrapping_add(1) }
    }

    #[inline(always)]
    fn of(self, number: u32) -> u32 {
        let fraction = self.inverse.wrapping_mul(u64::from(number));
        ((u128::from(fraction) * u128::from(self.divisor)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    #[derive(Default, Debug, PartialEq)]
    struct Taken {
        lines: Vec<(Place, Vec<u8>)>,
        parts: Vec<u8>,
    }

    impl Lines for Taken {
        type Error = Infallible;

        fn line(&mut self, place: Place, line: &[u8]) -> Result<(), Infallible> {
            assert_eq!(memchr::memchr(b'\n', line), Some(line.len() - 1));
            assert!(self.parts.is_empty(), "a line within another");
            self.lines.push((place, line.to_vec()));
            Ok(())
        }

        fn part(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
            self.parts.extend_from_slice(bytes);
            Ok(())
        }

        fn parts_end(&mut self, place: Place) -> Result<(), Infallible> {
            let line = std::mem::take(&mut self.parts);
            self.line(place, &line)
        }
    }

    fn shard(line: &[u8], shards: u32) -> Place {
        Place::Shard(murmur3_32(line) % shards)
    }

    /// What comes out of the bytes when they are fed in pieces of that size.
    fn divided(bytes: &[u8], piece: usize, sharder: &mut Sharder) -> Taken {
        let mut taken = Taken::default();
        for piece in bytes.chunks(piece) {
            sharder.feed(piece, &mut taken).unwrap();
        }
        sharder.end(&mut taken).unwrap();
        taken
    }

    proptest! {
        #[test]
        fn lines_are_those_between_line_ends(
            lines in proptest::collection::vec("[a-c\r\\x00,]{0,9}", 0..30),
            ended in any::<bool>(),
            piece in 1_usize..40,
            shards in 1_u32..1000,
        ) {
            let mut text = lines.join("\n").into_bytes();
            if ended && !lines.is_empty() {
                text.push(b'\n');
            }
            let mut expected: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
            if expected.last().is_some_and(|last| last.is_empty()) {
                expected.pop();
            }
            let mut sharder = Sharder::new(shards, Key::Line, false);
            let taken = divided(&text, piece, &mut sharder);
            let with_end = |line: &&[u8]| (shard(line, shards), [line, &b"\n"[..]].concat());
            let count = sharder.count();
            prop_assert_eq!(count.lines, expected.len() as u64);
            prop_assert_eq!((count.bytes, count.unmatched()), (text.len() as u64, 0));
            prop_assert_eq!(taken.lines, expected.iter().map(with_end).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn remainders_are_exact(
            divisor in prop_oneof![1_u32..=100_000, 1..=u32::MAX],
            number in prop_oneof![any::<u32>(), 0_u32..10, u32::MAX - 10..=u32::MAX],
        ) {
            let remainder = Remainder::by(divisor);
            // Where an error of rounding would show first.
            let edge = number - number % divisor;
            for number in [number, edge, edge.saturating_sub(1), edge.saturating_add(divisor - 1)] {
                prop_assert_eq!(remainder.of(number), number % divisor);
            }
        }
    }

    #[test]
    fn lines_longer_than_what_is_held() {
        let bound = SHARD_LINE_BYTES;
        for len in [bound - 2, bound - 1, bound, bound + 1, 3 * bound + 5] {
            let line: Vec<u8> = (0..len).map(|at| b'a' + (at % 23) as u8).collect();
            for piece in [64 << 10, bound + 7] {
                let text = [&b"before\n"[..], &line, b"\nafter"].concat();
                let mut sharder = Sharder::new(100, Key::Line, false);
                let taken = divided(&text, piece, &mut sharder);
                let places: Vec<_> = taken.lines.iter().map(|(place, _)| *place).collect();
                assert_eq!(places, [&b"before"[..], &line, b"after"].map(|line| shard(line, 100)));
                assert!(taken.lines[1].1[..len] == line[..], "{len} {piece}");
                assert_eq!(sharder.count().lines, 3);
            }
            let mut sharder = Sharder::new(100, Key::Field("id".into()), false);
            let taken = divided(&line, 64 << 10, &mut sharder);
            assert_eq!(taken.lines.len(), 1);
            assert_eq!(taken.lines[0].0, Place::Unmatched);
            assert_eq!(sharder.count().too_long, u64::from(len >= bound), "{len}");
        }
    }

    #[test]
    fn what_is_no_json_has_no_shard() {
        let text = b"{\"a\": 1}\n\nno\n[1]\r\n{\"a\":1}";
        let mut sharder = Sharder::new(7, Key::Line, true);
        let taken = divided(text, 5, &mut sharder);
        let places: Vec<_> = taken.lines.iter().map(|(place, _)| *place).collect();
        let good = |line: &[u8]| shard(line, 7);
        let no = Place::Unmatched;
        assert_eq!(places, [good(b"{\"a\": 1}"), no, no, good(b"[1]\r"), good(b"{\"a\":1}")]);
        assert_eq!((sharder.count().lines, sharder.count().not_json), (5, 2));
    }

    #[test]
    fn an_input_that_is_left() {
        for (text, unfinished) in [(&b"one\ntw"[..], Some(&b"tw\n"[..])), (b"one\n", None)] {
            let mut sharder = Sharder::new(7, Key::Line, false);
            let mut taken = Taken::default();
            sharder.feed(text, &mut taken).unwrap();
            sharder.leave(&mut taken).unwrap();
            assert_eq!(sharder.count().lines, 1);
            let left = taken.lines.get(1).map(|(place, line)| (*place, &line[..]));
            assert_eq!(left, unfinished.map(|line| (Place::Unfinished, line)));
            assert!(!sharder.is_within_line());
        }
        // Of a line too long to be held.
        let mut sharder = Sharder::new(7, Key::Line, false);
        let mut taken = Taken::default();
        let long = vec![b'x'; SHARD_LINE_BYTES + 10];
        sharder.feed(&long, &mut taken).unwrap();
        sharder.leave(&mut taken).unwrap();
        assert_eq!(taken.lines.len(), 1);
        assert_eq!((taken.lines[0].0, taken.lines[0].1.len()), (Place::Unfinished, long.len() + 1));
    }
}
