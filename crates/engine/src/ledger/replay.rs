//! Reading a file of the ledger after any end: what of it counts, and what is cut off.
//!
//! The whole decision is this table. *Durable* is what the frame itself says was synced before it
//! was written; a *commit* is a frame that was written after what it stands for was synced; *this
//! boot* means that the kernel never went down since the last session began, so that whatever was
//! handed to it is still there, synced or not.
//!
//! | the file | what counts |
//! |---|---|
//! | empty, or shorter than a header | nothing: the file was just being made |
//! | header damaged, no frame proves that it was ever durable | nothing: as above |
//! | header of another version or another run | error |
//! | whole frames to the end | this boot: all; else: up to the last commit |
//! | a torn frame, nothing behind it proves that it was durable | as if the file ended there |
//! | a torn frame, and a whole frame behind it says that it was durable | error: damage |
//! | a whole frame with a payload that makes no sense | error: damage |
//!
//! The pages of a listing say something about the source and not about the disk: they count as
//! far as they are whole, whether a commit follows or not.

use super::frame::{FRAME_BYTES, Frame, HEADER_BYTES, Header, HeaderError, Kind, PAYLOAD_BYTES};
use crate::disk::File;
use rustix::io::Errno;
use std::fmt;

/// Why a ledger cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It cannot be read.
    Read(Errno),
    /// It was written by a windrow with another format.
    Version(u16),
    /// It belongs to another run.
    OtherRun,
    /// Bytes that were durable are not what they were.
    At(u64),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(errno) => std::io::Error::from(*errno).fmt(f),
            Self::Version(version) => {
                write!(f, "it has version {version} of the format, this windrow has 1")
            }
            Self::OtherRun => f.write_str("it belongs to another run"),
            Self::At(offset) => write!(f, "damaged at byte {offset}, and not at its end"),
        }
    }
}

impl From<Errno> for Damage {
    fn from(errno: Errno) -> Self {
        Self::Read(errno)
    }
}

/// What of a file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// So many bytes; 0 when not even the header does.
    pub len: u64,
    /// Bytes behind them.
    pub cut: u64,
    /// Some of what counts was never synced.
    pub unsynced: bool,
    /// The last session of the file, 0 if there was none.
    pub generation: u64,
    /// So many bytes count for good, whatever became of what was not synced.
    pub committed: u64,
    /// So many bytes were durable for certain. What is behind them may be in the kernel's cache
    /// alone, and marked as written although it was not (see [`crate::disk`]).
    pub proven: u64,
}

/// Decides what counts. `boot` is the kernel's boot, if it is known.
///
/// # Errors
/// See [`Damage`].
pub fn examine(
    file: &dyn File,
    kind: Kind,
    run: u64,
    boot: Option<[u8; 16]>,
) -> Result<Kept, Damage> {
    let mut walk = Walk::new(file)?;
    let len = walk.len;
    let nothing = Kept { cut: len, ..Kept::default() };
    match walk.header()? {
        None => return Ok(nothing),
        Some(Ok(header)) if header.kind == kind && header.run == run => {}
        Some(Ok(_)) => return Err(Damage::OtherRun),
        Some(Err(HeaderError::Version(version))) => return Err(Damage::Version(version)),
        Some(Err(HeaderError::Damaged)) => {
            return match walk.proves(0)? {
                true => Err(Damage::At(0)),
                false => Ok(nothing),
            };
        }
    }
    let mut at = HEADER_BYTES as u64;
    let (mut committed, mut same_boot, mut generation, mut proven) = (at, false, 0, 0);
    loop {
        match walk.frame(at)? {
            Step::End => break,
            Step::Torn if walk.proves(at)? => return Err(Damage::At(at)),
            Step::Torn => break,
            Step::Whole { kind, end } => {
                let (durable, frame) =
                    Frame::parse(kind, walk.payload(at, end)).ok_or(Damage::At(at))?;
                proven = durable.max(proven).min(at);
                match frame {
                    Frame::Session { generation: last, boot: its, .. } => {
                        generation = last;
                        same_boot = boot == Some(its) && its != [0; 16];
                    }
                    Frame::Commit => committed = end,
                    _ => {}
                }
                at = end;
            }
        }
    }
    let kept = match kind {
        Kind::Listing => at,
        _ if same_boot => at,
        _ => committed,
    };
    Ok(Kept {
        len: kept,
        cut: len - kept,
        unsynced: kept > committed,
        generation,
        committed,
        proven: proven.min(kept),
    })
}

