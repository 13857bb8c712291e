//! Ports of this machine: free ones, and one where nobody listens.

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

/// A port that is free now. Somebody may take it before its user does: who starts a server on it
/// tries another when that happens.
///
/// # Panics
/// When the system has no port.
pub fn free() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A port that refuses connections for as long as this lives: it is taken, but nobody listens.
#[derive(Debug)]
pub struct Refusing {
    _socket: OwnedFd,
    /// The port, of 127.0.0.1.
    pub port: u16,
}

impl Refusing {
    /// Takes a port.
    ///
    /// # Panics
    /// When the system has none.
    pub fn new() -> Self {
        let kind = SocketType::STREAM;
        let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None);
        let socket = socket.expect("a socket");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = getsockname(&socket).expect("a bound socket has an address");
        let address = SocketAddr::try_from(address).expect("an internet address");
        Self { _socket: socket, port: address.port() }
    }

    /// A source that refuses.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Default for Refusing {
    fn default() -> Self {
        Self::new()
    }
}
