//! A JSON object a line.
//!
//! Which of its keys is the URL is decided anew for each line, by the rule of the columns of a table;
//! so a list can be entered anywhere. Where a key stands twice the last one counts. A line that has
//! `name`, `url`, `class` and `ordinal` is one of the `failures.jsonl` of an earlier run: its name is
//! `name_encoded`, percent-decoded, or else `name`.

use super::columns::{missing, url_rank};
use super::page::{Name, Page, Row, Size};
use super::text::{Ahead, Text};
use super::{ListSpec, TextRows, txt};
use serde::de::{Deserialize, DeserializeSeed};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use windrow_model::{Error, percent};

/// Lines of a text.
#[derive(Debug)]
pub(super) struct Jsonl {
    text: Text,
    keys: Keys,
}

/// What the user calls the columns.
#[derive(Debug)]
struct Keys {
    url: Option<String>,
    name: Option<String>,
    size: Option<String>,
    digest: Option<String>,
}

/// What of an object is read.
#[derive(Debug, Default)]
struct Object<'l> {
    /// The best key so far and its value.
    url: Option<(usize, Value<'l>)>,
    /// The value of the first key.
    only: Option<Value<'l>>,
    count: usize,
    name: Option<Value<'l>>,
    size: Option<Value<'l>>,
    digest: Option<Value<'l>>,
    /// Of a failed object.
    failed_name: Option<Value<'l>>,
    failed_encoded: Option<Value<'l>>,
    class: bool,
    ordinal: bool,
}

/// A value, as far as one matters.
#[derive(Debug, Clone)]
enum Value<'l> {
    Text(Cow<'l, str>),
    Number(u64),
    Null,
    Other,
}

impl Object<'_> {
    /// Whether it is a line of `failures.jsonl`.
    fn is_failed(&self) -> bool {
        self.class && self.ordinal && self.failed_name.is_some()
    }
}

impl Value<'_> {
    fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

impl Jsonl {
    /// Looks at the first line: an object without a URL is a mistake of the command line rather than
    /// of the list.
    pub(super) fn open(mut text: Text, shown: &str, spec: &ListSpec) -> Result<Self, Error> {
        let keys = Keys {
            url: spec.url_col.clone(),
            name: spec.name_col.clone(),
            size: spec.size_col.clone(),
            digest: spec.verify_col.as_ref().map(|(column, _)| column.clone()),
        };
        if txt::skip(&mut text, is_blank)?
            && let Ahead::Line(len) = text.ahead()?
        {
            let line = &text.window()[..len];
            // Of what failed earlier, a line that named no object has no URL.
            if let Ok(object) = keys.parse(line)
                && !object.is_failed()
            {
                let wanted = [
                    (object.url.is_none(), keys.url.as_deref().unwrap_or("url")),
                    (object.name.is_none(), keys.name.as_deref().unwrap_or_default()),
                ];
                for (missed, key) in wanted {
                    if missed && !key.is_empty() {
                        let names = names(line);
                        return Err(missing(shown, &format!("`{key}`"), &names)
                            .hint("name the columns with --url-col and --name-col"));
                    }
                }
            }
        }
        Ok(Self { text, keys })
    }
}

/// The keys of an object, for a message.
fn names(line: &[u8]) -> Vec<String> {
    let object: Result<std::collections::BTreeMap<String, IgnoredAny>, _> =
        serde_json::from_slice(line);
    object.map(|object| object.into_keys().collect()).unwrap_or_default()
}

impl Keys {
    fn parse<'l>(&self, line: &'l [u8]) -> Result<Object<'l>, &'static str> {
        let mut reader = serde_json::Deserializer::from_slice(line);
        let object = reader.deserialize_map(self).and_then(|object| {
            reader.end()?;
            Ok(object)
        });
        let mut object = object.map_err(|_| match std::str::from_utf8(line) {
            Ok(_) => "not a JSON object",
            Err(_) => "not UTF-8",
        })?;
        if self.url.is_none() && object.url.is_none() && object.count == 1 {
            object.url = object.only.take().map(|only| (0, only));
        }
        Ok(object)
    }

    fn push(&self, line: u64, bytes: &[u8], page: &mut Page) {
        match self.parse(bytes) {
            Ok(object) => self.push_object(line, &object, page),
            Err(why) => page.malformed(line, why),
        }
    }

    fn push_object(&self, line: u64, object: &Object<'_>, page: &mut Page) {
        let decoded;
        let name = if self.name.is_some() {
            Name::Column(object.name.as_ref().and_then(Value::text))
        } else if object.is_failed() {
            match object.failed_encoded.as_ref().and_then(Value::text) {
                None => match object.failed_name.as_ref().and_then(Value::text) {
                    None => Name::ByRule,
                    Some(name) => Name::Failed(name),
                },
                Some(encoded) => match percent::decode(encoded) {
                    None => return page.malformed(line, "an odd name_encoded"),
                    Some(name) => {
                        decoded = name;
                        Name::Failed(&decoded)
                    }
                },
            }
        } else {
            Name::ByRule
        };
        let url = match &object.url {
            None => Err("no URL"),
            Some((_, url)) => url.text().ok_or("the URL is no text"),
        };
        let size = match &object.size {
            None | Some(Value::Null) => Size::Unsaid,
            Some(Value::Number(size)) => Size::Number(*size),
            Some(Value::Text(text)) => Size::Text(text.as_bytes()),
            Some(Value::Other) => Size::Odd,
        };
        let digest = match &object.digest {
            None | Some(Value::Null) => None,
            // What is no text is no checksum, and is to be said so.
            Some(value) => Some(value.text().unwrap_or(b"?")),
        };
        page.push(line, &Row { url, name, size, digest });
    }
}

