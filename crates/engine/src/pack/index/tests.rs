//! Whatever the entries are and whatever becomes of the files: of a pack that the index has, every
//! object is found, and no place is given that was not put in.

use super::lookup::Index;
use super::merge::merge_by;
use super::run::PER_PAGE;
use super::{ALL, Entry, Gather, build, forget, merge, write};
use crate::disk::sim::{Random, Sim};
use crate::disk::{Dir, Disk, Use};
use crate::pack::{Decode, Found};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

const OWNER: u64 = 0xABCD;

/// Hashes and places, by pack.
type Packs = BTreeMap<u32, Vec<(u64, u64)>>;

/// Writes packs into runs as a sink would, a part after every `part` objects.
fn put(disk: &Sim, packs: &Packs, part: usize) -> io::Result<()> {
    let mut gather = Gather::new(OWNER, 1);
    for (&pack, objects) in packs {
        for (index, &(hash, place)) in objects.iter().enumerate() {
            gather.add_hash(hash, place);
            if (index + 1) % part == 0 {
                write(disk, &gather.part(pack))?;
            }
        }
        write(disk, &gather.seal(pack))?;
    }
    Ok(())
}

fn found(index: &Index<'_>, hash: u64) -> io::Result<BTreeSet<(u32, u64)>> {
    index.lookup_hash(hash).collect()
}

/// Entries by hash.
fn by_hash(packs: &Packs) -> BTreeMap<u64, BTreeSet<(u32, u64)>> {
    let mut all: BTreeMap<u64, BTreeSet<_>> = BTreeMap::new();
    for (&pack, objects) in packs {
        for &(hash, place) in objects {
            all.entry(hash).or_default().insert((pack, place));
        }
    }
    all
}

/// Asserts what must hold of an index after anything: gives how many packs it has.
fn check(disk: &Sim, packs: &Packs, context: &str) -> usize {
    let index = Index::open(disk, OWNER).unwrap();
    for (hash, expected) in by_hash(packs) {
        let Ok(found) = found(&index, hash) else { continue };
        assert!(found.is_subset(&expected), "{context}: {hash:x}: {found:?}, not {expected:?}");
        for place in expected.difference(&found) {
            assert!(!index.covers(place.0), "{context}: {hash:x}: {place:?} is missing");
        }
    }
    packs.keys().filter(|pack| index.covers(**pack)).count()
}

/// The same where nothing happened.
fn check_whole(disk: &Sim, packs: &Packs) {
    assert_eq!(check(disk, packs, "whole"), packs.len());
    let index = Index::open(disk, OWNER).unwrap();
    assert!(index.damaged().is_empty());
    let all = by_hash(packs);
    for (number, (&hash, expected)) in all.iter().enumerate() {
        assert_eq!(&found(&index, hash).unwrap(), expected);
        if number % 8 > 0 {
            continue;
        }
        for near in [hash.wrapping_sub(1), hash.wrapping_add(1)] {
            assert_eq!(found(&index, near).unwrap(), all.get(&near).cloned().unwrap_or_default());
        }
    }
    for hash in [0, 1, u64::MAX / 2, u64::MAX] {
        assert_eq!(found(&index, hash).unwrap(), all.get(&hash).cloned().unwrap_or_default());
    }
}

