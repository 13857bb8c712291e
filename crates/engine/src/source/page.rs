//! One page of a listing: JSON whose field names are the user's choice.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use windrow_model::task::Names;

/// What a page held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The names, if their field was there.
    pub names: Option<Names>,
    /// The marker of the next page, if there is one.
    pub marker: Option<String>,
}

/// Which fields to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'f> {
    pub names: &'f str,
    pub markers: &'f [String],
}

impl Fields<'_> {
    /// Reads a page; names go straight into one buffer.
    ///
    /// Names may be any bytes, though JSON is UTF-8: file systems have names that are not, and
    /// servers list them as they are, or with half a surrogate pair (U+DCFF for 0xFF). One such
    /// name is no reason to do without all others.
    ///
    /// # Errors
    /// What serde_json says of JSON that is none, or not of this shape.
    pub(super) fn read(self, body: &[u8]) -> Result<Page, serde_json::Error> {
        let read = |text| {
            let mut json = serde_json::Deserializer::from_slice(body);
            let page = Reader { fields: self, text }.deserialize(&mut json)?;
            json.end()?;
            Ok(page)
        };
        read(true).or_else(|error| match read(false) {
            // Read as bytes, strings may hold what JSON forbids in them.
            Ok(page) if !has_raw_control(body) => Ok(page),
            _ => Err(error),
        })
    }
}

/// Whether a string of this JSON, which can be read otherwise, holds a control character that is
/// not escaped (RFC 8259 section 7).
fn has_raw_control(json: &[u8]) -> bool {
    let (mut inside, mut escaped) = (false, false);
    json.iter().any(|&byte| {
        let plain = !std::mem::take(&mut escaped);
        match byte {
            b'"' if plain => inside = !inside,
            b'\\' if plain => escaped = inside,
            _ => {}
        }
        inside && byte < b' '
    })
}

/// Reads a page, its names as text or as bytes.
struct Reader<'f> {
    fields: Fields<'f>,
    text: bool,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Page;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Page, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the names in `{}`", self.fields.names)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Page, M::Error> {
        let mut page = Page::default();
        while let Some(field) = map.next_key_seed(Text)? {
            if field == self.fields.names {
                if page.names.is_some() {
                    return Err(M::Error::custom(format_args!("`{field}` is there twice")));
                }
                page.names = Some(map.next_value_seed(NameList { text: self.text })?);
            } else if self.fields.markers.iter().any(|marker| field == *marker) {
                let marker = map.next_value_seed(Marker)?;
                if page.marker.is_some() && page.marker != marker {
                    return Err(M::Error::custom("two different markers"));
                }
                page.marker = marker;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(page)
    }
}

/// A field's name.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(text.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned().into())
    }
}

/// The array of names; `null` stands for none.
struct NameList {
    text: bool,
}

impl<'de> DeserializeSeed<'de> for NameList {
    type Value = Names;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Names, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NameList {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of names")
    }

    fn visit_unit<E>(self) -> Result<Names, E> {
        Ok(Names::default())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Names, S::Error> {
        let mut names = Names::default();
        let text = self.text;
        while seq.next_element_seed(Append { names: &mut names, text })?.is_some() {}
        Ok(names)
    }
}

/// One name, appended without a string of its own.
struct Append<'n> {
    names: &'n mut Names,
    text: bool,
}

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.text {
            true => json.deserialize_str(self),
            false => json.deserialize_bytes(self),
        }
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        self.visit_bytes(name.as_bytes())
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<(), E> {
        self.names.push(name).map_err(|_| E::custom("a page of more than 4 GiB"))
    }
}

/// A marker: text or a number; `null` and the empty text say that there is no next page.
struct Marker;

impl<'de> DeserializeSeed<'de> for Marker {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Marker {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a marker (text, a number or null)")
    }

    fn visit_str<E>(self, marker: &str) -> Result<Self::Value, E> {
        Ok((!marker.is_empty()).then(|| marker.to_owned()))
    }

    fn visit_u64<E>(self, marker: u64) -> Result<Self::Value, E> {
        Ok(Some(marker.to_string()))
    }

