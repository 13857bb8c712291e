//! One core's tasks over all the servers that they are at: a [`Desk`] for each server, and the
//! choice whose turn it is.
//!
//! Turns go round. A server that has its share of what is under way is passed over while another
//! has less, so that one that answers late holds its share and not the rest. Where there is only
//! one server nothing of this costs anything.

use super::access::Access;
use super::backoff::RetryPolicy;
use super::desk::{Desk, Next};
use super::origin::Origin;
use super::ticket::{Detour, Errand, Ticket};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windrow_model::limits::{
    CORE_AHEAD, CORE_AHEAD_HELD, CORE_SITES, FORGET_PERIOD, SITES_LOOKED_AT,
};
use windrow_model::task::Details;
use windrow_model::url::Origin as Whereabouts;
use windrow_model::{Failure, FailureClass, Lease};

/// Stands for a server on this core, while it has tasks or connections.
pub type SiteId = u32;

/// A server, and on whose word it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The server.
    pub origin: Whereabouts,
    /// Who named it.
    pub named_by: NamedBy,
}

/// Who named a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NamedBy {
    /// The user, by the source.
    Source,
    /// Another server, by a redirect; `private` is whether that one has a private address itself.
    Redirect {
        /// See there.
        private: bool,
    },
}

/// A server as one core has to do with it, with what the caller keeps beside it.
#[derive(Debug)]
pub struct Site<X> {
    /// Its tasks.
    pub desk: Desk,
    /// What the caller keeps beside it; while [`Keep::is_kept`], the site stays.
    pub extra: X,
    key: Key,
    standing: Standing,
}

impl<X> Site<X> {
    /// Which server it is.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// Whether what is kept beside a site forbids to forget it.
pub trait Keep {
    /// Whether it is in use: connections are open.
    fn is_kept(&self) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Among those whose turn comes.
    InTurn,
    /// Has nothing to send now, as far as is known; looked at again once in a tick.
    Aside,
}

/// Makes what is needed for a server that was not known.
pub type Make<'m, X> = &'m mut dyn FnMut(&Key) -> (Arc<Origin>, X);

/// See the [module](self).
#[derive(Debug)]
pub struct Board<X> {
    sites: Vec<Option<Site<X>>>,
    free: Vec<SiteId>,
    by_key: HashMap<Key, SiteId>,
    turns: VecDeque<SiteId>,
    /// Servers whose rates allow nothing now, and until when; perhaps more than once.
    resting: Vec<(Instant, SiteId)>,
    /// Some server is to be probed, perhaps.
    probing: bool,
    /// There is one server, and leases go to its desk.
    single: bool,
    /// Tasks that no desk has begun.
    ahead: usize,
    policy: RetryPolicy,
    random: u64,
    exhausted: bool,
    stopped: bool,
    /// Tasks ahead that are at servers that take none now, as of the last tick.
    held: usize,
    /// When servers were last forgotten.
    forgot: Option<Instant>,
}

impl<X: Keep> Board<X> {
    /// A board for a source with one server.
    pub fn single(policy: RetryPolicy, key: Key, access: Access, extra: X, seed: u64) -> Self {
        let mut board = Self::many(policy, seed);
        let desk = Desk::new(policy, access, seed);
        board.sites.push(Some(Site { desk, extra, key, standing: Standing::Aside }));
        board.single = true;
        board
    }

    /// A board for a source with any number of servers.
    pub fn many(policy: RetryPolicy, seed: u64) -> Self {
        Self {
            sites: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            turns: VecDeque::new(),
            resting: Vec::new(),
            probing: false,
            single: false,
            ahead: 0,
            policy,
            random: seed,
            exhausted: false,
            stopped: false,
            held: 0,
            forgot: None,
        }
    }

    /// Whether all tasks are at one server.
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// A server that is known.
    ///
    /// # Panics
    /// If it is not: it has tasks or connections while somebody holds its id.
    pub fn site(&mut self, id: SiteId) -> &mut Site<X> {
        self.sites[id as usize].as_mut().expect("a site in use is not forgotten")
    }

    /// Every server that is known.
    pub fn sites(&mut self) -> impl Iterator<Item = (SiteId, &mut Site<X>)> {
        let all = self.sites.iter_mut().enumerate();
        all.filter_map(|(id, site)| Some((id as SiteId, site.as_mut()?)))
    }