impl TextRows for Jsonl {
    fn text(&self) -> &Text {
        &self.text
    }

    fn text_mut(&mut self) -> &mut Text {
        &mut self.text
    }

    fn is_none(line: &[u8]) -> bool {
        is_blank(line)
    }

    fn read(&mut self, page: &mut Page) -> Result<bool, Error> {
        let text = &mut self.text;
        while !page.is_full() {
            if !page.is_empty() && text.would_wait() {
                return Ok(true);
            }
            match text.ahead()? {
                Ahead::End => return Ok(false),
                Ahead::Line(len) => {
                    let line = &text.window()[..len];
                    if !is_blank(line) && page.wants_next() {
                        self.keys.push(text.lines() + 1, line, page);
                    }
                    page.take(len);
                    text.consume(len, 1);
                }
                Ahead::Long => {
                    if page.wants_next() {
                        page.malformed(text.lines() + 1, super::LONG);
                    }
                    text.skip_line()?;
                }
            }
        }
        Ok(true)
    }
}

/// What a key is.
#[derive(Debug, Default, Clone, Copy)]
struct Key {
    /// How well it stands for the URL: the less the better.
    url: Option<usize>,
    name: bool,
    size: bool,
    digest: bool,
    failed: Failed,
}

/// What a key is in a line of `failures.jsonl`.
#[derive(Debug, Default, Clone, Copy)]
enum Failed {
    #[default]
    Nothing,
    Name,
    Encoded,
    Class,
    Ordinal,
}

impl Keys {
    fn key(&self, key: &str) -> Key {
        let is = |wanted: &Option<String>| wanted.as_deref() == Some(key);
        Key {
            url: match &self.url {
                None => url_rank(key),
                Some(wanted) if wanted == key => Some(0),
                Some(wanted) => wanted.eq_ignore_ascii_case(key).then_some(1),
            },
            name: is(&self.name),
            size: is(&self.size),
            digest: is(&self.digest),
            failed: match key {
                "name" => Failed::Name,
                "name_encoded" => Failed::Encoded,
                "class" => Failed::Class,
                "ordinal" => Failed::Ordinal,
                _ => Failed::Nothing,
            },
        }
    }
}

/// Reads a key without copying it.
struct KeySeed<'k>(&'k Keys);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Key, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(self.0.key(key))
    }
}

impl<'de> Visitor<'de> for &Keys {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key_seed(KeySeed(self))? {
            object.count += 1;
            let failed = match key.failed {
                Failed::Nothing => None,
                Failed::Name => Some(&mut object.failed_name),
                Failed::Encoded => Some(&mut object.failed_encoded),
                Failed::Class => {
                    object.class = true;
                    None
                }
                Failed::Ordinal => {
                    object.ordinal = true;
                    None
                }
            };
            let wanted = key.url.is_some() || key.name || key.size || key.digest;
            if !wanted && failed.is_none() && object.count > 1 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Value<'de> = map.next_value()?;
            if let Some(failed) = failed {
                *failed = Some(value.clone());
            }
            if let Some(rank) = key.url
                && object.url.as_ref().is_none_or(|(best, _)| rank <= *best)
            {
                object.url = Some((rank, value.clone()));
            }
            for (is, slot) in [
                (key.name, &mut object.name),
                (key.size, &mut object.size),
                (key.digest, &mut object.digest),
            ] {
                if is {
                    *slot = Some(value.clone());
                }
            }
            if object.count == 1 {
                object.only = Some(value);
            }
        }
        Ok(object)
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}
