//! Any bytes as a tar file: no panic, and memory grows only with bytes that are there. Half of the
//! inputs get their header checksums mended, or hardly any would pass.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windrow_engine::pack::tar::{entry, read};

fuzz_target!(|input: (bool, &[u8])| {
    let (plain, bytes) = input;
    let mut tar = bytes.to_vec();
    if !plain {
        for block in tar.chunks_exact_mut(512) {
            mend(block);
        }
    }
    let mut end = 0;
    let mut members = 0;
    let read = read::for_each(tar.as_slice(), |member| {
        let at = usize::try_from(member.offset).expect("inside the file");
        assert!(at >= end, "members overlap");
        assert_eq!(tar.get(at..at + member.body.len()), Some(member.body));
        end = at + member.body.len();
        members += 1;
    });
    if let Ok(count) = read {
        assert_eq!(count, members);
        assert_eq!(tar.len() % 512, 0);
    }
    // By its headers alone, from any block on.
    let mut bytes = tar.as_slice();
    for at in (0..tar.len() as u64).step_by(512) {
        let mut member = entry::Entry::default();
        let found = entry::find(&mut bytes, at, &mut member).expect("memory can be read");
        if found == entry::Found::Member {
            assert!(member.body > at && member.end - member.body >= member.bytes);
        }
        let _ = entry::guess(&mut bytes, at, true).expect("memory can be read");
        let _ = entry::repairs(&mut bytes, at).expect("memory can be read");
    }
});

/// Writes the right checksum into what looks like a header.
fn mend(block: &mut [u8]) {
    if !matches!(block[156], b'0' | b'x') {
        return;
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    block[154] = 0;
}
