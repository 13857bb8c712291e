//! A server that misbehaves on demand, so that clients can be rehearsed: `--faults SPEC`.
//!
//! It stands before a well-behaved site, lets that answer, and decides for each request what
//! becomes of the answer. `spec` says which faults there are and how often, `draw` which request
//! meets which, `play` sends what is no plain answer any more, `page` changes listings, `tally`
//! counts. A server without faults has none of this in its way: `Site::Rehearsed` is a site
//! like the others, and only its answers come through here.

mod draw;
mod page;
mod play;
mod spec;
mod tally;

use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem;

use self::draw::{Draw, Turns, hash};
use self::page::Page;
pub(crate) use self::play::Play;
pub use self::spec::Faults;
pub(crate) use self::spec::time;
use self::spec::{Fault, Refused, Wrong};
use self::tally::{Announced, Tally, count, stats_into};
use crate::arrivals::Arrivals;
use crate::coding::Bomb;
use crate::front::Front;
use crate::json;
use crate::limits::{Admission, Allow, Gate, Nanos, nanos};
use crate::request::{Connection, Method, Request};
use crate::respond::{After, Body, Refusal, head_into, list_into, page_into};
use crate::worker::Counters;

/// What stands in the bodies of refusals.
const FAULT: &str = "this answer is one of the faults that the server was asked for\n";
const DENIED: &str = "more requests came than this server allows\n";
const OVERLOADED: &str = "more requests came at once than this server works on\n";

/// What the threads of a server have in common.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    front: Front,
    faults: Faults,
    /// The names of the rules, in their order.
    kinds: Vec<String>,
    turns: Turns,
    announced: Arc<Announced>,
    announces: bool,
    /// When the first request came.
    began: OnceLock<Instant>,
    /// The markers that a loop goes round, as JSON.
    markers: OnceLock<Vec<Vec<u8>>>,
    tallies: Box<[Tally]>,
    counters: Vec<Arc<Counters>>,
    /// What every request for an object meets first.
    gate: Mutex<Gate>,
    /// What the gate allows.
    allow: Option<Allow>,
    arrivals: Arrivals,
    start: Instant,
}

impl Rehearsal {
    /// Without limits. `counters` are those of the server's threads.
    pub(crate) fn new(front: Front, faults: Faults, counters: Vec<Arc<Counters>>) -> Self {
        let start = Instant::now();
        Self {
            front,
            kinds: faults.rules().map(|fault| fault.kind().into_owned()).collect(),
            turns: Turns::new(),
            announced: Arc::new(Announced::new(start, faults.grace)),
            announces: faults.announces(),
            began: OnceLock::new(),
            markers: OnceLock::new(),
            tallies: counters.iter().map(|_| Tally::new(faults.rules().len())).collect(),
            counters,
            gate: Mutex::new(Gate::new(None, None, Duration::ZERO, Duration::ZERO, 0)),
            allow: None,
            arrivals: Arrivals::new(),
            start,
            faults,
        }
    }

    /// With limits; `allow` is what the gate was made of.
    pub(crate) fn behind(self, gate: Gate, allow: Option<Allow>) -> Self {
        let announces = self.announces || allow.as_ref().is_some_and(|a| a.retry_after.is_some());
        Self { gate: Mutex::new(gate), allow, announces, ..self }
    }

    fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What so many seconds since the first request bring for everybody.
    fn outage(&self) -> Option<Refused> {
        if self.faults.outages.is_empty() {
            return None;
        }
        let elapsed = self.began.get_or_init(Instant::now).elapsed();
        let outage = self.faults.outages.iter().find(|outage| outage.holds(elapsed));
        outage.map(|outage| outage.refused)
    }

    /// The markers that a loop goes round; none if it is to go nowhere.
    fn markers(&self) -> &[Vec<u8>] {
        let Some(cycle) = self.faults.cycle else { return &[] };
        self.markers.get_or_init(|| {
            let markers = (1..=cycle).map_while(|page| self.front.content.marker(page));
            let literal = |marker: String| {
                let mut literal = Vec::new();
                json::string_into(&marker, &mut literal);
                literal
            };
            markers.map(literal).collect()
        })
    }
}

/// The rehearsal as one thread sees it.
#[derive(Debug)]
pub(crate) struct Stage {
    rehearsal: Arc<Rehearsal>,
    thread: usize,
    /// Answers of the batch in hand that leave at a time of their own. Only its thread takes the
    /// lock, which is free each time.
    timed: Mutex<Vec<Timed>>,
}

/// An answer that leaves at a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed {
    /// Where it ends in the output, or its beginning if more of it follows.
    pub(crate) end: usize,
    pub(crate) due: Instant,
}

impl Stage {
    /// `thread` is the index of the thread's counters.
    pub(crate) fn new(rehearsal: Arc<Rehearsal>, thread: usize) -> Self {
        Self { rehearsal, thread, timed: Mutex::default() }
    }