    fn visit_i64<E>(self, marker: i64) -> Result<Self::Value, E> {
        Ok(Some(marker.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<(Option<Vec<String>>, Option<String>), String> {
        let markers = ["NextMarker".to_owned(), "NextFile".to_owned()];
        let page = Fields { names: "FileNames", markers: &markers }
            .read(json.as_bytes())
            .map_err(|error| error.to_string())?;
        let names = page.names.map(|names| {
            names.iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
        });
        Ok((names, page.marker))
    }

    #[test]
    fn reads_the_pages_of_the_story() {
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        for (json, expected) in [
            (r#"{"FileNames": ["a", "b"], "NextMarker": "t"}"#, (names(&["a", "b"]), Some("t"))),
            (r#"{"NextFile": "t", "FileNames": []}"#, (names(&[]), Some("t"))),
            (r#"{"FileNames": ["a"]}"#, (names(&["a"]), None)),
            (r#"{"FileNames": null, "NextMarker": null}"#, (names(&[]), None)),
            (r#"{"FileNames": ["x"], "NextMarker": ""}"#, (names(&["x"]), None)),
            (r#"{"FileNames": ["x"], "NextMarker": 17}"#, (names(&["x"]), Some("17"))),
            (
                r#"{"File\u004eames": ["\u00fc\n\"\\"], "Z": {"FileNames": 3}}"#,
                (names(&["ü\n\"\\"]), None),
            ),
            (r#"{"NextMarker": "t", "NextFile": "t", "FileNames": []}"#, (names(&[]), Some("t"))),
            ("{}", (None, None)),
        ] {
            let expected = (expected.0, expected.1.map(str::to_owned));
            assert_eq!(read(json), Ok(expected), "{json}");
        }
    }

    fn read_bytes(json: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let page = Fields { names: "FileNames", markers: &["NextMarker".to_owned()] };
        let page = page.read(json).map_err(|error| error.to_string())?;
        Ok(page.names.unwrap().iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn names_may_be_any_bytes() {
        for (json, name) in [
            (&br#"["\ud800"]"#[..], &b"\xED\xA0\x80"[..]),
            (br#"["\udcff\n"]"#, b"\xED\xB3\xBF\n"),
            (br#"["\ud83d\ude00"]"#, "\u{1F600}".as_bytes()),
            (b"[\"\xFF\"]", b"\xFF"),
            (b"[\"a\xC0\xAFb\"]", b"a\xC0\xAFb"),
            (b"[\"\xFF\\u0001\\\"\"]", b"\xFF\x01\""),
        ] {
            let page = [b"{\"x\": \"\xFF\", \n\"FileNames\": ", json, b"}"].concat();
            assert_eq!(read_bytes(&page), Ok(vec![name.to_vec()]), "{}", json.escape_ascii());
        }
        // All else that JSON forbids stays forbidden beside them.
        for json in [
            &b"{\"FileNames\": [\"\xFF\", \"\x01\"]}"[..],
            b"{\"FileNames\": [\"\xFF\\n\n\"]}",
            b"{\"FileNames\": [\"\xFF\"], \"x\": \"\t\"}",
            b"{\"FileNames\": [\"\xFF\\x\"]}",
            b"{\"FileNames\": [\"\xFF\"], \"NextMarker\": \"\xFF\"}",
            b"{\"FileNames\": [\"\xFF\"]} \"",
            b"{\"FileNames\": [[255]]}",
            b"{\"FileNames\": [\"\xFF\"",
        ] {
            assert!(read_bytes(json).is_err(), "{}", json.escape_ascii());
        }
    }

    #[test]
    fn refuses_what_is_no_page() {
        let deep = format!(r#"{{"x": {}"#, "[".repeat(100_000));
        for json in [
            "",
            "null",
            "[]",
            "<html>",
            "{",
            r#"{"FileNames": "a"}"#,
            r#"{"FileNames": [1]}"#,
            r#"{"FileNames": [["a"]]}"#,
            r#"{"FileNames": []} trailing"#,
            r#"{"FileNames": ["a"], "FileNames": ["b"]}"#,
            r#"{"FileNames": [], "NextMarker": {"a": 1}}"#,
            r#"{"FileNames": [], "NextMarker": "a", "NextFile": "b"}"#,
            "{\"FileNames\": [\"\u{1}\"]}",
            &deep,
        ] {
            assert!(read(json).is_err(), "{json:.60}");
        }
    }
}
