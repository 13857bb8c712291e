//! Objects become members.

use super::{ENDING, header, meta};
use crate::pack::{Content, Encode, Out, Record};
use std::io;
use windrow_model::name;

/// Bodies up to this size are put behind their header first, in bytes.
const SMALL: usize = 4 << 10;

/// Writes objects as members of a tar file. An object's place is the offset of its header, and it
/// is complete with its last block; a [`crate::pack::Meta`] becomes a second member behind it.
#[derive(Debug, Default)]
pub struct TarEncode {
    path: Vec<u8>,
    head: Vec<u8>,
    /// The object before, by [`meta::sample`], where something was said of it.
    before: Vec<u8>,
    json: Vec<u8>,
}

impl TarEncode {
    /// An encoder for any number of packs.
    pub fn new() -> Self {
        Self::default()
    }

    fn put_meta(&mut self, record: &Record<'_>, out: &mut dyn Out) -> io::Result<()> {
        let Some(known) = record.meta else { return Ok(()) };
        self.path.clear();
        name::to_path(&meta::member_name(record.name, &self.before), &mut self.path);
        self.json.clear();
        meta::render(known, record.ordinal, &mut self.json);
        let bytes = self.json.len() as u64;
        self.head.clear();
        header::meta_member(&mut self.head, &self.path, bytes);
        out.put(&self.head)?;
        header::pad(&mut self.json, bytes);
        out.put(&self.json)?;
        self.before.clear();
        self.before.extend_from_slice(meta::sample(record.name).unwrap_or_default());
        Ok(())
    }
}

impl Encode for TarEncode {
    fn begin(&mut self, _: &mut dyn Out) -> io::Result<()> {
        self.before.clear();
        Ok(())
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        body: &mut dyn Content,
        out: &mut dyn Out,
    ) -> io::Result<(u64, bool)> {
        let place = out.at();
        self.path.clear();
        name::to_path(record.name, &mut self.path);
        let bytes = body.len();
        self.head.clear();
        header::member(&mut self.head, &self.path, bytes);
        match body.bytes() {
            // Put together here, where the cache has it, it goes out at once.
            Some(body) if body.len() <= SMALL => {
                self.head.extend_from_slice(body);
                header::pad(&mut self.head, bytes);
                out.put(&self.head)?;
            }
            whole => {
                out.put(&self.head)?;
                match whole {
                    Some(body) => out.put(body)?,
                    None => body.pieces(&mut |piece| out.put(piece))?,
                }
                out.put(&ENDING[..header::padding(bytes)])?;
            }
        }
        self.put_meta(record, out)?;
        Ok((place, true))
    }

    fn end(&mut self, out: &mut dyn Out) -> io::Result<()> {
        out.put(ENDING)
    }
}
