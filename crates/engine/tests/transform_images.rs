//! `resize` and `verify`, judged by Pillow: it makes the images, and it reads what became of them.

use image::{ExtendedColorType, ImageEncoder as _};
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use windrow_engine::transform::{Chain, Failed, Lane, Object, Outcome};

/// Makes images into the folder, what Pillow makes of them beside them, and `cases.json`.
const MAKE: &str = r#"
import io, json, struct, sys, zlib
from PIL import Image, ImageOps

folder = sys.argv[1]
cases = []

def picture(width, height):
    """No side like another, smooth enough that encoders with loss keep it."""
    red = Image.linear_gradient("L").resize((width, height))
    green = Image.linear_gradient("L").rotate(90).resize((width, height))
    blue = Image.radial_gradient("L").resize((width, height))
    image = Image.merge("RGB", (red, green, blue))
    image.paste((250, 10, 10), (0, 0, width // 4, height // 4))
    image.paste((10, 10, 250), (width // 2, height // 2, width, height * 5 // 8))
    return image

def size(image, box, mode="fit", shrink=False):
    (w, h), (bw, bh) = image.size, box
    scale = min(bw / w, bh / h) if mode == "fit" else max(bw / w, bh / h)
    if shrink:
        scale = min(scale, 1)
    return max(1, int(w * scale + 0.5)), max(1, int(h * scale + 0.5))

def case(name, data, shown, spec="64", format="JPEG", mode="RGB", box=(64, 64), near=4.0, **how):
    """`shown` is what a viewer shows, upright."""
    if how.get("how") == "crop" and not how.get("shrink"):
        shown = ImageOps.fit(shown, box, Image.LANCZOS)
    else:
        goal = size(shown, box, how.get("how", "fit"), how.get("shrink", False))
        shown = shown.resize(goal, Image.LANCZOS)
        if how.get("how") == "crop":
            wide, high = min(goal[0], box[0]), min(goal[1], box[1])
            left, top = (goal[0] - wide) // 2, (goal[1] - high) // 2
            shown = shown.crop((left, top, left + wide, top + high))
    shown.convert(mode).save(f"{folder}/{name}.shown.png")
    with open(f"{folder}/{name}", "wb") as file:
        file.write(data)
    cases.append(dict(name=name, spec="resize=" + spec, format=format, mode=mode, near=near, told=None))

def bad(name, data, told, verify=None):
    with open(f"{folder}/{name}", "wb") as file:
        file.write(data)
    cases.append(dict(name=name, spec="resize=64", told=told, verify=told if verify is None else verify))

def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()

def on_white(image):
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")

base = picture(120, 80)
alpha = base.copy()
alpha.putalpha(Image.linear_gradient("L").resize(base.size))
grey = base.convert("L")

for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(base, "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    case(f"turned-{orientation}.jpg", data, upright)
    case(f"turned-crop-{orientation}.jpg", data, upright, spec="40x20,mode=crop", box=(40, 20), how="crop")
    if orientation in (3, 6):
        data = saved(base, "TIFF", tiffinfo={0x0112: orientation})
        case(f"turned-{orientation}.tiff", data, ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        data = saved(base, "WEBP", lossless=True, exif=exif)
        case(f"turned-{orientation}.webp", data, ImageOps.exif_transpose(Image.open(io.BytesIO(data))), format="WEBP", near=1.5, spec="64,lossless")
        data = saved(base, "PNG", exif=exif)
        case(f"turned-{orientation}.png", data, ImageOps.exif_transpose(Image.open(io.BytesIO(data))), format="PNG", near=1.5)

jpeg = saved(base, "JPEG", quality=95)
progressive = saved(base, "JPEG", quality=95, progressive=True)
case("progressive.jpg", progressive, base)
case("full.jpg", saved(base, "JPEG", quality=95, subsampling=0), base)
case("half.jpg", saved(base, "JPEG", quality=95, subsampling=1), base)
case("restarts.jpg", saved(base, "JPEG", quality=95, restart_marker_blocks=2), base)
case("grey.jpg", saved(grey, "JPEG", quality=95), grey, mode="L")
case("odd.jpg", saved(base.crop((0, 0, 117, 77)), "JPEG", quality=95), base.crop((0, 0, 117, 77)))
case("no-end.jpg", jpeg[:-2], base)
case("behind.jpg", jpeg + b"\0" * 100, base)
cmyk = base.convert("CMYK")
data = saved(cmyk, "JPEG", quality=95)
case("cmyk.jpg", data, Image.open(io.BytesIO(data)).convert("RGB"))
at = data.index(b"\xff\xee")
length = struct.unpack(">H", data[at + 2:at + 4])[0]
plain = data[:at] + data[at + 2 + length:]
case("cmyk-plain.jpg", plain, Image.open(io.BytesIO(plain)).convert("RGB"))

def png16(image, kind, channels):
    """16 bits a channel, which Pillow does not write for colours."""
    w, h = image.size
    raw = image.tobytes()
    rows = b"".join(b"\0" + b"".join(bytes((v, v)) for v in raw[y * w * channels:(y + 1) * w * channels]) for y in range(h))
    chunk = lambda name, body: struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    head = struct.pack(">IIBBBBB", w, h, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

case("rgb.png", saved(base, "PNG"), base, format="PNG", near=1.0)
case("grey.png", saved(grey, "PNG"), grey, format="PNG", mode="L", near=1.0)
case("alpha.png", saved(alpha, "PNG"), alpha, format="PNG", mode="RGBA", near=1.0)
case("grey-alpha.png", saved(alpha.convert("LA"), "PNG"), alpha.convert("LA"), format="PNG", mode="LA", near=1.0)
case("alpha-to.jpg.png", saved(alpha, "PNG"), on_white(alpha), spec="64,format=jpeg")
case("one-bit.png", saved(grey.convert("1"), "PNG"), grey.convert("1").convert("L"), format="PNG", mode="L")
palette = base.quantize(64)
case("palette.png", saved(palette, "PNG"), palette.convert("RGB"), format="PNG", near=1.0)
clear = palette.copy()
clear.info["transparency"] = 3
case("palette-clear.png", saved(clear, "PNG", transparency=3), Image.open(io.BytesIO(saved(clear, "PNG", transparency=3))).convert("RGBA"), format="PNG", mode="RGBA", near=1.0)
case("rgb16.png", png16(base, 2, 3), base, format="PNG", near=1.0)
case("rgba16.png", png16(alpha, 6, 4), alpha, format="PNG", mode="RGBA", near=1.0)
case("grey16.png", png16(grey, 0, 1), grey, format="PNG", mode="L", near=1.0)

case("rgb.bmp", saved(base, "BMP"), base)
case("palette.bmp", saved(palette, "BMP"), palette.convert("RGB"))
case("lzw.tiff", saved(base, "TIFF", compression="tiff_lzw"), base)
case("deflate.tiff", saved(base, "TIFF", compression="tiff_deflate"), base)
case("grey16.tiff", saved(Image.frombytes("I;16", grey.size, b"".join(bytes((v, v)) for v in grey.tobytes())), "TIFF"), grey, mode="L")
case("lossy.webp", saved(base, "WEBP", quality=95), base, format="WEBP")
case("alpha.webp", saved(alpha, "WEBP", lossless=True), alpha, format="WEBP", mode="RGBA", near=1.5, spec="64,lossless")
case("alpha-lossy.webp", saved(alpha, "WEBP", lossless=True), alpha, format="WEBP", mode="RGBA", near=1.5)
case("to.webp.jpg", jpeg, base, spec="64,format=webp", format="WEBP")
case("to-lossless.webp.jpg", jpeg, base, spec="64,format=webp,lossless", format="WEBP")
case("to-webp.png", saved(base, "PNG"), base, spec="64,format=webp", format="WEBP")
case("grey-to.webp.png", saved(grey, "PNG"), grey, spec="64,format=webp", format="WEBP", near=1.5)
case("grey-alpha-to.webp.png", saved(alpha.convert("LA"), "PNG"), alpha.convert("LA"), spec="64,format=webp", format="WEBP", mode="RGBA", near=1.5)
other = Image.new("RGB", base.size, (0, 255, 0))
animated = saved(base, "GIF", save_all=True, append_images=[other, base], duration=50, loop=0)
case("animated.gif", animated, Image.open(io.BytesIO(animated)).convert("RGB"))
case("animated.webp", saved(base, "WEBP", lossless=True, save_all=True, append_images=[other], duration=50), base, format="WEBP", mode="RGB", near=1.5, spec="64,lossless")

case("fill.jpg", jpeg, base, spec="64x64,mode=fill", how="fill")
case("crop.jpg", jpeg, base, spec="64x64,mode=crop", how="crop")
case("box.jpg", jpeg, base, spec="100x20", box=(100, 20))
case("larger.jpg", jpeg, base, spec="300,quality=95", box=(300, 300))
case("no-larger.jpg", jpeg, base, spec="300,only-shrink", box=(300, 300), shrink=True)
case("no-larger-crop.jpg", jpeg, base, spec="100x100,mode=crop,only-shrink", box=(100, 100), how="crop", shrink=True)
case("thin.png", saved(base.resize((1000, 2)), "PNG"), base.resize((1000, 2)), format="PNG", near=2.0)

short, cannot = "the image ends too early", "the image cannot be decoded"
large = picture(400, 300)
for name, data in [("b", saved(large, "JPEG", quality=90)), ("p", saved(large, "JPEG", quality=90, progressive=True))]:
    for part in (20, 50, 90):
        bad(f"short-{name}-{part}.jpg", data[:len(data) * part // 100], short)
bad("head.jpg", jpeg[:30], "the image has no header that can be read")
for part in (50, 90):
    data = saved(large, "PNG")
    bad(f"short-{part}.png", data[:len(data) * part // 100], short)
    data = saved(large, "WEBP", quality=90)
    bad(f"short-{part}.webp", data[:len(data) * part // 100], None)
    data = saved(large.quantize(), "GIF")
    bad(f"short-{part}.gif", data[:len(data) * part // 100], None)
    data = saved(large, "BMP")
    bad(f"short-{part}.bmp", data[:len(data) * part // 100], short)
chunk = lambda name, body: struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
head = struct.pack(">IIBBBBB", 60000, 60000, 8, 6, 0, 0, 0)
many = "the image has too many pixels"
bad("bomb.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""), many)
at = jpeg.index(b"\xff\xc0")
bad("bomb.jpg", jpeg[:at + 5] + b"\xff\xff\xff\xff" + jpeg[at + 9:], many)
bad("bomb.gif", b"GIF89a\xff\xff\xff\xff\x80\0\0" + b"\0" * 6 + b",\0\0\0\0\xff\xff\xff\xff\0\2\1\0\0;", many)
at = progressive.index(b"\xff\xc2")
bad("bomb-progressive.jpg", progressive[:at + 5] + struct.pack(">HH", 9000, 9000) + progressive[at + 9:], "the image takes too much memory")
beside = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0))
beside += chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * (1 << 26)))
# A profile of 64 MiB in 64 KiB: not unpacked, and no reason to fail.
data = b"\x89PNG\r\n\x1a\n" + beside + chunk(b"IDAT", zlib.compress(b"\0" * 6)) + chunk(b"IEND", b"")
case("beside.png", data, Image.new("L", (2, 2)), format="PNG", mode="L")
bad("none", b"just some text", "the body is no image that can be read", verify="")
bad("empty", b"", "the body is no image that can be read", verify="")
json.dump(cases, open(f"{folder}/cases.json", "w"))
"#;

/// Compares each result with what Pillow shows. Prints one line for each that is not as it should be.
const JUDGE: &str = r#"
import io, json, sys
from PIL import Image, ImageChops, ImageStat

folder = sys.argv[1]
for case in json.load(open(f"{folder}/cases.json")):
    if case["told"] is not None or "format" not in case:
        continue
    name = case["name"]
    result, shown = Image.open(f"{folder}/{name}.result"), Image.open(f"{folder}/{name}.shown.png")
    result.load()
    about = (result.format, result.mode, result.size)
    if about != (case["format"], case["mode"], shown.size):
        print(name, "is", about, "and not", (case["format"], case["mode"], shown.size))
        continue
    if result.getexif().get(0x0112, 1) != 1:
        print(name, "has an orientation")
    if result.format in ("JPEG", "WEBP") and "lossless" not in case["spec"]:
        # What Pillow's encoder loses of it.
        lossy = io.BytesIO()
        shown.save(lossy, result.format, quality=95 if "quality=95" in case["spec"] else 85)
        shown = Image.open(lossy)
    if result.mode in ("RGBA", "LA"):
        # Where nothing is seen, colours do not matter.
        back = Image.new("RGBA", result.size, (90, 200, 30, 255))
        result, shown = (Image.alpha_composite(back, i.convert("RGBA")).convert("RGB") for i in (result, shown))
    off = max(ImageStat.Stat(ImageChops.difference(result, shown)).mean)
    if off > case["near"]:
        print(name, "is off by", off)
"#;

fn python(script: &str, folder: &Path) -> Option<String> {
    let output = Command::new("python3").args(["-c", script]).arg(folder).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn has_pillow() -> bool {
    let script = "from PIL import Image, features; assert features.check('webp')";
    let check = Command::new("python3").args(["-c", script]).output();
    let has = check.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: Python has no PIL with WebP\nhint: pip install pillow");
    }
    has
}

fn apply(lane: &mut Lane, spec: &str, body: Vec<u8>) -> Result<Object, Failed> {
    let chain = Chain::parse(&[spec.to_owned()]).expect("a spec of this file");
    match chain.apply(Object { body, ..Object::default() }, lane)? {
        Outcome::Keep(object) => Ok(object),
        Outcome::Drop => panic!("dropped"),
    }
}

#[test]
fn pillow_sees_the_same() {
    if !has_pillow() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    python(MAKE, folder).unwrap();
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 70);
    let mut lane = Lane::default();
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let body = std::fs::read(folder.join(name)).unwrap();
        let verified = apply(&mut lane, "verify", body.clone());
        let result = apply(&mut lane, case["spec"].as_str().unwrap(), body.clone());
        if case["format"].is_null() {
            // Some decoder's own words; but never a result.
            for (result, told) in [(&result, &case["told"]), (&verified, &case["verify"])] {
                match (result, told.as_str()) {
                    (Ok(object), Some("")) if object.body == body => {}
                    (Err(failed), None) if failed.failure.class.name() == "transform" => {}
                    (Err(failed), Some(told)) if failed.failure.detail == told => {}
                    _ => {
                        let is = result.as_ref().map(|object| object.body.len());
                        wrong.push(format!("{name}: {is:?} and not {told}"));
                    }
                }
            }
            continue;
        }
        match (verified, result) {
            (Ok(same), Ok(object)) => {
                assert!(same.body == body, "{name}");
                let format = case["format"].as_str().unwrap().to_lowercase();
                assert_eq!(object.content_type, Some(format!("image/{format}")), "{name}");
                std::fs::write(folder.join(format!("{name}.result")), object.body).unwrap();
            }
            (verified, result) => {
                let of = |result: Result<Object, Failed>| result.map(|object| object.body.len());
                wrong.push(format!("{name}: {:?}, {:?}", of(verified), of(result)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(python(JUDGE, folder).unwrap(), "");
}

/// YCCK, which Pillow reads and does not write.
#[test]
fn ycck_is_as_pillow_sees_it() {
    if !has_pillow() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ycck.jpg");
    let mut pixels = Vec::new();
    for y in 0..48_u8 {
        for x in 0..64_u8 {
            pixels.extend_from_slice(&[255 - x * 2, 80 + y * 3, 200 - y, 120 + x]);
        }
    }
    let mut encoder = jpeg_encoder::Encoder::new_file(&file, 95).unwrap();
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_1_1);
    encoder.encode(&pixels, 64, 48, jpeg_encoder::ColorType::CmykAsYcck).unwrap();
    let made = apply(&mut Lane::default(), "resize=64,format=png", std::fs::read(&file).unwrap());
    std::fs::write(folder.path().join("ycck.png"), made.unwrap().body).unwrap();
    let script = r#"
import sys
from PIL import Image, ImageChops, ImageStat
seen, made = Image.open(sys.argv[1] + "/ycck.jpg"), Image.open(sys.argv[1] + "/ycck.png")
assert seen.mode == "CMYK"
off = ImageStat.Stat(ImageChops.difference(seen.convert("RGB"), made)).mean
assert max(off) < 3, off
"#;
    python(script, folder.path()).unwrap();
}

/// Widths and heights as conditions see them, of the header alone.
#[test]
fn sizes_are_conditions() {
    let mut png = Vec::new();
    let pixels = vec![7; 30 * 20];
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(&pixels, 30, 20, ExtendedColorType::L8)
        .unwrap();
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    encoder.encode(&pixels, 30, 20, jpeg_encoder::ColorType::Luma).unwrap();
    for body in [png, jpeg] {
        for (condition, dropped) in [
            ("width<30", false),
            ("width<31", true),
            ("height>=20", true),
            ("height>20", false),
            ("width=30", true),
        ] {
            let chain = Chain::parse(&[format!("drop-if={condition}")]).unwrap();
            let object = Object { body: body.clone(), ..Object::default() };
            let outcome = chain.apply(object, &mut Lane::default()).unwrap();
            assert_eq!(outcome == Outcome::Drop, dropped, "{condition}");
        }
    }
}

/// The format has no sides of 16,384 pixels, unless it is without loss.
#[test]
fn what_is_too_wide_for_webp_is_told() {
    let mut png = Vec::new();
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(&[9; 16_384], 16_384, 1, ExtendedColorType::L8)
        .unwrap();
    let mut lane = Lane::default();
    let failed = apply(&mut lane, "resize=16384,format=webp", png.clone()).unwrap_err();
    assert_eq!(failed.failure.detail, "the image cannot be written");
    assert!(failed.why.is_some_and(|why| why.contains("DIMENSION")));
    apply(&mut lane, "resize=16384,format=webp,lossless", png).unwrap();
}

/// One small image of each kind.
fn seeds() -> Vec<Vec<u8>> {
    use image::codecs::{bmp, gif, png, tiff, webp};
    let pixels: Vec<u8> = (0..40 * 24 * 3_u32).map(|i| (i * 7 / 5) as u8).collect();
    let mut made = Vec::new();
    for progressive in [false, true] {
        let mut out = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut out, 80);
        encoder.set_progressive(progressive);
        encoder.encode(&pixels, 40, 24, jpeg_encoder::ColorType::Rgb).expect("memory");
        made.push(out);
    }
    let rgb = ExtendedColorType::Rgb8;
    let mut out = std::io::Cursor::new(Vec::new());
    tiff::TiffEncoder::new(&mut out).write_image(&pixels, 40, 24, rgb).expect("memory");
    made.push(out.into_inner());
    let mut out = Vec::new();
    png::PngEncoder::new(&mut out).write_image(&pixels, 40, 24, rgb).expect("memory");
    made.push(std::mem::take(&mut out));
    webp::WebPEncoder::new_lossless(&mut out).write_image(&pixels, 40, 24, rgb).expect("memory");
    made.push(std::mem::take(&mut out));
    bmp::BmpEncoder::new(&mut out).write_image(&pixels, 40, 24, rgb).expect("memory");
    made.push(std::mem::take(&mut out));
    gif::GifEncoder::new(&mut out).encode(&pixels, 40, 24, rgb).expect("memory");
    made.push(out);
    made
}

proptest! {
    /// What is damaged is failed or decoded; no decoder panics, and what is made is whole.
    #[test]
    fn damage_is_borne(
        seed in 0_usize..7,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        spec in prop::sample::select(vec!["resize=16", "resize=30x9,mode=crop,format=webp", "verify"]),
    ) {
        let mut body = seeds().swap_remove(seed);
        for (at, byte) in damage {
            // Headers are where it matters.
            let at = if byte % 2 == 0 { at.index(body.len()) } else { at.index(body.len().min(80)) };
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let mut lane = Lane::default();
        match apply(&mut lane, spec, body) {
            Ok(made) if spec != "verify" => {
                let whole = apply(&mut lane, "verify", made.body);
                prop_assert!(whole.is_ok(), "{:?}", whole.unwrap_err());
            }
            Ok(_) => {}
            Err(failed) => prop_assert_ne!(failed.failure.detail, "the transform panicked", "{:?}", failed.why),
        }
    }
}
