//! Requests and the responses that answer them.

use super::drive::{self, Fate, Recorder, Talk};
use super::grammar::{self, Choices, Response};
use super::{Broken, Interest, Loss, config};
use proptest::prelude::*;
use windrow_model::limits::DISCARD_BYTES;
use windrow_model::{Failure, FailureClass};

const REFUSED: Failure = Failure { class: FailureClass::TooLarge, status: 0, detail: "refused" };

/// All requests at once, the whole input in one piece, then the server's close.
fn talk(requests: usize, input: &str, interests: &[Interest]) -> Talk {
    let talk = drive::converse([(requests, input.as_bytes())], interests.to_vec(), false);
    talk.check();
    talk
}

fn answered(talk: &Talk) -> Vec<(u16, &[u8])> {
    let fates = talk.recorder.fates.iter();
    fates
        .filter_map(|(_, fate)| match fate {
            Fate::Answered(status, body) => Some((*status, body.as_slice())),
            Fate::Lost(_) => None,
        })
        .collect()
}

fn class(why: Broken) -> Option<FailureClass> {
    match why {
        Broken::Failed(failure) => Some(failure.class),
        _ => None,
    }
}

#[test]
fn the_head_is_that_of_the_final_response() {
    let interim = "HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n";
    let head = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n";
    let input = format!("{interim}{interim}{head}ab");
    for split in [0, 10, interim.len(), 2 * interim.len() + 10] {
        let pieces = drive::split(input.as_bytes(), &[split]);
        let talk = drive::converse(pieces.into_iter().map(|piece| (1, piece)), vec![], false);
        talk.check();
        assert_eq!(talk.recorder.heads, [head.as_bytes()], "split at {split}");
        assert_eq!(super::header(&talk.recorder.heads[0], "retry-after"), Some(&b"1"[..]));
    }
}

#[test]
fn bytes_behind_the_last_response_close() {
    let one = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    for extra in ["x", "\r\n", one] {
        let talk = talk(1, &format!("{one}{extra}"), &[]);
        assert_eq!(answered(&talk), [(200, &b"a"[..])]);
        assert_eq!(class(talk.why), Some(FailureClass::Protocol));
    }
    // Where another response is due, they are its beginning, and no head.
    let talk = talk(3, &format!("{one}x{one}"), &[]);
    assert_eq!(talk.answered(), 1);
    assert_eq!(class(talk.why), Some(FailureClass::Protocol));
}

#[test]
fn bytes_before_the_first_request_close() {
    let pieces: [(usize, &[u8]); 2] = [(0, b"HTTP/1.1 200 OK\r\n\r\n"), (1, b"x")];
    let talk = drive::converse(pieces, vec![], false);
    assert_eq!((talk.sent, class(talk.why)), (0, Some(FailureClass::Protocol)));
}

#[test]
fn what_the_server_announces_is_the_last() {
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb";
    let talk = talk(3, &format!("{last}{next}"), &[]);
    assert_eq!(answered(&talk), [(200, &b"a"[..])]);
    assert_eq!((talk.why, talk.raced), (Broken::Announced, None));
    assert_eq!(talk.recorder.fates.last(), Some(&(1, Fate::Lost(Loss::Unanswered))));
}

#[test]
fn a_refused_response_fails_alone() {
    let one = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    let talk = talk(3, &one.repeat(3), &[Interest::Take, Interest::Refuse(REFUSED)]);
    assert_eq!(talk.answered(), 1);
    assert_eq!(talk.why, Broken::Failed(REFUSED));
    assert_eq!(talk.recorder.fates[1], (1, Fate::Lost(Loss::Failed(REFUSED))));
}

#[test]
fn a_body_without_room_fails_alone() {
    let one = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let input = format!("{one}2\r\nab\r\n0\r\n\r\n{one}2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    let recorder = Recorder { room: Some(2), ..Recorder::default() };
    let talk = drive::record([(3, input.as_bytes())], recorder, false);
    talk.check();
    assert_eq!(answered(&talk), [(200, &b"ab"[..])]);
    assert_eq!(class(talk.why), Some(FailureClass::TooLarge));
}

#[test]
fn what_is_discarded_is_bounded() {
    let most = usize::try_from(DISCARD_BYTES).unwrap();
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb";
    let length = |len: usize| {
        format!("HTTP/1.1 404 No\r\nContent-Length: {len}\r\n\r\n{}{next}", "x".repeat(len))
    };
    let chunked = |len: usize| {
        let body = "x".repeat(len);
        let head = "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{len:x}\r\n{body}\r\n0\r\n\r\n{next}")
    };
    for (input, kept) in [
        (length(most), true),
        (length(most + 1), false),
        (chunked(most), true),
        (chunked(most + 1), false),
    ] {
        for size in [1 << 20, 5000] {
            let pieces = input.as_bytes().chunks(size).map(|piece| (2, piece));
            let talk = drive::converse(pieces, vec![Interest::Discard, Interest::Take], false);
            talk.check();
            let all: &[(u16, &[u8])] = &[(404, b""), (200, b"b")];
            // One whole piece may be there at once, and costs nothing then.
            let kept = kept || (size > input.len() && input.contains("Content-Length: 262145"));
            assert_eq!(answered(&talk), all[..if kept { 2 } else { 1 }]);
            assert_eq!(talk.why, if kept { Broken::Closed } else { Broken::Announced });
        }
    }
}

