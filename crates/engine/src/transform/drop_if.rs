//! `drop-if=CONDITION`: what is not wanted is skipped.

use super::image::sides;
use super::spec::Spec;
use super::{Object, Outcome};
use crate::glob::Glob;
use std::fmt;
use windrow_model::Error;

/// One condition.
#[derive(Debug, Clone)]
pub(super) enum DropIf {
    /// A number of the object against another.
    Number(Number, Compare, u64),
    /// A text of the object against a pattern.
    Text { text: Text, not: bool, pattern: String, glob: Glob },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Size,
    Width,
    Height,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Less,
    LessOrEqual,
    Equal,
    MoreOrEqual,
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Name,
    Type,
}

const HINT: &str = "write empty, size<N, size<=N, size>N, size>=N, size=N (also width, height; N may end \
    in K, M, G), name=GLOB, name!=GLOB, type=GLOB or type!=GLOB";

impl DropIf {
    pub(super) fn read(spec: &Spec<'_>) -> Result<Self, Error> {
        spec.no_options()?;
        let condition = spec.argument.unwrap_or_default();
        if condition == "empty" {
            return Ok(Self::Number(Number::Size, Compare::Equal, 0));
        }
        let bad = || spec.bad("is no condition").hint(HINT);
        let end = condition.find(['<', '>', '=', '!', '~']).ok_or_else(bad)?;
        let (left, rest) = condition.split_at(end);
        let number = match left {
            "size" => Number::Size,
            "width" => Number::Width,
            "height" => Number::Height,
            _ => {
                let text = match left {
                    "name" => Text::Name,
                    "type" => Text::Type,
                    _ => return Err(bad()),
                };
                // `~` is what other tools call a match; it is taken for `=`.
                let (not, pattern) = match rest.strip_prefix('!') {
                    Some(rest) => (true, rest),
                    None => (false, rest),
                };
                let pattern = pattern.strip_prefix(['=', '~']).ok_or_else(bad)?.to_owned();
                let glob = Glob::new(pattern.as_bytes())
                    .ok_or_else(|| spec.bad("has a pattern with a [ without a ]"))?;
                return Ok(Self::Text { text, not, pattern, glob });
            }
        };
        let signs = [
            ("<=", Compare::LessOrEqual),
            (">=", Compare::MoreOrEqual),
            ("<", Compare::Less),
            (">", Compare::More),
            ("=", Compare::Equal),
        ];
        let found = signs.iter().find_map(|(sign, c)| Some((rest.strip_prefix(sign)?, *c)));
        let (value, compare) = found.ok_or_else(bad)?;
        let value = quantity(value).ok_or_else(bad)?;
        Ok(Self::Number(number, compare, value))
    }

    pub(super) fn apply(&self, object: Object) -> Outcome {
        if self.holds(&object) { Outcome::Drop } else { Outcome::Keep(object) }
    }

    fn holds(&self, object: &Object) -> bool {
        match self {
            Self::Number(number, compare, value) => {
                let number = match number {
                    Number::Size => Some(object.body.len() as u64),
                    Number::Width => sides(&object.body).map(|(width, _)| u64::from(width)),
                    Number::Height => sides(&object.body).map(|(_, height)| u64::from(height)),
                };
                // What is no image has no width, and no condition on it holds.
                number.is_some_and(|number| compare.holds(number, *value))
            }
            Self::Text { text: Text::Name, not, glob, .. } => glob.matches(&object.name) != *not,
            Self::Text { text: Text::Type, not, glob, .. } => {
                let media = object.content_type.as_deref().unwrap_or_default();
                let media = media.split(';').next().unwrap_or_default().trim();
                glob.matches(media.to_ascii_lowercase().as_bytes()) != *not
            }
        }
    }
}

impl Compare {
    fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Equal => left == right,
            Self::MoreOrEqual => left >= right,
            Self::More => left > right,
        }
    }
}

/// A number with `K`, `M`, `G` (1024 each) behind it, or without.
fn quantity(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl fmt::Display for DropIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number, compare, value) => {
                let number = match number {
                    Number::Size => "size",
                    Number::Width => "width",
                    Number::Height => "height",
                };
                let compare = match compare {
                    Compare::Less => "<",
                    Compare::LessOrEqual => "<=",
                    Compare::Equal => "=",
                    Compare::MoreOrEqual => ">=",
                    Compare::More => ">",
                };
                write!(f, "drop-if={number}{compare}{value}")
            }
            Self::Text { text, not, pattern, .. } => {
                let text = if *text == Text::Name { "name" } else { "type" };
                let sign = if *not { "!=" } else { "=" };
                write!(f, "drop-if={text}{sign}{pattern}")
            }
        }
    }
}
