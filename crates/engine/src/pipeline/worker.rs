//! One core's hands: takes tasks from the desk, has them fetched, gives bodies to the sink.

mod answers;
mod deliver;
mod requests;
pub(super) mod workshop;

use super::body::{Bodies, Incoming};
use super::check::{Inspected, Inspection};
use super::flights::{FlightId, Flights};
use super::gathering::Gathering;
use super::plan::MaxFailures;
use super::record::{Place, Record};
use super::roster::Roster;
use super::site::{Here, Sites};
use super::time::{Time, Watchmaker};
use crate::content::coding::Kept;
use crate::pack::Meta;
use crate::report::Report;
use crate::rt::{Control, Stop};
use crate::schedule::{
    Address, Board, ByteRate, Desk, Errand, Hedge, Lull, Next, Rate, Seen, SiteId, Ticket, Verdict,
};
use crate::sink::{Body, Object, Sink, SinkError};
use hdrhistogram::Histogram;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use windrow_model::limits::{H2_STREAMS, HEDGE_BYTES, NAME_BYTES, REFERENCE_BYTES};
use windrow_model::percent::{self, Keep};
use windrow_model::task::{Details, Digest, Expected};
use windrow_model::{Error, FailedObject, Failure, FailureClass, Lease, Ordinal};
use workshop::Workshop;

/// Path of an object: what stands before and behind its name, and how the name is encoded.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) before: Vec<u8>,
    pub(super) behind: Vec<u8>,
    pub(super) keep: Keep,
}

impl Route {
    /// Appends the path of the object of that name.
    pub(super) fn render(&self, name: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        percent::encode_into(name, &self.keep, out);
        out.extend_from_slice(&self.behind);
    }
}

/// What belongs to a request under way, beside its errand.
#[derive(Debug)]
pub(super) struct Flight {
    /// The server.
    pub(super) site: SiteId,
    /// When it was begun.
    sent: Instant,
    /// What the head says, once it is there.
    answer: Option<Result<Option<u64>, Failure>>,
    body: Incoming,
    /// What is known of the answer beside that.
    pub(super) extra: Option<Box<Extra>>,
    /// What is to be looked at in the body.
    inspection: Option<Box<Inspection>>,
}

// It is moved in and out for every object; up to here that is done without a call.
const _: () = assert!(size_of::<Flight>() + size_of::<Errand>() <= 120);

/// What few answers have, or few runs ask for.
#[derive(Debug)]
pub(super) enum Extra {
    /// Where the server sends it on to.
    Hop(Hop),
    /// What is written down beside the body.
    Meta(Meta),
}

impl Flight {
    fn new(site: SiteId, now: Instant) -> Self {
        Self { site, sent: now, answer: None, body: Incoming::Empty, extra: None, inspection: None }
    }

    /// Whether so much of a body has come that it is better waited for.
    fn is_well_under_way(&self) -> bool {
        self.body.len() > HEDGE_BYTES
    }
}

const EXPIRED: Failure = Failure {
    class: FailureClass::Expired,
    status: 0,
    detail: "the URL's signature expired, or would have before the answer",
};

const TOO_LARGE: Failure = Failure {
    class: FailureClass::TooLarge,
    status: 0,
    detail: "the object is larger than --max-object-size",
};

/// How long answers took.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    sum: Duration,
    count: u32,
    least: Option<Duration>,
}

impl Latencies {
    fn add(&mut self, took: Duration) {
        self.sum += took;
        self.count += 1;
        self.least = Some(self.least.map_or(took, |least| least.min(took)));
    }
}

