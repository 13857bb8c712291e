//! Where connections go: one origin, as one core connects to it.

use super::dial::address::Host;
use super::dial::dns::Answer;
use super::dial::proxy::{Proxy, tunnel};
use super::dial::race::{Blame, Event, Experience, race};
use super::dial::{Network, Trust, is_private};
use super::stream::Stream;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use windrow_model::limits::CONNECT_STAGGER;
use windrow_model::url::{Origin, Scheme};
use windrow_model::{Failure, FailureClass};

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoConnection {
    /// The server did not take it, or cannot be reached.
    Failed(Failure),
    /// This process has no descriptor or port left for it: nobody's fault, and it passes.
    Starved(Failure),
}

/// A connection to an origin, ready for requests.
#[derive(Debug)]
pub struct Dialed {
    /// Its bytes.
    pub stream: Stream,
    /// Whether HTTP/2 is to be spoken: the server chose it (ALPN).
    pub http2: bool,
    /// Whether the server's address is of this machine or a private network. Not known of one that
    /// is reached by its name through a proxy, and `false` then.
    pub private: bool,
}

/// One origin, as one core connects to it: its addresses, which of them work, the proxy.
pub struct Target {
    network: Arc<Network>,
    origin: Origin,
    /// `HOST:PORT`, always with the port (RFC 9112 section 3.2.3).
    authority: String,
    /// A host that is refused fails each connection, with the same failure.
    host: Result<Host, Failure>,
    trust: Trust,
    proxy: Option<Arc<Proxy>>,
    /// What stands before the path in a request through a plain proxy.
    absolute: Option<String>,
    answer: RefCell<Option<Arc<Answer>>>,
    experience: RefCell<Experience>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, trust, proxy, .. } = self;
        f.debug_struct("Target")
            .field("origin", origin)
            .field("trust", trust)
            .field("proxy", proxy)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// A target that is not connected yet. `trust` says who named the origin.
    pub fn new(network: Arc<Network>, origin: Origin, trust: Trust) -> Target {
        let host = Host::read(&origin.host);
        let proxy = host.as_ref().ok().and_then(|host| network.proxies.of(&origin, host));
        let proxy = proxy.map(Arc::clone);
        let absolute = (proxy.is_some() && origin.scheme == Scheme::Http)
            .then(|| format!("http://{}", origin.authority()));
        let authority = match origin.host.contains(':') {
            true => format!("[{}]:{}", origin.host, origin.port),
            false => format!("{}:{}", origin.host, origin.port),
        };
        Target {
            network,
            origin,
            authority,
            host,
            trust,
            proxy,
            absolute,
            answer: RefCell::default(),
            experience: RefCell::default(),
        }
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Scheme and authority that stand before the path in each request, where a proxy is asked in
    /// the clear (RFC 9112 section 3.2.2).
    pub fn absolute_form(&self) -> Option<&str> {
        self.absolute.as_deref()
    }

    /// Name and value of the header that such a proxy wants in each request. The value is a secret.
    pub fn proxy_header(&self) -> Option<(&str, &str)> {
        self.absolute.as_ref()?;
        let authorization = self.proxy.as_ref()?.authorization.as_deref()?;
        Some(("Proxy-Authorization", authorization))
    }

    /// Whether the origin, or the proxy on the way to it, has an address: as a run asks that begins
    /// with it.
    ///
    /// # Errors
    /// What the lookup came to.
    ///
    /// # Cancel
    /// Nothing is left behind.
    pub async fn find(&self, limit: Duration) -> Result<(), NoConnection> {
        self.addresses(Instant::now() + limit).await.map(|_| ())
    }

    /// Opens a connection, through the proxy if there is one, and with TLS made if the origin is
    /// `https`. All of it takes at most `limit`.
    ///
    /// Addresses are tried in turn, the one that worked last first, those that failed lately last,
    /// and the next one when one does not answer soon (RFC 8305). Each is judged by the policy
    /// right before it is connected.
    ///
    /// # Errors
    /// Why not: the class `Dns` if there is no address; `Blocked` if none may be asked; `Tls` if
    /// the server cannot be trusted; `Forbidden` if the proxy refuses; else `Connect`.
    ///
    /// # Cancel
    /// Dropping it closes what was begun.
    pub async fn connect(&self, limit: Duration) -> Result<Dialed, NoConnection> {
        self.dial(limit, true).await
    }

    /// The same for who speaks HTTP/1.1 only: HTTP/2 is not offered.
    ///
    /// # Errors
    /// As [`Target::connect`].
    ///
    /// # Cancel
    /// Dropping it closes what was begun.
    pub async fn connect_http1(&self, limit: Duration) -> Result<Stream, NoConnection> {
        self.dial(limit, false).await.map(|dialed| dialed.stream)
    }

    async fn dial(&self, limit: Duration, http2: bool) -> Result<Dialed, NoConnection> {
        let deadline = Instant::now() + limit;
        let host = self.host.as_ref().map_err(|failure| NoConnection::Failed(*failure))?;
        // Through a proxy, too: an address that is written down needs no lookup to be judged.
        if let Host::Address(ip) = host {
            self.network.policy.check(*ip, host, self.trust).map_err(NoConnection::Failed)?;
        }
        let addresses = self.addresses(deadline).await?;
        let (mut stream, ip) = self.connect_any(host, &addresses, deadline).await?;
        // Requests are written whole; waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let private = match (&self.proxy, host) {
            (None, _) => is_private(ip),
            (Some(_), Host::Address(ip)) => is_private(*ip),
            (Some(_), Host::Name(_)) => false,
        };
        if self.origin.scheme == Scheme::Http {
            return Ok(Dialed { stream: Stream::Plain(stream), http2: false, private });
        }
        if let Some(proxy) = &self.proxy {
            let tunnel = tunnel(&mut stream, &self.authority, proxy.authorization.as_deref());
            self.step(ip, deadline, tunnel, "the proxy did not answer in time").await?;
        }
        let handshake = self.network.handshake(stream, host, http2);
        let late = "the TLS handshake took too long";
        let (stream, http2) = self.step(ip, deadline, handshake, late).await?;
        Ok(Dialed { stream: Stream::Tls(stream), http2, private })
    }

    /// A step on the connection to `ip`, which has failed if the step does.
    async fn step<T>(
        &self,
        ip: IpAddr,
        deadline: Instant,
        step: impl Future<Output = Result<T, Failure>>,
        late: &'static str,
    ) -> Result<T, NoConnection> {
        let result = timeout_at(deadline.into(), step).await;
        let result = result.unwrap_or_else(|_| Err(Failure::new(FailureClass::Connect, late)));
        result.map_err(|failure| {
            if failure.class == FailureClass::Connect {
                self.experience.borrow_mut().failed(ip, Instant::now());
            }
            NoConnection::Failed(failure)
        })
    }

    /// Whose address is connected: the origin's, or the proxy's.
    fn peer(&self) -> Result<(&Host, u16), Failure> {
        match &self.proxy {
            Some(proxy) => Ok((&proxy.host, proxy.port)),
            None => {
                self.host.as_ref().map(|host| (host, self.origin.port)).map_err(|failure| *failure)
            }
        }
    }

    /// The addresses of the peer.
    async fn addresses(&self, deadline: Instant) -> Result<Addresses, NoConnection> {
        let (host, _) = self.peer().map_err(NoConnection::Failed)?;
        let name = match host {
            Host::Address(ip) => return Ok(Addresses::Fixed([*ip].into())),
            Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
                // RFC 6761 section 6.3: never asked.
                let all = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                return Ok(Addresses::Fixed(all.into()));
            }
            Host::Name(name) => name,
        };
        let known = self.answer.borrow().as_ref().map(Arc::clone);
        let answer = match known {
            Some(answer) if Instant::now() < answer.until => answer,
            _ => match timeout_at(deadline.into(), self.network.find(name)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let detail = "the lookup took too long";
                    return Err(NoConnection::Failed(Failure::new(FailureClass::Dns, detail)));
                }
            },
        };
        match &answer.addresses {
            Ok(_) => {
                *self.answer.borrow_mut() = Some(Arc::clone(&answer));
                Ok(Addresses::Found(answer))
            }
            Err(unfound) if unfound.starved => Err(NoConnection::Starved(unfound.failure)),
            Err(unfound) => Err(NoConnection::Failed(unfound.failure)),
        }
    }

    /// Connects one of the addresses, and judges each that it comes to.
    async fn connect_any(
        &self,
        host: &Host,
        addresses: &Addresses,
        deadline: Instant,
    ) -> Result<(TcpStream, IpAddr), NoConnection> {
        let (peer, port) = self.peer().map_err(NoConnection::Failed)?;
        // The user named the proxy, whoever named the origin.
        let trust = if std::ptr::eq(peer, host) { self.trust } else { Trust::User };
        let mut order = self.experience.borrow().order(addresses.all(), Instant::now());
        let mut blame = Blame::default();
        order.retain(|ip| match self.network.policy.check(*ip, peer, trust) {
            Ok(()) => true,
            Err(failure) => {
                blame.refused(failure);
                false
            }
        });
        let begun = RefCell::new(Vec::new());
        let connect = |ip| {
            begun.borrow_mut().push(ip);
            TcpStream::connect(SocketAddr::new(ip, port))
        };
        let tell = |event| {
            let (ip, last) = match event {
                Event::Failed(ip, error) => (ip, blame.failed(ip, &error)),
                Event::Slow(ip) => (ip, false),
            };
            begun.borrow_mut().retain(|begun| *begun != ip);
            if !last {
                self.experience.borrow_mut().failed(ip, Instant::now());
            }
            last
        };
        let race = race(order, CONNECT_STAGGER, connect, tell);
        match timeout_at(deadline.into(), race).await {
            Ok(Some((stream, ip))) => {
                self.experience.borrow_mut().worked(ip);
                return Ok((stream, ip));
            }
            Ok(None) => {}
            Err(_) => {
                for ip in begun.take() {
                    self.experience.borrow_mut().failed(ip, Instant::now());
                }
            }
        }
        Err(match blame.verdict() {
            Ok(failure) => NoConnection::Failed(failure),
            Err(failure) => NoConnection::Starved(failure),
        })
    }
}

/// At least one address.
enum Addresses {
    Fixed(Vec<IpAddr>),
    Found(Arc<Answer>),
}

impl Addresses {
    fn all(&self) -> &[IpAddr] {
        match self {
            Self::Fixed(all) => all,
            Self::Found(answer) => answer.addresses.as_deref().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
