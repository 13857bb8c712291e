//! Members become objects again, strictly: what windrow would not write is damage.

use super::entry::{self, Bytes, Entry, Found as At};
use super::window::Window;
use super::{ENDING, header, meta};
use crate::pack::{Decode, Found, ReadAt};
use std::io;
use windrow_model::limits::META_BYTES;
use windrow_model::name;

/// Reads the objects of a tar file that windrow wrote.
#[derive(Debug)]
pub struct TarDecode<R> {
    bytes: Window<R>,
    /// Whether two empty blocks must end it.
    whole: bool,
    at: u64,
    entry: Entry,
}

impl<R: ReadAt> TarDecode<R> {
    /// A pack that was finished.
    ///
    /// # Errors
    /// Its length cannot be told.
    pub fn new(file: R) -> io::Result<Self> {
        let len = file.size()?;
        Ok(Self::sized(file, len, true))
    }

    /// A pack that was not finished, so far as it counts.
    pub fn open(file: R, len: u64) -> Self {
        Self::sized(file, len, false)
    }

    fn sized(file: R, len: u64, whole: bool) -> Self {
        Self { bytes: Window::new(file, len), whole, at: 0, entry: Entry::default() }
    }

    /// Looks at what begins here; `None` at the end.
    fn find(&mut self) -> io::Result<Option<()>> {
        if self.at == self.bytes.len() && !self.whole {
            return Ok(None);
        }
        match entry::find(&mut self.bytes, self.at, &mut self.entry)? {
            At::Member if self.entry.end > self.bytes.len() => Err(cut()),
            At::Member => Ok(Some(())),
            At::Empty => match self.bytes.at(self.at, ENDING.len() + 1)? {
                ENDING => Ok(None),
                rest if rest.len() < ENDING.len() => Err(cut()),
                _ => Err(damaged("zeros where a member should begin")),
            },
            At::Cut => Err(cut()),
            At::Damaged => Err(damaged("a header is damaged")),
        }
    }

    fn pieces(&mut self, give: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
        let (mut at, mut left) = (self.entry.body, self.entry.bytes);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.bytes.piece());
            let piece = self.bytes.at(at, want)?;
            if piece.len() < want {
                return Err(cut());
            }
            give(piece)?;
            (at, left) = (at + want as u64, left - want as u64);
        }
        let padding = header::padding(self.entry.bytes);
        let behind = self.bytes.at(at, padding)?;
        match behind.len() == padding && behind.iter().all(|&byte| byte == 0) {
            true => Ok(()),
            false => Err(damaged("padding that is not empty")),
        }
    }

    /// Reads what is told of the object before, if that comes next.
    fn meta(&mut self, found: &mut Found) -> io::Result<()> {
        // What comes next is judged when it is asked for.
        let next = entry::find(&mut self.bytes, self.at, &mut self.entry)?;
        if next != At::Member || !self.entry.meta {
            return Ok(());
        }
        if self.entry.bytes > META_BYTES {
            return Err(damaged("what is known of an object is too long"));
        }
        let mut json = Vec::new();
        self.pieces(&mut |piece| {
            json.extend_from_slice(piece);
            Ok(())
        })?;
        let (meta, ordinal) = meta::parse(&json)?;
        (found.meta, found.ordinal) = (Some(meta), ordinal);
        self.at = self.entry.end;
        Ok(())
    }
}

impl<R: ReadAt> Decode for TarDecode<R> {
    fn next(&mut self, body: Option<&mut crate::pack::Pieces<'_>>) -> io::Result<Option<Found>> {
        let Some(()) = self.find()? else { return Ok(None) };
        if self.entry.meta {
            return Err(damaged("it tells of an object that is not there"));
        }
        let path = &self.entry.path;
        let name = name::from_path(path);
        let name = name.ok_or_else(|| damaged("a path under which windrow stores nothing"))?;
        let (place, bytes) = (self.at, self.entry.bytes);
        let mut found = Found { name, place, bytes, ordinal: None, meta: None };
        if let Some(give) = body {
            self.pieces(give)?;
        }
        self.at = self.entry.end;
        self.meta(&mut found)?;
        Ok(Some(found))
    }

    fn seek(&mut self, place: u64) -> io::Result<()> {
        self.bytes.jump();
        self.at = place;
        match self.find()? {
            Some(()) if !self.entry.meta => Ok(()),
            _ => Err(damaged("no object begins there")),
        }
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
