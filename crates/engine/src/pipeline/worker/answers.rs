//! What becomes of answers: the worker as the wire sees it when something comes in.

use super::super::check::Inspection;
use super::super::flights::FlightId;
use super::*;
use crate::wire::h1::{Exchange, Framing, Head, Interest, Loss, date, retry_after};
use windrow_model::limits::FEW_AT_ONCE;

impl Worker {
    /// Learns what time it is to the server, now and then.
    fn learn_time(&mut self, id: &FlightId, head: &[u8]) {
        if !self.time.wants(self.now) {
            return;
        }
        let flight = self.flights.cargo(id);
        let (site, sent) = (flight.site, flight.sent);
        self.time.learn(u64::from(site), head, sent, self.now);
    }

    /// Whether a request was refused because it was signed by a clock that is wrong. The servers'
    /// time is known from then on.
    fn is_clock(&mut self, id: &FlightId, raw: &[u8]) -> bool {
        let &mut Flight { site, sent, .. } = self.flights.cargo(id);
        let identity = self.board.site(site).extra.template.identity();
        identity.is_some_and(|own| date(raw).is_some_and(|date| own.learn(date, sent)))
    }

    /// Whether what an errand asks for was signed for a time that is over.
    fn has_expired(&mut self, id: &FlightId) -> bool {
        let ticket = self.flights.errand(id).and_then(|errand| errand.ticket().ok());
        let expiry = ticket.map_or(0, Ticket::expiry);
        expiry > 0 && self.time.may_be_over(expiry)
    }
}

impl Exchange for Worker {
    type Ticket = FlightId;

    fn head(&mut self, id: &mut FlightId, head: &Head, raw: &[u8]) -> Interest {
        self.learn_time(id, raw);
        if let Some(mut failure) = Failure::of_status(head.status) {
            if head.status == 403 && self.is_clock(id, raw) {
                failure = SKEWED;
            }
            if failure.retry() {
                let &mut Flight { site, sent, .. } = self.flights.cargo(id);
                let (now, pause) = (self.now, retry_after(raw, SystemTime::now()));
                // A 503 may be about what is under way at once, and that is lowered first.
                let few = self.crowd.is_none() || self.limit <= FEW_AT_ONCE;
                let access = self.desk(site).access();
                let certain = failure.class == FailureClass::Throttled;
                if certain || (failure.status == 503 && few) {
                    access.throttled(sent, now, pause.unwrap_or_default(), certain);
                }
                if let Some(pause) = pause {
                    access.paused(sent, now, pause, failure);
                }
            }
            let answer = match failure.class {
                FailureClass::Redirect => self.follow(id, raw, failure),
                // S3 says 403, Azure 403, CloudFront 403, GCS 400.
                FailureClass::Forbidden | FailureClass::Status if self.has_expired(id) => {
                    Failure { class: FailureClass::Expired, detail: EXPIRED.detail, ..failure }
                }
                _ => failure,
            };
            self.flights.cargo(id).answer = Some(Err(answer));
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
        let mut expected = self.flights.errand(id).and_then(expected);
        if let (Some(expected), Some(workshop)) = (&mut expected, &self.workshop)
            && workshop.checks()
        {
            // It is of what the transforms have made by then.
            expected.digest = None;
        }
        if head.notable || expected.is_some() {
            let undo = self.compressed && head.framing != Framing::Length(0);
            match Inspection::of(expected.unwrap_or_default(), raw, undo) {
                Ok(inspection) => self.flights.cargo(id).inspection = inspection,
                Err(failure) => {
                    self.flights.cargo(id).answer = Some(Err(failure));
                    return Interest::Discard;
                }
            }
        }
        if self.wants_meta {
            let extra = self.note(head.status, raw);
            self.flights.cargo(id).extra = Some(extra);
        }
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
        if let Some(inspection) = &mut flight.inspection {
            inspection.update(bytes);
        }
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
            Loss::Failed(failure) if !self.board.stopped() => Some(failure),
            _ => None,
        };
        let wanted = self.flights.errand(&id).is_some();
        let decides = failure.is_some_and(|failure| !failure.retry());
        let (errand, flight) = self.landed(id, decides);
        self.bodies.recycle(flight.body);
        let (site, now) = (flight.site, self.now);
        match (failure, errand) {
            (Some(failure), errand) if wanted => {
                self.judged(site, errand, flight.sent, Err(failure), None);
            }
            (_, Some(errand)) => {
                self.desk(site).unanswered(errand, now);
                self.board.came_back(site, now);
            }
            (_, None) => {}
        }
        self.check_finished();
    }
}

/// The next attempt is signed by the server's clock.
const SKEWED: Failure = Failure {
    class: FailureClass::Server,
    status: 403,
    detail: "the request was signed by a clock that is wrong",
};
