//! Images for a benchmark, and what resizing them costs where nothing else is done.
//!
//! `images make FOLDER DISTINCT COUNT` writes COUNT JPEGs of 1024x768 pixels, DISTINCT of them
//! different: waves of many lengths with noise on them, about as hard to decode and as large as
//! photographs. `images apply FOLDER SPEC THREADS` reads all of them, applies the transform to each in
//! memory, on so many threads, and prints how many there were, the seconds by the clock, and the
//! seconds of CPU: reading is in neither.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "figures on stdout are what it is for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use windrow_engine::transform::{Chain, Lane, Object, Outcome};

const WIDTH: u32 = 1024;
const HEIGHT: u32 = 768;

/// More than any image or result here.
const MOST_BYTES: u64 = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["make", folder, distinct, count] => {
            make(Path::new(folder), distinct.parse()?, count.parse()?)
        }
        ["apply", folder, spec, threads] => {
            apply(Path::new(folder), (*spec).to_owned(), threads.parse()?)
        }
        _ => Err("images: make FOLDER DISTINCT COUNT, or apply FOLDER SPEC THREADS".into()),
    }
}

fn lane() -> Lane {
    Lane::new(Duration::from_secs(60), MOST_BYTES)
}

fn make(folder: &Path, distinct: usize, count: usize) -> Result<(), Box<dyn Error>> {
    // The encoder of the engine, asked to keep the size.
    let spec = format!("resize={WIDTH}x{HEIGHT},format=jpeg,quality=85");
    let (chain, mut lane) = (Chain::parse(&[spec])?, lane());
    let mut bodies = Vec::new();
    for nth in 0..distinct.clamp(1, count.max(1)) {
        let object = Object { body: bitmap(nth as u64), ..Object::default() };
        match chain.apply(object, &mut lane) {
            Ok(Outcome::Keep(object)) => bodies.push(object.body),
            other => return Err(format!("an image was not made: {other:?}").into()),
        }
    }
    for (nth, body) in (0..count).zip(bodies.iter().cycle()) {
        std::fs::write(folder.join(format!("image-{nth:05}.jpg")), body)?;
    }
    Ok(())
}

/// A picture as a BMP of 24 bits, rows from the bottom (the header of Windows 3).
fn bitmap(seed: u64) -> Vec<u8> {
    let bytes = WIDTH * HEIGHT * 3;
    let mut out = Vec::with_capacity(54 + bytes as usize);
    out.extend_from_slice(b"BM");
    for field in [54 + bytes, 0, 54, 40, WIDTH, HEIGHT] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&[1, 0, 24, 0]);
    for field in [0, bytes, 2835, 2835, 0, 0] {
        out.extend_from_slice(&u32::to_le_bytes(field));
    }
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move || {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    // Half as high at half the length, as in pictures of the world.
    let waves: Vec<[f32; 4]> = (0..8)
        .map(|octave| {
            let length = 700.0 / (1 << octave) as f32;
            let turn = random() * std::f32::consts::TAU;
            let height = 60.0 * 0.66_f32.powi(octave);
            [turn.cos() / length, turn.sin() / length, random() * 6.3, height]
        })
        .collect();
    let turn = random() * std::f32::consts::TAU;
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (x, y) = (x as f32, y as f32);
            let wave = |[a, b, phase, height]: &[f32; 4]| {
                (std::f32::consts::TAU * (a * x + b * y) + phase).sin() * height
            };
            let light: f32 = 90.0 + waves.iter().map(wave).sum::<f32>();
            let noise = (random() - 0.5) * 24.0;
            let hue = (x * 0.011 + y * 0.017 + turn).sin() * 40.0 + (random() - 0.5) * 8.0;
            // A conversion of floats keeps within the bounds of a byte.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            out.extend([hue, 0.0, -hue].map(|hue| (light + hue + noise) as u8));
        }
    }
    out
}

fn apply(folder: &Path, spec: String, threads: usize) -> Result<(), Box<dyn Error>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let bodies: Vec<_> = paths.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let (chain, next, made) = (Chain::parse(&[spec])?, AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut lane = lane();
        // A copy of the body: a run gets it from a socket, here it comes from memory.
        while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
            let object = Object { body: body.clone(), ..Object::default() };
            if let Ok(Outcome::Keep(object)) = chain.apply(object, &mut lane) {
                made.fetch_add(usize::from(!object.body.is_empty()), Ordering::Relaxed);
            }
        }
    };
    let (cpu, clock) = (cpu_seconds(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let (cpu, clock) = (cpu_seconds() - cpu, clock.elapsed().as_secs_f64());
    if made.load(Ordering::Relaxed) != bodies.len() {
        return Err("not every image was made".into());
    }
    println!("{} {clock} {cpu}", bodies.len());
    Ok(())
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
