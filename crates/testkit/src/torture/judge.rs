//! Compares a destination with the corpus it was fetched from.
//!
//! Reads tar files by itself, and nothing else of windrow's: what a bug writes and reads back
//! would look right to the same bug.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use windrow_model::Corpus;

/// What is in a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Objects with their own bytes.
    pub right: u64,
    /// Objects that are not there.
    pub lost: u64,
    /// Objects that are there once more.
    pub doubled: u64,
    /// Files and members that are no object, or not a whole one; packs that end in the middle.
    pub torn: u64,
    /// Unfinished files, and files of windrow's that are none of its own.
    pub left: u64,
}

impl Verdict {
    /// Whether every object is there, once, whole, and nothing else.
    pub fn is_clean(&self, corpus: &Corpus) -> bool {
        *self == Self { right: corpus.count, ..Self::default() }
    }

    /// Whether what is there is right, as far as it goes.
    pub fn is_sound(&self) -> bool {
        self.doubled == 0 && self.torn == 0
    }
}

/// What a finished run leaves in `.windrow`.
const OWN: [&str; 7] =
    ["failures.jsonl", "ledger", "lock", "manifest", "open", "run.json", "summary.json"];

/// Looks at every file of a destination.
///
/// # Panics
/// When something cannot be read.
pub fn judge(dest: &Path, corpus: &Corpus) -> Verdict {
    let mut verdict = Verdict { left: leftovers(dest).len() as u64, ..Verdict::default() };
    let mut seen = vec![0_u64; usize::try_from(corpus.count.div_ceil(64)).expect("a small corpus")];
    let mut see = |name: &[u8], body: &[u8]| {
        let Some(ordinal) = corpus.ordinal_of(name).filter(|&nth| corpus.matches(nth, body)) else {
            verdict.torn += 1;
            return;
        };
        let (word, bit) = (&mut seen[(ordinal / 64) as usize], 1 << (ordinal % 64));
        match *word & bit {
            0 => verdict.right += 1,
            _ => verdict.doubled += 1,
        }
        *word |= bit;
    };
    let mut broken = 0;
    let mut body = Vec::new();
    for name in entries(dest) {
        let path = dest.join(&name);
        match &*name {
            ".windrow" => {}
            pack if pack.ends_with(".tar") => {
                broken += u64::from(members(&path, &mut see).is_err());
            }
            name => {
                body.clear();
                let mut file = File::open(&path).expect("an object's file");
                file.read_to_end(&mut body).expect("an object's file can be read");
                see(name.as_bytes(), &body);
            }
        }
    }
    verdict.torn += broken;
    verdict.lost = corpus.count - verdict.right;
    verdict
}

/// Names in the state directory that should not be there between two processes.
pub fn leftovers(dest: &Path) -> Vec<String> {
    let state = dest.join(".windrow");
    let other = entries(&state).into_iter().filter(|name| !OWN.contains(&name.as_str()));
    let open = entries(&state.join("open")).into_iter().map(|name| format!("open/{name}"));
    other.chain(open).collect()
}

/// What lies directly in a folder; nothing where there is no folder.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("a folder that can be read").file_name().to_string_lossy().into_owned()
    };
    entries.map(name).collect()
}

/// Shows the members of a pack with short names.
///
/// # Errors
/// What is wrong with it: the members before that were shown.
fn members(pack: &Path, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), &'static str> {
    const BLOCK: usize = 512;
    let file = File::open(pack).map_err(|_| "cannot be opened")?;
    let mut tar = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; BLOCK];
    let mut body = Vec::new();
    loop {
        tar.read_exact(&mut header).map_err(|_| "no end")?;
        if header == [0; BLOCK] {
            tar.read_exact(&mut header).map_err(|_| "half an end")?;
            let whole = header == [0; BLOCK] && tar.read(&mut header).map_err(|_| "unread")? == 0;
            return if whole { Ok(()) } else { Err("something behind the end") };
        }
        let octal = |field: &[u8]| {
            let digits = field.iter().take_while(|digit| digit.is_ascii_digit());
            digits.fold(0, |value, digit| value * 8 + usize::from(digit - b'0'))
        };
        let sum: usize = header.iter().map(|&byte| usize::from(byte)).sum();
        let field: usize = header[148..156].iter().map(|&byte| usize::from(byte)).sum();
        if sum - field + 8 * usize::from(b' ') != octal(&header[148..155]) {
            return Err("a header with a wrong sum");
        }
        let size = octal(&header[124..135]);
        body.resize(size.next_multiple_of(BLOCK), 0);
        tar.read_exact(&mut body).map_err(|_| "ends in a body")?;
        let name = header[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        see(name, &body[..size]);
    }
}
