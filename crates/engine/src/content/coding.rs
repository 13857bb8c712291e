//! A `Content-Encoding` undone, within bounds.
//!
//! For `--compressed`: windrow asks for [`accept`] and stores what the server's data is before the
//! coding. A coded body is hostile until it is whole: a few kilobytes can ask for terabytes. So
//! output is given out in pieces of [`DECODED_PIECE_BYTES`], counted against the largest object and
//! against the bytes that came in; one coding is undone and not a list of them, whose ratios
//! multiply; and windows are bounded. RFC 9659 section 3 allows 8 MiB for `zstd`: of a frame that
//! asks for more nothing is decoded. `br` has 16 MiB at most by its format (RFC 7932 section 9.1),
//! gzip 32 KiB.
//!
//! A decoder says nothing about the framing of the message: that a body is whole for HTTP, and that
//! it is whole for its coding, are two findings, and both are needed.

use super::gzip::{Gunzip, Unzlib};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::Decompress;
use windrow_model::limits::{
    DECODED_FREE_BYTES, DECODED_PIECE_BYTES, DECODED_RATIO, OBJECT_BYTES, ZSTD_WINDOW_LOG,
};
use windrow_model::{Failure, FailureClass};
use zstd::stream::raw::{DParameter, Operation as _};
use zstd::zstd_safe::{InBuffer, OutBuffer};

/// The value of `Accept-Encoding` that asks for what can be undone.
pub const fn accept() -> &'static str {
    "zstd, br, gzip, deflate"
}

/// A coding that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, `x-gzip`.
    Gzip,
    /// `deflate`: zlib's format, or bare.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// What the values of all `Content-Encoding` lines of a response say; `None` where there is
    /// nothing to undo. `identity` is nothing, and so is `aws-chunked`: it is how an object was
    /// uploaded, and some servers repeat it with every download.
    ///
    /// # Errors
    /// [`FailureClass::Encoding`] for a coding that is not known, and for several.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Self>, Failure> {
        let mut found = None;
        let names = values.into_iter().flat_map(|value| value.split(|&b| b == b','));
        for name in names.map(<[u8]>::trim_ascii) {
            let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
            let coding = match () {
                () if name.is_empty() || is("identity") || is("aws-chunked") => continue,
                () if is("gzip") || is("x-gzip") => Self::Gzip,
                () if is("deflate") => Self::Deflate,
                () if is("br") => Self::Brotli,
                () if is("zstd") => Self::Zstd,
                () => return Err(encoding("the body has a content coding that is not known")),
            };
            if found.replace(coding).is_some() {
                return Err(encoding("the body has several content codings"));
            }
        }
        Ok(found)
    }
}

/// How much may come out of one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of output, at most.
    pub bytes: u64,
    /// Bytes of output for each byte of input, at most, where more than `free` came out.
    pub ratio: u64,
    /// Bytes that may come out whatever the ratio.
    pub free: u64,
}

impl Bounds {
    /// Those of a run that stores objects of up to so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, ratio: DECODED_RATIO, free: DECODED_FREE_BYTES }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::new(OBJECT_BYTES)
    }
}

/// What a core keeps from one body to the next: contexts that are dearer to make than to reset. At
/// most about 9 MiB, 200 KiB where no zstd frame had a large window.
#[derive(Default)]
pub struct Kept {
    inflate: Option<Decompress>,
    zstd: Option<zstd::stream::raw::Decoder<'static>>,
    piece: Vec<u8>,
}

/// Undoes the coding of one body, as its bytes come.
///
/// Holds about 40 KiB for gzip and deflate, up to 16 MiB for `br` and up to 9 MiB for zstd (as its
/// frames ask for), and a piece of [`DECODED_PIECE_BYTES`]. Whoever decodes many bodies at once
/// counts that. Dropping it midway leaves nothing behind.
pub struct Decoder {
    engine: Engine,
    bounds: Bounds,
    piece: Vec<u8>,
    read: u64,
    written: u64,
    failed: Option<Failure>,
}

enum Engine {
    Gzip(Gunzip),
    Deflate(Unzlib),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

/// What one step of a decoder took and gave.
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
}

impl Decoder {
    /// A decoder that is made for one body. Where there are many, see [`Decoder::with`].
    pub fn new(coding: Coding, bounds: Bounds) -> Self {
        Self::with(&mut Kept::default(), coding, bounds)
    }

