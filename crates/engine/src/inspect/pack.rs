//! One pack against its records: member by member, in the order in which they were written.
//!
//! A record says where its objects end and what the checksum of each is, so damage stays where it
//! is: behind a member that cannot be read the next is looked for by its checksum, and at the
//! latest the next record begins at a known place.

use super::against::{Against, Body};
use super::finding::{Finding, Findings, Kind};
use super::parts::{Manifests, Part, tell_damaged};
use super::window::Window;
use crate::disk::{Dir, Disk, File};
use crate::pack::tar::ENDING;
use crate::pack::tar::entry::{self, Bytes, Entry, Found};
use crate::sink::tar::KIND;
use rustix::io::Errno;
use std::io;
use windrow_model::{Error, Ordinal, name};

/// Bytes read at once.
const WINDOW: usize = 1 << 20;

/// Headers begin at multiples of so many bytes.
const BLOCK: u64 = 512;

/// Bytes that are read again behind a damaged header, at most, to find out what is lost; or four
/// times what was recorded together with it.
const REPAIR_BYTES: u64 = 16 << 20;

/// Checks packs, one after the other.
pub(super) struct PackCheck<'a, 't> {
    disk: &'a dyn Disk,
    manifests: Manifests<'a>,
    findings: &'a Findings<'t>,
    against: Option<&'a Against>,
    buffer: Vec<u8>,
    /// Objects of the corpus in this pack.
    found: Vec<Ordinal>,
    /// Objects that are right, and their bytes, that nobody was told of yet.
    right: (u64, u64),
}

/// The pack at hand.
struct Pack<'w, 'f, 'b> {
    file: String,
    bytes: &'w mut Window<'f, 'b>,
    size: u64,
    /// Checksums of the part at hand.
    sums: Vec<u32>,
    /// They are what was written.
    proven: bool,
    entry: Entry,
}

/// How a member fared.
enum Read {
    Whole { sum: u32, same: bool, ordinal: Option<Ordinal> },
    Cut,
}

