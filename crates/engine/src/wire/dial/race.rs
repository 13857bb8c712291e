//! Which of a host's addresses is connected: several in turn, a little apart (happy eyeballs,
//! RFC 8305).

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use windrow_model::limits::{ADDRESS_FAILED, HOST_ADDRESSES};
use windrow_model::{Failure, FailureClass};

/// What is known of the addresses of one host, as one core connected to them.
#[derive(Debug, Default)]
pub(in crate::wire) struct Experience {
    worked: Option<IpAddr>,
    /// At most [`HOST_ADDRESSES`].
    failed: Vec<(IpAddr, Instant)>,
}

impl Experience {
    /// The order in which addresses are to be tried at `now`: the one that worked last, those that
    /// nothing speaks against, those that failed lately; the longest ago first.
    pub(in crate::wire) fn order(&self, addresses: &[IpAddr], now: Instant) -> Vec<IpAddr> {
        let failed = |ip: &IpAddr| {
            let (_, at) = self.failed.iter().find(|(known, _)| known == ip)?;
            (now.saturating_duration_since(*at) < ADDRESS_FAILED).then_some(*at)
        };
        let mut order = addresses.to_vec();
        order.sort_by_key(|ip| (failed(ip), self.worked != Some(*ip)));
        order
    }

    /// An address was connected.
    pub(in crate::wire) fn worked(&mut self, ip: IpAddr) {
        self.worked = Some(ip);
        self.failed.retain(|(known, _)| *known != ip);
    }

    /// An address refused, or did not answer in the time that others had.
    pub(in crate::wire) fn failed(&mut self, ip: IpAddr, now: Instant) {
        self.failed.retain(|(known, _)| *known != ip);
        if self.failed.len() == HOST_ADDRESSES {
            self.failed.remove(0);
        }
        self.failed.push((ip, now));
        if self.worked == Some(ip) {
            self.worked = None;
        }
    }
}

/// The addresses of both families by turns (RFC 8305 section 4).
pub(super) fn interleave(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut all = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

/// What came of an attempt, or did not come of it in the time that others had.
#[derive(Debug)]
pub(in crate::wire) enum Event {
    /// It failed.
    Failed(IpAddr, io::Error),
    /// It was still waited for when another won.
    Slow(IpAddr),
}

/// Tries to `connect` each address, the next one when the one before failed or has no result after
/// `stagger`. Gives what the first success gave and its address; `None` when all failed. What
/// becomes of the others is told to `tell`, which can end it by giving `true`.
///
/// # Cancel
/// Dropping it drops every attempt.
pub(in crate::wire) async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<IpAddr>,
    stagger: Duration,
    mut connect: impl FnMut(IpAddr) -> F,
    mut tell: impl FnMut(Event) -> bool,
) -> Option<(T, IpAddr)> {
    let mut waiting = addresses.into_iter().peekable();
    let mut attempts: Vec<(IpAddr, Pin<Box<F>>)> = Vec::new();
    loop {
        if let Some(ip) = waiting.next() {
            attempts.push((ip, Box::pin(connect(ip))));
        } else if attempts.is_empty() {
            return None;
        }
        let more = waiting.peek().is_some();
        let mut timer = pin!(sleep(stagger));
        let step = poll_fn(|cx| {
            for at in 0..attempts.len() {
                if let Poll::Ready(result) = attempts[at].1.as_mut().poll(cx) {
                    let (ip, _) = attempts.swap_remove(at);
                    return Poll::Ready(Some((ip, result)));
                }
            }
            match more && timer.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        });
        match step.await {
            None => {}
            Some((ip, Ok(won))) => {
                for (slow, _) in attempts {
                    tell(Event::Slow(slow));
                }
                return Some((won, ip));
            }
            Some((ip, Err(error))) => {
                let over = tell(Event::Failed(ip, error));
                if over {
                    return None;
                }
            }
        }
    }
}

/// Failures of several addresses as the one that is reported: the last of the servers', unless all
/// were for want of a local port.
#[derive(Debug, Default)]
pub(in crate::wire) struct Blame {
    failure: Option<Failure>,
    portless: Option<Failure>,
}

impl Blame {
    /// An address failed. `true` if no other is worth trying, since nothing is left here to try it
    /// with.
    pub(in crate::wire) fn failed(&mut self, ip: IpAddr, error: &io::Error) -> bool {
        let failure = Failure::new(FailureClass::Connect, reason(error));
        // Where IPv6 is switched off its addresses fail in the way in which any does that finds no
        // local port.
        if error.kind() == io::ErrorKind::AddrNotAvailable && ip.is_ipv6() {
            self.portless = Some(failure);
            return false;
        }
        if is_starved(error) {
            self.portless = Some(failure);
            self.failure = None;
            return true;
        }
        self.failure = Some(failure);
        false
    }

