//! The watchdog of a pool: what takes too long is failed, and its thread left behind.
//!
//! It looks at each desk several times in the time that one object has. A thread cannot be ended from
//! outside; one that hangs keeps its memory and perhaps its core, so there may be
//! [`TRANSFORM_HUNG`] of them before the run is stopped.

use super::queue::Shared;
use super::serve::Desk;
use super::{Done, lock};
use crate::transform::{Failed, Lane};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use windrow_model::Error;
use windrow_model::limits::{TRANSFORM_GRACE, TRANSFORM_HUNG};

/// What was seen of a desk.
struct Seen {
    desk: Arc<Desk>,
    begun: u64,
    since: Instant,
}

/// Starts it.
pub(super) fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>, Error> {
    shared.queue().watched = true;
    let own = shared.clone();
    let started =
        std::thread::Builder::new().name("transform-watch".to_owned()).spawn(move || watch(&own));
    started.map_err(|error| {
        shared.queue().watched = false;
        Error::environment("transform", "cannot start a thread").why(error)
    })
}

fn watch(shared: &Arc<Shared>) {
    let timeout = shared.options.timeout;
    let tick = (timeout / 8).clamp(Duration::from_millis(5), Duration::from_millis(100));
    // A command is ended by who runs it, who should have the first say.
    let grace = if shared.chain.has_commands() { TRANSFORM_GRACE } else { Duration::ZERO };
    let late = timeout.saturating_add(grace);
    let mut seen: Vec<Seen> = Vec::new();
    let mut queue = shared.queue();
    while queue.watched {
        let (woken, _) =
            shared.ended.wait_timeout(queue, tick).unwrap_or_else(PoisonError::into_inner);
        let desks = woken.desks.clone();
        drop(woken);
        let now = Instant::now();
        seen.retain(|one| desks.iter().any(|desk| Arc::ptr_eq(desk, &one.desk)));
        for desk in desks {
            let Some(known) = seen.iter_mut().find(|one| Arc::ptr_eq(&one.desk, &desk)) else {
                let begun = lock(&desk.top).begun;
                seen.push(Seen { desk, begun, since: now });
                continue;
            };
            look(shared, known, now, late);
        }
        queue = shared.queue();
    }
}

fn look(shared: &Arc<Shared>, known: &mut Seen, now: Instant, late: Duration) {
    let mut top = lock(&known.desk.top);
    if top.begun != known.begun || top.doing.is_none() {
        (known.begun, known.since) = (top.begun, now);
        return;
    }
    // Its batch is slower than expected: others need not wait for this object.
    top.deliver();
    shared.put_back(&mut top);
    if now.duration_since(known.since) < late {
        return;
    }
    let Some((key, charged)) = top.doing.take() else { return };
    top.left = true;
    let Failed { failure, .. } = Failed::new("the transform took too long");
    top.done.push(Done { key, result: Err(failure), why: None, charged });
    top.deliver();
    top.mailbox = None;
    drop(top);
    let hung = shared.hung.fetch_add(1, Ordering::Relaxed) + 1;
    shared.retire(&known.desk);
    if hung > TRANSFORM_HUNG {
        shared.ruin(
            Error::environment("transform", "too many objects hang")
                .why(format!("{hung} threads were left behind"))
                .hint(
                    "a longer time for an object may help, or a transform in a process of its own",
                ),
        );
        return;
    }
    let lane = Lane::new(shared.options.timeout, shared.options.max_output);
    // With the threads that are left the run goes on; with none it cannot.
    if let Err(error) = shared.hire(Some(lane))
        && shared.queue().desks.is_empty()
    {
        shared.ruin(error);
    }
}
