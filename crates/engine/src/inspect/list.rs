//! The names of what was stored.

use super::Seen;
use super::file_table::each_file;
use super::pack::{Opened, object, open};
use super::parts::{Manifests, Part, parts};
use super::window::Window;
use crate::pack::Recorded;
use crate::pack::tar::ENDING;
use crate::pack::tar::entry::{self, Entry, Found};
use crate::sink::Format;
use crate::sink::tar::KIND;
use std::io;
use std::path::Path;
use windrow_model::Error;

/// Bytes read at once: bodies that are larger are passed over.
const WINDOW: usize = 64 << 10;

/// An object that was stored.
#[derive(Debug)]
pub struct Listed<'a> {
    /// Its name, as the source gave it.
    pub name: &'a [u8],
    /// Bytes of its body.
    pub bytes: u64,
    /// File name of the pack that has it, and where in that its body begins.
    pub pack: Option<(&'a str, u64)>,
}

/// Shows every object that is recorded as stored; of packs in the order in which they lie there.
/// `show` says whether to go on, `skip` is told of what cannot be read.
///
/// # Errors
/// There is no run, its ledger is damaged, or a pack cannot be opened.
pub fn list(
    path: &Path,
    show: &mut dyn FnMut(&Listed<'_>) -> bool,
    skip: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let seen = Seen::new(path)?;
    let disk = seen.look.disk();
    let parts = parts(disk, &seen.past)?;
    match seen.format {
        Format::Null => {
            return Err(Error::usage(path.display().to_string(), "has nothing to list")
                .why("--format null keeps nothing"));
        }
        Format::Files => files(&seen, &parts, show, skip),
        format @ (Format::Parquet | Format::Jsonl | Format::JsonlZst | Format::Warc) => {
            for parts in parts.chunk_by(|a, b| a.pack == b.pack) {
                if !records(&seen, format, parts, show, skip)? {
                    break;
                }
            }
        }
        Format::Tar => {
            for parts in parts.chunk_by(|a, b| a.pack == b.pack) {
                if !pack(&seen, parts, show, skip)? {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn files(
    seen: &Seen,
    parts: &[Part],
    show: &mut dyn FnMut(&Listed<'_>) -> bool,
    skip: &mut dyn FnMut(&str),
) {
    let mut manifests = Manifests::new(seen.look.disk());
    let mut on = true;
    for part in parts {
        let checks = manifests.read(part);
        let mut shown = 0;
        each_file(&checks, |file| {
            shown += 1;
            on = on && show(&Listed { name: file.name, bytes: file.bytes, pack: None });
        });
        if !on {
            return;
        }
        if !checks.proven {
            skip(&format!(
                ".windrow/manifest: damaged: {shown} names of {} could be read, perhaps wrongly",
                part.objects
            ));
        }
    }
}

/// `false` where nobody wants more.
fn records(
    seen: &Seen,
    format: Format,
    parts: &[Part],
    show: &mut dyn FnMut(&Listed<'_>) -> bool,
    skip: &mut dyn FnMut(&str),
) -> Result<bool, Error> {
    let (Some(kind), Some(last)) = (format.packs(), parts.last()) else { return Ok(true) };
    let file_name = kind.file_name(last.pack);
    let objects: u64 = parts.iter().map(|part| part.objects).sum();
    let Some(Opened { file, .. }) = open(seen.look.disk(), &file_name)? else {
        skip(&format!("{file_name}: not there: {objects} objects"));
        return Ok(true);
    };
    let mut listed = 0;
    let walk = || -> io::Result<bool> {
        let recorded = Recorded { file, len: last.end };
        let mut decoder = format.decoder(Box::new(recorded), last.full)?;
        while let Some(found) = decoder.next(None)? {
            let pack = Some((file_name.as_str(), found.place));
            if !show(&Listed { name: &found.name, bytes: found.bytes, pack }) {
                return Ok(false);
            }
            listed += 1;
        }
        Ok(true)
    };
    walk().or_else(|error| {
        let left = objects.saturating_sub(listed);
        skip(&format!("{file_name}: {error}: {left} objects"));
        Ok(true)
    })
}

/// `false` where nobody wants more.
fn pack(
    seen: &Seen,
    parts: &[Part],
    show: &mut dyn FnMut(&Listed<'_>) -> bool,
    skip: &mut dyn FnMut(&str),
) -> Result<bool, Error> {
    let file_name = KIND.file_name(parts[0].pack);
    let Some(Opened { file, .. }) = open(seen.look.disk(), &file_name)? else {
        let objects: u64 = parts.iter().map(|part| part.objects).sum();
        skip(&format!("{file_name}: not there: {objects} objects"));
        return Ok(true);
    };
    let mut buffer = Vec::new();
    let mut window = Window::new(&*file, &mut buffer, WINDOW);
    let (mut at, mut entry) = (0, Entry::default());
    for part in parts {
        let end = part.end.saturating_sub(if part.full { ENDING.len() as u64 } else { 0 });
        let mut listed = 0;
        while at < end {
            let found = entry::find(&mut window, at, &mut entry);
            if !matches!(found, Ok(Found::Member)) || entry.end > end {
                let why = found.err().as_ref().map(io::Error::to_string);
                let why = why.unwrap_or_else(|| "damaged".to_owned());
                let left = part.objects.saturating_sub(listed);
                skip(&format!("{file_name}: {why} at byte {at}: {left} objects"));
                break;
            }
            if entry.meta {
                at = entry.end;
                continue;
            }
            let name = object(&entry.path);
            let pack = Some((file_name.as_str(), entry.body));
            if !show(&Listed { name: &name, bytes: entry.bytes, pack }) {
                return Ok(false);
            }
            (at, listed) = (entry.end, listed + 1);
        }
        at = at.max(end);
    }
    Ok(true)
}
