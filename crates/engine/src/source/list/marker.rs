//! Where a list can be entered again, as text.

use std::fmt;

/// A place before an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Index of the file.
    pub file: usize,
    /// Bytes of its text before the place, decompressed; rows of a parquet file.
    pub offset: u64,
    /// Lines (or rows) of the file before the place.
    pub lines: u64,
    /// Objects of the list before the place.
    pub position: u64,
}

impl Mark {
    /// Reads what [`Mark`]'s `Display` wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("l1:")?.split(':');
        let mut number = || {
            let digits = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse::<u64>().ok()
        };
        let mark = Mark {
            file: usize::try_from(number()?).ok()?,
            offset: number()?,
            lines: number()?,
            position: number()?,
        };
        parts.next().is_none().then_some(mark)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "l1:{}:{}:{}:{}", self.file, self.offset, self.lines, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let mark = Mark { file: 3, offset: u64::MAX, lines: 7, position: 0 };
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        for text in ["", "l1:", "l1:1:2:3", "l1:1:2:3:4:5", "l1:1:2:3:+4", "l1:1:2:3:", "1:2:3:4"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }
}