impl<'a, 't> PackCheck<'a, 't> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        findings: &'a Findings<'t>,
        against: Option<&'a Against>,
    ) -> Self {
        let manifests = Manifests::new(disk);
        let (buffer, found, right) = (Vec::new(), Vec::new(), (0, 0));
        Self { disk, manifests, findings, against, buffer, found, right }
    }

    /// Checks the pack of these parts.
    ///
    /// # Errors
    /// It cannot be opened although it is there.
    pub(super) fn check(&mut self, parts: &[Part]) -> Result<(), Error> {
        let Some(&last) = parts.last() else { return Ok(()) };
        let file = KIND.file_name(last.pack);
        let Opened { file: opened, named } = match open(self.disk, &file)? {
            Some(opened) => opened,
            None => {
                let all = parts.iter().map(|part| part.objects).sum();
                let detail = format!("the pack is gone, with {all} objects");
                self.lost(Kind::Missing, &file, None, all, detail);
                return Ok(());
            }
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let size = opened.size().unwrap_or(0);
        let room = WINDOW.min(usize::try_from(size).unwrap_or(WINDOW)).max(BLOCK as usize);
        let mut pack = Pack {
            file,
            bytes: &mut Window::new(&*opened, &mut buffer, room),
            size,
            sums: Vec::new(),
            proven: false,
            entry: Entry::default(),
        };
        let mut left = parts.iter().map(|part| part.objects).sum();
        let checked = self.parts(&mut pack, parts, &mut left);
        let checked = checked.and_then(|end| match (last.full, named) {
            (true, true) => self.end(&mut pack, end, parts),
            // Where a process was killed, more may lie behind; it is cut off when the run goes on.
            _ => Ok(()),
        });
        let file = pack.file;
        if let Err(error) = checked {
            let detail = format!("cannot be read: {error}");
            self.lost(Kind::Torn, &file, None, left, detail);
        }
        self.buffer = buffer;
        let (right, bytes) = std::mem::take(&mut self.right);
        self.findings.right(right, bytes);
        if let Some(against) = self.against {
            against.note(&mut self.found, file.as_bytes(), self.findings);
        }
        Ok(())
    }

    /// Checks the members of all parts; gives where they end. `left` counts down the objects that
    /// nothing was said about.
    fn parts(
        &mut self,
        pack: &mut Pack<'_, '_, '_>,
        parts: &[Part],
        left: &mut u64,
    ) -> io::Result<u64> {
        let mut at = 0;
        for part in parts {
            if self.findings.stopped() {
                return Ok(at);
            }
            let checks = self.manifests.read(part);
            pack.sums.clear();
            pack.sums.extend(sums(checks.bytes));
            pack.proven = checks.proven && pack.sums.len() as u64 == part.objects;
            if !pack.proven {
                tell_damaged(part, checks.bytes.len(), self.findings);
            }
            let ending = if part.full { ENDING.len() as u64 } else { 0 };
            let end = part.end.saturating_sub(ending);
            *left -= self.part(pack, at..end, part.objects)?;
            at = at.max(end);
        }
        if *left > 0 {
            let recorded = parts.last().map_or(0, |part| part.end);
            let what = match pack.size < recorded {
                true => format!("the pack ends here and not at byte {recorded}"),
                false => "the pack has fewer members than recorded".to_owned(),
            };
            let detail = format!("{what}: {left} objects are lost");
            self.lost(Kind::Missing, &pack.file, Some(pack.size), *left, detail);
            *left = 0;
        }
        Ok(at)
    }

    /// Checks the members of one part, which lie in `range`; gives how many of its objects
    /// something was said about.
    fn part(
        &mut self,
        pack: &mut Pack<'_, '_, '_>,
        range: std::ops::Range<u64>,
        objects: u64,
    ) -> io::Result<u64> {
        let (mut at, mut index) = (range.start, 0);
        while at < range.end && at < pack.size {
            match entry::find(pack.bytes, at, &mut pack.entry)? {
                Found::Member if pack.entry.meta && pack.entry.end <= range.end => {
                    self.meta(pack, at)?;
                    at = pack.entry.end;
                }
                Found::Member if pack.entry.end <= range.end => {
                    self.member(pack, at, index)?;
                    at = pack.entry.end;
                    index += 1;
                }
                // Of a pack that is all there, only a damaged length leads behind its end.
                Found::Cut if pack.size < range.end => break,
                found => {
                    (at, index) = self.damage(pack, at..range.end, index, objects, found)?;
                }
            }
        }
        Ok(index.min(objects))
    }

    /// Checks the member that was found; it is the `index`-th of its part.
    fn member(&mut self, pack: &mut Pack<'_, '_, '_>, at: u64, index: u64) -> io::Result<()> {
        let name = object(&pack.entry.path);
        let read = self.read(pack, &name)?;
        let tell = |kind, detail: &str| {
            self.findings.tell(&Finding {
                kind,
                name: name.clone(),
                file: pack.file.clone().into_bytes(),
                offset: Some(at),
                objects: 1,
                detail: detail.to_owned(),
            });
        };
        let Read::Whole { sum, same, ordinal } = read else {
            tell(Kind::Torn, "the pack ends within its body");
            return Ok(());
        };
        self.found.extend(ordinal);
        let expected = pack.sums.get(index as usize);
        if expected != Some(&sum) && pack.proven {
            match expected {
                Some(_) => tell(Kind::Corrupt, "its name or its body is not what was stored"),
                None => tell(Kind::Extra, "no record knows it"),
            }
        } else if expected != Some(&sum) && !same {
            tell(Kind::Unproved, "its checksum in the manifest is damaged");
        } else if self.against.is_some() && ordinal.is_none() {
            tell(Kind::Extra, "no object of the corpus");
        } else if self.against.is_some() && !same {
            tell(Kind::Corrupt, "its body is not what the corpus says");
        } else if !padded(pack.bytes, &pack.entry)? {
            tell(Kind::Torn, "its body is right, and the bytes behind it are not");
        } else {
            self.right.0 += 1;
            self.right.1 += pack.entry.bytes;
        }
        Ok(())
    }

    /// Checks a member that tells of the one before it: only that it is there, as no checksum of it
    /// was recorded.
    fn meta(&self, pack: &mut Pack<'_, '_, '_>, at: u64) -> io::Result<()> {
        let cut = pack.entry.end > pack.size;
        if cut || !padded(pack.bytes, &pack.entry)? {
            let detail = "what is known of the object before it is damaged".to_owned();
            self.lost(Kind::Torn, &pack.file, Some(at), 0, detail);
        }
        Ok(())
    }

    /// Reads the body of the member that was found.
    fn read(&self, pack: &mut Pack<'_, '_, '_>, name: &[u8]) -> io::Result<Read> {
        let (mut body, ordinal) = Body::new(name, self.against);
        Ok(match each_piece(pack.bytes, &pack.entry, |piece| body.piece(piece))? {
            true => Read::Whole { sum: body.sum(), same: body.is_corpus(), ordinal },
            false => Read::Cut,
        })
    }

    /// Where no member is: tells what is lost, and finds the next; gives where it is, and its
    /// index.
    fn damage(
        &mut self,
        pack: &mut Pack<'_, '_, '_>,
        range: std::ops::Range<u64>,
        index: u64,
        objects: u64,
        found: Found,
    ) -> io::Result<(u64, u64)> {
        let at = range.start;
        let expected = pack.sums.get(index as usize).copied();
        // Where it was not an object, none is lost with it.
        let meta = entry::guess(pack.bytes, at, false)?.is_some_and(|guess| guess.meta);
        let name = self.name_at(pack, &range, expected)?;
        let (next, then) = self.next(pack, range, index, index + u64::from(!meta), objects)?;
        let lost = then.saturating_sub(index);
        let what = match found {
            Found::Empty => "zeros instead of its header",
            _ => "its header is damaged",
        };
        let (name, unsure) = match name {
            Some((name, true)) => (name, ""),
            Some((name, false)) => (name, "; the name is what is left of it"),
            None => (pack.file.clone().into_bytes(), "; its name is lost"),
        };
        self.found.extend(self.against.and_then(|against| against.corpus.ordinal_of(&name)));
        self.findings.tell(&Finding {
            kind: Kind::Torn,
            name,
            file: pack.file.clone().into_bytes(),
            offset: Some(at),
            objects: lost.min(1),
            detail: format!("{what}{unsure}"),
        });
        if lost > 1 {
            let detail = format!("{} more objects lie in {} damaged bytes", lost - 1, next - at);
            self.lost(Kind::Torn, &pack.file, Some(at), lost - 1, detail);
        }
        Ok((next, then))
    }

    /// The name of a member whose header is damaged, and whether it is that for certain.
    fn name_at(
        &self,
        pack: &mut Pack<'_, '_, '_>,
        range: &std::ops::Range<u64>,
        expected: Option<u32>,
    ) -> io::Result<Option<(Vec<u8>, bool)>> {
        let at = range.start;
        // Nothing is gained by reading a large body hundreds of times.
        let mut budget = REPAIR_BYTES.max(4 * (range.end - at));
        let guess = entry::guess(pack.bytes, at, false)?;
        let candidates = guess.iter().cloned().chain(entry::repairs(pack.bytes, at)?);
        for candidate in candidates {
            if candidate.end > range.end || candidate.bytes > budget {
                continue;
            }
            budget -= candidate.bytes;
            let name = object(&candidate.path);
            let sum = sum_of(pack.bytes, &candidate, &name)?;
            if sum.is_some() && sum == expected {
                return Ok(Some((name, true)));
            }
        }
        let guess = guess.filter(|guess| !guess.path.is_empty());
        Ok(guess.map(|guess| (object(&guess.path), false)))
    }

    /// The next member of the part that is whole, from the object `from` on, and its index; or the
    /// part's end.
    fn next(
        &self,
        pack: &mut Pack<'_, '_, '_>,
        range: std::ops::Range<u64>,
        index: u64,
        from: u64,
        objects: u64,
    ) -> io::Result<(u64, u64)> {
        let end = range.end;
        // Bodies may hold what looks like members, one in the other: there is a limit to reading.
        let mut budget = REPAIR_BYTES.max(4 * (end - range.start));
        let mut next = range.start + BLOCK;
        let mut entry = Entry::default();
        while next < end.min(pack.size) {
            let found = entry::find(pack.bytes, next, &mut entry)?;
            if found == Found::Member && entry.end <= end {
                let Some(rest) = budget.checked_sub(entry.bytes) else { break };
                budget = rest;
                let sum = sum_of(pack.bytes, &entry, &object(&entry.path))?;
                let behind = pack.sums.get(from as usize..).unwrap_or_default();
                if let Some(place) = behind.iter().position(|known| Some(*known) == sum) {
                    return Ok((next, from + place as u64));
                }
            }
            next += BLOCK;
        }
        Ok((end, objects.max(index)))
    }

    /// Checks the end of a finished pack: nothing but its ending may be there.
    fn end(&mut self, pack: &mut Pack<'_, '_, '_>, mut at: u64, parts: &[Part]) -> io::Result<()> {
        let recorded = at + ENDING.len() as u64;
        let size = pack.size;
        let ending = pack.bytes.at(at, ENDING.len())?;
        if size == recorded && ending == ENDING {
            return Ok(());
        }
        if size < recorded {
            if size >= at {
                let detail = format!("the pack ends here and not at byte {recorded}");
                self.lost(Kind::Torn, &pack.file, Some(size), 0, detail);
            }
            return Ok(());
        }
        let whole = ending == ENDING;
        let mut known: Option<Vec<u32>> = None;
        let from = at;
        while let Some(entry) = entry::guess(pack.bytes, at, true)?
            && at < size
        {
            let name = object(&entry.path);
            let sum = sum_of(pack.bytes, &entry, &name)?;
            let known = known.get_or_insert_with(|| self.all_sums(parts));
            let (kind, detail) = match sum.is_some_and(|sum| known.contains(&sum)) {
                true => (Kind::Doubled, "it is there once more, behind what was recorded"),
                false => (Kind::Extra, "no record knows it"),
            };
            self.findings.tell(&Finding {
                kind,
                name,
                file: pack.file.clone().into_bytes(),
                offset: Some(at),
                objects: 1,
                detail: detail.to_owned(),
            });
            at = entry.end;
        }
        if at == from {
            let (kind, detail) = match whole {
                true => (Kind::Extra, format!("{} bytes behind the pack's end", size - recorded)),
                false => (Kind::Torn, "the pack's end is not what was written".to_owned()),
            };
            let place = if whole { recorded } else { at };
            self.lost(kind, &pack.file, Some(place), 0, detail);
        }
        Ok(())
    }

    fn all_sums(&mut self, parts: &[Part]) -> Vec<u32> {
        let mut all = Vec::new();
        for part in parts {
            all.extend(sums(self.manifests.read(part).bytes));
        }
        all
    }

    /// Tells of objects whose names are not known, or of none. Where the corpus names what is
    /// missing, they are not counted twice.
    fn lost(&self, kind: Kind, file: &str, offset: Option<u64>, objects: u64, detail: String) {
        let name = file.as_bytes().to_vec();
        let objects = if self.against.is_some() { 0 } else { objects };
        let file = name.clone();
        self.findings.tell(&Finding { kind, name, file, offset, objects, detail });
    }
}

