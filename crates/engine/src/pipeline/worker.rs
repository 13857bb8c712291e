//! One core's hands: takes tasks from the desk, has them fetched, gives bodies to the sink.

use super::body::{Bodies, Incoming};
use super::plan::MaxFailures;
use super::record::Record;
use crate::report::Report;
use crate::rt::{Control, Stop};
use crate::schedule::{Desk, Gate, Ticket, Verdict};
use crate::sink::{Body, Object, Sink, SinkError};
use crate::wire::Work;
use crate::wire::h1::{Exchange, Framing, Head, Interest, Loss, Template, retry_after};
use hdrhistogram::Histogram;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};
use tokio::sync::Notify;
use windrow_model::limits::NAME_BYTES;
use windrow_model::percent::{self, Keep};
use windrow_model::{Error, FailedObject, Failure, FailureClass};

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
    ticket: Ticket,
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
    pub(super) record: Arc<Record>,
    pub(super) control: Arc<Control>,
    /// Closed while the server asked for a pause.
    pub(super) gate: Arc<Gate>,
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
        if !self.sink_failed
            && let Err(error) = self.sink.tick(now)
        {
            self.sink_failed = true;
            self.stop(Stop::Error(error));
        }
        self.take_back_rejected();
        if self.desk.finished() || (self.desk.ready(now) && self.gate.is_open(now)) {
            self.wake_all();
        }
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

    fn store(&mut self, flight: Flight, body: Body<'_>) {
        let Flight { ticket, sent, .. } = flight;
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
                self.desk.settled(ticket);
                self.check_finished();
            }
            Err(SinkError::Object(failure)) => self.fail(ticket, failure),
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

    fn fail(&mut self, ticket: Ticket, failure: Failure) {
        match self.desk.failed(ticket, failure, self.now) {
            Verdict::Retry => self.counters().retries.add(1),
            Verdict::Final(ticket) => {
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
            }
        }
        self.check_finished();
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
    fn arrived(&mut self, mut flight: Flight, whole: Option<&[u8]>) {
        self.landed();
        match flight.answer.take() {
            Some(Err(failure)) => self.fail(flight.ticket, failure),
            _ => match (whole, std::mem::take(&mut flight.body)) {
                (Some(body), _) => self.store(flight, Body::Bytes(body)),
                (None, Incoming::Empty) => self.store(flight, Body::Bytes(&[])),
                (None, Incoming::Memory(memory)) => {
                    self.store(flight, Body::Bytes(&memory));
                    self.bodies.recycle(Incoming::Memory(memory));
                }
                (None, Incoming::Spool(spool)) => self.store(flight, Body::Spool(spool)),
            },
        }
    }
}

impl Exchange for Worker {
    type Ticket = Flight;

    fn head(&mut self, flight: &mut Flight, head: &Head, raw: &[u8]) -> Interest {
        if let Some(failure) = Failure::of_status(head.status) {
            if failure.retry()
                && let Some(pause) = retry_after(raw, SystemTime::now())
            {
                self.gate.pause(self.now, pause);
            }
            flight.answer = Some(Err(failure));
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
            Loss::Unanswered => self.desk.give_back(flight.ticket),
            // The server is not to blame for what stopped the run.
            Loss::Failed(_) if self.desk.stopped() => self.desk.give_back(flight.ticket),
            Loss::Failed(failure) => self.fail(flight.ticket, failure),
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
            if self.paused(now) {
                return None;
            }
            let ticket = self.desk.next(now)?;
            if self.desk.wants_lease() {
                self.hungry.notify_one();
            }
            if ticket.name().len() > NAME_BYTES {
                let detail = "the name is too long";
                self.fail(ticket, Failure::new(FailureClass::Name, detail));
                continue;
            }
            self.counters().in_flight.add(1);
            return Some(Flight { ticket, sent: now, answer: None, body: Incoming::Empty });
        }
    }

    fn poll_next(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Option<Flight>> {
        if let Some(flight) = self.next(now) {
            return Poll::Ready(Some(flight));
        }
        if self.desk.finished() {
            return Poll::Ready(None);
        }
        self.idle.push(cx.waker().clone());
        Poll::Pending
    }

    fn paused(&self, now: Instant) -> bool {
        self.desk.stopped() || !self.gate.is_open(now)
    }

    fn render(&mut self, flight: &Flight, out: &mut Vec<u8>) {
        let Route { before, behind, keep } = &self.route;
        self.template.render(out, |out| {
            out.extend_from_slice(before);
            percent::encode_into(flight.ticket.name(), keep, out);
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
