//! What a JPEG's header says (ITU-T T.81, annex B), as far as it decides how to decode it.

/// The parts of a header that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: u8,
    /// All coefficients are held until the last scan.
    pub(super) progressive: bool,
    /// There is an end of the image behind the last start of a scan.
    pub(super) ended: bool,
}

impl Head {
    /// Reads the segments up to the first scan; `None` where there is none, or no frame before it.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (mut at, mut frame) = (2, None);
        loop {
            // Fill bytes may stand before a marker, and sloppy writers leave others.
            at += memchr::memchr(0xFF, body.get(at..)?)?;
            let marker = *body.get(at + 1)?;
            at += match marker {
                0xFF => 1,
                // Without a segment: stuffing, restarts, start of image.
                0x00 | 0x01 | 0xD0..=0xD8 => 2,
                0xD9 => return None,
                _ => {
                    let length = usize::from(be(body.get(at + 2..at + 4)?)?);
                    let segment = body.get(at + 4..at + 2 + length)?;
                    match marker {
                        // Starts of frames; the others of the row are tables.
                        0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                            let height = u32::from(be(segment.get(1..3)?)?);
                            let width = u32::from(be(segment.get(3..5)?)?);
                            frame = Some((width, height, *segment.get(5)?, marker & 3 == 2));
                        }
                        0xDA => {
                            let (width, height, components, progressive) = frame?;
                            let scans = body.get(at..)?;
                            // From behind, which is where the end is.
                            let last = memchr::memrchr_iter(0xFF, scans)
                                .filter_map(|at| scans.get(at + 1))
                                .find(|marker| matches!(marker, 0xD9 | 0xDA));
                            let ended = last == Some(&0xD9);
                            return Some(Self { width, height, components, progressive, ended });
                        }
                        _ => {}
                    }
                    2 + length
                }
            };
        }
    }

    /// Memory that decoding takes, about: the pixels, and of a progressive image the coefficients, two
    /// bytes each with up to a block more at the edges.
    pub(super) fn memory(&self) -> u64 {
        let samples = u64::from(self.width) * u64::from(self.height) * u64::from(self.components);
        if self.progressive { samples.saturating_mul(4) } else { samples }
    }
}

fn be(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}
