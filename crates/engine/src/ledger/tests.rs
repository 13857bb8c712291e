//! The ledger read back: whole, cut, damaged; its size; what earlier versions wrote.

use super::frame::{HEADER_BYTES, Header, HeaderError, Kind, Page, VERSION};
use super::*;
use crate::disk::sim::{Random, Sim};
use crate::disk::{Dir, Disk, Use};
use proptest::prelude::*;
use roaring::RoaringTreemap;
use std::collections::{BTreeMap, BTreeSet};
use windrow_model::{Batch, FailedObject, FailureClass, InPack, Ordinal};

const RUN: u64 = 0x1234_5678_9abc_def0;
const BOOT: Option<[u8; 16]> = Some([7; 16]);

fn load(sim: &Sim, boot: Option<[u8; 16]>) -> Result<Past, windrow_model::Error> {
    load_in(sim, RUN, boot, &|_| RoaringTreemap::new())
}

fn open(sim: &Sim, cores: usize, past: &Past) -> Ledger {
    Ledger::open_in(sim, RUN, cores, past, BOOT).unwrap()
}

fn batch(ordinals: impl IntoIterator<Item = Ordinal>) -> Batch {
    let ordinals: Vec<_> = ordinals.into_iter().collect();
    let manifest = ordinals.iter().flat_map(|ordinal| (*ordinal as u32).to_le_bytes()).collect();
    let bytes = ordinals.len() as u64 * 100;
    Batch { ordinals, manifest, bytes }
}

fn list(ledger: &Ledger, first: Ordinal, count: u64) {
    let marker = (first > 0).then(|| format!("m{first}"));
    let next = format!("m{}", first + count);
    let page = Page {
        first,
        count,
        skipped: 0,
        fingerprint: u128::from(first) << 64 | 5,
        marker: marker.as_deref(),
        next: Some(&next),
    };
    ledger.listing.page(&page).unwrap();
}

fn synced(sim: &Sim) -> crate::disk::Synced {
    sim.sync_all().unwrap()
}

/// A ledger with a bit of everything: two cores, packs, failures, two sessions.
fn sample() -> Sim {
    let sim = Sim::default();
    let mut ledger = open(&sim, 2, &Past::default());
    list(&ledger, 0, 100);
    list(&ledger, 100, 50);
    let pack = |number, len, full| Some(InPack { number, len, full });
    let [one, two] = &mut ledger.cores[..] else { unreachable!() };
    one.stored(pack(0, 10_240, false), &mut batch(0..10)).unwrap();
    one.stored(pack(0, 20_480, true), &mut batch((10..40).step_by(2))).unwrap();
    one.commit(synced(&sim)).unwrap();
    one.sealed(&[0]).unwrap();
    two.stored(pack(1, 4096, false), &mut batch(100..104)).unwrap();
    let failed = |ordinal, class| FailedObject { ordinal, class, status: 404, attempts: 6 };
    let mut failures = [failed(11, FailureClass::NotFound), failed(13, FailureClass::Server)];
    two.failed(&mut failures).unwrap();
    two.commit(synced(&sim)).unwrap();
    drop(ledger);
    let past = load(&sim, BOOT).unwrap();
    let mut ledger = open(&sim, 2, &past);
    ledger.listing.reopen([13].into_iter()).unwrap();
    list(&ledger, 150, 50);
    ledger.cores[1].stored(pack(1, 8192, false), &mut batch([13, 104, 105])).unwrap();
    ledger.cores[1].commit(synced(&sim)).unwrap();
    sim
}

#[test]
fn what_was_recorded_is_read() {
    let past = load(&sample(), BOOT).unwrap();
    let state = &past.state;
    let stored: BTreeSet<u64> = state.stored.iter().collect();
    let expected = (0..10).chain((10..40).step_by(2)).chain(100..106).chain([13]);
    assert_eq!(stored, expected.collect());
    assert_eq!(state.failures(), 1);
    assert!(state.failed[&FailureClass::NotFound].contains(11));
    assert_eq!(state.bytes, stored.len() as u64 * 100);
    assert_eq!(state.generation, 2);
    let pack = state.packs[&0];
    assert_eq!((pack.len, pack.objects, pack.full, pack.sealed), (20_480, 25, true, true));
    let pack = state.packs[&1];
    assert_eq!((pack.len, pack.objects, pack.full, pack.sealed), (8192, 7, false, false));
    assert_eq!(past.listed(), 200);
    assert_eq!(past.pages.open.len(), 3);
    assert_eq!(past.pages.open[1].marker.as_deref(), Some("m100"));
    assert_eq!(past.pages.cursor.marker.as_deref(), Some("m200"));
    assert_eq!(past.cut(), 0);
}

