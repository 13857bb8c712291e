//! Moves the bytes of sessions over connections.
//!
//! One task per connection, all on one core. A connection that waits costs its socket, its queue
//! of tickets and a few hundred bytes: the read buffer belongs to the core.

use super::dial::tls_failure;
use super::h1::{Broken, Exchange, Loss, Session};
use super::h2::{Ended, H2Options, Scheme, drive};
use super::pace::{Late, Pace, Patience};
use super::stream::Stream;
use super::target::{Dialed, NoConnection, Target};
use super::watch::Watch;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use windrow_model::limits::{IDLE_CONNECTION, READ_BYTES, STARVED};
use windrow_model::{Failure, FailureClass};

/// Where a link gets its requests from.
pub trait Work: Exchange {
    /// Stands for a server.
    type Place: Copy + PartialEq;

    /// The next request to a server that the link has a connection to, if one may be sent now.
    fn next(&mut self, place: Self::Place, now: Instant) -> Option<Self::Ticket>;

    /// The next request; waits for one, `None` when there will be none any more. `place` is where
    /// the link `link` has a connection to, if it has one. A request to that server may be sent at
    /// once; for another, or without a connection, [`Work::admit`] is asked once there is one.
    fn poll_next(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        link: usize,
        place: Option<Self::Place>,
    ) -> Poll<Option<(Self::Place, Self::Ticket)>>;

    /// A link is about to connect to a server: how. To be followed by [`Work::left`].
    fn target(&mut self, place: Self::Place) -> Rc<Target>;

    /// A connection to a server is there; `private` is whether its address is a private one,
    /// `http2` whether many requests go on it at once.
    fn connected(&mut self, place: Self::Place, private: bool, http2: bool);

    /// A link has no connection to a server any more.
    fn left(&mut self, place: Self::Place);

    /// Whether a request that was taken already may not be sent now: the server asked for a
    /// pause, or seems to be down, or the run stops.
    fn paused(&mut self, ticket: &Self::Ticket, now: Instant) -> bool;

    /// The connection is there that a request was taken for: whether it may be sent now.
    fn admit(&mut self, ticket: &Self::Ticket, now: Instant) -> bool;

    /// So many bytes came at `now`: how long to wait before more are read.
    fn charge(&mut self, bytes: usize, now: Instant) -> Duration;

    /// Bytes to be read at once, at most.
    fn most_at_once(&self) -> usize;

    /// There was no descriptor or port for a connection.
    fn starved(&mut self, place: Self::Place, failure: Failure);

    /// Appends the bytes of a request.
    fn render(&mut self, ticket: &Self::Ticket, out: &mut Vec<u8>);

    /// The time, read once for all that one call of the system brought.
    fn tick(&mut self, now: Instant);

    /// The time as of the last [`Work::tick`].
    fn now(&self) -> Instant;
}

/// What every link of a core shares: the buffer that sockets are read into.
#[derive(Debug, Clone)]
pub struct ReadBuffer(Rc<RefCell<Box<[u8]>>>);

impl Default for ReadBuffer {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; READ_BYTES].into())))
    }
}

/// How a link behaves.
#[derive(Debug, Clone, Copy)]
pub struct LinkOptions {
    /// Requests in flight at once.
    pub depth: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long responses may take.
    pub patience: Patience,
}

/// A place for one connection at a time, which is opened when there is work and opened again
/// when the server closes it.
#[derive(Debug)]
pub struct Link<W: Work> {
    number: usize,
    work: Rc<RefCell<W>>,
    buffer: ReadBuffer,
    watch: Rc<Watch>,
    options: LinkOptions,
}

impl<W: Work> Link<W> {
    /// A link that is not connected yet; `number` stands for it.
    pub fn new(
        number: usize,
        work: Rc<RefCell<W>>,
        buffer: ReadBuffer,
        watch: Rc<Watch>,
        options: LinkOptions,
    ) -> Self {
        Self { number, work, buffer, watch, options }
    }

    /// Serves until there is no more work.
    ///
    /// # Cancel
    /// Dropping it drops the tickets that it holds: only to be done when the run is given up.
    pub async fn run(self) {
        let mut taken = None;
        loop {
            let (place, first) = match taken.take() {
                Some(taken) => taken,
                None => {
                    let next = std::future::poll_fn(|cx| {
                        let now = Instant::now();
                        self.work.borrow_mut().poll_next(cx, now, self.number, None)
                    });
                    match next.await {
                        Some(next) => next,
                        None => return,
                    }
                }
            };
            if self.ask(|work, now| work.paused(&first, now)) {
                self.work.borrow_mut().lost(first, Loss::Unanswered);
                continue;
            }
            let target = self.work.borrow_mut().target(place);
            let connected = target.connect(self.options.connect_timeout).await;
            let starved = matches!(connected, Err(NoConnection::Starved(_)));
            match connected {
                Ok(Dialed { stream, private, http2 }) => {
                    self.work.borrow_mut().connected(place, private, http2);
                    taken = self.serve(place, stream, http2, first).await;
                }
                Err(no) => {
                    let mut work = self.work.borrow_mut();
                    work.tick(Instant::now());
                    match no {
                        NoConnection::Starved(failure) => {
                            work.lost(first, Loss::Unanswered);
                            work.starved(place, failure);
                        }
                        NoConnection::Failed(failure) => {
                            work.lost(first, Loss::Failed(failure));
                        }
                    }
                }
            }
            self.work.borrow_mut().left(place);
            if starved {
                // The request goes to a link that has a connection.
                tokio::time::sleep(STARVED).await;
            }
        }
    }

