//! What becomes of a body that is whole: the worker as the sink sees it.

use super::*;

/// Kept for later answers, at most: with pipelines an answer's head and its end are close.
const NOTES: usize = 64;

impl Worker {
    /// Stores a body, wherever it is.
    pub(super) fn deliver(
        &mut self,
        site: SiteId,
        ticket: Ticket,
        sent: Instant,
        whole: Option<&[u8]>,
        body: Incoming,
        extra: Option<Box<Extra>>,
    ) {
        let took = self.now.saturating_duration_since(sent);
        self.time.answered(took);
        self.latencies.add(took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
        if self.workshop.is_some() {
            return self.work(site, ticket, whole, body, extra);
        }
        let meta = match extra.as_deref() {
            Some(Extra::Meta(meta)) => Some(meta),
            _ => None,
        };
        let place = (site, meta);
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
        self.keep_note(extra);
    }

    /// Keeps the memory of what was noted of an answer for another one.
    pub(super) fn keep_note(&mut self, extra: Option<Box<Extra>>) {
        if let Some(extra) = extra
            && self.notes.len() < NOTES
        {
            self.notes.push(extra);
        }
    }

    /// Begins to note what is known of an answer, in memory that another answer left.
    pub(super) fn note(&mut self, status: u16, raw: &[u8]) -> Box<Extra> {
        let mut extra = self.notes.pop().unwrap_or_else(|| Box::new(Extra::Meta(Meta::default())));
        if let Extra::Meta(meta) = &mut *extra {
            (meta.status, meta.decoded) = (status, false);
            let begin = memchr::memchr(b'\n', raw).map_or(0, |at| at + 1);
            let headers = raw[begin..].trim_ascii_end();
            meta.headers.clear();
            meta.headers.extend_from_slice(headers);
            meta.headers.extend_from_slice(if headers.is_empty() { b"" } else { b"\r\n" });
        }
        extra
    }

    /// Completes that.
    pub(super) fn described(
        &mut self,
        site: SiteId,
        ticket: &Ticket,
        mut extra: Option<Box<Extra>>,
    ) -> Option<Box<Extra>> {
        if let Some(Extra::Meta(meta)) = extra.as_deref_mut() {
            let since = self.now.saturating_duration_since(self.wall.0);
            meta.fetched_at = self.wall.1 + since.as_millis() as u64;
            meta.url.clear();
            match ticket.details() {
                Some((details, at)) => meta.url = shown(details, at),
                None => self.record.url_into(ticket.name(), &mut meta.url),
            }
            meta.request.clear();
            if let Some(shown) = &self.board.site(site).extra.shown {
                let target = target_of(&meta.url).unwrap_or("/");
                shown.render(&mut meta.request, |out| out.extend_from_slice(target.as_bytes()));
            }
        }
        extra
    }

    pub(super) fn store(
        &mut self,
        (site, meta): (SiteId, Option<&Meta>),
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

/// The path and query of a URL, as a request has them.
fn target_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let target = &rest[rest.find('/')?..];
    target.bytes().all(|byte| byte.is_ascii_graphic()).then_some(target)
}
