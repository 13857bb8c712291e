//! Serves requests on one connection.

use super::loss::{self, Verdict};
use super::meter::{Meter, Metered};
use super::request::Requests;
use super::slots::Slots;
use super::stream::{Step, Stream};
use crate::wire::h1::Loss;
use crate::wire::link::Work;
use crate::wire::pace::{Late, Pace, Patience};
use crate::wire::watch::Watch;
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Error, Reason};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use windrow_model::limits::{
    H2_CONNECTION_WINDOW, H2_RESETS, H2_STREAM_WINDOW, H2_STREAMS, HEAD_BYTES, IDLE_CONNECTION,
    PIPELINE_DEPTH,
};

/// What `:scheme` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// How a connection behaves.
#[derive(Debug, Clone, Copy)]
pub struct H2Options {
    /// Requests in flight at once, 1 to [`PIPELINE_DEPTH`]; the server may allow fewer.
    pub depth: usize,
    /// How long responses may take: each one for itself.
    pub patience: Patience,
    /// What `:scheme` says.
    pub scheme: Scheme,
    /// Where the time comes from.
    pub(super) clock: fn() -> Instant,
}

impl H2Options {
    /// [`H2_STREAMS`] requests at once.
    pub fn new(scheme: Scheme, patience: Patience) -> Self {
        Self { depth: H2_STREAMS, patience, scheme, clock: Instant::now }
    }
}

/// Why a connection is not used any more. All tickets but the carried one were given back.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<T> {
    /// There will be no more work.
    Finished,
    /// It is closed, or will be: another one takes its place when there is work.
    Closed,
    /// A request came when the connection had been idle for too long, or for another server: to be
    /// sent first on a fresh one.
    Carried(T),
}

/// Serves requests on one HTTP/2 connection of the link `link` to `place`, `first` first, until it
/// is to be closed or there is no more work. Requests are sent at once, without waiting for the server's settings, but only
/// one before these came.
///
/// # Cancel
/// Dropping it drops the tickets that it holds: only to be done when the run is given up.
pub async fn drive<W: Work, S: AsyncRead + AsyncWrite + Unpin>(
    work: &Rc<RefCell<W>>,
    (link, place): (usize, W::Place),
    stream: S,
    first: Option<W::Ticket>,
    options: H2Options,
    watch: &Watch,
) -> Ended<(W::Place, W::Ticket)> {
    let now = (options.clock)();
    work.borrow_mut().tick(now);
    let meter = Rc::new(Meter::default());
    let mut handshake =
        std::pin::pin!(builder().handshake::<_, Bytes>(Metered::new(stream, Rc::clone(&meter))));
    // It only writes: the server's side of it comes later.
    watch.set(Some(now + options.patience.silence));
    let shaken = std::future::poll_fn(|cx| {
        watch.register(cx);
        if watch.take_expired() {
            return Poll::Ready(Err(Late::Silent.failure()));
        }
        let failed = |error: Error| loss::of_connection(error.reason(), false);
        handshake.as_mut().poll(cx).map_err(failed)
    });
    let (send, connection) = match shaken.await {
        Ok(shaken) => shaken,
        Err(failure) => {
            watch.set(None);
            let mut work = work.borrow_mut();
            work.tick((options.clock)());
            if let Some(first) = first {
                work.lost(first, Loss::Failed(failure));
            }
            return Ended::Closed;
        }
    };
    let at = (link, place);
    let mut driver = Driver::new(work, at, watch, options, connection, send, meter, now);
    if let Some(first) = first {
        driver.send(&mut work.borrow_mut(), first, now);
    }
    let ended = std::future::poll_fn(|cx| driver.poll(cx)).await;
    watch.set(None);
    driver.farewell().await;
    ended
}

/// What the server is told about this side.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES as u32)
        // Until it said how many it takes. More might be refused.
        .initial_max_send_streams(1)
        // Those that are remembered after they were cancelled, for a second: what was on its way
        // is passed over. A connection that cancelled so many is replaced.
        .max_concurrent_reset_streams(H2_RESETS)
        .reset_stream_duration(Duration::from_secs(1));
    builder
}

