//! One core's hands: takes tasks from the desk, has them fetched, gives bodies to the sink.

use super::body::{Bodies, Incoming};
use super::plan::MaxFailures;
use crate::ledger::{Failed, FailureLog};
use crate::report::Report;
use crate::rt::{Control, Stop};
use crate::schedule::{Desk, Errand, Next, Ticket, Verdict};
use crate::sink::{Body, Object, Sink, SinkError};
use crate::wire::Work;
use crate::wire::h1::{Exchange, Framing, Head, Interest, Loss, Template, retry_after};
use hdrhistogram::Histogram;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use windrow_model::limits::{NAME_BYTES, REFERENCE_BYTES};
use windrow_model::percent::{self, Keep};
use windrow_model::{Error, Failure, FailureClass};

/// Path of an object: what stands before and behind its name, and how the name is encoded.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) before: Vec<u8>,
    pub(super) behind: Vec<u8>,
    pub(super) keep: Keep,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    errand: Errand,
    /// When it was rendered.
    sent: Instant,
    /// What the head says, once it is there.
    answer: Option<Result<Option<u64>, Failure>>,
    body: Incoming,
}

const TOO_LARGE: Failure = Failure {
    class: FailureClass::TooLarge,
    status: 0,
    detail: "the object is larger than --max-object-size",
};

/// One core's state.
pub(super) struct Worker {
    pub(super) desk: Desk,
    pub(super) sink: Box<dyn Sink>,
    pub(super) latency: Histogram<u64>,
    pub(super) bodies: Bodies,
    pub(super) template: Template,
    pub(super) route: Route,
    pub(super) report: Arc<Report>,
    pub(super) core: usize,
    pub(super) failures: Arc<FailureLog>,
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
        self.desk.access().sync(now);
        self.check_outage();
        if self.desk.finished() || self.desk.ready(now) || self.desk.may_probe(now) {
            self.wake_all();
        }
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

    fn counters(&self) -> &crate::report::CoreCounters {
        &self.report.cores[self.core]
    }

    /// A request is no longer under way.
    fn landed(&mut self) {
        self.counters().in_flight.sub(1);
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
        let failed = Failed {
            ordinal: ticket.ordinal(),
            name: ticket.name(),
            attempts: ticket.attempts(),
            failure,
        };
        if let Err(error) = self.failures.record(failed) {
            // Not recorded is not settled: the object stays pending.
            let error = Error::environment("failures.jsonl", "cannot write").why(error);
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
        if most.exceeded(sums.failed, sums.failed + sums.stored) {
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
    fn arrived(&mut self, flight: Flight, whole: Option<&[u8]>) {
        self.landed();
        let Flight { errand, sent, answer, body } = flight;
        let result = answer.map_or(Ok(()), |answer| answer.map(drop));
        let Some(ticket) = self.ended(errand, sent, result) else {
            return self.bodies.recycle(body);
        };
        match (whole, body) {
            (Some(body), _) => self.store(ticket, sent, Body::Bytes(body)),
            (None, Incoming::Empty) => self.store(ticket, sent, Body::Bytes(&[])),
            (None, Incoming::Memory(memory)) => {
                self.store(ticket, sent, Body::Bytes(&memory));
                self.bodies.recycle(Incoming::Memory(memory));
            }
            (None, Incoming::Spool(mut spool)) => {
                self.store(ticket, sent, Body::Spool(&mut spool));
            }
        }
    }

    fn flight(&self, errand: Errand, now: Instant) -> Flight {
        self.counters().in_flight.add(1);
        Flight { errand, sent: now, answer: None, body: Incoming::Empty }
    }
}

impl Exchange for Worker {
    type Ticket = Flight;

    fn head(&mut self, flight: &mut Flight, head: &Head, raw: &[u8]) -> Interest {
        if let Some(failure) = Failure::of_status(head.status) {
            if failure.retry()
                && let Some(pause) = retry_after(raw, SystemTime::now())
            {
                self.desk.access().origin().pause(self.now, pause, failure);
            }
            flight.answer = Some(Err(failure));
            return Interest::Discard;
        }
        if let Errand::Reference(_) = flight.errand {
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
        flight.answer = Some(Ok(length));
        Interest::Take
    }

    fn whole(&mut self, flight: Flight, body: &[u8]) {
        self.arrived(flight, Some(body));
    }

    fn data(&mut self, flight: &mut Flight, bytes: &[u8]) -> Result<(), Failure> {
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

    fn end(&mut self, flight: Flight) {
        self.arrived(flight, None);
    }

    fn lost(&mut self, mut flight: Flight, loss: Loss) {
        self.landed();
        self.bodies.recycle(std::mem::take(&mut flight.body));
        match loss {
            Loss::Failed(failure) if !self.desk.stopped() => {
                self.ended(flight.errand, flight.sent, Err(failure));
            }
            // The server is not to blame for what stopped the run.
            _ => self.desk.unanswered(flight.errand, self.now),
        }
        self.check_finished();
    }
}

impl Work for Worker {
    fn next(&mut self, now: Instant) -> Option<Flight> {
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

    fn poll_next(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Option<Flight>> {
        if let Some(flight) = self.next(now) {
            return Poll::Ready(Some(flight));
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
        self.idle.push(cx.waker().clone());
        Poll::Pending
    }

    fn paused(&mut self, flight: &Flight, now: Instant) -> bool {
        self.desk.stopped()
            || match flight.errand.is_probe() {
                true => !self.desk.access().origin().paused_for(now).is_zero(),
                false => !self.desk.access().origin().flows(now),
            }
    }

    fn render(&mut self, flight: &Flight, out: &mut Vec<u8>) {
        let Route { before, behind, keep } = &self.route;
        self.template.render(out, |out| {
            out.extend_from_slice(before);
            percent::encode_into(flight.errand.name(), keep, out);
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
