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

use super::watch;
use super::{Chain, Failed, Lane, Object, Outcome};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use windrow_model::limits::{
    OBJECT_BYTES, TRANSFORM_BATCH, TRANSFORM_BATCH_BYTES, TRANSFORM_BATCH_TIME, TRANSFORM_BYTES,
    TRANSFORM_NICE, TRANSFORM_OBJECTS, TRANSFORM_THREADS, TRANSFORM_TIMEOUT,
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
    /// Of a failure, what happened to this object: see [`Failed::why`].
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
        let shared = Arc::new(Shared {
            chain,
            options,
            queue: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
            clients: AtomicUsize::new(0),
            hung: AtomicUsize::new(0),
        });
        let pool = Arc::new(Self { shared: shared.clone(), watchdog: Mutex::new(None) });
        // From here on, dropping the pool ends what was started.
        let mut first = Some(first);
        for _ in 0..shared.options.threads {
            shared.hire(first.take())?;
        }
        *lock(&pool.watchdog) = Some(watch::start(shared)?);
        Ok(pool)
    }

    /// A client for one core. `wake` is called on a thread of the pool when there is something to
    /// [`take`](Client::take) after there was nothing; it should only wake who will take.
    pub fn client(self: &Arc<Self>, wake: impl Fn() + Send + Sync + 'static) -> Client {
        let mailbox = Arc::new(Mailbox {
            done: Mutex::default(),
            news: AtomicBool::new(false),
            grown: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake: Box::new(wake),
        });
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
        Client {
            pool: self.clone(),
            place,
            mailbox,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            outstanding: 0,
            charged: 0,
        }
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

/// One core's way to a [`Pool`]. Results come in any order; see [`InOrder`](super::InOrder).
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
    /// Gives an object. It may wait here for others until [`flush`](Self::flush) or
    /// [`take`](Self::take): call one of them before sleeping.
    ///
    /// # Errors
    /// Gives the object back where this client's share of the queue is full: come again when some
    /// results were taken. With nothing outstanding there is always room.
    #[allow(clippy::result_large_err, reason = "the object comes back, which is the point")]
    pub fn submit(&mut self, key: u64, object: Object) -> Result<(), Object> {
        let bytes = object.bytes();
        if self.outstanding > 0 {
            let shared = &self.pool.shared;
            let grown = self.mailbox.grown.load(Ordering::Relaxed);
            if self.outstanding >= shared.share_objects()
                || self.charged.saturating_add(grown).saturating_add(bytes) > shared.share_bytes()
            {
                self.flush();
                return Err(object);
            }
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

    /// Objects that were submitted and whose results were not taken.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.mailbox.closed.store(true, Ordering::Relaxed);
        self.pool.shared.clients.fetch_sub(1, Ordering::Relaxed);
        let mut queue = self.pool.shared.queue();
        let jobs = std::mem::take(&mut queue.entries[self.place].jobs);
        drop(queue);
        drop(jobs);
    }
}

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
    work: Condvar,
    /// Who stops the pool waits here for threads, and the watchdog for the end.
    pub(super) ended: Condvar,
    clients: AtomicUsize,
    pub(super) hung: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Queue {
    /// By client.
    entries: Vec<Entry>,
    /// Whose turn it is.
    turn: usize,
    /// Threads that wait.
    sleeping: usize,
    stop: bool,
    /// There is a watchdog.
    pub(super) watched: bool,
    /// Of the threads that are there.
    pub(super) desks: Vec<Arc<Desk>>,
    /// All threads that were started.
    hired: Vec<(Arc<Desk>, JoinHandle<()>)>,
    /// Why the run has to stop.
    ruined: Option<Error>,
}

/// One client's jobs.
struct Entry {
    jobs: VecDeque<Job>,
    mailbox: Arc<Mailbox>,
    /// Passed over, as its results take too much memory.
    choked: bool,
}

/// Where one client's results are put.
pub(super) struct Mailbox {
    done: Mutex<Vec<Done>>,
    /// There is something that the client was told of.
    news: AtomicBool,
    /// Bytes by which the results in it are larger than the objects were.
    grown: AtomicU64,
    closed: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    fn closed(&self) -> bool {
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

fn grown(done: &Done) -> u64 {
    match &done.result {
        Ok(Outcome::Keep(object)) => object.bytes().saturating_sub(done.charged),
        _ => 0,
    }
}

/// What one thread has before it. Its own, but for the watchdog.
pub(super) struct Desk {
    pub(super) top: Mutex<Top>,
}

#[derive(Default)]
pub(super) struct Top {
    pub(super) mailbox: Option<Arc<Mailbox>>,
    place: usize,
    pub(super) waiting: VecDeque<Job>,
    /// The object in work: key, bytes.
    pub(super) doing: Option<(u64, u64)>,
    pub(super) done: Vec<Done>,
    done_bytes: u64,
    /// Goes up with each object that is begun.
    pub(super) begun: u64,
    /// Its thread hangs, and has nothing to do here any more.
    pub(super) left: bool,
}

impl Top {
    /// Puts what is done into the mailbox.
    pub(super) fn deliver(&mut self) {
        self.done_bytes = 0;
        if let Some(mailbox) = &self.mailbox {
            mailbox.deliver(&mut self.done);
        }
    }
}

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    fn share_objects(&self) -> usize {
        (self.options.queue_objects / self.clients.load(Ordering::Relaxed).max(1)).max(1)
    }

    fn share_bytes(&self) -> u64 {
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
    fn next(&self, most: usize, batch: &mut VecDeque<Job>) -> Option<(usize, Arc<Mailbox>)> {
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

/// What a thread does.
fn serve(shared: &Arc<Shared>, desk: &Desk, lane: Option<Lane>) {
    lower_priority();
    let options = &shared.options;
    let mut lane = lane.unwrap_or_else(|| Lane::new(options.timeout, options.max_output));
    let mut batch = VecDeque::new();
    if let Err(error) = shared.chain.warm(&mut lane) {
        return shared.ruin(error);
    }
    // One at first: what it costs is not known.
    let mut most = 1;
    while let Some((place, mailbox)) = shared.next(most, &mut batch) {
        let (objects, began) = (batch.len(), Instant::now());
        let mut top = lock(&desk.top);
        top.place = place;
        top.mailbox = Some(mailbox);
        std::mem::swap(&mut top.waiting, &mut batch);
        loop {
            // A stop lets only what runs be finished, but looking takes a lock: a batch is short.
            let Some(job) = top.waiting.pop_front() else { break };
            let (key, charged) = (job.key, job.object.bytes());
            top.doing = Some((key, charged));
            top.begun += 1;
            drop(top);
            let ran = shared.chain.run(job.object, &mut lane);
            top = lock(&desk.top);
            if top.left {
                // Its object is failed long since, and another thread took its place.
                shared.hung.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            top.doing = None;
            let (result, why) = match ran {
                Ok(outcome) => (Ok(outcome), None),
                Err(super::chain::Trouble::Object(Failed { failure, why })) => (Err(failure), why),
                Err(super::chain::Trouble::Run(error)) => {
                    top.deliver();
                    drop(top);
                    return shared.ruin(error);
                }
            };
            let done = Done { key, result, why, charged };
            top.done_bytes += grown(&done);
            let failed = done.result.is_err();
            top.done.push(done);
            if top.done_bytes >= TRANSFORM_BATCH_BYTES {
                top.deliver();
            }
            if failed && shared.chain.has_commands() {
                // A worker that died is started in its own time, not in that of the next object.
                drop(top);
                if let Err(error) = shared.chain.warm(&mut lane) {
                    lock(&desk.top).deliver();
                    return shared.ruin(error);
                }
                top = lock(&desk.top);
            }
        }
        top.deliver();
        top.mailbox = None;
        drop(top);
        most = fitting(most, objects, began.elapsed());
    }
}

/// How many objects the next batch may have, so that it takes [`TRANSFORM_BATCH_TIME`].
fn fitting(most: usize, objects: usize, took: Duration) -> usize {
    let each = took.as_nanos().max(1) / objects.max(1) as u128;
    let fits = TRANSFORM_BATCH_TIME.as_nanos() / each.max(1);
    // Up by a factor at once, so that one cheap object does not make a batch of dear ones.
    (fits as usize).clamp(1, TRANSFORM_BATCH).min(most * 4)
}

/// As much as is allowed; without a right to it, this thread is like the others.
fn lower_priority() {
    if let Ok(nice) = rustix::process::getpriority_process(None) {
        let _ = rustix::process::setpriority_process(None, (nice + TRANSFORM_NICE).min(19));
    }
}

/// Nothing here is left half-changed by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
