//! What is sent next, and when: the worker as links see it that want work.

use super::super::flights::FlightId;
use super::*;
use crate::wire::{Target, Work};
use std::task::{Context, Poll};

impl Worker {
    /// Whether rates allow a request now, to any server; else has the links woken in time.
    pub(super) fn is_clear(&mut self, now: Instant) -> bool {
        let Some(rate) = &self.rate else { return true };
        let wait = rate.wait(now);
        if !wait.is_zero() {
            self.rest(now + wait);
        }
        wait.is_zero()
    }

    /// Takes the place of one request in all rates, if they allow one.
    pub(super) fn take_slot(&mut self, site: SiteId, now: Instant) -> bool {
        let origin = self.desk(site).access().origin();
        if !origin.is_paced() && self.rate.is_none() {
            return true;
        }
        let wait = self.desk(site).access().origin().wait(now);
        if !wait.is_zero() {
            self.rest(now + wait);
            return false;
        }
        if let Err(wait) = self.rate.as_ref().map_or(Ok(()), |rate| rate.take(now)) {
            self.rest(now + wait);
            return false;
        }
        self.desk(site).access().origin().take(now)
    }

    /// Nothing can be sent before that.
    pub(super) fn rest(&mut self, due: Instant) {
        self.rate_held_back = true;
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

    /// If the rates of a server, or of any, allow nothing now, has links woken when they do.
    pub(super) fn rest_for(&mut self, site: Option<SiteId>, now: Instant) {
        let single = self.board.is_single().then_some(0);
        if let Some(site) = site.or(single) {
            let wait = self.desk(site).access().origin().wait(now);
            if !wait.is_zero() {
                self.rest(now + wait);
            }
        } else if let Some(due) = self.board.rouse(now) {
            self.rest(due);
        }
    }
}

impl Worker {
    /// A probe, if one is due; it has a connection for itself.
    fn probe(&mut self, place: Option<SiteId>, now: Instant) -> Option<(SiteId, FlightId)> {
        if !self.board.may_probe(now) || !self.is_clear(now) {
            return None;
        }
        let (site, errand) = self.board.probe(now)?;
        if (place == Some(site) && !self.take_slot(site, now)) || !self.enter(site) {
            self.desk(site).unanswered(errand, now);
            return None;
        }
        let counters = self.counters();
        counters.probes.add(1);
        if let Errand::Trial(ticket) = &errand
            && ticket.attempts() > 0
        {
            counters.retries.add(1);
        }
        Some((site, self.flight(site, errand, now)))
    }
}

impl Work for Worker {
    type Place = SiteId;

    fn next(&mut self, place: SiteId, now: Instant) -> Option<FlightId> {
        self.begin(Some(place), false, now).map(|(_, id)| id)
    }

    fn poll_next(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        link: usize,
        place: Option<SiteId>,
    ) -> Poll<Option<(SiteId, FlightId)>> {
        if let Some(begun) = self.begin(place, place.is_none(), now) {
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
        if let Some(begun) = self.probe(place, now).or_else(|| self.second(now, place)) {
            self.roster.busy(link);
            return Poll::Ready(Some(begun));
        }
        if place.is_some() && self.board.has_turns() && self.under_way < self.limit {
            // Something is to be sent elsewhere: by a link without a connection, if there is one.
            if self.roster.wake_unconnected() {
            } else if self.roster.can_grow() {
                self.new_links = self.new_links.max(1);
                self.more.notify_one();
            } else if let Some(begun) = self.begin(place, true, now) {
                self.roster.busy(link);
                return Poll::Ready(Some(begun));
            }
        }
        self.roster.wait(link, place, cx.waker(), &mut self.board);
        Poll::Pending
    }

    fn target(&mut self, place: SiteId) -> Rc<Target> {
        let here = &mut self.board.site(place).extra;
        here.links += 1;
        Rc::clone(&here.target)
    }

    fn connected(&mut self, place: SiteId, private: bool, http2: bool) {
        let here = &mut self.board.site(place).extra;
        here.private = private;
        let news = here.http2 != Some(http2);
        here.http2 = Some(http2);
        if news && !http2 {
            // Others waited to see whether one connection would do.
            self.wake();
        }
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
