//! One request and its response.

use super::loss::{self, Verdict};
use super::response;
use crate::wire::h1::{Exchange, Framing, Interest};
use crate::wire::pace::Pace;
use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use windrow_model::limits::{DISCARD_BYTES, INTERIM_RESPONSES};
use windrow_model::{Failure, FailureClass};

/// A request under way. Dropping it before its end cancels it at the server.
pub(super) struct Stream<T> {
    /// Requests of a connection in the order in which they were sent.
    pub(super) number: u64,
    pub(super) ticket: T,
    pub(super) pace: Pace,
    phase: Phase,
}

enum Phase {
    Head {
        response: ResponseFuture,
        /// Times that something came and the response did not.
        interim: u32,
        polled: bool,
    },
    Body(Body),
}

struct Body {
    stream: RecvStream,
    framing: Framing,
    /// Bytes so far.
    len: u64,
    take: bool,
    /// Some of it was passed on.
    begun: bool,
}

/// What came of polling a stream. All but the first end it.
pub(super) enum Step {
    /// There is more to come.
    Wait,
    /// The whole body, in one piece.
    Whole(Bytes),
    /// The end of a body of several pieces, or of one that was discarded.
    End,
    /// Enough was discarded: the end, and the rest is cancelled.
    Enough,
    /// No whole response.
    Lost(Verdict),
    /// The attempt failed here, and the rest is cancelled.
    Cancel(Failure),
}

/// What a stream noticed while it was polled.
#[derive(Default)]
pub(super) struct Noticed {
    /// The head of the response came.
    pub(super) head: bool,
    /// Bytes of the head and of the body.
    pub(super) bytes: usize,
}

impl<T> Stream<T> {
    pub(super) fn new(number: u64, ticket: T, pace: Pace, response: ResponseFuture) -> Self {
        let phase = Phase::Head { response, interim: 0, polled: false };
        Self { number, ticket, pace, phase }
    }

    /// Whether the head of the response is there.
    pub(super) fn begun(&self) -> bool {
        matches!(self.phase, Phase::Body(_))
    }

    /// Passes on what came. `raw` is a buffer for heads.
    pub(super) fn advance<X>(
        &mut self,
        exchange: &mut X,
        raw: &mut Vec<u8>,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> (Step, Noticed)
    where
        X: Exchange<Ticket = T>,
    {
        let mut noticed = Noticed::default();
        let step = match self.head(exchange, raw, cx, &mut noticed) {
            Ok(()) => self.body(exchange, cx, &mut noticed),
            Err(step) => step,
        };
        if matches!(step, Step::Wait) && noticed.bytes > 0 {
            self.pace.received(noticed.bytes, false, true, true, now);
        }
        (step, noticed)
    }

    /// Ok when the head is there.
    fn head<X>(
        &mut self,
        exchange: &mut X,
        raw: &mut Vec<u8>,
        cx: &mut Context<'_>,
        noticed: &mut Noticed,
    ) -> Result<(), Step>
    where
        X: Exchange<Ticket = T>,
    {
        let Phase::Head { response, interim, polled } = &mut self.phase else { return Ok(()) };
        let (parts, stream) = match Pin::new(response).poll(cx) {
            Poll::Ready(Ok(response)) => response.into_parts(),
            Poll::Ready(Err(error)) => {
                return Err(Step::Lost(loss::of_stream(&error, false, false)));
            }
            Poll::Pending => {
                // The library passes over interim responses. Those that came together count as
                // one here; the meter bounds how many can.
                if std::mem::replace(polled, true) {
                    *interim += 1;
                }
                if *interim > INTERIM_RESPONSES {
                    let detail = "the server sends interim responses without end";
                    let failure = Failure::new(FailureClass::Protocol, detail);
                    return Err(Step::Cancel(failure));
                }
                return Err(Step::Wait);
            }
        };
        let head = response::read(&parts, stream.is_end_stream(), raw).map_err(Step::Cancel)?;
        noticed.head = true;
        noticed.bytes += raw.len();
        let take = match exchange.head(&mut self.ticket, &head, raw) {
            Interest::Take => true,
            Interest::Discard => false,
            Interest::Refuse(failure) => return Err(Step::Cancel(failure)),
        };
        if !take && matches!(head.framing, Framing::Length(length) if length > DISCARD_BYTES) {
            return Err(Step::Enough);
        }
        let framing = head.framing;
        self.phase = Phase::Body(Body { stream, framing, len: 0, take, begun: false });
        Ok(())
    }

    fn body<X>(&mut self, exchange: &mut X, cx: &mut Context<'_>, noticed: &mut Noticed) -> Step
    where
        X: Exchange<Ticket = T>,
    {
        let Phase::Body(body) = &mut self.phase else { return Step::Wait };
        // The first piece waits for the second, so that an only one can be passed on as such.
        let mut first: Option<Bytes> = None;
        loop {
            let piece = match body.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(piece))) => piece,
                Poll::Ready(None) => {
                    return match body.take {
                        // The library vouches for Content-Length; this is the second lock.
                        _ if matches!(body.framing, Framing::Length(len) if len != body.len) => {
                            let detail = "the body is not as long as Content-Length says";
                            let failure = Failure::new(FailureClass::Truncated, detail);
                            Step::Lost(Verdict::Failed(failure))
                        }
                        true if !body.begun => Step::Whole(first.unwrap_or_default()),
                        _ => Step::End,
                    };
                }
                Poll::Ready(Some(Err(error))) => {
                    let measured = matches!(body.framing, Framing::Length(_));
                    return Step::Lost(loss::of_stream(&error, true, measured));
                }
                Poll::Pending => {
                    return match first.map(|piece| body.pass(exchange, &mut self.ticket, &piece)) {
                        Some(Err(failure)) => Step::Cancel(failure),
                        _ => Step::Wait,
                    };
                }
            };
            if piece.is_empty() {
                continue;
            }
            noticed.bytes += piece.len();
            body.len += piece.len() as u64;
            if body.framing == Framing::Empty {
                let detail = "a response that has no body has one";
                return Step::Cancel(Failure::new(FailureClass::Protocol, detail));
            }
            if !body.take {
                if body.len > DISCARD_BYTES {
                    return Step::Enough;
                }
                body.release(piece.len());
            } else if !body.begun && first.is_none() {
                first = Some(piece);
            } else {
                for piece in first.take().into_iter().chain([piece]) {
                    if let Err(failure) = body.pass(exchange, &mut self.ticket, &piece) {
                        return Step::Cancel(failure);
                    }
                }
            }
        }
    }
}

impl Body {
    fn pass<X: Exchange>(
        &mut self,
        exchange: &mut X,
        ticket: &mut X::Ticket,
        piece: &[u8],
    ) -> Result<(), Failure> {
        self.begun = true;
        exchange.data(ticket, piece)?;
        self.release(piece.len());
        Ok(())
    }

    /// Lets the server send so many bytes more. The whole of a small body need not be released:
    /// that comes with the end of its stream.
    fn release(&mut self, len: usize) {
        // It fails where more is released than came, which cannot be.
        let released = self.stream.flow_control().release_capacity(len);
        debug_assert!(released.is_ok(), "{released:?}");
    }
}
