//! One core's desk: the tasks it was given, those it waits with, those it was handed back.

use super::backoff::RetryPolicy;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Instant;
use windrow_model::limits::{CORE_LEASES, CORE_WAITING};
use windrow_model::{Failure, Lease, Ordinal};

/// A task that is out: being fetched, or waiting for its next attempt.
#[derive(Debug)]
pub struct Ticket {
    lease: Rc<Lease>,
    index: u32,
    /// Attempts that failed.
    attempts: u32,
    /// When the first attempt failed.
    since: Option<Instant>,
}

impl Ticket {
    /// The object's name.
    pub fn name(&self) -> &[u8] {
        self.lease.name(self.index as usize)
    }

    /// The object's ordinal.
    pub fn ordinal(&self) -> Ordinal {
        self.lease.ordinal(self.index as usize)
    }

    /// Attempts that failed so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// What becomes of a ticket whose attempt failed.
#[derive(Debug)]
pub enum Verdict {
    /// The desk has it, for another attempt.
    Retry,
    /// It is final: the object failed.
    Final(Ticket),
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
    /// Handed back at no cost; they go first.
    returned: Vec<Ticket>,
    waiting: BinaryHeap<Waiting>,
    out: usize,
    policy: RetryPolicy,
    /// No lease will come any more.
    exhausted: bool,
    /// No task is to be begun any more.
    stopped: bool,
    random: u64,
}

impl Desk {
    /// An empty desk; `seed` decides the jitter of its waits.
    pub fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self {
            leases: VecDeque::with_capacity(CORE_LEASES),
            next: 0,
            returned: Vec::new(),
            waiting: BinaryHeap::new(),
            out: 0,
            policy,
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

    /// The next task to send, if one may be sent at `now`.
    pub fn next(&mut self, now: Instant) -> Option<Ticket> {
        if self.stopped {
            return None;
        }
        let ticket = match self.returned.pop() {
            Some(ticket) => ticket,
            None if self.waiting.peek().is_some_and(|first| first.due <= now) => {
                self.waiting.pop()?.ticket
            }
            None if self.waiting.len() < CORE_WAITING => self.begin()?,
            None => return None,
        };
        self.out += 1;
        Some(ticket)
    }

    /// A ticket for the next task that was never out.
    fn begin(&mut self) -> Option<Ticket> {
        let lease = self.leases.front()?;
        let ticket = Ticket { lease: Rc::clone(lease), index: self.next, attempts: 0, since: None };
        self.next += 1;
        if self.next as usize == lease.len() {
            self.leases.pop_front();
            self.next = 0;
        }
        Some(ticket)
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

    /// An attempt failed at `now`.
    pub fn failed(&mut self, mut ticket: Ticket, failure: Failure, now: Instant) -> Verdict {
        self.out -= 1;
        ticket.attempts += 1;
        let elapsed = now.saturating_duration_since(*ticket.since.get_or_insert(now));
        let wait = match failure.retry() {
            true => {
                let random = self.random();
                self.policy.wait(ticket.attempts, elapsed, random)
            }
            false => None,
        };
        match wait {
            Some(wait) => {
                self.waiting.push(Waiting { due: now + wait, ticket });
                Verdict::Retry
            }
            None => Verdict::Final(ticket),
        }
    }

    /// A final failure could not be written down: the task is pending again.
    pub fn revive(&mut self, ticket: Ticket) {
        self.returned.push(ticket);
    }

    /// Whether [`Desk::next`] would give a task at `now`.
    pub fn ready(&self, now: Instant) -> bool {
        !self.stopped
            && (!self.returned.is_empty()
                || self.waiting.peek().is_some_and(|first| first.due <= now)
                || (self.waiting.len() < CORE_WAITING && !self.leases.is_empty()))
    }

    /// Whether the desk will give no task any more: stopped, or all is settled.
    pub fn finished(&self) -> bool {
        self.stopped
            || (self.exhausted
                && self.out == 0
                && self.leases.is_empty()
                && self.returned.is_empty()
                && self.waiting.is_empty())
    }

    /// Tasks that the desk took and that have no outcome.
    pub fn pending(&self) -> u64 {
        let untouched: usize = self.leases.iter().map(|lease| lease.len()).sum();
        let begun = if self.leases.is_empty() { 0 } else { self.next as usize };
        (untouched - begun + self.returned.len() + self.waiting.len() + self.out) as u64
    }

    /// SplitMix64: the jitter needs no better.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

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
    use proptest::prelude::*;
    use std::time::Duration;
    use windrow_model::FailureClass;
    use windrow_model::task::Names;

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
            let mut desk = Desk::new(policy, seed);
            let mut source = leases(count, 16);
            let mut now = Instant::now();
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
                while out.len() < 8 {
                    prop_assert_eq!(desk.ready(now), {
                        let next = desk.next(now);
                        let some = next.is_some();
                        out.extend(next);
                        some
                    });
                    if !desk.ready(now) { break; }
                }
                match out.pop_front() {
                    None => now += Duration::from_millis(50),
                    Some(ticket) => {
                        let ordinal = usize::try_from(ticket.ordinal()).unwrap();
                        prop_assert_eq!(ticket.name(), &*ordinal.to_string().into_bytes());
                        match fates.next().unwrap() {
                            0 => desk.give_back(ticket),
                            fate @ 1..=3 => {
                                let class = if *fate == 1 {
                                    FailureClass::NotFound
                                } else {
                                    FailureClass::Reset
                                };
                                match desk.failed(ticket, Failure::new(class, ""), now) {
                                    Verdict::Retry => prop_assert_ne!(*fate, 1),
                                    Verdict::Final(ticket) => {
                                        let expected = if *fate == 1 { 1.. } else { 4.. };
                                        prop_assert!(expected.contains(&ticket.attempts()));
                                        ended[ordinal] += 1;
                                    }
                                }
                            }
                            _ => { ended[ordinal] += 1; desk.settled(ticket); }
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
        let mut desk = Desk::new(RetryPolicy::default(), 1);
        let now = Instant::now();
        leases(20, 16).for_each(|lease| desk.add(lease));
        desk.close();
        let (first, second) = (desk.next(now).unwrap(), desk.next(now).unwrap());
        desk.stop();
        assert!(desk.next(now).is_none() && !desk.ready(now) && desk.finished());
        desk.settled(first);
        desk.give_back(second);
        assert_eq!(desk.pending(), 19);
    }

    #[test]
    fn too_many_waiting_tasks_hold_back_new_ones() {
        let mut desk = Desk::new(RetryPolicy::default(), 1);
        let now = Instant::now();
        let mut source = leases(CORE_WAITING * 2, 64);
        let mut begun = 0;
        loop {
            while desk.wants_lease() {
                desk.add(source.next().unwrap());
            }
            let Some(ticket) = desk.next(now - Duration::from_secs(1)) else { break };
            begun += 1;
            let failure = Failure::new(FailureClass::Connect, "");
            assert!(matches!(desk.failed(ticket, failure, now), Verdict::Retry));
        }
        assert_eq!(begun, CORE_WAITING);
        assert!(desk.next(now + BACKOFF).is_some(), "when their time comes they go out");
    }

    const BACKOFF: Duration = windrow_model::limits::BACKOFF_CAP;
}
