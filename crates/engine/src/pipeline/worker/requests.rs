//! What is sent next, and when: the worker as links see it that want work.

use super::super::flights::FlightId;
use super::*;
use crate::wire::{Target, Work};
use std::task::{Context, Poll};

impl Worker {
    /// Whether rates allow a request now, to any server; else has the links woken in time.
    pub(super) fn is_clear(&mut self, now: Instant) -> bool {
        let wait = self.rate.as_ref().map_or(Duration::ZERO, |rate| rate.wait(now));
        if !wait.is_zero() {
            self.rest(now + wait);
        }
        wait.is_zero()
    }

    /// Takes the place of one request in all rates, if they allow one.
    pub(super) fn take_slot(&mut self, site: SiteId, now: Instant) -> bool {
        let origin = self.desk(site).access().origin();
        let wait = origin.wait(now);
        if !wait.is_zero() {
            self.rest(now + wait);
            return false;
        }
        if !self.take_ahead(Some(site), now) {
            return false;
        }
        self.desk(site).access().origin().take(now)
    }

    /// The same for what is not a task, before it is known where it goes. What has no connection
    /// yet takes its place when it has one.
    pub(super) fn take_ahead(&mut self, place: Option<SiteId>, now: Instant) -> bool {
        match place {
            None => self.is_clear(now),
            Some(_) => {
                let taken = self.rate.as_ref().map_or(Ok(()), |rate| rate.take(now));
                if let Err(wait) = taken {
                    self.rest(now + wait);
                }
                taken.is_ok()
            }
        }
    }

    /// Nothing can be sent before that.
    pub(super) fn rest(&mut self, due: Instant) {
        if self.pace_due.is_none_or(|known| due < known) {
            self.pace_due = Some(due);
            self.paced.notify_one();
        }
    }

    /// A rate allows more now, perhaps. One link is woken, and wakes the next if there is more.
    pub(in super::super) fn pace(&mut self, now: Instant) {
        self.now = now;
        self.pace_due = None;
        if let Some(due) = self.board.rouse(now) {
            self.rest(due);
        }
        self.wake_up_to(1);
    }

    /// If a server's own rates allow nothing now, has links woken when they do.
    pub(super) fn rest_at(&mut self, site: SiteId, now: Instant) {
        let wait = self.desk(site).access().origin().wait(now);
        if !wait.is_zero() {
            self.rest(now + wait);
        }
    }
}

impl Work for Worker {
    type Place = SiteId;

    fn next(&mut self, place: SiteId, now: Instant) -> Option<FlightId> {
        self.begin(Some(place), now).map(|(_, id)| id)
    }

    fn poll_next(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        link: usize,
        place: Option<SiteId>,
    ) -> Poll<Option<(SiteId, FlightId)>> {
        if let Some(begun) = self.begin(place, now) {
            self.roster.busy(link);
            if self.rate.is_some() || self.pace_due.is_some() {
                self.wake_up_to(1);
            }
            return Poll::Ready(Some(begun));
        }
        if self.board.finished() {
            self.roster.busy(link);
            return Poll::Ready(None);
        }
        // A probe has a connection for itself.
        if self.board.may_probe(now)
            && self.take_ahead(place, now)
            && let Some((site, errand)) = self.board.probe(now)
        {
            let counters = self.counters();
            counters.probes.add(1);
            if let Errand::Trial(ticket) = &errand
                && ticket.attempts() > 0
            {
                counters.retries.add(1);
            }
            self.roster.busy(link);
            return Poll::Ready(Some((site, self.flight(site, errand, now))));
        }
        if self.straggler(now).is_some()
            && self.take_ahead(place, now)
            && let Some(begun) = self.second(now, place)
        {
            self.roster.busy(link);
            return Poll::Ready(Some(begun));
        }
        // What a link without a connection could do, one with a connection that is of no use now
        // does only if there is no other.
        if place.is_some()
            && !self.roster.has_unconnected()
            && let Some(begun) = self.begin(None, now)
        {
            self.roster.busy(link);
            return Poll::Ready(Some(begun));
        }
        self.roster.wait(link, place, cx.waker(), &mut self.board);
        // What waits for a rate is woken by it.
        let blocked = self.pace_due.is_some() || self.under_way >= self.limit;
        if place.is_some() && self.board.has_turns() && !blocked {
            self.wake_up_to(1);
        }
        Poll::Pending
    }

    fn target(&mut self, place: SiteId) -> Rc<Target> {
        let here = &mut self.board.site(place).extra;
        here.links += 1;
        Rc::clone(&here.target)
    }

    fn connected(&mut self, place: SiteId, private: bool) {
        self.board.site(place).extra.private = private;
    }

    fn left(&mut self, place: SiteId) {
        self.board.site(place).extra.links -= 1;
    }

    fn paused(&mut self, id: &FlightId, now: Instant) -> bool {
        let Some(probe) = self.flights.errand(id).map(Errand::is_probe) else {
            // The other request was answered meanwhile.
            return true;
        };
        let site = self.flights.cargo(id).site;
        let stopped = self.board.stopped();
        let origin = self.desk(site).access().origin();
        stopped
            || match probe {
                true => !origin.paused_for(now).is_zero(),
                false => !origin.flows(now),
            }
    }

    fn admit(&mut self, id: &FlightId, now: Instant) -> bool {
        let site = self.flights.cargo(id).site;
        self.take_slot(site, now)
    }

    fn charge(&mut self, bytes: usize, now: Instant) -> Duration {
        let rate = self.byte_rate.as_ref();
        rate.map_or(Duration::ZERO, |rate| rate.charge(now, bytes as u64))
    }

    fn most_at_once(&self) -> usize {
        self.byte_rate.as_ref().map_or(usize::MAX, |rate| rate.read_max(self.readers))
    }

    fn starved(&mut self, place: SiteId, failure: Failure) {
        // Where none at all can be had, it is as if the server were down: no object is to blame,
        // and the run gives up when it stays so.
        let now = self.now;
        self.desk(place).access().failed(now, now, failure);
    }

    fn render(&mut self, id: &FlightId, out: &mut Vec<u8>) {
        let site = self.flights.cargo(id).site;
        let route = self.route.as_ref();
        let here = &self.board.site(site).extra;
        let by_name = |name: &[u8], out: &mut Vec<u8>| {
            if let Some(route) = route {
                route.render(name, out);
            }
        };
        let address = match self.flights.errand(id).map(Errand::ticket) {
            Some(Ok(ticket)) => ticket.address(),
            Some(Err(reference)) if route.is_some() => Address::Name(reference),
            Some(Err(reference)) => Address::Target(reference),
            None => Address::Name(&[]),
        };
        match address {
            Address::Name(name) => here.template.render(out, |out| by_name(name, out)),
            Address::Target(target) => {
                here.template.render(out, |out| out.extend_from_slice(target));
            }
            Address::Detour(detour) => {
                let template = if detour.bare { &here.bare } else { &here.template };
                template.render(out, |out| out.extend_from_slice(&detour.target));
            }
        }
        self.report.cores[self.core].requests.add(1);
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    fn now(&self) -> Instant {
        self.now
    }
}
