//! Headers of tar members (IEEE Std 1003.1-2017, "pax", ustar interchange format).

/// Everything in a tar file is a multiple of this many bytes.
pub(crate) const BLOCK: usize = 512;

const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const OWNER: usize = 265;
const PREFIX: std::ops::Range<usize> = 345..500;

/// Largest size that eleven octal digits hold: 8 GiB - 1.
const SIZE_MAX: u64 = (1 << 33) - 1;

/// A header with everything that is constant: mode 0644, owner and group 0, time 0, `ustar`,
/// version `00`.
const TEMPLATE: [u8; BLOCK] = {
    let mut header = [0_u8; BLOCK];
    let parts: [(usize, &[u8]); 7] = [
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (136, b"00000000000\0"),
        (148, b"        "),
        (TYPE, b"0"),
        (257, b"ustar\x0000"),
    ];
    let mut part = 0;
    while part < parts.len() {
        let (at, bytes) = parts[part];
        let mut i = 0;
        while i < bytes.len() {
            header[at + i] = bytes[i];
            i += 1;
        }
        part += 1;
    }
    header
};

/// Sum of the template's bytes: what is patched in is added, so no member sums all 512.
const TEMPLATE_SUM: u32 = {
    let mut sum = 0;
    let mut i = 0;
    while i < BLOCK {
        sum += TEMPLATE[i] as u32;
        i += 1;
    }
    sum
};

/// Owner of a member that tells of the one before it. No such user is anywhere, so nobody gets such
/// files; and a body that looks like one is not taken for one.
const META_OWNER: &[u8] = b"windrow.meta";

/// Whether a header is one of a member that tells of the one before it.
pub(super) fn is_meta(header: &[u8; BLOCK]) -> bool {
    header[OWNER..].starts_with(META_OWNER)
}

/// Appends the header, or headers, of a file `path` of `size` bytes.
pub(crate) fn member(out: &mut Vec<u8>, path: &[u8], size: u64) {
    headers(out, path, size, b"");
}

/// The same of one that tells of the member before it.
pub(super) fn meta_member(out: &mut Vec<u8>, path: &[u8], size: u64) {
    headers(out, path, size, META_OWNER);
}

fn headers(out: &mut Vec<u8>, path: &[u8], size: u64, owner: &[u8]) {
    if let Some((prefix, name)) = split(path)
        && size <= SIZE_MAX
    {
        return block(out, prefix, name, size, b'0', owner);
    }
    let mut records = Vec::new();
    if split(path).is_none() {
        record(&mut records, b"path", path);
    }
    if size > SIZE_MAX {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    block(out, b"", b"././@PaxHeader", records.len() as u64, b'x', b"");
    out.extend_from_slice(&records);
    pad(out, records.len() as u64);
    // For readers that know no extended headers: the end of the name, and no size.
    let (prefix, name) = split(path).unwrap_or((b"", &path[path.len().saturating_sub(100)..]));
    block(out, prefix, name, if size > SIZE_MAX { 0 } else { size }, b'0', owner);
}

/// Appends zeros behind a body of `size` bytes, up to the next block.
pub(crate) fn pad(out: &mut Vec<u8>, size: u64) {
    out.extend_from_slice(&[0; BLOCK][..padding(size)]);
}

/// Bytes between the end of a body of `size` bytes and the next block.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Appends the two empty blocks that end an archive.
#[cfg(test)]
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 2 * BLOCK]);
}

/// Cuts a path into the two fields of a header, at a `/`; `None` if it fits in no way.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME.len() {
        return Some((b"", path));
    }
    if path.len() > PREFIX.len() + 1 + NAME.len() {
        return None;
    }
    // The first cut that leaves a short enough name.
    let from = path.len() - NAME.len() - 1;
    let at = from + memchr::memchr(b'/', &path[from..])?;
    let (prefix, name) = (&path[..at], &path[at + 1..]);
    (at > 0 && prefix.len() <= PREFIX.len() && !name.is_empty()).then_some((prefix, name))
}

fn block(out: &mut Vec<u8>, prefix: &[u8], name: &[u8], size: u64, kind: u8, owner: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&TEMPLATE);
    let header = &mut out[start..];
    header[..name.len()].copy_from_slice(name);
    header[PREFIX.start..PREFIX.start + prefix.len()].copy_from_slice(prefix);
    header[TYPE] = kind;
    header[OWNER..OWNER + owner.len()].copy_from_slice(owner);
    octal(&mut header[SIZE.start..SIZE.end - 1], size);
    let sum =
        TEMPLATE_SUM + sum(name) + sum(prefix) + sum(owner) + sum(&header[SIZE]) + u32::from(kind)
            - u32::from(b'0');
    octal(&mut header[CHECKSUM.start..CHECKSUM.end - 2], u64::from(sum));
    header[CHECKSUM.end - 2] = 0;
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().map(|&b| u32::from(b)).sum()
}

fn octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// Appends an extended header record: `LENGTH KEY=VALUE\n`, the length counting itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    for part in [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &[u8]) {
        let stored = std::str::from_utf8(&header[148..154]).unwrap();
        let spaces = 8 * u32::from(b' ');
        let actual = sum(&header[..148]) + spaces + sum(&header[156..512]);
        assert_eq!(u32::from_str_radix(stored, 8).unwrap(), actual);
        assert_eq!(&header[154..156], b"\0 ");
    }

    #[test]
    fn checksums_are_right_for_every_shape() {
        for len in 1..600_usize {
            for slash in [None, Some(len / 2), Some(len.saturating_sub(1) / 3)] {
                let mut path = vec![b'n'; len];
                if let Some(at) = slash.filter(|&at| at > 0 && at + 1 < len) {
                    path[at] = b'/';
                }
                for size in [0, 1, 511, 512, SIZE_MAX, SIZE_MAX + 1, u64::MAX >> 1] {
                    let mut out = Vec::new();
                    member(&mut out, &path, size);
                    assert_eq!(out.len() % BLOCK, 0);
                    check(&out);
                    check(&out[out.len() - BLOCK..]);
                    let plain = out.len() == BLOCK;
                    assert_eq!(plain, split(&path).is_some() && size <= SIZE_MAX);
                }
            }
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for len in 0..2000 {
            let mut out = Vec::new();
            record(&mut out, b"path", &vec![b'x'; len]);
            let (digits, _) = out.split_at(out.iter().position(|&b| b == b' ').unwrap());
            assert_eq!(std::str::from_utf8(digits).unwrap().parse::<usize>().unwrap(), out.len());
        }
    }

    #[test]
    fn sizes_up_to_8_gib_need_no_extension() {
        let mut out = Vec::new();
        member(&mut out, b"n", SIZE_MAX);
        assert_eq!(&out[SIZE], b"77777777777\0");
        out.clear();
        member(&mut out, b"n", SIZE_MAX + 1);
        assert_eq!(&out[BLOCK..BLOCK + 19], b"19 size=8589934592\n");
    }
}
