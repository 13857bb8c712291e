//! The buffers in which packs are put together.

use crate::disk::ALIGN;
use windrow_model::Batch;
use windrow_model::limits::{PACK_AHEAD_BYTES, PACK_SLACK_BYTES};

/// A buffer whose content begins at an aligned address, and that never moves; with it the objects
/// that end in it.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Content is `bytes[start..]`.
    start: usize,
    /// Objects whose last byte is in this block.
    pub(super) batch: Batch,
    /// Length of the content behind the last of them.
    pub(super) whole: usize,
    /// So much of `bytes` was asked for ahead of writing it.
    fetched: usize,
}

impl Block {
    /// An empty block for `size` bytes and a little more.
    pub(super) fn new(size: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(ALIGN + size + PACK_SLACK_BYTES + ALIGN);
        let start = bytes.as_ptr().align_offset(ALIGN);
        bytes.resize(start, 0);
        Self { bytes, start, batch: Batch::default(), whole: 0, fetched: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Where to append; not beyond the room there is.
    pub(super) fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes that can be appended before the block would move.
    pub(super) fn room(&self) -> usize {
        (self.bytes.capacity() - self.bytes.len()).saturating_sub(ALIGN)
    }

    /// The next object is written in a moment: its memory comes into the cache meanwhile.
    #[inline]
    pub(super) fn fetch_ahead(&mut self) {
        let (len, room) = (self.bytes.len(), self.room());
        let begin = self.fetched.saturating_sub(len);
        let end = PACK_AHEAD_BYTES.min(room);
        if let Some(next) = self.bytes.spare_capacity_mut().get(begin..end) {
            windrow_prefetch::for_writing(next);
            self.fetched = len + end;
        }
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The content with zeros behind it up to an aligned length, and its own length.
    pub(super) fn padded(&mut self) -> (&[u8], usize) {
        let len = self.len();
        self.bytes.resize(self.start + len.next_multiple_of(ALIGN), 0);
        (&self.bytes[self.start..], len)
    }

    /// Length of the content that fills aligned pieces; the rest begins the next block too.
    pub(super) fn aligned(&self) -> usize {
        self.len() / ALIGN * ALIGN
    }

    pub(super) fn clear(&mut self) {
        self.bytes.truncate(self.start);
        self.batch.clear();
        self.whole = 0;
        self.fetched = 0;
    }
}
