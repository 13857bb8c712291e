//! One lookup: the hosts file, the name servers, or the system's resolver.

use super::super::race::interleave;
use super::{Answer, Unfound};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use windrow_model::limits::{
    DNS_FAILURE_TTL, DNS_NEGATIVE_TTL, DNS_OTHER_FAMILY, DNS_TIMEOUT, DNS_TTL, DNS_TTL_UNKNOWN,
    HOST_ADDRESSES,
};

/// How names are looked up.
#[derive(Clone)]
pub(super) enum Lookup {
    /// By asking name servers.
    Servers(Rc<Servers>),
    /// By the system's resolver, one thread for each lookup.
    System,
}

pub(super) struct Servers {
    resolver: TokioResolver,
    hosts: Hosts,
    /// A name with so many dots is asked only as it stands, however the name servers answer.
    ndots: usize,
}

/// What came of asking for one kind of address.
#[derive(Debug, Clone)]
enum Found {
    Addresses(Vec<IpAddr>, Duration),
    /// There is no such host, or none of this kind.
    Nothing {
        no_host: bool,
        holds: Duration,
    },
    Failed(Unfound),
}

impl Lookup {
    /// Asks `nameservers`, or those of the system's configuration.
    pub(super) fn new(nameservers: Option<Vec<SocketAddr>>) -> Self {
        let own = nameservers.is_some();
        let configuration = match nameservers {
            Some(servers) => Ok((of_servers(&servers), ResolverOpts::default())),
            None => system_conf::read_system_conf(),
        };
        let Ok((config, mut options)) = configuration else { return Self::System };
        let ndots = options.ndots;
        // A name that has a dot is first asked as it stands, even where the system would put its
        // own domains behind it first: in Kubernetes (`ndots:5`) each name of the Internet would
        // cost five times as many queries.
        options.ndots = ndots.min(1);
        // What is kept, and for how long, is decided for all kinds of lookup by our own table.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // One name server is asked, and the next when that does not answer: not two at once.
        options.num_concurrent_reqs = 1;
        options.try_tcp_on_error = false;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
        let Ok(resolver) = builder.build() else { return Self::System };
        let hosts = match own {
            true => Hosts::default(),
            false => Hosts::from_system().unwrap_or_default(),
        };
        Self::Servers(Rc::new(Servers { resolver, hosts, ndots }))
    }

    /// Asks for both kinds of addresses. Takes at most [`DNS_TIMEOUT`].
    pub(super) async fn find(&self, host: &str) -> Answer {
        let late = Found::Failed(Unfound::new("the name server did not answer"));
        let lookup = async {
            match self {
                Self::Servers(servers) => servers.find(host).await,
                Self::System => by_system(host.to_owned()).await,
            }
        };
        let found = timeout(DNS_TIMEOUT, lookup).await.unwrap_or([late.clone(), late]);
        conclude(found, Instant::now())
    }
}

impl Servers {
    async fn find(&self, host: &str) -> [Found; 2] {
        let Ok(mut name) = Name::from_ascii(host) else {
            let holds = DNS_NEGATIVE_TTL;
            let nothing = Found::Nothing { no_host: true, holds };
            return [nothing.clone(), nothing];
        };
        // The hosts file knows all addresses of a host that it knows, or is not asked at all.
        let kinds = [RecordType::AAAA, RecordType::A];
        let fixed =
            kinds.map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        if fixed.iter().any(Option::is_some) {
            return fixed.map(|lookup| {
                let addresses = lookup.iter().flat_map(|lookup| lookup.answers());
                let addresses = addresses.filter_map(|record| address(&record.data)).collect();
                Found::Addresses(addresses, DNS_TTL_UNKNOWN)
            });
        }
        let dots = host.bytes().filter(|b| *b == b'.').count();
        if dots > 0 && dots >= self.ndots {
            name.set_fqdn(true);
        }
        let mut v6 = std::pin::pin!(self.find_kind(name.clone(), RecordType::AAAA));
        let mut v4 = std::pin::pin!(self.find_kind(name, RecordType::A));
        // Addresses do not wait long for those of the other family: some name servers never answer
        // for one of them (RFC 8305 section 3).
        tokio::select! {
            v6_found = &mut v6 => {
                let wait = patience(&v6_found);
                [v6_found, timeout(wait, v4).await.unwrap_or_else(|_| nothing_yet())]
            }
            v4_found = &mut v4 => {
                let wait = patience(&v4_found);
                [timeout(wait, v6).await.unwrap_or_else(|_| nothing_yet()), v4_found]
            }
        }
    }

    async fn find_kind(&self, name: Name, kind: RecordType) -> Found {
        let lookup = match self.resolver.lookup(name, kind).await {
            Ok(lookup) => lookup,
            Err(error) => return Found::of_error(&error),
        };
        // With the names on the way (CNAME): their time counts as well.
        let holds = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
        let addresses = lookup.answers().iter().filter_map(|record| address(&record.data));
        let addresses: Vec<_> = addresses.take(HOST_ADDRESSES).collect();
        match addresses.is_empty() {
            true => Found::Nothing { no_host: false, holds: DNS_NEGATIVE_TTL },
            false => Found::Addresses(addresses, Duration::from_secs(holds.into())),
        }
    }
}

