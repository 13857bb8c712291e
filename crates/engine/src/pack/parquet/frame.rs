//! zstd frames (RFC 8878): of a page in memory, and of a body that passes through in pieces.
//!
//! Bodies that are compressed already (images, archives) are put into frames of raw blocks, as they
//! are: other readers see ordinary zstd, and neither side works for nothing.

use super::damaged;
use std::io;
use windrow_model::limits::ZSTD_WINDOW_LOG;
use zstd::stream::raw::{DParameter, Decoder, Encoder, Operation as _};
use zstd::zstd_safe::{InBuffer, OutBuffer, compress_bound};

/// Largest block (RFC 8878 section 3.1.1.2.4).
const BLOCK: u64 = 128 << 10;

/// Magic number, a head with four bytes of content size and a window, the window: 128 KiB.
const STORED_HEAD: [u8; 6] = [0x28, 0xB5, 0x2F, 0xFD, 0x80, 0x38];

/// Bytes of a frame of raw blocks.
pub(super) fn stored_len(raw: u64) -> u64 {
    STORED_HEAD.len() as u64 + 4 + 3 * raw.div_ceil(BLOCK).max(1) + raw
}

/// Whether bytes are so evenly distributed that no entropy coder makes them smaller by much, judged by
/// some of them. Repetitions in them are not seen; what is even and repeats is rare.
pub(super) fn is_even(bytes: &[u8]) -> bool {
    const PIECE: usize = 512;
    const PIECES: usize = 8;
    const SAMPLE: usize = PIECE * PIECES;
    if bytes.len() < SAMPLE {
        return false;
    }
    let mut counts = [0_u32; 256];
    for piece in 0..PIECES {
        let from = (bytes.len() - PIECE) / (PIECES - 1) * piece;
        bytes[from..from + PIECE].iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    }
    // Sum of squares: 4096 + 4096 * 4095 / 256 for random bytes, more for all others.
    let squares: u32 = counts.iter().map(|count| count * count).sum();
    squares < 74_000
}

/// Makes the frames of pages.
pub(super) struct Press {
    zstd: zstd::bulk::Compressor<'static>,
    level: i32,
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Press {
    pub(super) fn new(level: i32) -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(level)?, level })
    }

    /// Replaces `out` by a frame of these bytes.
    pub(super) fn frame(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        if is_even(raw) {
            let mut stored = Stored::new(raw.len() as u64);
            return stored.feed(raw, &mut |piece| {
                out.extend_from_slice(piece);
                Ok(())
            });
        }
        out.reserve(compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, out).map(drop)
    }

    /// Begins a frame of so many bytes, which are not in memory.
    pub(super) fn stream(&self, raw: u64, stored: bool) -> io::Result<Stream> {
        if stored {
            return Ok(Stream::Stored(Stored::new(raw)));
        }
        let mut encoder = Encoder::new(self.level)?;
        encoder.set_pledged_src_size(Some(raw))?;
        Ok(Stream::Zstd { encoder, out: vec![0; BLOCK as usize] })
    }
}

/// Where pieces go.
pub(super) type Sink<'a> = &'a mut crate::pack::Pieces<'a>;

/// A frame that is made piece by piece, always in the same way. Holds what zstd needs at its level,
/// a few MiB.
pub(super) enum Stream {
    Stored(Stored),
    Zstd { encoder: Encoder<'static>, out: Vec<u8> },
}

impl Stream {
    pub(super) fn feed(&mut self, raw: &[u8], sink: Sink<'_>) -> io::Result<()> {
        match self {
            Self::Stored(stored) => stored.feed(raw, sink),
            Self::Zstd { encoder, out } => {
                let mut input = InBuffer::around(raw);
                while input.pos() < raw.len() {
                    let mut output = OutBuffer::around(&mut out[..]);
                    encoder.run(&mut input, &mut output)?;
                    sink(output.as_slice())?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn finish(self, sink: Sink<'_>) -> io::Result<()> {
        match self {
            Self::Stored(_) => Ok(()),
            Self::Zstd { mut encoder, mut out } => loop {
                let mut output = OutBuffer::around(&mut out[..]);
                let left = encoder.finish(&mut output, true)?;
                sink(output.as_slice())?;
                if left == 0 {
                    return Ok(());
                }
            },
        }
    }
}

/// A frame of raw blocks.
pub(super) struct Stored {
    begun: bool,
    /// Bytes still to come, and those of them in the block that was begun.
    left: u64,
    block: u64,
}

impl Stored {
    fn new(raw: u64) -> Self {
        Self { begun: false, left: raw, block: 0 }
    }

    fn feed(&mut self, mut raw: &[u8], sink: Sink<'_>) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            sink(&STORED_HEAD)?;
            // Pages have less than 2^31 bytes.
            sink(&(self.left as u32).to_le_bytes())?;
        }
        while !raw.is_empty() {
            if self.block == 0 {
                self.block = self.left.min(BLOCK);
                let last = u32::from(self.block == self.left);
                sink(&((self.block as u32 * 8) | last).to_le_bytes()[..3])?;
            }
            let len = raw.len().min(self.block as usize);
            if len == 0 {
                return Err(super::refused("a body is longer than it said"));
            }
            sink(&raw[..len])?;
            raw = &raw[len..];
            self.block -= len as u64;
            self.left -= len as u64;
        }
        Ok(())
    }
}

/// Undoes frames.
pub(super) struct Unpress {
    zstd: zstd::bulk::Decompressor<'static>,
}

impl Unpress {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()? })
    }

    /// Replaces `out` by what is in a frame, which has to be so many bytes.
    pub(super) fn frame(&mut self, packed: &[u8], raw: usize, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        out.reserve_exact(raw);
        self.zstd.decompress_to_buffer(packed, out).map_err(|_| bad())?;
        if out.len() == raw { Ok(()) } else { Err(bad()) }
    }
}

/// A frame that is undone piece by piece, with a window within bounds.
pub(super) struct Unstream {
    decoder: Decoder<'static>,
    out: Vec<u8>,
    ended: bool,
}

impl Unstream {
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Self { decoder, out: vec![0; BLOCK as usize], ended: false })
    }

    pub(super) fn feed(&mut self, packed: &[u8], sink: Sink<'_>) -> io::Result<()> {
        let mut input = InBuffer::around(packed);
        loop {
            if self.ended {
                return if input.pos() == packed.len() { Ok(()) } else { Err(bad()) };
            }
            let mut output = OutBuffer::around(&mut self.out[..]);
            let hint = self.decoder.run(&mut input, &mut output).map_err(|_| bad())?;
            let full = output.pos() == output.capacity();
            sink(output.as_slice())?;
            self.ended = hint == 0;
            if input.pos() == packed.len() && !full && !self.ended {
                return Ok(());
            }
        }
    }

    /// Whether the frame was whole.
    pub(super) fn finish(&self) -> io::Result<()> {
        if self.ended { Ok(()) } else { Err(bad()) }
    }
}

fn bad() -> io::Error {
    damaged("a page does not hold what its head says")
}
