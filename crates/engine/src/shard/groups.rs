//! Lines wait here until there are enough of them for a write. No I/O.

use windrow_model::Error;
use windrow_model::limits::{PACK_AHEAD_BYTES, SHARD_WRITE_BYTES};

/// Where lines go in the end.
pub(super) trait Append {
    /// Appends whole lines to a file.
    fn append(&mut self, file: usize, lines: &[u8]) -> Result<(), Cut>;

    /// Takes whole lines for a file, and gives a buffer that is as large and empty. What could not be
    /// written stays.
    fn take(&mut self, file: usize, lines: &mut Vec<u8>) -> Result<(), Error> {
        match self.append(file, lines) {
            Ok(()) => {
                lines.clear();
                Ok(())
            }
            Err(Cut { kept, error }) => {
                lines.drain(..kept);
                Err(error)
            }
        }
    }
}

/// Not everything was appended.
#[derive(Debug)]
pub(super) struct Cut {
    /// Bytes that were, to the end of a line.
    pub(super) kept: usize,
    pub(super) error: Error,
}

/// The lines of each file that are not written yet, within a bound over all of them.
///
/// Half of the memory is divided evenly, so that each file has some; the other half is for those
/// that get more lines than others. Where every file has what one write takes, nothing moves.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Vec<Vec<u8>>,
    /// What each may have at any time.
    fair: usize,
    /// What all have beyond that, and may have.
    extra: usize,
    extra_bound: usize,
    /// Lines that could not be written and are not here either.
    lost: u64,
}

impl Groups {
    /// For so many files, in so much memory.
    pub(super) fn new(files: usize, memory: usize) -> Self {
        let fair = (memory / 2 / files.max(1)).min(SHARD_WRITE_BYTES);
        Self { groups: vec![Vec::new(); files], fair, extra: 0, extra_bound: memory / 2, lost: 0 }
    }

    /// Takes a line; writes what waits for that file when it has no room.
    #[inline]
    pub(super) fn push(
        &mut self,
        file: usize,
        line: &[u8],
        to: &mut impl Append,
    ) -> Result<(), Error> {
        let group = &mut self.groups[file];
        if line.len() <= group.capacity() - group.len() {
            group.extend_from_slice(line);
            // The next line of this file is as long as this one, and comes when those of the others
            // have driven its memory out of the caches.
            let begin = line.len().saturating_sub(1).min(63);
            if let Some(next) =
                group.spare_capacity_mut().get(begin..line.len().min(PACK_AHEAD_BYTES))
            {
                windrow_prefetch::for_writing(next);
            }
            return Ok(());
        }
        self.push_without_room(file, line, to)
    }

    #[cold]
    fn push_without_room(
        &mut self,
        file: usize,
        line: &[u8],
        to: &mut impl Append,
    ) -> Result<(), Error> {
        if !self.grow(file, line.len()) {
            if let Err(error) = self.write(file, to) {
                self.lost += 1;
                return Err(error);
            }
            let room = self.groups[file].capacity();
            if room < line.len() && !self.grow(file, line.len()) {
                return to.append(file, line).map_err(|cut| {
                    self.lost += 1;
                    cut.error
                });
            }
        }
        self.groups[file].extend_from_slice(line);
        Ok(())
    }

    /// Makes room for so many bytes more, if the bounds allow it.
    fn grow(&mut self, file: usize, more: usize) -> bool {
        let group = &mut self.groups[file];
        let (held, needed) = (group.capacity(), group.len() + more);
        if needed > SHARD_WRITE_BYTES {
            return false;
        }
        let wanted = if needed <= self.fair {
            self.fair
        } else {
            (2 * held).max(needed.next_power_of_two()).min(SHARD_WRITE_BYTES)
        };
        let extra = wanted - held.clamp(self.fair, wanted);
        if self.extra + extra > self.extra_bound {
            return false;
        }
        self.extra += extra;
        group.reserve_exact(wanted - group.len());
        true
    }

    /// Writes what waits for one file. What could not be written stays.
    fn write(&mut self, file: usize, to: &mut impl Append) -> Result<(), Error> {
        let group = &mut self.groups[file];
        if group.is_empty() {
            return Ok(());
        }
        to.take(file, group)
    }

    /// Lines come back that were handed over, and are before all that waits for the file.
    pub(super) fn put_back(&mut self, file: usize, mut lines: Vec<u8>) {
        let group = &mut self.groups[file];
        let held = group.capacity();
        lines.append(group);
        *group = lines;
        let extra = |capacity: usize| capacity.saturating_sub(self.fair);
        self.extra = (self.extra + extra(group.capacity())).saturating_sub(extra(held));
    }

    /// Writes what waits for one file, that something else may follow.
    pub(super) fn flush_one(&mut self, file: usize, to: &mut impl Append) -> Result<(), Error> {
        self.write(file, to)
    }

