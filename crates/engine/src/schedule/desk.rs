//! One core's desk: the tasks it was given, those it waits with, those it was handed back.

use super::access::Access;
use super::backoff::RetryPolicy;
use super::origin::Probe;
use super::ticket::{Errand, Ticket, Trouble};
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Instant;
use windrow_model::limits::{CORE_LEASES, CORE_WAITING, TRIAL_PERIOD};
use windrow_model::{Failure, FailureClass, Lease, Ordinal};

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// Send a request.
    Send(Ticket),
    /// Send a request; an earlier one failed.
    Again(Ticket),
    /// Write down that it failed for good.
    Failed(Ticket, Failure),
}

/// What becomes of an errand whose attempt ended.
#[derive(Debug)]
pub enum Verdict {
    /// The body is there, and is to be stored; the ticket is still out.
    Store(Ticket),
    /// The desk has it, for another attempt.
    Retry,
    /// It is final: the object failed.
    Final(Ticket, Failure),
    /// No object was at stake.
    Nothing,
}

/// Decides which task is next.
///
/// Invariant: every task of every lease taken is in exactly one of these states: not begun,
/// out (a [`Ticket`] that the desk gave), handed back, waiting, or settled.
#[derive(Debug)]
pub struct Desk {
    leases: VecDeque<Rc<Lease>>,
    /// Index in the front lease of the next task that was never out.
    next: u32,
    /// Tasks that were given one by one, not begun.
    queue: VecDeque<Ticket>,
    /// The same, of those whose time runs out.
    dated: BinaryHeap<Dated>,
    /// Handed back at no cost; they go first.
    returned: Vec<Ticket>,
    waiting: BinaryHeap<Waiting>,
    out: usize,
    policy: RetryPolicy,
    access: Access,
    /// No lease will come any more.
    exhausted: bool,
    /// No task is to be begun any more.
    stopped: bool,
    random: u64,
}

impl Desk {
    /// An empty desk; `seed` decides the jitter of its waits.
    pub fn new(policy: RetryPolicy, access: Access, seed: u64) -> Self {
        Self {
            leases: VecDeque::with_capacity(CORE_LEASES),
            next: 0,
            queue: VecDeque::new(),
            dated: BinaryHeap::new(),
            returned: Vec::new(),
            waiting: BinaryHeap::new(),
            out: 0,
            policy,
            access,
            exhausted: false,
            stopped: false,
            random: seed,
        }
    }

    /// Whether the desk has room for another lease.
    pub fn wants_lease(&self) -> bool {
        !self.stopped && self.leases.len() < CORE_LEASES
    }

    /// Takes a lease.
    pub fn add(&mut self, lease: Lease) {
        if !lease.is_empty() {
            self.leases.push_back(Rc::new(lease));
        }
    }

    /// Takes one task. What expires first goes first, and before all that does not.
    pub fn put(&mut self, ticket: Ticket) {
        match ticket.expiry() {
            0 => self.queue.push_back(ticket),
            expiry => self.dated.push(Dated { expiry, ordinal: ticket.ordinal(), ticket }),
        }
    }

    /// Tasks given one by one that were not begun.
    pub fn queued(&self) -> usize {
        self.queue.len() + self.dated.len()
    }

    /// No lease will come any more.
    pub fn close(&mut self) {
        self.exhausted = true;
    }

    /// Begins no task any more; what is out may still come back.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether the desk was stopped.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The way to the origin.
    pub fn access(&mut self) -> &mut Access {
        &mut self.access
    }

    /// What is to be done next, if anything is at `now`.
    pub fn next(&mut self, now: Instant) -> Option<Next> {
        if self.stopped {
            return None;
        }
        if !self.access.flows(now, self.out) {
            let failure = self.access.given_up()?;
            return self.give_up().map(|ticket| Next::Failed(ticket, failure));
        }
        let next = match self.returned.pop() {
            Some(ticket) => Next::Send(ticket),
            None if self.waiting.is_empty() => Next::Send(self.begin()?),
            None => match self.next_waiting(now) {
                Some(next) => next,
                None if self.access.would_flow(now, self.out) => Next::Send(self.begin()?),
                None => return None,
            },
        };
        if !matches!(next, Next::Failed(..)) {
            self.out += 1;
        }
        Some(next)
    }

