//! Packs of every form, written and then damaged: no panic, no endless reading, and what was not
//! damaged comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windrow_engine::Format;
use windrow_engine::pack::{Encode, PackOptions, Record};

const FORMS: [Format; 5] =
    [Format::Tar, Format::Parquet, Format::Jsonl, Format::JsonlZst, Format::Warc];

/// A form, whether the pack is read as a finished one, objects, bytes to flip, a place to go to, and
/// a pack that was never written by windrow.
type Input<'a> = (u8, bool, Vec<(Vec<u8>, Vec<u8>)>, Vec<(u32, u8)>, u64, &'a [u8]);

fuzz_target!(|input: Input<'_>| {
    let (form, whole, objects, flips, place, foreign) = input;
    let form = FORMS[usize::from(form) % FORMS.len()];
    let (mut pack, damaged) = match foreign.is_empty() {
        true => (written(form, &objects), !flips.is_empty()),
        false => (foreign.to_vec(), true),
    };
    for (at, mask) in flips {
        let len = pack.len().max(1);
        if let Some(byte) = pack.get_mut(at as usize % len) {
            *byte ^= mask;
        }
    }
    let whole = whole || !damaged;
    let Ok(mut decoder) = form.decoder(Box::new(pack.clone()), whole) else {
        assert!(damaged, "a pack that was written cannot be opened");
        return;
    };
    let mut found = Vec::new();
    loop {
        let mut body = Vec::new();
        let mut take = |piece: &[u8]| {
            body.extend_from_slice(piece);
            Ok(())
        };
        match decoder.next(Some(&mut take)) {
            Ok(Some(object)) => {
                assert!(damaged || object.bytes == body.len() as u64);
                found.push((object.name, body));
            }
            Ok(None) => break,
            Err(error) => {
                assert!(damaged, "{error}");
                break;
            }
        }
        assert!(found.len() <= pack.len() * 64 + 64, "more records than there can be");
    }
    assert!(damaged || found == objects, "another object than was written");
    if decoder.seek(place).is_ok() {
        let _ = decoder.next(None);
    }
});

fn written(form: Format, objects: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut encoder: Box<dyn Encode> =
        form.encoder(&PackOptions::default(), 7).expect("memory").expect("a form of packs");
    let mut out = Vec::new();
    encoder.begin(&mut out).expect("memory");
    for (ordinal, (name, body)) in (0..).zip(objects) {
        let record = Record { name, ordinal, meta: None };
        encoder.record(&record, &mut body.as_slice(), &mut out).expect("memory");
    }
    encoder.frame(&mut out).and_then(|()| encoder.end(&mut out)).expect("memory");
    out
}