/// Shows the frames of the first `len` bytes, which [`examine`] said count.
///
/// # Errors
/// What `visit` gives, or that the file changed meanwhile.
pub fn visit(
    file: &dyn File,
    len: u64,
    mut visit: impl FnMut(Frame<'_>) -> Option<()>,
) -> Result<(), Damage> {
    let mut walk = Walk::new(file)?;
    let mut at = HEADER_BYTES as u64;
    while at < len {
        let Step::Whole { kind, end } = walk.frame(at)? else { return Err(Damage::At(at)) };
        let frame = Frame::parse(kind, walk.payload(at, end));
        let (_, frame) = frame.ok_or(Damage::At(at))?;
        visit(frame).ok_or(Damage::At(at))?;
        at = end;
    }
    Ok(())
}

enum Step {
    Whole { kind: u8, end: u64 },
    Torn,
    End,
}

/// A window that moves over a file.
struct Walk<'f> {
    file: &'f dyn File,
    len: u64,
    window: Vec<u8>,
    start: u64,
}

/// Room for the largest frame twice, so that the window moves seldom.
const WINDOW: usize = 2 * (PAYLOAD_BYTES + FRAME_BYTES);

impl<'f> Walk<'f> {
    fn new(file: &'f dyn File) -> Result<Self, Damage> {
        Ok(Self { file, len: file.size()?, window: Vec::new(), start: 0 })
    }

    /// The bytes from `at` on: `want` of them, or what is left.
    fn bytes(&mut self, at: u64, want: usize) -> Result<&[u8], Damage> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(left);
        let inside = at >= self.start && at + want as u64 <= self.start + self.window.len() as u64;
        if !inside {
            self.window.resize(WINDOW.min(left), 0);
            let read = self.file.read_at(&mut self.window, at)?;
            self.window.truncate(read);
            self.start = at;
        }
        let from = (at - self.start) as usize;
        Ok(&self.window[from..(from + want).min(self.window.len())])
    }

    fn header(&mut self) -> Result<Option<Result<Header, HeaderError>>, Damage> {
        if self.len < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let bytes = self.bytes(0, HEADER_BYTES)?;
        Ok(Some(Header::decode(bytes)))
    }

    fn frame(&mut self, at: u64) -> Result<Step, Damage> {
        if at >= self.len {
            return Ok(Step::End);
        }
        let head = self.bytes(at, 5)?;
        let Ok(head) = <[u8; 5]>::try_from(head) else { return Ok(Step::Torn) };
        let payload = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if payload == 0 || payload > PAYLOAD_BYTES {
            return Ok(Step::Torn);
        }
        let frame = self.bytes(at, payload + FRAME_BYTES)?;
        let Some((body, sum)) = frame.split_at_checked(payload + 5) else { return Ok(Step::Torn) };
        let Ok(sum) = <[u8; 4]>::try_from(sum) else { return Ok(Step::Torn) };
        Ok(match crc32c::crc32c(body) == u32::from_le_bytes(sum) {
            true => Step::Whole { kind: head[4], end: at + (payload + FRAME_BYTES) as u64 },
            false => Step::Torn,
        })
    }

    fn payload(&self, at: u64, end: u64) -> &[u8] {
        let from = (at - self.start) as usize + 5;
        &self.window[from..(end - self.start) as usize - 4]
    }

    /// Whether a whole frame behind `torn` says that `torn` was durable.
    fn proves(&mut self, torn: u64) -> Result<bool, Damage> {
        // A frame may begin at any byte. Where one is whole, the search goes on behind it.
        let mut at = torn + 1;
        while at < self.len {
            at = match self.frame(at)? {
                Step::Whole { kind, end } => match Frame::parse(kind, self.payload(at, end)) {
                    Some((durable, _)) if durable > torn => return Ok(true),
                    Some(_) => end,
                    None => at + 1,
                },
                Step::Torn => at + 1,
                Step::End => break,
            };
        }
        Ok(false)
    }
}