    /// Any task that is not out: nobody will answer it.
    fn give_up(&mut self) -> Option<Ticket> {
        let waiting = || self.waiting.pop().map(|waiting| waiting.ticket);
        self.returned.pop().or_else(waiting).or_else(|| self.untouched())
    }

    /// The first of those that wait whose time has come.
    fn next_waiting(&mut self, now: Instant) -> Option<Next> {
        let others = self.out > 0 || self.may_begin();
        while let Some(mut first) = self.waiting.peek_mut().filter(|first| first.due <= now) {
            let trouble = first.ticket.trouble.as_mut()?;
            trouble.settle(&self.access);
            if trouble.last && trouble.unproven > 0 {
                if !others {
                    self.access.doubt(trouble.failed, now, trouble.failure);
                    return None;
                }
                first.due = now + TRIAL_PERIOD;
                continue;
            }
            if trouble.last {
                let failure = trouble.failure;
                return Some(Next::Failed(PeekMut::pop(first).ticket, failure));
            }
            if trouble.tries == 0 {
                return Some(Next::Send(PeekMut::pop(first).ticket));
            }
            let token = self.access.take_token(now);
            return token.then(|| Next::Again(PeekMut::pop(first).ticket));
        }
        None
    }

    /// Whether a task may go out that never was.
    fn may_begin(&self) -> bool {
        self.waiting.len() < CORE_WAITING && (self.queued() > 0 || !self.leases.is_empty())
    }

    /// A ticket for the next task that was never out.
    fn begin(&mut self) -> Option<Ticket> {
        if !self.may_begin() {
            return None;
        }
        self.untouched()
    }

    fn untouched(&mut self) -> Option<Ticket> {
        if let Some(first) = self.dated.pop() {
            return Some(first.ticket);
        }
        if let Some(ticket) = self.queue.pop_front() {
            return Some(ticket);
        }
        let lease = self.leases.front()?;
        let ticket = Ticket { lease: Rc::clone(lease), index: self.next, trouble: None };
        self.next += 1;
        if self.next as usize == lease.len() {
            self.leases.pop_front();
            self.next = 0;
        }
        Some(ticket)
    }

    /// What is to be asked at `now` to see whether the origin is back, if it is time to.
    pub fn probe(&mut self, now: Instant) -> Option<Errand> {
        if self.stopped {
            return None;
        }
        let waits = !self.returned.is_empty()
            || !self.waiting.is_empty()
            || self.queued() > 0
            || !self.leases.is_empty();
        match self.access.origin().probe(now, waits)? {
            Probe::Reference(name) => Some(Errand::Reference(name)),
            Probe::Trial => {
                let ticket = match self.returned.pop() {
                    Some(ticket) => ticket,
                    None => match self.waiting.pop() {
                        Some(waiting) => waiting.ticket,
                        None => self.begin()?,
                    },
                };
                self.out += 1;
                Some(Errand::Trial(ticket))
            }
        }
    }

    /// The task of a ticket got its outcome.
    pub fn settled(&mut self, ticket: Ticket) {
        self.out -= 1;
        drop(ticket);
    }

    /// A ticket comes back that was never attempted; it goes out again first.
    pub fn give_back(&mut self, ticket: Ticket) {
        self.out -= 1;
        self.returned.push(ticket);
    }

    /// An errand comes back that was never attempted.
    pub fn unanswered(&mut self, errand: Errand, now: Instant) {
        if errand.is_probe() {
            self.access.origin().probe_returned(now);
        }
        if let Errand::Object(ticket) | Errand::Trial(ticket) = errand {
            self.give_back(ticket);
        }
    }

    /// An object came in, asked for at `sent`; its ticket is still out. The same as
    /// [`Desk::ended`] says, for what happens nearly always.
    #[inline]
    pub fn fetched(&mut self, ticket: &Ticket, sent: Instant) {
        self.access.answered(sent, ticket.trouble.is_some());
    }

