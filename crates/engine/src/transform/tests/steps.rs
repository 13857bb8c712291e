use super::*;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

proptest! {
    /// Several members or frames are one body.
    #[test]
    fn what_is_packed_is_unpacked(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..500), 1..4),
    ) {
        let plain = parts.concat();
        for (spec, pack) in [("gunzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
            let packed: Vec<u8> = parts.iter().flat_map(|part| pack(part)).collect();
            prop_assert_eq!(&kept(apply(&[spec], object(&packed))).body, &plain);
            for cut in [1, packed.len() / 2, packed.len() - 1] {
                let failed = apply(&[spec], object(&packed[..cut]));
                // A cut between parts is a shorter body.
                prop_assert!(failed.is_err() || parts.len() > 1, "{cut}");
            }
        }
    }
}

#[test]
fn what_cannot_be_unpacked_is_failed() {
    let mut lane = Lane::new(PATIENT, 1000);
    let bomb = vec![0; 1 << 20];
    let mut behind = gzip(b"x");
    behind.extend_from_slice(b"garbage");
    for (spec, body, told) in [
        ("gunzip", Vec::new(), "transform | the coded body ends too early | -"),
        ("gunzip", b"plain".to_vec(), "transform | the coded body is damaged | -"),
        ("zstd", b"plain".to_vec(), "transform | the coded body is damaged | -"),
        ("gunzip", behind, "transform | the coded body has something behind its end | -"),
        (
            "gunzip",
            gzip(&bomb),
            "too_large | the body is larger than --max-object-size when its coding is undone | -",
        ),
        (
            "zstd",
            zstd(&bomb),
            "too_large | the body is larger than --max-object-size when its coding is undone | -",
        ),
    ] {
        let failed = parse(&[spec]).apply(object(&body), &mut lane).unwrap_err();
        assert_eq!(shown(&failed), told);
        assert!(!failed.failure.retry());
        // The next one is none the worse for it.
        let packed = if spec == "zstd" { zstd(b"good") } else { gzip(b"good") };
        assert_eq!(kept(parse(&[spec]).apply(object(&packed), &mut lane)).body, b"good");
    }
}

#[test]
fn a_media_type_of_the_packing_goes() {
    for (before, after) in [
        ("application/gzip", None),
        ("Application/X-Gzip; a=b", None),
        ("text/csv", Some("text/csv")),
    ] {
        let packed = Object { content_type: Some(before.to_owned()), ..object(&gzip(b"x")) };
        assert_eq!(kept(apply(&["gunzip"], packed)).content_type.as_deref(), after);
    }
}

#[test]
fn a_body_has_the_hash_of_the_list() {
    let with = |expected| Object { expected_sha256: expected, ..object(b"body") };
    let digest: [u8; 32] = Sha256::digest(b"body").into();
    let verify = |object| apply(&["verify=sha256:c"], object);
    kept(verify(with(Some(digest))));
    let failed = verify(with(Some([0; 32]))).unwrap_err();
    assert_eq!(
        shown(&failed),
        "checksum | the body does not have the SHA-256 that the list says | -"
    );
    assert!(failed.failure.retry(), "it may have been damaged on the way");
    let failed = verify(with(None)).unwrap_err();
    assert_eq!(shown(&failed), "checksum | the list says no SHA-256 of this object | -");
}

#[test]
fn conditions_hold_or_do_not() {
    let media = |media: &str| Object { content_type: Some(media.to_owned()), ..object(b"12345") };
    for (condition, object, dropped) in [
        ("empty", object(b""), true),
        ("empty", object(b"x"), false),
        ("size<5", object(b"12345"), false),
        ("size<6", object(b"12345"), true),
        ("size<=5", object(b"12345"), true),
        ("size>5", object(b"12345"), false),
        ("size>=5", object(b"12345"), true),
        ("size=5", object(b"12345"), true),
        ("size<1k", object(b"12345"), true),
        ("type=image/*", media("Image/PNG; x=y"), true),
        ("type!=image/*", media("image/png"), false),
        ("type!=image/*", media("text/html"), true),
        ("type!=image/*", object(b""), true),
        ("type~text/*", media("text/html"), true),
        ("name=n?me", object(b""), true),
        ("name=*.txt", object(b""), false),
        ("name!=*.txt", object(b""), true),
        ("name!~*.txt", object(b""), true),
        ("width<100", object(b"no image"), false),
    ] {
        let outcome = apply(&[&format!("drop-if={condition}")], object).unwrap();
        assert_eq!(outcome == Outcome::Drop, dropped, "{condition}");
    }
}

#[test]
fn a_chain_runs_in_order() {
    let packed = object(&gzip(&zstd(b"inside")));
    assert_eq!(kept(apply(&["gunzip", "zstd"], packed.clone())).body, b"inside");
    assert!(apply(&["zstd", "gunzip"], packed.clone()).is_err());
    assert_eq!(apply(&["gunzip", "drop-if=size<1k", "gunzip"], packed).unwrap(), Outcome::Drop);
    let errors = Chain::of("parse", |object: Object| {
        std::str::from_utf8(&object.body)?.parse::<u8>()?;
        Ok(Outcome::Drop)
    });
    let failed = errors.apply(object(b"x"), &mut Lane::default()).unwrap_err();
    let told = "transform | the transform returned an error | invalid digit found in string";
    assert_eq!(shown(&failed), told);
}
