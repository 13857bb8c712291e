//! The frames around deflated data: gzip (RFC 1952) and zlib (RFC 1950), or none.
//!
//! The library inflates; what stands before and behind is read here, since a body may be several
//! gzip members in a row and what is behind the last of them is to be noticed.

use super::coding::{Step, damaged, garbage};
use flate2::{Decompress, FlushDecompress, Status};
use windrow_model::Failure;

/// Flags of a member's header (RFC 1952 section 2.3.1).
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Undoes gzip, member after member.
pub(super) struct Gunzip {
    inflate: Decompress,
    at: At,
    /// What the header of this member says.
    flags: u8,
    crc: crc32fast::Hasher,
    /// Bytes that came out of this member, modulo 2^32.
    size: u32,
    members: u64,
}

/// What the next byte belongs to.
#[derive(Clone, Copy)]
enum At {
    /// The fixed part of a header, so far into it.
    Header(u8),
    ExtraLength(u8, u16),
    Extra(u16),
    Name,
    Comment,
    /// So many bytes of the header's checksum are left. It protects a name and a date that are not
    /// used, and is not compared.
    HeaderCrc(u8),
    Data,
    /// So far into the trailer, and what of its checksum or length is known.
    Trailer(u8, u32),
}

impl Gunzip {
    pub(super) fn new(mut inflate: Decompress) -> Self {
        inflate.reset(false);
        Self {
            inflate,
            at: At::Header(0),
            flags: 0,
            crc: crc32fast::Hasher::new(),
            size: 0,
            members: 0,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.at, At::Header(0)) && self.members > 0
    }

    pub(super) fn into_inner(self) -> Decompress {
        self.inflate
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Failure> {
        let mut read = 0;
        loop {
            if let At::Data = self.at {
                let (step, ended) = inflate(&mut self.inflate, &input[read..], out)?;
                self.crc.update(&out[..step.written]);
                self.size = self.size.wrapping_add(step.written as u32);
                if ended {
                    self.at = At::Trailer(0, 0);
                }
                return Ok(Step { read: read + step.read, written: step.written });
            }
            let Some(&byte) = input.get(read) else { return Ok(Step { read, written: 0 }) };
            read += 1;
            self.at = self.frame(byte)?;
        }
    }

    /// Takes a byte that is no data.
    fn frame(&mut self, byte: u8) -> Result<At, Failure> {
        Ok(match self.at {
            At::Header(at) => {
                let wrong = match at {
                    0 => byte != 0x1F,
                    1 => byte != 0x8B,
                    2 => byte != 8,
                    3 => byte & RESERVED != 0,
                    _ => false,
                };
                if wrong {
                    return Err(if self.members > 0 { garbage() } else { damaged() });
                }
                match at {
                    3 => {
                        self.flags = byte;
                        At::Header(4)
                    }
                    9 if self.flags & EXTRA != 0 => At::ExtraLength(0, 0),
                    9 => self.behind_extra(),
                    _ => At::Header(at + 1),
                }
            }
            At::ExtraLength(0, _) => At::ExtraLength(1, u16::from(byte)),
            At::ExtraLength(_, low) => match u16::from(byte) << 8 | low {
                0 => self.behind_extra(),
                length => At::Extra(length),
            },
            At::Extra(1) => self.behind_extra(),
            At::Extra(left) => At::Extra(left - 1),
            At::Name if byte == 0 => self.behind_name(),
            At::Comment if byte == 0 => self.behind_comment(),
            At::Name | At::Comment => self.at,
            At::HeaderCrc(1) => self.begin(),
            At::HeaderCrc(left) => At::HeaderCrc(left - 1),
            At::Trailer(at, known) => {
                let known = known | u32::from(byte) << (8 * (at % 4));
                let wrong = match at {
                    3 => known != self.crc.clone().finalize(),
                    7 => known != self.size,
                    _ => false,
                };
                match at {
                    _ if wrong => return Err(damaged()),
                    3 => At::Trailer(4, 0),
                    7 => {
                        self.members += 1;
                        self.inflate.reset(false);
                        At::Header(0)
                    }
                    _ => At::Trailer(at + 1, known),
                }
            }
            // Data is for the library.
            At::Data => At::Data,
        })
    }

    fn behind_extra(&mut self) -> At {
        if self.flags & NAME != 0 { At::Name } else { self.behind_name() }
    }

    fn behind_name(&mut self) -> At {
        if self.flags & COMMENT != 0 { At::Comment } else { self.behind_comment() }
    }

    fn behind_comment(&mut self) -> At {
        if self.flags & HEADER_CRC != 0 { At::HeaderCrc(2) } else { self.begin() }
    }

    fn begin(&mut self) -> At {
        self.crc.reset();
        self.size = 0;
        At::Data
    }
}

/// Undoes `deflate`, which is zlib's format (RFC 9110 section 8.4.1.2). "Some non-conformant
/// implementations send the deflate compressed data without the zlib wrapper": these are told by
/// the first two bytes.
pub(super) struct Unzlib {
    inflate: Decompress,
    at: Zlib,
}

#[derive(Clone, Copy)]
enum Zlib {
    Begin,
    /// The first byte came, and waits for the second.
    First(u8),
    /// The first byte is still to be handed to the library.
    Decided(u8),
    Data,
    End,
}

impl Unzlib {
    pub(super) fn new(inflate: Decompress) -> Self {
        Self { inflate, at: Zlib::Begin }
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.at, Zlib::End)
    }

    pub(super) fn into_inner(self) -> Decompress {
        self.inflate
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Failure> {
        let Some(&next) = input.first() else { return self.data(input, out) };
        match self.at {
            Zlib::Begin => {
                self.at = Zlib::First(next);
                Ok(Step { read: 1, written: 0 })
            }
            Zlib::First(first) => {
                // RFC 1950 section 2.2. No raw stream begins so: it would be a stored block whose
                // padding is not zero.
                let zlib = first & 0x0F == 8
                    && first >> 4 <= 7
                    && u16::from_be_bytes([first, next]).is_multiple_of(31);
                self.inflate.reset(zlib);
                self.at = Zlib::Decided(first);
                self.step(input, out)
            }
            Zlib::Decided(first) => {
                let (step, ended) = inflate(&mut self.inflate, &[first], out)?;
                if ended || step.read != 1 {
                    return Err(damaged());
                }
                self.at = Zlib::Data;
                if step.written > 0 {
                    return Ok(Step { read: 0, written: step.written });
                }
                self.data(input, out)
            }
            Zlib::Data => self.data(input, out),
            Zlib::End => Err(garbage()),
        }
    }

    fn data(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Failure> {
        if !matches!(self.at, Zlib::Data) {
            return Ok(Step { read: 0, written: 0 });
        }
        let (step, ended) = inflate(&mut self.inflate, input, out)?;
        if ended {
            self.at = Zlib::End;
        }
        Ok(step)
    }
}

/// One call of the library; whether the stream ended with it.
fn inflate(
    inflate: &mut Decompress,
    input: &[u8],
    out: &mut [u8],
) -> Result<(Step, bool), Failure> {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None).map_err(|_| damaged())?;
    let step = Step {
        read: (inflate.total_in() - read) as usize,
        written: (inflate.total_out() - written) as usize,
    };
    Ok((step, status == Status::StreamEnd))
}
