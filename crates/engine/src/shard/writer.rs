//! Files are written by a thread of its own, while the next lines are divided.
//!
//! Full groups go there by the batch, so that the threads wake each other seldom, and come back
//! empty: buffers are exchanged, not copied, and there is a bounded number of them. The thread
//! begins with the first full group; input that trickles, or is short, has none. An error comes
//! back with what was not written, in order, and behind it everything is done by one thread. So
//! whoever calls [`Writer::settle`] finds what there is without the second thread: each line is
//! written or waits.

use super::groups::{Append, Cut};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use windrow_model::Error;
use windrow_model::limits::{SHARD_BATCH_GROUPS, SHARD_BATCHES, SHARD_WRITE_BYTES};

/// Bytes that all batches may hold.
const BATCHES_BYTES: usize = SHARD_BATCHES * SHARD_BATCH_GROUPS * SHARD_WRITE_BYTES;

/// Appends through a second thread, where there are cores for one.
#[derive(Debug)]
pub(super) struct Writer<A> {
    to: Arc<Mutex<A>>,
    /// Batches that there may be; 0 where all is done on the caller's thread.
    most: usize,
    thread: Option<Thread>,
    /// What takes groups until it is full.
    filling: Option<Batch>,
    free: Vec<Batch>,
    made: usize,
    /// Batches that the thread has.
    away: usize,
    /// What came back unwritten, in order.
    left: VecDeque<Group>,
    /// Why; it is reported once.
    error: Option<Error>,
}

#[derive(Debug)]
struct Thread {
    todo: SyncSender<Batch>,
    done: Receiver<Batch>,
    handle: JoinHandle<()>,
}

/// Lines of one file.
#[derive(Debug, Default)]
struct Group {
    file: usize,
    lines: Vec<u8>,
}

#[derive(Debug, Default)]
struct Batch {
    groups: Vec<Group>,
    /// So many of them hold something; the others are there to be used again.
    used: usize,
    error: Option<Error>,
}

impl<A: Append + Send + 'static> Writer<A> {
    /// Writes to that, with a second thread if there are two cores. Gives also what is left of
    /// `memory` for groups that wait.
    pub(super) fn new(to: A, cores: usize, memory: usize) -> (Self, usize) {
        let most = if cores > 1 { SHARD_BATCHES } else { 0 };
        let writer = Self {
            to: Arc::new(Mutex::new(to)),
            most,
            thread: None,
            filling: None,
            free: Vec::new(),
            made: 0,
            away: 0,
            left: VecDeque::new(),
            error: None,
        };
        (writer, if most > 0 { memory.saturating_sub(BATCHES_BYTES) } else { memory })
    }

    /// What is written to. Nothing is ahead of the caller there only behind [`Self::settle`].
    pub(super) fn to(&self) -> MutexGuard<'_, A> {
        lock(&self.to)
    }

    /// Waits until everything that was handed over is written, or is among [`Self::left`].
    ///
    /// # Errors
    /// Why something could not be written, once. The second thread has ended then.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.send();
        while self.away > 0 {
            self.wait();
        }
        let Some(error) = self.error.take() else { return Ok(()) };
        self.most = 0;
        self.stop();
        Err(error)
    }

    /// What was handed over and is not written, by file; of each, in the order in which it is to be.
    pub(super) fn left(&mut self) -> impl DoubleEndedIterator<Item = (usize, Vec<u8>)> {
        std::mem::take(&mut self.left).into_iter().map(|group| (group.file, group.lines))
    }

    /// A batch with room, once there is one.
    fn filling(&mut self) -> Result<&mut Batch, Error> {
        let batch = match self.filling.take() {
            Some(batch) => batch,
            None => self.empty()?,
        };
        Ok(self.filling.insert(batch))
    }

    /// Of the batches that are back, the latest: it is in the nearest caches.
    fn empty(&mut self) -> Result<Batch, Error> {
        while let Some(batch) = self.thread.as_ref().and_then(|thread| thread.done.try_recv().ok())
        {
            self.back(batch);
        }
        if self.free.is_empty() && self.made == self.most {
            self.wait();
        }
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        Ok(self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            Batch::default()
        }))
    }

    /// Takes lines, by exchange where the buffers are equal.
    fn take_over(&mut self, file: usize, lines: Lines<'_>) -> Result<(), Error> {
        let batch = self.filling()?;
        if batch.used == batch.groups.len() {
            let lines = Vec::with_capacity(SHARD_WRITE_BYTES);
            batch.groups.push(Group { file, lines });
        }
        let group = &mut batch.groups[batch.used];
        group.file = file;
        match lines {
            Lines::Group(lines) if lines.capacity() == group.lines.capacity() => {
                std::mem::swap(lines, &mut group.lines);
            }
            Lines::Group(lines) => {
                group.lines.extend_from_slice(lines);
                lines.clear();
            }
            Lines::Slice(lines) => group.lines.extend_from_slice(lines),
        }
        batch.used += 1;
        if batch.used == SHARD_BATCH_GROUPS {
            self.send();
        }
        Ok(())
    }

    /// Hands over what there is.
    fn send(&mut self) {
        let Some(batch) = self.filling.take() else { return };
        if self.thread.is_none() {
            self.thread = start(&self.to, self.most);
        }
        self.away += 1;
        let Some(thread) = &self.thread else {
            // There may be no more threads: then as without.
            let batch = carry_out(&self.to, batch, &mut self.error.is_some());
            self.most = 0;
            return self.back(batch);
        };
        // There is room for all of them.
        if thread.todo.send(batch).is_err() {
            self.gone();
        }
    }

    /// Waits for a batch.
    fn wait(&mut self) {
        match self.thread.as_ref().map(|thread| thread.done.recv()) {
            Some(Ok(batch)) => self.back(batch),
            _ => self.gone(),
        }
    }

    fn back(&mut self, mut batch: Batch) {
        self.away -= 1;
        let used = std::mem::take(&mut batch.used);
        for group in batch.groups[..used].iter_mut().filter(|group| !group.lines.is_empty()) {
            self.left.push_back(std::mem::take(group));
        }
        batch.groups.retain(|group| group.lines.capacity() > 0);
        if let Some(error) = batch.error.take() {
            self.error.get_or_insert(error);
        }
        self.free.push(batch);
    }

    /// The thread ended without being told to.
    fn gone(&mut self) {
        self.away = 0;
        if let Some(Err(panic)) = self.thread.take().map(|thread| thread.handle.join()) {
            std::panic::resume_unwind(panic);
        }
        self.error.get_or_insert_with(|| {
            Error::environment("writer", "the writing thread is gone")
                .hint("this is a bug of windrow; please report it with the text above")
        });
    }
}

