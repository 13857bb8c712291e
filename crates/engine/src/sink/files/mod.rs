//! Each object a file, whole under its name or not there at all.
//!
//! A body is written into a file without a name, some dozens in a row where they are small. Files are
//! collected in lists; a list is made durable at once, then its files get their names, then they are
//! recorded.

mod item;
mod method;
mod tree;

use super::dest::Destination;
use super::errno::sort;
use super::hand::Items;
use super::writer::Writer;
use super::{Body, CommitClock, Object, Sink, SinkError};
use item::FileItem;
pub(super) use method::Content;
pub(super) use method::Method;
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
pub(crate) use tree::{Tree, descend};
use windrow_model::limits::{
    HAND_OVER_FILES, HELD_BODY_BYTES, HELD_FILES, REDO_PART, WRITTEN_FILES,
};
use windrow_model::{Error, FailedObject, FailureClass, Place, Receipt, name};

pub(super) struct FilesSink {
    dest: Arc<Destination>,
    tree: Tree,
    method: Method,
    writer: Writer,
    items: Items,
    /// So many of them are written.
    written: usize,
    /// A list of so many is handed over.
    hand_over_at: usize,
    /// No list is longer.
    most: usize,
    waiting: Option<Instant>,
    failures: Vec<FailedObject>,
    taken: (u64, u64),
    rejected: (u64, u64),
    clock: CommitClock,
}

impl FilesSink {
    pub(super) fn open(
        dest: Arc<Destination>,
        method: Method,
        mut writer: Writer,
        (most, directories): (usize, usize),
        commit_interval: Duration,
    ) -> Result<Self, Error> {
        let most = most.clamp(1, *HELD_FILES.end());
        let items = writer.list()?;
        Ok(Self {
            dest,
            tree: Tree::new(directories),
            method,
            writer,
            items,
            written: 0,
            hand_over_at: most.min(*HELD_FILES.start()),
            most,
            waiting: None,
            failures: Vec::new(),
            taken: (0, 0),
            rejected: (0, 0),
            clock: CommitClock::new(commit_interval),
        })
    }

    fn make(&mut self, object: Object<'_>) -> Result<FileItem, Errno> {
        let name = object.name;
        let path = memchr::memrchr(b'/', name).map(|at| &name[..at]);
        let open = |tree: &mut Tree, dest: &Destination| {
            path.map(|path| tree.dir(dest.root(), path)).transpose()
        };
        let mut dir = open(&mut self.tree, &self.dest)?;
        let mut sum = crc32c::crc32c(name);
        let bytes = object.body.len();
        let (content, body): (_, &[u8]) = match object.body {
            Body::Bytes(body) => {
                sum = crc32c::crc32c_append(sum, body);
                if body.len() <= HELD_BODY_BYTES {
                    (None, body)
                } else {
                    let write = |dir: &Option<Arc<OwnedFd>>| {
                        let near = dir.as_deref().map_or(self.dest.root(), AsFd::as_fd);
                        self.method.write(&self.dest, near, body)
                    };
                    let content = match (write(&dir), path) {
                        (Err(errno), Some(path)) if tree::gone(errno) => {
                            self.tree.forget(path);
                            dir = open(&mut self.tree, &self.dest)?;
                            write(&dir)?
                        }
                        (written, _) => written?,
                    };
                    (Some(content), &[])
                }
            }
            Body::Spool(spool) => {
                let len = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
                sum = crc32c::crc32c_combine(sum, spool.sum(), len);
                (Some(spool.into_content()), &[])
            }
        };
        let dest = Arc::clone(&self.dest);
        let (method, ordinal) = (self.method, object.ordinal);
        let text = [name, body].concat().into();
        let name = name.len();
        let placed_in = None;
        let item =
            FileItem { dest, method, dir, placed_in, content, text, name, ordinal, bytes, sum };
        Ok(item)
    }