fn packs(most: usize) -> impl Strategy<Value = Packs> {
    let hash = prop_oneof![any::<u64>(), 0..6_u64, Just(u64::MAX)];
    let objects = prop::collection::vec((hash, 0..50_u64), 0..most);
    prop::collection::btree_map(0..100_u32, objects, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_entry_is_found(first in packs(30), more in packs(30), part in 5..40_usize, by in 2..5_usize) {
        let disk = Sim::default();
        put(&disk, &first, part).unwrap();
        check_whole(&disk, &first);
        let merged = merge_by(&disk, OWNER, by).unwrap();
        prop_assert!(merged.damaged.is_empty());
        check_whole(&disk, &first);
        // A run that goes on has other packs.
        let more: Packs = more.into_iter().map(|(pack, objects)| (pack + 1000, objects)).collect();
        put(&disk, &more, part).unwrap();
        let both: Packs = first.into_iter().chain(more).collect();
        check_whole(&disk, &both);
        merge_by(&disk, OWNER, by).unwrap();
        check_whole(&disk, &both);
        let files: Vec<_> = disk.files(Dir::Index).into_keys().collect();
        prop_assert_eq!(files, if both.is_empty() { vec![] } else { vec![ALL.to_owned()] });
    }

    #[test]
    fn a_changed_byte_gives_no_wrong_place(
        packs in packs(30), part in 5..40_usize, at in any::<prop::sample::Index>(),
        flip in 1..=255_u8, cut in any::<bool>(), whole in any::<bool>(),
    ) {
        prop_assume!(!packs.is_empty());
        let disk = Sim::default();
        put(&disk, &packs, part).unwrap();
        if whole {
            merge(&disk, OWNER).unwrap();
        }
        let files: Vec<_> = disk.files(Dir::Index).into_iter().collect();
        let (name, mut bytes) = files[at.index(files.len())].clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        bytes.truncate(if cut { at } else { bytes.len() });
        disk.create(Dir::Index, &name, Use::Plain).unwrap().write_at(&bytes, 0).unwrap();
        check(&disk, &packs, &name);
        if whole {
            // What has only one file is not read again to merge it.
            forget(&disk).unwrap();
        } else {
            let merged = merge(&disk, OWNER).unwrap();
            prop_assert!(merged.damaged.iter().any(|(file, _)| *file == name), "{name} byte {at}");
        }
        // It has a hole that is known, and the hole can be filled.
        prop_assert!(check(&disk, &packs, &name) < packs.len());
        put(&disk, &packs, part).unwrap();
        merge(&disk, OWNER).unwrap();
        check_whole(&disk, &packs);
    }
}

/// Some thousand entries, spread as hashes are, and some names that somebody chose.
fn many() -> Packs {
    let mut random = Random(7);
    let mut packs = Packs::new();
    for pack in 0..9 {
        let mut objects: Vec<_> = (0..300).map(|place| (random.next(), place)).collect();
        objects.extend((0..200).map(|place| (0x5555_5555_5555_5555, 10_000 + place)));
        packs.insert(pack, objects);
    }
    packs
}

#[test]
fn entries_of_many_pages_are_found() {
    let (disk, packs) = (Sim::default(), many());
    put(&disk, &packs, 700).unwrap();
    check_whole(&disk, &packs);
    for by in [3, 128] {
        merge_by(&disk, OWNER, by).unwrap();
        check_whole(&disk, &packs);
    }
    let clustered: Packs =
        [(3, (0..4 * PER_PAGE as u64).map(|n| (n / 3 + (n / 2000) * (1 << 60), n)).collect())]
            .into();
    let disk = Sim::default();
    put(&disk, &clustered, 1000).unwrap();
    merge(&disk, OWNER).unwrap();
    check_whole(&disk, &clustered);
}

#[test]
fn a_crash_anywhere_leaves_what_is_right() {
    let mut packs: Packs = many().into_iter().take(5).collect();
    packs.values_mut().for_each(|objects| objects.truncate(60));
    for power in [false, true] {
        for calls in 1.. {
            let disk = Sim::default();
            let half: Packs = packs.clone().into_iter().take(3).collect();
            put(&disk, &half, 2000).unwrap();
            merge_by(&disk, OWNER, 2).unwrap();
            disk.kill_after(calls);
            let context = format!("power {power}, call {calls}");
            let done = put(&disk, &packs, 25).and_then(|()| merge_by(&disk, OWNER, 3)).is_ok();
            match power {
                true => disk.crash(&mut Random(calls)),
                false => disk.kill(),
            }
            // The first merge was synced.
            assert!(check(&disk, &packs, &context) >= 3, "{context}");
            merge_by(&disk, OWNER, 3).unwrap();
            assert!(check(&disk, &packs, &context) >= 3, "{context}");
            put(&disk, &packs, 25).unwrap();
            merge_by(&disk, OWNER, 3).unwrap();
            check_whole(&disk, &packs);
            assert_eq!(disk.files(Dir::Index).len(), 1, "{context}");
            if done {
                assert!(calls > 20, "{calls} calls");
                break;
            }
        }
    }
}

#[test]
fn another_run_has_another_index() {
    let (disk, packs) = (Sim::default(), many());
    put(&disk, &packs, 2000).unwrap();
    let index = Index::open(&disk, OWNER + 1).unwrap();
    assert_eq!((index.files(), index.covers(0)), (0, false));
    merge(&disk, OWNER + 1).unwrap();
    assert!(disk.files(Dir::Index).is_empty());
}

/// A pack that has names, and perhaps breaks off.
struct Names(std::vec::IntoIter<String>, u64, bool);

impl Decode for Names {
    fn next(&mut self, _: Option<&mut crate::pack::Pieces<'_>>) -> io::Result<Option<Found>> {
        let Some(name) = self.0.next() else {
            return if self.2 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
        };
        self.1 += 1;
        Ok(Some(Found { name: name.into_bytes(), place: self.1, ..Found::default() }))
    }

    fn seek(&mut self, _: u64) -> io::Result<()> {
        unreachable!("nobody looks for anything")
    }
}

#[test]
fn packs_are_read_where_there_is_no_index() {
    let disk = Sim::default();
    let names = |pack: u32| (0..20).map(|n| format!("{pack}/{n}")).collect::<Vec<_>>();
    let mut packs = (0..6).map(|pack| {
        let decode = Names(names(pack).into_iter(), 0, pack == 4);
        let decode: Box<dyn Decode> = Box::new(decode);
        (pack, if pack == 1 { Err(io::ErrorKind::NotFound.into()) } else { Ok(decode) })
    });
    let built = build(&disk, OWNER, &mut packs, &mut |_| true).unwrap();
    assert_eq!((built.packs, built.objects), (4, 80));
    assert_eq!(built.unread.iter().map(|(pack, _)| *pack).collect::<Vec<_>>(), [1, 4]);
    merge(&disk, OWNER).unwrap();
    let index = Index::open(&disk, OWNER).unwrap();
    for pack in 0..6 {
        let whole = pack != 1 && pack != 4;
        assert_eq!(index.covers(pack), whole);
        for (place, name) in names(pack).iter().enumerate() {
            let found: Vec<_> = index.lookup(name.as_bytes()).map(Result::unwrap).collect();
            let expected = if whole { vec![(pack, place as u64 + 1)] } else { vec![] };
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn an_entry_takes_24_bytes_in_memory() {
    assert_eq!(size_of::<Entry>(), 24);
}
