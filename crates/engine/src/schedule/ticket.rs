//! A task on its way, with what went wrong so far; and what a request is sent for.

use super::access::Access;
use super::origin::Fault;
use std::rc::Rc;
use std::time::Instant;
use windrow_model::task::{Details, Expected};
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
    /// Where a server sent this task to.
    pub(super) detour: Option<Detour>,
}

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detour {
    /// Path and query, percent-encoded.
    pub target: Box<[u8]>,
    /// Whether it has left the origin that the source named: what is meant for that origin (headers
    /// of the user's, credentials) is not sent any more, not even back there.
    pub bare: bool,
    /// Redirects so far.
    pub hops: u32,
}

/// What is asked for to get an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'t> {
    /// The source's one server has it, at an address made of this name.
    Name(&'t [u8]),
    /// Path and query.
    Target(&'t [u8]),
    /// The same, where a server sent the request to.
    Detour(&'t Detour),
}

impl Ticket {
    /// The object's name.
    pub fn name(&self) -> &[u8] {
        self.lease.name(self.index as usize)
    }

    /// What is asked for.
    pub fn address(&self) -> Address<'_> {
        if let Some(detour) = self.trouble.as_ref().and_then(|trouble| trouble.detour.as_ref()) {
            return Address::Detour(detour);
        }
        match self.lease.details(self.index as usize) {
            None => Address::Name(self.name()),
            Some((details, at)) => Address::Target(details.targets.get(at).unwrap_or_default()),
        }
    }

    /// What the source says of the object, beside its name.
    pub fn details(&self) -> Option<(&Details, usize)> {
        self.lease.details(self.index as usize)
    }

    /// What the source says of its body.
    pub fn expected(&self) -> Option<Expected> {
        self.lease.expected(self.index as usize)
    }

    /// The last second (since 1970) at which it may be asked for; 0 for any.
    pub fn expiry(&self) -> u32 {
        let expiry = |(details, at): (&Details, usize)| details.expiry.get(at).copied();
        self.details().and_then(expiry).unwrap_or(0)
    }

    /// Redirects so far.
    pub fn hops(&self) -> u32 {
        let detour = self.trouble.as_ref().and_then(|trouble| trouble.detour.as_ref());
        detour.map_or(0, |detour| detour.hops)
    }

    /// A server sent it on.
    pub fn send_to(&mut self, detour: Detour, now: Instant) {
        const REDIRECTED: Failure = Failure {
            class: windrow_model::FailureClass::Redirect,
            status: 0,
            detail: "the server redirects",
        };
        let trouble = self.trouble.get_or_insert_with(|| Trouble::new(REDIRECTED, now, now));
        // What went wrong on the way here does not count against what is ahead.
        (trouble.counted, trouble.unproven, trouble.since, trouble.last) = (0, 0, None, false);
        trouble.tries = trouble.tries.saturating_sub(1);
        trouble.detour = Some(detour);
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
    /// What to ask for; of a reference it is told by the caller whether it is a name.
    pub fn ticket(&self) -> Result<&Ticket, &[u8]> {
        match self {
            Self::Object(ticket) | Self::Trial(ticket) => Ok(ticket),
            Self::Reference(reference) => Err(reference),
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
        let (since, last, detour) = (None, false, None);
        Box::new(Self { tries, counted, unproven, since, sent, failed, failure, last, detour })
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
