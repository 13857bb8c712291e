//! What it takes to check an object later, beside what the ledger says: docs/FORMAT.md.
//!
//! A pack holds the names of its objects, so four bytes are enough for each: the CRC32C of its
//! name and its body. Of a file the name is needed too, to miss it when it is gone.

/// One file of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCheck<'a> {
    /// Name of the object, as the source gave it.
    pub name: &'a [u8],
    /// Length of its body.
    pub bytes: u64,
    /// CRC32C of its name and its body.
    pub sum: u32,
}

/// Appends what is kept of a file.
pub(crate) fn put_file(out: &mut Vec<u8>, name: &[u8], bytes: u64, sum: u32) {
    crate::ledger::put_number(out, name.len() as u64);
    out.extend_from_slice(name);
    crate::ledger::put_number(out, bytes);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Takes a file from the front of a part of the manifest; `None` where it is not well-formed.
pub fn take_file<'a>(part: &mut &'a [u8]) -> Option<FileCheck<'a>> {
    let len = usize::try_from(crate::ledger::take_number(part)?).ok()?;
    let (name, rest) = part.split_at_checked(len)?;
    *part = rest;
    let bytes = crate::ledger::take_number(part)?;
    let (sum, rest) = part.split_at_checked(4)?;
    *part = rest;
    Some(FileCheck { name, bytes, sum: u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn files_come_back(files in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..300), any::<u64>(), any::<u32>()), 0..20,
        )) {
            let mut out = Vec::new();
            for (name, bytes, sum) in &files {
                put_file(&mut out, name, *bytes, *sum);
            }
            let mut part = out.as_slice();
            for (name, bytes, sum) in &files {
                let file = FileCheck { name, bytes: *bytes, sum: *sum };
                prop_assert_eq!(take_file(&mut part), Some(file));
            }
            prop_assert!(part.is_empty());
        }
    }
}
