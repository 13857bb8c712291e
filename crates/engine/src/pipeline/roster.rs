//! The links of one core: which of them wait for work, and where they have a connection to.
//!
//! Those that have a connection to the server in question are woken first, the one that has waited
//! for the shortest time before all others: its connection is the least likely to be closed
//! already. Then those without a connection; those with a connection to another server last, for
//! it is lost with that.

use super::site::Here;
use crate::schedule::{Board, SiteId};
use std::task::Waker;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Roster {
    links: Vec<Member>,
    /// Links without a connection that waited when they were put here.
    unconnected: Vec<u32>,
    /// Links that wait; and those of them without a connection.
    waiting: usize,
    waiting_unconnected: usize,
    /// How many links there may be, and requests on each.
    most: usize,
    depth: usize,
    /// Where the search for a connection to give up begins.
    cursor: usize,
}

#[derive(Debug, Default)]
struct Member {
    waker: Option<Waker>,
    /// It waits; where it has a connection to.
    waits: Option<Option<SiteId>>,
}

impl Roster {
    /// A roster for at most so many links, with up to `depth` requests on each.
    pub(super) fn new(most: usize, depth: usize) -> Self {
        let (links, unconnected) = (Vec::new(), Vec::new());
        Self { links, unconnected, waiting: 0, waiting_unconnected: 0, most, depth, cursor: 0 }
    }

    /// A new link's number, if there is room for one.
    pub(super) fn enroll(&mut self) -> Option<usize> {
        (self.links.len() < self.most).then(|| {
            self.links.push(Member::default());
            self.links.len() - 1
        })
    }

    /// Whether any link waits.
    pub(super) fn waits(&self) -> bool {
        self.waiting > 0
    }

    /// Links that do not wait for work.
    pub(super) fn working(&self) -> usize {
        self.links.len() - self.waiting
    }

    /// Whether there may be another link.
    pub(super) fn can_grow(&self) -> bool {
        self.links.len() < self.most
    }

    /// Has a link look again that has no connection; `false` if none of such waits.
    pub(super) fn wake_unconnected(&mut self) -> bool {
        self.waiting_unconnected > 0 && pop(&self.links, &mut self.unconnected, None, 1) > 0
    }

    /// A link has work.
    pub(super) fn busy(&mut self, link: usize) {
        if let Some(place) = self.links[link].waits.take() {
            self.waiting -= 1;
            self.waiting_unconnected -= usize::from(place.is_none());
        }
    }

    /// A link waits for work; `place` is where it has a connection to.
    pub(super) fn wait(
        &mut self,
        link: usize,
        place: Option<SiteId>,
        waker: &Waker,
        board: &mut Board<Here>,
    ) {
        self.busy(link);
        let member = &mut self.links[link];
        match &mut member.waker {
            Some(known) if known.will_wake(waker) => {}
            known => *known = Some(waker.clone()),
        }
        member.waits = Some(place);
        self.waiting += 1;
        let stack = match place {
            None => {
                self.waiting_unconnected += 1;
                &mut self.unconnected
            }
            Some(place) => &mut board.site(place).extra.idle,
        };
        let number = link as u32;
        if stack.last() != Some(&number) {
            stack.push(number);
        }
        // Entries that are out of date, or there twice, are passed over; but not for ever.
        if stack.len() > 2 * self.links.len() + 16 {
            stack.sort_unstable();
            stack.dedup();
            stack.retain(|&link| self.links[link as usize].waits == Some(place));
        }
    }

    /// Has every link that waits look again.
    pub(super) fn wake_all(&self) {
        for member in &self.links {
            if member.waits.is_some()
                && let Some(waker) = &member.waker
            {
                waker.wake_by_ref();
            }
        }
    }

    /// Has a link look again that has a connection to a server; `false` if none of such waits.
    pub(super) fn wake_at(&self, site: SiteId, board: &mut Board<Here>) -> bool {
        let idle = &mut board.site(site).extra.idle;
        !idle.is_empty() && pop(&self.links, idle, Some(site), 1) > 0
    }

    /// Has as many links look again as `room` requests take, where there are so many to send. Says
    /// for how many more links there would be work.
    pub(super) fn wake(&mut self, room: usize, board: &mut Board<Here>) -> usize {
        let Self { links, unconnected, depth, .. } = self;
        let mut left = room.min(board.sendable()).div_ceil(*depth);
        for id in board.in_turn() {
            if left == 0 {
                return 0;
            }
            let site = board.site(id);
            let wanted = site.desk.sendable().div_ceil(*depth).min(left);
            left -= pop(links, &mut site.extra.idle, Some(id), wanted);
        }
        left -= pop(links, unconnected, None, left);
        let new = left.min(self.most - links.len());
        left -= new;
        // A connection elsewhere is given up.
        for _ in 0..links.len() {
            if left == 0 {
                break;
            }
            self.cursor = (self.cursor + 1) % links.len();
            let member = &links[self.cursor];
            if member.waits.is_some()
                && let Some(waker) = &member.waker
            {
                waker.wake_by_ref();
                left -= 1;
            }
        }
        new
    }
}

/// Wakes up to `wanted` links of a stack. Says how many that were.
fn pop(links: &[Member], stack: &mut Vec<u32>, place: Option<SiteId>, wanted: usize) -> usize {
    let mut woken = 0;
    while woken < wanted
        && let Some(link) = stack.pop()
    {
        let member = &links[link as usize];
        if member.waits == Some(place)
            && let Some(waker) = &member.waker
        {
            waker.wake_by_ref();
            woken += 1;
        }
    }
    woken
}