/// A pipeline of valid responses and how it is played.
#[derive(Debug)]
struct Play {
    responses: Vec<Response>,
    input: Vec<u8>,
    /// Where each response ends in the input.
    ends: Vec<usize>,
    interests: Vec<Interest>,
    /// Every request at once, or each when the one before is answered.
    eager: bool,
    cut: usize,
    reset: bool,
}

impl Play {
    fn new(bytes: &[u8]) -> Self {
        let mut choices = Choices(bytes);
        let (eager, reset) = (choices.once_in(2), choices.once_in(3));
        let cut = choices.below(1 << 16);
        let (mut input, mut ends) = (Vec::new(), Vec::new());
        let mut responses = Vec::new();
        let mut interests = Vec::new();
        for number in 0..=choices.below(8) {
            let response = grammar::response(&mut choices, &format!("<{number}>"));
            input.extend_from_slice(&response.bytes);
            ends.push(input.len());
            responses.push(response);
            interests.push(match choices.below(16) {
                15 => Interest::Refuse(REFUSED),
                12..15 => Interest::Discard,
                _ => Interest::Take,
            });
        }
        // Often behind a response: that is where it matters.
        let cut = match cut % 3 {
            0 => cut % (input.len() + 1),
            1 => input.len(),
            _ => ends[cut % ends.len()],
        };
        Self { responses, input, ends, interests, eager, cut, reset }
    }

    fn run(&self, at: &[usize]) -> Talk {
        let mut from = 0;
        let input = &self.input[..self.cut];
        let mut pieces = drive::split(input, at);
        if pieces.is_empty() {
            pieces.push(input);
        }
        let mut steps = Vec::new();
        for piece in pieces {
            let to = from + piece.len();
            // A server answers only what it was asked.
            let begun = 1 + self.ends.iter().filter(|&&end| end < to).count();
            steps.push((if self.eager { self.ends.len() } else { begun }, piece));
            from = to;
        }
        drive::converse(steps, self.interests.clone(), self.reset)
    }

    /// What must have come of each request that was answered or failed, in order, and whether the
    /// connection ended between two responses.
    fn expected(&self) -> (Vec<Result<Fate, FailureClass>>, bool) {
        let mut fates = Vec::new();
        let mut start = 0;
        for (number, response) in self.responses.iter().enumerate() {
            let (body_at, end) = (start + response.body_at, self.ends[number]);
            let interest = self.interests[number];
            let seen = |body: &[u8]| match interest {
                Interest::Take => Ok(Fate::Answered(response.status, body.to_vec())),
                _ => Ok(Fate::Answered(response.status, Vec::new())),
            };
            if self.cut == start {
                return (fates, true);
            }
            if self.cut >= body_at
                && let Interest::Refuse(failure) = interest
            {
                fates.push(Err(failure.class));
                return (fates, false);
            }
            if response.until_close && self.cut >= body_at {
                // What follows is body too, until the connection ends; cleanly, that is.
                fates.push(match self.reset {
                    true => Err(FailureClass::Reset),
                    false => seen(&self.input[body_at..self.cut]),
                });
                return (fates, false);
            }
            if self.cut < end {
                let class = if self.reset { FailureClass::Reset } else { FailureClass::Truncated };
                fates.push(Err(class));
                return (fates, false);
            }
            fates.push(seen(&response.body));
            if !response.keep_alive {
                return (fates, false);
            }
            start = end;
        }
        (fates, true)
    }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn every_request_ends_once(
        bytes in prop::collection::vec(any::<u8>(), 0..250),
        at in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let play = Play::new(&bytes);
        let talk = play.run(&at);
        talk.check();
        let (mut want, between) = play.expected();
        let fates = &talk.recorder.fates;
        // Where the first request got nothing, that is a failure: nothing says that the server
        // works at all.
        let nothing = want.is_empty() && between;
        if nothing {
            want.push(Err(FailureClass::Reset));
        }
        for (number, want) in want.iter().enumerate() {
            let (ticket, fate) = &fates[number];
            prop_assert_eq!(*ticket, number);
            match (want, fate) {
                (Ok(want), fate) => prop_assert_eq!(want, fate, "{:?}", play),
                (Err(class), Fate::Lost(Loss::Failed(failure))) => {
                    prop_assert_eq!(*class, failure.class, "{:?}", play);
                }
                _ => prop_assert!(false, "{:?} instead of {:?}: {:?}", fate, want, play),
            }
        }
        // The others were not answered, or one of them lost the race.
        let raced = between && !nothing && talk.sent > want.len();
        prop_assert_eq!(talk.raced, raced.then_some(want.len()), "{:?}", play);
        prop_assert_eq!(fates.len() + usize::from(raced), talk.sent);
    }
}
