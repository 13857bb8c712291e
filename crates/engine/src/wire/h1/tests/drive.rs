use super::{Broken, Decoder, Event, Exchange, Head, Interest, Loss, Malformed, Session};
use windrow_model::limits::HEAD_BYTES;
use windrow_model::{Failure, FailureClass};

/// One thing that came out of a decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Interim,
    /// The head and its bytes.
    Head(Head, Vec<u8>),
    /// The bytes of a body, never none, in one piece however they came.
    Body(Vec<u8>),
    End,
}

/// All that came out of a decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) items: Vec<Item>,
    pub(crate) end: Result<(), Malformed>,
}

impl Decoded {
    /// Responses that were complete: status and body.
    pub(crate) fn responses(&self) -> Vec<(u16, Vec<u8>)> {
        let mut responses = Vec::new();
        let mut status = 0;
        let mut body = Vec::new();
        for item in &self.items {
            match item {
                Item::Interim => {}
                Item::Head(head, _) => status = head.status,
                Item::Body(bytes) => body.clone_from(bytes),
                Item::End => responses.push((status, std::mem::take(&mut body))),
            }
        }
        responses
    }

    /// The same for every split: what came out, and whether it ended well. Which fault is found
    /// first may differ where there are several.
    pub(crate) fn essence(&self) -> (&[Item], bool) {
        (&self.items, self.end.is_ok())
    }

    fn body(&mut self, bytes: &[u8]) {
        match self.items.last_mut() {
            _ if bytes.is_empty() => {}
            Some(Item::Body(body)) => body.extend_from_slice(bytes),
            _ => self.items.push(Item::Body(bytes.to_vec())),
        }
    }
}

/// Feeds a decoder piece by piece, then says that the connection ended. With `at_once`, bodies are
/// taken by [`Decoder::take_whole`] where they are there.
pub(crate) fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, at_once: bool) -> Decoded {
    let mut decoder = Decoder::default();
    let mut decoded = Decoded { items: Vec::new(), end: Ok(()) };
    let mut held = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut used = 0;
        loop {
            let rest = &held[used..];
            let (len, event) = match decoder.decode(rest) {
                Ok(read) => read,
                Err(malformed) => {
                    decoded.end = Err(malformed);
                    return decoded;
                }
            };
            assert!(len <= rest.len(), "takes more than there is");
            assert!(len > 0 || matches!(event, Event::More | Event::End), "never moves on");
            used += len;
            match event {
                Event::More => break,
                Event::Interim => decoded.items.push(Item::Interim),
                Event::Data(data) => {
                    assert!(!data.is_empty(), "data without a byte");
                    decoded.body(data);
                }
                Event::End => decoded.items.push(Item::End),
                Event::Head(head) => {
                    decoded.items.push(Item::Head(head, rest[..len].to_vec()));
                    if at_once && let Some(body) = decoder.take_whole(&held[used..]) {
                        used += body.len();
                        decoded.body(body);
                        decoded.items.push(Item::End);
                    }
                }
            }
        }
        held.drain(..used);
        assert!(held.len() <= HEAD_BYTES, "asks to keep {} bytes", held.len());
    }
    match decoder.finish(&held) {
        Ok(Event::End) => decoded.items.push(Item::End),
        Ok(event) => assert_eq!(event, Event::More),
        Err(malformed) => decoded.end = Err(malformed),
    }
    decoded
}

/// Cuts `input` into pieces; `at` are places in it, in any order.
pub(crate) fn split<'a>(input: &'a [u8], at: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = at.iter().map(|at| at % (input.len() + 1)).collect();
    at.sort_unstable();
    let mut pieces = Vec::with_capacity(at.len() + 1);
    let mut from = 0;
    for to in at.into_iter().chain([input.len()]) {
        // An empty read would be the end of the connection.
        if from < to {
            pieces.push(&input[from..to]);
            from = to;
        }
    }
    pieces
}

/// How a ticket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Status and body, or as much of a body as was asked for.
    Answered(u16, Vec<u8>),
    Lost(Loss),
}

/// A request; there is no way to have two of the same.
#[derive(Debug)]
pub(crate) struct Ticket(usize);

/// Writes down what a session does to its tickets.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// What is said to the head of each ticket; of the others everything is taken.
    pub(crate) interests: Vec<Interest>,
    /// Tickets in the order in which they ended, each with its end.
    pub(crate) fates: Vec<(usize, Fate)>,
    /// Longest body that is taken in parts.
    pub(crate) room: Option<usize>,
    /// The heads, as bytes.
    pub(crate) heads: Vec<Vec<u8>>,
    /// The response under way: its ticket, status, and body so far.
    pub(crate) under_way: Option<(usize, u16, Vec<u8>)>,
}

