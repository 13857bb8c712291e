//! The wire: connections, and the protocol spoken on them.
//!
//! [`dial`] and [`target`] make connections; [`h1`] is the protocol without I/O; [`link`] moves its bytes over tokio sockets; [`fetch`] asks
//! for one thing at a time, as listings are read.

pub mod dial;
pub mod fetch;
pub mod h1;
pub mod h2;
pub mod link;
pub mod pace;
pub mod sigv4;
pub mod stream;
pub mod target;
pub mod watch;

pub use dial::{Allowed, Network, NetworkOptions, Proxies, Trust};
pub use fetch::{Client, Fetched};
pub use link::{Link, LinkOptions, ReadBuffer, Work};
pub use pace::{Late, Pace, Patience};
pub use stream::Stream;
pub use target::{Dialed, NoConnection, Target};
pub use watch::{Watch, Watchdog};