    /// How many servers are known.
    pub fn known(&self) -> usize {
        self.sites.len() - self.free.len()
    }

    /// Whether there is room for another lease.
    pub fn wants_lease(&self) -> bool {
        match self.single {
            true => self.first().is_some_and(|site| site.desk.wants_lease()),
            // Those that wait for a server that is down do not keep others from being read, up to a
            // bound.
            false => {
                let held = self.held.min(CORE_AHEAD_HELD);
                !self.stopped && self.ahead.saturating_sub(held) < CORE_AHEAD
            }
        }
    }

    /// Takes a lease. Gives those of its tasks back that name no server, with what is wrong; they
    /// count as tasks of nobody's.
    pub fn add(&mut self, lease: Lease, now: Instant, make: Make<'_, X>) -> Vec<(Ticket, Failure)> {
        if self.single {
            if let Some(site) = self.sites.first_mut().and_then(Option::as_mut) {
                site.desk.add(lease);
            }
            return Vec::new();
        }
        let lease = Rc::new(lease);
        let mut broken = Vec::new();
        // Tasks of one server come in rows.
        let mut last: Option<(u32, SiteId)> = None;
        for index in 0..lease.len() {
            let ticket = Ticket { lease: Rc::clone(&lease), index: index as u32, trouble: None };
            let Some((details, at)) = lease.details(index) else { continue };
            let number = details.origin.get(at).copied().unwrap_or(Details::NOWHERE);
            let id = match last {
                Some((known, id)) if known == number => id,
                _ => match details.origins.get(number as usize) {
                    Some(origin) => {
                        let origin = origin.clone();
                        self.find(Key { origin, named_by: NamedBy::Source }, now, make)
                    }
                    None => {
                        let why = details.malformed(at).map_or("no URL", |line| line.why);
                        broken.push((ticket, Failure::new(FailureClass::Malformed, why)));
                        continue;
                    }
                },
            };
            last = Some((number, id));
            self.site(id).desk.put(ticket);
            self.ahead += 1;
            self.take_turn(id);
        }
        broken
    }

    /// A server sent a task on, to the server of `key`; it is not out any more.
    pub fn redirect(
        &mut self,
        mut ticket: Ticket,
        (key, detour): (Key, Detour),
        now: Instant,
        make: Make<'_, X>,
    ) {
        ticket.send_to(detour, now);
        let to = match self.single && self.site(0).key.origin == key.origin {
            true => 0,
            false => self.find(key, now, make),
        };
        self.site(to).desk.follow(ticket);
        self.ahead += 1;
        self.take_turn(to);
    }

    fn find(&mut self, key: Key, now: Instant, make: Make<'_, X>) -> SiteId {
        if let Some(&id) = self.by_key.get(&key) {
            return id;
        }
        let lately = |at: Instant| now.saturating_duration_since(at) < FORGET_PERIOD;
        if self.known() >= CORE_SITES && !self.forgot.is_some_and(lately) {
            self.forgot = Some(now);
            self.forget();
        }
        let (origin, extra) = make(&key);
        let access = Access::new(origin, now);
        let mut desk = Desk::new(self.policy, access, super::random(&mut self.random));
        // What it gets comes one by one; when that ends, the board knows.
        desk.close();
        if self.stopped {
            desk.stop();
        }
        let site = Site { desk, extra, key: key.clone(), standing: Standing::Aside };
        let id = match self.free.pop() {
            Some(id) => {
                self.sites[id as usize] = Some(site);
                id
            }
            None => {
                self.sites.push(Some(site));
                self.sites.len() as SiteId - 1
            }
        };
        self.by_key.insert(key, id);
        id
    }

    /// Forgets the servers that nothing is left to do with.
    fn forget(&mut self) {
        let own = usize::from(self.single);
        for (id, place) in self.sites.iter_mut().enumerate().skip(own) {
            let Some(site) = place else { continue };
            let idle = site.desk.pending() == 0 && !site.extra.is_kept();
            if idle && site.standing == Standing::Aside {
                self.by_key.remove(&site.key);
                *place = None;
                self.free.push(id as SiteId);
            }
        }
    }

    /// Has a server's turn come.
    fn take_turn(&mut self, id: SiteId) {
        if self.single && id == 0 {
            return;
        }
        let site = self.site(id);
        if site.standing == Standing::Aside {
            site.standing = Standing::InTurn;
            self.turns.push_back(id);
        }
    }