impl Recorder {
    fn answered(&mut self, ticket: usize, more: &[u8]) {
        let (number, status, mut body) = self.under_way.take().expect("a head came first");
        assert_eq!(number, ticket, "the response to another request");
        body.extend_from_slice(more);
        self.fates.push((number, Fate::Answered(status, body)));
    }
}

impl Exchange for Recorder {
    type Ticket = Ticket;

    fn head(&mut self, ticket: &mut Ticket, head: &Head, raw: &[u8]) -> Interest {
        assert!(self.under_way.is_none(), "a head inside a response");
        self.under_way = Some((ticket.0, head.status, Vec::new()));
        self.heads.push(raw.to_vec());
        self.interests.get(ticket.0).copied().unwrap_or(Interest::Take)
    }

    fn whole(&mut self, ticket: Ticket, body: &[u8]) {
        self.answered(ticket.0, body);
    }

    fn data(&mut self, ticket: &mut Ticket, bytes: &[u8]) -> Result<(), Failure> {
        let (number, _, body) = self.under_way.as_mut().expect("a head came first");
        assert_eq!(*number, ticket.0, "the body of another request");
        body.extend_from_slice(bytes);
        match self.room {
            Some(room) if body.len() > room => {
                self.under_way = None;
                Err(Failure::new(FailureClass::TooLarge, "no room"))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, ticket: Ticket) {
        self.answered(ticket.0, b"");
    }

    fn lost(&mut self, ticket: Ticket, loss: Loss) {
        self.fates.push((ticket.0, Fate::Lost(loss)));
    }
}

/// What came of one connection.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) recorder: Recorder,
    /// Requests that were sent, numbered from 0.
    pub(crate) sent: usize,
    pub(crate) raced: Option<usize>,
    pub(crate) why: Broken,
}

/// Plays one connection: before each piece is received, requests are sent until there are as many
/// as stand beside it. Ends with the server's close, or with its reset.
pub(crate) fn converse<'a>(
    pieces: impl IntoIterator<Item = (usize, &'a [u8])>,
    interests: Vec<Interest>,
    reset: bool,
) -> Talk {
    record(pieces, Recorder { interests, ..Recorder::default() }, reset)
}

/// The same with a recorder that was made ready.
pub(crate) fn record<'a>(
    pieces: impl IntoIterator<Item = (usize, &'a [u8])>,
    mut recorder: Recorder,
    reset: bool,
) -> Talk {
    let mut session = Session::new(4);
    let mut held = Vec::new();
    let mut sent = 0;
    let mut broken = None;
    for (requests, piece) in pieces {
        while sent < requests && !session.closing() {
            session.sent(Ticket(sent));
            sent += 1;
        }
        held.extend_from_slice(piece);
        match session.receive(&held, &mut recorder) {
            Ok(used) => drop(held.drain(..used)),
            Err(why) => {
                broken = Some(why);
                break;
            }
        }
        let ended = recorder.fates.len();
        assert_eq!(session.waiting(), sent - ended, "tickets are missing");
    }
    let why = broken.unwrap_or_else(|| {
        if !reset {
            session.end_of_input(&held, &mut recorder)
        } else if session.between_responses() && held.is_empty() {
            Broken::Closed
        } else {
            Broken::Failed(Failure::new(FailureClass::Reset, "reset"))
        }
    });
    let raced = session.dissolve(why, &mut recorder).map(|ticket| ticket.0);
    Talk { recorder, sent, raced, why }
}

impl Talk {
    /// Tickets that were answered.
    pub(crate) fn answered(&self) -> usize {
        let fates = self.recorder.fates.iter();
        fates.filter(|(_, fate)| matches!(fate, Fate::Answered(..))).count()
    }

    /// Checks what holds whatever the server sends: every ticket ends once; the answered ones come
    /// first and in order; one attempt fails at most, the next in line; the others were not
    /// answered, and come back newest first.
    pub(crate) fn check(&self) {
        let answered = self.answered();
        let fates = &self.recorder.fates;
        for (at, (number, fate)) in fates[..answered].iter().enumerate() {
            assert!(*number == at && matches!(fate, Fate::Answered(..)), "{self:?}");
        }
        let mut next = answered;
        if let Some(raced) = self.raced {
            assert!(raced == next && answered > 0 && self.why == Broken::Closed, "{self:?}");
            next += 1;
        }
        let mut lost = &fates[answered..];
        if let Some(((number, Fate::Lost(Loss::Failed(_))), others)) = lost.split_first() {
            assert!(*number == next && self.raced.is_none(), "{self:?}");
            next += 1;
            lost = others;
        }
        let unanswered = (next..self.sent).rev();
        assert!(
            unanswered
                .map(|number| (number, Fate::Lost(Loss::Unanswered)))
                .eq(lost.iter().cloned()),
            "{self:?}"
        );
    }
}
