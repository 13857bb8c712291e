use super::*;
use flate2::Compression;
use proptest::prelude::*;
use std::io::Write as _;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Brotli => {
            let mut coded = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut coded, 4096, 5, 22);
            encoder.write_all(plain).unwrap();
            drop(encoder);
            coded
        }
        Coding::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
    }
}

fn bare(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn decode(coding: Coding, bounds: Bounds, pieces: &[&[u8]]) -> Result<Vec<u8>, Failure> {
    decode_with(&mut Kept::default(), coding, bounds, pieces)
}

fn decode_with(
    kept: &mut Kept,
    coding: Coding,
    bounds: Bounds,
    pieces: &[&[u8]],
) -> Result<Vec<u8>, Failure> {
    let mut plain = Vec::new();
    let mut decoder = Decoder::with(kept, coding, bounds);
    for piece in pieces {
        let pushed = decoder.push(piece, &mut |bytes| {
            assert!(!bytes.is_empty() && bytes.len() <= DECODED_PIECE_BYTES);
            plain.extend_from_slice(bytes);
            Ok(())
        });
        if let Err(failure) = pushed {
            assert_eq!(decoder.push(b"more", &mut |_| panic!("it failed")), Err(failure));
            assert_eq!(decoder.end_into(kept), Err(failure));
            return Err(failure);
        }
    }
    decoder.end_into(kept)?;
    Ok(plain)
}

fn whole(coding: Coding, coded: &[u8]) -> Result<Vec<u8>, Failure> {
    decode(coding, Bounds::default(), &[coded])
}

fn class(result: Result<Vec<u8>, Failure>) -> FailureClass {
    result.expect_err("it must fail").class
}

/// Text that compresses, about so long.
fn text(len: usize) -> Vec<u8> {
    let words = ["hay ", "raked ", "into ", "rows ", "ready ", "to be carried in\n"];
    let mut state = 7_u64;
    let mut text = Vec::new();
    while text.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.extend_from_slice(words[(state >> 33) as usize % words.len()].as_bytes());
    }
    text
}

#[test]
fn the_header_is_read() {
    let of = |values: &[&str]| Coding::of(values.iter().map(|value| value.as_bytes()));
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&["identity", "", " , "]), Ok(None));
    assert_eq!(of(&["aws-chunked"]), Ok(None));
    assert_eq!(of(&["aws-chunked,GZIP"]), Ok(Some(Coding::Gzip)));
    assert_eq!(of(&["x-gzip"]), Ok(Some(Coding::Gzip)));
    assert_eq!(of(&[" deflate "]), Ok(Some(Coding::Deflate)));
    assert_eq!(of(&["br", "identity"]), Ok(Some(Coding::Brotli)));
    assert_eq!(of(&["zstd"]), Ok(Some(Coding::Zstd)));
    for bad in [&["gzip, gzip"][..], &["gzip", "br"], &["compress"], &["gzip;q=1"], &["utf-8"]] {
        assert_eq!(of(bad).expect_err("not undone").class, FailureClass::Encoding, "{bad:?}");
    }
    for coding in accept().split(", ") {
        assert!(of(&[coding]).expect("asked for").is_some());
    }
}

#[test]
fn contexts_are_used_again_whatever_became_of_the_last_body() {
    let mut kept = Kept::default();
    let plain = text(200_000);
    for round in 0..3 {
        for coding in ALL {
            let coded = encode(coding, &plain);
            let (half, _) = coded.split_at(coded.len() / 2);
            let bounds = Bounds::default();
            let cut = decode_with(&mut kept, coding, bounds, &[half]);
            assert_eq!(class(cut), FailureClass::Truncated, "{coding:?}");
            let noise = decode_with(&mut kept, coding, bounds, &[half, &[0xA5; 4000]]);
            assert!(noise.is_err(), "{coding:?}");
            let again = decode_with(&mut kept, coding, bounds, &[&coded]);
            assert_eq!(again.unwrap(), plain, "{coding:?} in round {round}");
        }
        let again = decode_with(&mut kept, Coding::Deflate, Bounds::default(), &[&bare(&plain)]);
        assert_eq!(again.unwrap(), plain);
    }
}