/// Files of the ledger with what they hold.
fn files(sim: &Sim) -> Vec<(String, Vec<u8>)> {
    sim.files(Dir::Ledger).into_iter().collect()
}

/// A disk with these files.
fn disk_of(files: &[(String, Vec<u8>)]) -> Sim {
    let sim = Sim::default();
    for (name, bytes) in files {
        sim.create(Dir::Ledger, name, Use::Plain).unwrap().write_at(bytes, 0).unwrap();
    }
    sim
}

#[test]
fn a_tail_that_is_torn_is_cut_and_what_is_before_it_counts() {
    let files = files(&sample());
    let whole = load(&disk_of(&files), BOOT).unwrap().state.stored;
    for (index, (name, bytes)) in files.iter().enumerate() {
        for cut in 0..bytes.len() {
            let mut files = files.clone();
            files[index].1.truncate(cut);
            // The listing may be short of pages then; nothing else is wrong.
            match load(&disk_of(&files), BOOT) {
                Ok(past) => {
                    assert!(past.state.stored.is_subset(&whole), "{name} cut at {cut}");
                    assert!(
                        cut > 0 || past.state.stored.len() < whole.len() || name == "listing.wl"
                    );
                }
                Err(error) => {
                    assert_eq!(name, "listing.wl", "cut at {cut}: {error}");
                    assert!(error.to_string().contains("the listing never gave"), "{error}");
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_before_the_tail_is_found() {
    let files = files(&sample());
    let whole = load(&disk_of(&files), BOOT).unwrap();
    let (mut damaged, mut cut) = (0, 0);
    for (index, (name, bytes)) in files.iter().enumerate() {
        for at in 0..bytes.len() {
            for bit in [0, 3, 7] {
                let mut files = files.clone();
                files[index].1[at] ^= 1 << bit;
                match load(&disk_of(&files), BOOT) {
                    Err(_) => damaged += 1,
                    // Behind the last sync a flipped bit and a torn write look the same.
                    Ok(past) => {
                        let proven = last_durable(bytes);
                        assert!(at >= proven, "{name}: a flip at {at} of {} unseen", bytes.len());
                        assert!(past.state.stored.is_subset(&whole.state.stored));
                        assert!(past.cut() > 0, "{name}: {at}");
                        cut += 1;
                    }
                }
            }
        }
    }
    assert!(damaged > 500 && cut > 50, "{damaged} damaged, {cut} cut");
}

/// How much of a file its own frames prove to be durable.
fn last_durable(bytes: &[u8]) -> usize {
    let (mut at, mut durable) = (HEADER_BYTES, 0);
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let mut take = codec::Take(&bytes[at + 5..at + 5 + len]);
        durable = durable.max(take.number().unwrap() as usize);
        at += len + frame::FRAME_BYTES;
    }
    durable
}

#[test]
fn what_was_not_synced_counts_for_as_long_as_the_kernel_runs() {
    let sim = Sim::default();
    let mut ledger = open(&sim, 1, &Past::default());
    list(&ledger, 0, 100);
    ledger.cores[0].stored(None, &mut batch(0..10)).unwrap();
    ledger.cores[0].commit(synced(&sim)).unwrap();
    ledger.cores[0].stored(None, &mut batch(10..30)).unwrap();
    for (boot, count) in [(BOOT, 30), (Some([8; 16]), 10), (None, 10)] {
        let past = load(&sim, boot).unwrap();
        assert_eq!(past.state.stored.len(), count, "{boot:?}");
        assert_eq!(past.state.unsynced, count == 30);
    }
    // A failed sync takes it back.
    ledger.cores[0].revoke();
    assert_eq!(load(&sim, BOOT).unwrap().state.stored.len(), 10);
}

#[test]
fn files_of_others_are_refused() {
    let files = files(&sample());
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut files = files.clone();
        change(&mut files[0].1);
        load(&disk_of(&files), BOOT).unwrap_err().to_string()
    };
    let other = Header { kind: Kind::Core, run: 1 }.encode();
    let error = refused(&|bytes| bytes[..HEADER_BYTES].copy_from_slice(&other));
    assert!(error.contains("another run"), "{error}");
    let error = refused(&|bytes| {
        bytes[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    });
    assert!(error.contains("version 2"), "{error}");
    let mut header = other;
    header[3] ^= 1;
    assert_eq!(Header::decode(&header), Err(HeaderError::Damaged));
}

#[test]
fn a_page_that_changed_takes_back_what_was_not_stored() {
    let sim = Sim::default();
    let mut ledger = open(&sim, 1, &Past::default());
    list(&ledger, 0, 100);
    list(&ledger, 100, 100);
    ledger.cores[0].stored(None, &mut batch((0..100).chain(150..160))).unwrap();
    let failed =
        FailedObject { ordinal: 170, class: FailureClass::NotFound, status: 404, attempts: 1 };
    ledger.cores[0].failed(&mut [failed]).unwrap();
    ledger.cores[0].commit(synced(&sim)).unwrap();
    ledger.listing.relist(100, 200, Some("m100")).unwrap();
    let past = load(&sim, BOOT).unwrap();
    assert_eq!((past.listed(), past.state.stored.len(), past.state.failures()), (110, 110, 0));
    assert_eq!(past.pages.cursor.marker.as_deref(), Some("m100"));
    assert!(past.pages.open.is_empty());
    list(&ledger, 200, 40);
    ledger.listing.skipped(&[200, 201]).unwrap();
    let past = load(&sim, BOOT).unwrap();
    assert_eq!((past.listed(), past.state.skipped.len()), (150, 2));
    assert_eq!(past.pages.open.len(), 1);
}

/// The bound of the format: 4 bytes for each object, at 10^7 and in the order in which a server
/// with 64 requests under way lets them come.
#[test]
fn ten_million_objects_take_less_than_four_bytes_each() {
    let sim = Sim::default();
    let count = if cfg!(debug_assertions) { 1_000_000_u64 } else { 10_000_000 };
    let mut ledger = open(&sim, 1, &Past::default());
    let mut random = Random(5);
    let mut window: Vec<u64> = Vec::new();
    let (mut next, mut done) = (0, 0);
    let mut part = Vec::new();
    while done < count {
        while window.len() < 64 && next < count {
            if next % 1000 == 0 {
                list(&ledger, next, 1000);
            }
            window.push(next);
            next += 1;
        }
        let at = random.below(window.len() as u64) as usize;
        part.push(window.swap_remove(at));
        done += 1;
        if part.len() == 256 || done == count {
            let mut batch = batch(part.drain(..));
            batch.manifest.clear();
            let pack = InPack { number: (done / 10_000) as u32, len: done * 1024, full: false };
            ledger.cores[0].stored(Some(pack), &mut batch).unwrap();
        }
    }
    ledger.cores[0].commit(synced(&sim)).unwrap();
    let bytes: usize = files(&sim).iter().map(|(_, bytes)| bytes.len()).sum();
    let each = bytes as f64 / count as f64;
    println!("{each:.3} bytes for each object");
    assert!(each < 4.0, "{each}");
    assert_eq!(load(&sim, BOOT).unwrap().state.stored.len(), count);
}

/// Ledgers that windrow wrote, kept as files: what one version wrote, all later ones read.
#[test]
fn golden_ledgers_are_read() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |folder: &str| -> Vec<(String, Vec<u8>)> {
        let names = ["core-0000.wl", "core-0001.wl", "listing.wl"];
        let read = |name: &str| std::fs::read(golden.join(folder).join(name));
        names.iter().map(|name| ((*name).to_owned(), read(name).expect("a golden file"))).collect()
    };
    if std::env::var_os("WINDROW_GOLDEN").is_some() {
        // Written anew when the format gets a new version, never to make this test pass.
        let folder = golden.join("whole-1");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, mut bytes) in files(&sample()) {
            // The time of the session is not part of what is compared.
            std::fs::write(folder.join(name), std::mem::take(&mut bytes)).unwrap();
        }
    }
    let whole = read("whole-1");
    let past = load(&disk_of(&whole), None).unwrap();
    let summary = (past.state.stored.len(), past.state.failures(), past.listed(), past.cut());
    assert_eq!(summary, (32, 1, 200, 0));
    assert_eq!(past.state.packs.len(), 2);
    // The same with a torn tail, with garbage behind it, and with a flipped bit in the middle.
    let mut torn = whole.clone();
    let len = torn[1].1.len();
    torn[1].1.truncate(len - 5);
    let past = load(&disk_of(&torn), None).unwrap();
    assert!(past.cut() > 0 && past.state.stored.len() == 29, "{}", past.state.stored.len());
    let mut longer = whole.clone();
    longer[0].1.extend_from_slice(&[0; 700]);
    assert_eq!(load(&disk_of(&longer), None).unwrap().cut(), 700);
    let mut flipped = whole;
    flipped[1].1[HEADER_BYTES + 20] ^= 4;
    let error = load(&disk_of(&flipped), None).unwrap_err().to_string();
    assert!(error.contains("core-0001.wl") && error.contains("damaged at byte 32"), "{error}");
}

proptest! {
    /// Whatever happens in whatever order: the ledger says what a simple model says.
    #[test]
    fn the_ledger_is_a_set(seed in any::<u64>(), steps in 1..60_usize) {
        let sim = Sim::default();
        let mut random = Random(seed);
        let mut past = Past::default();
        let mut ledger = open(&sim, 2, &past);
        let mut model: BTreeMap<u64, Option<FailureClass>> = BTreeMap::new();
        let mut open_ordinals: Vec<u64> = Vec::new();
        let mut next = 0;
        for _ in 0..steps {
            match random.below(5) {
                0 => {
                    let count = 1 + random.below(30);
                    list(&ledger, next, count);
                    open_ordinals.extend(next..next + count);
                    next += count;
                }
                1 => {
                    // The process ends, another one goes on.
                    drop(ledger);
                    past = load(&sim, BOOT).unwrap();
                    ledger = open(&sim, 2, &past);
                }
                kind if !open_ordinals.is_empty() => {
                    let count = 1 + random.below(open_ordinals.len() as u64) as usize;
                    let mut picked: Vec<u64> = Vec::new();
                    for _ in 0..count.min(20) {
                        if open_ordinals.is_empty() { break; }
                        let at = random.below(open_ordinals.len() as u64) as usize;
                        picked.push(open_ordinals.swap_remove(at));
                    }
                    let core = &mut ledger.cores[random.below(2) as usize];
                    if kind == 2 {
                        let class = FailureClass::ALL[random.below(14) as usize];
                        let mut failures: Vec<_> = picked
                            .iter()
                            .map(|&ordinal| FailedObject { ordinal, class, status: 500, attempts: 2 })
                            .collect();
                        core.failed(&mut failures).unwrap();
                        model.extend(picked.iter().map(|&ordinal| (ordinal, Some(class))));
                    } else {
                        core.stored(None, &mut batch(picked.iter().copied())).unwrap();
                        model.extend(picked.iter().map(|&ordinal| (ordinal, None)));
                    }
                    if random.chance(30) {
                        core.commit(synced(&sim)).unwrap();
                    }
                }
                _ => {}
            }
        }
        let past = load(&sim, BOOT).unwrap();
        prop_assert_eq!(past.pages.next, next);
        for ordinal in 0..next {
            let expected = model.get(&ordinal);
            prop_assert_eq!(past.state.stored.contains(ordinal), expected == Some(&None));
            for (class, failed) in &past.state.failed {
                prop_assert_eq!(failed.contains(ordinal), expected == Some(&Some(*class)));
            }
            prop_assert_eq!(past.state.settled(ordinal), expected.is_some());
        }
    }

    /// No bytes make reading panic, or give what was never written.
    #[test]
    fn garbage_is_no_ledger(tail in prop::collection::vec(any::<u8>(), 0..200), cut in 0..400_usize) {
        let mut files = files(&sample());
        for (_, bytes) in &mut files {
            let len = bytes.len();
            bytes.truncate(len.saturating_sub(cut));
            bytes.extend_from_slice(&tail);
        }
        if let Ok(past) = load(&disk_of(&files), BOOT) {
            prop_assert!(past.state.stored.iter().all(|ordinal| ordinal < 200));
        }
    }
}
