//! `resize=WxH`: an image in another size, upright, as JPEG, PNG or WebP.

use super::super::spec::{Spec, crop};
use super::super::{Failed, Lane, Object, Outcome};
use super::encode::{Format, encode};
use super::{Kept, Kind, Pixel, Shape, decode};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions};
use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use std::fmt;
use windrow_model::Error;
use windrow_model::limits::{IMAGE_KEPT_BYTES, IMAGE_SIDE};

/// How an image is resized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transform) struct Resize {
    width: u32,
    height: u32,
    mode: Mode,
    /// `None`: as it came, where that can be written.
    format: Option<Format>,
    quality: u8,
    /// Where it is not known yet, by the format, whether there is a loss.
    lossless: bool,
    only_shrink: bool,
}

/// The new size, and how much of the image is shown, about its middle.
type Plan = ((u32, u32), (f64, f64));

/// What the box of `WxH` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The largest that fits into it.
    Fit,
    /// The smallest that fills it; one side may be longer.
    Fill,
    /// As `Fill`, and what stands out is cut off on both sides.
    Crop,
}

const HINT: &str = "write resize=256 or resize=WxH, then any of mode=fit|fill|crop, \
    format=jpeg|png|webp, quality=1..100, lossless, only-shrink, with commas between";

impl Resize {
    pub(in crate::transform) fn read(spec: &Spec<'_>) -> Result<Self, Error> {
        spec.no_options()?;
        let bad = |what: String| spec.bad(what).hint(HINT);
        let mut words = spec.argument.unwrap_or_default().split(',');
        let size = words.next().unwrap_or_default();
        let side = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let side = text.parse().ok().filter(|side| digits && (1..=IMAGE_SIDE).contains(side));
            side.ok_or_else(|| bad(format!("is no size of 1 to {IMAGE_SIDE}")))
        };
        let (width, height) = size.split_once('x').unwrap_or((size, size));
        let (width, height) = (side(width)?, side(height)?);
        let (mut mode, mut format, mut quality) = (Mode::Fit, None, None);
        let (mut lossless, mut only_shrink) = (false, false);
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("mode", "fit") => mode = Mode::Fit,
                ("mode", "fill") => mode = Mode::Fill,
                ("mode", "crop") => mode = Mode::Crop,
                ("format", "jpeg" | "jpg") => format = Some(Format::Jpeg),
                ("format", "png") => format = Some(Format::Png),
                ("format", "webp") => format = Some(Format::Webp),
                ("format", "avif") => {
                    return Err(spec.bad("AVIF cannot be written").hint(
                        "--transform 'exec(type=image/avif)=avifenc ...' can write it with a tool of yours",
                    ));
                }
                ("quality", value) => {
                    let value: Option<u8> = value.parse().ok();
                    let value = value.filter(|value| (1..=100).contains(value));
                    quality = Some(value.ok_or_else(|| bad("has a bad quality".to_owned()))?);
                }
                ("lossless", "") => lossless = true,
                ("only-shrink", "") => only_shrink = true,
                _ => return Err(bad(format!("has no option `{}`", crop(word)))),
            }
        }
        let format = format.map(|format| format.lossless(lossless));
        if quality.is_some() && matches!(format, Some(Format::Png | Format::WebpLossless)) {
            return Err(spec
                .bad("has a quality for a format without loss")
                .hint("quality is for JPEG, and for WebP that is not `lossless`"));
        }
        if lossless && format == Some(Format::Jpeg) {
            return Err(spec
                .bad("asks for a JPEG without loss")
                .hint("format=png and format=webp,lossless are without loss"));
        }
        let quality = quality.unwrap_or(85);
        Ok(Self { width, height, mode, format, quality, lossless, only_shrink })
    }

    pub(in crate::transform) fn apply(
        &self,
        mut object: Object,
        lane: &mut Lane,
    ) -> Result<Outcome, Failed> {
        let kind = Kind::of(&object.body)
            .ok_or_else(|| Failed::new("the body is no image that can be read"))?;
        let kept = &mut lane.image;
        let resized = self.resized(kind, &object.body, kept);
        if kept.pixels.len() > IMAGE_KEPT_BYTES {
            *kept = Kept::default();
        }
        let (format, body) = resized?;
        object.body = body;
        object.content_type = Some(format.media().to_owned());
        Ok(Outcome::Keep(object))
    }

    fn resized(
        &self,
        kind: Kind,
        body: &[u8],
        kept: &mut Kept,
    ) -> Result<(Format, Vec<u8>), Failed> {
        let shape = decode::decode(kind, body, kept)?;
        let (size, pixels) = self.scale(shape, kept)?;
        let (size, pixels) = upright(shape, size, pixels)?;
        let format = self.format.unwrap_or(Format::like(kind)).lossless(self.lossless);
        Ok((format, encode(format, self.quality, size, shape.pixel, pixels)?))
    }

    /// In the new size, not yet upright.
    fn scale(&self, shape: Shape, kept: &mut Kept) -> Result<((u32, u32), Vec<u8>), Failed> {
        let (width, height) = (shape.width, shape.height);
        // The box turns with the image.
        let (goal, part) = if turns(shape.orientation) {
            let turned = self.plan(height, width)?;
            ((turned.0.1, turned.0.0), (turned.1.1, turned.1.0))
        } else {
            self.plan(width, height)?
        };
        let pixels = &kept.pixels[..shape.bytes()];
        if goal == (width, height) {
            return Ok((goal, pixels.to_vec()));
        }
        let kind = match shape.pixel {
            Pixel::Grey => PixelType::U8,
            Pixel::GreyAlpha => PixelType::U8x2,
            Pixel::Rgb => PixelType::U8x3,
            Pixel::Rgba => PixelType::U8x4,
        };
        let failed =
            |error: &dyn fmt::Display| Failed::new("the image cannot be resized").why(error);
        let from = ImageRef::new(width, height, pixels, kind).map_err(|error| failed(&error))?;
        let mut into = Image::new(goal.0, goal.1, kind);
        let left = (f64::from(width) - part.0) / 2.0;
        let top = (f64::from(height) - part.1) / 2.0;
        // Lanczos with three lobes, as wide as the reduction asks for; colours are weighted by alpha.
        let options = ResizeOptions::new().crop(left, top, part.0, part.1);
        kept.resizer.resize(&from, &mut into, &options).map_err(|error| failed(&error))?;
        Ok((goal, into.into_vec()))
    }

    /// The new size of an image of that size, and how much of it is shown.
    fn plan(&self, width: u32, height: u32) -> Result<Plan, Failed> {
        let (from, into) = (
            (f64::from(width), f64::from(height)),
            (f64::from(self.width), f64::from(self.height)),
        );
        let (wide, high) = (into.0 / from.0, into.1 / from.1);
        let mut scale = if self.mode == Mode::Fit { wide.min(high) } else { wide.max(high) };
        if self.only_shrink {
            scale = scale.min(1.0);
        }
        let side = |side: f64, most: u32| (side.round() as u32).clamp(1, most);
        let long = from.0.max(from.1) * scale;
        Ok(match self.mode {
            Mode::Fit | Mode::Fill if long > f64::from(IMAGE_SIDE) => {
                let why = format!("{width}x{height} would be {long:.0} long");
                return Err(Failed::new("the image is too long to fill the box").why(why));
            }
            Mode::Fit | Mode::Fill => {
                ((side(from.0 * scale, IMAGE_SIDE), side(from.1 * scale, IMAGE_SIDE)), from)
            }
            Mode::Crop => {
                let goal = (side(from.0 * scale, self.width), side(from.1 * scale, self.height));
                let part = (
                    (f64::from(goal.0) / scale).min(from.0),
                    (f64::from(goal.1) / scale).min(from.1),
                );
                (goal, part)
            }
        })
    }
}

