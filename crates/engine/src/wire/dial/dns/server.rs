//! A name server for tests, in a few lines: it counts what it is asked.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub(in crate::wire) const A: u16 = 1;
pub(in crate::wire) const AAAA: u16 = 28;

/// What it answers.
#[derive(Debug, Clone)]
pub(in crate::wire) enum Reply {
    /// Addresses of the kind that is asked for, and their time in seconds.
    Addresses(Vec<Ipv4Addr>, Vec<Ipv6Addr>, u32),
    /// No such host; the time in seconds, where the answer has one.
    NoHost(Option<u32>),
    ServFail,
    /// Addresses for A, and not a word for AAAA.
    SilentForV6(Ipv4Addr),
}

#[derive(Debug)]
pub(in crate::wire) struct NameServer {
    pub(in crate::wire) addr: SocketAddr,
    counts: Arc<Mutex<HashMap<(String, u16), u32>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one that answers for a name what `reply` says.
    pub(in crate::wire) fn start(reply: impl Fn(&str) -> Reply + Send + 'static) -> Self {
        Self::start_slow(reply, |_| {})
    }

    /// The same, which calls `hold` with its socket and the first query before it answers that.
    pub(in crate::wire) fn start_slow(
        reply: impl Fn(&str) -> Reply + Send + 'static,
        hold: impl Fn(&mut Vec<(Vec<u8>, SocketAddr, String)>) + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (counted, ended) = (Arc::clone(&counts), Arc::clone(&over));
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            let mut packet = [0; 1500];
            while !ended.load(Ordering::Acquire) {
                match socket.recv_from(&mut packet) {
                    Ok((len, from)) => {
                        let query = packet[..len].to_vec();
                        let (name, kind, _) = question(&query);
                        *counted.lock().unwrap().entry((name.clone(), kind)).or_insert(0) += 1;
                        held.push((query, from, name));
                        // Whatever else is there already.
                        socket.set_nonblocking(true).unwrap();
                        while let Ok((len, from)) = socket.recv_from(&mut packet) {
                            let query = packet[..len].to_vec();
                            let (name, kind, _) = question(&query);
                            *counted.lock().unwrap().entry((name.clone(), kind)).or_insert(0) += 1;
                            held.push((query, from, name));
                        }
                        socket.set_nonblocking(false).unwrap();
                        continue;
                    }
                    Err(_) if held.is_empty() => continue,
                    // Nothing else came in the meantime.
                    Err(_) => {}
                }
                hold(&mut held);
                for (query, from, name) in held.drain(..) {
                    if let Some(answer) = answer(&query, &reply(&name)) {
                        socket.send_to(&answer, from).unwrap();
                    }
                }
            }
        });
        Self { addr, counts, over, thread: Some(thread) }
    }

    /// How often it was asked for `name`: A, and AAAA.
    pub(in crate::wire) fn asked(&self, name: &str) -> (u32, u32) {
        let counts = self.counts.lock().unwrap();
        let count = |kind| counts.get(&(name.to_owned(), kind)).copied().unwrap_or(0);
        (count(A), count(AAAA))
    }

    /// How many names it was asked for.
    pub(in crate::wire) fn names(&self) -> usize {
        let counts = self.counts.lock().unwrap();
        let mut names: Vec<_> = counts.keys().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Name, kind and end of the question (RFC 1035 section 4.1.2).
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let len = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + len]).to_lowercase());
        at += 1 + len;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    (labels.join("."), kind, at + 5)
}

fn answer(query: &[u8], reply: &Reply) -> Option<Vec<u8>> {
    let (_, kind, end) = question(query);
    let silent = matches!(reply, Reply::SilentForV6(_)) && kind == AAAA;
    let (code, records, soa): (u8, Vec<Vec<u8>>, Option<u32>) = match reply {
        Reply::Addresses(v4, v6, _) => {
            let records: Vec<_> = match kind {
                A => v4.iter().map(|ip| ip.octets().to_vec()).collect(),
                _ => v6.iter().map(|ip| ip.octets().to_vec()).collect(),
            };
            let soa = records.is_empty().then_some(300);
            (0, records, soa)
        }
        Reply::NoHost(time) => (3, Vec::new(), *time),
        Reply::ServFail => (2, Vec::new(), None),
        Reply::SilentForV6(ip) => (0, vec![ip.octets().to_vec()], None),
    };
    let time = match reply {
        Reply::Addresses(_, _, time) => *time,
        _ => 60,
    };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1]);
    out.extend((records.len() as u16).to_be_bytes());
    out.extend([0, u8::from(soa.is_some()), 0, 0]);
    out.extend(&query[12..end]);
    for data in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(time.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    if let Some(time) = soa {
        // The root's, with empty names.
        out.extend([0, 0, 6, 0, 1]);
        out.extend(time.to_be_bytes());
        out.extend([0, 22, 0, 0]);
        for number in [1, 2, 3, 4, time] {
            out.extend(number.to_be_bytes());
        }
    }
    (!silent).then_some(out)
}
