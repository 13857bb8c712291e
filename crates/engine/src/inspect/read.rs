//! Objects read back: one by its name, or all in a row.
//!
//! Of packs, [`crate::pack::index`] says where an object lies, and the name that lies there whether it
//! is the one. Packs that the index does not have are read once and put in, unless a process is
//! at work or nothing may be written: then they are read each time. A pack that still grows is
//! never in the index. Files are found by their paths.

use super::file_table::each_file;
use super::pack::{Opened, open};
use super::parts::{Manifests, parts};
use super::place;
use super::{Seen, format};
use crate::disk::{Disk, File};
use crate::pack::index::{self, Index};
use crate::pack::{Decode, Found, Recorded};
use crate::sink::dest::{Destination, Look, look};
use crate::sink::{Format, PackRecord};
use rustix::io::Errno;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use windrow_model::Error;
use windrow_model::limits::INDEX_FILES;

/// Bytes of a file that are read at once.
const PIECE: usize = 256 << 10;

/// What is told to people meanwhile.
type Tell<'t> = dyn FnMut(&str) + 't;

/// Takes a body, piece by piece; says whether to go on.
type Out<'o> = dyn FnMut(&[u8]) -> bool + 'o;

/// Reads what a run stored.
///
/// ```no_run
/// use windrow_engine::inspect::Reader;
///
/// let reader = Reader::open("photos".as_ref())?;
/// let mut body = Vec::new();
/// let mut out = |piece: &[u8]| {
///     body.extend_from_slice(piece);
///     true
/// };
/// let found = reader.cat(b"2024/07.jpg", &mut out, &mut |_| {})?;
/// assert!(found.is_some_and(|found| found.bytes == body.len() as u64));
/// # Ok::<(), windrow_model::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    look: Look,
    format: Format,
}

/// What the ledger says of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Number of the run.
    pub run: u64,
    /// Objects that are stored.
    pub objects: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Objects that have no outcome.
    pub pending: u64,
    /// The process at work on it.
    pub pid: Option<u32>,
}

/// Takes objects, one after the other: the pieces of a body, then what it is the body of.
pub trait Take {
    /// Whether an object of this name is wanted.
    fn wants(&mut self, name: &[u8]) -> bool {
        let _ = name;
        true
    }

    /// Whether all are, so that nobody needs to ask: bodies are read once then.
    fn wants_all(&self) -> bool {
        true
    }

    /// The next piece of a body.
    ///
    /// # Errors
    /// They end the reading.
    fn piece(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// The body is complete. Says whether to go on.
    ///
    /// # Errors
    /// They end the reading.
    fn object(&mut self, found: &Found) -> Result<bool, Error>;

    /// It broke off: what was given is nothing.
    fn torn(&mut self);
}

impl Reader {
    /// Looks at the run at `path`.
    ///
    /// # Errors
    /// There is no run, it keeps nothing (`--format null`), or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let look = look(path)?;
        let format = format(path, &look)?;
        if format == Format::Null {
            return Err(Error::usage(path.display().to_string(), "has nothing to read")
                .why("--format null keeps nothing"));
        }
        Ok(Self { path: path.to_owned(), look, format })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the ledger says is there.
    ///
    /// # Errors
    /// The run cannot be read.
    pub fn stored(&self) -> Result<Stored, Error> {
        let seen = Seen::new(&self.path)?;
        let state = &seen.past.state;
        let settled = state.stored.len() + state.skipped.len() + state.failures();
        Ok(Stored {
            run: seen.look.run.number().unwrap_or_default(),
            objects: state.stored.len(),
            bytes: state.bytes,
            pending: seen.past.listed().saturating_sub(settled),
            pid: seen.pid,
        })
    }

