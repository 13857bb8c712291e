//! Any bytes as a file of the ledger: no panic, no loop without end, and what counts is read twice
//! alike. Half of the inputs are cut into frames with right checksums, or hardly any would pass.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rustix::io::Errno;
use windrow_engine::disk::{File, Synced};
use windrow_engine::ledger::frame::{Frame, Header, Kind};
use windrow_engine::ledger::replay::{examine, visit};

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl File for Bytes {
    fn write_at(&self, _: &[u8], _: u64) -> Result<(), Errno> {
        unreachable!("reading writes nothing")
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn size(&self) -> Result<u64, Errno> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _: u64) -> Result<(), Errno> {
        unreachable!("reading cuts nothing")
    }

    fn sync(&self) -> Result<Synced, Errno> {
        unreachable!("reading syncs nothing")
    }
}

fuzz_target!(|input: (bool, bool, Vec<(u8, Vec<u8>)>, Vec<u8>)| {
    let (listing, framed, frames, tail) = input;
    let kind = if listing { Kind::Listing } else { Kind::Core };
    let mut bytes = Header { kind, run: 1 }.encode().to_vec();
    if framed {
        for (kind, payload) in frames {
            let start = bytes.len();
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.push(kind % 12);
            bytes.extend_from_slice(&payload);
            let sum = crc32c::crc32c(&bytes[start..]);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&tail);
    let file = Bytes(bytes);
    let Ok(kept) = examine(&file, kind, 1, Some([1; 16])) else { return };
    assert!(kept.len + kept.cut == file.0.len() as u64);
    assert!(kept.committed <= file.0.len() as u64 && kept.proven <= kept.len.max(kept.proven));
    let mut ordinals = 0_u64;
    let _ = visit(&file, kept.len, |frame| {
        match frame {
            Frame::Stored(stored) => stored.ordinals.ordinals(|_| ordinals += 1)?,
            Frame::Failed(failed) => failed.failures(|_| ordinals += 1)?,
            Frame::Sealed(packs) => packs.packs(|_| ordinals += 1)?,
            Frame::Reopened(set) | Frame::Skipped(set) => set.ordinals(|_| ordinals += 1)?,
            _ => {}
        }
        Some(())
    });
    // No more is read than there are bytes for.
    assert!(ordinals <= file.0.len() as u64);
    // What counts, read again by itself, counts whole.
    if kept.len > 0 {
        let again = Bytes(file.0[..kept.len as usize].to_vec());
        let kept = examine(&again, kind, 1, Some([1; 16])).expect("what counts is no damage");
        assert_eq!(kept.cut, 0);
    }
});