/// Whether width and height change places.
fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// The image as it is meant to be seen.
fn upright(
    shape: Shape,
    (width, height): (u32, u32),
    pixels: Vec<u8>,
) -> Result<((u32, u32), Vec<u8>), Failed> {
    if shape.orientation == Orientation::NoTransforms {
        return Ok(((width, height), pixels));
    }
    let image = match shape.pixel {
        Pixel::Grey => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        Pixel::GreyAlpha => GrayAlphaImage::from_raw(width, height, pixels).map(DynamicImage::from),
        Pixel::Rgb => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
        Pixel::Rgba => RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let mut image = image.ok_or_else(|| Failed::new("the image cannot be turned"))?;
    image.apply_orientation(shape.orientation);
    Ok(((image.width(), image.height()), image.into_bytes()))
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Fit => "fit",
            Mode::Fill => "fill",
            Mode::Crop => "crop",
        };
        write!(f, "resize={}x{},mode={mode}", self.width, self.height)?;
        if let Some(format) = self.format {
            write!(f, ",format={}", format.name())?;
        }
        if !matches!(self.format, Some(Format::Png | Format::WebpLossless)) {
            write!(f, ",quality={}", self.quality)?;
        }
        if self.lossless && self.format.is_none() {
            f.write_str(",lossless")?;
        }
        f.write_str(if self.only_shrink { ",only-shrink" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(spec: &str) -> Resize {
        Resize::read(&Spec::read(spec).unwrap()).unwrap()
    }

    #[test]
    fn boxes_mean_what_they_say() {
        for (spec, from, goal, part) in [
            ("resize=256", (1024, 768), (256, 192), (1024.0, 768.0)),
            ("resize=256,mode=fill", (1024, 768), (341, 256), (1024.0, 768.0)),
            ("resize=256,mode=crop", (1024, 768), (256, 256), (768.0, 768.0)),
            ("resize=100x50", (10, 10), (50, 50), (10.0, 10.0)),
            ("resize=100x50,only-shrink", (10, 10), (10, 10), (10.0, 10.0)),
            ("resize=100x50,mode=crop,only-shrink", (200, 20), (100, 20), (100.0, 20.0)),
            ("resize=100,mode=crop", (10, 20), (100, 100), (10.0, 10.0)),
            ("resize=10", (10_000, 1), (10, 1), (10_000.0, 1.0)),
        ] {
            assert_eq!(read(spec).plan(from.0, from.1).unwrap(), (goal, part), "{spec}");
        }
        let long = read("resize=256,mode=fill").plan(10_000, 10).unwrap_err();
        assert_eq!(long.failure.detail, "the image is too long to fill the box");
    }

    proptest! {
        #[test]
        fn sizes_keep_their_bounds(
            from in (1_u32..70_000, 1_u32..70_000),
            wanted in (1..=IMAGE_SIDE, 1..=IMAGE_SIDE),
            mode in prop::sample::select(vec!["fit", "fill", "crop"]),
            shrink in any::<bool>(),
        ) {
            let shrink = if shrink { ",only-shrink" } else { "" };
            let resize = read(&format!("resize={}x{},mode={mode}{shrink}", wanted.0, wanted.1));
            let Ok((goal, part)) = resize.plan(from.0, from.1) else {
                prop_assert_eq!(mode, "fill");
                return Ok(());
            };
            prop_assert!(goal.0 >= 1 && goal.1 >= 1);
            prop_assert!(part.0 > 0.0 && part.0 <= f64::from(from.0));
            prop_assert!(part.1 > 0.0 && part.1 <= f64::from(from.1));
            if mode == "fill" {
                prop_assert!(goal.0 <= IMAGE_SIDE && goal.1 <= IMAGE_SIDE);
            } else {
                prop_assert!(goal.0 <= wanted.0 && goal.1 <= wanted.1);
            }
            if !shrink.is_empty() {
                prop_assert!(goal.0 <= from.0 && goal.1 <= from.1);
            } else if mode == "crop" {
                prop_assert_eq!(goal, wanted);
            }
        }
    }
}
