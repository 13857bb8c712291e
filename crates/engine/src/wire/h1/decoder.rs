//! From the bytes of a connection to heads and bodies.

use super::chunked::{Chunked, Piece};
use super::head::{self, Framing, Head, Malformed, Parsed};
use windrow_model::limits::{HEAD_BYTES, INTERIM_RESPONSES};

/// One thing that the bytes at the front of the input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing whole; call again when there are more bytes.
    More,
    /// The head of an interim (1xx) response, which has no body; another response follows.
    Interim,
    /// The head of a final response.
    Head(Head),
    /// Bytes of the body, never none.
    Data(&'a [u8]),
    /// The body is complete, and with it the response.
    End,
}

/// Decodes the responses of one connection, one after the other.
///
/// The caller keeps the bytes: it shows what it has, takes away as many as [`Decoder::decode`]
/// says, and shows the rest again together with what has come since. However the bytes are split,
/// the same events come out.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Length of an unfinished head that holds no empty line yet: so much of it need not be looked
    /// at again, and a head that comes byte by byte costs no more than one that comes at once.
    searched: usize,
    interim: u32,
    /// The next final response has no body, whatever its head says.
    bodiless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Head, searched: 0, interim: 0, bodiless: false }
    }
}

impl Decoder {
    /// Whether the decoder stands between two responses, with no byte of the next one taken.
    pub fn at_start(&self) -> bool {
        self.state == State::Head && self.interim == 0
    }

    /// The next response answers a `HEAD`: it has no body, whatever its head says of one (RFC 9112
    /// section 6.3).
    pub fn expect_no_body(&mut self) {
        self.bodiless = true;
    }

    /// Reads one event off the front of `input`, and says how many bytes it takes. With
    /// [`Event::More`] bytes may be taken too.
    ///
    /// # Errors
    /// [`Malformed`]; the decoder is of no use after that.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Malformed> {
        match self.state {
            State::Head => self.decode_head(input),
            State::Length(0) => {
                self.state = State::Head;
                Ok((0, Event::End))
            }
            State::Length(left) => {
                if input.is_empty() {
                    return Ok((0, Event::More));
                }
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                self.state = State::Length(left - take as u64);
                Ok((take, Event::Data(&input[..take])))
            }
            State::UntilClose => match input {
                [] => Ok((0, Event::More)),
                _ => Ok((input.len(), Event::Data(input))),
            },
            State::Chunked(mut chunked) => {
                let mut used = 0;
                let event = loop {
                    let (len, piece) = chunked.step(&input[used..])?;
                    used += len;
                    match piece {
                        Piece::Framing => {}
                        Piece::More => break Event::More,
                        Piece::Data(data) => break Event::Data(data),
                        Piece::End => break Event::End,
                    }
                };
                self.state = match event {
                    Event::End => State::Head,
                    _ => State::Chunked(chunked),
                };
                Ok((used, event))
            }
        }
    }

    fn decode_head<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), Malformed> {
        if input.is_empty() || (self.searched > 0 && !self.may_be_whole(input)) {
            if input.len() > HEAD_BYTES {
                return Err(Malformed::HeadTooLarge);
            }
            self.searched = input.len();
            return Ok((0, Event::More));
        }
        match head::parse(input)? {
            Parsed::Partial => {
                self.searched = input.len();
                Ok((0, Event::More))
            }
            Parsed::Interim(len) => {
                self.interim += 1;
                if self.interim > INTERIM_RESPONSES {
                    return Err(Malformed::Interim);
                }
                self.searched = 0;
                Ok((len, Event::Interim))
            }
            Parsed::Final(len, mut head) => {
                self.searched = 0;
                self.interim = 0;
                if std::mem::take(&mut self.bodiless) {
                    head.framing = Framing::Empty;
                }
                self.state = match head.framing {
                    Framing::Empty => State::Length(0),
                    Framing::Length(length) => State::Length(length),
                    Framing::Chunked => State::Chunked(Chunked::new()),
                    Framing::UntilClose => State::UntilClose,
                };
                Ok((len, Event::Head(head)))
            }
        }
    }

    /// Whether an empty line ends in the part of a head that was not searched yet.
    fn may_be_whole(&self, head: &[u8]) -> bool {
        let from = self.searched.saturating_sub(3);
        let mut rest = head.get(from..).unwrap_or_default();
        while let Some(at) = memchr::memchr(b'\n', rest) {
            rest = &rest[at + 1..];
            if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
                return true;
            }
        }
        false
    }

    /// Takes the whole body at once, when the head that was just decoded gave its length and
    /// `input` holds all of it: the way of most small objects, without a state between.
    pub fn take_whole<'a>(&mut self, input: &'a [u8]) -> Option<&'a [u8]> {
        let State::Length(length) = self.state else { return None };
        let body = input.get(..usize::try_from(length).ok()?)?;
        self.state = State::Head;
        Some(body)
    }

    /// Says what it means that the server closed the connection here, `rest` being the bytes that
    /// were not taken.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] or worse where a response was under way.
    pub fn finish(&mut self, rest: &[u8]) -> Result<Event<'static>, Malformed> {
        match self.state {
            State::UntilClose => {
                self.state = State::Head;
                Ok(Event::End)
            }
            State::Head if self.at_start() && rest.is_empty() => Ok(Event::More),
            State::Head => {
                head::parse(rest)?;
                Err(Malformed::Truncated)
            }
            State::Length(_) | State::Chunked(_) => Err(Malformed::Truncated),
        }
    }
}
