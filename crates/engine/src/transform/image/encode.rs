//! Pixels to bytes.

use super::{Failed, Kind, Pixel};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
use webp::PixelLayout;

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    Webp,
    /// WebP without loss.
    WebpLossless,
}

impl Format {
    /// That of the input where it can be written.
    pub(super) fn like(kind: Kind) -> Self {
        match kind {
            Kind::Png => Self::Png,
            Kind::Webp => Self::Webp,
            Kind::Jpeg | Kind::Gif | Kind::Bmp | Kind::Tiff => Self::Jpeg,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::WebpLossless => "webp,lossless",
        }
    }

    /// This, or without loss where it can be either.
    pub(super) fn lossless(self, yes: bool) -> Self {
        if yes && self == Self::Webp { Self::WebpLossless } else { self }
    }

    pub(super) fn media(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp | Self::WebpLossless => "image/webp",
        }
    }
}

/// Encodes; alpha is laid onto white where the format has none.
pub(super) fn encode(
    format: Format,
    quality: u8,
    (width, height): (u32, u32),
    pixel: Pixel,
    mut pixels: Vec<u8>,
) -> Result<Vec<u8>, Failed> {
    let mut out = Vec::with_capacity(pixels.len() / 4 + 1024);
    let failed = "the image cannot be written";
    let extended = match pixel {
        Pixel::Grey => ExtendedColorType::L8,
        Pixel::GreyAlpha => ExtendedColorType::La8,
        Pixel::Rgb => ExtendedColorType::Rgb8,
        Pixel::Rgba => ExtendedColorType::Rgba8,
    };
    match format {
        Format::Jpeg => {
            let color = flatten(pixel, &mut pixels);
            let side = |side: u32| u16::try_from(side).map_err(|_| Failed::new(failed));
            let mut encoder = Encoder::new(&mut out, quality);
            // As most encoders do: colours at half the resolution.
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
            encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
            encoder
                .encode(&pixels, side(width)?, side(height)?, color)
                .map_err(|error| Failed::new(failed).why(error))?;
        }
        Format::Png => {
            PngEncoder::new_with_quality(&mut out, CompressionType::Default, FilterType::Adaptive)
                .write_image(&pixels, width, height, extended)
                .map_err(|error| Failed::new(failed).why(error))?;
        }
        Format::Webp => {
            super::allowed(width, height, u64::from(width) * u64::from(height) * WEBP_PIXEL_BYTES)?;
            // Sizes fit: an image that was decoded has all of its pixels.
            let layout = colours(pixel, &mut pixels);
            let image = webp::Encoder::new(&pixels, layout, width, height);
            let encoded = image
                .encode_simple(false, f32::from(quality))
                .map_err(|error| Failed::new(failed).why(format!("{error:?}")))?;
            out.extend_from_slice(&encoded);
        }
        Format::WebpLossless => WebPEncoder::new_lossless(&mut out)
            .write_image(&pixels, width, height, extended)
            .map_err(|error| Failed::new(failed).why(error))?,
    }
    Ok(out)
}

/// Memory that encoding a pixel takes, about: as it came, as libwebp imports it, and in its own colours.
const WEBP_PIXEL_BYTES: u64 = 9;

/// Makes colours of what is grey: libwebp knows nothing else.
fn colours(pixel: Pixel, pixels: &mut Vec<u8>) -> PixelLayout {
    match pixel {
        Pixel::Grey => *pixels = pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
        Pixel::GreyAlpha => {
            let (pairs, _) = pixels.as_chunks();
            *pixels = pairs.iter().flat_map(|&[grey, alpha]| [grey, grey, grey, alpha]).collect();
        }
        Pixel::Rgb | Pixel::Rgba => {}
    }
    match pixel {
        Pixel::Grey | Pixel::Rgb => PixelLayout::Rgb,
        Pixel::GreyAlpha | Pixel::Rgba => PixelLayout::Rgba,
    }
}

/// Lays what is transparent onto white, in place.
fn flatten(pixel: Pixel, pixels: &mut Vec<u8>) -> ColorType {
    let colours = match pixel {
        Pixel::Grey => return ColorType::Luma,
        Pixel::Rgb => return ColorType::Rgb,
        Pixel::GreyAlpha => 1,
        Pixel::Rgba => 3,
    };
    let count = pixels.len() / (colours + 1);
    for at in 0..count {
        let from = at * (colours + 1);
        let alpha = u16::from(pixels[from + colours]);
        for colour in 0..colours {
            let mixed = u16::from(pixels[from + colour]) * alpha + 255 * (255 - alpha);
            pixels[at * colours + colour] = ((mixed + 127) / 255) as u8;
        }
    }
    pixels.truncate(count * colours);
    if colours == 1 { ColorType::Luma } else { ColorType::Rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_much_memory_is_not_begun() {
        // No pixels are needed to see that.
        let failed = encode(Format::Webp, 85, (8000, 8000), Pixel::Grey, Vec::new()).unwrap_err();
        assert_eq!(failed.failure.detail, "the image takes too much memory");
    }
}
