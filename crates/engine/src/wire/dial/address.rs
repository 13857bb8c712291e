//! Which addresses are asked: what a host's spelling means, and what is refused.
//!
//! Lists come from strangers. An address that reaches this machine's cloud, its network or itself
//! is judged here, as the very address that is about to be connected: not as text, and not before
//! the name was looked up, since a name may say something else the next time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use windrow_model::{Failure, FailureClass};

/// Who named the host that a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The user: on the command line, or in a list.
    User,
    /// A server, by a redirect.
    Redirect {
        /// Whether that server's own address was private.
        from_private: bool,
    },
}

/// What a host in a URL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::wire) enum Host {
    /// An address, however it was spelled.
    Address(IpAddr),
    /// A name to be looked up: lower-case, without a dot at its end.
    Name(String),
}

impl Host {
    /// Reads a host as it stands in a URL, IPv6 addresses without brackets.
    ///
    /// What ends in a number is an IPv4 address or nothing (WHATWG URL, "ends in a number
    /// checker"): the short, octal and hexadecimal forms are read as `inet_aton` reads them, so
    /// that none of them reaches a resolver which does the same unseen.
    ///
    /// # Errors
    /// A failure of the class `Blocked`: it is neither an address nor a name.
    pub(in crate::wire) fn read(text: &str) -> Result<Host, Failure> {
        let odd = || Failure::new(FailureClass::Blocked, "neither a host name nor an address");
        if text.contains(':') {
            return text.parse().map(|ip| Host::Address(IpAddr::V6(ip))).map_err(|_| odd());
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let last = name.rsplit('.').next().unwrap_or(name);
        if is_numeric(last) {
            return read_ipv4(name).map(|ip| Host::Address(IpAddr::V4(ip))).ok_or_else(odd);
        }
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let label = |label: &str| matches!(label.len(), 1..=63) && label.bytes().all(named);
        // RFC 1035 section 2.3.4.
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(odd());
        }
        Ok(Host::Name(name.to_ascii_lowercase()))
    }
}

/// Only digits, or `0x` and hexadecimal ones (also none of them).
fn is_numeric(label: &str) -> bool {
    let digits = !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    digits || hex_digits(label).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn hex_digits(label: &str) -> Option<&str> {
    label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"))
}

/// An IPv4 address of one to four numbers, the last of which fills what the others leave.
fn read_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = [0; 4];
    let mut count = 0;
    for part in text.split('.') {
        *parts.get_mut(count)? = read_number(part)?;
        count += 1;
    }
    let (last, before) = parts[..count].split_last()?;
    let mut address = 0_u64;
    for part in before {
        address = address << 8 | (*part <= 255).then_some(*part)?;
    }
    let room = 8 * (5 - count as u32);
    let address = address << room | (*last < 1 << room).then_some(*last)?;
    u32::try_from(address).ok().map(Ipv4Addr::from)
}

fn read_number(text: &str) -> Option<u64> {
    let (digits, radix) = match hex_digits(text) {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign.
    let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
    u64::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    base: u128,
    mask: u128,
    is_v6: bool,
}

impl AddressRange {
    /// The addresses that share the first `bits` with `base`; `None` if it has fewer.
    pub const fn new(base: IpAddr, bits: u8) -> Option<Self> {
        // An IPv4 address stands in the upper 32 of the 128 bits.
        let (base, width, is_v6) = match base {
            IpAddr::V4(ip) => ((ip.to_bits() as u128) << 96, 32, false),
            IpAddr::V6(ip) => (ip.to_bits(), 128, true),
        };
        if bits > width {
            return None;
        }
        let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
        Some(Self { base: base & mask, mask, is_v6 })
    }

    /// Whether `ip` is one of them. IPv4 addresses are in no range of IPv6 ones.
    pub const fn contains(&self, ip: IpAddr) -> bool {
        let (bits, is_v6) = match ip {
            IpAddr::V4(ip) => ((ip.to_bits() as u128) << 96, false),
            IpAddr::V6(ip) => (ip.to_bits(), true),
        };
        is_v6 == self.is_v6 && bits & self.mask == self.base
    }
}

impl FromStr for AddressRange {
    type Err = &'static str;

    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "not an address")?;
        let bits = match bits {
            None if address.is_ipv4() => 32,
            None => 128,
            Some(bits) => bits.parse().map_err(|_| "the bits behind `/` are not a number")?,
        };
        Self::new(address, bits).ok_or("more bits behind `/` than the address has")
    }
}

