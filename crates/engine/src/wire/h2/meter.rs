//! Counts what a connection reads, and stops it for a moment when it was much.
//!
//! The library reads for as long as there is something to read, and keeps what it read until it is
//! asked for: a server that sends faster than that would fill the memory, with interim responses
//! for example, which no window bounds.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use windrow_model::limits::H2_READ_BYTES;

/// What was read, and what may be.
#[derive(Debug, Default)]
pub(super) struct Meter {
    left: Cell<usize>,
    heard: Cell<bool>,
}

impl Meter {
    /// [`H2_READ_BYTES`] may be read from now on.
    pub(super) fn begin_turn(&self) {
        self.left.set(H2_READ_BYTES);
    }

    /// Whether anything came since this was last asked.
    pub(super) fn take_heard(&self) -> bool {
        self.heard.take()
    }
}

/// A stream whose reads are counted.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    meter: Rc<Meter>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Rc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.left.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = room.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, room);
        let len = room.filled().len() - before;
        if len > 0 {
            self.meter.heard.set(true);
            self.meter.left.set(self.meter.left.get().saturating_sub(len));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
