//! An answer that is held back, cut off or ended in another way than its head says.
//!
//! It is a body like others, sent piece by piece while the requests behind it wait; so answers
//! stay in order, and only the connection that meets a fault is any different.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::tally::Announced;
use crate::respond::{After, Body, PIECE_BYTES, Piece};

/// Pieces of a drip leave at most so many times a second.
const DRIPS: u64 = 100;

/// What is still to be sent, how, and what comes then.
#[derive(Debug)]
pub(crate) struct Play {
    /// Bytes in hand; those before `taken` are sent.
    held: Vec<u8>,
    taken: usize,
    /// What follows those in hand.
    rest: Option<Body>,
    /// Bytes until the end; the others are never sent.
    left: u64,
    pace: Pace,
    after: After,
    /// To be told, when all is sent, that clients now know when to come back.
    announces: Option<(Arc<Announced>, Duration)>,
}

#[derive(Debug, Clone, Copy)]
enum Pace {
    AtOnce,
    /// Silence for `pause` when so many more bytes are sent.
    Stall {
        after: u64,
        pause: Duration,
    },
    /// So many bytes, then silence for `pause`, over and over.
    Drip {
        step: u64,
        pause: Duration,
    },
}

impl Play {
    /// Sends everything at once and lets the connection stay.
    pub(crate) fn new(held: Vec<u8>, rest: Option<Body>) -> Self {
        let left = held.len() as u64 + rest.as_ref().map_or(0, Body::left);
        let (taken, pace, after) = (0, Pace::AtOnce, After::Stays);
        Self { held, taken, rest, left, pace, after, announces: None }
    }

    /// Bytes that it will send.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Ends after so many bytes.
    pub(super) fn cut(mut self, bytes: u64) -> Self {
        self.left = self.left.min(bytes);
        self
    }

    /// What becomes of the connection then.
    pub(super) fn then(mut self, after: After) -> Self {
        self.after = after;
        self
    }

    /// Falls silent for a time after so many bytes.
    pub(super) fn stall(mut self, after: u64, pause: Duration) -> Self {
        self.pace = Pace::Stall { after: after.min(self.left), pause };
        self
    }

    /// Sends so many bytes a second, at least one.
    pub(super) fn drip(mut self, speed: u64) -> Self {
        let step = (speed / DRIPS).max(1);
        let pause = Duration::from_secs_f64(step as f64 / speed.max(1) as f64);
        self.pace = Pace::Drip { step, pause };
        self
    }

    /// Tells, when all is written, that nobody should come back before a time is over.
    pub(super) fn announce(mut self, announced: Arc<Announced>, pause: Duration) -> Self {
        self.announces = Some((announced, pause));
        self
    }

    /// Ends at once, by a reset.
    pub(crate) fn reset(self) -> Option<Body> {
        self.cut(0).then(After::Resets).boxed()
    }

    pub(crate) fn boxed(self) -> Option<Body> {
        Some(Body::Play(Box::new(self)))
    }

    /// As [`Body::piece_into`].
    pub(crate) fn piece_into(&mut self, out: &mut Vec<u8>) -> io::Result<Piece> {
        let most = match &mut self.pace {
            Pace::AtOnce => PIECE_BYTES as u64,
            &mut Pace::Stall { after: 0, pause } => {
                self.pace = Pace::AtOnce;
                return Ok(Piece::Pause(pause));
            }
            Pace::Stall { after, .. } => *after,
            Pace::Drip { step, .. } => *step,
        };
        let sent = self.take(most.min(self.left), out)?;
        self.left -= sent;
        Ok(match &mut self.pace {
            Pace::Stall { after, .. } => {
                *after -= sent;
                Piece::More
            }
            _ if self.left == 0 => {
                if let Some((announced, pause)) = self.announces.take() {
                    announced.add(pause);
                }
                Piece::Last(self.after)
            }
            Pace::AtOnce => Piece::More,
            Pace::Drip { pause, .. } => Piece::Pause(*pause),
        })
    }