    /// Writes everything. After an error the other files are still tried, so that nothing is lost
    /// that need not be; the first error is given.
    pub(super) fn flush(&mut self, to: &mut impl Append) -> Result<(), Error> {
        let mut result = Ok(());
        for file in 0..self.groups.len() {
            let written = self.write(file, to);
            result = result.and(written);
            // The file that had the most lines may not be the one that has them next.
            let group = &mut self.groups[file];
            if group.is_empty() && group.capacity() > self.fair {
                self.extra = self.extra.saturating_sub(group.capacity() - self.fair);
                *group = Vec::new();
            }
        }
        result
    }

    /// Lines that are not in the first so many files: those that wait, and those that could not be
    /// written.
    pub(super) fn unwritten(&self, files: usize) -> u64 {
        let lines = |group: &Vec<u8>| memchr::memchr_iter(b'\n', group).count() as u64;
        self.groups.iter().take(files).map(lines).sum::<u64>() + self.lost
    }

    /// Notes a line that could not be written.
    pub(super) fn lose(&mut self) {
        self.lost += 1;
    }

    /// Memory that all of them have.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.groups.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes so many bytes and then no more; like a disk.
    #[derive(Default)]
    pub(in super::super) struct Disk {
        pub(in super::super) files: Vec<Vec<u8>>,
        pub(in super::super) room: usize,
        writes: usize,
    }

    impl Disk {
        pub(in super::super) fn new(files: usize, room: usize) -> Self {
            Self { files: vec![Vec::new(); files], room, writes: 0 }
        }

        pub(in super::super) fn lines(&self) -> usize {
            self.files.iter().flatten().filter(|byte| **byte == b'\n').count()
        }
    }

    impl Append for Disk {
        fn append(&mut self, file: usize, lines: &[u8]) -> Result<(), Cut> {
            self.writes += 1;
            let fits = &lines[..lines.len().min(self.room)];
            let kept = match fits.len() == lines.len() {
                true => fits.len(),
                false => memchr::memrchr(b'\n', fits).map_or(0, |at| at + 1),
            };
            self.files[file].extend_from_slice(&lines[..kept]);
            self.room -= kept;
            match kept == lines.len() {
                true => Ok(()),
                false => Err(Cut { kept, error: Error::environment("disk", "full") }),
            }
        }
    }

    pub(in super::super) fn line() -> impl Strategy<Value = (usize, usize)> {
        let len = prop_oneof![20 => 0_usize..60, 2 => 0_usize..5000, 1 => 60_000_usize..70_000];
        (prop_oneof![1 => 0_usize..200, 1 => 0_usize..3], len)
    }

    proptest! {
        #[test]
        fn every_line_is_written_once_and_in_order(
            lines in proptest::collection::vec(line(), 0..400),
            memory in 0_usize..300_000,
            room in prop_oneof![Just(usize::MAX), 0_usize..200_000],
            every in 1_usize..200,
        ) {
            let mut disk = Disk::new(200, room);
            let mut groups = Groups::new(200, memory);
            let mut expected = vec![Vec::new(); 200];
            let mut taken = 0;
            let mut failed = false;
            for (nth, &(file, len)) in lines.iter().enumerate() {
                let text = format!("{nth}{}\n", "x".repeat(len)).into_bytes();
                expected[file].extend_from_slice(&text);
                taken += 1;
                failed = groups.push(file, &text, &mut disk).is_err();
                prop_assert!(groups.memory() <= memory, "{} of {memory}", groups.memory());
                if failed {
                    break;
                }
                if nth % every == 0 && groups.flush(&mut disk).is_err() {
                    failed = true;
                    break;
                }
            }
            failed |= groups.flush(&mut disk).is_err();
            prop_assert!(!failed || room < usize::MAX);
            prop_assert_eq!(groups.unwritten(200) as usize + disk.lines(), taken);
            for (file, expected) in disk.files.iter().zip(&expected) {
                match failed {
                    true => prop_assert!(expected.starts_with(file)),
                    false => prop_assert!(expected == file),
                }
            }
        }
    }

    #[test]
    fn writes_are_large() {
        // All in one of many files, and evenly among few.
        for (files, memory, used, bound) in [(100_000, 64 << 20, 1, 70), (100, 64 << 20, 100, 170)]
        {
            let mut disk = Disk::new(files, usize::MAX);
            let mut groups = Groups::new(files, memory);
            for nth in 0..100_000 {
                groups.push(nth % used, &[b'\n'; 41], &mut disk).unwrap();
            }
            groups.flush(&mut disk).unwrap();
            assert!(disk.writes <= bound, "{} writes for {files} files", disk.writes);
        }
    }
}
