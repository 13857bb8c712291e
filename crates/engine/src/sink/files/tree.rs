//! The directories that names with `/` need, made and opened without leaving the destination.
//!
//! Every step is relative to the handle of the one before and follows no symbolic link, so
//! nothing outside the destination is reached, whatever a name says and whoever plants a link.
//! Where the kernel has `openat2` (Linux 5.6), it takes all steps to a directory that is there in
//! one call, by the same rule.

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use windrow_model::limits::NAME_DEPTH;
use windrow_model::name;

/// Open handles of directories, by the part of the name that leads to them.
///
/// Two generations stand for "lately used": when the young one is full it becomes the old one,
/// and what the old one held is closed unless it was used since.
#[derive(Debug)]
pub(crate) struct Tree {
    young: HashMap<Box<[u8]>, Arc<OwnedFd>>,
    old: HashMap<Box<[u8]>, Arc<OwnedFd>>,
    /// Whether the kernel has `openat2`, as far as is known.
    leap: bool,
    /// Handles that are kept, at most.
    most: usize,
}

impl Tree {
    /// A tree that keeps so many handles, at most.
    pub(crate) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), leap: true, most }
    }

    /// The directory for the part of a name before its last `/`.
    ///
    /// # Errors
    /// The system's; `NAMETOOLONG` for more than [`NAME_DEPTH`] levels.
    pub(crate) fn dir(&mut self, root: BorrowedFd<'_>, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(dir) = self.young.get(path) {
            return Ok(Arc::clone(dir));
        }
        if path.iter().filter(|&&b| b == b'/').count() >= NAME_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        let dir = match self.old.remove(path) {
            Some(dir) => dir,
            None => Arc::new(match self.leap(root, path) {
                Some(dir) => dir,
                None => walk(root, path)?,
            }),
        };
        if self.young.len() >= (self.most / 2).max(1) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(path.into(), Arc::clone(&dir));
        Ok(dir)
    }

    /// Forgets the handle of a directory that is gone.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.young.remove(path);
        self.old.remove(path);
    }

    /// Opens a directory of several plain levels in one call of the system, if all of it is there:
    /// 0.8 us instead of 1.3 for two levels, 1.1 instead of 5.0 for eight (measured on ext4).
    fn leap(&mut self, root: BorrowedFd<'_>, path: &[u8]) -> Option<OwnedFd> {
        // One level is one call in any case.
        if !self.leap || memchr::memchr(b'/', path).is_none() {
            return None;
        }
        let mut components = path.split(|&b| b == b'/').enumerate();
        if !components.all(|(index, component)| name::is_plain(component, index == 0)) {
            return None;
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Ok(dir) => Some(dir),
            // An older kernel, or a filter of system calls that does not know this one.
            Err(Errno::NOSYS | Errno::PERM) => {
                self.leap = false;
                None
            }
            // Something is missing or in the way, or (AGAIN) was renamed meanwhile: the walk sees
            // at each step what it is.
            Err(_) => None,
        }
    }
}

/// Whether making a file in a directory says that it was removed meanwhile. (EPERM is what ext4 says of a
/// nameless file in a directory that is gone.)
pub(super) fn gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::PERM)
}

/// Enters a directory level by level, making what is missing.
pub(super) fn walk(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut here: Option<OwnedFd> = None;
    for (index, component) in path.split(|&b| b == b'/').enumerate() {
        let parent = here.as_ref().map_or(root, |dir| dir.as_fd());
        here = Some(enter(parent, component, index == 0)?);
    }
    here.ok_or(Errno::INVAL)
}

/// Enters the directory of one component, in its plain form unless a file has that place.
fn enter(parent: BorrowedFd<'_>, component: &[u8], first: bool) -> Result<OwnedFd, Errno> {
    if name::is_plain(component, first) {
        match open_or_make(parent, component) {
            // A file, or a link that somebody planted.
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            other => return other,
        }
    }
    let mut encoded = Vec::new();
    name::encode_component(component, name::Kind::Directory, &mut encoded);
    descend(parent, &encoded)
}

/// Enters directories whose stored names are known.
pub(crate) fn descend(parent: BorrowedFd<'_>, stored: &[u8]) -> Result<OwnedFd, Errno> {
    let mut here: Option<OwnedFd> = None;
    for piece in stored.split(|&b| b == b'/') {
        let parent = here.as_ref().map_or(parent, |dir| dir.as_fd());
        here = Some(open_or_make(parent, piece)?);
    }
    here.ok_or(Errno::INVAL)
}

