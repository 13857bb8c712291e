//! Gives out numbered requests and writes down what becomes of them.

use crate::wire::h1::{Exchange, Head, Interest, Loss};
use crate::wire::link::Work;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use windrow_model::{Failure, FailureClass};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Whole(u16, Vec<u8>),
    Parts(u16, Vec<u8>),
    Failed(FailureClass),
    Unanswered,
}

impl Fate {
    /// The body of a good answer, however it came.
    pub(super) fn body(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(200, body) | Self::Parts(200, body) => Some(body),
            _ => None,
        }
    }
}

/// A request under way; there is no way to have two of the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) number: usize,
    status: u16,
    body: Vec<u8>,
}

pub(super) struct Book {
    todo: VecDeque<usize>,
    /// What became of each request, attempt by attempt.
    pub(super) fates: Vec<Vec<Fate>>,
    /// The heads, as text, in the order in which they came.
    pub(super) heads: Vec<String>,
    /// Requests in the order in which they ended.
    pub(super) order: Vec<usize>,
    /// Requests that are out, and at most were.
    pub(super) out: usize,
    pub(super) most: usize,
    /// Those that were not answered, or failed, are given out again.
    pub(super) again: bool,
    /// There may be more work later.
    pub(super) open: bool,
    /// What is said to heads.
    pub(super) interest: fn(usize, &Head) -> Interest,
    /// Longest body that is taken in parts.
    pub(super) room: usize,
    pub(super) wakers: Vec<Waker>,
    now: Instant,
}

impl Book {
    pub(super) fn new(requests: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            todo: (0..requests).collect(),
            fates: vec![Vec::new(); requests],
            heads: Vec::new(),
            order: Vec::new(),
            out: 0,
            most: 0,
            again: false,
            open: false,
            interest: |_, _| Interest::Take,
            room: usize::MAX,
            wakers: Vec::new(),
            now: Instant::now(),
        }))
    }

    pub(super) fn first(book: &Rc<RefCell<Self>>) -> Option<Ticket> {
        book.borrow_mut().next((), Instant::now())
    }

    /// More work, for those who wait.
    pub(super) fn add(&mut self, requests: usize) {
        let from = self.fates.len();
        self.todo.extend(from..from + requests);
        self.fates.resize(from + requests, Vec::new());
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// There is no more work.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// The only attempt of a request.
    pub(super) fn fate(&self, number: usize) -> &Fate {
        let [fate] = &self.fates[number][..] else {
            panic!("request {number}: {:?}", self.fates[number]);
        };
        fate
    }

    /// Every ticket came back, and each request was stored once, by the last of its attempts.
    pub(super) fn check_stored(&self, body: impl Fn(usize) -> Vec<u8>) {
        assert_eq!((self.out, self.todo.len()), (0, 0));
        for (number, fates) in self.fates.iter().enumerate() {
            let (last, earlier) = fates.split_last().unwrap();
            assert_eq!(last.body(), Some(&body(number)[..]), "request {number}");
            assert!(earlier.iter().all(|fate| fate.body().is_none()), "request {number}");
        }
    }

    fn ended(&mut self, number: usize, fate: Fate) {
        self.out -= 1;
        if self.again && matches!(fate, Fate::Failed(_) | Fate::Unanswered) {
            self.todo.push_front(number);
        }
        self.order.push(number);
        self.fates[number].push(fate);
    }
}

impl Exchange for Book {
    type Ticket = Ticket;

    fn head(&mut self, ticket: &mut Ticket, head: &Head, raw: &[u8]) -> Interest {
        assert_eq!(ticket.status, 0, "a second head");
        ticket.status = head.status;
        self.heads.push(String::from_utf8(raw.to_vec()).unwrap());
        (self.interest)(ticket.number, head)
    }

    fn whole(&mut self, ticket: Ticket, body: &[u8]) {
        assert!(ticket.body.is_empty() && ticket.status != 0);
        self.ended(ticket.number, Fate::Whole(ticket.status, body.to_vec()));
    }

    fn data(&mut self, ticket: &mut Ticket, bytes: &[u8]) -> Result<(), Failure> {
        assert!(ticket.status != 0 && !bytes.is_empty());
        ticket.body.extend_from_slice(bytes);
        match ticket.body.len() > self.room {
            true => Err(Failure::new(FailureClass::TooLarge, "no room")),
            false => Ok(()),
        }
    }

    fn end(&mut self, ticket: Ticket) {
        assert_ne!(ticket.status, 0);
        self.ended(ticket.number, Fate::Parts(ticket.status, ticket.body));
    }

    fn lost(&mut self, ticket: Ticket, loss: Loss) {
        let fate = match loss {
            Loss::Failed(failure) => Fate::Failed(failure.class),
            Loss::Unanswered => Fate::Unanswered,
        };
        self.ended(ticket.number, fate);
    }
}

impl Work for Book {
    type Place = ();

    fn next(&mut self, (): (), _: Instant) -> Option<Ticket> {
        let number = self.todo.pop_front()?;
        self.out += 1;
        self.most = self.most.max(self.out);
        Some(Ticket { number, status: 0, body: Vec::new() })
    }

    fn poll_next(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        _: usize,
        _: Option<()>,
    ) -> Poll<Option<((), Ticket)>> {
        match self.next((), now) {
            Some(ticket) => Poll::Ready(Some(((), ticket))),
            None if self.out == 0 && !self.open => Poll::Ready(None),
            None => {
                self.wakers.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn paused(&mut self, _: &Ticket, _: Instant) -> bool {
        false
    }

    fn target(&mut self, (): ()) -> std::rc::Rc<crate::wire::Target> {
        unreachable!("these tests have their connections made")
    }

    fn connected(&mut self, (): (), _: bool, _: bool) {}

    fn left(&mut self, (): ()) {}

    fn admit(&mut self, _: &Ticket, _: Instant) -> bool {
        true
    }

    fn charge(&mut self, _: usize, _: Instant) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn most_at_once(&self) -> usize {
        usize::MAX
    }

    fn starved(&mut self, (): (), _: Failure) {}

    fn render(&mut self, ticket: &Ticket, out: &mut Vec<u8>) {
        let number = ticket.number;
        let rest = "Host: h.example\r\nUser-Agent: test\r\nConnection: keep-alive\r\n\r\n";
        out.extend_from_slice(format!("GET /{number} HTTP/1.1\r\n{rest}").as_bytes());
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    fn now(&self) -> Instant {
        self.now
    }
}
