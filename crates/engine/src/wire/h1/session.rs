//! One connection's requests and the responses that answer them, in order.

use super::decoder::{Decoder, Event};
use super::head::{Framing, Head, Malformed};
use std::collections::VecDeque;
use windrow_model::limits::DISCARD_BYTES;
use windrow_model::{Failure, FailureClass};

/// What becomes of a response: the seam between the wire and whoever asked.
pub trait Exchange {
    /// Stands for a request that was sent.
    type Ticket;

    /// The head of the response to `ticket`; `raw` are its bytes. Says what to do with the body.
    fn head(&mut self, ticket: &mut Self::Ticket, head: &Head, raw: &[u8]) -> Interest;

    /// The body, all of it: after [`Interest::Take`], where the bytes came at once.
    fn whole(&mut self, ticket: Self::Ticket, body: &[u8]);

    /// A part of the body, after [`Interest::Take`].
    ///
    /// # Errors
    /// A failure ends the attempt and closes the connection.
    fn data(&mut self, ticket: &mut Self::Ticket, bytes: &[u8]) -> Result<(), Failure>;

    /// The body that came in parts, or was discarded, is complete.
    fn end(&mut self, ticket: Self::Ticket);

    /// There will be no response on this connection.
    fn lost(&mut self, ticket: Self::Ticket, loss: Loss);
}

/// What to do with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Pass it on.
    Take,
    /// Read it only to keep the connection.
    Discard,
    /// Do not read it: the attempt failed, the connection is closed.
    Refuse(Failure),
}

/// Why a request got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The attempt failed, and counts.
    Failed(Failure),
    /// The server never came to this request; it may be sent again at no cost.
    Unanswered,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It closed between two responses, as servers do with idle connections.
    Closed,
    /// The server announced it, or the rest of a body is not worth reading.
    Announced,
    /// The response that was under way, or awaited, failed.
    Failed(Failure),
}

/// Matches responses to requests on one connection.
#[derive(Debug)]
pub struct Session<T> {
    decoder: Decoder,
    /// Requests without a complete response, the oldest in front.
    waiting: VecDeque<T>,
    /// Whether the body under way is passed on (or discarded).
    take: bool,
    /// Bytes of it that were discarded.
    discarded: u64,
    /// Responses that were complete.
    answered: u64,
    /// The response under way, or just read, is the last of this connection.
    last: bool,
}

impl<T> Session<T> {
    /// A session for a new connection that will carry up to `depth` requests at once.
    pub fn new(depth: usize) -> Self {
        Self {
            decoder: Decoder::default(),
            waiting: VecDeque::with_capacity(depth),
            take: false,
            discarded: 0,
            answered: 0,
            last: false,
        }
    }

    /// How many requests wait for their response.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many responses were complete.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Whether no more requests may be sent: the server will close, or the caller must.
    pub fn closing(&self) -> bool {
        self.last
    }

    /// Notes that a request was rendered into the stream of this connection.
    pub fn sent(&mut self, ticket: T) {
        debug_assert!(!self.last, "a closing connection takes no request");
        self.waiting.push_back(ticket);
    }

    /// Notes that a `HEAD` was sent, which is answered without a body. To be called where nothing else is
    /// waited for.
    pub fn sent_head(&mut self, ticket: T) {
        debug_assert!(self.waiting.is_empty(), "the response in front is another one's");
        self.decoder.expect_no_body();
        self.sent(ticket);
    }

