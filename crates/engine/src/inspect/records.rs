//! One pack of any form against its records.
//!
//! The form's decoder gives record after record in the order in which they were written; a record
//! of the ledger says how many there are and what the checksum of each is. Behind damage the next
//! part is looked for, where it is known to begin.

use super::against::{Against, Body};
use super::finding::{Finding, Findings, Kind};
use super::pack::{Opened, open, sums};
use super::parts::{Manifests, Part, tell_damaged};
use crate::disk::Disk;
use crate::pack::{Decode, Found, Recorded};
use crate::sink::Format;
use std::io;
use windrow_model::limits::AGAINST_BYTES;
use windrow_model::{Error, Ordinal};

/// Checks packs, one after the other.
pub(super) struct RecordCheck<'a, 't> {
    disk: &'a dyn Disk,
    format: Format,
    manifests: Manifests<'a>,
    findings: &'a Findings<'t>,
    against: Option<&'a Against>,
    found: Vec<Ordinal>,
    right: (u64, u64),
}

impl<'a, 't> RecordCheck<'a, 't> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        format: Format,
        findings: &'a Findings<'t>,
        against: Option<&'a Against>,
    ) -> Self {
        let manifests = Manifests::new(disk);
        Self { disk, format, manifests, findings, against, found: Vec::new(), right: (0, 0) }
    }

    /// Checks the pack of these parts.
    ///
    /// # Errors
    /// It cannot be opened although it is there.
    pub(super) fn check(&mut self, parts: &[Part]) -> Result<(), Error> {
        let (Some(&last), Some(kind)) = (parts.last(), self.format.packs()) else { return Ok(()) };
        let file = kind.file_name(last.pack);
        let objects = parts.iter().map(|part| part.objects).sum();
        let Some(Opened { file: opened, named }) = open(self.disk, &file)? else {
            let detail = format!("the pack is gone, with {objects} objects");
            self.lost(Kind::Missing, &file, None, objects, detail);
            return Ok(());
        };
        let size = opened.size().unwrap_or(0);
        if size < last.end {
            let detail = format!("the pack ends here and not at byte {}", last.end);
            self.lost(Kind::Torn, &file, Some(size), 0, detail);
        } else if size > last.end && last.full && named {
            let detail = format!("{} bytes behind the pack's end", size - last.end);
            self.lost(Kind::Extra, &file, Some(last.end), 0, detail);
        }
        let recorded = Recorded { file: opened, len: last.end };
        match self.format.decoder(Box::new(recorded), last.full) {
            Ok(mut decoder) => self.parts(&mut *decoder, &file, parts),
            Err(error) => {
                let detail = format!("cannot be read: {error}: {objects} objects are lost");
                self.lost(Kind::Torn, &file, None, objects, detail);
            }
        }
        let (right, bytes) = std::mem::take(&mut self.right);
        self.findings.right(right, bytes);
        if let Some(against) = self.against {
            against.note(&mut self.found, file.as_bytes(), self.findings);
        }
        Ok(())
    }

    fn parts(&mut self, decoder: &mut dyn Decode, file: &str, parts: &[Part]) {
        let mut begin = 0;
        for part in parts {
            if self.findings.stopped() {
                return;
            }
            let checks = self.manifests.read(part);
            let sums: Vec<u32> = sums(checks.bytes).collect();
            let proven = checks.proven && sums.len() as u64 == part.objects;
            if !proven {
                tell_damaged(part, checks.bytes.len(), self.findings);
            }
            for index in 0..part.objects {
                let expected = sums.get(index as usize).copied();
                let wrong = match self.object(decoder, file, expected, proven) {
                    Ok(true) => continue,
                    Ok(false) => "the pack has fewer objects than recorded".to_owned(),
                    Err(error) => error.to_string(),
                };
                let lost = part.objects - index;
                let detail = format!("{wrong}: {lost} objects are lost");
                self.lost(Kind::Torn, file, Some(begin), lost, detail);
                // The next begins behind this, if its form can begin anywhere.
                let place = self.format.place_at(part.end);
                if place.is_none_or(|place| decoder.seek(place).is_err()) {
                    let lost: u64 = parts.iter().map(|part| part.objects).sum();
                    let told: u64 = parts
                        .iter()
                        .take_while(|other| other.end <= part.end)
                        .map(|part| part.objects)
                        .sum();
                    if lost > told {
                        let detail = format!("{} more objects lie behind that", lost - told);
                        self.lost(Kind::Torn, file, Some(part.end), lost - told, detail);
                    }
                    return;
                }
                break;
            }
            begin = part.end;
        }
        if self.against.is_none()
            && let Ok(Some(found)) = decoder.next(None)
        {
            self.tell(Kind::Extra, &found, file, "no record knows it");
        }
    }

    /// Checks the next object; `false` where there is none.
    fn object(
        &mut self,
        decoder: &mut dyn Decode,
        file: &str,
        expected: Option<u32>,
        proven: bool,
    ) -> io::Result<bool> {
        let (mut sum, mut bytes, mut body) = (0, 0_usize, Vec::new());
        let wanted = self.against.is_some();
        let found = decoder.next(Some(&mut |piece| {
            sum = crc32c::crc32c_append(sum, piece);
            bytes += piece.len();
            if wanted && body.len() + piece.len() <= AGAINST_BYTES {
                body.extend_from_slice(piece);
            }
            Ok(())
        }))?;
        let Some(found) = found else { return Ok(false) };
        let sum = crc32c::crc32c_combine(crc32c::crc32c(&found.name), sum, bytes);
        let (mut same, ordinal) = Body::new(&found.name, self.against);
        same.piece(&body);
        self.found.extend(ordinal);
        if expected != Some(sum) && proven {
            self.tell(Kind::Corrupt, &found, file, "its name or its body is not what was stored");
        } else if expected != Some(sum) && !same.is_corpus() {
            self.tell(Kind::Unproved, &found, file, "its checksum in the manifest is damaged");
        } else if wanted && ordinal.is_none() {
            self.tell(Kind::Extra, &found, file, "no object of the corpus");
        } else if wanted && bytes <= AGAINST_BYTES && !same.is_corpus() {
            self.tell(Kind::Corrupt, &found, file, "its body is not what the corpus says");
        } else {
            self.right.0 += 1;
            self.right.1 += bytes as u64;
        }
        Ok(true)
    }

    fn tell(&self, kind: Kind, found: &Found, file: &str, detail: &str) {
        self.findings.tell(&Finding {
            kind,
            name: found.name.clone(),
            file: file.as_bytes().to_vec(),
            offset: Some(found.place),
            objects: 1,
            detail: detail.to_owned(),
        });
    }

    /// Where the corpus names what is missing, they are not counted twice.
    fn lost(&self, kind: Kind, file: &str, offset: Option<u64>, objects: u64, detail: String) {
        let name = file.as_bytes().to_vec();
        let objects = if self.against.is_some() { 0 } else { objects };
        let file = name.clone();
        self.findings.tell(&Finding { kind, name, file, offset, objects, detail });
    }
}
