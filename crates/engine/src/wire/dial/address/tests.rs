//! Spellings of addresses, and who may lead where.

use super::*;
use proptest::prelude::*;

const PUBLIC_REDIRECT: Trust = Trust::Redirect { from_private: false };

/// What a resolver that believes everything would connect to for `text`, judged.
fn judge(policy: &Policy, text: &str, trust: Trust) -> Result<(), Failure> {
    match Host::read(text)? {
        Host::Address(ip) => policy.check(ip, &Host::Address(ip), trust),
        host @ Host::Name(_) => panic!("{text} would be looked up: {host:?}"),
    }
}

/// Each way that is known to write an IPv4 address into a URL's host, in IPv4 and in IPv6 forms.
fn spellings(ip: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = ip.octets();
    let n = ip.to_bits();
    let (cd, bcd) = (n & 0xffff, n & 0xff_ffff);
    let mut all = vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{cd}"),
        format!("{a}.{bcd}"),
        format!("{n}"),
        format!("0x{n:x}"),
        format!("0X{n:X}"),
        format!("0x00000000{n:08x}"),
        format!("0{n:o}"),
        format!("000000{n:o}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.000{b:o}.000{c:o}.000{d:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0X{a:02X}.0X{b:02X}.0X{c:02X}.0X{d:02X}"),
        format!("0x{a:x}.0{b:o}.{c}.0x{d:x}"),
        format!("0{a:o}.{b}.0x{cd:x}"),
        format!("0x{a:x}.{bcd}"),
        format!("{a}.0x{bcd:x}"),
        format!("{a}.0{bcd:o}"),
        format!("{a}.{b}.0{cd:o}"),
        format!("{a}.{b}.0x{cd:x}"),
    ];
    for at in 0..all.len() {
        all.push(format!("{}.", all[at]));
    }
    let (hi, lo) = (n >> 16, n & 0xffff);
    let (xhi, xlo) = (!n >> 16, !n & 0xffff);
    if a > 0 {
        all.extend([
            format!("64:ff9b:1::{hi:x}:{lo:x}"),
            format!("64:ff9b:1:{a:02x}{b:02x}:{c:02x}:{d:02x}00::"),
        ]);
    }
    all.extend([
        format!("::ffff:{a}.{b}.{c}.{d}"),
        format!("::FFFF:{a}.{b}.{c}.{d}"),
        format!("::ffff:{hi:x}:{lo:x}"),
        format!("0:0:0:0:0:ffff:{hi:x}:{lo:x}"),
        format!("0000:0000:0000:0000:0000:ffff:{hi:04x}:{lo:04x}"),
        format!("::{a}.{b}.{c}.{d}"),
        format!("::{hi:x}:{lo:x}"),
        format!("::ffff:0:{hi:x}:{lo:x}"),
        format!("64:ff9b::{a}.{b}.{c}.{d}"),
        format!("64:ff9b::{hi:x}:{lo:x}"),
        format!("2002:{hi:x}:{lo:x}::"),
        format!("2002:{hi:x}:{lo:x}::1"),
        format!("2001:0:{hi:x}:{lo:x}::1"),
        format!("2001:0:808:808:0:0:{xhi:x}:{xlo:x}"),
        format!("fe81::5efe:{a}.{b}.{c}.{d}"),
        format!("2001:db8::200:5efe:{a}.{b}.{c}.{d}"),
    ]);
    all
}

#[test]
fn no_spelling_of_a_refused_address_slips_by() {
    let policy = Policy::default();
    let mut judged = 0;
    for ip in [
        "169.254.169.254",
        "169.254.0.1",
        "169.254.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
    ] {
        for text in spellings(ip.parse().unwrap()) {
            let failure = judge(&policy, &text, Trust::User).expect_err(&text);
            assert_eq!(failure.class, FailureClass::Blocked, "{text}");
            judged += 1;
        }
    }
    assert!(judged > 600, "{judged}");
}

#[test]
fn no_spelling_of_a_private_address_is_reached_by_a_public_redirect() {
    let policy = Policy::default();
    for ip in [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "198.18.0.1",
        "240.0.0.1",
    ] {
        let ip: Ipv4Addr = ip.parse().unwrap();
        assert!(is_private(IpAddr::V4(ip)));
        for text in spellings(ip) {
            assert!(judge(&policy, &text, PUBLIC_REDIRECT).is_err(), "{text}");
            // An address in a link-local form is link-local too.
            if !text.starts_with("fe81") {
                assert_eq!(judge(&policy, &text, Trust::User), Ok(()), "{text}");
                let trust = Trust::Redirect { from_private: true };
                assert_eq!(judge(&policy, &text, trust), Ok(()), "{text}");
            }
        }
    }
}

