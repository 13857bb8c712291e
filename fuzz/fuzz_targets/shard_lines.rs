//! Lines in pieces of any size come out as they do in one piece, each where its key belongs, and
//! none is lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use windrow_engine::shard::{Key, Lines, Place, Sharder};

#[derive(Default, PartialEq, Eq, Debug)]
struct Out {
    lines: Vec<(String, Vec<u8>)>,
    part: Vec<u8>,
}

impl Lines for Out {
    type Error = Infallible;

    fn line(&mut self, place: Place, line: &[u8]) -> Result<(), Infallible> {
        self.lines.push((format!("{place:?}"), line.to_vec()));
        Ok(())
    }

    fn part(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    fn parts_end(&mut self, place: Place) -> Result<(), Infallible> {
        self.lines.push((format!("{place:?}"), std::mem::take(&mut self.part)));
        Ok(())
    }
}

fuzz_target!(|input: (u8, u8, bool, &[u8], Vec<u8>)| {
    let (shards, key, json, bytes, cuts) = input;
    let key = match key % 3 {
        0 => Key::Line,
        1 => Key::Field("id".into()),
        _ => Key::Column { number: NonZeroUsize::new(2).expect("two"), delimiter: b',' },
    };
    let shards = u32::from(shards) + 1;
    let mut whole = Out::default();
    let mut sharder = Sharder::new(shards, key.clone(), json);
    sharder.feed(bytes, &mut whole).expect("never");
    sharder.end(&mut whole).expect("never");
    let mut pieces = Out::default();
    let mut sharder = Sharder::new(shards, key, json);
    let mut rest = bytes;
    for cut in cuts {
        let (piece, more) = rest.split_at(usize::from(cut).min(rest.len()));
        sharder.feed(piece, &mut pieces).expect("never");
        rest = more;
    }
    sharder.feed(rest, &mut pieces).expect("never");
    sharder.end(&mut pieces).expect("never");
    assert_eq!(whole, pieces);
    let all: Vec<u8> = whole.lines.iter().flat_map(|(_, line)| line.iter().copied()).collect();
    let ended = bytes.is_empty() || bytes.ends_with(b"\n");
    assert_eq!(all, [bytes, if ended { b"" } else { b"\n" }].concat());
});
