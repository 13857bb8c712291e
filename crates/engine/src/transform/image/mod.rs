//! Images: `resize`, `verify`, and the sizes that `drop-if` asks for.
//!
//! What a body is, its first bytes say, not its name or media type. Every body is hostile: its header is
//! looked at first, and what would take more pixels ([`IMAGE_PIXELS`]) or memory ([`IMAGE_BYTES`]) than
//! is allowed is not decoded. Decoders are pure Rust; one that panics fails its object, as anything in a
//! chain does. What is C is libwebp, to encode: it sees pixels of ours and nothing that came.

mod decode;
mod encode;
mod jpeg;
mod resize;

use super::{Failed, Lane};
use fast_image_resize::Resizer;
use image::metadata::Orientation;
pub(super) use resize::Resize;
use windrow_model::limits::{IMAGE_BYTES, IMAGE_PIXELS};

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Jpeg,
    Png,
    Webp,
    Gif,
    Bmp,
    Tiff,
}

impl Kind {
    fn of(body: &[u8]) -> Option<Self> {
        // A BMP's magic is two letters; the size of its second header is one of few.
        let bmp = |at: &[u8]| matches!(at, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]);
        match body {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            [b'B', b'M', ..] if body.get(14..18).is_some_and(bmp) => Some(Self::Bmp),
            _ => None,
        }
    }
}

/// How the bytes of a pixel are meant; eight bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixel {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

impl Pixel {
    fn bytes(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// What a decoded image is; its pixels are in [`Kept::pixels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    width: u32,
    height: u32,
    pixel: Pixel,
    /// How it has to be turned to stand upright.
    orientation: Orientation,
}

impl Shape {
    fn bytes(self) -> usize {
        self.width as usize * self.height as usize * self.pixel.bytes()
    }
}

/// What a thread keeps from one image to the next.
#[derive(Default)]
pub(super) struct Kept {
    /// Decoded pixels, and perhaps more behind them.
    pixels: Vec<u8>,
    resizer: Resizer,
}

/// Width and height as the header says, before any turning; `None` for what is no image.
pub(super) fn sides(body: &[u8]) -> Option<(u32, u32)> {
    decode::sides(Kind::of(body)?, body)
}

/// Decodes an image to its end; what is none passes.
pub(super) fn verify(body: &[u8], lane: &mut Lane) -> Result<(), Failed> {
    match Kind::of(body) {
        Some(kind) => decode::whole(kind, body, &mut lane.image),
        None => Ok(()),
    }
}

/// That an image of so many pixels, and bytes of memory, may be decoded.
fn allowed(width: u32, height: u32, bytes: u64) -> Result<(), Failed> {
    let pixels = u64::from(width) * u64::from(height);
    if width == 0 || height == 0 {
        return Err(Failed::new("the image has no pixels"));
    }
    if pixels > IMAGE_PIXELS {
        return Err(Failed::new("the image has too many pixels").why(format!("{width}x{height}")));
    }
    if bytes > IMAGE_BYTES {
        return Err(Failed::new("the image takes too much memory").why(format!("{width}x{height}")));
    }
    Ok(())
}