    /// No lease will come any more.
    pub fn close(&mut self) {
        self.exhausted = true;
        if self.single {
            self.site(0).desk.close();
        }
    }

    /// Begins no task any more.
    pub fn stop(&mut self) {
        self.stopped = true;
        for (_, site) in self.sites() {
            site.desk.stop();
        }
    }

    /// Whether the board was stopped.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What is to be sent next to one server, if that has something, and not more than its share
    /// under way while another has less. `limit` is how many requests may be under way to all.
    #[inline]
    pub fn next_of(&mut self, id: SiteId, now: Instant, limit: usize) -> Option<Next> {
        if self.single && id == 0 && self.turns.is_empty() {
            return self.sites.first_mut()?.as_mut()?.desk.next(now);
        }
        let share = self.share(limit);
        if self.site(id).desk.out() >= share && self.another_has_less(id, share) {
            return None;
        }
        let next = self.begin(id, now, limit);
        if next.is_some() {
            self.take_turn(id);
        }
        next
    }

    /// What is to be sent next, and to whom.
    pub fn next(&mut self, now: Instant, limit: usize) -> Option<(SiteId, Next)> {
        if self.single && self.turns.is_empty() {
            return self.sites.first_mut()?.as_mut()?.desk.next(now).map(|next| (0, next));
        }
        let share = self.share(limit);
        let mut over: Vec<(usize, SiteId)> = Vec::new();
        for _ in 0..self.turns.len().min(SITES_LOOKED_AT) {
            let id = self.turns.pop_front()?;
            let out = self.site(id).desk.out();
            if out >= share {
                self.turns.push_back(id);
                over.push((out, id));
                continue;
            }
            match self.begin(id, now, limit) {
                Some(next) => {
                    self.turns.push_back(id);
                    return Some((id, next));
                }
                None => self.site(id).standing = Standing::Aside,
            }
        }
        if self.single
            && self.site(0).desk.out() < share
            && let Some(next) = self.begin(0, now, limit)
        {
            return Some((0, next));
        }
        // Those that have their share may have more, where nobody else wants it.
        over.sort_unstable();
        for (_, id) in over {
            if let Some(next) = self.begin(id, now, limit) {
                return Some((id, next));
            }
            self.site(id).standing = Standing::Aside;
            self.turns.retain(|&other| other != id);
        }
        match self.single {
            true => self.begin(0, now, limit).map(|next| (0, next)),
            false => None,
        }
    }

    /// How many requests a server may have under way while another has less.
    fn share(&self, limit: usize) -> usize {
        (limit / (self.turns.len() + usize::from(self.single)).max(1)).max(1)
    }

    /// Whether the turn of another server has come that has not its share.
    fn another_has_less(&mut self, id: SiteId, share: usize) -> bool {
        (0..self.turns.len().min(SITES_LOOKED_AT)).any(|at| {
            let other = self.turns[at];
            other != id && self.site(other).desk.out() < share
        })
    }

    /// Requests that one server may have under way, though no other has anything to send: what it
    /// does not answer would be missing when others have.
    fn most(&mut self, id: SiteId, limit: usize) -> usize {
        let others = self.known() > 1;
        match self.site(id).desk.access().was_ever_well() {
            false => (limit / 4).max(1),
            true if others => (limit - limit / 8).max(1),
            true => limit,
        }
    }

    fn begin(&mut self, id: SiteId, now: Instant, limit: usize) -> Option<Next> {
        if !self.single {
            let most = self.most(id, limit);
            let desk = &mut self.site(id).desk;
            // What it is given up for needs no place.
            if desk.out() >= most && desk.access().given_up().is_none() {
                return None;
            }
        }
        // A server that sends everything on is not asked for more than can be followed.
        if self.single && id == 0 && self.ahead >= CORE_AHEAD {
            return None;
        }
        let desk = &mut self.site(id).desk;
        let queued = desk.queued();
        let next = desk.next(now);
        let begun = queued - desk.queued();
        let waits = match next {
            None => desk.access().origin().wait(now),
            Some(_) => Duration::ZERO,
        };
        self.ahead -= begun;
        if !waits.is_zero() {
            self.resting.push((now + waits, id));
        }
        next
    }

    /// A server is passed over until the next tick, or until something comes back from it. `false`
    /// where there is no other.
    pub fn set_aside(&mut self, id: SiteId) -> bool {
        if self.single && id == 0 {
            return false;
        }
        self.site(id).standing = Standing::Aside;
        self.turns.retain(|&other| other != id);
        !self.turns.is_empty()
    }