    /// Moves bytes to the output, at most so many; how many.
    fn take(&mut self, most: u64, out: &mut Vec<u8>) -> io::Result<u64> {
        if most > 0 && self.taken == self.held.len() {
            self.held.clear();
            self.taken = 0;
            let rest = self.rest.as_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
            if let Piece::Last(_) = rest.piece_into(&mut self.held)? {
                self.rest = None;
            }
        }
        let part = &self.held[self.taken..];
        let part = &part[..part.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
        out.extend_from_slice(part);
        self.taken += part.len();
        Ok(part.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrow_model::Corpus;

    /// What it sends, piece by piece, with the silence behind each piece, and how it ends.
    fn play(play: Play) -> (Vec<Vec<u8>>, Vec<Duration>, After) {
        let mut play = play;
        let (mut pieces, mut pauses) = (Vec::new(), Vec::new());
        loop {
            let mut out = Vec::new();
            let piece = play.piece_into(&mut out).unwrap();
            pieces.push(out);
            match piece {
                Piece::More => {}
                Piece::Pause(pause) => pauses.push(pause),
                Piece::Last(after) => return (pieces, pauses, after),
            }
        }
    }

    fn long() -> (Option<Body>, Vec<u8>) {
        let corpus = Corpus { count: 1, size: 600_000, seed: 1 };
        let mut whole = b"held".to_vec();
        corpus.body_into(0, &mut whole);
        (Some(Body::Synthetic { corpus, ordinal: 0, from: 0 }), whole)
    }

    #[test]
    fn all_of_it_is_sent_once() {
        let (rest, whole) = long();
        let plain = Play::new(b"held".to_vec(), rest);
        assert_eq!(plain.left(), 600_004);
        let (pieces, pauses, after) = play(plain);
        assert_eq!((pieces.concat(), pauses.len(), after), (whole, 0, After::Stays));
        let empty = Play::new(Vec::new(), None).then(After::Closes);
        assert_eq!(play(empty), (vec![vec![]], vec![], After::Closes));
    }

    #[test]
    fn a_cut_is_where_it_is_asked_for() {
        for cut in [0, 1, 4, 5, 262_144, 262_148, 600_003, 600_004, 700_000] {
            let (rest, whole) = long();
            let cut_off = Play::new(b"held".to_vec(), rest).cut(cut).then(After::Resets);
            let (pieces, _, after) = play(cut_off);
            let expected = &whole[..whole.len().min(cut as usize)];
            assert!(pieces.concat() == expected, "{cut}");
            assert_eq!(after, After::Resets);
        }
    }

    #[test]
    fn a_stall_is_silent_once_and_goes_on() {
        let pause = Duration::from_secs(60);
        for after in [0, 3, 300_000, 600_004] {
            let (rest, whole) = long();
            let mut stalled = Play::new(b"held".to_vec(), rest).stall(after, pause);
            let mut before = Vec::new();
            while !matches!(stalled.piece_into(&mut before).unwrap(), Piece::Pause(_)) {}
            assert_eq!(before.len() as u64, after);
            let (behind, pauses, _) = play(stalled);
            before.extend(behind.concat());
            assert!(before == whole && pauses.is_empty(), "{after}");
        }
    }

    #[test]
    fn a_drip_keeps_its_speed() {
        for (speed, step, bytes) in [(1, 1, 3), (10, 1, 25), (100, 1, 100), (1050, 10, 1050)] {
            let (pieces, pauses, _) = play(Play::new(vec![7; bytes], None).drip(speed));
            assert!(pieces.iter().all(|piece| piece.len() <= step), "{speed}");
            assert_eq!(pieces.concat().len(), bytes);
            let took: f64 = pauses.iter().map(Duration::as_secs_f64).sum();
            let due = (bytes - step) as f64 / speed as f64;
            assert!((took - due).abs() < 0.011, "{speed}: {took} s for {due}");
        }
    }

    #[test]
    fn a_body_that_ends_too_soon_breaks_off() {
        let mut short = Play::new(b"ab".to_vec(), None);
        short.left = 3;
        let mut out = Vec::new();
        assert!(matches!(short.piece_into(&mut out), Ok(Piece::More)));
        assert!(short.piece_into(&mut out).is_err());
    }
}