    /// Reads responses off `input`; says how many bytes were taken.
    ///
    /// # Errors
    /// Why the connection is to be closed and the session [dissolved](Session::dissolve).
    pub fn receive<X>(&mut self, input: &[u8], exchange: &mut X) -> Result<usize, Broken>
    where
        X: Exchange<Ticket = T>,
    {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let Some(ticket) = self.waiting.front_mut() else {
                return match rest {
                    [] => Ok(used),
                    _ => Err(broken(Malformed::Extra)),
                };
            };
            let (len, event) = self.decoder.decode(rest).map_err(broken)?;
            used += len;
            match event {
                Event::More => return Ok(used),
                Event::Interim => {}
                Event::Head(head) => {
                    let interest = exchange.head(ticket, &head, &rest[..len]);
                    if let Interest::Refuse(failure) = interest {
                        return Err(Broken::Failed(failure));
                    }
                    self.take = interest == Interest::Take;
                    self.discarded = 0;
                    self.last = !head.keep_alive;
                    if let Some(body) = self.decoder.take_whole(&input[used..]) {
                        used += body.len();
                        let take = self.take;
                        self.answer(|ticket| match take {
                            true => exchange.whole(ticket, body),
                            false => exchange.end(ticket),
                        })?;
                    } else if !self.take && too_long(head.framing) {
                        self.last = true;
                        self.answer(|ticket| exchange.end(ticket))?;
                    }
                }
                Event::Data(data) if self.take => {
                    exchange.data(ticket, data).map_err(Broken::Failed)?;
                }
                Event::Data(data) => {
                    self.discarded += data.len() as u64;
                    if self.discarded > DISCARD_BYTES {
                        self.last = true;
                        self.answer(|ticket| exchange.end(ticket))?;
                    }
                }
                Event::End => self.answer(|ticket| exchange.end(ticket))?,
            }
        }
    }

    /// Settles the response in front.
    fn answer(&mut self, settle: impl FnOnce(T)) -> Result<(), Broken> {
        self.answered += 1;
        if let Some(ticket) = self.waiting.pop_front() {
            settle(ticket);
        }
        if self.last { Err(Broken::Announced) } else { Ok(()) }
    }

    /// The server closed its side, `rest` being bytes that were not taken: says what that means.
    pub fn end_of_input<X>(&mut self, rest: &[u8], exchange: &mut X) -> Broken
    where
        X: Exchange<Ticket = T>,
    {
        match self.decoder.finish(rest) {
            Ok(Event::End) => {
                self.last = true;
                match self.answer(|ticket| exchange.end(ticket)) {
                    Err(broken) => broken,
                    Ok(()) => Broken::Announced,
                }
            }
            Ok(_) => Broken::Closed,
            Err(malformed) => broken(malformed),
        }
    }

    /// Whether no byte of a response is under way, so that a reset here is a close.
    pub fn between_responses(&self) -> bool {
        self.decoder.at_start()
    }

    /// Gives back every request that got no response.
    ///
    /// The one exception is returned: where a connection that had worked closed between two
    /// responses, the request in front may never have reached the server (the keep-alive race,
    /// RFC 9112 section 9.6). It is to be sent first on a fresh connection, where the same cannot
    /// happen again.
    pub fn dissolve<X>(mut self, why: Broken, exchange: &mut X) -> Option<T>
    where
        X: Exchange<Ticket = T>,
    {
        let mut raced = None;
        if why != Broken::Announced
            && let Some(first) = self.waiting.pop_front()
        {
            match why {
                Broken::Closed if self.answered > 0 => raced = Some(first),
                Broken::Failed(failure) => exchange.lost(first, Loss::Failed(failure)),
                _ => {
                    let detail = "the server closed the connection without an answer";
                    let failure = Failure::new(FailureClass::Reset, detail);
                    exchange.lost(first, Loss::Failed(failure));
                }
            }
        }
        // The newest first: whoever puts them back at the front of a queue keeps their order.
        for ticket in self.waiting.into_iter().rev() {
            exchange.lost(ticket, Loss::Unanswered);
        }
        raced
    }
}

fn too_long(framing: Framing) -> bool {
    matches!(framing, Framing::Length(length) if length > DISCARD_BYTES)
}

fn broken(malformed: Malformed) -> Broken {
    let class = match malformed {
        Malformed::Truncated => FailureClass::Truncated,
        _ => FailureClass::Protocol,
    };
    Broken::Failed(Failure::new(class, malformed.detail()))
}