    /// Has the turn come again of servers whose rates allow more now. Gives when that will be so of
    /// the next.
    pub fn rouse(&mut self, now: Instant) -> Option<Instant> {
        let mut resting = std::mem::take(&mut self.resting);
        resting.sort_unstable();
        resting.dedup_by_key(|(_, id)| *id);
        let next = resting.partition_point(|&(due, _)| due <= now);
        self.resting = resting.split_off(next);
        for (_, id) in resting {
            if self.sites.get(id as usize).is_some_and(Option::is_some) {
                self.take_turn(id);
            }
        }
        self.resting.first().map(|&(due, _)| due)
    }

    /// How many tasks could be sent, at most, if now is their time; one at least, for what is not
    /// a task.
    pub fn sendable(&self) -> usize {
        match self.first() {
            Some(site) if self.single => site.desk.sendable() + self.turns.len() + 1,
            _ => self.ahead + self.turns.len() + 1,
        }
    }

    /// The next of those that have something to send.
    pub fn in_turn(&self) -> impl Iterator<Item = SiteId> + use<X> {
        let own = self.single.then_some(0);
        let turns: Vec<_> = self.turns.iter().copied().take(SITES_LOOKED_AT).collect();
        own.into_iter().chain(turns)
    }

    /// Whether some server may have something to send.
    pub fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Something came back from a server, or was handed back: it may have its turn again.
    pub fn came_back(&mut self, id: SiteId, now: Instant) {
        if self.single && id == 0 {
            return;
        }
        let site = self.site(id);
        if site.standing == Standing::Aside && site.desk.ready(now) {
            self.take_turn(id);
        }
    }

    /// Whether [`Board::probe`] may have something.
    pub fn may_probe(&self, now: Instant) -> bool {
        match self.first() {
            Some(site) if self.single => self.probing || site.desk.may_probe(now),
            _ => self.probing,
        }
    }

    /// What is to be asked at `now` to see whether a server is back, if it is time to.
    pub fn probe(&mut self, now: Instant) -> Option<(SiteId, Errand)> {
        if !self.probing && !self.single {
            return None;
        }
        self.probing = false;
        for id in 0..self.sites.len() {
            let Some(site) = &mut self.sites[id] else { continue };
            if !site.desk.may_probe(now) {
                continue;
            }
            let queued = site.desk.queued();
            self.probing = true;
            if let Some(errand) = site.desk.probe(now) {
                self.ahead -= queued - site.desk.queued();
                return Some((id as SiteId, errand));
            }
        }
        None
    }

    /// What is to be done once in a tick: gives whether something may be sent now.
    pub fn tend(&mut self, now: Instant) -> bool {
        let (mut ready, mut probing, mut held) = (false, false, 0);
        let own = self.single;
        let mut woken = Vec::new();
        for (id, site) in self.sites() {
            site.desk.access().sync(now);
            if site.desk.ready(now) {
                ready = true;
                if site.standing == Standing::Aside && !(own && id == 0) {
                    site.standing = Standing::InTurn;
                    woken.push(id);
                }
            }
            probing |= site.desk.may_probe(now);
            if !site.desk.access().origin().flows(now) {
                held += site.desk.queued();
            }
        }
        (self.probing, self.held) = (probing, held);
        self.turns.extend(woken);
        ready || probing
    }

    /// Whether the board will give no task any more: stopped, or all is settled.
    pub fn finished(&self) -> bool {
        self.stopped
            || (self.exhausted && self.sites.iter().flatten().all(|site| site.desk.finished()))
    }

    /// Whether no task is left but those that are out, or that wait for another attempt.
    pub fn is_tail(&self) -> bool {
        !self.stopped
            && self.exhausted
            && self.sites.iter().flatten().all(|site| site.desk.is_tail())
    }

    /// Tasks that are out.
    pub fn out(&self) -> usize {
        self.sites.iter().flatten().map(|site| site.desk.out()).sum()
    }

    /// Tasks that have no outcome.
    pub fn pending(&self) -> u64 {
        self.sites.iter().flatten().map(|site| site.desk.pending()).sum()
    }

    fn first(&self) -> Option<&Site<X>> {
        self.sites.first().and_then(Option::as_ref)
    }
}
