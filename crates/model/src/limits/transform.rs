//! Bounds of transforms, and of images.

use std::time::Duration;

/// Objects at the transforms, over all cores, with those that wait for their place there.
pub const TRANSFORM_OBJECTS: usize = 16 << 10;

/// Bytes of them, before and after.
pub const TRANSFORM_BYTES: u64 = 256 << 20;

/// Objects that go to the threads of the transforms in one step, at most.
pub const TRANSFORM_BATCH: usize = 64;

/// Bytes that a core gathers for them, or a thread for a core, before they are handed over.
pub const TRANSFORM_BATCH_BYTES: u64 = 256 << 10;

/// What a batch should take, and so the time for which a result waits for others.
pub const TRANSFORM_BATCH_TIME: Duration = Duration::from_millis(1);

/// Threads of the transforms, at most.
pub const TRANSFORM_THREADS: usize = 1024;

/// Time for all transforms of one object, unless said otherwise.
pub const TRANSFORM_TIMEOUT: Duration = Duration::from_secs(60);

/// A transform that keeps its own time has so much more before its thread is held for hung.
pub const TRANSFORM_GRACE: Duration = Duration::from_secs(2);

/// Threads that are left behind, hung, before the run is stopped.
pub const TRANSFORM_HUNG: usize = 32;

/// How much nicer than the sockets' threads those of the transforms are.
pub const TRANSFORM_NICE: i32 = 5;

/// Transforms in a chain, at most.
pub const TRANSFORM_STEPS: usize = 32;

/// Bytes of one transform as it is written, at most.
pub const TRANSFORM_SPEC_BYTES: usize = 64 << 10;

/// Bytes of what a command says on its standard error that are kept.
pub const TRANSFORM_STDERR_BYTES: usize = 4 << 10;

/// Bytes of one line of why, at most.
pub const TRANSFORM_WHY_BYTES: usize = 300;

/// Time for a worker process to say that it is there.
pub const TRANSFORM_WORKER_START: Duration = Duration::from_secs(30);

/// Workers in a row that never came up before the run is stopped.
pub const TRANSFORM_WORKER_TRIES: u32 = 3;

/// Pixels of an image that is decoded, at most, over its width and height.
pub const IMAGE_PIXELS: u64 = 100_000_000;

/// Bytes of memory that decoding one image may take, at most.
pub const IMAGE_BYTES: u64 = 512 << 20;

/// Bytes that what stands beside the pixels of a PNG may take, decompressed: profiles, texts.
pub const IMAGE_BESIDE_BYTES: u64 = 16 << 20;

/// Bytes of pixels that a thread keeps for the next image, at most.
pub const IMAGE_KEPT_BYTES: usize = 32 << 20;

/// Width and height that an image is resized to, at most.
pub const IMAGE_SIDE: u32 = 16_384;
