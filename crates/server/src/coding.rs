//! Bodies in another coding: gzip (RFC 1952), br (RFC 7932), zstd (RFC 8878), and a bomb.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::OnceLock;

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// What a body can be encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`
    Gzip,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

impl Coding {
    const ALL: [Self; 3] = [Self::Gzip, Self::Brotli, Self::Zstd];

    /// Its name in HTTP.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The body in this coding.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub(crate) fn encode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        const WINDOW_BITS: u32 = 22;
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Brotli => {
                let mut out = Vec::new();
                let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, WINDOW_BITS);
                encoder.write_all(body)?;
                drop(encoder);
                Ok(out)
            }
            Self::Zstd => zstd::bulk::compress(body, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }
}

impl FromStr for Coding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|coding| coding.name() == text);
        found.ok_or_else(|| format!("`{text}`: codings are gzip, br and zstd"))
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The codings that a request accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Accepts(u8);

impl Accepts {
    pub(crate) fn has(self, coding: Coding) -> bool {
        self.0 & 1 << coding as u8 != 0
    }

    /// Adds those of one Accept-Encoding line (RFC 9110 section 12.5.3); a weight counts for
    /// nothing unless it is 0.
    pub(crate) fn add(&mut self, line: &[u8]) {
        for item in line.split(|&byte| byte == b',') {
            let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let never = parts.any(|part| {
                let weight = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
                weight.is_some_and(|weight| weight.iter().all(|byte| b"0.".contains(byte)))
            });
            for coding in Coding::ALL {
                let named = name.eq_ignore_ascii_case(coding.name().as_bytes());
                if !never && (named || name == b"*") {
                    self.0 |= 1 << coding as u8;
                }
            }
        }
    }
}

/// Zeros in one unit of a bomb, and units in a whole one: 10 GiB.
const UNIT: usize = 1 << 20;
const UNITS: u64 = 10 << 10;

/// Header, and the empty last block with the place for checksum and length.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const LAST_BLOCK: [u8; 2] = [3, 0];
const TAIL: usize = LAST_BLOCK.len() + 8;

/// A small gzip file of 10 GiB of zeros. It is one unit over and over: a block of deflate that
/// refers to nothing before it, so it costs no more than copying.
#[derive(Debug)]
pub(crate) struct Bomb {
    units: u64,
    sent: u64,
}

impl Bomb {
    pub(crate) fn new() -> Self {
        Self { units: UNITS, sent: 0 }
    }

    /// Bytes of the whole.
    fn whole(&self) -> u64 {
        (GZIP_HEAD.len() + TAIL) as u64 + self.units * unit().len() as u64
    }

    /// Bytes to come.
    pub(crate) fn left(&self) -> u64 {
        match self.sent {
            0 => self.whole(),
            sent => self.whole() - GZIP_HEAD.len() as u64 - (sent - 1) * unit().len() as u64,
        }
    }

    /// Appends the next piece, about so long; whether there is more.
    pub(crate) fn piece_into(&mut self, about: usize, out: &mut Vec<u8>) -> bool {
        let end = out.len() + about;
        // `sent` counts the header, too.
        if self.sent == 0 {
            out.extend_from_slice(&GZIP_HEAD);
            self.sent = 1;
        }
        while self.sent <= self.units && out.len() < end {
            out.extend_from_slice(unit());
            self.sent += 1;
        }
        if self.sent <= self.units {
            return true;
        }
        out.extend_from_slice(&LAST_BLOCK);
        out.extend_from_slice(&crc(self.units).to_le_bytes());
        // The length is told modulo 2^32.
        out.extend_from_slice(&((self.units * UNIT as u64) as u32).to_le_bytes());
        false
    }
}

/// One unit of zeros in deflate, without an end.
fn unit() -> &'static [u8] {
    static CELL: OnceLock<Vec<u8>> = OnceLock::new();
    CELL.get_or_init(|| {
        let zeros = vec![0; UNIT];
        let mut out = Vec::with_capacity(UNIT / 64);
        let mut deflate = Compress::new(Compression::best(), false);
        // There is more room than zeros take.
        let _ = deflate.compress_vec(&zeros, &mut out, FlushCompress::Sync);
        out
    })
}

/// The CRC-32 of so many units: each bit of the number doubles what was so far.
fn crc(units: u64) -> u32 {
    let mut one = Crc::new();
    one.update(&vec![0; UNIT]);
    let mut sum = Crc::new();
    for bit in (0..u64::BITS - units.leading_zeros()).rev() {
        let mut so_far = Crc::new();
        so_far.combine(&sum);
        sum.combine(&so_far);
        if units >> bit & 1 == 1 {
            sum.combine(&one);
        }
    }
    sum.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn every_coding_gives_the_body_back() {
        let long: Vec<u8> = (0..20_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for body in [&b""[..], b"a", &long] {
            for coding in Coding::ALL {
                let coded = coding.encode(body).unwrap();
                let mut plain = Vec::new();
                match coding {
                    Coding::Gzip => {
                        flate2::read::GzDecoder::new(&*coded).read_to_end(&mut plain).unwrap();
                    }
                    Coding::Brotli => {
                        brotli::Decompressor::new(&*coded, 4096).read_to_end(&mut plain).unwrap();
                    }
                    Coding::Zstd => plain = zstd::stream::decode_all(&*coded).unwrap(),
                }
                assert!(plain == body, "{coding}");
                assert_eq!(coding.to_string().parse(), Ok(coding));
            }
        }
        assert!("deflate".parse::<Coding>().is_err());
    }

    #[test]
    fn a_request_accepts_what_it_names() {
        for (line, expected) in [
            ("", [false; 3]),
            ("gzip", [true, false, false]),
            ("deflate, BR;q=0.5 ,zstd", [false, true, true]),
            ("*", [true; 3]),
            ("gzip;q=0, br; q=0.000, zstd;q=0.001", [false, false, true]),
            ("identity, x-gzip", [false; 3]),
        ] {
            let mut accepts = Accepts::default();
            accepts.add(line.as_bytes());
            assert_eq!(Coding::ALL.map(|coding| accepts.has(coding)), expected, "{line}");
        }
    }

    #[test]
    fn a_bomb_is_a_small_file_of_zeros() {
        for (units, about) in [(0, 1), (1, 1), (5, 1), (5, 2500), (5, 1 << 20)] {
            let mut bomb = Bomb { units, sent: 0 };
            let mut coded = Vec::new();
            let mut left = bomb.left();
            loop {
                let mut piece = Vec::new();
                let more = bomb.piece_into(about, &mut piece);
                left -= piece.len() as u64;
                coded.append(&mut piece);
                if !more {
                    break;
                }
                assert_eq!(bomb.left(), left);
            }
            assert_eq!(left, 0);
            let mut plain = Vec::new();
            let mut decoder = flate2::bufread::GzDecoder::new(&*coded);
            decoder.read_to_end(&mut plain).expect("its checksum and length are right");
            assert!(plain.len() as u64 == units << 20 && plain.iter().all(|&byte| byte == 0));
            assert!(decoder.into_inner().is_empty(), "it is one member");
        }
        assert!((5 << 20..20 << 20).contains(&Bomb::new().left()), "{}", Bomb::new().left());
    }
}
