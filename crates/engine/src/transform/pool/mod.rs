//! The threads that run a chain, and how cores give them objects and take results.
//!
//! A [`Client`] gathers objects and hands them over some dozens at a time; a thread takes a batch from
//! one client after the other, small enough that the others find work too, and puts all its results
//! into that client's mailbox at once. So the one lock that all share is taken once for a batch; for
//! an object a thread takes the lock of its own desk, which nobody else wants but the watchdog
//! (`watch`), ten times a second: that lock is what lets a hung thread be left behind together with
//! its one object and nothing more.
//!
//! Threads are nicer than those of the sockets ([`TRANSFORM_NICE`]): the kernel lets a socket's thread
//! that has news run before them, so that CPU work takes what is left and not what is needed.

mod client;
mod queue;
mod serve;
mod watch;

use super::{Chain, Lane, Outcome};
pub use client::Client;
use queue::{Entry, Mailbox, Shared};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use windrow_model::limits::{
    OBJECT_BYTES, TRANSFORM_BYTES, TRANSFORM_OBJECTS, TRANSFORM_THREADS, TRANSFORM_TIMEOUT,
};
use windrow_model::{Error, Failure};

/// The sizes of a [`Pool`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOptions {
    /// Threads, which is also how many commands run at once; 0 for one each core.
    pub threads: usize,
    /// Objects between `submit` and `take`, over all clients, at most. Each client has an equal share,
    /// and at least one.
    pub queue_objects: usize,
    /// Their bytes. An object that is larger than a client's share passes alone. What transforms make
    /// larger is counted when it is there, so that each thread can pass this by one result.
    pub queue_bytes: u64,
    /// Time for one object. A command is killed then; a thread that hangs is left behind.
    pub timeout: Duration,
    /// Bytes of a result, at most.
    pub max_output: u64,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            queue_objects: TRANSFORM_OBJECTS,
            queue_bytes: TRANSFORM_BYTES,
            timeout: TRANSFORM_TIMEOUT,
            max_output: OBJECT_BYTES,
        }
    }
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// As it was submitted.
    pub key: u64,
    /// What became of the object.
    pub result: Result<Outcome, Failure>,
    /// Of a failure, what happened to this object: see [`Failed::why`](super::Failed::why).
    pub why: Option<String>,
    /// Bytes of the object as it was submitted.
    pub(super) charged: u64,
}

/// How a pool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Threads that hang and were left behind; they end with the process.
    pub hung: usize,
}

/// Threads that run a chain.
pub struct Pool {
    shared: Arc<Shared>,
    watchdog: Mutex<Option<JoinHandle<()>>>,
}

impl Pool {
    /// Starts the threads, and one worker process of each transform that has them, to learn at once
    /// whether they can be started.
    ///
    /// # Errors
    /// Of the environment: a thread or a worker cannot be started.
    pub fn start(chain: Chain, options: PoolOptions) -> Result<Arc<Self>, Error> {
        let mut options = options;
        if options.threads == 0 {
            options.threads = std::thread::available_parallelism().map_or(1, usize::from);
        }
        options.threads = options.threads.min(TRANSFORM_THREADS);
        let mut first = Lane::new(options.timeout, options.max_output);
        chain.warm(&mut first)?;
        let shared = Arc::new(Shared::new(chain, options));
        let pool = Arc::new(Self { shared: shared.clone(), watchdog: Mutex::new(None) });
        // From here on, dropping the pool ends what was started.
        let mut first = Some(first);
        for _ in 0..shared.options.threads {
            shared.hire(first.take())?;
        }
        *lock(&pool.watchdog) = Some(watch::start(&shared)?);
        Ok(pool)
    }

    /// A client for one core. `wake` is called on a thread of the pool when there is something to
    /// [`take`](Client::take) after there was nothing; it should only wake who will take.
    pub fn client(self: &Arc<Self>, wake: impl Fn() + Send + Sync + 'static) -> Client {
        let mailbox = Arc::new(Mailbox::new(Box::new(wake)));
        let fresh = Entry { jobs: VecDeque::new(), mailbox: mailbox.clone(), choked: false };
        let mut queue = self.shared.queue();
        let free = queue.entries.iter().position(|entry| entry.mailbox.closed());
        let place = match free {
            Some(place) => {
                queue.entries[place] = fresh;
                place
            }
            None => {
                queue.entries.push(fresh);
                queue.entries.len() - 1
            }
        };
        drop(queue);
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
        Client::new(self.clone(), place, mailbox)
    }

    /// What the chain does.
    pub fn chain(&self) -> &Chain {
        &self.shared.chain
    }

    /// Threads that hang and were left behind so far, without those that came back.
    pub fn hung(&self) -> usize {
        self.shared.hung.load(Ordering::Relaxed)
    }

    /// Ends the threads. What runs is finished, within the time for one object; what waits is dropped,
    /// and so are results that nobody took: whoever wants them waits until
    /// [`Client::outstanding`] is 0 first.
    pub fn stop(&self) -> Stopped {
        let mut queue = self.shared.queue();
        queue.stop = true;
        queue.entries.iter_mut().for_each(|entry| entry.jobs.clear());
        self.shared.work.notify_all();
        // The watchdog counts out who hangs, so that this ends.
        while !queue.desks.is_empty() && queue.watched {
            queue = self.shared.ended.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.watched = false;
        self.shared.ended.notify_all();
        let hired = std::mem::take(&mut queue.hired);
        drop(queue);
        for (desk, thread) in hired {
            // It ended, or is about to: taking its desk off was its last step. Or it hangs.
            if !lock(&desk.top).left {
                let _ = thread.join();
            }
        }
        if let Some(watchdog) = lock(&self.watchdog).take() {
            let _ = watchdog.join();
        }
        Stopped { hung: self.hung() }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// Nothing here is left half-changed by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