    /// The form of its output.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Gives the body of one object to `out`; `None` if there is no such object. Of a name that was
    /// stored more than once, the last that the index has, by pack and place.
    ///
    /// `tell` hears what takes time, and what could not be read and might have held the object.
    ///
    /// # Errors
    /// The run cannot be read, or the object is damaged.
    pub fn cat(
        &self,
        name: &[u8],
        out: &mut Out<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<Option<Found>, Error> {
        match self.format {
            Format::Files => self.cat_file(name, out),
            _ => self.cat_packed(name, out, tell),
        }
    }

    /// Gives every object that is recorded as stored to `take`; packs in the order of their numbers,
    /// and what is in them in the order in which it lies there. Gives how many objects could not be
    /// read, as far as that is known.
    ///
    /// # Errors
    /// The run cannot be read, or those of `take`.
    pub fn each(&self, take: &mut dyn Take, tell: &mut Tell<'_>) -> Result<u64, Error> {
        let seen = Seen::new(&self.path)?;
        match self.format {
            Format::Files => each_of_files(&seen, take, tell),
            format => each_packed(&seen, format, take, tell),
        }
    }

    fn cat_file(&self, name: &[u8], out: &mut Out<'_>) -> Result<Option<Found>, Error> {
        let wrong = |why: io::Error| unread(&shown(name), &why);
        let file = place::find(self.look.root(), name).map_err(|errno| wrong(errno.into()))?;
        let Some(mut file) = file else { return Ok(None) };
        let mut found = Found { name: name.to_vec(), ..Found::default() };
        found.bytes = pieces(&mut file, out).map_err(wrong)?;
        Ok(Some(found))
    }

    fn cat_packed(
        &self,
        name: &[u8],
        out: &mut Out<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<Option<Found>, Error> {
        let disk = self.look.disk();
        let index = Index::open(disk, self.owner()).map_err(|why| unread(INDEX, &why))?;
        let few = index.files() <= INDEX_FILES && index.damaged().is_empty();
        let looked = if few { self.by_index(disk, &index, name, out)? } else { Ok(None) };
        if let Ok(Some(found)) = looked {
            return Ok(Some(found));
        }
        // It is not there, or the index does not know.
        let seen = Seen::new(&self.path)?;
        let missing = |pack: &u32| !index.covers(*pack);
        if !few || looked.is_err() || self.full(&seen).iter().any(missing) {
            let dest = self.complete(looked.as_ref().err(), tell)?;
            let held = dest.as_ref().map(Destination::disk);
            let disk = held.as_deref().unwrap_or(disk);
            let index = Index::open(disk, self.owner()).map_err(|why| unread(INDEX, &why))?;
            return match self.by_index(disk, &index, name, out)? {
                Ok(Some(found)) => Ok(Some(found)),
                Ok(None) => self.by_reading(&index, name, out, tell),
                Err(error) => {
                    tell(&format!("{INDEX}: {error}: packs are read"));
                    let none = Index::empty(disk);
                    self.by_reading(&none, name, out, tell)
                }
            };
        }
        self.by_reading(&index, name, out, tell)
    }

    fn owner(&self) -> u64 {
        self.look.run.number().unwrap_or_default()
    }

    /// Full packs that are there: those that belong into the index.
    fn full(&self, seen: &Seen) -> Vec<u32> {
        let packs = seen.past.state.packs.iter().filter(|(_, pack)| pack.full);
        let is_there = |number: &u32| {
            !matches!(open(seen.look.disk(), &pack_name(self.format, *number)), Ok(None))
        };
        packs.map(|(&number, _)| number).filter(is_there).collect()
    }

    /// Looks where the index says; the inner error is the index's.
    fn by_index(
        &self,
        disk: &dyn Disk,
        index: &Index<'_>,
        name: &[u8],
        out: &mut Out<'_>,
    ) -> Result<io::Result<Option<Found>>, Error> {
        let mut last = None;
        for candidate in index.lookup(name) {
            match candidate {
                Ok(candidate) if self.is_at(disk, candidate, name)? => {
                    last = last.max(Some(candidate));
                }
                Ok(_) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        match last {
            Some((pack, place)) => self.give(disk, pack, place, out).map(|found| Ok(Some(found))),
            None => Ok(Ok(None)),
        }
    }

    /// Whether an object of this name lies there. What is damaged is not it.
    fn is_at(
        &self,
        disk: &dyn Disk,
        (pack, place): (u32, u64),
        name: &[u8],
    ) -> Result<bool, Error> {
        let Some(Opened { file, .. }) = open(disk, &pack_name(self.format, pack))? else {
            return Ok(false);
        };
        let found = decode(self.format, file, None).and_then(|mut decode| {
            decode.seek(place)?;
            decode.next(None)
        });
        Ok(found.is_ok_and(|found| found.is_some_and(|found| found.name == name)))
    }

    fn give(
        &self,
        disk: &dyn Disk,
        pack: u32,
        place: u64,
        out: &mut Out<'_>,
    ) -> Result<Found, Error> {
        let file_name = pack_name(self.format, pack);
        let wrong = |why: io::Error| unread(&format!("{file_name} byte {place}"), &why);
        let gone = || wrong(io::ErrorKind::NotFound.into());
        let Opened { file, .. } = open(disk, &file_name)?.ok_or_else(gone)?;
        let mut decode = decode(self.format, file, None).map_err(wrong)?;
        decode.seek(place).map_err(wrong)?;
        let mut enough = false;
        let mut piece = |bytes: &[u8]| match out(bytes) {
            true => Ok(()),
            false => {
                enough = true;
                Err(io::ErrorKind::BrokenPipe.into())
            }
        };
        match decode.next(Some(&mut piece)) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(gone()),
            Err(_) if enough => Ok(Found { place, ..Found::default() }),
            Err(why) => Err(wrong(why)),
        }
    }

    /// Reads the packs that an index does not have.
    fn by_reading(
        &self,
        index: &Index<'_>,
        name: &[u8],
        out: &mut Out<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<Option<Found>, Error> {
        let seen = Seen::new(&self.path)?;
        let disk = seen.look.disk();
        let mut last = None;
        for (&number, pack) in &seen.past.state.packs {
            if pack.full && index.covers(number) {
                continue;
            }
            let file_name = pack_name(self.format, number);
            let Some(Opened { file, .. }) = open(disk, &file_name)? else {
                tell(&format!("{file_name}: not there: {} objects", pack.objects));
                continue;
            };
            let record = PackRecord { len: pack.len, objects: pack.objects, full: pack.full };
            let walked = decode(self.format, file, Some(record)).and_then(|mut decode| {
                while let Some(found) = decode.next(None)? {
                    if found.name == name {
                        last = Some((number, found.place));
                    }
                }
                Ok(())
            });
            if let Err(error) = walked {
                tell(&format!("{file_name}: {error}: not all of its objects could be seen"));
            }
        }
        last.map(|(pack, place)| self.give(disk, pack, place, out)).transpose()
    }

    /// Puts into the index what belongs there, and makes it one file; gives the destination, which
    /// is locked as long as that is held, or nothing where it cannot be written.
    fn complete(
        &self,
        broken: Option<&io::Error>,
        tell: &mut Tell<'_>,
    ) -> Result<Option<Destination>, Error> {
        let dest = match Destination::prepare(&self.path) {
            Ok(dest) => dest,
            Err(error) => {
                tell(&format!("{error}: without an index, packs are read from their beginning"));
                return Ok(None);
            }
        };
        // Nobody else writes from here on.
        let seen = Seen::new(&self.path)?;
        let (disk, owner) = (dest.disk(), self.owner());
        let disk = &*disk;
        let mut made = || -> io::Result<()> {
            if let Some(why) = broken {
                tell(&format!("{INDEX}: {why}: it is made again"));
                index::forget(disk)?;
            }
            let index = Index::open(disk, owner)?;
            for (name, why) in index.damaged() {
                tell(&format!("{INDEX}/{name}: {why}: it is made again"));
            }
            let mut packs = self.full(&seen);
            packs.retain(|pack| !index.covers(*pack));
            if !packs.is_empty() {
                let count = packs.len();
                tell(&format!("{count} packs are not in the index: reading them once"));
            }
            let mut decodes = packs.into_iter().map(|number| {
                let opened = open(disk, &pack_name(self.format, number)).map_err(io::Error::other);
                let opened = opened.and_then(|opened| opened.ok_or(io::ErrorKind::NotFound.into()));
                let whole = opened.and_then(|opened| decode(self.format, opened.file, None));
                (number, whole)
            });
            for (pack, why) in index::build(disk, owner, &mut decodes, &mut |_| true)?.unread {
                tell(&format!(
                    "{}: {why}: it cannot be put into the index",
                    pack_name(self.format, pack)
                ));
            }
            index::merge(disk, owner)?;
            Ok(())
        };
        let result = made();
        if let Err(error) = result {
            tell(&format!("{INDEX}: {error}: without it, packs are read from their beginning"));
        }
        Ok(Some(dest))
    }
}

/// Where the index lies, for messages.
const INDEX: &str = ".windrow/index";

fn each_packed(
    seen: &Seen,
    format: Format,
    take: &mut dyn Take,
    tell: &mut Tell<'_>,
) -> Result<u64, Error> {
    let mut unread = 0;
    for (&number, pack) in &seen.past.state.packs {
        let file_name = pack_name(format, number);
        let Some(Opened { file, .. }) = open(seen.look.disk(), &file_name)? else {
            tell(&format!("{file_name}: not there: {} objects", pack.objects));
            unread += pack.objects;
            continue;
        };
        let record = PackRecord { len: pack.len, objects: pack.objects, full: pack.full };
        let mut objects = 0;
        let walk = || -> io::Result<Result<bool, Error>> {
            let mut decode = decode(format, file, Some(record))?;
            loop {
                match next(&mut *decode, take)? {
                    Ok(Some(true)) => objects += 1,
                    Ok(Some(false)) => return Ok(Ok(false)),
                    Ok(None) => return Ok(Ok(true)),
                    Err(error) => return Ok(Err(error)),
                }
            }
        };
        match walk() {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(unread),
            Ok(Err(error)) => return Err(error),
            Err(error) => {
                take.torn();
                let left = pack.objects.saturating_sub(objects);
                tell(&format!("{file_name}: {error}: {left} objects"));
                unread += left;
            }
        }
    }
    Ok(unread)
}

/// Gives the next object to `take`, if it wants that; `None` behind the last. The outer error is the
/// pack's.
fn next(decode: &mut dyn Decode, take: &mut dyn Take) -> io::Result<Result<Option<bool>, Error>> {
    if !take.wants_all() {
        let Some(found) = decode.next(None)? else { return Ok(Ok(None)) };
        if !take.wants(&found.name) {
            return Ok(Ok(Some(true)));
        }
        decode.seek(found.place)?;
    }
    let mut failed = None;
    let mut piece = |bytes: &[u8]| {
        take.piece(bytes).map_err(|error| {
            failed = Some(error);
            io::ErrorKind::Other.into()
        })
    };
    let found = decode.next(Some(&mut piece));
    if let Some(error) = failed {
        return Ok(Err(error));
    }
    let Some(found) = found? else { return Ok(Ok(None)) };
    Ok(take.object(&found).map(Some))
}

fn each_of_files(seen: &Seen, take: &mut dyn Take, tell: &mut Tell<'_>) -> Result<u64, Error> {
    let parts = parts(seen.look.disk(), &seen.past)?;
    let mut manifests = Manifests::new(seen.look.disk());
    let mut unread = 0;
    for part in &parts {
        let checks = manifests.read(part);
        let (mut shown_names, mut ended) = (0, Ok(true));
        each_file(&checks, |recorded| {
            shown_names += 1;
            if !matches!(ended, Ok(true)) || !take.wants(recorded.name) {
                return;
            }
            let mut failed = None;
            let mut out = |bytes: &[u8]| {
                failed = take.piece(bytes).err();
                failed.is_none()
            };
            let given = place::find(seen.look.root(), recorded.name).map_err(io::Error::from);
            let given = given.and_then(|file| {
                let mut file = file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                pieces(&mut file, &mut out)
            });
            ended = match (failed, given) {
                (Some(error), _) => Err(error),
                (None, Ok(bytes)) => {
                    let name = recorded.name.to_vec();
                    take.object(&Found { name, bytes, ..Found::default() })
                }
                (None, Err(error)) => {
                    take.torn();
                    tell(&format!("{}: {error}", shown(recorded.name)));
                    unread += 1;
                    Ok(true)
                }
            };
        });
        if !ended? {
            break;
        }
        if !checks.proven {
            let left = part.objects.saturating_sub(shown_names);
            tell(&format!(".windrow/manifest: damaged: {left} names of {} are lost", part.objects));
            unread += left;
        }
    }
    Ok(unread)
}

/// Gives a file to `out`; says how long it is, or how much was wanted of it.
fn pieces(file: &mut std::fs::File, out: &mut Out<'_>) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE.min(file.metadata()?.len() as usize + 1)];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => {
                bytes += read as u64;
                if !out(&buffer[..read]) {
                    return Ok(bytes);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a pack; with its record only so far as it counts.
fn decode(
    format: Format,
    file: Box<dyn File>,
    record: Option<PackRecord>,
) -> io::Result<Box<dyn Decode>> {
    let (len, whole) = record.map_or((u64::MAX, true), |record| (record.len, record.full));
    let len = if whole { u64::MAX } else { len };
    format.decoder(Box::new(Recorded { file, len }), whole)
}

fn pack_name(format: Format, number: u32) -> String {
    format.packs().map_or_else(String::new, |kind| kind.file_name(number))
}

/// A name in a message.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

fn unread(subject: &str, why: &io::Error) -> Error {
    let error = Error::environment(subject, "cannot be read").why(why);
    match why.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            error.hint("`windrow verify` tells what is damaged")
        }
        _ => match Errno::from_io_error(why) {
            Some(Errno::IO) => error.hint("the disk gives an error (see `dmesg`)"),
            _ => error,
        },
    }
}
