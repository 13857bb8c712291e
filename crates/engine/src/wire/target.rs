//! Where connections go.

use super::stream::Stream;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use windrow_model::url::Origin;
use windrow_model::{Failure, FailureClass};

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoConnection {
    /// The server did not take it, or cannot be reached.
    Failed(Failure),
    /// This process has no descriptor or port left for it: nobody's fault, and it passes.
    Starved(Failure),
}

/// The addresses of one origin. Each core has its own.
#[derive(Debug)]
pub struct Target {
    origin: Origin,
    addrs: tokio::sync::OnceCell<Vec<SocketAddr>>,
    next: Cell<usize>,
}

impl Target {
    /// A target that is looked up when it is connected to.
    pub fn new(origin: Origin) -> Self {
        Self { origin, addrs: tokio::sync::OnceCell::new(), next: Cell::new(0) }
    }

    async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, NoConnection> {
        let failed = |detail| Err(NoConnection::Failed(Failure::new(FailureClass::Dns, detail)));
        match tokio::net::lookup_host((origin.host.as_str(), origin.port)).await {
            Ok(addrs) => match addrs.collect::<Vec<_>>() {
                addrs if addrs.is_empty() => failed("the host has no address"),
                addrs => Ok(addrs),
            },
            Err(_) => failed("cannot find the host"),
        }
    }

    /// Opens a connection. Every address is tried once before giving up, beginning with the one
    /// that worked last.
    ///
    /// # Errors
    /// The last address's failure; none is asked when nothing is left here to ask with.
    ///
    /// # Cancel
    /// Dropping it closes what was begun.
    pub async fn connect(&self, limit: Duration) -> Result<Stream, NoConnection> {
        let mut failure = Failure::new(FailureClass::Connect, "no address");
        let addrs = self.addrs.get_or_try_init(|| Self::resolve(&self.origin)).await?;
        for _ in 0..addrs.len() {
            let addr = addrs[self.next.get() % addrs.len()];
            failure = match tokio::time::timeout(limit, TcpStream::connect(addr)).await {
                Ok(Ok(stream)) => {
                    // Requests are written whole; waiting to fill a segment only delays them.
                    let _ = stream.set_nodelay(true);
                    return Ok(Stream::Plain(stream));
                }
                Ok(Err(error)) if is_starved(&error) => {
                    let failure = Failure::new(FailureClass::Connect, reason(&error));
                    return Err(NoConnection::Starved(failure));
                }
                Ok(Err(error)) => Failure::new(FailureClass::Connect, reason(&error)),
                Err(_) => Failure::new(FailureClass::Connect, "the connection timed out"),
            };
            self.next.set(self.next.get().wrapping_add(1));
        }
        Err(NoConnection::Failed(failure))
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL.
fn is_starved(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12 | 99))
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "the connection timed out",
        io::ErrorKind::NetworkUnreachable => "the network is unreachable",
        io::ErrorKind::HostUnreachable => "the host is unreachable",
        io::ErrorKind::AddrNotAvailable => "no local port is left",
        _ => match error.raw_os_error() {
            Some(23 | 24) => "no file descriptor is left",
            _ => "cannot connect",
        },
    }
}