/// One core's state.
pub(super) struct Worker {
    pub(super) board: Board<Here>,
    pub(super) sites: Sites,
    pub(super) flights: Flights<Errand, Flight>,
    pub(super) hedge: Option<Hedge>,
    /// How long a request may be out before it is sent a second time; looked up once in a tick,
    /// and only when the end is near.
    pub(super) hedge_after: Option<Duration>,
    pub(super) sink: Box<dyn Sink>,
    /// Where bodies are transformed before they are stored.
    pub(super) workshop: Option<Workshop>,
    pub(super) latency: Histogram<u64>,
    pub(super) bodies: Bodies,
    /// What undoing a coding needs, kept for the next body.
    pub(super) kept: Kept,
    /// Whether a coding is undone.
    pub(super) compressed: bool,
    /// Whether the sink wants to know more of answers than their bodies.
    pub(super) wants_meta: bool,
    /// Memory for what is written down of answers.
    #[expect(clippy::vec_box, reason = "they go into flights and come back as they are")]
    pub(super) notes: Vec<Box<Extra>>,
    /// A moment, and its milliseconds since 1970.
    pub(super) wall: (Instant, u64),
    /// Address of an object, where all are at one server.
    pub(super) route: Option<Route>,
    pub(super) report: Arc<Report>,
    pub(super) core: usize,
    pub(super) record: Arc<Record>,
    pub(super) control: Arc<Control>,
    /// How long it may be down.
    pub(super) outage_max: Duration,
    pub(super) max_failures: Option<MaxFailures>,
    pub(super) max_object_size: u64,
    pub(super) max_redirect: u32,
    /// Requests under way to one server, at most, over all cores.
    pub(super) per_host: Option<usize>,
    pub(super) now: Instant,
    /// The sink takes nothing any more.
    pub(super) sink_failed: bool,
    /// Objects whose failure could not be written down: they are pending.
    pub(super) unrecorded: u64,
    /// The links, and which of them wait for work.
    pub(super) roster: Roster,
    /// Links that are to be made.
    pub(super) new_links: usize,
    /// Requests under way.
    pub(super) under_way: usize,
    /// Requests under way, at most.
    pub(super) limit: usize,
    /// That held something back since it was last told; and so did a rate.
    pub(super) held_back: bool,
    pub(super) rate_held_back: bool,
    /// Requests a second over all servers and cores, at most.
    pub(super) rate: Option<Arc<Rate>>,
    /// Bytes a second over all cores, at most.
    pub(super) byte_rate: Option<Arc<ByteRate>>,
    /// Connections over all cores, at most.
    pub(super) readers: usize,
    /// When a rate allows the next request, where one held something back.
    pub(super) pace_due: Option<Instant>,
    /// Told when that changes.
    pub(super) paced: Rc<Notify>,
    /// What finds out how many may be under way, where that is left to windrow.
    pub(super) crowd: Option<Arc<Gathering>>,
    /// What time it is to the servers.
    pub(super) time: Watchmaker,
    /// Latencies since the last tick, and the least so far.
    pub(super) latencies: Latencies,
    pub(super) quickest: Duration,
    pub(super) lull: Lull,
    /// Told when the desk has room for another lease.
    pub(super) hungry: Rc<Notify>,
    /// Told when another link is of use.
    pub(super) more: Rc<Notify>,
    /// Told when links have to be ended: nobody waits for what they wait for.
    pub(super) over: Rc<Notify>,
}

impl Worker {
    /// Has every link that waits look again.
    pub(super) fn wake_all(&mut self) {
        self.roster.wake_all();
    }

    /// Has as many links look again as may send something.
    pub(super) fn wake(&mut self) {
        let paced = self.rate.is_some();
        self.wake_up_to(if paced { 1 } else { usize::MAX });
    }

    fn wake_up_to(&mut self, most: usize) {
        let room = self.limit.saturating_sub(self.under_way).min(most);
        let new = self.roster.wake(room, &mut self.board);
        if new > 0 {
            self.new_links = new;
            self.more.notify_one();
        }
    }

    /// Takes a lease.
    pub(super) fn take(&mut self, lease: Lease) {
        let Self { board, sites, now, .. } = self;
        let broken = board.add(lease, *now, &mut |key| sites.make(key));
        for (ticket, failure) in broken {
            self.fail(ticket, failure);
        }
        self.wake();
    }

