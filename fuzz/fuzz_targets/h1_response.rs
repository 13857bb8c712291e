//! Any bytes as responses: no panic, bounded memory, and the same whatever the split. Half of the
//! inputs are choices of a grammar instead, so that the deep places are reached.
#![no_main]

#[path = "../../crates/engine/src/wire/h1/tests/drive.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod drive;
#[path = "../../crates/engine/src/wire/h1/tests/grammar.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod grammar;

use libfuzzer_sys::fuzz_target;
use windrow_engine::wire::h1::*;

fuzz_target!(|input: (bool, [u16; 6], &[u8])| {
    let (plain, at, bytes) = input;
    let made;
    let stream = if plain {
        bytes
    } else {
        let mut choices = grammar::Choices(bytes);
        let mut stream = Vec::new();
        for number in 0..=choices.below(3) {
            let response = grammar::response(&mut choices, &format!("<{number}>"));
            stream.extend_from_slice(&response.bytes);
        }
        grammar::damage(&mut choices, &mut stream);
        made = stream;
        &made[..]
    };
    let whole = drive::decode([stream], false);
    let at: Vec<usize> = at.into_iter().map(usize::from).collect();
    for at_once in [false, true] {
        let split = drive::decode(drive::split(stream, &at), at_once);
        assert_eq!(split.essence(), whole.essence());
    }
    // Byte by byte, too, where that is cheap.
    if stream.len() <= 2000 {
        assert_eq!(drive::decode(stream.chunks(1), true).essence(), whole.essence());
    }
});