    /// Serves one connection to its end. Gives what is to be sent first on the next.
    async fn serve(
        &self,
        place: W::Place,
        stream: Stream,
        http2: bool,
        first: W::Ticket,
    ) -> Option<(W::Place, W::Ticket)> {
        // Things changed meanwhile, perhaps.
        if self.ask(|work, now| work.paused(&first, now)) {
            self.work.borrow_mut().lost(first, Loss::Unanswered);
            return None;
        }
        let first = match self.ask(|work, now| work.admit(&first, now)) {
            true => Some(first),
            // It is not its time yet; the connection waits.
            false => {
                self.work.borrow_mut().lost(first, Loss::Unanswered);
                None
            }
        };
        if http2 {
            let scheme = match stream {
                Stream::Plain(_) => Scheme::Http,
                Stream::Tls(_) => Scheme::Https,
            };
            let options = H2Options::new(scheme, self.options.patience);
            let at = (self.number, place);
            return match drive(&self.work, at, stream, first, options, &self.watch).await {
                Ended::Carried(carried) => Some(carried),
                Ended::Finished | Ended::Closed => None,
            };
        }
        let mut open = Open::new(self, place, stream, first);
        let broken = std::future::poll_fn(|cx| open.poll(cx)).await;
        self.watch.set(None);
        open.close(broken)
    }

    fn ask<T>(&self, question: impl FnOnce(&mut W, Instant) -> T) -> T {
        let now = Instant::now();
        let mut work = self.work.borrow_mut();
        work.tick(now);
        question(&mut work, now)
    }
}

/// An open connection.
struct Open<'l, W: Work> {
    link: &'l Link<W>,
    place: W::Place,
    stream: Stream,
    session: Session<W::Ticket>,
    /// Rendered requests; `out[written..]` is still to be written.
    out: Vec<u8>,
    written: usize,
    /// Bytes of an unfinished response.
    rest: Vec<u8>,
    pace: Pace,
    /// What the deadline that is set stands for.
    late: Late,
    /// When the last response was complete, while nothing is under way.
    idle_since: Option<Instant>,
    /// The last thing that happened was a read.
    has_read: bool,
    /// Nothing is read before that.
    rests: Option<Pin<Box<Sleep>>>,
    /// Writing failed: what was answered before that may still be read.
    mute: bool,
    /// A ticket that came too late for this connection, or is for another server.
    carried: Option<(W::Place, W::Ticket)>,
}

/// Bytes of rendered requests, from which on no more are rendered before they are written.
const OUT_BYTES: usize = 64 << 10;

impl<'l, W: Work> Open<'l, W> {
    fn new(link: &'l Link<W>, place: W::Place, stream: Stream, first: Option<W::Ticket>) -> Self {
        let now = Instant::now();
        let mut open = Self {
            link,
            place,
            stream,
            session: Session::new(link.options.depth),
            out: Vec::new(),
            written: 0,
            rest: Vec::new(),
            pace: Pace::new(link.options.patience, now),
            late: Late::Silent,
            idle_since: None,
            has_read: false,
            rests: None,
            mute: false,
            carried: None,
        };
        if let Some(first) = first {
            let mut work = link.work.borrow_mut();
            work.tick(now);
            open.send(&mut work, first);
            open.pace.begin(now);
            open.watch();
        }
        open
    }

    fn send(&mut self, work: &mut W, ticket: W::Ticket) {
        work.render(&ticket, &mut self.out);
        self.session.sent(ticket);
    }

    /// Gives back what was not answered; the result is to be sent first on a fresh connection.
    fn close(self, broken: Broken) -> Option<(W::Place, W::Ticket)> {
        let mut work = self.link.work.borrow_mut();
        work.tick(Instant::now());
        let raced = self.session.dissolve(broken, &mut *work);
        raced.map(|ticket| (self.place, ticket)).or(self.carried)
    }