/// What a user allows by `--allow-private`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// These addresses.
    Range(AddressRange),
    /// All addresses of this host: lower-case, without a dot at its end.
    Host(String),
}

impl FromStr for Allowed {
    type Err = &'static str;

    /// Reads `ADDRESS`, `ADDRESS/BITS` or `HOST`.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.contains('/') {
            return text.parse().map(Allowed::Range);
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match Host::read(bare).map_err(|failure| failure.detail)? {
            Host::Name(name) => Ok(Allowed::Host(name)),
            Host::Address(ip) => {
                let bits = if ip.is_ipv4() { 32 } else { 128 };
                AddressRange::new(ip, bits).map(Allowed::Range).ok_or("not an address")
            }
        }
    }
}

/// Whether an address may be connected.
#[derive(Debug, Default)]
pub(in crate::wire) struct Policy {
    allowed: Vec<Allowed>,
}

impl Policy {
    /// A policy with these exceptions.
    pub(in crate::wire) fn new(allowed: Vec<Allowed>) -> Self {
        Self { allowed }
    }

    /// Judges an address that is about to be connected for `host`.
    ///
    /// # Errors
    /// A failure of the class `Blocked`.
    pub(in crate::wire) fn check(
        &self,
        ip: IpAddr,
        host: &Host,
        trust: Trust,
    ) -> Result<(), Failure> {
        let host_allowed = || {
            self.allowed.iter().any(|allowed| {
                matches!((allowed, host), (Allowed::Host(name), Host::Name(host)) if name == host)
            })
        };
        let allowed = |ip| {
            self.allowed
                .iter()
                .any(|allowed| matches!(allowed, Allowed::Range(range) if range.contains(ip)))
        };
        for reached in reached(ip) {
            if let Some(detail) = refusal(reached, trust)
                && !allowed(ip)
                && !allowed(reached)
                && !host_allowed()
            {
                return Err(Failure::new(FailureClass::Blocked, detail));
            }
        }
        Ok(())
    }
}

/// Whether an address is of this machine or of a network that is not the Internet.
pub fn is_private(ip: IpAddr) -> bool {
    reached(ip).any(|ip| {
        in_any(&PRIVATE_V4, &PRIVATE_V6, ip) || in_any(&LINK_LOCAL_V4, &LINK_LOCAL_V6, ip)
    })
}

fn refusal(ip: IpAddr, trust: Trust) -> Option<&'static str> {
    if METADATA.contains(&ip) {
        return Some("the address is a cloud's metadata service");
    }
    if in_any(&LINK_LOCAL_V4, &LINK_LOCAL_V6, ip) {
        return Some("the address is link-local");
    }
    if in_any(&NOWHERE_V4, &NOWHERE_V6, ip) {
        return Some("the address is no server's (unspecified, multicast or broadcast)");
    }
    let misled = trust == Trust::Redirect { from_private: false };
    if misled && in_any(&PRIVATE_V4, &PRIVATE_V6, ip) {
        return Some("a public server redirects to a private address");
    }
    None
}

fn in_any(v4: &[AddressRange], v6: &[AddressRange], ip: IpAddr) -> bool {
    v4.iter().chain(v6).any(|range| range.contains(ip))
}

