//! A task on its way, with what went wrong so far; and what a request is sent for.

use super::access::Access;
use super::origin::Fault;
use std::rc::Rc;
use std::time::Instant;
use windrow_model::{Failure, Lease, Ordinal};

/// A task that is out: being fetched, or waiting for its next attempt.
#[derive(Debug)]
pub struct Ticket {
    pub(super) lease: Rc<Lease>,
    pub(super) index: u32,
    /// Of those few that failed at least once.
    pub(super) trouble: Option<Box<Trouble>>,
}

/// What went wrong with a task so far.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Attempts that failed, whoever was to blame.
    pub(super) tries: u32,
    /// Those that were the object's own fault.
    pub(super) counted: u32,
    /// Those of which nobody knows yet whose fault they were.
    pub(super) unproven: u32,
    /// When the first attempt failed, outages left out.
    pub(super) since: Option<Instant>,
    /// The last attempt.
    pub(super) sent: Instant,
    pub(super) failed: Instant,
    pub(super) failure: Failure,
    /// It was the last, if the object was to blame for it.
    pub(super) last: bool,
}

impl Ticket {
    /// The object's name.
    pub fn name(&self) -> &[u8] {
        self.lease.name(self.index as usize)
    }

    /// The object's ordinal.
    pub fn ordinal(&self) -> Ordinal {
        self.lease.ordinal(self.index as usize)
    }

    /// Attempts that failed so far, whoever was to blame.
    pub fn attempts(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.tries)
    }
}

/// What a request is sent for.
#[derive(Debug)]
pub enum Errand {
    /// To fetch an object.
    Object(Ticket),
    /// The same, while no other may be sent: the origin is down, or was a moment ago.
    Trial(Ticket),
    /// Only to see whether the origin answers, by an object that was fetched before.
    Reference(Box<[u8]>),
}

impl Errand {
    /// The name of the object to ask for.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Object(ticket) | Self::Trial(ticket) => ticket.name(),
            Self::Reference(name) => name,
        }
    }

    /// Whether it is sent while others are held.
    pub fn is_probe(&self) -> bool {
        !matches!(self, Self::Object(_))
    }
}

impl Trouble {
    pub(super) fn new(failure: Failure, sent: Instant, failed: Instant) -> Box<Self> {
        let (tries, counted, unproven) = (0, 0, 0);
        let (since, last) = (None, false);
        Box::new(Self { tries, counted, unproven, since, sent, failed, failure, last })
    }

    /// Puts down whose fault the failures were of which that was not known, if it is by now.
    pub(super) fn settle(&mut self, access: &Access) {
        if self.unproven == 0 {
            return;
        }
        match access.fault(self.sent, self.failed) {
            Fault::Unknown => {}
            Fault::Object => self.counted += std::mem::take(&mut self.unproven),
            Fault::Origin => (self.unproven, self.since, self.last) = (0, None, false),
        }
    }
}