    /// What is to be done once in a while.
    pub(super) fn tend(&mut self, now: Instant) {
        self.now = now;
        self.wall = super::core::wall(now);
        if self.control.stopping() && !self.board.stopped() {
            self.board.stop();
            self.wake_all();
        }
        if !self.sink_failed
            && let Err(error) = self.sink.tick(now)
        {
            self.sink_failed = true;
            self.stop(Stop::Error(error));
        }
        self.take_back_rejected();
        self.record_dropped();
        if self.workshop.is_some() {
            self.take_work(now);
        }
        self.time.tick(now);
        let latencies = std::mem::take(&mut self.latencies);
        self.set_lull(&latencies);
        self.balance(now, &latencies);
        let ready = self.board.tend(now);
        if self.board.wants_lease() {
            self.hungry.notify_one();
        }
        self.check_outage();
        self.hedge_after = (self.hedge.is_some() && self.board.is_tail()).then(|| {
            let p95 = self.latency.value_at_quantile(0.95);
            Hedge::patience(Duration::from_micros(p95))
        });
        if self.board.finished() {
            self.wake_all();
            // A core that never had a link ends here.
            self.more.notify_one();
        } else if ready || self.straggler(now).is_some() {
            self.wake();
        }
        // Requests for which nobody waits would hold their links, and the run, up to a timeout.
        if self.board.finished() && self.board.out() == 0 && !self.flights.is_empty() {
            self.over.notify_one();
        }
    }

    /// How long to sleep between two looks at the sockets, until the next tick.
    fn set_lull(&mut self, latencies: &Latencies) {
        let rests = crate::rt::take_rests();
        self.quickest = latencies.least.map_or(self.quickest, |least| self.quickest.min(least));
        // A rate wants each request at its moment.
        let paced = self.rate.is_some()
            || self.byte_rate.is_some()
            || self.pace_due.is_some()
            || self.rate_held_back;
        let mean = latencies.sum.checked_div(latencies.count).filter(|_| !paced);
        let lull = mean.map_or(Duration::ZERO, |latency| {
            let busy = self.under_way.min(self.roster.working());
            let (answers, quickest) = (latencies.count, self.quickest);
            self.lull.next(Seen { busy, rests, answers, latency, quickest })
        });
        let backlog = self.workshop.as_mut().map(Workshop::lull).filter(|_| !paced);
        crate::rt::set_lull(lull.max(backlog.unwrap_or_default()));
    }

    /// Tells what happened since the last tick, and learns how many requests may be under way.
    fn balance(&mut self, now: Instant, latencies: &Latencies) {
        let Some(crowd) = &self.crowd else { return };
        let counters = &self.report.cores[self.core];
        counters.latency.add(u64::try_from(latencies.sum.as_nanos()).unwrap_or(u64::MAX));
        // Links whose answers take long do not ask between two of them: nobody is turned away, and
        // the limit holds all the same.
        let full = std::mem::take(&mut self.held_back) || self.under_way >= self.limit;
        // Where a rate decides, more or fewer at once change nothing.
        let paced = std::mem::take(&mut self.rate_held_back);
        crowd.tell(self.core, latencies.least, full && !paced);
        if self.core == 0 {
            crowd.tick(now, &self.report);
        }
        let limit = crowd.share(self.core);
        if limit != self.limit {
            let more = limit > self.limit;
            self.limit = limit;
            if more {
                self.wake();
            }
        }
    }

    /// The request that is out for longest, if it is to be sent a second time.
    fn straggler(&self, now: Instant) -> Option<usize> {
        let (hedge, after) = (self.hedge.as_ref()?, self.hedge_after?);
        let sums = self.counters();
        if !hedge.allows(self.flights.seconds(), sums.hedges.get(), sums.requests.get()) {
            return None;
        }
        let late = self.flights.alone().filter(|(_, errand, flight)| {
            !matches!(errand, Errand::Reference(_))
                && now.saturating_duration_since(flight.sent) > after
                && !flight.is_well_under_way()
        });
        late.min_by_key(|(_, _, flight)| flight.sent).map(|(index, ..)| index)
    }

