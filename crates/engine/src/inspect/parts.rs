//! What was recorded together, and its part of the manifest.

use super::finding::{Finding, Findings, Kind};
use crate::disk::{Dir, Disk, File};
use crate::ledger::frame::{HEADER_BYTES, Header, Kind as FileKind};
use crate::ledger::{Past, manifest_file};
use std::collections::BTreeMap;
use windrow_model::Error;

/// Objects that were recorded together: 56 bytes for what a core wrote at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The pack they are in; `u32::MAX` for files.
    pub(super) pack: u32,
    /// Nothing comes behind them in that pack.
    pub(super) full: bool,
    /// Length of the pack behind the last of them, its ending included.
    pub(super) end: u64,
    pub(super) objects: u64,
    core: u32,
    /// Checksum of their part of the manifest, and where that is.
    sum: u32,
    from: u64,
    to: u64,
}

/// Every part, in the order of packs and of what lies in them.
pub(super) fn parts(disk: &dyn Disk, past: &Past) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    past.each_stored(disk, |core, from, stored| {
        let mut objects = 0;
        // Well-formed, or the ledger would not have been loaded.
        let _ = stored.ordinals.ordinals(|range| objects += range.end - range.start);
        parts.push(Part {
            pack: stored.pack.unwrap_or(u32::MAX),
            full: stored.full,
            end: stored.len,
            objects,
            core: core as u32,
            sum: stored.manifest_sum,
            from,
            to: stored.manifest_end,
        });
    })?;
    // Stable: files keep the order of their core.
    parts.sort_by_key(|part| (part.pack, part.end, part.full));
    Ok(parts)
}

/// The manifest's files, opened as they are needed.
pub(super) struct Manifests<'d> {
    disk: &'d dyn Disk,
    files: BTreeMap<u32, Option<Box<dyn File>>>,
    bytes: Vec<u8>,
}

/// A part of the manifest.
pub(super) struct Checks<'m> {
    pub(super) bytes: &'m [u8],
    /// It is what was written.
    pub(super) proven: bool,
}

impl<'d> Manifests<'d> {
    pub(super) fn new(disk: &'d dyn Disk) -> Self {
        Self { disk, files: BTreeMap::new(), bytes: Vec::new() }
    }

    /// The manifest of a part; what cannot be read is not there.
    pub(super) fn read(&mut self, part: &Part) -> Checks<'_> {
        let file = self.files.entry(part.core).or_insert_with(|| {
            self.disk.read(Dir::Manifest, &manifest_file(part.core as usize)).ok()
        });
        self.bytes.clear();
        if let Some(file) = file {
            // Room is made for what is there, not for what a record says.
            let there = file.size().unwrap_or(0).min(part.to).saturating_sub(part.from);
            self.bytes.resize(usize::try_from(there).unwrap_or(0), 0);
            let read = file.read_at(&mut self.bytes, part.from).unwrap_or(0);
            self.bytes.truncate(read);
        }
        let proven = self.bytes.len() as u64 == part.to.saturating_sub(part.from)
            && crc32c::crc32c(&self.bytes) == part.sum;
        Checks { bytes: &self.bytes, proven }
    }
}

/// Says that a part of the manifest is damaged.
pub(super) fn tell_damaged(part: &Part, there: usize, findings: &Findings<'_>) {
    let bytes = part.to.saturating_sub(part.from);
    let what = match there as u64 == bytes {
        true => format!("{bytes} bytes are not what was written"),
        false => format!("{there} of {bytes} bytes are there"),
    };
    let file = path_of(part.core);
    let detail = format!("{what}, about {} objects", part.objects);
    findings.tell(&Finding {
        kind: Kind::Manifest,
        name: file.clone(),
        file,
        offset: Some(part.from),
        objects: 0,
        detail,
    });
}

/// Looks at the header of every manifest that the parts need.
pub(super) fn check_headers(
    disk: &dyn Disk,
    run: u64,
    parts: &[Part],
    findings: &Findings<'_>,
) -> Result<(), Error> {
    let mut cores: Vec<_> = parts.iter().map(|part| part.core).collect();
    cores.sort_unstable();
    cores.dedup();
    for core in cores {
        let mut header = [0; HEADER_BYTES];
        let file = disk.read(Dir::Manifest, &manifest_file(core as usize));
        let read = file.and_then(|file| file.read_at(&mut header, 0));
        let detail = match (read, Header::decode(&header)) {
            (Err(errno), _) => std::io::Error::from(errno).to_string(),
            (Ok(_), Ok(found)) if found == (Header { kind: FileKind::Manifest, run }) => continue,
            (Ok(_), Ok(_)) => "belongs to another run".to_owned(),
            (Ok(_), Err(_)) => "its header is damaged".to_owned(),
        };
        let name = path_of(core);
        let file = name.clone();
        findings.tell(&Finding {
            kind: Kind::Manifest,
            name,
            file,
            offset: Some(0),
            objects: 0,
            detail,
        });
    }
    Ok(())
}

fn path_of(core: u32) -> Vec<u8> {
    format!(".windrow/manifest/{}", manifest_file(core as usize)).into_bytes()
}
