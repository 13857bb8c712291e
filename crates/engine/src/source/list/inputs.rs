//! The files of a list, and what each of them is.

use std::path::{Path, PathBuf};
use windrow_model::Error;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One URL a line.
    Txt,
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// The same with tabs.
    Tsv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Form {
    /// Every form, with the extensions by which it is known.
    pub const ALL: [(&'static str, Form); 7] = [
        ("txt", Self::Txt),
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("jsonl", Self::Jsonl),
        ("ndjson", Self::Jsonl),
        ("parquet", Self::Parquet),
        ("urls", Self::Txt),
    ];

    /// The form of that name.
    pub fn named(name: &str) -> Option<Self> {
        let known = Self::ALL.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map(|&(_, form)| form)
    }

    /// The form of a file, by its extension; `.gz` and `.zst` behind it do not count.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (_, extension) = uncompressed(name).rsplit_once('.')?;
        Self::named(extension)
    }
}

fn uncompressed(name: &str) -> &str {
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
}

/// One file of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// `None` is standard input.
    pub path: Option<PathBuf>,
    pub form: Form,
    /// Its name says that it is compressed.
    pub compressed: bool,
}

impl Input {
    /// How messages call it.
    pub(super) fn shown(&self) -> String {
        match &self.path {
            None => "standard input".into(),
            Some(path) => path.display().to_string(),
        }
    }

    /// Whether it can be opened more than once.
    pub(super) fn is_lasting(&self) -> bool {
        self.path.as_deref().is_some_and(Path::is_file)
    }
}

/// Finds the files: `-` is standard input, a directory stands for the list files in it, in the order
/// of the bytes of their names. Without a form those with a known extension are list files; with
/// one, all that do not begin with `.` or `_`.
pub(super) fn find(paths: &[PathBuf], form: Option<Form>) -> Result<Vec<Input>, Error> {
    let mut inputs = Vec::new();
    let mut stdin = false;
    for path in paths {
        if path.as_os_str() == "-" {
            if std::mem::replace(&mut stdin, true) {
                return Err(Error::usage("-", "standard input can be read once only"));
            }
            let form = form.unwrap_or(Form::Txt);
            inputs.push(Input { path: None, form, compressed: false });
        } else if path.is_dir() {
            let before = inputs.len();
            let mut files = Vec::new();
            let unreadable =
                |why| Error::environment(path.display().to_string(), "cannot read").why(why);
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let file = entry.map_err(unreadable)?.path();
                let name = file.file_name().unwrap_or_default().as_encoded_bytes();
                if !matches!(name.first(), Some(b'.' | b'_')) && file.is_file() {
                    files.push(file);
                }
            }
            files.sort_unstable();
            inputs.extend(files.into_iter().filter_map(|file| {
                let form = form.or_else(|| Form::of(&file))?;
                Some(input(file, form))
            }));
            if inputs.len() == before {
                return Err(Error::usage(path.display().to_string(), "has no list in it")
                    .hint("a list is a .txt, .csv, .tsv, .jsonl or .parquet file"));
            }
        } else {
            let Some(form) = form.or_else(|| Form::of(path)) else {
                return Err(Error::usage(path.display().to_string(), "what is it?")
                    .why("its name does not end in .txt, .csv, .tsv, .jsonl or .parquet")
                    .hint("say so with --list-format"));
            };
            inputs.push(input(path.clone(), form));
        }
    }
    if inputs.is_empty() {
        return Err(Error::usage("list", "has no file"));
    }
    Ok(inputs)
}

fn input(path: PathBuf, form: Form) -> Input {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let compressed = uncompressed(&name) != name;
    Input { path: Some(path), form, compressed }
}
