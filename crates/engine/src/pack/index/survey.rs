//! Which files of an index are there, and what they are good for.

use super::run::{Head, Opened, damaged};
use super::{ALL, RUN, run_file};
use crate::disk::{Dir, Disk};
use roaring::RoaringBitmap;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;

/// The files of an index.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Those that can be read, as far as their headers say; `all` first.
    pub(super) files: Vec<(String, Head)>,
    /// Packs all whose entries are in them.
    pub(super) covers: RoaringBitmap,
    /// Files that are damaged, and how.
    pub(super) damaged: Vec<(String, io::Error)>,
    /// What another run left, and what a process left that was killed while it merged.
    pub(super) waste: Vec<String>,
}

/// Looks at every file.
///
/// # Errors
/// The environment's.
pub(super) fn survey(disk: &dyn Disk, owner: u64) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let mut names = match disk.list(Dir::Index) {
        Err(Errno::NOENT) => return Ok(survey),
        names => names?,
    };
    names.sort_by_key(|name| name != ALL);
    for name in names {
        if is_unfinished(&name) {
            survey.waste.push(name);
            continue;
        }
        match Opened::open(disk, &name) {
            Ok(opened) if opened.head.owner == owner => survey.files.push((name, opened.head)),
            Ok(_) => survey.waste.push(name),
            Err(error) if is_damage(&error) => survey.damaged.push((name, error)),
            // Somebody merges at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let (covers, lost) = covers(&survey.files, |_| true);
    survey.covers = covers;
    // What such a file has is right; it is only not all.
    survey.damaged.extend(lost.into_iter().map(|name| (name, damaged("a part of it is gone"))));
    Ok(survey)
}

/// The packs all whose entries are in the files that are `good`, and such files as lack a part.
pub(super) fn covers(
    files: &[(String, Head)],
    good: impl Fn(&str) -> bool,
) -> (RoaringBitmap, Vec<String>) {
    let good = files.iter().filter(|(name, _)| good(name));
    let names: BTreeSet<&str> = good.clone().map(|(name, _)| name.as_str()).collect();
    let (mut covers, mut lost) = (RoaringBitmap::new(), Vec::new());
    for (name, head) in good {
        let is_there = |pack, part| names.contains(run_file(pack, Some(part)).as_str());
        let whole = |pack| (0..head.parts).all(|part| is_there(pack, part));
        match head.parts == 0 || head.covers.iter().all(whole) {
            true => covers |= &head.covers,
            false => lost.push(name.clone()),
        }
    }
    (covers, lost)
}

/// Whether a file is one that a merge left, which came to no end.
pub(super) fn is_unfinished(name: &str) -> bool {
    name != ALL && !name.ends_with(RUN)
}

/// Whether an error says that a file is not what was written, and not that nothing can be read.
pub(super) fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData || Errno::from_io_error(error) == Some(Errno::IO)
}