    /// Drives the connection until it is to be closed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        self.link.watch.register(cx);
        if self.link.watch.take_expired() {
            return Poll::Ready(Broken::Failed(self.late.failure()));
        }
        if self.session.waiting() > 0 {
            self.refill();
        } else {
            // Behind a read the time is known.
            let now = if self.has_read { self.link.work.borrow().now() } else { Instant::now() };
            if let Poll::Ready(broken) = self.poll_idle(cx, now) {
                return Poll::Ready(broken);
            }
        }
        self.write(cx);
        self.has_read = false;
        if let Err(broken) = ready!(self.poll_read(cx)) {
            return Poll::Ready(broken);
        }
        // The other connections that have news first, and then the requests of all of them in a
        // row: a server that sleeps between two requests costs the client its wake-up, each time.
        self.has_read = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts more requests behind those that wait. Only when half of them were answered: so they
    /// are written some at a time, and never less than half are under way.
    fn refill(&mut self) {
        let depth = self.link.options.depth;
        if self.session.closing() || self.mute || self.session.waiting() > depth / 2 {
            return;
        }
        let mut work = self.link.work.borrow_mut();
        let now = work.now();
        while self.session.waiting() < depth && self.out.len() - self.written < OUT_BYTES {
            let Some(ticket) = work.next(self.place, now) else { break };
            self.send(&mut work, ticket);
        }
    }

    /// Waits for work while nothing is under way. Ready when the connection is to be closed.
    fn poll_idle(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Broken> {
        let mut work = self.link.work.borrow_mut();
        work.tick(now);
        match work.poll_next(cx, now, self.link.number, Some(self.place)) {
            Poll::Ready(Some((place, ticket))) if place != self.place => {
                self.carried = Some((place, ticket));
                Poll::Ready(Broken::Announced)
            }
            Poll::Ready(Some((_, ticket))) => {
                if let Some(since) = self.idle_since.take()
                    && (now.saturating_duration_since(since) > IDLE_CONNECTION
                        || self.stream.has_news(cx))
                {
                    self.carried = Some((self.place, ticket));
                    return Poll::Ready(Broken::Announced);
                }
                self.send(&mut work, ticket);
                drop(work);
                self.refill();
                self.pace.begin(now);
                self.watch();
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(Broken::Announced),
            Poll::Pending => {
                let since = *self.idle_since.get_or_insert(now);
                // Its descriptor may be of use to another.
                self.link.watch.set(Some(since + IDLE_CONNECTION));
                Poll::Pending
            }
        }
    }

    /// Sets the deadline of what the server owes, if anything.
    fn watch(&mut self) {
        let deadline = self.pace.deadline();
        self.late = deadline.map_or(self.late, |(_, late)| late);
        self.link.watch.set(deadline.map(|(at, _)| at));
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if self.out.is_empty() {
            return;
        }
        while self.written < self.out.len() && !self.mute {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Ready(Ok(len)) => self.written += len,
                Poll::Pending => return,
                // What the server answered before it closed is still to be read; reading ends
                // with the reason.
                Poll::Ready(Err(_)) => self.mute = true,
            }
        }
        if !self.mute {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return,
                Poll::Ready(Err(_)) => self.mute = true,
            }
        }
        self.out.clear();
        self.written = 0;
    }

    /// Reads once, and passes on what came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let Some(rests) = &mut self.rests {
            ready!(rests.as_mut().poll(cx));
            self.rests = None;
        }
        let buffer = Rc::clone(&self.link.buffer.0);
        let mut buffer = buffer.borrow_mut();
        let begun = self.rest.len();
        let most = self.link.work.borrow().most_at_once();
        let end = buffer.len().min(begun.saturating_add(most));
        let mut room = ReadBuf::new(&mut buffer[begun..end]);
        // `poll_read` rather than `try_read`: where less came than there was room for, it knows
        // that the socket is empty, and spares a call of the system that would only say so.
        let len = match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room)) {
            Ok(()) => room.filled().len(),
            Err(error) => return Poll::Ready(Err(self.reset(&error))),
        };
        let now = Instant::now();
        let mut work = self.link.work.borrow_mut();
        work.tick(now);
        if len == 0 {
            return Poll::Ready(Err(self.session.end_of_input(&self.rest, &mut *work)));
        }
        let rest = work.charge(len, now);
        if !rest.is_zero() {
            self.rests = Some(Box::pin(tokio::time::sleep(rest)));
        }
        buffer[..begun].copy_from_slice(&self.rest);
        let input = &buffer[..begun + len];
        let answered = self.session.answered();
        let used = match self.session.receive(input, &mut *work) {
            Ok(used) => used,
            Err(broken) => return Poll::Ready(Err(broken)),
        };
        self.rest.clear();
        self.rest.extend_from_slice(&input[used..]);
        let begun = !self.rest.is_empty() || !self.session.between_responses();
        let owed = self.session.waiting() > 0;
        self.pace.excuse(self.link.watch.take_delay() + rest);
        self.pace.received(len, self.session.answered() > answered, owed, begun, now);
        self.watch();
        Poll::Ready(Ok(()))
    }

    /// What a reset means here: between two responses it is a way of closing.
    fn reset(&self, error: &std::io::Error) -> Broken {
        if let Some(failure) = tls_failure(error) {
            return Broken::Failed(failure);
        }
        if self.session.between_responses() && self.rest.is_empty() {
            Broken::Closed
        } else {
            let detail = "the connection was reset inside the response";
            Broken::Failed(Failure::new(FailureClass::Reset, detail))
        }
    }
}
