//! Where a JSON value (RFC 8259) ends, in pieces of any size and without memory for its levels.
//!
//! Stricter than the grammar in three points. So that what passes is read by every parser: at most
//! [`JSON_DEPTH`] levels, and no half of a surrogate pair (RFC 8259 section 8.2). So that white space
//! in front can be held: at most [`LEAD_BYTES`] of it. That it is UTF-8 is for others to see to.

use super::text::plain;
use windrow_model::limits::JSON_DEPTH;

/// Bytes of white space in front of a value, at most.
pub(super) const LEAD_BYTES: usize = 4096;

/// Bytes of a number, at most, where only such are taken that every parser reads.
const NUMBER_BYTES: u32 = 32;

/// Digits of its exponent, at most.
const EXPONENT_DIGITS: u32 = 2;

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    /// A value is complete.
    Behind,
    Text,
    Escape,
    /// So many hexadecimal digits of an escape are there.
    Hex(u8, u16),
    /// The first half of a pair is there; `\`, then `u`.
    Pair,
    PairU,
    Word(&'static [u8]),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// Follows one value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner {
    state: State,
    /// One bit for each level: whether it is an object.
    kinds: u128,
    depth: u32,
    /// The string under way is a key.
    key: bool,
    /// The first half of a pair was there.
    high: bool,
    /// The value is a string.
    text: bool,
    /// Line breaks are white space.
    breaks: bool,
    /// Bytes of white space in front.
    lead: usize,
    /// Numbers have to be within what a double holds.
    modest: bool,
    /// Bytes of the number under way, and digits of its exponent behind the first.
    digits: u32,
    exponent: u32,
}

impl Scanner {
    /// With `breaks`, CR and LF are white space; else they stand nowhere.
    pub(super) fn new(breaks: bool) -> Self {
        Self {
            state: State::Value,
            kinds: 0,
            depth: 0,
            key: false,
            high: false,
            text: false,
            breaks,
            lead: 0,
            modest: false,
            digits: 0,
            exponent: 0,
        }
    }

    /// The same, for values that every parser shall read: without numbers that may be more than a
    /// double holds, which some refuse. They have at most [`NUMBER_BYTES`] bytes, and
    /// [`EXPONENT_DIGITS`] in their exponent.
    pub(super) fn modest(self) -> Self {
        Self { modest: true, ..self }
    }

    /// Whether a whole value was there; of a number, that it may end here.
    pub(super) fn is_whole(&self) -> bool {
        use State::{Behind, ExponentDigits, Fraction, Integer, Zero};
        let ends = matches!(self.state, Behind | Zero | Integer | Fraction | ExponentDigits);
        self.depth == 0 && ends
    }

    /// Whether the value, not one within it, is a string.
    pub(super) fn is_text(&self) -> bool {
        self.text
    }

