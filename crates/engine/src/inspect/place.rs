//! Files of objects: found below a destination, and placed below another directory, by the rule of
//! `windrow_model::name`. No link is followed and nothing outside is touched.

use crate::sink::{Tree, descend};
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use windrow_model::limits::NAME_DEPTH;
use windrow_model::name::{self, Kind};

const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the file of an object, in whichever of its places it lies.
///
/// # Errors
/// The system's; not for what is simply not there, or no plain file.
pub(super) fn find(root: BorrowedFd<'_>, name: &[u8]) -> Result<Option<File>, Errno> {
    if name.iter().filter(|&&byte| byte == b'/').count() > NAME_DEPTH {
        return Ok(None);
    }
    let mut path = Vec::new();
    name::to_path(name, &mut path);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    // Nearly always it is where it belongs; older kernels cannot be asked so.
    if let Ok(file) = fs::openat2(root, path.as_slice(), FILE, Mode::empty(), resolve)
        && is_plain_file(&file)?
    {
        return Ok(Some(file.into()));
    }
    Ok(look(root, name, true)?.map(File::from))
}

/// Looks in both places of each component.
fn look(dir: BorrowedFd<'_>, rest: &[u8], first: bool) -> Result<Option<OwnedFd>, Errno> {
    let slash = memchr::memchr(b'/', rest);
    let component = &rest[..slash.unwrap_or(rest.len())];
    let kind = if slash.is_some() { Kind::Directory } else { Kind::File };
    let mut encoded = Vec::new();
    name::encode_component(component, kind, &mut encoded);
    let plain = name::is_plain(component, first).then_some(component);
    for form in plain.into_iter().chain([encoded.as_slice()]) {
        let Some(found) = enter(dir, form, kind)? else { continue };
        match slash {
            None if is_plain_file(&found)? => return Ok(Some(found)),
            None => {}
            Some(at) => {
                if let Some(file) = look(found.as_fd(), &rest[at + 1..], false)? {
                    return Ok(Some(file));
                }
            }
        }
    }
    Ok(None)
}

/// Opens one component, which may be stored as several.
fn enter(dir: BorrowedFd<'_>, form: &[u8], kind: Kind) -> Result<Option<OwnedFd>, Errno> {
    let mut here: Option<OwnedFd> = None;
    let mut pieces = form.split(|&byte| byte == b'/').peekable();
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        let flags = if last && kind == Kind::File { FILE } else { DIRECTORY };
        match fs::openat(here.as_ref().map_or(dir, AsFd::as_fd), piece, flags, Mode::empty()) {
            Ok(found) => here = Some(found),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO) => {
                return Ok(None);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(here)
}

fn is_plain_file(file: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fs::fstat(file)?.st_mode) == FileType::RegularFile)
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is there now.
    New,
    /// It was there before, with the same content.
    Same,
    /// Another was there, and is still.
    Kept,
}

/// A directory in which objects become files.
pub(super) struct Folder {
    root: OwnedFd,
    tree: Tree,
    overwrite: bool,
    /// Files without a name are possible here, as far as is known.
    nameless: bool,
    /// Of temporary names.
    next: u64,
}

/// A file that has no final name yet.
pub(super) struct Unnamed {
    file: File,
    /// Its name in the root, where it has one. It is gone with this.
    temporary: Option<(OwnedFd, String)>,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some((root, name)) = &self.temporary {
            let _ = fs::unlinkat(root, name.as_str(), AtFlags::empty());
        }
    }
}

impl Unnamed {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
}

/// Directory handles that are kept open.
const DIRECTORIES: usize = 64;