    /// An attempt that was sent at `sent` ended at `now`.
    pub fn ended(
        &mut self,
        errand: Errand,
        result: Result<(), Failure>,
        sent: Instant,
        now: Instant,
    ) -> Verdict {
        let (ticket, probe) = match errand {
            Errand::Object(ticket) => (Some(ticket), None),
            Errand::Trial(ticket) => (Some(ticket), Some(Probe::Trial)),
            Errand::Reference(name) => (None, Some(Probe::Reference(name))),
        };
        let again = ticket.as_ref().is_some_and(|ticket| ticket.attempts() > 0);
        let own = match &probe {
            Some(probe) => {
                let own = result.err().is_none_or(|failure| self.is_own(failure));
                match own {
                    true => self.access.probe_answered(sent, now, probe),
                    false => self.access.origin().probe_failed(sent, now, probe),
                }
                own
            }
            None => self.witness(result, again, sent, now),
        };
        match (ticket, result) {
            (None, _) => Verdict::Nothing,
            (Some(ticket), Ok(())) => Verdict::Store(ticket),
            (Some(ticket), Err(failure)) => self.failed(ticket, failure, own, sent, now),
        }
    }

    /// Learns of the origin from an attempt that was sent at `sent` and ended at `now`, but for
    /// what becomes of its object. True if the origin is not to blame for the result.
    pub fn witness(
        &mut self,
        result: Result<(), Failure>,
        again: bool,
        sent: Instant,
        now: Instant,
    ) -> bool {
        match result {
            // It is there, and has said what is wrong; what it bears is learned elsewhere.
            Err(failure) if failure.class == FailureClass::Throttled => return false,
            Err(failure) if !self.is_own(failure) => {
                self.access.failed(sent, now, failure);
                return false;
            }
            Err(failure) if failure.retry() => {}
            _ => self.access.answered(sent, again),
        }
        true
    }

    /// Whether a failure says nothing about the origin but that it is there.
    fn is_own(&self, failure: Failure) -> bool {
        // A server whose answers were never right is no server that was well and is down.
        let garbled = matches!(failure.class, FailureClass::Truncated | FailureClass::Protocol);
        // One server of many that answers with errors and nothing else: it is there.
        let erring = self.access.is_expendable() && failure.class == FailureClass::Server;
        !failure.retry() || ((garbled || erring) && !self.access.was_ever_well())
    }

    /// An attempt failed; `own` is whether that is known to be the object's fault.
    fn failed(
        &mut self,
        mut ticket: Ticket,
        failure: Failure,
        own: bool,
        sent: Instant,
        now: Instant,
    ) -> Verdict {
        self.out -= 1;
        let random = super::random(&mut self.random);
        // One server of many that never answered anybody is not waited for.
        let own = own || (self.access.is_expendable() && !self.access.was_ever_well());
        let policy = &self.policy;
        let trouble = ticket.trouble.get_or_insert_with(|| Trouble::new(failure, sent, now));
        trouble.settle(&self.access);
        let since = *trouble.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        trouble.tries += 1;
        (trouble.failure, trouble.sent, trouble.failed) = (failure, sent, now);
        // "Slow down" is said to the client and not to the object; but not for ever.
        let patience = failure.class == FailureClass::Throttled
            && policy.retries > 0
            && elapsed < policy.outage_max;
        match own {
            _ if patience => {}
            true => trouble.counted += 1,
            false => trouble.unproven += 1,
        }
        let wait = policy.backoff(trouble.tries, random);
        trouble.last = trouble.counted + trouble.unproven > policy.retries
            || policy.max_time.is_some_and(|max| elapsed.saturating_add(wait) >= max);
        if !failure.retry() || (trouble.last && trouble.unproven == 0) {
            return Verdict::Final(ticket, failure);
        }
        let due = if trouble.last { now } else { now + wait };
        self.waiting.push(Waiting { due, ticket });
        Verdict::Retry
    }

    /// What is out fails for a reason that is neither the origin's nor the wire's.
    pub fn refused(&mut self, ticket: Ticket) -> Ticket {
        self.out -= 1;
        ticket
    }

    /// It is not known yet whether a ticket is of use; it was not sent.
    pub fn postpone(&mut self, mut ticket: Ticket, due: Instant) {
        const UNSURE: Failure =
            Failure { class: FailureClass::Expired, status: 0, detail: "it may have expired" };
        ticket.trouble.get_or_insert_with(|| Trouble::new(UNSURE, due, due));
        self.waiting.push(Waiting { due, ticket });
    }

    /// Takes a task that another server sent on: behind those that are here.
    pub fn follow(&mut self, ticket: Ticket) {
        self.queue.push_back(ticket);
    }

