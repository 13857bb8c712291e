//! Bytes to pixels of eight bits: grey or RGB, with alpha or without.

use super::jpeg::Head;
use super::{Failed, Kept, Kind, Pixel, Shape, allowed};
use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{AnimationDecoder as _, ColorType, ImageDecoder, ImageResult, Limits};
use std::io::Cursor;
use windrow_model::limits::{IMAGE_BESIDE_BYTES, IMAGE_BYTES};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Decodes into `kept.pixels`.
pub(super) fn decode(kind: Kind, body: &[u8], kept: &mut Kept) -> Result<Shape, Failed> {
    match kind {
        Kind::Jpeg => jpeg(body, kept, false),
        _ => other(opened(kind, body)?, &mut kept.pixels),
    }
}

/// Decodes all there is, and strictly.
pub(super) fn whole(kind: Kind, body: &[u8], kept: &mut Kept) -> Result<(), Failed> {
    match kind {
        Kind::Jpeg => jpeg(body, kept, true).map(drop),
        Kind::Gif => {
            let mut decoder = GifDecoder::new(Cursor::new(body)).map_err(broken)?;
            let (width, height) = decoder.dimensions();
            allowed(width, height, decoder.total_bytes())?;
            decoder.set_limits(limits(IMAGE_BYTES)).map_err(broken)?;
            let mut frames = 0;
            for frame in decoder.into_frames() {
                frame.map_err(broken)?;
                frames += 1;
            }
            if frames == 0 { Err(Failed::new("the image has no pixels")) } else { Ok(()) }
        }
        Kind::Png if memchr::memmem::rfind(body, b"IEND").is_none() => {
            decode(kind, body, kept)?;
            Err(Failed::new("the image ends too early"))
        }
        _ => decode(kind, body, kept).map(drop),
    }
}

/// Width and height, of the header alone.
pub(super) fn sides(kind: Kind, body: &[u8]) -> Option<(u32, u32)> {
    match kind {
        Kind::Jpeg => Head::read(body).map(|head| (head.width, head.height)),
        _ => opened(kind, body).ok().map(|decoder| decoder.dimensions()),
    }
}

fn opened(kind: Kind, body: &[u8]) -> Result<Box<dyn ImageDecoder + '_>, Failed> {
    fn boxed<'a>(
        decoder: ImageResult<impl ImageDecoder + 'a>,
    ) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
        Ok(Box::new(decoder?))
    }
    let reader = Cursor::new(body);
    match kind {
        // Reads all that stands before the pixels.
        Kind::Png => boxed(PngDecoder::with_limits(reader, limits(IMAGE_BESIDE_BYTES))),
        Kind::Webp => boxed(WebPDecoder::new(reader)),
        Kind::Gif => boxed(GifDecoder::new(reader)),
        Kind::Bmp => boxed(BmpDecoder::new(reader)),
        Kind::Tiff | Kind::Jpeg => boxed(TiffDecoder::new(reader)),
    }
    .map_err(broken)
}

fn limits(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

fn other(mut decoder: Box<dyn ImageDecoder + '_>, pixels: &mut Vec<u8>) -> Result<Shape, Failed> {
    let (width, height) = decoder.dimensions();
    let (color, bytes) = (decoder.color_type(), decoder.total_bytes());
    allowed(width, height, bytes)?;
    let pixel = match color {
        ColorType::L8 | ColorType::L16 => Pixel::Grey,
        ColorType::La8 | ColorType::La16 => Pixel::GreyAlpha,
        ColorType::Rgb8 | ColorType::Rgb16 => Pixel::Rgb,
        ColorType::Rgba8 | ColorType::Rgba16 => Pixel::Rgba,
        _ => return Err(Failed::new("the image is of a kind that is not supported").why("float")),
    };
    decoder.set_limits(limits(IMAGE_BYTES)).map_err(broken)?;
    // One that cannot be read does not make the image worse.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let bytes = bytes as usize;
    reserve(pixels, bytes);
    decoder.read_image(&mut pixels[..bytes]).map_err(broken)?;
    if matches!(color, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16) {
        narrow(&mut pixels[..bytes]);
    }
    Ok(Shape { width, height, pixel, orientation })
}

/// 16 bits of this machine's order to 8, rounded, in place.
fn narrow(pixels: &mut [u8]) {
    for at in 0..pixels.len() / 2 {
        let wide = u32::from(u16::from_ne_bytes([pixels[2 * at], pixels[2 * at + 1]]));
        pixels[at] = ((wide + 128) / 257) as u8;
    }
}

fn jpeg(body: &[u8], kept: &mut Kept, strict: bool) -> Result<Shape, Failed> {
    let head =
        Head::read(body).ok_or_else(|| Failed::new("the image has no header that can be read"))?;
    allowed(head.width, head.height, head.memory())?;
    let wanted = match head.components {
        1 => ColorSpace::Luma,
        // CMYK is taken for inverted, as Adobe writes it, whatever the header says: so do Pillow and browsers.
        3 | 4 => ColorSpace::RGB,
        _ => {
            return Err(Failed::new("the image is of a kind that is not supported")
                .why(format!("{} components", head.components)));
        }
    };
    // Where there is no end, a missing part would be made up if nobody were strict.
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .set_strict_mode(strict || !head.ended)
        .jpeg_set_out_colorspace(wanted);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(body), options);
    let bad = |error: zune_jpeg::errors::DecodeErrors| {
        let detail =
            if head.ended { "the image cannot be decoded" } else { "the image ends too early" };
        Failed::new(detail).why(error)
    };
    decoder.decode_headers().map_err(bad)?;
    let bytes = decoder.output_buffer_size().unwrap_or_default();
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    // Two readers of a header may disagree.
    allowed(width, height, bytes as u64)?;
    reserve(&mut kept.pixels, bytes);
    decoder.decode_into(&mut kept.pixels[..bytes]).map_err(bad)?;
    let turned = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let pixel = if head.components == 1 { Pixel::Grey } else { Pixel::Rgb };
    let shape =
        Shape { width, height, pixel, orientation: turned.unwrap_or(Orientation::NoTransforms) };
    if shape.bytes() > bytes {
        return Err(Failed::new("the image cannot be decoded").why("its colours are unclear"));
    }
    Ok(shape)
}

/// So many bytes; what they hold from the image before is overwritten.
fn reserve(pixels: &mut Vec<u8>, bytes: usize) {
    if pixels.len() < bytes {
        // Not copied when it moves.
        pixels.clear();
        pixels.resize(bytes, 0);
    }
}

fn broken(error: image::ImageError) -> Failed {
    let detail = match &error {
        image::ImageError::Limits(_) => "the image takes too much memory",
        image::ImageError::Unsupported(_) => "the image is of a kind that is not supported",
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the image ends too early"
        }
        _ => "the image cannot be decoded",
    };
    Failed::new(detail).why(error)
}
