//! The chunked transfer coding (RFC 9112 section 7.1).

use super::head::Malformed;
use windrow_model::limits::{CHUNK_EXTENSION_BYTES, CHUNK_LINE_BYTES, TRAILER_BYTES};

/// Where in a chunked body the decoder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunked {
    at: At,
    /// Bytes of chunk extensions so far, over all chunks.
    extensions: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a chunk-size line.
    Size,
    /// Inside a chunk, so many bytes before its end.
    Data(u64),
    /// Before the line end that follows a chunk's data.
    DataEnd,
    /// In the trailer section, after so many of its bytes.
    Trailer(usize),
}

/// What the front of the input is.
pub(super) enum Piece<'a> {
    /// Incomplete.
    More,
    /// Framing that carries no data; go on behind it.
    Framing,
    /// Data of a chunk.
    Data(&'a [u8]),
    /// The last line end.
    End,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { at: At::Size, extensions: 0 }
    }

    /// Reads one piece; gives how many bytes of `input` it takes.
    pub(super) fn step<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), Malformed> {
        match self.at {
            At::Size => {
                let Some((line, len)) = line(input, CHUNK_LINE_BYTES)? else {
                    return Ok((0, Piece::More));
                };
                let (size, extension) = size_line(line)?;
                self.extensions += extension as u64;
                if self.extensions > CHUNK_EXTENSION_BYTES {
                    return Err(Malformed::Chunk);
                }
                self.at = if size == 0 { At::Trailer(0) } else { At::Data(size) };
                Ok((len, Piece::Framing))
            }
            At::Data(left) => {
                if input.is_empty() {
                    return Ok((0, Piece::More));
                }
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - take as u64;
                self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
                Ok((take, Piece::Data(&input[..take])))
            }
            At::DataEnd => match input {
                [b'\r', b'\n', ..] => {
                    self.at = At::Size;
                    Ok((2, Piece::Framing))
                }
                [] | [b'\r'] => Ok((0, Piece::More)),
                _ => Err(Malformed::Chunk),
            },
            At::Trailer(used) => {
                let Some((line, len)) = line(input, TRAILER_BYTES - used)? else {
                    return Ok((0, Piece::More));
                };
                if line.is_empty() {
                    return Ok((len, Piece::End));
                }
                let name = line.split(|&b| b == b':').next().unwrap_or_default();
                if name.len() == line.len() || name.is_empty() || !name.iter().all(|&b| token(b)) {
                    return Err(Malformed::Chunk);
                }
                self.at = At::Trailer(used + len);
                Ok((len, Piece::Framing))
            }
        }
    }
}

/// The line at the front of `input` without its end, and its length with it; `None` if its end is
/// not there yet. Only CRLF ends a line here, and no other control character stands in one.
fn line(input: &[u8], bound: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        // A `\r` may be the first half of the line end.
        let text = input.strip_suffix(b"\r").unwrap_or(input);
        return if input.len() > bound || !text.iter().all(|&b| printable(b)) {
            Err(Malformed::Chunk)
        } else {
            Ok(None)
        };
    };
    let line = input[..end].strip_suffix(b"\r").ok_or(Malformed::Chunk)?;
    if end + 1 > bound || !line.iter().all(|&b| printable(b)) {
        return Err(Malformed::Chunk);
    }
    Ok(Some((line, end + 1)))
}

/// Size, and length of the extensions, of a chunk-size line.
fn size_line(line: &[u8]) -> Result<(u64, usize), Malformed> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    // 16 digits fill 64 bits; more could only be leading zeros, which nobody sends in earnest.
    if digits == 0 || digits > 16 {
        return Err(Malformed::Chunk);
    }
    let size = line[..digits].iter().fold(0_u64, |size, &digit| {
        size << 4 | u64::from((digit as char).to_digit(16).unwrap_or(0))
    });
    let extension = line[digits..].trim_ascii_start();
    if !extension.is_empty() && extension[0] != b';' {
        return Err(Malformed::Chunk);
    }
    Ok((size, line.len() - digits))
}

fn printable(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

/// `tchar` of RFC 9110 section 5.6.2.
fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
