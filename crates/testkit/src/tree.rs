//! Folders as values: to compare them, and to see that nothing else changed.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
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
    /// content, a folder without files is left out.
    ///
    /// # Panics
    /// When something cannot be read.
    pub fn read(folder: &Path) -> Self {
        let mut tree = Self::default();
        let mut waiting = vec![folder.to_owned()];
        while let Some(at) = waiting.pop() {
            let entries = std::fs::read_dir(&at);
            let entries = entries.unwrap_or_else(|why| panic!("{}: {why}", at.display()));
            for entry in entries {
                let entry = entry.expect("a folder can be read");
                let path = entry.path();
                let kind = entry.file_type().expect("a file has a type");
                if kind.is_dir() {
                    waiting.push(path);
                    continue;
                }
                let body = if kind.is_file() {
                    std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
                } else {
                    Vec::new()
                };
                let path = path.strip_prefix(folder).expect("a path below its folder");
                tree.0.insert(path.to_owned(), body);
            }
        }
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

impl<P: AsRef<[u8]>, B: Into<Vec<u8>>> FromIterator<(P, B)> for Tree {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let path = |path: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        Self(files.into_iter().map(|(own, body)| (path(own.as_ref()), body.into())).collect())
    }
}
