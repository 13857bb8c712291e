//! What one thread does, and what it has before it.

use super::queue::{Job, Mailbox, Shared, grown};
use super::{Done, lock};
use crate::transform::chain::Trouble;
use crate::transform::{Failed, Lane};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use windrow_model::limits::{
    TRANSFORM_BATCH, TRANSFORM_BATCH_BYTES, TRANSFORM_BATCH_TIME, TRANSFORM_NICE,
};

/// What one thread has before it. Its own, but for the watchdog.
pub(super) struct Desk {
    pub(super) top: Mutex<Top>,
}

#[derive(Default)]
pub(super) struct Top {
    pub(super) mailbox: Option<Arc<Mailbox>>,
    pub(super) place: usize,
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

/// What a thread does.
pub(super) fn serve(shared: &Arc<Shared>, desk: &Desk, lane: Option<Lane>) {
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
        // A stop would let only what runs be finished, but looking takes a lock: a batch is short.
        while let Some(job) = top.waiting.pop_front() {
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
                Err(Trouble::Object(Failed { failure, why })) => (Err(failure), why),
                Err(Trouble::Run(error)) => {
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