    /// Sends that request a second time, unless nothing may be sent.
    fn second(&mut self, now: Instant, place: Option<SiteId>) -> Option<(SiteId, FlightId)> {
        let index = self.straggler(now)?;
        let site = self.flights.cargo_at(index)?.site;
        // A link with a connection to another server would only lose it.
        if place.is_some_and(|place| place != site)
            || !self.board.is_tail()
            || !self.desk(site).access().origin().flows(now)
        {
            return None;
        }
        let clear = match place {
            Some(_) => self.take_slot(site, now),
            None => self.is_clear(now),
        };
        if !clear || !self.enter(site) {
            return None;
        }
        let counters = self.counters();
        counters.hedges.add(1);
        counters.in_flight.add(1);
        self.under_way += 1;
        Some((site, self.flights.second(index, Flight::new(site, now))))
    }

    /// Gives the run up when there is nothing to do but to wait for servers that are down for too
    /// long. A pause that one asked for is kept to its end first.
    fn check_outage(&mut self) {
        if self.board.stopped() {
            return;
        }
        let Some((server, outage)) = self.sites.outage(&mut self.board, self.now) else { return };
        if outage.lasted < self.outage_max || !outage.pause.is_zero() {
            return;
        }
        // Other cores may have better servers.
        let busy = self.report.cores.iter().any(|core| core.in_flight.get() > 0);
        if busy && !self.board.is_single() {
            return;
        }
        let seconds = outage.lasted.as_secs();
        let what = format!("gave up: no request was answered for {seconds} s");
        self.stop(Stop::Error(Error::environment(server, what).why(outage.failure).hint(
            "nothing failed because of it; what is missing is pending (--outage-max waits longer)",
        )));
    }

    fn desk(&mut self, site: SiteId) -> &mut Desk {
        &mut self.board.site(site).desk
    }

    /// What the sink took and could not store after all.
    pub(super) fn take_back_rejected(&mut self) {
        let counters = &self.report.cores[self.core];
        let mut any = false;
        self.sink.rejected(&mut |class, objects, bytes| {
            any = true;
            counters.stored.sub(objects);
            counters.bytes.sub(bytes);
            counters.failed[class as usize].add(objects);
        });
        if any {
            self.check_max_failures();
        }
    }

    fn counters(&self) -> &crate::report::CoreCounters {
        &self.report.cores[self.core]
    }

    /// A request is no longer under way. Gives its errand, if that ends with it; `decides` is
    /// whether it does even though another request for it is out.
    fn landed(&mut self, id: FlightId, decides: bool) -> (Option<Errand>, Flight) {
        let landed = self.flights.land(id, decides);
        let was_orphan = landed.was_orphan;
        let second = landed.orphan.as_ref().map(|orphan| orphan.site);
        let mut gone = u64::from(!was_orphan);
        if let Some(orphan) = landed.orphan {
            gone += 1;
            self.bodies.recycle(std::mem::take(&mut orphan.body));
        }
        let (errand, flight) = (landed.errand, landed.cargo);
        if !was_orphan {
            self.leave(flight.site);
        }
        if let Some(site) = second {
            self.leave(site);
        }
        self.counters().in_flight.sub(gone);
        self.under_way -= usize::try_from(gone).unwrap_or_default();
        (errand, flight)
    }

    /// A task has its outcome, or came back: perhaps it was the last.
    fn check_finished(&mut self) {
        if self.roster.waits() && self.board.finished() {
            self.wake_all();
        }
    }

    fn stop(&mut self, why: Stop) {
        self.control.stop(why);
        self.board.stop();
        self.wake_all();
    }

    /// Writes down that an object failed for good.
    // Taken by value: it has ended.
    #[allow(clippy::needless_pass_by_value)]
    fn fail(&mut self, ticket: Ticket, failure: Failure) {
        self.fail_because(ticket, failure, None);
    }