    /// Writes in a row what waits for that, and says whether all could be written. What could not is
    /// tried again by the writer, who says what is wrong with it.
    fn write_behind(&mut self) -> bool {
        for item in &mut self.items[self.written..] {
            let dir = item.dir();
            let written = item.write();
            if item.dir() != dir
                && let Some(at) = memchr::memrchr(b'/', item.name())
            {
                // It was made again.
                self.tree.forget(&item.name()[..at]);
            }
            if written.is_err() {
                return false;
            }
            self.written += 1;
        }
        true
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        self.waiting = None;
        if self.items.is_empty() {
            return Ok(());
        }
        self.write_behind();
        self.written = 0;
        let items = std::mem::take(&mut self.items);
        self.writer.place(items)?;
        self.items = self.writer.list()?;
        let part = usize::try_from(self.taken.0 / REDO_PART).unwrap_or(usize::MAX);
        self.hand_over_at = part.clamp((*HELD_FILES.start()).min(self.most), self.most);
        Ok(())
    }

    fn hand_over_failures(&mut self) -> Result<(), Error> {
        match self.failures.is_empty() {
            true => Ok(()),
            false => self.writer.failed(std::mem::take(&mut self.failures)),
        }
    }
}

impl Sink for FilesSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        self.writer.check().map_err(SinkError::Run)?;
        let (ordinal, bytes, name) = (object.ordinal, object.body.len(), object.name);
        match self.make(object) {
            Ok(item) => {
                self.items.push(Box::new(item));
                self.taken.0 += 1;
                self.taken.1 += bytes;
                let many = self.items.len() - self.written >= WRITTEN_FILES;
                if self.items.len() >= self.hand_over_at || many && !self.write_behind() {
                    // The object was taken, whatever becomes of the list.
                    if let Err(error) = self.hand_over() {
                        self.taken.0 -= 1;
                        self.taken.1 -= bytes;
                        return Err(SinkError::Run(error));
                    }
                }
                Ok(Receipt { ordinal, bytes, place: Place::File })
            }
            Err(errno) => {
                let mut path = Vec::new();
                name::to_path(name, &mut path);
                let path = self.dest.path().join(String::from_utf8_lossy(&path).as_ref());
                Err(sort(&path.display().to_string(), "cannot store", errno))
            }
        }
    }

    fn failed(&mut self, failed: FailedObject) -> Result<(), Error> {
        self.failures.push(failed);
        if self.failures.len() >= *HELD_FILES.end() { self.hand_over_failures() } else { Ok(()) }
    }

    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        self.hand_over_failures()?;
        if !self.items.is_empty()
            && now.saturating_duration_since(*self.waiting.get_or_insert(now)) >= HAND_OVER_FILES
        {
            self.hand_over()?;
        }
        if self.clock.due(now) { self.writer.commit() } else { self.writer.check() }
    }

    fn finish(&mut self) -> Result<(), Error> {
        let last = self.hand_over_failures();
        let last = last.and_then(|()| match self.items.is_empty() {
            true => Ok(()),
            false => {
                self.write_behind();
                self.writer.place(std::mem::take(&mut self.items))
            }
        });
        self.items.clear();
        self.writer.finish().and(last)
    }

    fn unfinished(&self) -> (u64, u64) {
        super::unfinished(self.taken, self.writer.shared())
    }

    fn rejected(&mut self, each: &mut dyn FnMut(FailureClass, u64, u64)) {
        let shared = self.writer.shared();
        // Bytes first: the writing side counts the object last.
        let objects = shared.rejected.load(Ordering::Acquire);
        let bytes = shared.rejected_bytes.load(Ordering::Acquire);
        let new = (objects - self.rejected.0, bytes - self.rejected.1);
        self.rejected = (objects, bytes);
        if new.0 > 0 {
            each(FailureClass::Name, new.0, new.1);
        }
    }
}

#[cfg(test)]
mod tests;