impl<A> Writer<A> {
    fn stop(&mut self) {
        if let Some(Thread { todo, done, handle }) = self.thread.take() {
            drop((todo, done));
            // It holds the lock of the folder: not before it has ended is the folder free.
            let _ = handle.join();
        }
    }
}

impl<A> Drop for Writer<A> {
    fn drop(&mut self) {
        self.stop();
    }
}

enum Lines<'l> {
    Group(&'l mut Vec<u8>),
    Slice(&'l [u8]),
}

impl<A: Append + Send + 'static> Append for Writer<A> {
    fn append(&mut self, file: usize, lines: &[u8]) -> Result<(), Cut> {
        if self.most > 0 && lines.len() <= SHARD_WRITE_BYTES {
            let taken = self.take_over(file, Lines::Slice(lines));
            return taken.map_err(|error| Cut { kept: 0, error });
        }
        self.settle().map_err(|error| Cut { kept: 0, error })?;
        self.to().append(file, lines)
    }

    fn take(&mut self, file: usize, lines: &mut Vec<u8>) -> Result<(), Error> {
        if self.most > 0 && lines.len() <= SHARD_WRITE_BYTES {
            return self.take_over(file, Lines::Group(lines));
        }
        self.settle()?;
        self.to().take(file, lines)
    }
}

fn start<A: Append + Send + 'static>(to: &Arc<Mutex<A>>, most: usize) -> Option<Thread> {
    let (todo, batches) = sync_channel(most);
    let (give, done) = channel();
    let to = Arc::clone(to);
    let write = move || {
        let mut failed = false;
        for batch in batches {
            if give.send(carry_out(&to, batch, &mut failed)).is_err() {
                break;
            }
        }
    };
    let handle = Builder::new().name("writer".into()).spawn(write).ok()?;
    Some(Thread { todo, done, handle })
}

/// Writes a batch. Behind an error nothing more: what follows for the same file may not be before
/// what is left, and for the others it is time when that has been noticed.
fn carry_out<A: Append>(to: &Mutex<A>, mut batch: Batch, failed: &mut bool) -> Batch {
    for group in &mut batch.groups[..batch.used] {
        if *failed {
            break;
        }
        // Not for all of the batch: a line that is too long for memory goes to the disk meanwhile.
        if let Err(error) = lock(to).take(group.file, &mut group.lines) {
            batch.error = Some(error);
            *failed = true;
        }
    }
    batch
}