#[test]
fn what_is_cut_at_any_byte_is_truncated() {
    for plain in [text(3000), Vec::new(), b"x".to_vec()] {
        for coding in ALL {
            let coded = encode(coding, &plain);
            for cut in 0..coded.len() {
                let result = whole(coding, &coded[..cut]);
                assert_eq!(class(result), FailureClass::Truncated, "{coding:?} cut at {cut}");
            }
        }
        let coded = bare(&plain);
        for cut in 0..coded.len() {
            assert_eq!(
                class(whole(Coding::Deflate, &coded[..cut])),
                FailureClass::Truncated,
                "{cut}"
            );
        }
    }
}

#[test]
fn nothing_may_follow() {
    for coding in ALL {
        let coded = encode(coding, &text(3000));
        for more in [&b"\0"[..], b"more of it", b"\x1f", b"\x1f\x8b\x09"] {
            // What begins as another member would may be one that is cut.
            let cut = coding == Coding::Gzip && more == b"\x1f";
            let expected = if cut { FailureClass::Truncated } else { FailureClass::Encoding };
            let whole = whole(coding, &[&coded, more].concat());
            assert_eq!(class(whole), expected, "{coding:?} {more:?}");
            let pieces = decode(coding, Bounds::default(), &[&coded, more]);
            assert_eq!(class(pieces), expected, "{coding:?} {more:?}");
        }
    }
}

#[test]
fn members_and_frames_in_a_row_are_one_body() {
    let parts = [text(3000), Vec::new(), text(100_000)];
    for coding in [Coding::Gzip, Coding::Zstd] {
        let coded: Vec<_> = parts.iter().flat_map(|part| encode(coding, part)).collect();
        assert_eq!(whole(coding, &coded).unwrap(), parts.concat(), "{coding:?}");
    }
    // A frame that is to be skipped (RFC 8878 section 3.1.2).
    let skipped = [&b"\x5A\x2A\x4D\x18\x03\0\0\0abc"[..], &encode(Coding::Zstd, b"x")].concat();
    assert_eq!(whole(Coding::Zstd, &skipped).unwrap(), b"x");
}

#[test]
fn headers_of_gzip_are_passed_over() {
    let plain = text(500);
    let coded = encode(Coding::Gzip, &plain);
    for flags in 0..32_u8 {
        let mut head = vec![0x1F, 0x8B, 8, flags, 1, 2, 3, 4, 0, 3];
        if flags & 4 != 0 {
            head.extend_from_slice(if flags & 1 == 0 { b"\x05\0extra" } else { b"\0\0" });
        }
        if flags & 8 != 0 {
            head.extend_from_slice(b"name\0");
        }
        if flags & 16 != 0 {
            head.extend_from_slice(b"\0");
        }
        if flags & 2 != 0 {
            head.extend_from_slice(b"\x01\x02");
        }
        let coded = [&head, &coded[10..]].concat();
        assert_eq!(whole(Coding::Gzip, &coded).unwrap(), plain, "flags {flags}");
        let bytes: Vec<_> = coded.chunks(1).collect();
        assert_eq!(decode(Coding::Gzip, Bounds::default(), &bytes).unwrap(), plain);
    }
    let mut reserved = coded;
    reserved[3] = 0x20;
    assert_eq!(class(whole(Coding::Gzip, &reserved)), FailureClass::Encoding);
}

#[test]
fn damage_is_noticed_where_the_coding_has_a_checksum() {
    let plain = text(2000);
    let mut passed = 0;
    for at in 0..encode(Coding::Gzip, &plain).len() {
        for bit in 0..8 {
            // Of the header, flags, date and system say nothing about the data.
            if !(3..10).contains(&at) {
                let mut coded = encode(Coding::Gzip, &plain);
                coded[at] ^= 1 << bit;
                // Bits that fill the last byte of the data up stand for nothing.
                let result = whole(Coding::Gzip, &coded);
                assert!(result.is_err() || result == Ok(plain.clone()), "byte {at} bit {bit}");
                passed += u32::from(result.is_ok());
            }
        }
    }
    assert!(passed < 8, "{passed} bits made no difference");
}

