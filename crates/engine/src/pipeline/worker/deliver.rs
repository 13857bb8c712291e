//! What becomes of a body that is whole: the worker as the sink sees it.

use super::*;

impl Worker {
    /// Stores a body, wherever it is.
    pub(super) fn deliver(
        &mut self,
        site: SiteId,
        ticket: Ticket,
        sent: Instant,
        whole: Option<&[u8]>,
        body: Incoming,
        extra: Option<&Extra>,
    ) {
        let meta = match extra {
            Some(Extra::Meta(meta)) => Some(meta),
            _ => None,
        };
        let place = (site, sent, meta);
        match (whole, body) {
            (Some(body), _) => self.store(place, ticket, Body::Bytes(body)),
            (None, Incoming::Empty) => self.store(place, ticket, Body::Bytes(&[])),
            (None, Incoming::Memory(memory)) => {
                self.store(place, ticket, Body::Bytes(&memory));
                self.bodies.recycle(Incoming::Memory(memory));
            }
            (None, Incoming::Spool(spool)) => {
                self.store(place, ticket, Body::Spool(spool));
            }
        }
    }

    /// Completes what is known of an answer.
    pub(super) fn described(
        &mut self,
        site: SiteId,
        ticket: &Ticket,
        mut extra: Option<Box<Extra>>,
    ) -> Option<Box<Extra>> {
        if let Some(Extra::Meta(meta)) = extra.as_deref_mut() {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            meta.fetched_at = now.map_or(0, |since| since.as_millis() as u64);
            meta.url = match (ticket.details(), &self.route) {
                (Some((details, at)), _) => shown(details, at),
                (None, Some(route)) => {
                    let mut path = Vec::new();
                    route.render(ticket.name(), &mut path);
                    let origin = &self.board.site(site).key().origin;
                    format!("{origin}{}", String::from_utf8_lossy(&path))
                }
                (None, None) => String::new(),
            };
        }
        extra
    }

    fn store(
        &mut self,
        (site, sent, meta): (SiteId, Instant, Option<&Meta>),
        ticket: Ticket,
        body: Body<'_>,
    ) {
        if self.sink_failed {
            return self.desk(site).give_back(ticket);
        }
        let object = Object { ordinal: ticket.ordinal(), name: ticket.name(), body, meta };
        match self.sink.store(object) {
            Ok(receipt) => {
                let counters = self.counters();
                counters.stored.add(1);
                counters.bytes.add(receipt.bytes);
                let took = self.now.saturating_duration_since(sent);
                let micros = took.as_micros();
                self.time.answered(took);
                self.latencies.0 += took;
                self.latencies.1 = Some(self.latencies.1.map_or(took, |least| least.min(took)));
                self.latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                let now = self.now;
                let desk = self.desk(site);
                if desk.access().wants_reference()
                    && receipt.bytes <= REFERENCE_BYTES
                    && let Some(reference) = reference(&ticket)
                {
                    desk.access().note(reference, now);
                }
                desk.settled(ticket);
                self.board.came_back(site, now);
                self.check_finished();
            }
            Err(SinkError::Object(failure)) => {
                let ticket = self.desk(site).refused(ticket);
                self.fail(ticket, failure);
            }
            Err(SinkError::Run(error)) => {
                self.sink_failed = true;
                self.desk(site).give_back(ticket);
                self.stop(Stop::Error(error));
            }
        }
    }
}