    /// Takes bytes as long as they belong to the value or are white space around it; gives how many.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.state == State::Text {
                let run = plain(&bytes[at..]);
                if run > 0 {
                    at += run;
                    continue;
                }
            }
            match self.step(byte) {
                Some(state) => self.state = state,
                None => return at,
            }
            at += 1;
        }
        at
    }

    fn step(&mut self, byte: u8) -> Option<State> {
        match self.state {
            State::Value | State::ValueOrEnd => match byte {
                _ if self.is_space(byte) => {
                    self.lead += usize::from(self.depth == 0);
                    (self.lead <= LEAD_BYTES).then_some(self.state)
                }
                b']' if self.state == State::ValueOrEnd => self.close(false),
                _ => self.begin(byte),
            },
            State::Key | State::KeyOrEnd => match byte {
                _ if self.is_space(byte) => Some(self.state),
                b'"' => {
                    self.key = true;
                    Some(State::Text)
                }
                b'}' if self.state == State::KeyOrEnd => self.close(true),
                _ => None,
            },
            State::Colon => match byte {
                _ if self.is_space(byte) => Some(State::Colon),
                b':' => Some(State::Value),
                _ => None,
            },
            State::Behind => self.behind(byte),
            State::Text => match byte {
                b'"' if std::mem::take(&mut self.key) => Some(State::Colon),
                b'"' => Some(State::Behind),
                b'\\' => Some(State::Escape),
                _ => None,
            },
            State::Escape => match byte {
                b'u' => Some(State::Hex(0, 0)),
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(State::Text),
                _ => None,
            },
            State::Hex(count, value) => self.hex(count, value, byte),
            State::Pair => (byte == b'\\').then_some(State::PairU),
            State::PairU => (byte == b'u').then_some(State::Hex(0, 0)),
            State::Word(rest) => match rest {
                [next] if *next == byte => Some(State::Behind),
                [next, rest @ ..] if *next == byte => Some(State::Word(rest)),
                _ => None,
            },
            _ => self.number(byte),
        }
    }

    fn begin(&mut self, byte: u8) -> Option<State> {
        (self.digits, self.exponent) = (1, 0);
        match byte {
            b'"' => {
                self.text |= self.depth == 0;
                Some(State::Text)
            }
            b'{' | b'[' => {
                if self.depth == JSON_DEPTH {
                    return None;
                }
                self.depth += 1;
                let object = byte == b'{';
                self.kinds = self.kinds << 1 | u128::from(object);
                Some(if object { State::KeyOrEnd } else { State::ValueOrEnd })
            }
            b't' => Some(State::Word(b"rue")),
            b'f' => Some(State::Word(b"alse")),
            b'n' => Some(State::Word(b"ull")),
            b'-' => Some(State::Minus),
            b'0' => Some(State::Zero),
            b'1'..=b'9' => Some(State::Integer),
            _ => None,
        }
    }

    fn behind(&mut self, byte: u8) -> Option<State> {
        let object = self.kinds & 1 == 1;
        match byte {
            _ if self.is_space(byte) => Some(State::Behind),
            _ if self.depth == 0 => None,
            b',' => Some(if object { State::Key } else { State::Value }),
            b'}' => self.close(true),
            b']' => self.close(false),
            _ => None,
        }
    }

    fn close(&mut self, object: bool) -> Option<State> {
        if self.depth == 0 || (self.kinds & 1 == 1) != object {
            return None;
        }
        self.depth -= 1;
        self.kinds >>= 1;
        Some(State::Behind)
    }

    fn hex(&mut self, count: u8, value: u16, byte: u8) -> Option<State> {
        let value = value << 4 | char::from(byte).to_digit(16)? as u16;
        if count < 3 {
            return Some(State::Hex(count + 1, value));
        }
        match value {
            0xDC00..=0xDFFF => std::mem::take(&mut self.high).then_some(State::Text),
            _ if self.high => None,
            0xD800..=0xDBFF => {
                self.high = true;
                Some(State::Pair)
            }
            _ => Some(State::Text),
        }
    }

    fn number(&mut self, byte: u8) -> Option<State> {
        use State::*;
        let state = match (self.state, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Integer, b'0'..=b'9') => Integer,
            (Zero | Integer, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Integer | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign, b'0'..=b'9') => ExponentDigits,
            (ExponentDigits, b'0'..=b'9') => {
                self.exponent = self.exponent.saturating_add(1);
                ExponentDigits
            }
            (Zero | Integer | Fraction | ExponentDigits, _) => return self.behind(byte),
            _ => return None,
        };
        self.digits = self.digits.saturating_add(1);
        let modest = self.digits <= NUMBER_BYTES && self.exponent < EXPONENT_DIGITS;
        (modest || !self.modest).then_some(state)
    }

    fn is_space(&self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t') || (self.breaks && matches!(byte, b'\n' | b'\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_json(bytes: &[u8], step: usize) -> bool {
        let mut scanner = Scanner::new(true);
        bytes.chunks(step).all(|piece| scanner.take(piece) == piece.len()) && scanner.is_whole()
    }

    /// Values, and texts near to values.
    fn near_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<f64>().prop_map(|n| serde_json::json!(n).to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
            "[-0-9.eE+]{1,6}",
            "\"(\\\\[u\"/bfnrtx]|[a-f0-9]|\\\\ud83d|\\\\ude00){0,6}\"",
        ];
        let value = leaf.prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|all| format!("[ {}\n]", all.join(" ,"))),
                prop::collection::vec(("[a-z]{0,3}", inner), 0..4).prop_map(|all| {
                    let all: Vec<_> = all.iter().map(|(k, v)| format!("\"{k}\":\t{v}")).collect();
                    format!("{{{}}}", all.join(",\r\n"))
                }),
            ]
        });
        (value, any::<prop::sample::Index>(), prop::option::weighted(0.4, "[\\[\\]{},:\" 0a]?"))
            .prop_map(|(mut text, at, odd)| {
                let at = at.index(text.len());
                if let Some(odd) = odd.filter(|_| text.is_char_boundary(at)) {
                    text.replace_range(
                        at..at + text[at..].chars().next().unwrap().len_utf8(),
                        &odd,
                    );
                }
                text
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// `serde_json` reads numbers into floats and refuses those that are too large; as raw
        /// text it reads what the grammar allows.
        #[test]
        fn agrees_with_serde(text in near_json(), step in 1..40_usize) {
            let serde = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            let strict = serde_json::from_str::<serde_json::Value>(&text);
            let ours = is_json(text.as_bytes(), step);
            // What is ours is serde's; what serde reads into a value is ours.
            prop_assert!(!ours || serde, "{text:?}");
            prop_assert!(ours || strict.is_err(), "{text:?}");
            let mut modest = Scanner::new(true).modest();
            let inlined = modest.take(text.as_bytes()) == text.len() && modest.is_whole();
            prop_assert!(!inlined || (ours && strict.is_ok()), "{text:?}");
        }
    }

    #[test]
    fn levels_and_halves() {
        let depth = JSON_DEPTH as usize;
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_json(nested(depth).as_bytes(), 7));
        assert!(!is_json(nested(depth + 1).as_bytes(), 7));
        assert!(is_json(br#""\ud83d\ude00""#, 1));
        for half in
            [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\n""#, r#""\ud83d\u0041""#]
        {
            assert!(!is_json(half.as_bytes(), 3), "{half}");
        }
        for none in
            ["", " ", "01", "1.", "-", "1e", "nul", "nulll", "1 2", "{}{}", "[1,]", "{,}", "]"]
        {
            assert!(!is_json(none.as_bytes(), 3), "{none}");
        }
    }
}