#[test]
fn ipv6_has_its_own() {
    let policy = Policy::default();
    for text in [
        "::",
        "0::0",
        "fe80::1",
        "febf:ffff::1",
        "ff02::1",
        "ff00::",
        "fd00:ec2::254",
        "FD00:0EC2:0::0254",
        "fd20:ce::254",
    ] {
        assert!(judge(&policy, text, Trust::User).is_err(), "{text}");
    }
    for text in ["::1", "0:0:0:0:0:0:0:1", "fc00::1", "fdff::1", "fec0::1"] {
        assert_eq!(judge(&policy, text, Trust::User), Ok(()), "{text}");
        assert!(judge(&policy, text, PUBLIC_REDIRECT).is_err(), "{text}");
        assert!(is_private(text.parse().unwrap()), "{text}");
    }
    for text in ["2606:4700::1111", "2a00::1", "fe00::1", "64:ff9b::8.8.8.8", "2002:808:808::1"] {
        assert_eq!(judge(&policy, text, PUBLIC_REDIRECT), Ok(()), "{text}");
        assert!(!is_private(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn what_ends_in_a_number_is_an_address_or_nothing() {
    for text in [
        "256.1.1.1",
        "1.256.1.1",
        "1.1.65536",
        "1.16777216",
        "4294967296",
        "0x100000000",
        "1.2.3.4.5",
        "a.1",
        "127.1.example.0x7f",
        "08.1.1.1",
        "1.1.1.09",
        "0x1g.1",
        "1..1",
        ".1",
        "1.1.1.1..",
        "",
        ".",
        "..",
        "a..b",
        "a.",
        ".a",
        "a b",
        "+127.0.0.1",
        "127.0.0.1%00",
        "127.0.0.1 ",
        "１２７.０.０.１",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "ä.example",
        "::1%eth0",
        "fe80::1%25lo",
        "::ffff:127.0.0.1.",
        "::ffff:0x7f.1",
        "1::2::3",
        "[::1]",
        "a:b",
        "localhost:80",
        "user@127.0.0.1",
        "127.0.0.1/8",
        "18446744073709551616",
        "0x10000000000000000",
        "99999999999999999999999999",
    ] {
        match Host::read(text) {
            Err(failure) => assert_eq!(failure.class, FailureClass::Blocked, "{text}"),
            // A name with a dot at its end is the same name.
            Ok(host) => assert_eq!((text, host), ("a.", Host::Name("a".into()))),
        }
    }
    assert!(Host::read(&"a.".repeat(127)).is_ok(), "253 bytes, the dot at the end not counted");
    assert!(Host::read(&"a.".repeat(128)).is_err());
    assert!(Host::read(&"a".repeat(64)).is_err());
    for (text, name) in [
        ("Example.ORG", "example.org"),
        ("a_b-c.example.", "a_b-c.example"),
        ("127.0.0.1.nip.io", "127.0.0.1.nip.io"),
        ("1e3", "1e3"),
        ("0xg", "0xg"),
        ("localhost", "localhost"),
        ("-1", "-1"),
        ("1.1.1.-1", "1.1.1.-1"),
    ] {
        assert_eq!(Host::read(text), Ok(Host::Name(name.into())), "{text}");
    }
}

#[test]
fn what_the_user_names_is_allowed() {
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    let by_name = Host::Name("meta.internal".into());
    let check = |allowed: &str, ip, host: &Host| {
        let policy = Policy::new(vec![allowed.parse().unwrap()]);
        policy.check(ip, host, PUBLIC_REDIRECT).is_ok()
    };
    for allowed in ["169.254.169.254", "169.254.0.0/16", "0.0.0.0/0", "0xa9fea9fe"] {
        assert!(check(allowed, metadata, &by_name), "{allowed}");
        let mapped = "::ffff:169.254.169.254".parse().unwrap();
        assert!(check(allowed, mapped, &Host::Address(mapped)), "{allowed}");
    }
    for allowed in ["169.254.169.253", "10.0.0.0/8", "::/0", "internal", "169.254.169.0/25"] {
        assert!(!check(allowed, metadata, &by_name), "{allowed}");
    }
    assert!(check("Meta.Internal.", metadata, &by_name));
    assert!(!check("meta.internal", metadata, &Host::Address(metadata)));
    assert!(check("[::1]", "::1".parse().unwrap(), &by_name));
    assert!(check("fc00::/7", "fd12::1".parse().unwrap(), &by_name));
    for text in ["1.2.3.4/33", "::/129", "1.2.3/8", "x/8", "1.2.3.4/", "1.2.3.4/-1", "a b", ""] {
        assert!(text.parse::<Allowed>().is_err(), "{text}");
    }
}

proptest! {
    /// Every spelling of every address leads to the same judgement, however it came about.
    #[test]
    fn spellings_agree(bits: u32) {
        let ip = Ipv4Addr::from_bits(bits);
        let policy = Policy::default();
        for trust in [Trust::User, PUBLIC_REDIRECT] {
            let refused = policy.check(IpAddr::V4(ip), &Host::Address(IpAddr::V4(ip)), trust);
            for text in spellings(ip) {
                if refused.is_err() {
                    prop_assert!(judge(&policy, &text, trust).is_err(), "{} {:?}", text, trust);
                }
                if !text.contains(':') {
                    prop_assert_eq!(Host::read(&text), Ok(Host::Address(IpAddr::V4(ip))));
                }
            }
        }
    }

    /// Reading ends without a panic, whatever is read.
    #[test]
    fn anything_is_read(text in "\\PC{0,40}|[0-9a-fxX.:]{0,40}") {
        let _ = Host::read(&text);
        let _ = text.parse::<Allowed>();
    }
}
