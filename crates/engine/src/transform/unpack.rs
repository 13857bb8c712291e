//! `gunzip`, `zstd`: what is compressed, as it was before.
//!
//! Several members (RFC 1952 section 2.2) or frames (RFC 8878 section 3.1) in a row are one body. A
//! bomb is noticed by the bytes that came out, as for a content coding.

use super::{Failed, Lane, Object, Outcome};
use crate::content::coding::{Bounds, Coding, decode_whole};
use windrow_model::{Failure, FailureClass};

/// Decompresses the body. The name stays; a media type that only says how it was compressed goes.
pub(super) fn unpack(
    coding: Coding,
    mut object: Object,
    lane: &mut Lane,
) -> Result<Outcome, Failed> {
    let mut plain = Vec::with_capacity(guess(&object.body, lane.max_output));
    let bounds = Bounds::new(lane.max_output);
    decode_whole(&mut lane.kept, coding, bounds, &object.body, &mut |piece| {
        plain.extend_from_slice(piece);
        Ok(())
    })
    .map_err(failed)?;
    object.body = plain;
    if object.content_type.as_deref().is_some_and(compressed) {
        object.content_type = None;
    }
    Ok(Outcome::Keep(object))
}

/// A first guess of the size: what fits for text, and no more than costs little to be wrong about.
fn guess(body: &[u8], most: u64) -> usize {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    body.len().saturating_mul(4).min(1 << 20).min(most)
}

/// The body is at fault, not the way here: it would be the same the next time.
fn failed(failure: Failure) -> Failed {
    Failed::of(match failure.class {
        FailureClass::TooLarge => failure,
        _ => Failure::new(FailureClass::Transform, failure.detail),
    })
}

fn compressed(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim();
    ["application/gzip", "application/x-gzip", "application/zstd", "application/x-zstd"]
        .iter()
        .any(|known| media.eq_ignore_ascii_case(known))
}
