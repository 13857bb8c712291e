//! The names of everything that a run stored, for the case that its listing changed meanwhile.

use crate::disk::{Dir, Disk};
use crate::ledger::{Past, State};
use crate::manifest::take_file;
use crate::pack::Recorded;
use crate::sink::Format;
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use windrow_model::Error;

/// Names by their hash: of 10^9 names two have the same with a probability of 10^-21.
#[derive(Debug, Default)]
pub(super) struct Known(HashSet<u128>);

impl Known {
    /// Reads the names back from the output.
    ///
    /// # Errors
    /// It cannot be read.
    ///
    /// # Bounds
    /// 32 bytes of memory for each object stored.
    pub(super) fn read(disk: &dyn Disk, format: Format, past: &Past) -> Result<Self, Error> {
        let mut known = Self::default();
        match format {
            Format::Null => {}
            Format::Files => known.read_manifest(disk, past)?,
            format => known.read_packs(disk, format, &past.state)?,
        }
        Ok(known)
    }

    /// Whether the name is one of them.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.0.contains(&hash(name))
    }

    fn add(&mut self, name: &[u8]) {
        self.0.insert(hash(name));
    }

    fn read_packs(&mut self, disk: &dyn Disk, format: Format, state: &State) -> Result<(), Error> {
        let Some(kind) = format.packs() else { return Ok(()) };
        for (&number, pack) in &state.packs {
            let file_name = kind.file_name(number);
            let wrong = |why: io::Error| Error::environment(&file_name, "cannot read").why(why);
            let opened = match disk.read(Dir::Root, &file_name) {
                Err(Errno::NOENT) => match disk.read(Dir::Open, &file_name) {
                    // It may have got its name just now.
                    Err(Errno::NOENT) => disk.read(Dir::Root, &file_name),
                    other => other,
                },
                other => other,
            };
            let file = match opened {
                Ok(file) => file,
                // Its owner took it away; what was in it will be fetched again if it is listed.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(wrong(errno.into())),
            };
            let recorded = Recorded { file, len: pack.len };
            let mut decoder = format.decoder(Box::new(recorded), pack.full).map_err(wrong)?;
            while let Some(found) = decoder.next(None).map_err(wrong)? {
                self.add(&found.name);
            }
        }
        Ok(())
    }

    /// What is behind the recorded length was being written when a process was killed, or is
    /// being written now.
    fn read_manifest(&mut self, disk: &dyn Disk, past: &Past) -> Result<(), Error> {
        let wrong = |errno: Errno| {
            let why = io::Error::from(errno);
            Error::environment(".windrow/manifest", "cannot read").why(why)
        };
        for (file, len) in past.manifests() {
            let bytes = crate::disk::read_whole(disk, Dir::Manifest, &file).map_err(wrong)?;
            let mut bytes = bytes.unwrap_or_default();
            bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
            let mut part = bytes.get(crate::ledger::frame::HEADER_BYTES..).unwrap_or_default();
            while !part.is_empty() {
                let Some(file) = take_file(&mut part) else { return Err(wrong(Errno::ILSEQ)) };
                self.add(file.name);
            }
        }
        Ok(())
    }
}

fn hash(name: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(name)
}