    /// An address was not tried.
    pub(in crate::wire) fn refused(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// The failure, or that this process starves.
    pub(in crate::wire) fn verdict(self) -> Result<Failure, Failure> {
        match (self.failure, self.portless) {
            (Some(failure), _) => Ok(failure),
            (None, Some(portless)) => Err(portless),
            (None, None) => Ok(Failure::new(FailureClass::Connect, "the connection timed out")),
        }
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL.
pub(super) fn is_starved(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12 | 99))
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "the connection timed out",
        io::ErrorKind::NetworkUnreachable => "the network is unreachable",
        io::ErrorKind::HostUnreachable => "the host is unreachable",
        io::ErrorKind::AddrNotAvailable => "no local port is left",
        _ => match error.raw_os_error() {
            Some(23 | 24) => "no file descriptor is left",
            _ => "cannot connect",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::net::Ipv4Addr;

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
    }

    #[test]
    fn families_take_turns() {
        let v6 = |last: u16| IpAddr::V6(std::net::Ipv6Addr::from_bits(last.into()));
        let all = interleave(vec![v6(1)], vec![ip(1), ip(2)]);
        assert_eq!(all, [v6(1), ip(1), ip(2)]);
        assert_eq!(interleave(vec![], vec![ip(1)]), [ip(1)]);
        assert_eq!(interleave(vec![v6(1), v6(2)], vec![ip(1)]), [v6(1), ip(1), v6(2)]);
    }

    #[test]
    fn what_worked_is_first_and_what_failed_is_last() {
        let all = [ip(1), ip(2), ip(3), ip(4)];
        let now = Instant::now();
        let mut experience = Experience::default();
        assert_eq!(experience.order(&all, now), all);
        experience.worked(ip(3));
        assert_eq!(experience.order(&all, now), [ip(3), ip(1), ip(2), ip(4)]);
        experience.failed(ip(1), now);
        let later = now + Duration::from_secs(1);
        experience.failed(ip(3), later);
        assert_eq!(experience.order(&all, later), [ip(2), ip(4), ip(1), ip(3)]);
        experience.worked(ip(1));
        assert_eq!(experience.order(&all, later), [ip(1), ip(2), ip(4), ip(3)]);
        assert_eq!(experience.order(&all, later + ADDRESS_FAILED), [ip(1), ip(2), ip(3), ip(4)]);
        for last in 0..200 {
            experience.failed(ip(last), now);
        }
        assert_eq!(experience.failed.len(), HOST_ADDRESSES);
    }

    /// Runs a race whose attempts end as `outcomes` say; `None` never ends. Gives the winner, and
    /// what was begun and lost.
    fn run(outcomes: &[Option<bool>], stagger: Duration) -> (Option<IpAddr>, Vec<IpAddr>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let begun = RefCell::new(Vec::new());
        let mut lost = Vec::new();
        let connect = |ip: IpAddr| {
            begun.borrow_mut().push(ip);
            let IpAddr::V4(v4) = ip else { unreachable!("only IPv4 here") };
            let outcome = outcomes[usize::from(v4.octets()[3])];
            async move {
                match outcome {
                    Some(true) => Ok(()),
                    Some(false) => Err(io::ErrorKind::ConnectionRefused.into()),
                    None => std::future::pending().await,
                }
            }
        };
        let tell = |event| {
            let (Event::Failed(IpAddr::V4(ip), _) | Event::Slow(IpAddr::V4(ip))) = event else {
                unreachable!("only IPv4 here")
            };
            lost.push(ip.octets()[3]);
            false
        };
        let all = (0..outcomes.len()).map(|last| ip(last as u8)).collect();
        let won = runtime.block_on(race(all, stagger, connect, tell));
        (won.map(|((), ip)| ip), begun.into_inner(), lost)
    }

    #[test]
    fn a_failure_is_followed_by_the_next_at_once() {
        // It would never end if it waited.
        let never = Duration::from_secs(1 << 30);
        let (won, begun, lost) = run(&[Some(false), Some(false), Some(true), Some(true)], never);
        assert_eq!((won, begun.len(), lost), (Some(ip(2)), 3, vec![0, 1]));
        let (won, begun, lost) = run(&[Some(false), Some(false)], never);
        assert_eq!((won, begun.len(), lost), (None, 2, vec![0, 1]));
        assert_eq!(run(&[], never), (None, vec![], vec![]));
    }

    #[test]
    fn silence_is_followed_by_the_next_in_a_while() {
        let soon = Duration::from_millis(1);
        let (won, begun, lost) = run(&[None, None, Some(true), Some(true)], soon);
        assert_eq!((won, begun.len(), lost), (Some(ip(2)), 3, vec![0, 1]));
        let (won, _, lost) = run(&[None, Some(false), Some(true)], soon);
        assert_eq!((won, lost), (Some(ip(2)), vec![1, 0]));
    }

    #[test]
    fn want_of_descriptors_and_ports_is_nobodys_fault() {
        let v6 = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
        let error = io::Error::from_raw_os_error;
        let mut blame = Blame::default();
        assert!(blame.failed(ip(1), &error(24)));
        assert_eq!(blame.verdict().unwrap_err().detail, "no file descriptor is left");
        let mut blame = Blame::default();
        assert!(blame.failed(ip(1), &error(99)));
        assert!(blame.verdict().is_err());
        let mut blame = Blame::default();
        assert!(!blame.failed(v6, &error(99)) && !blame.failed(ip(1), &error(111)));
        assert_eq!(blame.verdict().unwrap().detail, "connection refused");
        let mut blame = Blame::default();
        assert!(!blame.failed(v6, &error(99)));
        assert!(blame.verdict().is_err());
        assert_eq!(Blame::default().verdict().unwrap().detail, "the connection timed out");
    }
}
