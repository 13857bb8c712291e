//! Bodies at the transforms, between answer and sink.
//!
//! A ticket whose body is there stays out until its result has come, so that a run that ends early has it
//! pending. Where the transforms have no room, nothing new is begun: what is under way waits here.

use super::*;
use crate::rt::TICK;
use crate::transform::{Client, Done, Object as Work, Outcome, Pool};
use std::collections::VecDeque;

/// One core's place at the transforms.
pub(in crate::pipeline) struct Workshop {
    client: Client,
    /// Told when there is something to take, or to hand over.
    stir: Arc<Notify>,
    /// Whose body is at the transforms, by the key it has there.
    benches: Vec<Option<Bench>>,
    free: Vec<u32>,
    /// What there was no room for yet: its body stays where it is until there is.
    held: VecDeque<(u32, Work, Incoming)>,
    done: Vec<Done>,
    /// Results since the last tick.
    results: u32,
    /// Objects that were dropped and are not recorded yet.
    dropped: Vec<Ordinal>,
    /// Bytes of a body that goes to the transforms, at most.
    most: u64,
    checks: bool,
}

/// What waits for a result.
struct Bench {
    site: SiteId,
    ticket: Ticket,
    extra: Option<Box<Extra>>,
    /// Length and CRC32C of the body as it was fetched.
    was: (usize, u32),
    /// Media type as the server said it.
    media: Option<String>,
}

/// Dropped objects that wait to be recorded, at most.
const DROPPED: usize = 1024;

impl Workshop {
    pub(in crate::pipeline) fn new(pool: &Arc<Pool>, stir: Arc<Notify>, most: u64) -> Self {
        let wake = Arc::clone(&stir);
        let client = pool.client(move || wake.notify_one());
        Self {
            checks: pool.chain().wants_sha256_column().is_some(),
            client,
            stir,
            benches: Vec::new(),
            free: Vec::new(),
            held: VecDeque::new(),
            done: Vec::new(),
            results: 0,
            dropped: Vec::new(),
            most,
        }
    }

    /// Whether the transforms compare the checksum of the list.
    pub(super) fn checks(&self) -> bool {
        self.checks
    }

    /// Whether nothing is to be begun before there is room.
    pub(super) fn is_full(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether no result is waited for.
    pub(in crate::pipeline) fn is_idle(&self) -> bool {
        self.free.len() == self.benches.len()
    }

    /// How long to sleep between two looks at the sockets; asked once a tick.
    pub(super) fn lull(&mut self) -> Duration {
        let results = std::mem::take(&mut self.results);
        Lull::of_work(self.client.waiting(), results, TICK)
    }

    /// Objects that were dropped and are not recorded.
    pub(in crate::pipeline) fn unrecorded(&self) -> u64 {
        self.dropped.len() as u64
    }

    fn seat(&mut self, bench: Bench) -> u32 {
        match self.free.pop() {
            Some(key) => {
                self.benches[key as usize] = Some(bench);
                key
            }
            None => {
                self.benches.push(Some(bench));
                (self.benches.len() - 1) as u32
            }
        }
    }

    fn leave(&mut self, key: u32) -> Option<Bench> {
        let bench = self.benches.get_mut(key as usize)?.take()?;
        self.free.push(key);
        Some(bench)
    }
}

impl Worker {
    /// Gives a body to the transforms.
    pub(super) fn work(
        &mut self,
        site: SiteId,
        ticket: Ticket,
        whole: Option<&[u8]>,
        body: Incoming,
        extra: Option<Box<Extra>>,
    ) {
        let Some(most) = self.workshop.as_ref().map(|workshop| workshop.most) else { return };
        let len = whole.map_or(body.len(), |whole| whole.len() as u64);
        if len > most {
            self.bodies.recycle(body);
            let ticket = self.desk(site).refused(ticket);
            return self.fail(ticket, UNWIELDY);
        }
        // A read buffer is needed for what comes next; anything else stays where it is.
        let (own, body) = match whole {
            Some(whole) => {
                self.bodies.recycle(body);
                (whole.to_vec(), Incoming::Empty)
            }
            None => (Vec::new(), body),
        };
        let media = match extra.as_deref() {
            Some(Extra::Meta(meta)) => meta.header("content-type"),
            _ => None,
        };
        let media = media.and_then(|media| std::str::from_utf8(media).ok()).map(str::to_owned);
        let expected_sha256 = ticket.details().and_then(|(details, at)| {
            match details.expected.get(at).and_then(|expected| expected.digest) {
                Some(Digest::Sha256(sum)) => Some(sum),
                _ => None,
            }
        });
        let work = Work {
            name: ticket.name().to_vec(),
            content_type: media.clone(),
            expected_sha256,
            ordinal: ticket.ordinal(),
            body: own,
        };
        let bench = Bench { site, ticket, extra, was: (0, 0), media };
        let Some(workshop) = &mut self.workshop else { return };
        let key = workshop.seat(bench);
        workshop.held.push_back((key, work, body));
        workshop.stir.notify_one();
        self.submit_held();
    }