fn lock<A>(to: &Mutex<A>) -> MutexGuard<'_, A> {
    to.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::groups::Groups;
    use super::super::groups::tests::{Disk, line};
    use super::*;
    use proptest::prelude::*;

    /// As a run does it: everything that is handed over is written or waits in the groups again.
    fn settle(writer: &mut Writer<Disk>, groups: &mut Groups) -> Result<(), Error> {
        let settled = writer.settle();
        for (file, lines) in writer.left().rev() {
            groups.put_back(file, lines);
        }
        settled
    }

    fn flush(writer: &mut Writer<Disk>, groups: &mut Groups) -> Result<(), Error> {
        let settled = settle(writer, groups);
        let flushed = groups.flush(&mut *writer.to());
        settled.and(flushed)
    }

    proptest! {
        #[test]
        fn every_line_is_written_once_and_in_order_by_another_thread(
            lines in proptest::collection::vec(line(), 0..400),
            waiting in 0_usize..300_000,
            room in prop_oneof![Just(usize::MAX), 0_usize..2_000_000],
            every in 1_usize..200,
            again in any::<bool>(),
        ) {
            let (mut writer, left) = Writer::new(Disk::new(200, room), 2, waiting + BATCHES_BYTES);
            prop_assert_eq!(left, waiting);
            let mut groups = Groups::new(200, waiting);
            let mut expected = vec![Vec::new(); 200];
            let (mut taken, mut failed) = (0, false);
            for (nth, &(file, len)) in lines.iter().enumerate() {
                let text = format!("{nth}{}\n", "x".repeat(len)).into_bytes();
                expected[file].extend_from_slice(&text);
                taken += 1;
                if groups.push(file, &text, &mut writer).is_err() {
                    failed = true;
                    let _ = settle(&mut writer, &mut groups);
                    break;
                }
                prop_assert!(groups.memory() <= waiting, "{} of {waiting}", groups.memory());
                if nth % every == 0 && flush(&mut writer, &mut groups).is_err() {
                    failed = true;
                    break;
                }
            }
            if again {
                // Room was made meanwhile: only a line that found no place is lost.
                settle(&mut writer, &mut groups).err().into_iter().for_each(|_| failed = true);
                writer.to().room = usize::MAX;
            }
            failed |= flush(&mut writer, &mut groups).is_err();
            prop_assert!(!failed || room < usize::MAX);
            let disk = writer.to();
            let unwritten = groups.unwritten(200) as usize;
            prop_assert_eq!(unwritten + disk.lines(), taken);
            prop_assert!(!again || unwritten <= 1, "{unwritten}");
            for (file, expected) in disk.files.iter().zip(&expected) {
                match failed {
                    true => prop_assert!(expected.starts_with(file)),
                    false => prop_assert!(expected == file),
                }
            }
        }
    }

    #[test]
    fn full_groups_are_exchanged_and_the_buffers_bounded() {
        let (mut writer, memory) = Writer::new(Disk::new(100, usize::MAX), 2, 64 << 20);
        let mut groups = Groups::new(100, memory);
        for nth in 0..1_000_000 {
            groups.push(nth % 100, &[b'\n'; 41], &mut writer).unwrap();
        }
        flush(&mut writer, &mut groups).unwrap();
        assert_eq!(writer.to().lines(), 41_000_000);
        assert!(writer.thread.is_some());
        assert_eq!((writer.away, writer.free.len()), (0, writer.made));
        assert!((1..=SHARD_BATCHES).contains(&writer.made), "{}", writer.made);
        let buffers = writer.free.iter().flat_map(|batch| &batch.groups);
        assert!(buffers.clone().count() <= SHARD_BATCHES * SHARD_BATCH_GROUPS);
        for group in buffers {
            assert_eq!((group.lines.len(), group.lines.capacity()), (0, SHARD_WRITE_BYTES));
        }
    }

    #[test]
    fn little_has_no_thread() {
        for (cores, count) in [(2, 100_000), (1, 2_000_000), (0, 2_000_000)] {
            let (mut writer, memory) = Writer::new(Disk::new(100, usize::MAX), cores, 64 << 20);
            let mut groups = Groups::new(100, memory);
            for nth in 0..count {
                groups.push(nth % 100, b"a line of some bytes\n", &mut writer).unwrap();
            }
            flush(&mut writer, &mut groups).unwrap();
            assert_eq!(writer.to().lines(), count);
            assert!(writer.thread.is_none());
        }
    }

    /// Says nothing but ends.
    struct Panics;

    impl Append for Panics {
        fn append(&mut self, _: usize, _: &[u8]) -> Result<(), Cut> {
            panic!("on purpose");
        }
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_is_the_callers() {
        let (mut writer, _) = Writer::new(Panics, 2, 64 << 20);
        writer.append(0, b"\n").unwrap();
        let _ = writer.settle();
    }
}