/// # Errors
/// `NOTDIR` or `LOOP` where something else is in the way, or comes and goes; else the system's.
fn open_or_make(parent: BorrowedFd<'_>, stored: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    for _ in 0..OPEN_ATTEMPTS {
        match fs::openat(parent, stored, flags, Mode::empty()) {
            Err(Errno::NOENT) => match fs::mkdirat(parent, stored, Mode::from(0o755)) {
                // Another core may have been quicker.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            },
            other => return other,
        }
    }
    Err(Errno::LOOP)
}

/// Looks at one place, at most: more than one making and one looking are needed only where
/// somebody takes away what is there.
const OPEN_ATTEMPTS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn open(path: &Path) -> OwnedFd {
        fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// Runs a test with `openat2`, and without as on an older kernel.
    fn both_ways(test: impl Fn(&Path, &mut dyn FnMut(&str) -> Result<Arc<OwnedFd>, Errno>)) {
        for leap in [true, false] {
            let place = tempfile::tempdir().unwrap();
            std::fs::create_dir(place.path().join("root")).unwrap();
            let root = open(&place.path().join("root"));
            // A tree of its own for each call: nothing is open already.
            let mut dir = |path: &str| {
                let mut tree = Tree { leap, ..Tree::new(64) };
                let dir = tree.dir(root.as_fd(), path.as_bytes());
                assert_eq!(tree.leap, leap, "this kernel has openat2");
                dir
            };
            test(place.path(), &mut dir);
        }
    }

    /// Where a handle leads to, as the kernel sees it.
    fn place_of(dir: &OwnedFd) -> std::path::PathBuf {
        use std::os::fd::AsRawFd;
        std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).unwrap()
    }

    #[test]
    fn directories_are_made_once_and_found_again() {
        both_ways(|place, dir| {
            for path in
                ["a", "a/b/c", "a/b/c", "a/b", "x//y", "../up/.", "a/.windrow", ".windrow/a"]
            {
                let first = place_of(&dir(path).unwrap());
                let again = place_of(&dir(path).unwrap());
                assert_eq!(first, again);
                let below = first.strip_prefix(place.join("root")).expect("inside");
                let name = name::from_path(&[below.as_os_str().as_encoded_bytes(), b"/f"].concat());
                assert_eq!(name, Some(format!("{path}/f").into_bytes()));
            }
        });
    }

    #[test]
    fn no_link_is_followed_at_any_level() {
        both_ways(|place, dir| {
            std::fs::create_dir_all(place.join("outside/b/c")).unwrap();
            std::fs::create_dir_all(place.join("root/a/inside/b")).unwrap();
            let link = |target: &str, path: &str| {
                std::os::unix::fs::symlink(target, place.join("root").join(path)).unwrap();
            };
            link("../outside", "up");
            link(place.join("outside").to_str().unwrap(), "a/absolute");
            link("inside", "a/near");
            link("/proc/self/cwd", "a/magic");
            link("a", "self");
            for path in ["up", "up/b", "up/b/c", "a/absolute/b", "a/near/b", "a/magic/b", "self/b"]
            {
                let found = place_of(&dir(path).unwrap());
                assert!(found.starts_with(place.join("root")), "{path}: {}", found.display());
                assert!(found.to_str().unwrap().contains("%@"), "{path}: {}", found.display());
            }
            let outside = std::fs::read_dir(place.join("outside/b")).unwrap().count();
            assert_eq!(outside, 1, "only what was there");
        });
    }

    #[test]
    fn too_many_levels_are_refused_even_where_they_are() {
        both_ways(|_, dir| {
            let deep = ["d"; NAME_DEPTH].join("/");
            dir(&deep).unwrap();
            // Somebody made one more.
            let last = dir(&deep).unwrap();
            fs::mkdirat(&last, "d", Mode::from(0o755)).unwrap();
            assert_eq!(dir(&format!("{deep}/d")).err(), Some(Errno::NAMETOOLONG));
        });
    }

    #[test]
    fn a_link_that_comes_and_goes_ends_nothing() {
        both_ways(|place, dir| {
            let done = AtomicBool::new(false);
            let link = place.join("root/a");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let _ = std::os::unix::fs::symlink("..", &link);
                        let _ = std::fs::remove_file(&link);
                    }
                });
                let failed: Vec<_> = (0..20_000)
                    .filter_map(|_| {
                        let failed = dir("a").err();
                        let _ = std::fs::remove_dir(&link);
                        failed
                    })
                    .collect();
                done.store(true, Ordering::Relaxed);
                assert_eq!(failed, Vec::<Errno>::new());
            });
            assert_eq!(std::fs::read_dir(place).unwrap().count(), 1, "only the root");
        });
    }
}
