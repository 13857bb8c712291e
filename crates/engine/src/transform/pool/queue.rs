//! What all threads and clients share: jobs by client, mailboxes, who is there.

use super::serve::{Desk, Top, serve};
use super::{Done, PoolOptions, lock};
use crate::transform::{Chain, Lane, Object, Outcome};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use windrow_model::Error;
use windrow_model::limits::TRANSFORM_BATCH_BYTES;

/// An object that waits or is worked on.
pub(super) struct Job {
    pub(super) key: u64,
    pub(super) object: Object,
}

/// What all threads and clients share.
pub(super) struct Shared {
    pub(super) chain: Chain,
    pub(super) options: PoolOptions,
    queue: Mutex<Queue>,
    /// Threads wait here for jobs.
    pub(super) work: Condvar,
    /// Who stops the pool waits here for threads, and the watchdog for the end.
    pub(super) ended: Condvar,
    pub(super) clients: AtomicUsize,
    pub(super) hung: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Queue {
    /// By client.
    pub(super) entries: Vec<Entry>,
    /// Whose turn it is.
    turn: usize,
    /// Threads that wait.
    pub(super) sleeping: usize,
    pub(super) stop: bool,
    /// There is a watchdog.
    pub(super) watched: bool,
    /// Of the threads that are there.
    pub(super) desks: Vec<Arc<Desk>>,
    /// All threads that were started.
    pub(super) hired: Vec<(Arc<Desk>, JoinHandle<()>)>,
    /// Why the run has to stop.
    pub(super) ruined: Option<Error>,
}

/// One client's jobs.
pub(super) struct Entry {
    pub(super) jobs: VecDeque<Job>,
    pub(super) mailbox: Arc<Mailbox>,
    /// Passed over, as its results take too much memory.
    pub(super) choked: bool,
}

/// Where one client's results are put.
pub(super) struct Mailbox {
    pub(super) done: Mutex<Vec<Done>>,
    /// There is something that the client was told of.
    pub(super) news: AtomicBool,
    /// Bytes by which the results in it are larger than the objects were.
    pub(super) grown: AtomicU64,
    closed: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    pub(super) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            done: Mutex::default(),
            news: AtomicBool::new(false),
            grown: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake,
        }
    }

    /// Its client is gone: results are thrown away.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Puts results in, and wakes the client if it knows of none.
    pub(super) fn deliver(&self, results: &mut Vec<Done>) {
        if results.is_empty() {
            return;
        }
        if self.closed() {
            return results.clear();
        }
        let grown = results.iter().map(grown).sum();
        let mut done = lock(&self.done);
        done.append(results);
        self.grown.fetch_add(grown, Ordering::Relaxed);
        drop(done);
        self.ring();
    }

    fn ring(&self) {
        if !self.news.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

pub(super) fn grown(done: &Done) -> u64 {
    match &done.result {
        Ok(Outcome::Keep(object)) => object.bytes().saturating_sub(done.charged),
        _ => 0,
    }
}

impl Shared {
    pub(super) fn new(chain: Chain, options: PoolOptions) -> Self {
        Self {
            chain,
            options,
            queue: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
            clients: AtomicUsize::new(0),
            hung: AtomicUsize::new(0),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub(super) fn share_objects(&self) -> usize {
        (self.options.queue_objects / self.clients.load(Ordering::Relaxed).max(1)).max(1)
    }

    pub(super) fn share_bytes(&self) -> u64 {
        self.options.queue_bytes / self.clients.load(Ordering::Relaxed).max(1) as u64
    }

    /// Starts a thread.
    pub(super) fn hire(self: &Arc<Self>, lane: Option<Lane>) -> Result<(), Error> {
        let desk = Arc::new(Desk { top: Mutex::default() });
        let (shared, own) = (self.clone(), desk.clone());
        // Registered first: the thread's last step is to take itself off.
        self.queue().desks.push(desk.clone());
        let started = std::thread::Builder::new().name("transform".to_owned()).spawn(move || {
            let served = catch_unwind(AssertUnwindSafe(|| serve(&shared, &own, lane)));
            if served.is_err() {
                shared.ruin(Error::environment("transform", "a thread of the pool panicked"));
            }
            shared.retire(&own);
        });
        match started {
            Ok(thread) => {
                self.queue().hired.push((desk, thread));
                Ok(())
            }
            Err(error) => {
                self.retire(&desk);
                let error = Error::environment("transform", "cannot start a thread").why(error);
                Err(error.hint("a limit of processes (ulimit -u) may be reached"))
            }
        }
    }

    /// Takes a desk off.
    pub(super) fn retire(&self, desk: &Arc<Desk>) {
        let mut queue = self.queue();
        queue.desks.retain(|one| !Arc::ptr_eq(one, desk));
        self.ended.notify_all();
    }

    /// The run has to stop: every client is told. The first reason counts.
    pub(super) fn ruin(&self, error: Error) {
        let mut queue = self.queue();
        queue.ruined.get_or_insert(error);
        queue.stop = true;
        let mailboxes: Vec<_> = queue.entries.iter().map(|entry| entry.mailbox.clone()).collect();
        drop(queue);
        self.work.notify_all();
        mailboxes.iter().for_each(|mailbox| mailbox.ring());
    }

    /// Gives jobs that were not begun back, before those of the same client that wait.
    pub(super) fn put_back(&self, top: &mut Top) {
        if top.waiting.is_empty() {
            return;
        }
        let mut queue = self.queue();
        let place = top.place;
        let mine = |entry: &&mut Entry| {
            top.mailbox.as_ref().is_some_and(|mailbox| Arc::ptr_eq(mailbox, &entry.mailbox))
        };
        if let Some(entry) = queue.entries.get_mut(place).as_mut().filter(|entry| mine(entry)) {
            top.waiting.append(&mut entry.jobs);
            entry.jobs.append(&mut top.waiting);
        }
        top.waiting.clear();
        if queue.sleeping > 0 {
            self.work.notify_all();
        }
    }

    /// The next batch, of `most` objects; `None` at the end.
    pub(super) fn next(
        &self,
        most: usize,
        batch: &mut VecDeque<Job>,
    ) -> Option<(usize, Arc<Mailbox>)> {
        let mut queue = self.queue();
        loop {
            if queue.stop {
                return None;
            }
            if let Some(found) = self.choose(&mut queue, most, batch) {
                // One sleeper wakes the next while there is work.
                if queue.sleeping > 0 && queue.entries.iter().any(|entry| !entry.jobs.is_empty()) {
                    self.work.notify_one();
                }
                return Some(found);
            }
            queue.sleeping += 1;
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.sleeping -= 1;
        }
    }

    fn choose(
        &self,
        queue: &mut Queue,
        most: usize,
        batch: &mut VecDeque<Job>,
    ) -> Option<(usize, Arc<Mailbox>)> {
        let entries = queue.entries.len();
        for step in 0..entries {
            let place = (queue.turn + step) % entries;
            let entry = &mut queue.entries[place];
            if entry.jobs.is_empty() {
                continue;
            }
            if entry.mailbox.grown.load(Ordering::Relaxed) > self.share_bytes() {
                entry.choked = true;
                continue;
            }
            // Half of an equal part: the last batches are small, and threads end together.
            let part = entry.jobs.len().div_ceil(2 * self.options.threads);
            let (mut left, mut bytes) = (part.clamp(1, most), 0);
            while left > 0 && bytes < TRANSFORM_BATCH_BYTES {
                let Some(job) = entry.jobs.pop_front() else { break };
                bytes += job.object.bytes();
                left -= 1;
                batch.push_back(job);
            }
            queue.turn = place + 1;
            return Some((place, entry.mailbox.clone()));
        }
        None
    }
}
