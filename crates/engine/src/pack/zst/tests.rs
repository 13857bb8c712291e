//! Round trips; records that are too large for a frame; cuts; damage.

use super::*;
use crate::pack::columns::Columns;
use crate::pack::jsonl::tests::{
    Object, Pieces, Slow, all, assert_found, bear, next, objects, written,
};
use crate::pack::jsonl::{Jsonl, read};
use crate::pack::{Decode, ReadAt};
use proptest::prelude::*;

fn framed() -> Framed<Jsonl> {
    Framed::new(Jsonl::new(Columns::all(), false), 1).unwrap()
}

/// Text that does not compress well.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'!' + (state >> 24) as u8 % 90
    };
    (0..bytes).map(|_| byte()).collect()
}

/// The file's frames: where each begins.
fn frames(file: &[u8]) -> Vec<u64> {
    let mut begins = Vec::new();
    let mut at = 0;
    while at < file.len() {
        begins.push(at as u64);
        at += zstd::zstd_safe::find_frame_compressed_size(&file[at..]).unwrap();
    }
    begins
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_written_is_read(
        objects in objects(),
        step in 500..70_000_usize,
        slow in prop_oneof![Just(1 << 20), 1..100_usize],
    ) {
        let (file, places) = written(&mut framed(), &objects, step);
        let plain = written(&mut Jsonl::new(Columns::all(), false), &objects, step).0;
        if !objects.is_empty() {
            prop_assert_eq!(zstd::stream::decode_all(&file[..]).unwrap(), plain);
        }
        assert_found(&mut read_lines(Slow(&file, slow)).unwrap(), &objects, &places)?;
    }

    #[test]
    fn damage_is_borne(at: prop::sample::Index, byte: u8, place: u64) {
        let mut encoder = framed();
        let mut file = Vec::new();
        for ordinal in 0..20 {
            let record = Record { name: b"name", ordinal, meta: None };
            encoder.record(&record, &mut &noise(500)[..], &mut file).unwrap();
            if ordinal % 5 == 0 {
                encoder.frame(&mut file).unwrap();
            }
        }
        encoder.frame(&mut file).unwrap();
        let cut = at.index(file.len());
        let read = all(&mut read_lines(&file[..cut]).unwrap());
        prop_assert_eq!(read.is_ok(), frames(&file).contains(&(cut as u64)), "cut at {}", cut);
        let changed = file[cut] != byte;
        file[cut] = byte;
        let read = all(&mut read_lines(&file[..]).unwrap());
        // The checksum finds all of it.
        prop_assert_eq!(read.is_err(), changed, "flipped at {}", cut);
        let _ = read_lines(&file[..]).unwrap().seek(place);
        let mut lines = read_lines(&file[..]).unwrap();
        if lines.seek((cut as u64) << OFFSET_BITS | place & 0xFFFF).is_ok() {
            bear(&mut lines, file.len());
        }
    }
}

#[test]
fn large_records_get_frames_of_their_own() {
    let body = |bytes| noise(bytes);
    let sizes = [100, ZST_FRAME_BYTES, 50, 3 * ZST_FRAME_BYTES, 0, 16 << 20, 1, MOST, MOST - 200];
    let named = |(at, &bytes)| (format!("{at}").into_bytes(), body(bytes), None);
    let objects: Vec<Object> = sizes.iter().enumerate().map(named).collect();
    let (file, places) = written(&mut framed(), &objects, 100_000);
    assert_found(&mut read_lines(&file[..]).unwrap(), &objects, &places).unwrap();
    // Each frame says how large it is and holds whole lines; it is cut at any of them.
    for begin in frames(&file) {
        let rest = &file[begin as usize..];
        let size = zstd::zstd_safe::get_frame_content_size(rest).unwrap().unwrap();
        let bytes = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
        let raw = zstd::stream::decode_all(&rest[..bytes]).unwrap();
        assert_eq!(raw.len() as u64, size);
        assert_eq!(raw.last(), Some(&b'\n'));
        // RFC 8878 section 3.1.1.1.1: the bit of the checksum.
        assert!(rest[4] & 4 != 0);
        let left = all(&mut read_lines(&file[..begin as usize]).unwrap()).unwrap();
        assert_eq!(left.len(), places.iter().filter(|&&p| p >> OFFSET_BITS < begin).count());
    }
    for at in [3, 5, 7] {
        assert!(
            frames(&file).contains(&(places[at] >> OFFSET_BITS)) && places[at] & 0xFF_FFFF == 0
        );
    }
}