impl Found {
    fn of_error(error: &NetError) -> Self {
        let detail = match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                code @ (ResponseCode::NXDomain | ResponseCode::NoError) => {
                    let holds = none
                        .negative_ttl
                        .map_or(DNS_NEGATIVE_TTL, |seconds| Duration::from_secs(seconds.into()));
                    return Self::Nothing { no_host: code == ResponseCode::NXDomain, holds };
                }
                ResponseCode::Refused => "the name server refuses to answer",
                _ => "the name server failed",
            },
            NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => {
                return Self::Nothing { no_host: true, holds: DNS_NEGATIVE_TTL };
            }
            NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
                "the name server refuses to answer"
            }
            NetError::Timeout => "the name server did not answer",
            NetError::Io(error) if super::super::race::is_starved(error) => {
                let unfound = Unfound::new("no file descriptor is left to look the host up");
                return Self::Failed(Unfound { starved: true, ..unfound });
            }
            NetError::Io(_) | NetError::NoConnections => "the name server cannot be reached",
            NetError::Proto(_) => "the name server's answer makes no sense",
            _ => "the name server failed",
        };
        Self::Failed(Unfound::new(detail))
    }
}

/// What both kinds come to. One that has addresses is enough, however the other ended: else a host
/// without AAAA, behind a name server that fails on those, would be asked for each connection.
fn conclude([v6, v4]: [Found; 2], now: Instant) -> Answer {
    let mut addresses = [Vec::new(), Vec::new()];
    let mut holds = *DNS_TTL.end();
    let (mut missing, mut none_holds, mut failed) = (false, DNS_NEGATIVE_TTL, None);
    for (found, addresses) in [v6, v4].into_iter().zip(&mut addresses) {
        match found {
            Found::Addresses(some, time) => {
                *addresses = some;
                holds = holds.min(time);
            }
            Found::Nothing { no_host, holds } => {
                missing |= no_host;
                none_holds = none_holds.min(holds);
            }
            Found::Failed(unfound) => failed = failed.or(Some(unfound)),
        }
    }
    let [v6, v4] = addresses;
    let mut addresses = interleave(v6, v4);
    addresses.truncate(HOST_ADDRESSES);
    let (addresses, holds) = if !addresses.is_empty() {
        (Ok(addresses), holds)
    } else if missing {
        (Err(Unfound::new("no such host")), none_holds)
    } else if let Some(failed) = failed {
        return Answer { addresses: Err(failed), until: now + DNS_FAILURE_TTL };
    } else {
        (Err(Unfound::new("the host has no address")), none_holds)
    };
    Answer { addresses, until: now + holds.max(*DNS_TTL.start()) }
}

/// The kind that was not waited for.
fn nothing_yet() -> Found {
    Found::Failed(Unfound::new("the name server did not answer"))
}

fn patience(found: &Found) -> Duration {
    match found {
        Found::Addresses(..) => DNS_OTHER_FAMILY,
        _ => DNS_TIMEOUT,
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(ip) => Some(IpAddr::V4(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
        _ => None,
    }
}

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |addr: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(addr.ip());
        for connection in &mut server.connections {
            let ConnectionConfig { port, .. } = connection;
            *port = addr.port();
        }
        server
    };
    ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect())
}

/// `getaddrinfo`, on a thread that may block.
async fn by_system(host: String) -> [Found; 2] {
    let looked_up = tokio::task::spawn_blocking(move || (host.as_str(), 0).to_socket_addrs()).await;
    let failed = |detail| {
        let failed = Found::Failed(Unfound::new(detail));
        [failed.clone(), failed]
    };
    match looked_up {
        Ok(Ok(found)) => {
            let (v6, v4): (Vec<_>, Vec<_>) =
                found.map(|addr| addr.ip()).partition(|ip| ip.is_ipv6());
            [v6, v4].map(|addresses| Found::Addresses(addresses, DNS_TTL_UNKNOWN))
        }
        Ok(Err(error)) if is_no_host(&error) => {
            let nothing = Found::Nothing { no_host: true, holds: DNS_NEGATIVE_TTL };
            [nothing.clone(), nothing]
        }
        Ok(Err(_)) => failed("the system's resolver failed"),
        Err(_) => failed("the lookup was given up"),
    }
}

/// The standard library gives the code of `getaddrinfo` only as text.
fn is_no_host(error: &io::Error) -> bool {
    let text = error.to_string();
    ["Name or service not known", "No address associated", "Name does not resolve"]
        .iter()
        .any(|known| text.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn two_kinds_make_one_answer() {
        let seconds = Duration::from_secs;
        let some = |ip, holds| Found::Addresses(vec![ip], seconds(holds));
        let none = |no_host, holds| Found::Nothing { no_host, holds: seconds(holds) };
        let failed = || Found::Failed(Unfound::new("the name server failed"));
        let now = Instant::now();
        for (v6, v4, expected, holds) in [
            (some(V6, 300), some(V4, 60), Ok(vec![V6, V4]), 60),
            (none(false, 5), some(V4, 60), Ok(vec![V4]), 60),
            (failed(), some(V4, 60), Ok(vec![V4]), 60),
            (some(V6, 90_000), failed(), Ok(vec![V6]), 3600),
            (some(V6, 0), failed(), Ok(vec![V6]), 1),
            (none(true, 900), none(true, 900), Err("no such host"), 30),
            (none(true, 7), none(false, 9), Err("no such host"), 7),
            (none(true, 0), failed(), Err("no such host"), 1),
            (none(false, 9), none(false, 9), Err("the host has no address"), 9),
            (none(false, 9), failed(), Err("the name server failed"), 1),
            (failed(), failed(), Err("the name server failed"), 1),
        ] {
            let what = format!("{v6:?} {v4:?}");
            let answer = conclude([v6, v4], now);
            let found = answer.addresses.map_err(|unfound| unfound.failure.detail);
            assert_eq!((found, answer.until - now), (expected, seconds(holds)), "{what}");
        }
    }
}
