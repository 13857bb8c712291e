//! Any bytes as the answers to pipelined requests: every request ends exactly once, and as it may.
#![no_main]

#[path = "../../crates/engine/src/wire/h1/tests/drive.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod drive;
#[path = "../../crates/engine/src/wire/h1/tests/grammar.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod grammar;

use libfuzzer_sys::fuzz_target;
use windrow_engine::wire::h1::*;
use windrow_model::{Failure, FailureClass};

fuzz_target!(|input: (bool, bool, [u16; 4], [u8; 8], &[u8])| {
    let (plain, reset, at, plan, bytes) = input;
    let made;
    let mut choices = grammar::Choices(bytes);
    let stream = if plain {
        bytes
    } else {
        let mut stream = Vec::new();
        for number in 0..=choices.below(5) {
            let response = grammar::response(&mut choices, &format!("<{number}>"));
            stream.extend_from_slice(&response.bytes);
        }
        grammar::damage(&mut choices, &mut stream);
        made = stream;
        &made[..]
    };
    let refused = Failure::new(FailureClass::TooLarge, "refused");
    let interests: Vec<Interest> = plan
        .iter()
        .map(|plan| match plan % 8 {
            0 => Interest::Discard,
            1 => Interest::Refuse(refused),
            _ => Interest::Take,
        })
        .collect();
    let at: Vec<usize> = at.into_iter().map(usize::from).collect();
    // More requests with each piece; how many, the plan says.
    let mut requests = 0;
    let steps = drive::split(stream, &at).into_iter().zip(plan).map(|(piece, more)| {
        requests += usize::from(more / 8 % 8);
        (requests, piece)
    });
    let steps: Vec<_> = steps.collect();
    let talk = drive::converse(steps, interests.clone(), reset);
    talk.check();
    // With all requests sent at the start, a split changes nothing.
    let whole = drive::converse([(8, stream)], interests.clone(), reset);
    whole.check();
    let pieces = drive::split(stream, &at).into_iter().map(|piece| (8, piece));
    let split = drive::converse(pieces, interests, reset);
    split.check();
    if !stream.is_empty() {
        assert_eq!(split.recorder.heads, whole.recorder.heads);
        assert_eq!(split.raced, whole.raced);
        assert_eq!(split.answered(), whole.answered());
    }
});