    /// As [`Decoder::new`], out of what was kept; [`Decoder::end_into`] gives it back.
    pub fn with(kept: &mut Kept, coding: Coding, bounds: Bounds) -> Self {
        let mut inflate = || kept.inflate.take().unwrap_or_else(|| Decompress::new(false));
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Gunzip::new(inflate())),
            Coding::Deflate => Engine::Deflate(Unzlib::new(inflate())),
            Coding::Brotli => Engine::Brotli(Box::new(Brotli::new())),
            Coding::Zstd => Engine::Zstd(Zstd::new(kept.zstd.take())),
        };
        let mut piece = std::mem::take(&mut kept.piece);
        piece.resize(DECODED_PIECE_BYTES, 0);
        Self { engine, bounds, piece, read: 0, written: 0, failed: None }
    }

    /// Takes the next bytes and gives out what they stand for, in pieces.
    ///
    /// # Errors
    /// [`FailureClass::Encoding`] for a body that is damaged, has something behind its end, asks
    /// for too large a window or expands too much; [`FailureClass::TooLarge`]; what `out` returns.
    /// What was given out until then is of no use. Every later call returns the same.
    pub fn push(
        &mut self,
        input: &[u8],
        out: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let pushed = self.pass(input, out);
        self.failed = pushed.err();
        pushed
    }

    fn pass(
        &mut self,
        mut input: &[u8],
        out: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut full = false;
        while !input.is_empty() || full {
            let step = match &mut self.engine {
                Engine::Gzip(engine) => engine.step(input, &mut self.piece)?,
                Engine::Deflate(engine) => engine.step(input, &mut self.piece)?,
                Engine::Brotli(engine) => engine.step(input, &mut self.piece)?,
                Engine::Zstd(engine) => engine.step(input, &mut self.piece)?,
            };
            if step.read == 0 && step.written == 0 && !input.is_empty() {
                return Err(damaged());
            }
            input = &input[step.read..];
            // Where the piece was filled, more may wait inside.
            full = step.written == self.piece.len();
            self.read += step.read as u64;
            self.written += step.written as u64;
            if self.written > self.bounds.bytes {
                return Err(Failure::new(
                    FailureClass::TooLarge,
                    "the body is larger than --max-object-size when its coding is undone",
                ));
            }
            if self.written > self.bounds.free
                && self.written > self.read.saturating_mul(self.bounds.ratio)
            {
                return Err(encoding("the body expands too much"));
            }
            if step.written > 0 {
                out(&self.piece[..step.written])?;
            }
        }
        Ok(())
    }

    /// Says whether the body was whole.
    ///
    /// # Errors
    /// [`FailureClass::Truncated`] where the coded data ends too early, also for no data at all:
    /// no coding makes nothing of nothing. What an earlier call returned.
    pub fn end(self) -> Result<(), Failure> {
        self.end_into(&mut Kept::default())
    }

    /// As [`Decoder::end`], and keeps what the next body can use.
    ///
    /// # Errors
    /// As [`Decoder::end`].
    pub fn end_into(self, kept: &mut Kept) -> Result<(), Failure> {
        let whole = match &self.engine {
            Engine::Gzip(engine) => engine.is_whole(),
            Engine::Deflate(engine) => engine.is_whole(),
            Engine::Brotli(engine) => engine.ended,
            Engine::Zstd(engine) => engine.whole,
        };
        match self.engine {
            Engine::Gzip(engine) => kept.inflate = Some(engine.into_inner()),
            Engine::Deflate(engine) => kept.inflate = Some(engine.into_inner()),
            Engine::Brotli(_) => {}
            Engine::Zstd(engine) => kept.zstd = engine.context,
        }
        kept.piece = self.piece;
        match self.failed {
            Some(failure) => Err(failure),
            None if whole => Ok(()),
            None => Err(Failure::new(FailureClass::Truncated, "the coded body ends too early")),
        }
    }
}

/// Undoes the coding of a body that is there as a whole.
///
/// # Errors
/// As [`Decoder::push`] and [`Decoder::end`].
pub fn decode_whole(
    kept: &mut Kept,
    coding: Coding,
    bounds: Bounds,
    body: &[u8],
    out: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut decoder = Decoder::with(kept, coding, bounds);
    // A failure is remembered and comes back from the end, which also keeps what can be kept.
    let _ = decoder.push(body, out);
    decoder.end_into(kept)
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: no windows beyond those of RFC 7932.
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), ended: false }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Failure> {
        if self.ended {
            return if input.is_empty() {
                Ok(Step { read: 0, written: 0 })
            } else {
                Err(garbage())
            };
        }
        let (mut input_left, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (out.len(), 0, 0);
        match BrotliDecompressStream(
            &mut input_left,
            &mut read,
            input,
            &mut room,
            &mut written,
            out,
            &mut total,
            &mut self.state,
        ) {
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(damaged()),
        }
        Ok(Step { read, written })
    }
}

struct Zstd {
    /// `None` where there was no memory for it.
    context: Option<zstd::stream::raw::Decoder<'static>>,
    /// At least one frame came, and the last one is whole.
    whole: bool,
}

impl Zstd {
    fn new(kept: Option<zstd::stream::raw::Decoder<'static>>) -> Self {
        let context = match kept {
            Some(mut kept) => kept.reinit().is_ok().then_some(kept),
            None => zstd::stream::raw::Decoder::new().ok().and_then(|mut new| {
                new.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
                Some(new)
            }),
        };
        Self { context, whole: false }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Failure> {
        let Some(context) = &mut self.context else {
            return Err(encoding("there is no memory to undo the coding of the body"));
        };
        let mut input = InBuffer::around(input);
        let mut out = OutBuffer::around(out);
        // What the library says in words is dropped: that a window is too large is the only thing
        // in it that is not damage.
        let left = context.run(&mut input, &mut out).map_err(|error| {
            let large = error.to_string().contains("too much memory");
            if large { encoding("the zstd window is larger than 8 MiB") } else { damaged() }
        })?;
        let step = Step { read: input.pos(), written: out.pos() };
        if step.read > 0 || step.written > 0 {
            self.whole = left == 0;
        }
        Ok(step)
    }
}

fn encoding(detail: &'static str) -> Failure {
    Failure::new(FailureClass::Encoding, detail)
}

/// The failure of a body that is not what its coding says.
pub(super) fn damaged() -> Failure {
    encoding("the coded body is damaged")
}

/// The failure of a body that goes on behind its end.
pub(super) fn garbage() -> Failure {
    encoding("the coded body has something behind its end")
}

#[cfg(test)]
mod tests;