    /// Takes the answers since the last call that leave at times of their own.
    pub(crate) fn timed(&self) -> MutexGuard<'_, Vec<Timed>> {
        self.timed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands at the end of the output leaves at this time.
    fn leaves(&self, out: &[u8], due: Option<Nanos>) {
        if let Some(due) = due {
            let due = self.rehearsal.start + Duration::from_nanos(due);
            self.timed().push(Timed { end: out.len(), due });
        }
    }

    fn tally(&self) -> &Tally {
        &self.rehearsal.tallies[self.thread]
    }

    /// Answers a request for an object.
    #[cold]
    #[inline(never)]
    pub(crate) fn object(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Option<Body> {
        let Rehearsal { front, announced, announces, allow, arrivals, .. } = &*self.rehearsal;
        let tally = self.tally();
        count(&tally.objects, 1);
        let now = self.rehearsal.now();
        arrivals.add(now);
        if *announces && announced.is_early() {
            count(&tally.early, 1);
        }
        let (admission, waits) = {
            let mut gate = self.rehearsal.gate();
            (gate.admit(now), gate.aside(now).is_some())
        };
        // Who is turned away does not wait for it.
        let at_once = waits.then_some(now);
        let (rest, due) = match admission {
            Admission::Answered(due) => (
                self.misbehave(request, out, |request, right, out| {
                    front.object(request, right, out)
                }),
                due,
            ),
            Admission::Denied => {
                let refused = allow.as_ref().map_or(Refused::plain(429), |allow| Refused {
                    status: allow.status,
                    retry_after: allow.retry_after,
                });
                (self.refuse(refused, DENIED, request, out), at_once)
            }
            Admission::Overloaded => {
                (self.refuse(Refused::plain(503), OVERLOADED, request, out), at_once)
            }
        };
        self.leaves(out, due);
        rest
    }

    /// Whether this target is a step on the way to an object, and meant for
    /// [`object`](Self::object).
    pub(crate) fn is_hop(&self, target: &[u8]) -> bool {
        self.rehearsal.front.is_hop(target)
    }

    /// Answers a request for a page of the listing.
    #[cold]
    #[inline(never)]
    pub(crate) fn listing(
        &self,
        request: &Request<'_>,
        marker: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<Body> {
        count(&self.tally().listings, 1);
        let due = self.rehearsal.gate().aside(self.rehearsal.now());
        let rest = self.list(request, marker, out);
        self.leaves(out, due);
        rest
    }

    fn list(
        &self,
        request: &Request<'_>,
        marker: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<Body> {
        let page = |request: &Request<'_>, _, out: &mut Vec<u8>| {
            let start = out.len();
            if let Err(refusal) = page_into(request, out, |out| self.page_into(marker, out)) {
                out.truncate(start);
                refusal.into_answer(request.method, request.connection, out);
            }
            None
        };
        if self.rehearsal.faults.listing {
            return self.misbehave(request, out, page);
        }
        // The clock of an outage starts with the first request, whatever it asks for.
        let _ = self.rehearsal.outage();
        self.plain(request, out, page)
    }

    /// Appends what was counted so far; the current batch of requests is not in it yet.
    #[cold]
    #[inline(never)]
    pub(crate) fn stats_into(&self, query: &[u8], out: &mut Vec<u8>) {
        let Rehearsal { kinds, tallies, counters, arrivals, .. } = &*self.rehearsal;
        stats_into(kinds, tallies, counters, out);
        let most = self.rehearsal.gate().most_in_flight();
        let _ = write!(out, ",\"most_in_flight\":{most},\"arrivals\":");
        let all = query.split(|&byte| byte == b'&').any(|pair| pair == b"arrivals=1");
        arrivals.json_into(self.rehearsal.now(), all, out);
        out.extend_from_slice(b"}\n");
    }

    /// Counts that a connection had so many requests before and has so many now. The first call
    /// for a connection is with none before.
    pub(crate) fn reused(&self, before: u64, now: u64) {
        self.tally().reused(before, now);
    }

    fn page_into(&self, marker: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Rehearsal { front, faults, .. } = &*self.rehearsal;
        let start = out.len();
        list_into(&front.content, marker, out)?;
        let markers = self.rehearsal.markers();
        if faults.duplicates == 0 && markers.is_empty() {
            return Ok(());
        }
        let plain = out.split_off(start);
        let Some(mut page) = Page::read(&plain) else {
            out.extend_from_slice(&plain);
            return Ok(());
        };
        // By the name alone: a listing that is read again tells the same names twice.
        let twice =
            page.repeat(|name| Draw::new(hash(faults.seed, name), 0).share() < faults.duplicates);
        count(&self.tally().duplicates, twice);
        count(&self.tally().loops, u64::from(page.lead_back(markers)));
        page.write_into(out);
        Ok(())
    }

    /// Draws what happens to a request, and does it to the answer. `plain` takes whether checksums
    /// are to be right.
    fn misbehave(
        &self,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        plain: impl FnOnce(&Request<'_>, bool, &mut Vec<u8>) -> Option<Body>,
    ) -> Option<Body> {
        let Rehearsal { faults, turns, .. } = &*self.rehearsal;
        // An outage depends on the time, and what depends on the time must not move the draws.
        if let Some(refused) = self.rehearsal.outage() {
            count(&self.tally().outages, 1);
            return self.refuse(refused, FAULT, request, out);
        }
        if faults.rules().len() == 0 {
            return self.plain(request, out, plain);
        }
        let path = hash(faults.seed, request.target);
        let (draw, drawn) = turns.take(path, |turn| {
            let draw = Draw::new(path, turn);
            let drawn = faults.fault(draw);
            ((draw, drawn), drawn.is_some_and(|(_, fault)| fault.leaves_owed()))
        });
        let Some((rule, fault)) = drawn else { return self.plain(request, out, plain) };
        let counter: &AtomicU64 = &self.tally().faults[rule];
        count(counter, 1);
        let request = match fault {
            Fault::Status(refused) => return self.refuse(refused, FAULT, request, out),
            Fault::ResetHead => return Play::new(Vec::new(), None).reset(),
            Fault::Bomb => return self.bomb(request, out),
            Fault::Close => &Request { connection: Connection::Closes, ..*request },
            _ => request,
        };
        let start = out.len();
        let rest = plain(request, fault != Fault::WrongChecksum, out);
        self.settle(start, out);
        let Some(head) = memmem::find(&out[start..], b"\r\n\r\n").map(|at| start + at + 4) else {
            return rest;
        };
        if let Fault::StallHead(pause) = fault {
            return Play::new(out.split_off(start), rest).stall(0, pause).boxed();
        }
        let body = Play::new(out.split_off(head), rest);
        let place = draw.place(body.left());
        match fault {
            Fault::ResetBody => body.cut(place).then(After::Resets),
            Fault::Truncate => body.cut(place).then(After::Closes),
            Fault::WrongLength(wrong) => {
                let (length, after) = match wrong {
                    // Up to twice as long, and at least by one byte.
                    Wrong::Larger => (body.left() + 1 + place, After::Closes),
                    Wrong::Smaller => (place, After::Stays),
                };
                state_length(length, start, out);
                body.then(after)
            }
            Fault::Stall(pause) => body.stall(place, pause),
            Fault::Drip(speed) => body.drip(speed),
            Fault::Close | Fault::CloseSilent => body.then(After::Closes),
            Fault::Status(_)
            | Fault::ResetHead
            | Fault::StallHead(_)
            | Fault::Bomb
            | Fault::WrongChecksum => body,
        }
        .boxed()
    }

    fn plain(
        &self,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        plain: impl FnOnce(&Request<'_>, bool, &mut Vec<u8>) -> Option<Body>,
    ) -> Option<Body> {
        let start = out.len();
        let rest = plain(request, true, out);
        self.settle(start, out);
        rest
    }

    /// Completes and counts the answer that begins at `start`.
    fn settle(&self, start: usize, out: &mut Vec<u8>) {
        self.tally().status(&out[start..]);
        self.rehearsal.front.tell(start, out);
    }

    /// Answers with a body that is small until it is decoded, whatever was asked for.
    fn bomb(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Option<Body> {
        let start = out.len();
        let bomb = Bomb::new();
        let status = "200 OK\r\nContent-Encoding: gzip";
        head_into(status, "application/octet-stream", bomb.left(), request.connection, out);
        self.settle(start, out);
        (request.method != Method::Head).then_some(Body::Bomb(bomb))
    }

    fn refuse(
        &self,
        refused: Refused,
        text: &str,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Body> {
        let mut line = format!("{} {}", refused.status, reason(refused.status));
        if let Some(seconds) = refused.retry_after {
            line.push_str(&format!("\r\nRetry-After: {seconds}"));
        }
        let start = out.len();
        head_into(&line, "text/plain; charset=utf-8", text.len() as u64, request.connection, out);
        if request.method != Method::Head {
            out.extend_from_slice(text.as_bytes());
        }
        self.settle(start, out);
        let seconds = refused.retry_after?;
        // A pause begins when its announcement is written, which a body is told.
        let announced = Arc::clone(&self.rehearsal.announced);
        let play = Play::new(out.split_off(start), None);
        play.announce(announced, Duration::from_secs(seconds.into())).boxed()
    }
}

/// Replaces the length in a head that is the end of `out`, from `start` on.
pub(crate) fn state_length(length: u64, start: usize, out: &mut Vec<u8>) {
    const FIELD: &[u8] = b"\r\nContent-Length: ";
    let Some(at) = memmem::find(&out[start..], FIELD).map(|at| start + at + FIELD.len()) else {
        return;
    };
    let digits = out[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = out.split_off(at + digits);
    out.truncate(at);
    write!(out, "{length}").expect("a vector takes what is written");
    out.extend_from_slice(&behind);
}

/// What RFC 9110 section 15 calls a status; no other needs a name.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        410 => "Gone",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Fault",
    }
}

#[cfg(test)]
mod tests;
