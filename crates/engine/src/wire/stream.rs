//! The bytes of a connection, in the clear or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// An open connection to a server.
///
/// Over TLS the end of the input is one only where the server said so (`close_notify`, RFC 8446
/// section 6.1). Where the connection just ends, or is ended by somebody between, reading gives
/// the error `UnexpectedEof`: so a body that lasts until the end is not taken for whole.
///
/// # Cancel
/// The polls keep no bytes: one that is not called again loses nothing. Dropping it closes the
/// connection.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Over TLS, behind its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the server closed, or sent something that a reader would see, while nothing was
    /// asked of it. A connection with news is not to be used any more: a byte of them may be lost.
    ///
    /// What TLS sends for itself, as the tickets of sessions, is taken in and is no news.
    pub fn has_news(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(stream) => match stream.poll_read_ready(cx) {
                Poll::Pending => false,
                Poll::Ready(_) => !matches!(
                    stream.try_read(&mut [0]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock
                ),
            },
            Self::Tls(stream) => {
                let mut byte = [0];
                // Ready with nothing is the end, with an error is an end as well.
                Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_ready()
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, room),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, room),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
