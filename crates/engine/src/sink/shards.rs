//! Packs that belong to shards: an object's name or content decides which one it goes to, whichever
//! core fetched it.
//!
//! Shards are dealt to *groups*, as many as there are cores. A group has a writing thread, a core's
//! book, and an open pack for each of its shards; a core that has an object for one of them locks
//! the group while it encodes. So each pack has one writer, and its objects lie in the order in
//! which they were encoded: that of their arrival, which is not the order of the source.
//!
//! A core that is done waits until all others are, for they may have objects for its group.

use super::records::RecordSink;
use super::writer::Pen;
use super::{Body, CommitClock, Lane, Object, Sink, SinkError};
use crate::pack::Content;
use crate::shard::{Division, Unmatched};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use windrow_model::limits::{FAILURES_AT_ONCE, HAND_OVER};
use windrow_model::{Error, FailedObject, Failure, FailureClass, Receipt};

/// The shards of a run.
#[derive(Debug)]
pub(super) struct Groups {
    division: Division,
    count: usize,
    groups: OnceLock<Result<Vec<Mutex<Group>>, Error>>,
    /// Cores that may still have objects.
    seated: Mutex<usize>,
    left: Condvar,
}

impl Groups {
    pub(super) fn new(division: Division, cores: usize) -> Self {
        let count = cores.clamp(1, division.shards as usize);
        let (groups, seated, left) = (OnceLock::new(), Mutex::new(0), Condvar::new());
        Self { division, count, groups, seated, left }
    }

    /// The shards of a group.
    pub(super) fn lanes(&self, group: usize) -> impl Iterator<Item = Lane> {
        let shards = self.division.shards;
        (group as u32..shards).step_by(self.count).map(move |shard| Lane::new(shard, shards))
    }

    pub(super) fn seat(self: &Arc<Self>) -> Seat {
        *self.seated() += 1;
        Seat { groups: Arc::clone(self) }
    }

    /// Makes the groups, once for all cores.
    pub(super) fn open(&self, make: impl Fn(usize) -> Result<Group, Error>) -> Result<(), Error> {
        let groups = self
            .groups
            .get_or_init(|| (0..self.count).map(|group| make(group).map(Mutex::new)).collect());
        groups.as_ref().map(drop).map_err(Clone::clone)
    }

    fn group(&self, number: usize) -> Option<MutexGuard<'_, Group>> {
        let groups = self.groups.get()?.as_ref().ok()?;
        Some(groups.get(number)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until no core has objects any more, so long; says whether that is so.
    fn all_left_within(&self, time: Duration) -> bool {
        let seated = self.seated();
        let left = self.left.wait_timeout_while(seated, time, |seated| *seated > 0);
        let (seated, _) = left.unwrap_or_else(PoisonError::into_inner);
        *seated == 0
    }

    fn seated(&self) -> MutexGuard<'_, usize> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A core that may have objects.
#[derive(Debug)]
pub(super) struct Seat {
    groups: Arc<Groups>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.groups.seated() -= 1;
        self.groups.left.notify_all();
    }
}

/// Some shards, and what writes them.
#[derive(Debug)]
pub(super) struct Group {
    lanes: Vec<RecordSink>,
    pen: Pen,
    clock: CommitClock,
}

impl Group {
    pub(super) fn new(lanes: Vec<RecordSink>, pen: Pen, commit_interval: Duration) -> Self {
        Self { lanes, pen, clock: CommitClock::new(commit_interval) }
    }

    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        for lane in &mut self.lanes {
            lane.hand_over_in_time(now)?;
        }
        if !self.clock.due(now) {
            return Ok(());
        }
        self.lanes.iter_mut().try_for_each(RecordSink::flush)?;
        self.pen.get().commit()
    }

    fn finish(&mut self) -> Result<(), Error> {
        let ended = self.lanes.iter_mut().try_for_each(RecordSink::end);
        self.pen.get().finish().and(ended)
    }

    fn unfinished(&self) -> (u64, u64) {
        let taken = self.lanes.iter().map(RecordSink::all_taken);
        let taken = taken.fold((0, 0), |sum, lane| (sum.0 + lane.0, sum.1 + lane.1));
        super::unfinished(taken, self.pen.get().shared())
    }
}

/// One core's way to all groups.
#[derive(Debug)]
pub(super) struct ShardSink {
    groups: Arc<Groups>,
    seat: Option<Seat>,
    /// The group that this core looks after; there may be none.
    own: usize,
    failures: Vec<FailedObject>,
}

impl ShardSink {
    pub(super) fn new(seat: Seat, core: usize) -> Self {
        Self { groups: Arc::clone(&seat.groups), seat: Some(seat), own: core, failures: Vec::new() }
    }
}

impl ShardSink {
    fn hand_over_failures(&mut self) -> Result<(), Error> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let own = self.own % self.groups.count;
        let Some(group) = self.groups.group(own) else { return Err(closed()) };
        group.pen.get().failed(std::mem::take(&mut self.failures))
    }
}

impl Sink for ShardSink {
    fn store(&mut self, mut object: Object<'_>) -> Result<Receipt, SinkError> {
        let content: &mut dyn Content = match &mut object.body {
            Body::Bytes(body) => body,
            Body::Spool(spool) => &mut **spool,
        };
        let shard = self.groups.division.shard(object.name, content).map_err(|error| {
            SinkError::Run(match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => Error::environment("body", "cannot be read back").why(error),
            })
        })?;
        let shard = shard.map_err(|none| SinkError::Object(no_key(none)))? as usize;
        let (group, lane) = (shard % self.groups.count, shard / self.groups.count);
        match self.groups.group(group) {
            Some(mut group) => group.lanes[lane].append(object),
            None => Err(SinkError::Run(closed())),
        }
    }

    fn failed(&mut self, failed: FailedObject) -> Result<(), Error> {
        self.failures.push(failed);
        if self.failures.len() >= FAILURES_AT_ONCE { self.hand_over_failures() } else { Ok(()) }
    }

    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        self.hand_over_failures()?;
        self.groups.group(self.own).map_or(Ok(()), |mut group| group.tick(now))
    }

    fn finish(&mut self) -> Result<(), Error> {
        let mut result = self.hand_over_failures();
        drop(self.seat.take());
        while !self.groups.all_left_within(HAND_OVER) {
            // What others bring is to be written and committed all the same.
            let ticked =
                self.groups.group(self.own).map_or(Ok(()), |mut own| own.tick(Instant::now()));
            result = result.and(ticked);
        }
        let finished = self.groups.group(self.own).map_or(Ok(()), |mut own| own.finish());
        result.and(finished)
    }

    fn unfinished(&self) -> (u64, u64) {
        self.groups.group(self.own).map_or((0, 0), |group| group.unfinished())
    }
}

fn closed() -> Error {
    Error::environment("shards", "no sink is open")
        .hint("this is a bug of windrow; please report it with the text above")
}

fn no_key(none: Unmatched) -> Failure {
    let detail = match none {
        Unmatched::NoKey => "no such field to shard by, or nothing in it that can be a key",
        Unmatched::NotJson => "the body is no JSON, and a field of it decides the shard",
        Unmatched::TooLong => "the body is too large to look for the field that decides its shard",
    };
    Failure::new(FailureClass::Transform, detail)
}