struct Driver<'l, W: Work, S> {
    work: &'l RefCell<W>,
    /// The link, and where it has this connection to.
    link: usize,
    place: W::Place,
    watch: &'l Watch,
    options: H2Options,
    connection: Connection<Metered<S>, Bytes>,
    send: SendRequest<Bytes>,
    meter: Rc<Meter>,
    streams: Slots<Stream<W::Ticket>>,
    requests: Requests,
    /// A rendered request, or the text of a response's head.
    scratch: Vec<u8>,
    /// Requests that were sent.
    sent: u64,
    /// Most requests at once: less than the depth after some were refused.
    limit: usize,
    /// Responses since the limit was last raised.
    risen: usize,
    /// Refused requests, with their numbers: given back when another one is answered. Where none
    /// is, the server refuses everything.
    held: Vec<(u64, W::Ticket)>,
    /// Requests whose connection ended, and whether their responses had begun.
    cut: Vec<(u64, W::Ticket, bool)>,
    /// Some request was answered.
    answered: bool,
    /// Some request was answered since the last time that nothing was under way.
    fruitful: bool,
    /// The server asked for less.
    calm: bool,
    /// Streams that were cancelled.
    cancelled: usize,
    /// No more requests are sent.
    closing: bool,
    /// Since when nothing is under way.
    idle_since: Option<Instant>,
    /// Something came since the first request after an idle time, or since the beginning.
    heard: bool,
    /// When something last came for any stream.
    news: Instant,
    /// The deadline that is set: no stream's is earlier.
    deadline: Option<Instant>,
}

