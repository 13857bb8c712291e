//! How a connection comes about: name, address, proxy, TLS.
//!
//! [`Network`] is what all cores of a run share: one resolver, so that a name is asked once; one TLS
//! configuration, so that sessions are resumed on any core; the proxies; and the policy of which
//! addresses are asked at all. What one core knows of one origin is in
//! [`Target`](super::target::Target).

pub(in crate::wire) mod address;
pub(in crate::wire) mod dns;
pub(in crate::wire) mod proxy;
pub(in crate::wire) mod race;
mod tls;

pub use address::{AddressRange, Allowed, Trust, is_private};
pub use proxy::Proxies;
pub use tls::failure_of as tls_failure;

use address::{Host, Policy};
use dns::{Answer, Resolver};
use rustls::ClientConfig;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tls::Certificates;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use windrow_model::limits::DNS_LOOKUPS;
use windrow_model::{Error, Failure, FailureClass};

/// How a run reaches servers.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Files of root certificates (PEM) that are believed in place of the platform's (`--cacert`);
    /// none: the platform's.
    pub ca_certs: Vec<PathBuf>,
    /// A certificate and its chain (PEM) for servers that ask for one.
    pub client_cert: Option<PathBuf>,
    /// Its private key (PEM, not encrypted), where it is not in the same file.
    pub client_key: Option<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// Addresses and hosts that are asked although the policy says no (`--allow-private`).
    pub allow_private: Vec<Allowed>,
    /// Whether HTTP/2 is offered to TLS servers, ahead of HTTP/1.1.
    pub http2: bool,
    /// Hosts that are looked up at once, at most (and at least one).
    pub lookups: usize,
    /// Name servers to ask in place of the system's; the hosts file is not read then.
    pub nameservers: Option<Vec<SocketAddr>>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            ca_certs: Vec::new(),
            client_cert: None,
            client_key: None,
            proxies: Proxies::default(),
            allow_private: Vec::new(),
            http2: false,
            lookups: DNS_LOOKUPS,
            nameservers: None,
        }
    }
}

/// What all cores of a run share to reach servers.
pub struct Network {
    pub(in crate::wire) proxies: Proxies,
    pub(in crate::wire) policy: Policy,
    resolver: Resolver,
    certificates: Certificates,
    http2: bool,
    /// Made when it is first needed: reading the platform's roots takes milliseconds.
    tls: OnceLock<Result<Configs, Error>>,
}

/// TLS for links, and for what speaks nothing but HTTP/1.1.
struct Configs {
    offered: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl Network {
    /// What the options describe. No name is looked up and nothing is connected; a thread for
    /// lookups is started with the first of them.
    ///
    /// # Errors
    /// Certificates or keys that the options name and that cannot be used.
    pub fn new(options: NetworkOptions) -> Result<Arc<Network>, Error> {
        let certificates = Certificates {
            roots: options.ca_certs,
            client: options.client_cert,
            client_key: options.client_key,
        };
        let named = !certificates.roots.is_empty()
            || certificates.client.is_some()
            || certificates.client_key.is_some();
        let network = Network {
            proxies: options.proxies,
            policy: Policy::new(options.allow_private),
            resolver: Resolver::new(options.nameservers, options.lookups),
            certificates,
            http2: options.http2,
            tls: OnceLock::new(),
        };
        if named {
            network.check_tls()?;
        }
        Ok(Arc::new(network))
    }

    /// Whether TLS can be spoken at all, as a run that will need it asks before it begins.
    ///
    /// # Errors
    /// There are no root certificates on this system, or those of [`Network::new`].
    pub fn check_tls(&self) -> Result<(), Error> {
        self.tls().as_ref().map(|_| ()).map_err(Error::clone)
    }

    fn tls(&self) -> &Result<Configs, Error> {
        self.tls.get_or_init(|| {
            let offered = tls::configuration(&self.certificates, self.http2)?;
            let http1 = tls::without_http2(&offered);
            Ok(Configs { offered, http1 })
        })
    }

    /// The addresses of a name.
    pub(in crate::wire) async fn find(&self, name: &str) -> Arc<Answer> {
        self.resolver.find(name, Instant::now()).await
    }

    /// Makes the TLS handshake for `host`; also gives whether the server chose HTTP/2, which is
    /// offered only if `http2` allows it.
    pub(in crate::wire) async fn handshake(
        &self,
        stream: TcpStream,
        host: &Host,
        http2: bool,
    ) -> Result<(Box<TlsStream<TcpStream>>, bool), Failure> {
        let Ok(configs) = self.tls() else {
            return Err(Failure::new(FailureClass::Tls, "TLS cannot be set up on this system"));
        };
        let config = if http2 { &configs.offered } else { &configs.http1 };
        tls::handshake(Arc::clone(config), stream, tls::server_name(host)?).await
    }
}