    /// The same with what happened to this object, where more is known than how it failed.
    #[allow(clippy::needless_pass_by_value)]
    fn fail_because(&mut self, ticket: Ticket, failure: Failure, why: Option<&str>) {
        // What was fetched and cannot be used was attempted once more than failed.
        let fetched = matches!(failure.class, FailureClass::Transform);
        let (ordinal, attempts) = (ticket.ordinal(), ticket.attempts() + u32::from(fetched));
        let told = match ticket.details() {
            None => {
                let place = Place::Unknown;
                self.record.failed(ordinal, ticket.name(), place, attempts, failure, why)
            }
            Some((details, at)) => {
                let url = shown(details, at);
                let place = match details.malformed(at) {
                    Some(line) => Place::Line(line.line),
                    None => Place::Url(&url),
                };
                self.record.failed(ordinal, ticket.name(), place, attempts, failure, why)
            }
        };
        let recorded = told
            .map_err(|errno| {
                let why = std::io::Error::from(errno);
                Error::environment("failures.jsonl", "cannot write").why(why)
            })
            .and_then(|()| self.sink.failed(FailedObject::new(ordinal, failure, attempts)));
        if let Err(error) = recorded {
            // Not recorded is not settled: the object stays pending.
            self.unrecorded += 1;
            return self.stop(Stop::Error(error));
        }
        self.counters().failed[failure.class as usize].add(1);
        self.check_max_failures();
        self.check_finished();
    }

    /// Has the desk judge an attempt that ended; gives the ticket if its body is to be stored.
    fn ended(
        &mut self,
        site: SiteId,
        errand: Errand,
        sent: Instant,
        result: Result<(), Failure>,
        hop: Option<Box<Hop>>,
    ) -> Option<Ticket> {
        let probe = errand.is_probe();
        let now = self.now;
        if let Err(failure) = result
            && is_overload(failure)
            && !(failure.status == 503 && self.desk(site).access().origin().is_limited())
        {
            self.counters().overloads.add(1);
        }
        let verdict = self.desk(site).ended(errand, result, sent, now);
        if let Err(Failure { class: FailureClass::Tls | FailureClass::Blocked, .. }) = result
            && let Err(failure) = result
        {
            // It is not the object's fault, and will not be another's.
            self.desk(site).access().origin().give_up(failure);
        }
        match verdict {
            Verdict::Store(ticket) => return Some(ticket),
            Verdict::Final(ticket, failure) => match hop {
                Some(hop) => self.redirect(ticket, *hop),
                None => self.fail(ticket, failure),
            },
            Verdict::Retry | Verdict::Nothing => self.check_finished(),
        }
        self.board.came_back(site, now);
        if probe || self.desk(site).access().ramping() {
            self.wake();
        }
        None
    }

    /// Sends a task on to where its server said.
    fn redirect(&mut self, ticket: Ticket, hop: Hop) {
        let Self { board, sites, now, .. } = self;
        board.redirect(ticket, hop, *now, &mut |key| sites.make(key));
        self.wake();
    }

    fn check_max_failures(&mut self) {
        let Some(most) = self.max_failures else { return };
        let sums = self.report.snapshot();
        let failed = sums.failed - self.report.before.failed.iter().sum::<u64>();
        if most.exceeded(failed, failed + sums.stored - sums.stored_before) {
            let rule = match most {
                MaxFailures::Count(0) => "stopped at the first failed object".to_owned(),
                MaxFailures::Count(most) => format!("more than {most} objects failed"),
                MaxFailures::Part(part) => {
                    format!("more than {}% of the objects failed", part * 100.0)
                }
            };
            self.stop(Stop::Rule(rule));
        }
    }