/// The address, and the IPv4 addresses that it may lead to through a translator or tunnel.
fn reached(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let mut inner = [None; 2];
    if let IpAddr::V6(v6) = ip {
        let bits = v6.to_bits();
        let at = |shift: u32| Some(Ipv4Addr::from_bits((bits >> shift) as u32));
        let [a, b, c, d, e, f, g, h] = v6.segments();
        inner = match [a, b, c, d, e, f] {
            [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => [None; 2], // :: and ::1 themselves
            [0, 0, 0, 0, 0, 0] => [at(0), None], // compatible, RFC 4291 section 2.5.5.1
            [0, 0, 0, 0, 0, 0xffff] => [at(0), None], // mapped, RFC 4291 section 2.5.5.2
            [0, 0, 0, 0, 0xffff, 0] => [at(0), None], // translated, RFC 2765 section 2.1
            [0x64, 0xff9b, 0, 0, 0, 0] => [at(0), None], // NAT64, RFC 6052 section 2.1
            // NAT64 of the network's own (RFC 8215): with 96 bits before the address, or with 48
            // and a byte inside that is zero (RFC 6052 section 2.2). In the wrong one of the two
            // readings it begins with zeros.
            [0x64, 0xff9b, 1, d, e, f] => {
                let around = u32::from(d) << 16 | u32::from(e & 0xff) << 8 | u32::from(f >> 8);
                let begun = |ip: &Ipv4Addr| ip.octets()[0] != 0;
                [at(0).filter(begun), Some(Ipv4Addr::from_bits(around)).filter(begun)]
            }
            [0x2002, ..] => [at(80), None], // 6to4, RFC 3056 section 2
            // Teredo, RFC 4380 section 4: the client, and the server.
            [0x2001, 0, ..] => [Some(Ipv4Addr::from_bits(!(bits as u32))), at(64)],
            [_, _, _, _, 0 | 0x200, 0x5efe] => [at(0), None], // ISATAP, RFC 5214 section 6.1
            _ => [None; 2],
        };
    }
    std::iter::once(ip).chain(inner.into_iter().flatten().map(IpAddr::V4))
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> AddressRange {
    match AddressRange::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits) {
        Some(range) => range,
        None => panic!("more bits than an IPv4 address has"),
    }
}

const fn v6(first: u16, bits: u8) -> AddressRange {
    match AddressRange::new(IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), bits) {
        Some(range) => range,
        None => panic!("more bits than an IPv6 address has"),
    }
}

/// Where clouds tell a machine its credentials: AWS, Azure, GCP, OpenStack and others at the first;
/// Alibaba, Azure's wire server, Oracle's old one; AWS and GCP over IPv6.
const METADATA: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

const LINK_LOCAL_V4: [AddressRange; 1] = [v4(169, 254, 0, 0, 16)];
const LINK_LOCAL_V6: [AddressRange; 1] = [v6(0xfe80, 10)];

const NOWHERE_V4: [AddressRange; 3] =
    [v4(0, 0, 0, 0, 8), v4(224, 0, 0, 0, 4), v4(255, 255, 255, 255, 32)];
const NOWHERE_V6: [AddressRange; 2] = [v6(0, 128), v6(0xff00, 8)];

/// Loopback, RFC 1918, carrier-grade NAT (RFC 6598), IETF protocols, benchmarks, reserved.
const PRIVATE_V4: [AddressRange; 8] = [
    v4(127, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v4(100, 64, 0, 0, 10),
    v4(192, 0, 0, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(240, 0, 0, 0, 4),
];

/// Loopback, unique local (RFC 4193), site-local (RFC 3879).
const PRIVATE_V6: [AddressRange; 3] = [LOOPBACK_V6, v6(0xfc00, 7), v6(0xfec0, 10)];
const LOOPBACK_V6: AddressRange = match AddressRange::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128) {
    Some(range) => range,
    None => panic!("an IPv6 address has 128 bits"),
};

#[cfg(test)]
mod tests;
