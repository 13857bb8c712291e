//! Compares a destination with the corpus it was fetched from.

use super::packs;
use std::fs::File;
use std::io::Read;
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
const OWN: [&str; 8] =
    ["failures.jsonl", "index", "ledger", "lock", "manifest", "open", "run.json", "summary.json"];

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
    let names = entries(dest);
    for name in &names {
        if name == ".windrow" {
            continue;
        }
        let path = dest.join(name);
        if let Some(shown) = packs::show(&path, &mut see) {
            broken += u64::from(shown.is_err());
        } else if let Some(number) = name.strip_suffix("_stats.json") {
            let is_its = |other: &String| {
                let rest = other.strip_prefix(number);
                rest.is_some_and(|rest| rest.starts_with('.'))
            };
            broken += u64::from(!names.iter().any(is_its) || !is_json(&path));
        } else {
            body.clear();
            let mut file = File::open(&path).expect("an object's file");
            file.read_to_end(&mut body).expect("an object's file can be read");
            see(name.as_bytes(), &body);
        }
    }
    verdict.torn += broken;
    verdict.lost = corpus.count - verdict.right;
    verdict
}

fn is_json(path: &Path) -> bool {
    let json = File::open(path).map(serde_json::from_reader::<_, serde_json::Value>);
    json.is_ok_and(|json| json.is_ok())
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
