//! Which shard an object belongs to.

use super::key::Unmatched;
use crate::content::murmur3::{Murmur3, murmur3_32};
use crate::pack::Content;
use std::io;
use windrow_model::limits::SHARD_KEY_BODY_BYTES;

/// What of an object decides its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Its name, as the source gave it.
    Name,
    /// Its body.
    Body,
    /// A field of the JSON object that its body is: see [`Key::Field`](super::Key::Field).
    Field(String),
}

/// Divides objects among shards: `murmur3_x86_32(key, seed 0) % shards`, equal to Python's
/// `mmh3.hash(key, signed=False) % shards`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// How many shards; at least one.
    pub shards: u32,
    /// What decides.
    pub by: By,
}

impl Division {
    /// The shard of an object.
    ///
    /// # Errors
    /// The outer one is the environment's: a body that cannot be read. The inner one says that the
    /// object has no key; a body of more than [`SHARD_KEY_BODY_BYTES`] is not searched for one.
    pub fn shard(&self, name: &[u8], body: &mut dyn Content) -> io::Result<Result<u32, Unmatched>> {
        let hash = match &self.by {
            By::Name => murmur3_32(name),
            By::Body => match body.bytes() {
                Some(body) => murmur3_32(body),
                None => {
                    let mut hash = Murmur3::default();
                    body.pieces(&mut |piece| {
                        hash.update(piece);
                        Ok(())
                    })?;
                    hash.hash()
                }
            },
            By::Field(field) => {
                let mut copy = Vec::new();
                if body.bytes().is_none() {
                    if body.len() > SHARD_KEY_BODY_BYTES {
                        return Ok(Err(Unmatched::TooLong));
                    }
                    body.pieces(&mut |piece| {
                        copy.extend_from_slice(piece);
                        Ok(())
                    })?;
                }
                match field_hash(field, body.bytes().unwrap_or(&copy)) {
                    Ok(hash) => hash,
                    Err(none) => return Ok(Err(none)),
                }
            }
        };
        Ok(Ok(hash % self.shards))
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Body => f.write_str("body"),
            Self::Field(field) => write!(f, "json:{field}"),
        }
    }
}

impl std::str::FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "name" => Ok(Self::Name),
            None if text == "body" => Ok(Self::Body),
            Some(("json", field)) if !field.is_empty() => Ok(Self::Field(field.to_owned())),
            _ => Err("`name`, `body` or `json:FIELD`, as in json:id".to_owned()),
        }
    }
}

fn field_hash(field: &str, body: &[u8]) -> Result<u32, Unmatched> {
    super::key::field(field, body).map(|key| murmur3_32(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(by: &str, name: &str, mut body: &[u8]) -> Result<u32, Unmatched> {
        let division = Division { shards: 1000, by: by.parse().unwrap() };
        division.shard(name.as_bytes(), &mut body).unwrap()
    }

    #[test]
    fn shards_are_those_of_mmh3() {
        // By mmh3 5.3 of Python.
        assert_eq!(shard("name", "abc", b""), Ok(0xB3DD_93FA % 1000));
        assert_eq!(shard("body", "", "grüße, 世界".as_bytes()), Ok(0xBAA0_048F % 1000));
        assert_eq!(shard("json:id", "", br#"{"id":"a"}"#), Ok(0x3C25_69B2 % 1000));
        assert_eq!(shard("json:id", "", b"{}"), Err(Unmatched::NoKey));
        assert_eq!(shard("json:id", "", b"id"), Err(Unmatched::NotJson));
    }

    #[test]
    fn what_decides_is_parsed() {
        for by in ["name", "body", "json:a:b"] {
            assert_eq!(by.parse::<By>().unwrap().to_string(), by);
        }
        for wrong in ["", "Name", "json", "json:", "column:1"] {
            assert!(wrong.parse::<By>().is_err(), "{wrong}");
        }
    }
}