#[test]
fn complete_is_what_can_be_read() {
    let mut encoder = framed();
    let mut out = Vec::new();
    let body = noise(10_000);
    let mut whole = 0;
    for ordinal in 0..200 {
        let record = Record { name: b"n", ordinal, meta: None };
        let mut body = Pieces(&body, 7000);
        if encoder.record(&record, &mut body, &mut out).unwrap().1 {
            whole = ordinal + 1;
        }
        if ordinal % 7 == 0 {
            let read = all(&mut read_lines(&out[..]).unwrap()).unwrap();
            assert_eq!(read.len() as u64, whole);
        }
    }
    assert!((100..200).contains(&whole));
    encoder.frame(&mut out).unwrap();
    assert_eq!(all(&mut read_lines(&out[..]).unwrap()).unwrap().len(), 200);
    let bytes = out.len();
    encoder.frame(&mut out).unwrap();
    encoder.end(&mut out).unwrap();
    assert_eq!(out.len(), bytes, "nothing to add");
}

/// A body whose second half cannot be read.
struct Broken(u32);

impl Content for Broken {
    fn len(&self) -> u64 {
        8 << 20
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    fn pieces(&mut self, piece: &mut crate::pack::Pieces<'_>) -> io::Result<()> {
        (0..4).try_for_each(|_| piece(&[b'x'; 1 << 20]))?;
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        (0..4).try_for_each(|_| piece(&[b'x'; 1 << 20]))
    }
}

#[test]
fn a_body_that_breaks_leaves_the_others() {
    for good in 0..4 {
        let mut encoder = framed();
        let mut out = Vec::new();
        let mut store = |name: &[u8], body: &mut dyn Content, out: &mut Vec<u8>| {
            let record = Record { name, ..Record::default() };
            encoder.record(&record, body, out)
        };
        store(b"a", &mut &b"1"[..], &mut out).unwrap();
        assert!(store(b"b", &mut Broken(good), &mut out).is_err());
        // What was begun of it is cut by whoever keeps the file.
        if good == 3 {
            out.truncate(*frames_until_broken(&out).last().unwrap());
        }
        store(b"c", &mut &b"2"[..], &mut out).unwrap();
        encoder.frame(&mut out).unwrap();
        let names: Vec<_> = all(&mut read_lines(&out[..]).unwrap())
            .unwrap()
            .into_iter()
            .map(|f| f.0.name)
            .collect();
        assert_eq!(names, [b"a", b"c"], "{good}");
    }
}

/// Ends of the frames that are whole.
fn frames_until_broken(file: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    let mut at = 0;
    while let Ok(bytes) = zstd::zstd_safe::find_frame_compressed_size(&file[at..]) {
        at += bytes;
        ends.push(at);
        if at == file.len() {
            break;
        }
    }
    ends
}

#[test]
fn frames_of_other_tools_are_read() {
    let (plain, _) = written(
        &mut Jsonl::new(Columns::all(), false),
        &[(b"a".to_vec(), noise(1000), None), (b"b".to_vec(), noise(400_000), None)],
        1000,
    );
    assert_eq!(all(&mut read(&plain[..])).unwrap().len(), 2);
    // Lines over frames of unknown size, a frame that is empty, one to be skipped (RFC 8878
    // section 3.1.2).
    let mut file = Vec::new();
    for half in plain.chunks(plain.len() / 2 + 1) {
        file.extend(zstd::stream::encode_all(half, 5).unwrap());
        file.extend(zstd::stream::encode_all(&b""[..], 5).unwrap());
        file.extend(b"\x50\x2A\x4D\x18\x03\x00\x00\x00abc");
    }
    let found = all(&mut read_lines(&file[..]).unwrap()).unwrap();
    assert_eq!(found.iter().map(|(found, _)| found.bytes).collect::<Vec<_>>(), [1000, 400_000]);
}

#[test]
fn windows_and_places_are_bounded() {
    // A frame that asks for a window of 2^41 bytes.
    let mut lines = read_lines(&b"\x28\xB5\x2F\xFD\x00\xF8\x01\x00\x00"[..]).unwrap();
    assert_eq!(next(&mut lines).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(place(1 << 40, 0).is_err() && place(0, 1 << 24).is_err());
    assert_eq!(place((1 << 40) - 1, (1 << 24) - 1).unwrap(), u64::MAX);
    // Behind 2^24 bytes of one frame no place can be said.
    let many = b"{\"name\":\"a\",\"body\":\"\"}\n".repeat(1 << 20);
    let file = zstd::stream::encode_all(&many[..], 1).unwrap();
    let mut lines = read_lines(&file[..]).unwrap();
    let error = all(&mut lines).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!((&file[..]).size().unwrap() < 1 << 20);
}
