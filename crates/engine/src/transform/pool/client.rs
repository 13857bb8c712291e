//! One core's side: gathers objects, takes results, keeps the bounds.

use super::queue::{Job, Mailbox};
use super::{Done, Pool, lock};
use crate::transform::Object;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use windrow_model::Error;
use windrow_model::limits::{TRANSFORM_BATCH, TRANSFORM_BATCH_BYTES};

/// One core's way to a [`Pool`]. Results come in any order; see [`InOrder`](crate::transform::InOrder).
pub struct Client {
    pool: Arc<Pool>,
    place: usize,
    mailbox: Arc<Mailbox>,
    gathered: VecDeque<Job>,
    gathered_bytes: u64,
    outstanding: usize,
    /// Bytes of what is outstanding, as it was submitted.
    charged: u64,
}

impl Client {
    pub(super) fn new(pool: Arc<Pool>, place: usize, mailbox: Arc<Mailbox>) -> Self {
        Self {
            pool,
            place,
            mailbox,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            outstanding: 0,
            charged: 0,
        }
    }

    /// Gives an object. It may wait here for others until [`flush`](Self::flush) or
    /// [`take`](Self::take): call one of them before sleeping.
    ///
    /// # Errors
    /// Gives the object back where this client's share of the queue is full: come again when some
    /// results were taken. With nothing outstanding there is always room.
    #[allow(clippy::result_large_err, reason = "the object comes back, which is the point")]
    pub fn submit(&mut self, key: u64, object: Object) -> Result<(), Object> {
        let bytes = object.bytes();
        if !self.has_room(bytes) {
            self.flush();
            return Err(object);
        }
        self.outstanding += 1;
        self.charged += bytes;
        self.gathered_bytes += bytes;
        self.gathered.push_back(Job { key, object });
        if self.gathered.len() >= TRANSFORM_BATCH || self.gathered_bytes >= TRANSFORM_BATCH_BYTES {
            self.flush();
        }
        Ok(())
    }

    /// Hands over what was gathered.
    pub fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        self.gathered_bytes = 0;
        let shared = &self.pool.shared;
        let mut queue = shared.queue();
        let jobs = &mut queue.entries[self.place].jobs;
        jobs.append(&mut self.gathered);
        if queue.sleeping > 0 {
            shared.work.notify_one();
        }
    }

    /// Appends the results that are there, and hands over what was gathered.
    ///
    /// # Errors
    /// The run cannot go on: a worker process never comes up, too many threads hang. What is
    /// outstanding will not come.
    pub fn take(&mut self, into: &mut Vec<Done>) -> Result<(), Error> {
        self.flush();
        // Before the results are taken: what comes later wakes again.
        if !self.mailbox.news.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let from = into.len();
        let mut done = lock(&self.mailbox.done);
        into.append(&mut done);
        self.mailbox.grown.store(0, Ordering::Relaxed);
        drop(done);
        self.outstanding -= into.len() - from;
        self.charged -= into[from..].iter().map(|done| done.charged).sum::<u64>();
        let mut queue = self.pool.shared.queue();
        let entry = &mut queue.entries[self.place];
        if std::mem::take(&mut entry.choked) && queue.sleeping > 0 {
            self.pool.shared.work.notify_one();
        }
        let Some(error) = queue.ruined.clone() else { return Ok(()) };
        // Said again at every call.
        self.mailbox.news.store(true, Ordering::Release);
        Err(error)
    }

    /// Whether [`submit`](Self::submit) would take an object of so many bytes.
    pub fn has_room(&self, bytes: u64) -> bool {
        let shared = &self.pool.shared;
        let grown = self.mailbox.grown.load(Ordering::Relaxed);
        self.outstanding == 0
            || (self.outstanding < shared.share_objects()
                && self.charged.saturating_add(grown).saturating_add(bytes) <= shared.share_bytes())
    }

    /// Takes back what no thread has begun with, and gives the keys: their objects are gone.
    pub fn recall(&mut self) -> Vec<u64> {
        let mut queue = self.pool.shared.queue();
        let mut jobs = std::mem::take(&mut queue.entries[self.place].jobs);
        drop(queue);
        jobs.append(&mut self.gathered);
        self.gathered_bytes = 0;
        self.outstanding -= jobs.len();
        self.charged -= jobs.iter().map(|job| job.object.bytes()).sum::<u64>();
        jobs.into_iter().map(|job| job.key).collect()
    }

    /// Objects that were submitted and that no thread has begun with.
    pub fn waiting(&self) -> usize {
        self.gathered.len() + self.pool.shared.queue().entries[self.place].jobs.len()
    }

    /// Objects that were submitted and whose results were not taken.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.mailbox.close();
        self.pool.shared.clients.fetch_sub(1, Ordering::Relaxed);
        let mut queue = self.pool.shared.queue();
        let jobs = std::mem::take(&mut queue.entries[self.place].jobs);
        drop(queue);
        drop(jobs);
    }
}
