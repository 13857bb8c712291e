//! Folders as values: to compare them, and to see that nothing else changed.

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat};
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use windrow_model::name;

/// The files below a folder: path relative to it -> content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Vec<u8>>);

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(path, body)| (path, body.len()))).finish()
    }
}

impl Tree {
    /// Reads every file below a folder. A link, a pipe or the like counts as a file without
    /// content, a folder without files is left out. Goes from handle to handle: long names make
    /// paths that are longer than the system takes at once.
    ///
    /// # Panics
    /// When something cannot be read.
    pub fn read(folder: &Path) -> Self {
        let mut tree = Self::default();
        visit(folder, &mut |path, dir, name, stat| {
            let body = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => return,
                FileType::RegularFile => content(path, dir, name),
                _ => Vec::new(),
            };
            tree.0.insert(path.to_owned(), body);
        });
        tree
    }

    /// Writes every file below a folder.
    ///
    /// # Panics
    /// When something cannot be written.
    pub fn write(&self, folder: &Path) {
        for (path, body) in &self.0 {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("a file is in a folder"))
                .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            std::fs::write(&path, body).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        }
    }

    /// Without what lies below a path.
    #[must_use]
    pub fn without(mut self, path: impl AsRef<Path>) -> Self {
        self.0.retain(|own, _| !own.starts_with(path.as_ref()));
        self
    }

    /// The objects that the files stand for: name -> content, by the rule of `windrow_model`.
    ///
    /// # Panics
    /// When a path stands for no name, or two for the same.
    pub fn objects(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut objects = BTreeMap::new();
        for (path, body) in &self.0 {
            let stored = path.as_os_str().as_bytes();
            let name = name::from_path(stored);
            let name = name.unwrap_or_else(|| panic!("no object lies at {}", path.display()));
            let earlier = objects.insert(name, body.clone());
            assert!(earlier.is_none(), "the name at {} is there twice", path.display());
        }
        objects
    }
}

/// Everything below a folder that a program could have touched, a line for each entry: kind,
/// permissions, owner, size, when it changed, and what it holds. What lies below `except` is left
/// out.
///
/// # Panics
/// When something cannot be read.
pub fn outline(folder: &Path, except: &Path) -> BTreeMap<PathBuf, String> {
    let mut lines = BTreeMap::new();
    visit(folder, &mut |path, dir, name, stat| {
        if path.starts_with(except) {
            return;
        }
        let held = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => content(path, dir, name),
            FileType::Symlink => {
                let target = fs::readlinkat(dir, name, Vec::new());
                target.expect("a link that can be read").into_bytes()
            }
            _ => Vec::new(),
        };
        let Stat { st_mode, st_uid, st_gid, st_size, st_nlink, .. } = stat;
        let changed = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        let line = format!(
            "{st_mode:o} {st_uid}:{st_gid} {st_nlink} links, {st_size} bytes, {changed:?}: {}",
            held.escape_ascii()
        );
        lines.insert(path.to_owned(), line);
    });
    lines
}

/// Calls `see` with every entry below a folder: its path from there, its folder, its own name.
fn visit(folder: &Path, see: &mut dyn FnMut(&Path, &OwnedFd, &CStr, &Stat)) {
    // A folder's parent is open as long as the folder waits, and not the folder: a wide tree would
    // need too many handles.
    let mut waiting: Vec<(PathBuf, Option<Rc<OwnedFd>>)> = vec![(PathBuf::new(), None)];
    while let Some((at, parent)) = waiting.pop() {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match (parent, at.file_name()) {
            (Some(parent), Some(name)) => fs::openat(&*parent, name, flags, Mode::empty()),
            _ => fs::open(folder, flags, Mode::empty()),
        };
        let dir = Rc::new(must(&at, opened));
        for entry in must(&at, Dir::read_from(&*dir)) {
            let entry = must(&at, entry);
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = at.join(OsStr::from_bytes(name.to_bytes()));
            let stat = must(&path, fs::statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW));
            see(&path, &dir, name, &stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                waiting.push((path, Some(Rc::clone(&dir))));
            }
        }
    }
}

fn content(path: &Path, dir: &OwnedFd, name: &CStr) -> Vec<u8> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(must(path, fs::openat(dir, name, flags, Mode::empty())));
    let mut body = Vec::new();
    must(path, file.read_to_end(&mut body));
    body
}

#[track_caller]
fn must<T, E: std::fmt::Display>(path: &Path, result: Result<T, E>) -> T {
    result.unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

impl<P: AsRef<[u8]>, B: Into<Vec<u8>>> FromIterator<(P, B)> for Tree {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let path = |path: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        Self(files.into_iter().map(|(own, body)| (path(own.as_ref()), body.into())).collect())
    }
}