impl<'l, W: Work, S: AsyncRead + AsyncWrite + Unpin> Driver<'l, W, S> {
    #[allow(clippy::too_many_arguments)]
    fn new(
        work: &'l RefCell<W>,
        (link, place): (usize, W::Place),
        watch: &'l Watch,
        options: H2Options,
        connection: Connection<Metered<S>, Bytes>,
        send: SendRequest<Bytes>,
        meter: Rc<Meter>,
        now: Instant,
    ) -> Self {
        let scheme = match options.scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        };
        let depth = options.depth.clamp(1, PIPELINE_DEPTH);
        watch.set(None);
        Self {
            work,
            link,
            place,
            watch,
            options: H2Options { depth, ..options },
            connection,
            send,
            meter,
            streams: Slots::new(depth),
            requests: Requests::new(scheme),
            scratch: Vec::new(),
            sent: 0,
            limit: depth,
            risen: 0,
            held: Vec::new(),
            cut: Vec::new(),
            answered: false,
            fruitful: false,
            calm: false,
            cancelled: 0,
            closing: false,
            idle_since: None,
            heard: false,
            news: now,
            deadline: None,
        }
    }

    /// Drives the connection until it is to be closed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended<(W::Place, W::Ticket)>> {
        let work = self.work;
        self.watch.register(cx);
        self.excuse();
        if self.watch.take_expired() {
            let work = &mut *work.borrow_mut();
            // Nothing came to be sent for so long that the connection is of no use any more.
            if self.streams.len() == 0 && self.idle_since.is_some() {
                return Poll::Ready(self.give_back(work, Some(None)));
            }
            if self.cut_late(work) {
                return Poll::Ready(self.give_back(work, None));
            }
        }
        self.meter.begin_turn();
        let polled = Pin::new(&mut self.connection).poll(cx);
        let heard = self.meter.take_heard();
        self.heard |= heard;
        let work = &mut *work.borrow_mut();
        if heard || polled.is_ready() {
            work.tick((self.options.clock)());
        }
        self.serve(work);
        let reason = match polled {
            Poll::Ready(end) => Some(end.err().and_then(|error| error.reason())),
            // It is over, and only its last bytes are still to be written.
            Poll::Pending if !self.cut.is_empty() => Some(None),
            Poll::Pending => None,
        };
        if let Some(reason) = reason {
            // The reason of a GOAWAY is known here too.
            let said = match self.send.poll_ready(cx) {
                Poll::Ready(Err(error)) => error.reason(),
                _ => None,
            };
            return Poll::Ready(self.give_back(work, Some(reason.or(said))));
        }
        // What is sent here is written in the next turn, for which the library wakes this task:
        // first the other connections that have news, and then the requests of all of them.
        if self.streams.len() > 0 {
            self.top_up(work, cx);
        } else if let Some(ended) = self.idle(work, cx, heard) {
            return Poll::Ready(ended);
        }
        if self.streams.has_news() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Passes on what came for the streams.
    fn serve(&mut self, work: &mut W) {
        let now = work.now();
        while let Some(index) = self.streams.next_news() {
            let Some((stream, waker)) = self.streams.get_mut(index) else { continue };
            let mut cx = Context::from_waker(waker);
            let (step, noticed) = stream.advance(work, &mut self.scratch, &mut cx, now);
            let (begun, deadline) = (stream.begun(), stream.pace.deadline());
            if noticed.bytes > 0 {
                self.news = now;
            }
            if noticed.head {
                self.answered = true;
                self.fruitful = true;
                self.release(work);
            }
            if let Step::Wait = step {
                self.watch_for(deadline);
                continue;
            }
            let Some(Stream { number, ticket, .. }) = self.streams.remove(index) else { continue };
            match step {
                Step::Wait => {}
                Step::Whole(body) => {
                    self.rise();
                    work.whole(ticket, &body);
                }
                Step::End => {
                    self.rise();
                    work.end(ticket);
                }
                Step::Enough => {
                    self.cancelled();
                    work.end(ticket);
                }
                Step::Cancel(failure) => {
                    self.cancelled();
                    work.lost(ticket, Loss::Failed(failure));
                }
                Step::Lost(Verdict::Failed(failure)) => work.lost(ticket, Loss::Failed(failure)),
                Step::Lost(Verdict::Cut) => self.cut.push((number, ticket, begun)),
                Step::Lost(Verdict::Refused { calm }) => {
                    self.calm |= calm;
                    self.limit = self.streams.len().max(1);
                    self.held.push((number, ticket));
                }
            }
        }
    }

    /// A response was complete: after some were refused, one more request at once is tried for
    /// each round of them.
    fn rise(&mut self) {
        if self.limit < self.options.depth {
            self.risen += 1;
            if self.risen >= self.limit {
                self.risen = 0;
                self.limit += 1;
            }
        }
    }

    fn cancelled(&mut self) {
        self.cancelled += 1;
        self.closing |= self.cancelled >= H2_RESETS;
    }

    /// Gives back what was refused: the server does answer.
    fn release(&mut self, work: &mut W) {
        if !self.calm {
            unanswered(work, &mut self.held);
        }
    }

    /// Sends more requests while there is room, if there are any.
    fn top_up(&mut self, work: &mut W, cx: &mut Context<'_>) {
        if self.closing {
            return;
        }
        let most = self.limit.min(self.send.current_max_send_streams());
        let now = work.now();
        while self.streams.len() < most {
            match self.send.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return self.goes_away(&error),
                // Fewer are allowed than were: one that was sent waits in the library.
                Poll::Pending => return,
            }
            let Some(ticket) = work.next(self.place, now) else { return };
            self.send(work, ticket, now);
        }
    }

    /// A GOAWAY came, or there are no stream identifiers left.
    fn goes_away(&mut self, error: &Error) {
        self.closing = true;
        self.calm |= error.is_remote() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
    }

    fn send(&mut self, work: &mut W, ticket: W::Ticket, now: Instant) {
        self.scratch.clear();
        work.render(&ticket, &mut self.scratch);
        let request = match self.requests.read(&self.scratch) {
            Ok(request) => request,
            Err(failure) => return work.lost(ticket, Loss::Failed(failure)),
        };
        self.sent += 1;
        match self.send.send_request(request, true) {
            Ok((response, _)) => {
                let mut pace = Pace::new(self.options.patience, now);
                pace.begin(now);
                let deadline = pace.deadline();
                if self.streams.len() == 0 {
                    self.news = now;
                    self.heard = false;
                }
                self.streams.insert(Stream::new(self.sent, ticket, pace, response));
                self.watch_for(deadline);
            }
            // It never left.
            Err(error) => {
                self.goes_away(&error);
                self.held.push((self.sent, ticket));
            }
        }
    }

    /// Nothing is under way: waits for work. Gives the end of the connection, if that is it.
    fn idle(
        &mut self,
        work: &mut W,
        cx: &mut Context<'_>,
        heard: bool,
    ) -> Option<Ended<(W::Place, W::Ticket)>> {
        if self.deadline.take().is_some() {
            self.watch.set(None);
        }
        if let Poll::Ready(Err(error)) = self.send.poll_ready(cx) {
            self.goes_away(&error);
        }
        let barren = !std::mem::take(&mut self.fruitful);
        if self.closing || (barren && !self.held.is_empty()) {
            return Some(self.give_back(work, Some(None)));
        }
        unanswered(work, &mut self.held);
        // Behind a read the time is known.
        let now = if heard { work.now() } else { (self.options.clock)() };
        work.tick(now);
        match work.poll_next(cx, now, self.link, Some(self.place)) {
            Poll::Ready(Some((place, ticket))) => {
                let since = self.idle_since.take();
                let stale = |at| now.saturating_duration_since(at) > IDLE_CONNECTION;
                if place != self.place || since.is_some_and(stale) {
                    return Some(Ended::Carried((place, ticket)));
                }
                self.send(work, ticket, now);
                self.top_up(work, cx);
                // Where it could not be sent, there is nothing that would wake this task.
                if self.streams.len() == 0 {
                    cx.waker().wake_by_ref();
                }
                None
            }
            Poll::Ready(None) => Some(Ended::Finished),
            Poll::Pending => {
                let since = *self.idle_since.get_or_insert(now);
                // Its descriptor may be of use to another.
                self.watch.set(Some(since + IDLE_CONNECTION));
                None
            }
        }
    }

    /// Gives back every request. `end` is `None` when the server fell silent, else the connection
    /// ended, with the reason that was given.
    fn give_back(
        &mut self,
        work: &mut W,
        end: Option<Option<Reason>>,
    ) -> Ended<(W::Place, W::Ticket)> {
        let failure = match self.calm {
            true => Some(loss::calm()),
            false => (!self.answered).then(loss::all_refused),
        };
        if let Some(failure) = failure {
            for (_, ticket) in self.held.drain(..) {
                work.lost(ticket, Loss::Failed(failure));
            }
        }
        // The server closed while the first requests after an idle time were on their way to it,
        // as in HTTP/1.1 (RFC 9112 section 9.6). On a fresh connection the same cannot happen.
        let raced = self.answered && !self.heard && end == Some(None);
        for (number, ticket, begun) in self.cut.drain(..) {
            match raced && !begun {
                true => self.held.push((number, ticket)),
                false => {
                    let failure = loss::of_connection(end.flatten(), begun);
                    work.lost(ticket, Loss::Failed(failure));
                }
            }
        }
        // The server may have come to these, but was not late with them.
        for Stream { number, ticket, .. } in self.streams.drain() {
            self.held.push((number, ticket));
        }
        unanswered(work, &mut self.held);
        Ended::Closed
    }

    /// Time passed here that the server is not to blame for.
    fn excuse(&mut self) {
        let delay = self.watch.take_delay();
        if delay.is_zero() {
            return;
        }
        self.news += delay;
        self.deadline = self.deadline.map(|at| at + delay);
        for (_, stream) in self.streams.iter_mut() {
            stream.pace.excuse(delay);
        }
    }

    /// Sets the deadline of a stream, if none is earlier. One that moved is found to be later when
    /// the earlier one passes: so a response that comes in time costs a comparison.
    fn watch_for(&mut self, deadline: Option<(Instant, Late)>) {
        if let Some((at, _)) = deadline
            && self.deadline.is_none_or(|set| at < set)
        {
            self.deadline = Some(at);
            self.watch.set(Some(at));
        }
    }

    /// The deadline passed: cancels the streams that are late. True when nothing came for any of
    /// them for so long that the connection is taken to be dead.
    fn cut_late(&mut self, work: &mut W) -> bool {
        let Some(now) = self.deadline.take() else { return false };
        work.tick(now.max(work.now()));
        let mut late = Vec::new();
        let mut next = None;
        for (index, stream) in self.streams.iter_mut() {
            match stream.pace.deadline() {
                Some((at, how)) if at <= now => late.push((index, how)),
                Some((at, how)) if next.is_none_or(|(next, _)| at < next) => next = Some((at, how)),
                _ => {}
            }
        }
        for (index, how) in &late {
            if let Some(stream) = self.streams.remove(*index) {
                self.cancelled();
                work.lost(stream.ticket, Loss::Failed(how.failure()));
            }
        }
        self.watch_for(next);
        !late.is_empty()
            && now.saturating_duration_since(self.news) >= self.options.patience.silence
    }

    /// Tells the server that the connection ends, if that can be done at once.
    async fn farewell(self) {
        let Self { mut connection, send, streams, meter, .. } = self;
        drop((send, streams));
        meter.begin_turn();
        std::future::poll_fn(|cx| {
            // However that ends: nothing is owed any more.
            let _ = Pin::new(&mut connection).poll(cx);
            Poll::Ready(())
        })
        .await;
    }
}

/// Gives requests back that may be sent again at no cost, the newest first: whoever puts them back
/// at the front of a queue keeps their order.
fn unanswered<W: Work>(work: &mut W, held: &mut Vec<(u64, W::Ticket)>) {
    held.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
    for (_, ticket) in held.drain(..) {
        work.lost(ticket, Loss::Unanswered);
    }
}