    /// Whether [`Desk::next`] may have something at `now`.
    pub fn ready(&self, now: Instant) -> bool {
        let due = || {
            self.waiting.peek().is_some_and(|first| {
                let last = first.ticket.trouble.as_ref().is_some_and(|trouble| trouble.last);
                first.due <= now && (last || self.access.may_retry(now))
            })
        };
        !self.stopped
            && (self.access.would_flow(now, self.out) || self.access.given_up().is_some())
            && (!self.returned.is_empty() || self.may_begin() || due())
    }

    /// How many tasks could be sent, at most, if now is their time.
    pub fn sendable(&self) -> usize {
        let leased: usize = self.leases.iter().map(|lease| lease.len()).sum();
        let begun = if self.leases.is_empty() { 0 } else { self.next as usize };
        leased - begun + self.queued() + self.returned.len() + self.waiting.len()
    }

    /// Whether [`Desk::probe`] may have something at `now`.
    pub fn may_probe(&self, now: Instant) -> bool {
        !self.stopped && self.access.origin().probe_due(now)
    }

    /// Whether the desk will give no task any more: stopped, or all is settled.
    pub fn finished(&self) -> bool {
        self.stopped
            || (self.exhausted
                && self.out == 0
                && self.queued() == 0
                && self.leases.is_empty()
                && self.returned.is_empty()
                && self.waiting.is_empty())
    }

    /// Whether no task is left but those that are out, or that wait for another attempt.
    pub fn is_tail(&self) -> bool {
        self.exhausted
            && !self.stopped
            && self.queued() == 0
            && self.leases.is_empty()
            && self.returned.is_empty()
    }

    /// Tasks that are out.
    pub fn out(&self) -> usize {
        self.out
    }

    /// Tasks that the desk took and that have no outcome.
    pub fn pending(&self) -> u64 {
        let untouched: usize = self.leases.iter().map(|lease| lease.len()).sum();
        let begun = if self.leases.is_empty() { 0 } else { self.next as usize };
        let untouched = untouched - begun + self.queued();
        (untouched + self.returned.len() + self.waiting.len() + self.out) as u64
    }
}

/// In a heap whose first element expires first; of those that expire at once, the first listed.
#[derive(Debug)]
struct Dated {
    expiry: u32,
    ordinal: Ordinal,
    ticket: Ticket,
}

impl Ord for Dated {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.expiry, other.ordinal).cmp(&(self.expiry, self.ordinal))
    }
}

impl PartialOrd for Dated {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Dated {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Dated {}

/// In a heap whose first element is due first.
#[derive(Debug)]
struct Waiting {
    due: Instant,
    ticket: Ticket,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Origin;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;
    use windrow_model::FailureClass;
    use windrow_model::task::Names;

    fn desk(policy: RetryPolicy, seed: u64, now: Instant) -> Desk {
        Desk::new(policy, Access::new(Arc::new(Origin::new(now, seed)), now), seed)
    }

    fn index(ticket: &Ticket) -> usize {
        usize::try_from(ticket.ordinal()).unwrap()
    }

    fn sent(next: Option<Next>) -> Option<Ticket> {
        match next? {
            Next::Send(ticket) | Next::Again(ticket) => Some(ticket),
            Next::Failed(ticket, failure) => panic!("{ticket:?} failed: {failure}"),
        }
    }

    fn leases(count: usize, size: usize) -> impl Iterator<Item = Lease> {
        let mut names = Names::default();
        for i in 0..count {
            names.push(i.to_string().as_bytes()).unwrap();
        }
        Lease::cut(names, 0, size)
    }