#[test]
fn bombs_end_early() {
    const GIB: usize = 1 << 30;
    for coding in ALL {
        let zeros = vec![0; 8 << 20];
        let bomb = encode(coding, &zeros);
        let mut given = 0;
        let mut decoder = Decoder::new(coding, Bounds::new(10 * GIB as u64));
        let failure = decoder
            .push(&bomb, &mut |bytes| {
                given += bytes.len();
                Ok(())
            })
            .expect_err("it expands too much");
        assert_eq!(
            (failure.class, failure.detail),
            (FailureClass::Encoding, "the body expands too much",)
        );
        assert!(given <= 2 << 20, "{coding:?} gave {given}");
        // Up to the free bytes anything goes.
        assert_eq!(whole(coding, &encode(coding, &zeros[..1 << 20])).unwrap().len(), 1 << 20);
        // And what the largest object is holds whatever the ratio.
        let plain = text(300_000);
        let coded = encode(coding, &plain);
        let bounds = Bounds::new(plain.len() as u64);
        assert_eq!(decode(coding, bounds, &[&coded]).unwrap(), plain);
        let bounds = Bounds::new(plain.len() as u64 - 1);
        assert_eq!(class(decode(coding, bounds, &[&coded])), FailureClass::TooLarge);
    }
}

#[test]
fn large_windows_are_refused() {
    let coded = |log: u32| {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&text(1000)).unwrap();
        encoder.finish().unwrap()
    };
    assert!(whole(Coding::Zstd, &coded(ZSTD_WINDOW_LOG)).is_ok());
    let failure = whole(Coding::Zstd, &coded(ZSTD_WINDOW_LOG + 1)).expect_err("too large");
    assert_eq!(failure.class, FailureClass::Encoding);
    assert_eq!(failure.detail, "the zstd window is larger than 8 MiB");
}

#[test]
fn what_the_taker_says_ends_it() {
    let refused = Failure::new(FailureClass::TooLarge, "no room");
    for coding in ALL {
        let mut decoder = Decoder::new(coding, Bounds::default());
        let mut calls = 0;
        let pushed = decoder.push(&encode(coding, &text(300_000)), &mut |_| {
            calls += 1;
            Err(refused)
        });
        assert_eq!((pushed, calls), (Err(refused), 1), "{coding:?}");
        assert_eq!(decoder.end(), Err(refused));
    }
}

proptest! {
    #[test]
    fn every_cut_gives_the_same(
        runs in prop::collection::vec((any::<u8>(), 1..3000_usize), 0..60),
        noise in prop::collection::vec(any::<u8>(), 0..3000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        by_bytes in any::<bool>(),
    ) {
        let mut plain: Vec<u8> = Vec::new();
        for (byte, len) in runs {
            plain.extend(std::iter::repeat_n(byte, len));
        }
        plain.extend(noise);
        let mut kept = Kept::default();
        let mut all: Vec<_> = ALL.map(|coding| (coding, encode(coding, &plain))).into();
        all.push((Coding::Deflate, bare(&plain)));
        for (coding, coded) in all {
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(coded.len() + 1)).collect();
            if by_bytes {
                at.extend(0..coded.len().min(200));
            }
            at.extend([0, coded.len()]);
            at.sort_unstable();
            let pieces: Vec<_> = at.windows(2).map(|pair| &coded[pair[0]..pair[1]]).collect();
            let result = decode_with(&mut kept, coding, Bounds::default(), &pieces);
            prop_assert_eq!(result.as_deref(), Ok(&plain[..]), "{:?}", coding);
        }
    }

    #[test]
    fn noise_neither_panics_nor_depends_on_cuts(
        noise in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>(),
        valid in any::<bool>(),
    ) {
        for coding in ALL {
            let mut coded = noise.clone();
            if valid {
                // The front of something sound, and then noise.
                let mut sound = encode(coding, &text(400));
                sound.truncate(cut.index(sound.len()));
                sound.extend(coded);
                coded = sound;
            }
            let (front, back) = coded.split_at(cut.index(coded.len() + 1));
            let at_once = whole(coding, &coded);
            prop_assert_eq!(at_once, decode(coding, Bounds::default(), &[front, back]));
        }
    }
}
