//! How long a response may take: whether a server is silent, slow, or at it for too long.
//!
//! A state machine that is told what came; the time comes in as an argument. One for each
//! connection, nothing for each request.

use std::time::{Duration, Instant};
use windrow_model::{Failure, FailureClass};

/// What a server is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Most time without a byte while a response is owed: to its first byte, and between any two.
    pub silence: Duration,
    /// Most time for a whole response, from its turn on the connection on.
    pub total: Option<Duration>,
    /// A response under way brings so many bytes in each second, on average over `window`; 0 for
    /// any number.
    pub min_speed: u64,
    /// See `min_speed`.
    pub window: Duration,
}

impl Patience {
    /// Bytes that reset the window.
    fn quota(&self) -> u64 {
        let bytes = u128::from(self.min_speed) * self.window.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// How a response is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Nothing came for too long.
    Silent,
    /// Something came, but too little.
    Slow,
    /// It was not complete in time.
    Long,
}

impl Late {
    /// The same as a failure of the attempt.
    pub fn failure(self) -> Failure {
        let detail = match self {
            Self::Silent => "the server sent nothing for too long",
            Self::Slow => "the response came slower than --min-speed",
            Self::Long => "the response took longer than --total-timeout",
        };
        Failure::new(FailureClass::Timeout, detail)
    }
}

/// Follows the responses of one connection.
#[derive(Debug)]
pub struct Pace {
    patience: Patience,
    /// Since when the response in front is owed, if one is.
    turn: Option<Instant>,
    /// The last byte, or the begin of the turn.
    heard: Instant,
    /// The response in front has begun: since when so many bytes were counted.
    window: Option<(Instant, u64)>,
}

impl Pace {
    /// Nothing is owed yet.
    pub fn new(patience: Patience, now: Instant) -> Self {
        Self { patience, turn: None, heard: now, window: None }
    }

    /// A request was sent and it is its turn: nothing else is owed.
    pub fn begin(&mut self, now: Instant) {
        self.turn = Some(now);
        self.heard = now;
        self.window = None;
    }

    /// `len` bytes came. `completed` is whether a response was complete with them, `owed` whether
    /// another one is owed now, and `begun` whether that has begun.
    pub fn received(&mut self, len: usize, completed: bool, owed: bool, begun: bool, now: Instant) {
        self.heard = now;
        if completed || !owed {
            self.turn = owed.then_some(now);
            self.window = None;
        }
        self.window = match self.window {
            _ if !owed || !begun => None,
            // The head of a response counts too: it can drip just as well.
            Some((since, bytes)) if bytes + (len as u64) < self.patience.quota() => {
                Some((since, bytes + len as u64))
            }
            _ => Some((now, 0)),
        };
    }

    /// Time passed here that the server is not to blame for.
    pub fn excuse(&mut self, delay: Duration) {
        self.heard += delay;
        for since in self.turn.iter_mut().chain(self.window.as_mut().map(|(since, _)| since)) {
            *since += delay;
        }
    }

    /// When the response in front is too late, and in which way; `None` while nothing is owed.
    pub fn deadline(&self) -> Option<(Instant, Late)> {
        let turn = self.turn?;
        let Patience { silence, total, window, .. } = self.patience;
        let silent = (self.heard + silence, Late::Silent);
        let slow = self.window.filter(|_| self.patience.quota() > 0);
        let slow = slow.map(|(since, _)| (since + window, Late::Slow));
        let long = total.map(|total| (turn + total, Late::Long));
        [Some(silent), slow, long].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        silence: Duration::from_secs(30),
        total: Some(Duration::from_secs(300)),
        min_speed: 2,
        window: Duration::from_secs(20),
    };

    /// Plays `bytes` each `every` seconds, the first at once; gives when it is cut, and why.
    fn drip(patience: Patience, bytes: usize, every: u64) -> (u64, Late) {
        let start = Instant::now();
        let mut pace = Pace::new(patience, start);
        pace.begin(start);
        for second in 0.. {
            let now = start + Duration::from_secs(second);
            if let Some((at, late)) = pace.deadline()
                && at <= now
            {
                return (second, late);
            }
            if second % every == 0 {
                pace.received(bytes, false, true, true, now);
            }
        }
        unreachable!("a second follows each second")
    }

    #[test]
    fn a_drip_is_cut_when_its_window_is_over() {
        assert_eq!(drip(PATIENCE, 1, 10), (20, Late::Slow));
        assert_eq!(drip(PATIENCE, 1, 1), (20, Late::Slow), "1 B/s of 2");
        assert_eq!(drip(PATIENCE, 3, 1), (300, Late::Long), "fast enough, but for ever");
        assert_eq!(drip(PATIENCE, 1000, 40), (20, Late::Slow));
        let any = Patience { min_speed: 0, ..PATIENCE };
        assert_eq!(drip(any, 1000, 40), (30, Late::Silent));
        assert_eq!(drip(any, 1, 29), (300, Late::Long));
    }

    #[test]
    fn a_response_that_has_not_begun_is_silent_and_not_slow() {
        let start = Instant::now();
        let mut pace = Pace::new(PATIENCE, start);
        assert_eq!(pace.deadline(), None);
        pace.begin(start);
        assert_eq!(pace.deadline(), Some((start + PATIENCE.silence, Late::Silent)));
    }

    #[test]
    fn each_response_has_its_own_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(PATIENCE, start);
        pace.begin(start);
        pace.received(10, false, true, true, at(5));
        assert_eq!(pace.deadline(), Some((at(25), Late::Slow)));
        pace.received(5, true, true, true, at(15));
        assert_eq!(pace.deadline(), Some((at(35), Late::Slow)), "the next has begun");
        pace.received(5, true, true, false, at(25));
        assert_eq!(pace.deadline(), Some((at(55), Late::Silent)), "the next has not");
        pace.received(5, true, false, false, at(26));
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn the_server_is_not_blamed_for_time_lost_here() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(PATIENCE, start);
        pace.begin(start);
        pace.received(1, false, true, true, at(1));
        pace.excuse(Duration::from_secs(60));
        assert_eq!(pace.deadline(), Some((at(81), Late::Slow)));
    }
}