    /// Settles a flight whose response is complete.
    fn arrived(&mut self, id: FlightId, whole: Option<&[u8]>) {
        let id = match self.flights.land_alone(id) {
            Ok((
                Errand::Object(ticket),
                Flight { site, sent, answer: Some(Ok(_)), body, inspection: None, extra },
            )) => {
                self.counters().in_flight.sub(1);
                self.under_way -= 1;
                self.leave(site);
                let desk = self.desk(site);
                desk.fetched(&ticket, sent);
                if desk.access().ramping() {
                    self.wake();
                }
                let meta = self.described(site, &ticket, extra);
                return self.deliver(site, ticket, sent, whole, body, meta);
            }
            Ok((errand, flight)) => self.flights.first(errand, flight),
            Err(id) => id,
        };
        let flight = self.flights.cargo(&id);
        let answer = flight.answer.take();
        let mut result = answer.map_or(Ok(()), |answer| answer.map(drop));
        let (mut whole, mut decoded) = (whole, None);
        if let (Ok(()), Some(inspection)) = (result, flight.inspection.take()) {
            let mut body = std::mem::take(&mut flight.body);
            let with = (&mut self.bodies, &mut self.kept, self.max_object_size);
            match inspection.end(whole, &mut body, with) {
                Ok(Inspected::AsSent) => self.flights.cargo(&id).body = body,
                Ok(Inspected::Decoded(content)) => {
                    self.bodies.recycle(body);
                    if let Some(Extra::Meta(meta)) = self.flights.cargo(&id).extra.as_deref_mut() {
                        meta.decoded = true;
                    }
                    decoded = Some(content);
                    whole = None;
                }
                Err(Ok(failure)) => {
                    self.bodies.recycle(body);
                    result = Err(failure);
                }
                Err(Err(error)) => {
                    self.bodies.recycle(body);
                    self.stop(Stop::Error(error));
                    result = Err(Failure::new(FailureClass::Reset, "the body could not be kept"));
                }
            }
        }
        let decides = result.err().is_none_or(|failure| !failure.retry());
        let (errand, Flight { site, sent, body, extra, .. }) = self.landed(id, decides);
        let body = decoded.unwrap_or(body);
        let (hop, extra) = match extra.map(|extra| *extra) {
            Some(Extra::Hop(hop)) => (Some(Box::new(hop)), None),
            other => (None, other.map(Box::new)),
        };
        match self.judged(site, errand, sent, result, hop) {
            Some(ticket) => {
                let meta = self.described(site, &ticket, extra);
                self.deliver(site, ticket, sent, whole, body, meta);
            }
            None => self.bodies.recycle(body),
        }
    }

    /// What an attempt means; the ticket if its body is to be stored.
    fn judged(
        &mut self,
        site: SiteId,
        errand: Option<Errand>,
        sent: Instant,
        result: Result<(), Failure>,
        hop: Option<Box<Hop>>,
    ) -> Option<Ticket> {
        match errand {
            Some(errand) => self.ended(site, errand, sent, result, hop),
            None => {
                // Another request has the errand, or had it; of the server it tells all the same.
                let now = self.now;
                self.desk(site).witness(result, false, sent, now);
                None
            }
        }
    }

    fn flight(&mut self, site: SiteId, errand: Errand, now: Instant) -> FlightId {
        self.counters().in_flight.add(1);
        self.under_way += 1;
        // A link that is answered takes the next at once: this is where the limit shows.
        self.held_back |= self.under_way >= self.limit;
        self.flights.first(errand, Flight::new(site, now))
    }

    /// Whether what the board gave can be sent; else it has failed.
    fn fit(&mut self, site: SiteId, next: Next, now: Instant) -> Option<Ticket> {
        if self.board.wants_lease() {
            self.hungry.notify_one();
        }
        let ticket = match next {
            Next::Send(ticket) => ticket,
            Next::Again(ticket) => {
                self.counters().retries.add(1);
                ticket
            }
            Next::Failed(ticket, failure) => {
                self.fail(ticket, failure);
                return None;
            }
        };
        let expiry = ticket.expiry();
        if expiry > 0
            && let Some(verdict) = self.time.judge(expiry, now)
        {
            let ticket = self.desk(site).refused(ticket);
            match verdict {
                Time::Over => self.fail(ticket, EXPIRED),
                Time::Unsure(due) => self.desk(site).postpone(ticket, due),
            }
            return None;
        }
        if ticket.name().len() > NAME_BYTES {
            let ticket = self.desk(site).refused(ticket);
            self.fail(ticket, Failure::new(FailureClass::Name, "the name is too long"));
            return None;
        }
        Some(ticket)
    }

