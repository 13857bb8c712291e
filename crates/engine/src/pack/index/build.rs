//! Entries from packs, where they were not gathered or what was gathered is lost.

use super::gather::{Gather, write};
use crate::disk::Disk;
use crate::pack::Decode;
use std::io;

/// What was built.
#[derive(Debug, Default)]
pub struct Built {
    /// Packs all of whose objects are in the index now.
    pub packs: u64,
    /// Their objects.
    pub objects: u64,
    /// Packs that could not be read to their ends, and why. They are not in the index.
    pub unread: Vec<(u32, io::Error)>,
}

/// Reads the names in packs, and writes runs of them; [`super::merge`] makes them one. A pack that
/// is still written to does not belong here: its end would be missed later. `seen` is told after each
/// pack, and says whether to go on.
///
/// Memory is that of one [`Gather`], whatever is read.
///
/// # Errors
/// A run cannot be written.
pub fn build<'p>(
    disk: &dyn Disk,
    owner: u64,
    packs: &mut dyn Iterator<Item = (u32, io::Result<Box<dyn Decode + 'p>>)>,
    seen: &mut dyn FnMut(&Built) -> bool,
) -> io::Result<Built> {
    let (mut gather, mut built) = (Gather::new(owner, 1), Built::default());
    for (pack, decode) in packs {
        match decode.and_then(|mut decode| walk(disk, pack, &mut *decode, &mut gather)) {
            Ok(objects) => {
                let objects = objects?;
                if let Some(run) = gather.end(pack) {
                    write(disk, &run)?;
                }
                built.packs += 1;
                built.objects += objects;
            }
            Err(error) => {
                gather.forget();
                built.unread.push((pack, error));
            }
        }
        if !seen(&built) {
            break;
        }
    }
    if let Some(run) = gather.rest() {
        write(disk, &run)?;
    }
    Ok(built)
}

/// Gathers a pack; the outer error is the pack's, the inner one that of writing a part.
fn walk(
    disk: &dyn Disk,
    pack: u32,
    decode: &mut dyn Decode,
    gather: &mut Gather,
) -> io::Result<io::Result<u64>> {
    let mut objects = 0;
    while let Some(found) = decode.next(None)? {
        objects += 1;
        if gather.add(&found.name, found.place)
            && let Err(error) = write(disk, &gather.part(pack))
        {
            return Ok(Err(error));
        }
    }
    Ok(Ok(objects))
}