impl Folder {
    /// Opens the directory, which is made if it is not there.
    pub(super) fn open(path: &Path, overwrite: bool) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { root, tree: Tree::new(DIRECTORIES), overwrite, nameless: true, next: 0 })
    }

    /// A file that is to get its name later.
    pub(super) fn unnamed(&mut self) -> io::Result<Unnamed> {
        let mode = Mode::from(0o644);
        if self.nameless {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            match fs::openat(&self.root, c".", flags, mode) {
                Ok(file) => return Ok(Unnamed { file: file.into(), temporary: None }),
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                    self.nameless = false;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        let name = self.temporary_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(&self.root, name.as_str(), flags, mode)?;
        let root = self.root.try_clone()?;
        Ok(Unnamed { file: file.into(), temporary: Some((root, name)) })
    }

    /// A file name that no object has: of no path is such a component the last.
    fn temporary_name(&mut self) -> String {
        self.next += 1;
        format!("%+extract-{}-{}", std::process::id(), self.next)
    }

    /// Makes a file of an object: of what `head` has, or of a file that has all of it.
    ///
    /// # Errors
    /// The system's: of the name, or of everything.
    pub(super) fn place(
        &mut self,
        name: &[u8],
        head: &[u8],
        large: Option<Unnamed>,
    ) -> io::Result<Placed> {
        let at = memchr::memrchr(b'/', name);
        let dir = at.map(|at| self.tree.dir(self.root.as_fd(), &name[..at])).transpose()?;
        let dir = match &dir {
            Some(dir) => dir.try_clone()?,
            None => self.root.try_clone()?,
        };
        let file = &name[at.map_or(0, |at| at + 1)..];
        let mut body = Body { head, large };
        if name::is_plain(file, at.is_none())
            && let Some(placed) = self.put(dir.as_fd(), file, &mut body)?
        {
            return Ok(placed);
        }
        let mut encoded = Vec::new();
        name::encode_component(file, Kind::File, &mut encoded);
        let placed = match memchr::memrchr(b'/', &encoded) {
            None => self.put(dir.as_fd(), &encoded, &mut body)?,
            Some(at) => {
                let dir = descend(dir.as_fd(), &encoded[..at])?;
                self.put(dir.as_fd(), &encoded[at + 1..], &mut body)?
            }
        };
        placed.ok_or_else(|| Errno::ISDIR.into())
    }

    /// `None` where a directory has the name.
    fn put(
        &mut self,
        dir: BorrowedFd<'_>,
        file: &[u8],
        body: &mut Body<'_>,
    ) -> io::Result<Option<Placed>> {
        match fs::openat(dir, file, FILE, Mode::empty()) {
            Err(Errno::NOENT) => {}
            Err(Errno::LOOP | Errno::NXIO | Errno::ACCESS) if self.overwrite => {}
            Err(Errno::LOOP | Errno::NXIO | Errno::ACCESS) => return Ok(Some(Placed::Kept)),
            Err(errno) => return Err(errno.into()),
            Ok(there) => match FileType::from_raw_mode(fs::fstat(&there)?.st_mode) {
                FileType::Directory => return Ok(None),
                FileType::RegularFile if body.is_in(there.into())? => {
                    return Ok(Some(Placed::Same));
                }
                _ if self.overwrite => {}
                _ => return Ok(Some(Placed::Kept)),
            },
        }
        let mut unnamed = match body.large.take() {
            Some(large) => large,
            None => {
                let mut unnamed = self.unnamed()?;
                unnamed.write(body.head)?;
                unnamed
            }
        };
        self.name(dir, file, &mut unnamed)?;
        Ok(Some(Placed::New))
    }

    fn name(&mut self, dir: BorrowedFd<'_>, file: &[u8], from: &mut Unnamed) -> io::Result<()> {
        if from.temporary.is_none() {
            let path = format!("/proc/self/fd/{}", from.file.as_raw_fd());
            match fs::linkat(CWD, path.as_str(), dir, file, AtFlags::SYMLINK_FOLLOW) {
                Err(Errno::EXIST) if self.overwrite => {
                    let name = self.temporary_name();
                    let (root, follow) = (self.root.try_clone()?, AtFlags::SYMLINK_FOLLOW);
                    fs::linkat(CWD, path.as_str(), &root, name.as_str(), follow)?;
                    from.temporary = Some((root, name));
                }
                other => return Ok(other?),
            }
        }
        if let Some((root, name)) = &from.temporary {
            let how = if self.overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
            match fs::renameat_with(root, name.as_str(), dir, file, how) {
                // That nothing is there was looked at.
                Err(Errno::INVAL | Errno::NOSYS) => fs::renameat(root, name.as_str(), dir, file)?,
                other => other?,
            }
            from.temporary = None;
        }
        Ok(())
    }
}

/// A body, in memory or in a file.
struct Body<'a> {
    head: &'a [u8],
    large: Option<Unnamed>,
}

impl Body<'_> {
    /// Whether a file has the same content.
    fn is_in(&mut self, mut there: File) -> io::Result<bool> {
        match &mut self.large {
            None => {
                let same = there.metadata()?.len() == self.head.len() as u64;
                Ok(same && is_same(&mut there, &mut &*self.head)?)
            }
            Some(large) => {
                let same = there.metadata()?.len() == large.file.metadata()?.len();
                large.file.rewind()?;
                Ok(same && is_same(&mut there, &mut large.file)?)
            }
        }
    }
}

fn is_same(one: &mut dyn Read, other: &mut dyn Read) -> io::Result<bool> {
    const PIECE: u64 = 64 << 10;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        one.take(PIECE).read_to_end(&mut left)?;
        other.take(PIECE).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
