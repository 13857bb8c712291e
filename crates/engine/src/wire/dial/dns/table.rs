//! What is known of hosts, and who waits for what is being asked: the cache and the single flight,
//! without I/O.

use super::Answer;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Hosts with their answers, or with those who wait for one. `W` stands for a waiter.
#[derive(Debug)]
pub(super) struct Table<W> {
    hosts: HashMap<Arc<str>, State<W>>,
    /// Hosts in the order in which they were answered; the number tells an entry from one that took
    /// its place later.
    answered: VecDeque<(Arc<str>, u64)>,
    next: u64,
    bound: usize,
}

#[derive(Debug)]
enum State<W> {
    Known { answer: Arc<Answer>, number: u64 },
    Asked(Vec<W>),
}

/// What there is to do for somebody who needs a host's addresses.
#[derive(Debug)]
pub(super) enum Need {
    /// Nothing: this is the answer.
    Known(Arc<Answer>),
    /// To wait: it is being asked.
    Wait,
    /// To ask, and to wait.
    Ask(Arc<str>),
    /// Nothing can be done: as many hosts are being asked as the table holds.
    Full,
}

impl<W> Table<W> {
    /// A table of so many hosts, at most.
    pub(super) fn new(bound: usize) -> Self {
        Self { hosts: HashMap::new(), answered: VecDeque::new(), next: 0, bound }
    }

    /// Somebody needs the addresses of `host`. `waiter` is made only if there is to be waited.
    pub(super) fn need(&mut self, host: &str, now: Instant, waiter: impl FnOnce() -> W) -> Need {
        let known = match self.hosts.get_mut(host) {
            Some(State::Known { answer, .. }) if now < answer.until => {
                return Need::Known(Arc::clone(answer));
            }
            Some(State::Asked(waiters)) => {
                waiters.push(waiter());
                return Need::Wait;
            }
            state => state.is_some(),
        };
        if !known && self.hosts.len() >= self.bound && !self.forget_oldest() {
            return Need::Full;
        }
        let host: Arc<str> = host.into();
        self.hosts.insert(Arc::clone(&host), State::Asked(vec![waiter()]));
        Need::Ask(host)
    }

    /// What was asked has its answer; gives those who wait for it.
    pub(super) fn answer(&mut self, host: &Arc<str>, answer: Arc<Answer>) -> Vec<W> {
        let number = self.next;
        let Entry::Occupied(mut entry) = self.hosts.entry(Arc::clone(host)) else {
            return Vec::new();
        };
        let waiters = match entry.insert(State::Known { answer, number }) {
            State::Asked(waiters) => waiters,
            State::Known { .. } => Vec::new(),
        };
        self.next += 1;
        self.answered.push_back((Arc::clone(host), number));
        // Places of answers that were replaced.
        if self.answered.len() > self.bound * 2 {
            let Self { hosts, answered, .. } = self;
            answered.retain(|(host, number)| is_current(hosts, host, *number));
        }
        waiters
    }

    /// Whether nobody waits for `host` any more, by `gone`; then it is as if it had not been asked.
    pub(super) fn abandon(&mut self, host: &Arc<str>, gone: impl Fn(&W) -> bool) -> bool {
        match self.hosts.get(host) {
            Some(State::Asked(waiters)) if waiters.iter().all(gone) => {
                self.hosts.remove(host);
                true
            }
            _ => false,
        }
    }

    /// Makes room: forgets the oldest answer. `false` if there is none.
    fn forget_oldest(&mut self) -> bool {
        while let Some((host, number)) = self.answered.pop_front() {
            if is_current(&self.hosts, &host, number) {
                self.hosts.remove(&host);
                return true;
            }
        }
        false
    }
}

fn is_current<W>(hosts: &HashMap<Arc<str>, State<W>>, host: &Arc<str>, at: u64) -> bool {
    matches!(hosts.get(host), Some(State::Known { number, .. }) if *number == at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn answer(until: Instant) -> Arc<Answer> {
        Arc::new(Answer { addresses: Ok(Vec::new()), until })
    }

    #[test]
    fn many_ask_and_one_is_sent() {
        let now = Instant::now();
        let mut table = Table::new(8);
        let Need::Ask(host) = table.need("a", now, || 0) else { panic!("the first asks") };
        for waiter in 1..100 {
            assert!(matches!(table.need("a", now, || waiter), Need::Wait));
        }
        let until = now + Duration::from_secs(5);
        assert_eq!(table.answer(&host, answer(until)), (0..100).collect::<Vec<_>>());
        let before = until - Duration::from_nanos(1);
        assert!(matches!(table.need("a", before, || 0), Need::Known(_)));
        assert!(matches!(table.need("a", until, || 0), Need::Ask(_)), "its time is over");
        assert!(matches!(table.need("a", until, || 0), Need::Wait));
    }

    #[test]
    fn nobody_waits_and_nothing_is_asked() {
        let now = Instant::now();
        let mut table = Table::new(8);
        let Need::Ask(host) = table.need("a", now, || true) else { panic!("the first asks") };
        assert!(matches!(table.need("a", now, || false), Need::Wait));
        assert!(!table.abandon(&host, |gone| *gone));
        assert!(table.abandon(&host, |_| true));
        assert!(matches!(table.need("a", now, || true), Need::Ask(_)));
    }

    proptest! {
        /// Whatever is asked and answered: the table keeps its bound, the oldest answer goes first,
        /// and nobody who waits is forgotten.
        #[test]
        fn it_keeps_its_bound(steps in prop::collection::vec((0_u8..12, any::<bool>()), 1..400)) {
            let now = Instant::now();
            let mut table = Table::new(4);
            let mut asked: Vec<(Arc<str>, Vec<usize>)> = Vec::new();
            for (step, (name, answers)) in steps.into_iter().enumerate() {
                let name = name.to_string();
                let at = asked.iter().position(|(host, _)| **host == *name);
                match at {
                    Some(at) if answers => {
                        let (host, waiters) = asked.remove(at);
                        let until = now + Duration::from_secs(u64::from(step % 2 == 0));
                        prop_assert_eq!(table.answer(&host, answer(until)), waiters);
                    }
                    _ => match table.need(&name, now, || step) {
                        Need::Known(_) => prop_assert!(at.is_none()),
                        Need::Wait => asked[at.unwrap()].1.push(step),
                        Need::Ask(host) => {
                            prop_assert!(at.is_none());
                            asked.push((host, vec![step]));
                        }
                        Need::Full => prop_assert_eq!(asked.len(), 4),
                    },
                }
                prop_assert!(table.hosts.len() <= 4);
                prop_assert!(table.answered.len() <= 8);
            }
        }
    }
}
