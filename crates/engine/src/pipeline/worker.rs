//! One core's hands: takes tasks from the desk, has them fetched, gives bodies to the sink.

use super::body::{Bodies, Incoming};
use super::flights::{FlightId, Flights};
use super::plan::MaxFailures;
use super::record::Record;
use crate::report::Report;
use crate::rt::{Control, Stop};
use crate::schedule::{Desk, Errand, Hedge, Next, Ticket, Verdict};
use crate::sink::{Body, Object, Sink, SinkError};
use crate::wire::Work;
use crate::wire::h1::{Exchange, Framing, Head, Interest, Loss, Template, retry_after};
use hdrhistogram::Histogram;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use windrow_model::limits::{HEDGE_BYTES, NAME_BYTES, REFERENCE_BYTES};
use windrow_model::percent::{self, Keep};
use windrow_model::{Error, FailedObject, Failure, FailureClass};

/// Path of an object: what stands before and behind its name, and how the name is encoded.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) before: Vec<u8>,
    pub(super) behind: Vec<u8>,
    pub(super) keep: Keep,
}

/// What belongs to a request under way, beside its errand.
#[derive(Debug)]
pub(super) struct Flight {
    /// When it was begun.
    sent: Instant,
    /// What the head says, once it is there.
    answer: Option<Result<Option<u64>, Failure>>,
    body: Incoming,
}

impl Flight {
    fn new(now: Instant) -> Self {
        Self { sent: now, answer: None, body: Incoming::Empty }
    }

    /// Whether so much of a body has come that it is better waited for.
    fn is_well_under_way(&self) -> bool {
        self.body.len() > HEDGE_BYTES
    }
}

const TOO_LARGE: Failure = Failure {
    class: FailureClass::TooLarge,
    status: 0,
    detail: "the object is larger than --max-object-size",
};

/// One core's state.
pub(super) struct Worker {
    pub(super) desk: Desk,
    pub(super) flights: Flights<Errand, Flight>,
    pub(super) hedge: Option<Hedge>,
    /// How long a request may be out before it is sent a second time; looked up once in a tick,
    /// and only when the end is near.
    pub(super) hedge_after: Option<Duration>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) latency: Histogram<u64>,
    pub(super) bodies: Bodies,
    pub(super) template: Template,
    pub(super) route: Route,
    pub(super) report: Arc<Report>,
    pub(super) core: usize,
    pub(super) record: Arc<Record>,
    pub(super) control: Arc<Control>,
    /// The server, for people.
    pub(super) server: String,
    /// How long it may be down.
    pub(super) outage_max: Duration,
    pub(super) max_failures: Option<MaxFailures>,
    pub(super) max_object_size: u64,
    pub(super) now: Instant,
    /// The sink takes nothing any more.
    pub(super) sink_failed: bool,
    /// Links that wait for work.
    pub(super) idle: Vec<Waker>,
    /// Told when the desk has room for another lease.
    pub(super) hungry: Rc<Notify>,
    /// Told when links have to be ended: nobody waits for what they wait for.
    pub(super) over: Rc<Notify>,
}

impl Worker {
    /// Has every link that waits look again.
    pub(super) fn wake_all(&mut self) {
        for waker in self.idle.drain(..) {
            waker.wake();
        }
    }