pub(super) fn sums(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]))
}

/// A pack that was opened.
pub(super) struct Opened {
    pub(super) file: Box<dyn File>,
    /// It has its final name.
    pub(super) named: bool,
}

/// Opens a pack, under its name or among the open ones.
pub(super) fn open(disk: &dyn Disk, name: &str) -> Result<Option<Opened>, Error> {
    // While it is among the open ones, a file that has its name is somebody else's.
    for (dir, named) in [(Dir::Open, false), (Dir::Root, true)] {
        match disk.read(dir, name) {
            Ok(file) => return Ok(Some(Opened { file, named })),
            // A link is not followed.
            Err(Errno::NOENT | Errno::LOOP) => {}
            Err(errno) => {
                let why = io::Error::from(errno);
                return Err(Error::environment(name, "cannot be opened").why(why));
            }
        }
    }
    Ok(None)
}

/// The name that a path stands for; the path where it stands for none.
pub(super) fn object(path: &[u8]) -> Vec<u8> {
    name::from_path(path).unwrap_or_else(|| path.to_vec())
}

/// Checksum of name and body; `None` where the body is cut off.
fn sum_of(bytes: &mut Window<'_, '_>, entry: &Entry, name: &[u8]) -> io::Result<Option<u32>> {
    let mut sum = crc32c::crc32c(name);
    let whole = each_piece(bytes, entry, |piece| sum = crc32c::crc32c_append(sum, piece))?;
    Ok(whole.then_some(sum))
}

/// Shows a body in pieces; says whether all of it is there.
fn each_piece(
    bytes: &mut Window<'_, '_>,
    entry: &Entry,
    mut show: impl FnMut(&[u8]),
) -> io::Result<bool> {
    let most = bytes.room() / Body::PIECE * Body::PIECE;
    let mut done = 0;
    while done < entry.bytes {
        let want = usize::try_from(entry.bytes - done).unwrap_or(most).min(most);
        let piece = bytes.at(entry.body + done, want)?;
        if piece.len() < want {
            return Ok(false);
        }
        show(piece);
        done += want as u64;
    }
    Ok(true)
}

/// Whether there are zeros behind the body, up to the next header.
fn padded(bytes: &mut Window<'_, '_>, entry: &Entry) -> io::Result<bool> {
    let from = entry.body + entry.bytes;
    let padding = (entry.end - from) as usize;
    let found = bytes.at(from, padding)?;
    Ok(found.len() == padding && found.iter().all(|&byte| byte == 0))
}