    /// Begins a task at a server, or at `any`: where it is sent, and the request. `place` is where
    /// the link has a connection to.
    fn begin(
        &mut self,
        place: Option<SiteId>,
        any: bool,
        now: Instant,
    ) -> Option<(SiteId, FlightId)> {
        loop {
            if self.control.stopping() {
                self.board.stop();
            }
            if self.under_way >= self.limit {
                return None;
            }
            if self.workshop.as_ref().is_some_and(Workshop::is_full) {
                return None;
            }
            if !self.is_clear(now) {
                return None;
            }
            let next = match place {
                Some(site) if !any => {
                    let next = self.board.next_of(site, now, self.limit);
                    next.map(|next| (site, next))
                }
                _ => self.board.next(now, self.limit),
            };
            let Some((site, next)) = next else {
                self.rest_for(place.filter(|_| !any), now);
                return None;
            };
            let Some(ticket) = self.fit(site, next, now) else { continue };
            if place != Some(site) && self.roster.wake_at(site, &mut self.board) {
                // There is a connection already.
                self.desk(site).give_back(ticket);
                self.board.came_back(site, now);
                return None;
            }
            if place != Some(site) && self.has_enough_connections(site) {
                self.desk(site).give_back(ticket);
                if self.board.set_aside(site) {
                    continue;
                }
                return None;
            }
            // What has no connection yet takes its place when it has one.
            if place == Some(site) && !self.take_slot(site, now) {
                self.desk(site).give_back(ticket);
                return None;
            }
            if !self.enter(site) {
                self.desk(site).give_back(ticket);
                return None;
            }
            return Some((site, self.flight(site, Errand::Object(ticket), now)));
        }
    }

    /// Whether another connection would be of no use: those that there are take more requests at
    /// once, or it is to be seen whether they do.
    fn has_enough_connections(&mut self, site: SiteId) -> bool {
        let site = self.board.site(site);
        let here = &site.extra;
        match here.http2 {
            Some(false) => false,
            Some(true) => here.links * H2_STREAMS > site.desk.out(),
            None => here.links > 0,
        }
    }

    /// Counts a request to a server, where that is asked for.
    fn enter(&mut self, site: SiteId) -> bool {
        let Some(most) = self.per_host else { return true };
        self.desk(site).access().origin().enter(most)
    }

    /// A request to a server is not under way any more.
    fn leave(&mut self, site: SiteId) {
        if self.per_host.is_some() {
            self.desk(site).access().origin().leave();
        }
    }
}

/// Whether a failure may be due to too many requests under way.
fn is_overload(failure: Failure) -> bool {
    use FailureClass::{Connect, Reset, Timeout};
    matches!(failure.class, Connect | Reset | Timeout) || failure.status == 503
}

/// Where a server sends a request on to.
pub(super) type Hop = (crate::schedule::Key, crate::schedule::Detour);

/// The address of an object for people, secrets cut.
fn shown(details: &Details, at: usize) -> String {
    let origin = details.origin.get(at).and_then(|&origin| details.origins.get(origin as usize));
    let target = details.targets.get(at).unwrap_or_default();
    let target = crate::source::list::without_secrets(&String::from_utf8_lossy(target));
    origin.map_or_else(String::new, |origin| format!("{origin}{target}"))
}

/// What the source says of the body that an errand is to bring.
fn expected(errand: &Errand) -> Option<Expected> {
    errand.ticket().ok()?.expected()
}

/// By what an object is asked for again, to see whether its server is back.
fn reference(ticket: &Ticket) -> Option<&[u8]> {
    match ticket.address() {
        Address::Name(name) => Some(name),
        Address::Target(target) => Some(target),
        // What a redirect leads to is for once.
        Address::Detour(_) => None,
    }
}
