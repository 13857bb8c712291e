//! One connection on its socket.
//!
//! Everything happens in one task per connection: read what is there, answer all of it, write
//! the answers at once. Buffers belong to the thread as long as a connection does not have to
//! wait with something in its hands, so idle connections cost next to nothing.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::faults::Timed;
use crate::respond::Site;
use crate::session::{Ending, Session};
use crate::worker::Worker;

/// Answers that wait for a peer to read them, at most, in bytes and apart from one answer more.
/// The server reads nothing from a peer that leaves this much lying.
const UNSENT_BYTES: usize = 1 << 20;

/// How long and how much a closed connection is read on. Closing it with input unread would
/// reset it, and the peer might lose the last answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// Serves one connection to its end.
pub(crate) async fn serve(stream: TcpStream, worker: Rc<Worker>) {
    // Answers are written whole; waiting to fill a segment would only delay them. A socket that
    // refuses this is served all the same.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        stream,
        worker,
        session: Session::default(),
        out: Vec::new(),
        sent: 0,
        due: VecDeque::new(),
        arrived: None,
        sleep: None,
        wakes: None,
        pause: None,
        ended: false,
        requests: 0,
    };
    if let Site::Rehearsed(stage) = &*connection.worker.site {
        stage.reused(0, 0);
    }
    // An error means that the peer is gone, and there is nobody left to tell.
    if poll_fn(|cx| connection.poll(cx)).await.is_ok() && !connection.ended {
        connection.linger().await;
    }
}

struct Connection {
    stream: TcpStream,
    worker: Rc<Worker>,
    session: Session,
    /// Answers; those before `sent` have left.
    out: Vec<u8>,
    sent: usize,
    /// With a latency: from when on `out` may leave up to which index. What lies behind the
    /// last entry may leave at once.
    due: VecDeque<(Instant, usize)>,
    /// With a latency: when the last input arrived.
    arrived: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// For when the timer was last asked to wake this task.
    wakes: Option<Instant>,
    /// The answer goes on when this is over.
    pause: Option<Pin<Box<Sleep>>>,
    /// The peer sends nothing more.
    ended: bool,
    /// Requests so far, where that is counted.
    requests: u64,
}

impl Connection {
    /// Ready when the connection is over and everything is sent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let all_sent = self.poll_flush(cx)?.is_ready();
            if self.session.is_over() {
                return match (all_sent, self.session.ending()) {
                    (false, _) => Poll::Pending,
                    (true, Ending::Orderly) => Poll::Ready(Ok(())),
                    (true, Ending::Broken) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    (true, Ending::Reset) => {
                        self.stream.set_zero_linger()?;
                        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
                    }
                };
            }
            // A body leaves piece by piece, one piece in memory at a time.
            if self.out.len() - self.sent >= UNSENT_BYTES || self.session.in_body() && !all_sent {
                return Poll::Pending;
            }
            if self.session.has_more() {
                if let Some(pause) = &mut self.pause {
                    ready!(pause.as_mut().poll(cx));
                    self.pause = None;
                }
                self.append(|session, worker, out, limit| session.resume(&worker.site, out, limit));
                if let Some(pause) = self.session.take_pause() {
                    self.pause = Some(Box::pin(sleep(pause)));
                }
            } else {
                ready!(self.poll_input(cx))?;
            }
        }
    }

    /// Writes what may leave; ready when nothing is left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let end = ready!(self.poll_due(cx));
            let part = &self.out[self.sent..end];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
            self.sent += count;
            self.worker.count_bytes(count as u64);
        }
        if self.out.capacity() > 0 {
            self.worker.give_back(std::mem::take(&mut self.out));
            self.sent = 0;
            self.due.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// The end of what may leave now; waits until that is something.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        while let Some(&(_, end)) = self.due.front()
            && end <= self.sent
        {
            self.due.pop_front();
        }
        let Some(&(first, _)) = self.due.front() else { return Poll::Ready(self.out.len()) };
        let now = Instant::now();
        if first > now {
            if let Some(timer) = self.worker.timer() {
                if self.wakes != Some(first) {
                    timer.wake_at(first.into_std(), cx.waker());
                    self.wakes = Some(first);
                }
                return Poll::Pending;
            }
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(first)));
            if sleep.deadline() != first {
                sleep.as_mut().reset(first);
            }
            ready!(sleep.as_mut().poll(cx));
        }
        let over = self.due.iter().take_while(|&&(time, _)| time <= now.max(first)).count();
        if over == self.due.len() {
            return Poll::Ready(self.out.len());
        }
        Poll::Ready(self.due[over - 1].1)
    }

    /// Reads once and answers what came.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let worker = self.worker.clone();
        let mut buffer = worker.input.borrow_mut();
        let mut buffer = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        if !worker.latency.is_zero() {
            self.arrived = Some(Instant::now());
        }
        if buffer.filled().is_empty() {
            self.ended = true;
            self.append(|session, worker, out, _| session.end(&worker.site, out));
        } else {
            let input = buffer.filled();
            self.append(|session, worker, out, limit| {
                session.feed(&worker.site, input, out, limit);
            });
        }
        Poll::Ready(Ok(()))
    }

    /// Lets the session append to the output, and notes when that may leave.
    fn append(&mut self, answer: impl FnOnce(&mut Session, &Worker, &mut Vec<u8>, usize)) {
        if self.out.capacity() == 0 {
            self.out = self.worker.take_buffer();
        } else if self.sent > self.out.len() / 2 {
            // Moving less than was sent since the last time: the cost stays in proportion.
            self.out.drain(..self.sent);
            for (_, end) in &mut self.due {
                *end = end.saturating_sub(self.sent);
            }
            self.sent = 0;
        }
        let before = self.out.len();
        answer(&mut self.session, &self.worker, &mut self.out, self.sent + UNSENT_BYTES);
        let requests = self.session.take_requests();
        self.worker.count_requests(requests);
        let before = match &*self.worker.site {
            Site::Rehearsed(stage) => {
                if requests > 0 {
                    stage.reused(self.requests, self.requests + requests);
                    self.requests += requests;
                }
                let mut last = before;
                for Timed { end, due } in stage.timed().drain(..) {
                    if end > last {
                        self.due.push_back((due.into(), end));
                        last = end;
                    } else {
                        // All of it is still to come, and what follows waits for it.
                        self.pause = Some(Box::pin(sleep_until(due.into())));
                    }
                }
                last
            }
            _ => before,
        };
        if let Some(arrived) = self.arrived
            && self.out.len() > before
        {
            self.due.push_back((arrived + self.worker.latency, self.out.len()));
        }
    }

    /// Says that nothing more comes, and reads until the peer says so too.
    async fn linger(mut self) {
        let mut limit = pin!(sleep(LINGER));
        let mut left = LINGER_BYTES;
        let _ = poll_fn(|cx| -> Poll<io::Result<()>> {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            loop {
                if limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let mut buffer = self.worker.input.borrow_mut();
                let mut buffer = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                left = left.saturating_sub(buffer.filled().len());
                if buffer.filled().is_empty() || left == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await;
    }
}
