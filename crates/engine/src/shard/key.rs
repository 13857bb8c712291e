//! What of a line decides its shard.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;

/// What of a line decides its shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Key {
    /// The whole line, without its LF; a CR before that belongs to it.
    #[default]
    Line,
    /// One of the columns between delimiters, which cannot be quoted. The last one ends before a CR.
    Column {
        /// Which, from 1 on.
        number: NonZeroUsize,
        /// What stands between two columns.
        delimiter: u8,
    },
    /// A field of the JSON object that the line is. Of several of that name the last counts.
    ///
    /// A string counts without its quotes and escapes, as UTF-8; integers from -2^63 to 2^64 - 1,
    /// `true` and `false` as they are written. Anything else is no key: a fraction or a larger number
    /// can be written in many ways, and so can an object.
    Field(String),
}

/// Why a line has no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// No such column, no such field, or nothing in it that can be a key.
    NoKey,
    /// It is no JSON, and ought to be.
    NotJson,
    /// It is longer than [`SHARD_LINE_BYTES`](windrow_model::limits::SHARD_LINE_BYTES), and more than
    /// its hash was asked for.
    TooLong,
}

impl Key {
    /// The key of a line that is given without its LF.
    ///
    /// # Errors
    /// It has none.
    pub fn of<'l>(&self, line: &'l [u8]) -> Result<Cow<'l, [u8]>, Unmatched> {
        match self {
            Self::Line => Ok(Cow::Borrowed(line)),
            Self::Column { number, delimiter } => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                column(line, number.get(), *delimiter).map(Cow::Borrowed).ok_or(Unmatched::NoKey)
            }
            Self::Field(name) => field(name, line),
        }
    }
}

/// The key that a field of a JSON object is; see [`Key::Field`].
pub(super) fn field<'j>(name: &str, json: &'j [u8]) -> Result<Cow<'j, [u8]>, Unmatched> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = Field(name).deserialize(&mut reader).and_then(|found| {
        reader.end()?;
        Ok(found)
    });
    found.map_err(|_| Unmatched::NotJson)?.ok_or(Unmatched::NoKey)
}

/// Whether a line is one JSON value and nothing else.
pub(super) fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

fn column(line: &[u8], number: usize, delimiter: u8) -> Option<&[u8]> {
    let mut start = 0;
    let mut left = number - 1;
    for at in memchr::memchr_iter(delimiter, line) {
        if left == 0 {
            return Some(&line[start..at]);
        }
        start = at + 1;
        left -= 1;
    }
    (left == 0).then(|| &line[start..])
}

type Found<'de> = Option<Cow<'de, [u8]>>;

/// Finds a field of an object; all of the value is read, and none of it kept but that.
struct Field<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Found<'de>, D::Error> {
        reader.deserialize_any(self)
    }
}

/// Nothing that is no object has fields.
macro_rules! no_fields {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(None)
        })*
    };
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    no_fields!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(Is(self.0))? {
            if wanted {
                found = map.next_value_seed(Scalar)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a name without copying it.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// The value of the field, where it can be a key.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Found<'de>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Found<'de>, E> {
        Ok(Some(Cow::Borrowed(text.as_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found<'de>, E> {
        Ok(Some(Cow::Owned(text.as_bytes().to_vec())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Found<'de>, E> {
        Ok(Some(Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Found<'de>, E> {
        Ok(Some(Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Found<'de>, E> {
        Ok(Some(Cow::Borrowed(if value { b"true" } else { b"false" })))
    }

    no_fields!(visit_f64: f64);

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(line: &str) -> Result<String, Unmatched> {
        let key = Key::Field("id".into());
        key.of(line.as_bytes()).map(|key| String::from_utf8(key.into_owned()).unwrap())
    }

    #[test]
    fn fields_of_json() {
        for (line, key) in [
            (r#"{"id":"x"}"#, "x"),
            (r#" { "a" : [1,{"id":"no"}] , "id" : "x\n\u00e9\"" } "#, "x\né\""),
            (r#"{"\u0069d":"escaped name"}"#, "escaped name"),
            (r#"{"id":"first","id":"last"}"#, "last"),
            (r#"{"id":""}"#, ""),
            (r#"{"id":18446744073709551615}"#, "18446744073709551615"),
            (r#"{"id":-5}"#, "-5"),
            (r#"{"id":true}"#, "true"),
        ] {
            assert_eq!(field(line).as_deref(), Ok(key), "{line}");
        }
        for line in [
            r#"{"ID":"x"}"#,
            r#"{"id":null}"#,
            r#"{"id":1.5}"#,
            r#"{"id":18446744073709551616}"#,
            r#"{"id":[1]}"#,
            r#"{"id":{"id":1}}"#,
            r#"{"id":"x","id":null}"#,
            r#"["id"]"#,
            "\"id\"",
            "7",
            "null",
        ] {
            assert_eq!(field(line), Err(Unmatched::NoKey), "{line}");
        }
        for line in ["", "id", r#"{"id":"x"} 1"#, r#"{"id":"x""#, r#"{"id":"\ud800"}"#, "{'id':1}"]
        {
            assert_eq!(field(line), Err(Unmatched::NotJson), "{line}");
        }
    }

    #[test]
    fn columns() {
        let column = |number, line: &'static str| {
            let number = NonZeroUsize::new(number).unwrap();
            Key::Column { number, delimiter: b',' }.of(line.as_bytes()).map(Cow::into_owned)
        };
        for (number, line, key) in [
            (1, "a,b,c", "a"),
            (2, "a,b,c", "b"),
            (3, "a,b,c", "c"),
            (3, "a,b,c\r", "c"),
            (1, "", ""),
            (2, "a,", ""),
            (1, "\r", ""),
            (2, "\"a,b\"", "b\""),
        ] {
            assert_eq!(column(number, line).as_deref(), Ok(key.as_bytes()), "{line}");
        }
        for (number, line) in [(2, ""), (2, "a"), (4, "a,b,c"), (usize::MAX, "a,b")] {
            assert_eq!(column(number, line), Err(Unmatched::NoKey), "{line}");
        }
    }

    #[test]
    fn the_line_itself_keeps_its_cr() {
        assert_eq!(Key::Line.of(b"a\r").as_deref(), Ok(&b"a\r"[..]));
    }
}