    /// Hands over what waits, as far as there is room.
    fn submit_held(&mut self) {
        let Self { workshop: Some(workshop), bodies, .. } = self else { return };
        let mut broken = None;
        while let Some((key, mut work, body)) = workshop.held.pop_front() {
            let bytes = body.len() + (work.body.len() + work.name.len()) as u64;
            if !workshop.client.has_room(bytes) {
                workshop.held.push_front((key, work, body));
                break;
            }
            match body {
                Incoming::Empty => {}
                Incoming::Memory(memory) => work.body = bodies.part_with(memory),
                Incoming::Spool(spool) => {
                    work.body = vec![0; usize::try_from(spool.len()).unwrap_or_default()];
                    if let Err(error) = spool.read_at(0, &mut work.body) {
                        broken = workshop.leave(key).map(|bench| (bench, error));
                        break;
                    }
                }
            }
            if let Some(Some(bench)) = workshop.benches.get_mut(key as usize) {
                bench.was = (work.body.len(), crc32c::crc32c(&work.body));
            }
            if let Err(work) = workshop.client.submit(u64::from(key), work) {
                // It would have had room just now.
                workshop.held.push_front((key, work, Incoming::Empty));
                break;
            }
        }
        if let Some((bench, error)) = broken {
            self.desk(bench.site).give_back(bench.ticket);
            self.stop(Stop::Error(error));
        }
    }

    /// Stores what the transforms made.
    pub(in crate::pipeline) fn take_work(&mut self, now: Instant) {
        self.now = now;
        let Some(workshop) = &mut self.workshop else { return };
        let was_full = workshop.is_full();
        let mut done = std::mem::take(&mut workshop.done);
        let taken = workshop.client.take(&mut done);
        workshop.results += done.len() as u32;
        self.submit_held();
        let Some(workshop) = &mut self.workshop else { return };
        workshop.client.flush();
        let has_room = was_full && !workshop.is_full();
        for done in done.drain(..) {
            self.worked(done);
        }
        if let Some(workshop) = &mut self.workshop {
            workshop.done = done;
        }
        if let Err(error) = taken {
            return self.stop(Stop::Error(error));
        }
        if has_room {
            self.wake();
        }
        if self.control.stopping() {
            self.recall();
        }
        if self.workshop.as_ref().is_some_and(Workshop::is_idle) && self.board.stopped() {
            // A core that stops may wait for just this.
            self.more.notify_one();
        }
    }

    fn worked(&mut self, done: Done) {
        let key = u32::try_from(done.key).unwrap_or(u32::MAX);
        let Some(workshop) = &mut self.workshop else { return };
        let Some(Bench { site, ticket, mut extra, was, media }) = workshop.leave(key) else {
            return;
        };
        match done.result {
            Ok(Outcome::Keep(work)) => {
                if let Some(Extra::Meta(meta)) = extra.as_deref_mut() {
                    if work.content_type != media {
                        meta.set_header("content-type", work.content_type.as_deref());
                    }
                    if was != (work.body.len(), crc32c::crc32c(&work.body)) {
                        // What the answer said of its bytes holds for others.
                        meta.decoded = true;
                    }
                }
                let meta = match extra.as_deref() {
                    Some(Extra::Meta(meta)) => Some(meta),
                    _ => None,
                };
                self.store((site, meta), ticket, Body::Bytes(&work.body));
                self.keep_note(extra);
            }
            Ok(Outcome::Drop) => {
                workshop.dropped.push(ticket.ordinal());
                let many = workshop.dropped.len() >= DROPPED;
                self.desk(site).settled(ticket);
                let now = self.now;
                self.board.came_back(site, now);
                self.check_finished();
                self.keep_note(extra);
                if many {
                    self.record_dropped();
                }
            }
            // The body may have been damaged on the way.
            Err(failure) if failure.retry() => {
                let now = self.now;
                drop(self.ended(site, Errand::Object(ticket), now, Err(failure), None));
                self.keep_note(extra);
            }
            Err(failure) => {
                let ticket = self.desk(site).refused(ticket);
                self.fail_because(ticket, failure, done.why.as_deref());
                self.keep_note(extra);
            }
        }
    }

    /// Takes back what no transform has begun with: nothing is begun any more.
    pub(super) fn recall(&mut self) {
        let Some(workshop) = &mut self.workshop else { return };
        let held = std::mem::take(&mut workshop.held);
        let mut keys: Vec<u32> = held.iter().map(|(key, ..)| *key).collect();
        held.into_iter().for_each(|(_, _, body)| self.bodies.recycle(body));
        keys.extend(workshop.client.recall().into_iter().map(|key| key as u32));
        let back: Vec<_> = keys.into_iter().filter_map(|key| workshop.leave(key)).collect();
        for bench in back {
            self.desk(bench.site).give_back(bench.ticket);
        }
    }

    /// Records what was dropped, as skipped.
    pub(in crate::pipeline) fn record_dropped(&mut self) {
        let Some(workshop) = &mut self.workshop else { return };
        if workshop.dropped.is_empty() {
            return;
        }
        workshop.dropped.sort_unstable();
        if let Some(log) = self.record.listing()
            && let Err(errno) = log.skipped(&workshop.dropped)
        {
            let why = std::io::Error::from(errno);
            let error = Error::environment(".windrow/ledger", "cannot write").why(why);
            return self.stop(Stop::Error(error));
        }
        let count = workshop.dropped.len() as u64;
        workshop.dropped.clear();
        self.report.skipped.fetch_add(count, std::sync::atomic::Ordering::Release);
    }
}

const UNWIELDY: Failure = Failure {
    class: FailureClass::TooLarge,
    status: 0,
    detail: "the object is larger than what goes to a transform: a quarter of --memory",
};