    /// What is to be done once in a while.
    pub(super) fn tend(&mut self, now: Instant) {
        self.now = now;
        if self.control.stopping() && !self.desk.stopped() {
            self.desk.stop();
        }
        if !self.sink_failed
            && let Err(error) = self.sink.tick(now)
        {
            self.sink_failed = true;
            self.stop(Stop::Error(error));
        }
        self.take_back_rejected();
        self.desk.access().sync(now);
        self.check_outage();
        self.hedge_after = (self.hedge.is_some() && self.desk.is_tail()).then(|| {
            let p95 = self.latency.value_at_quantile(0.95);
            Hedge::patience(Duration::from_micros(p95))
        });
        if self.desk.finished()
            || self.desk.ready(now)
            || self.desk.may_probe(now)
            || self.straggler(now).is_some()
        {
            self.wake_all();
        }
        // Requests for which nobody waits would hold their links, and the run, up to a timeout.
        if self.desk.finished() && self.desk.out() == 0 && !self.flights.is_empty() {
            self.over.notify_one();
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
    fn second(&mut self, now: Instant) -> Option<FlightId> {
        let index = self.straggler(now)?;
        if !self.desk.is_tail() || !self.desk.access().origin().flows(now) {
            return None;
        }
        let counters = self.counters();
        counters.hedges.add(1);
        counters.in_flight.add(1);
        Some(self.flights.second(index, Flight::new(now)))
    }

    /// Gives the run up when the origin is down for too long. A pause that it asked for is kept
    /// to its end first.
    fn check_outage(&mut self) {
        let Some(outage) = self.desk.access().origin().outage(self.now) else { return };
        if outage.lasted < self.outage_max || !outage.pause.is_zero() || self.desk.stopped() {
            return;
        }
        let seconds = outage.lasted.as_secs();
        let what = format!("gave up: no request was answered for {seconds} s");
        self.stop(Stop::Error(Error::environment(&self.server, what).why(outage.failure).hint(
            "nothing failed because of it; what is missing is pending (--outage-max waits longer)",
        )));
    }

    /// What the sink took and could not store after all.
    pub(super) fn take_back_rejected(&mut self) {
        let (objects, bytes) = self.sink.rejected();
        if objects > 0 {
            let counters = self.counters();
            counters.stored.sub(objects);
            counters.bytes.sub(bytes);
            counters.failed[FailureClass::Name as usize].add(objects);
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
        let mut gone = u64::from(!landed.was_orphan);
        if let Some(orphan) = landed.orphan {
            gone += 1;
            self.bodies.recycle(std::mem::take(&mut orphan.body));
        }
        let (errand, flight) = (landed.errand, landed.cargo);
        self.counters().in_flight.sub(gone);
        (errand, flight)
    }

    /// A task has its outcome, or came back: perhaps it was the last.
    fn check_finished(&mut self) {
        if !self.idle.is_empty() && self.desk.finished() {
            self.wake_all();
        }
    }

    fn store(&mut self, ticket: Ticket, sent: Instant, body: Body<'_>) {
        if self.sink_failed {
            return self.desk.give_back(ticket);
        }
        let object = Object { ordinal: ticket.ordinal(), name: ticket.name(), body };
        match self.sink.store(object) {
            Ok(receipt) => {
                let counters = self.counters();
                counters.stored.add(1);
                counters.bytes.add(receipt.bytes);
                let micros = self.now.saturating_duration_since(sent).as_micros();
                self.latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                let now = self.now;
                let access = self.desk.access();
                if access.wants_reference() && receipt.bytes <= REFERENCE_BYTES {
                    access.note(ticket.name(), now);
                }
                self.desk.settled(ticket);
                self.check_finished();
            }
            Err(SinkError::Object(failure)) => {
                let ticket = self.desk.refused(ticket);
                self.fail(ticket, failure);
            }
            Err(SinkError::Run(error)) => {
                self.sink_failed = true;
                self.desk.give_back(ticket);
                self.stop(Stop::Error(error));
            }
        }
    }

    fn stop(&mut self, why: Stop) {
        self.control.stop(why);
        self.desk.stop();
        self.wake_all();
    }

    /// Writes down that an object failed for good.
    fn fail(&mut self, ticket: Ticket, failure: Failure) {
        let (ordinal, attempts) = (ticket.ordinal(), ticket.attempts());
        let told = self.record.failed(ordinal, ticket.name(), attempts, failure);
        let recorded = told
            .map_err(|errno| {
                let why = std::io::Error::from(errno);
                Error::environment("failures.jsonl", "cannot write").why(why)
            })
            .and_then(|()| self.sink.failed(FailedObject::new(ordinal, failure, attempts)));
        if let Err(error) = recorded {
            // Not recorded is not settled: the object stays pending.
            self.desk.revive(ticket);
            return self.stop(Stop::Error(error));
        }
        self.counters().failed[failure.class as usize].add(1);
        self.check_max_failures();
        self.check_finished();
    }

    /// Has the desk judge an attempt that ended; gives the ticket if its body is to be stored.
    fn ended(
        &mut self,
        errand: Errand,
        sent: Instant,
        result: Result<(), Failure>,
    ) -> Option<Ticket> {
        let probe = errand.is_probe();
        let verdict = self.desk.ended(errand, result, sent, self.now);
        if probe || self.desk.access().ramping() {
            self.wake_all();
        }
        match verdict {
            Verdict::Store(ticket) => return Some(ticket),
            Verdict::Final(ticket, failure) => self.fail(ticket, failure),
            Verdict::Retry | Verdict::Nothing => self.check_finished(),
        }
        None
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
            Ok((Errand::Object(ticket), Flight { sent, answer: Some(Ok(_)), body })) => {
                self.counters().in_flight.sub(1);
                self.desk.fetched(&ticket, sent);
                if self.desk.access().ramping() {
                    self.wake_all();
                }
                return self.deliver(ticket, sent, whole, body);
            }
            Ok((errand, flight)) => self.flights.first(errand, flight),
            Err(id) => id,
        };
        let answer = self.flights.cargo(&id).answer.take();
        let result = answer.map_or(Ok(()), |answer| answer.map(drop));
        let decides = result.err().is_none_or(|failure| !failure.retry());
        let (errand, Flight { sent, body, .. }) = self.landed(id, decides);
        match self.judged(errand, sent, result) {
            Some(ticket) => self.deliver(ticket, sent, whole, body),
            None => self.bodies.recycle(body),
        }
    }

    /// Stores a body, wherever it is.
    fn deliver(&mut self, ticket: Ticket, sent: Instant, whole: Option<&[u8]>, body: Incoming) {
        match (whole, body) {
            (Some(body), _) => self.store(ticket, sent, Body::Bytes(body)),
            (None, Incoming::Empty) => self.store(ticket, sent, Body::Bytes(&[])),
            (None, Incoming::Memory(memory)) => {
                self.store(ticket, sent, Body::Bytes(&memory));
                self.bodies.recycle(Incoming::Memory(memory));
            }
            (None, Incoming::Spool(spool)) => {
                self.store(ticket, sent, Body::Spool(spool));
            }
        }
    }

    /// What an attempt means; the ticket if its body is to be stored.
    fn judged(
        &mut self,
        errand: Option<Errand>,
        sent: Instant,
        result: Result<(), Failure>,
    ) -> Option<Ticket> {
        match errand {
            Some(errand) => self.ended(errand, sent, result),
            None => {
                // Another request has the errand, or had it; of the server it tells all the same.
                self.desk.witness(result, false, sent, self.now);
                None
            }
        }
    }

    fn flight(&mut self, errand: Errand, now: Instant) -> FlightId {
        self.counters().in_flight.add(1);
        self.flights.first(errand, Flight::new(now))
    }
}

impl Exchange for Worker {
    type Ticket = FlightId;

    fn head(&mut self, id: &mut FlightId, head: &Head, raw: &[u8]) -> Interest {
        if let Some(failure) = Failure::of_status(head.status) {
            if failure.retry()
                && let Some(pause) = retry_after(raw, SystemTime::now())
            {
                self.desk.access().origin().pause(self.now, pause, failure);
            }
            self.flights.cargo(id).answer = Some(Err(failure));
            return Interest::Discard;
        }
        if let None | Some(Errand::Reference(_)) = self.flights.errand(id) {
            return Interest::Discard;
        }
        let length = match head.framing {
            Framing::Length(length) if length > self.max_object_size => {
                return Interest::Refuse(TOO_LARGE);
            }
            Framing::Length(length) => Some(length),
            Framing::Empty => Some(0),
            Framing::Chunked | Framing::UntilClose => None,
        };
        self.flights.cargo(id).answer = Some(Ok(length));
        Interest::Take
    }

    fn whole(&mut self, id: FlightId, body: &[u8]) {
        self.arrived(id, Some(body));
    }

    fn data(&mut self, id: &mut FlightId, bytes: &[u8]) -> Result<(), Failure> {
        if self.flights.errand(id).is_none() {
            return Err(Failure::new(FailureClass::Reset, "nobody waits for the body any more"));
        }
        let flight = self.flights.cargo(id);
        let length = match flight.answer {
            Some(Ok(length)) => length,
            _ => None,
        };
        // A body without a length could go on for ever.
        if flight.body.len() + bytes.len() as u64 > self.max_object_size {
            return Err(TOO_LARGE);
        }
        self.bodies.append(&mut flight.body, length, bytes).map_err(|error| {
            self.stop(Stop::Error(error));
            Failure::new(FailureClass::Reset, "the body could not be kept")
        })
    }

    fn end(&mut self, id: FlightId) {
        self.arrived(id, None);
    }

    fn lost(&mut self, id: FlightId, loss: Loss) {
        // The server is not to blame for what stopped the run.
        let failure = match loss {
            Loss::Failed(failure) if !self.desk.stopped() => Some(failure),
            _ => None,
        };
        let wanted = self.flights.errand(&id).is_some();
        let decides = failure.is_some_and(|failure| !failure.retry());
        let (errand, flight) = self.landed(id, decides);
        self.bodies.recycle(flight.body);
        match (failure, errand) {
            (Some(failure), errand) if wanted => {
                self.judged(errand, flight.sent, Err(failure));
            }
            (_, Some(errand)) => self.desk.unanswered(errand, self.now),
            (_, None) => {}
        }
        self.check_finished();
    }
}

impl Work for Worker {
    fn next(&mut self, now: Instant) -> Option<FlightId> {
        loop {
            if self.control.stopping() {
                self.desk.stop();
            }
            let ticket = match self.desk.next(now)? {
                Next::Send(ticket) => ticket,
                Next::Again(ticket) => {
                    self.counters().retries.add(1);
                    ticket
                }
                Next::Failed(ticket, failure) => {
                    self.fail(ticket, failure);
                    continue;
                }
            };
            if self.desk.wants_lease() {
                self.hungry.notify_one();
            }
            if ticket.name().len() > NAME_BYTES {
                let ticket = self.desk.refused(ticket);
                self.fail(ticket, Failure::new(FailureClass::Name, "the name is too long"));
                continue;
            }
            return Some(self.flight(Errand::Object(ticket), now));
        }
    }

    fn poll_next(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Option<FlightId>> {
        if let Some(id) = self.next(now) {
            return Poll::Ready(Some(id));
        }
        if self.desk.finished() {
            return Poll::Ready(None);
        }
        // A probe has a connection for itself.
        if let Some(errand) = self.desk.probe(now) {
            let counters = self.counters();
            counters.probes.add(1);
            if let Errand::Trial(ticket) = &errand
                && ticket.attempts() > 0
            {
                counters.retries.add(1);
            }
            return Poll::Ready(Some(self.flight(errand, now)));
        }
        if let Some(id) = self.second(now) {
            return Poll::Ready(Some(id));
        }
        self.idle.push(cx.waker().clone());
        Poll::Pending
    }

    fn paused(&mut self, id: &FlightId, now: Instant) -> bool {
        self.desk.stopped()
            || match self.flights.errand(id).map(Errand::is_probe) {
                Some(true) => !self.desk.access().origin().paused_for(now).is_zero(),
                Some(false) => !self.desk.access().origin().flows(now),
                // The other request was answered meanwhile.
                None => true,
            }
    }

    fn starved(&mut self, failure: Failure) {
        // Where none at all can be had, it is as if the server were down: no object is to blame,
        // and the run gives up when it stays so.
        let now = self.now;
        self.desk.access().failed(now, now, failure);
    }

    fn render(&mut self, id: &FlightId, out: &mut Vec<u8>) {
        let Route { before, behind, keep } = &self.route;
        let name = self.flights.errand(id).map_or(&[][..], Errand::name);
        self.template.render(out, |out| {
            out.extend_from_slice(before);
            percent::encode_into(name, keep, out);
            out.extend_from_slice(behind);
        });
        self.report.cores[self.core].requests.add(1);
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    fn now(&self) -> Instant {
        self.now
    }
}