    proptest! {
        /// Whatever happens to tickets, every task ends exactly once, and none is lost or doubled.
        #[test]
        fn every_task_ends_exactly_once(
            seed in any::<u64>(),
            fates in prop::collection::vec(0..10_u8, 1..200),
            count in 0..300_usize,
        ) {
            let policy = RetryPolicy { retries: 3, ..RetryPolicy::default() };
            let mut now = Instant::now();
            let mut desk = desk(policy, seed, now);
            let mut source = leases(count, 16);
            let mut out = VecDeque::new();
            let mut ended = vec![0_u32; count];
            // A task that is only ever handed back never ends: one fate settles.
            let mut fates = fates.iter().chain(&[9]).cycle();
            let mut steps = 0;
            while !desk.finished() {
                steps += 1;
                prop_assert!(steps < 100_000, "no progress");
                while desk.wants_lease() {
                    match source.next() {
                        Some(lease) => desk.add(lease),
                        None => { desk.close(); break; }
                    }
                }
                desk.access().sync(now);
                while out.len() < 8 {
                    let ready = desk.ready(now);
                    let may_probe = desk.may_probe(now);
                    let next = desk.next(now);
                    prop_assert!(ready || next.is_none(), "nobody would have been woken");
                    match next {
                        Some(Next::Send(ticket) | Next::Again(ticket)) => {
                            out.push_back((Errand::Object(ticket), now));
                        }
                        Some(Next::Failed(ticket, _)) => ended[index(&ticket)] += 1,
                        None => {
                            let probe = desk.probe(now);
                            prop_assert!(may_probe || probe.is_none());
                            let Some(errand) = probe else { break };
                            out.push_back((errand, now));
                        }
                    }
                }
                match out.pop_front() {
                    None => now += Duration::from_millis(50),
                    Some((errand, sent)) => {
                        let fate = *fates.next().unwrap();
                        let result = match fate {
                            0 => { desk.unanswered(errand, now); continue; }
                            1 => Err(FailureClass::NotFound),
                            2 | 3 => Err(FailureClass::Reset),
                            4 => Err(FailureClass::Throttled),
                            _ => Ok(()),
                        };
                        let result = result.map_err(|class| Failure::new(class, ""));
                        now += Duration::from_millis(u64::from(fate));
                        match desk.ended(errand, result, sent, now) {
                            Verdict::Store(ticket) => {
                                let index = index(&ticket);
                                prop_assert_eq!(ticket.name(), &*index.to_string().into_bytes());
                                ended[index] += 1;
                                if seed % 2 == 0 { desk.access().note(ticket.name(), now); }
                                desk.settled(ticket);
                            }
                            Verdict::Retry => prop_assert!(!matches!(fate, 1 | 5..)),
                            Verdict::Final(ticket, failure) => {
                                let expected = if failure.retry() { 4.. } else { 1.. };
                                prop_assert!(expected.contains(&ticket.attempts()));
                                ended[index(&ticket)] += 1;
                            }
                            Verdict::Nothing => {}
                        }
                    }
                }
                let settled: u32 = ended.iter().sum();
                let unseen = source.size_hint().0;
                prop_assert!(desk.pending() + u64::from(settled) <= count as u64);
                prop_assert!(unseen == 0 || !desk.finished());
            }
            prop_assert!(ended.iter().all(|&times| times == 1));
            prop_assert_eq!(desk.pending(), 0);
        }
    }

    #[test]
    fn a_stopped_desk_gives_nothing_and_counts_what_is_left() {
        let now = Instant::now();
        let mut desk = desk(RetryPolicy::default(), 1, now);
        leases(20, 16).for_each(|lease| desk.add(lease));
        desk.close();
        let (first, second) = (sent(desk.next(now)).unwrap(), sent(desk.next(now)).unwrap());
        desk.stop();
        assert!(desk.next(now).is_none() && !desk.ready(now) && desk.finished());
        desk.settled(first);
        desk.give_back(second);
        assert_eq!(desk.pending(), 19);
    }

    #[test]
    fn too_many_waiting_tasks_hold_back_new_ones() {
        let now = Instant::now();
        let mut desk = desk(RetryPolicy::default(), 1, now);
        let mut source = leases(CORE_WAITING * 2, 64);
        let mut begun = 0;
        loop {
            while desk.wants_lease() {
                desk.add(source.next().unwrap());
            }
            let Some(ticket) = sent(desk.next(now)) else { break };
            begun += 1;
            // Slowed down, and not failed: else the origin would seem to be down. What is sent
            // in between is answered.
            let failure = Failure::new(FailureClass::Throttled, "");
            let later = now + Duration::from_secs(1);
            let ended = desk.ended(Errand::Object(ticket), Err(failure), now, later);
            assert!(matches!(ended, Verdict::Retry));
            desk.access().answered(now, false);
        }
        assert_eq!(begun, CORE_WAITING);
        let later = now + Duration::from_secs(1) + BACKOFF;
        assert!(desk.next(later).is_some(), "when their time comes they go out");
    }

    const BACKOFF: Duration = windrow_model::limits::BACKOFF_CAP;
}
