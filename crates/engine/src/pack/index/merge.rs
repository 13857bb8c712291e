//! Many runs become one file.
//!
//! Each run gives some pages; what is certain to come before all that was not read yet is sorted
//! and written. So many runs at once cost no more for an entry than few.
//!
//! The new file is synced before it takes the place of the old one, and runs are removed after that:
//! a crash leaves the runs, or the whole, or both, which is the same entries twice.

use super::run::{Head, Opened, Writer};
use super::sort::sort;
use super::survey::{Survey, covers, is_damage, is_unfinished, survey};
use super::{ALL, Entry};
use crate::disk::{Dir, Disk};
use std::io;
use windrow_model::limits::{INDEX_FAN_IN, INDEX_FILES};

/// Pages that one file holds in memory while it is merged, at 19 KiB each.
const PAGES: u64 = 4;

/// What merging came to.
#[derive(Debug, Default)]
pub struct Merged {
    /// Entries of the whole index.
    pub entries: u64,
    /// Packs all whose objects are in it.
    pub packs: u64,
    /// Files that were damaged, and how. What could be read of them is in; their packs are not
    /// taken to be complete, unless another file has them.
    pub damaged: Vec<(String, io::Error)>,
}

/// Makes one file of all that are there. The caller has the destination for itself.
///
/// Memory: 78 KiB for each of up to [`INDEX_FAN_IN`] files, and the same again.
///
/// # Errors
/// The environment's; then what was there is still there.
pub fn merge(disk: &dyn Disk, owner: u64) -> io::Result<Merged> {
    merge_by(disk, owner, INDEX_FAN_IN)
}

/// The same where there are so many files that looking for a name in all of them takes long: what a
/// run does at its end.
///
/// # Errors
/// As [`merge`].
pub fn merge_many(disk: &dyn Disk, owner: u64) -> io::Result<()> {
    match disk.list(Dir::Index)?.len() > INDEX_FILES {
        true => merge(disk, owner).map(drop),
        false => Ok(()),
    }
}

/// The same, with so many files at once.
pub(super) fn merge_by(disk: &dyn Disk, owner: u64, fan_in: usize) -> io::Result<Merged> {
    let survey = survey(disk, owner)?;
    merge_all(disk, owner, survey, fan_in).inspect_err(|_| {
        // What is unfinished is of no use, and the disk may be full.
        for name in disk.list(Dir::Index).unwrap_or_default() {
            if is_unfinished(&name) {
                let _ = disk.remove(Dir::Index, &name);
            }
        }
    })
}

fn merge_all(disk: &dyn Disk, owner: u64, survey: Survey, fan_in: usize) -> io::Result<Merged> {
    let Survey { files, covers: known, mut damaged, waste } = survey;
    let has_all = files.first().is_some_and(|(name, _)| name == ALL);
    if files.len() == usize::from(has_all) && damaged.is_empty() {
        let entries = files.first().map_or(0, |(_, head)| head.count);
        waste.iter().try_for_each(|name| disk.remove(Dir::Index, name))?;
        return Ok(Merged { entries, packs: known.len(), damaged });
    }
    let mut drop_file = |name: &str, error| damaged.push((name.to_owned(), error));
    let (all, runs) = files.split_at(usize::from(has_all));
    let mut inputs: Vec<String> = runs.iter().map(|(name, _)| name.clone()).collect();
    let mut made = Vec::new();
    while inputs.len() + all.len() > fan_in {
        let mut larger = Vec::new();
        for group in inputs.chunks(fan_in) {
            let name = format!("merge-{}", made.len());
            made.push(name.clone());
            let mut writer = Writer::create(disk, &name)?;
            group_into(disk, group, &mut writer, &mut drop_file)?;
            writer.end(Head { owner, ..Head::default() })?;
            larger.push(name);
            // What was made before is not needed any more.
            for name in group.iter().filter(|name| made.contains(name)) {
                disk.remove(Dir::Index, name)?;
            }
        }
        inputs = larger;
    }
    inputs.extend(all.iter().map(|(name, _)| name.clone()));
    let new = format!("{ALL}.new");
    let mut writer = Writer::create(disk, &new)?;
    group_into(disk, &inputs, &mut writer, &mut drop_file)?;
    let (covers, _) = covers(&files, |name| damaged.iter().all(|(bad, _)| bad != name));
    let packs = covers.len();
    let (file, entries) = writer.end(Head { owner, covers, ..Head::default() })?;
    let _ = file.sync()?;
    disk.replace(Dir::Index, &new, ALL)?;
    let _ = disk.sync_dir(Dir::Index)?;
    let done = files.iter().map(|(name, _)| name).chain(damaged.iter().map(|(name, _)| name));
    for name in done.chain(&waste).chain(inputs.iter()).filter(|name| *name != ALL) {
        match disk.remove(Dir::Index, name) {
            // Named twice.
            Err(rustix::io::Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(Merged { entries, packs, damaged })
}

/// A file that is merged.
struct Cursor<'n> {
    name: &'n str,
    file: Opened,
    next_page: u64,
    entries: Vec<Entry>,
    at: usize,
}

impl Cursor<'_> {
    fn is_read(&self) -> bool {
        self.next_page == self.file.pages()
    }

    /// Reads on if nothing is left.
    fn fill(&mut self) -> io::Result<()> {
        if self.at < self.entries.len() {
            return Ok(());
        }
        self.entries.clear();
        self.at = 0;
        for _ in 0..PAGES {
            if !self.is_read() {
                self.file.page(self.next_page, &mut self.entries)?;
                self.next_page += 1;
            }
        }
        Ok(())
    }
}

/// Merges some files into one. Of one that is damaged, what was read counts.
fn group_into(
    disk: &dyn Disk,
    names: &[String],
    writer: &mut Writer,
    drop_file: &mut dyn FnMut(&str, io::Error),
) -> io::Result<()> {
    let mut sort_out = |name: &str, error: io::Error| match is_damage(&error) {
        true => {
            drop_file(name, error);
            Ok(())
        }
        false => Err(error),
    };
    let mut cursors = Vec::with_capacity(names.len());
    for name in names {
        match Opened::open(disk, name) {
            Ok(file) => {
                cursors.push(Cursor { name, file, next_page: 0, entries: Vec::new(), at: 0 });
            }
            Err(error) => sort_out(name, error)?,
        }
    }
    let (mut batch, mut room) = (Vec::new(), Vec::new());
    while !cursors.is_empty() {
        let mut index = 0;
        while let Some(cursor) = cursors.get_mut(index) {
            match cursor.fill() {
                Ok(()) if cursor.at == cursor.entries.len() => drop(cursors.swap_remove(index)),
                Ok(()) => index += 1,
                Err(error) => {
                    let Cursor { name, mut entries, at, .. } = cursors.swap_remove(index);
                    batch.extend(entries.drain(at..));
                    sort_out(name, error)?;
                }
            }
        }
        // Whatever was not read yet is not less than the last of its file that was.
        let unread = cursors.iter().filter(|cursor| !cursor.is_read());
        let upto = unread.filter_map(|cursor| cursor.entries.last().copied()).min();
        for cursor in &mut cursors {
            let rest = &cursor.entries[cursor.at..];
            let take = match upto {
                Some(upto) => rest.partition_point(|entry| *entry <= upto),
                None => rest.len(),
            };
            batch.extend_from_slice(&rest[..take]);
            cursor.at += take;
        }
        sort(&mut batch, &mut room);
        writer.push(&batch)?;
        batch.clear();
    }
    Ok(())
}
