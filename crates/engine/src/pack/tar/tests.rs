//! What is encoded comes back, and damage is noticed.

use super::{TarDecode, TarEncode, read};
use crate::pack::{Content, Decode, Encode, Found, Meta, Record};
use proptest::prelude::*;
use std::io;

/// A body that is not in memory.
struct Pieces<'a>(&'a [u8]);

impl Content for Pieces<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    fn pieces(&mut self, piece: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
        self.0.chunks(7).try_for_each(piece)
    }
}

type Object = (Vec<u8>, Vec<u8>, Option<Meta>);

fn encoded(objects: &[Object]) -> (Vec<u8>, Vec<u64>) {
    let (mut encode, mut out, mut places) = (TarEncode::new(), Vec::new(), Vec::new());
    encode.begin(&mut out).unwrap();
    for (ordinal, (name, body, meta)) in objects.iter().enumerate() {
        let record = Record { name, ordinal: ordinal as u64, meta: meta.as_ref() };
        let put = match ordinal % 2 {
            0 => encode.record(&record, &mut body.as_slice(), &mut out),
            _ => encode.record(&record, &mut Pieces(body), &mut out),
        };
        let (place, complete) = put.unwrap();
        assert!(complete);
        places.push(place);
    }
    encode.frame(&mut out).unwrap();
    encode.end(&mut out).unwrap();
    (out, places)
}

/// The next object, with its body.
fn next(decode: &mut dyn Decode) -> io::Result<Option<(Found, Vec<u8>)>> {
    let mut body = Vec::new();
    let mut take = |piece: &[u8]| {
        body.extend_from_slice(piece);
        Ok(())
    };
    let found = decode.next(Some(&mut take))?;
    Ok(found.map(|found| (found, body)))
}

fn all(tar: &[u8]) -> io::Result<Vec<(Found, Vec<u8>)>> {
    let mut decode = TarDecode::new(tar)?;
    let mut objects = Vec::new();
    while let Some(object) = next(&mut decode)? {
        objects.push(object);
    }
    Ok(objects)
}

fn meta() -> impl Strategy<Value = Meta> {
    ("[ -~]{0,20}", 100..600_u16, any::<u64>()).prop_map(|(url, status, fetched_at)| {
        let headers = format!("Content-Type: {status}/{status}\r\n").into_bytes();
        Meta { url, status, fetched_at, headers, ..Meta::default() }
    })
}

fn objects() -> impl Strategy<Value = Vec<Object>> {
    let name = prop_oneof![
        "[a-c]{1,2}(/[a-c.]{0,3}){0,2}\\.(jpg|json|x)".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..700),
        (0..400_000_usize).prop_map(|len| vec![7; len]),
    ];
    prop::collection::vec((name, body, prop::option::of(meta())), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn what_is_encoded_is_decoded(objects in objects(), order in any::<u64>()) {
        let (tar, places) = encoded(&objects);
        let found = all(&tar).unwrap();
        prop_assert_eq!(found.len(), objects.len());
        for (ordinal, ((found, own), (name, body, meta))) in found.iter().zip(&objects).enumerate() {
            prop_assert_eq!(&found.name, name);
            prop_assert!(own == body, "the body of object {}", ordinal);
            prop_assert_eq!(found.bytes, body.len() as u64);
            prop_assert_eq!(found.place, places[ordinal]);
            prop_assert_eq!(&found.meta, meta);
            prop_assert_eq!(found.ordinal, meta.as_ref().map(|_| ordinal as u64));
        }
        // Any one of them, in any order, and without bodies.
        let mut decode = TarDecode::new(tar.as_slice()).unwrap();
        for step in 0..objects.len() as u64 {
            let pick = ((order ^ step.wrapping_mul(0x9E37_79B9)) % objects.len() as u64) as usize;
            decode.seek(places[pick]).unwrap();
            let (found, body) = next(&mut decode).unwrap().unwrap();
            prop_assert_eq!((&found.name, &body), (&objects[pick].0, &objects[pick].1));
            decode.seek(places[pick]).unwrap();
            prop_assert_eq!(decode.next(None).unwrap(), Some(found));
        }
        // Only at objects; and behind an extended header, which is not looked back at, at one of
        // another name.
        for at in (0..tar.len() as u64).step_by(512).filter(|at| !places.contains(at)).take(50) {
            let extended = |&place: &u64| tar[place as usize + 156] == b'x';
            let before = places.iter().take_while(|&&place| place < at).last();
            let within = before.is_some_and(|place| extended(place) && at - place < 2048);
            prop_assert!(within || decode.seek(at).is_err(), "byte {}", at);
        }
        // Other readers of it see the objects alone.
        let mut names = Vec::new();
        let visit = |member: read::Member<'_>| {
            names.push(windrow_model::name::from_path(member.path).unwrap());
        };
        prop_assert_eq!(read::for_each(tar.as_slice(), visit).unwrap(), objects.len() as u64);
        prop_assert!(names.iter().eq(objects.iter().map(|(name, ..)| name)));
    }

    #[test]
    fn a_cut_is_noticed(objects in objects(), at in any::<prop::sample::Index>()) {
        let (tar, places) = encoded(&objects);
        let cut = at.index(tar.len());
        prop_assert!(all(&tar[..cut]).is_err());
        // Up to a place that is known to be one, an unfinished pack is whole.
        for (count, &place) in places.iter().enumerate() {
            let mut decode = TarDecode::open(tar.as_slice(), place);
            for _ in 0..count {
                prop_assert!(decode.next(None).unwrap().is_some());
            }
            prop_assert_eq!(decode.next(None).unwrap(), None);
        }
    }

    #[test]
    fn anything_can_be_decoded(
        objects in objects(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let (mut tar, _) = encoded(&objects);
        let at = at.index(tar.len());
        tar[at] ^= flip;
        let _ = all(&tar);
        let mut decode = TarDecode::new(&tar[at..]).unwrap();
        let _ = decode.seek(0);
        let _ = decode.next(None);
    }
}
