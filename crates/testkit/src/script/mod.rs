//! A server that answers byte for byte what a test wrote.
//!
//! For each request the script says what to do: send these bytes, drip them one by one, reset the
//! connection, hang. Everything that came is recorded. One thread for each connection, and no
//! waiting for time to pass: what has to happen after something else waits for a [`Gate`].

mod connection;
mod gate;
pub mod http;
mod site;

pub use gate::Gate;
pub use site::{Site, body_of};

use crate::wait;
use connection::Connection;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One thing that a server does on a connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes in pieces of this size, each in a packet of its own.
    Drip(Vec<u8>, usize),
    /// Sends the same bytes again and again, until the peer has had enough.
    Endless(Vec<u8>),
    /// Sends bytes one by one, with so much time between: a server that is slow.
    Trickle(Vec<u8>, Duration),
    /// Reads and records one more request without answering it.
    ReadRequest,
    /// Waits until the peer sends something or closes.
    AwaitPeer,
    /// Waits until a gate is open.
    Await(Gate),
    /// Opens a gate.
    Open(Gate),
    /// Says that nothing more is sent, and goes on.
    HalfClose,
    /// Closes in good order, after everything that was sent has arrived.
    Close,
    /// Resets the connection: what was sent may be lost.
    Reset,
    /// Does nothing until the peer closes, or the server ends.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which connection brought it, in the order of accepting.
    pub connection: usize,
    /// Which request of its connection it is.
    pub number: usize,
    /// How many requests for the same target came before it.
    pub attempt: usize,
    /// The method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Header lines, names as they came.
    pub headers: Vec<(String, String)>,
    /// When its head was complete.
    pub time: Instant,
}

impl Request {
    /// The value of the first header line of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter();
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Answer = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

/// What the threads of a server share.
struct Shared {
    answer: Box<Answer>,
    ending: AtomicBool,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    requests: Vec<Request>,
    asked: HashMap<String, usize>,
    connections: usize,
    /// To end those that hang.
    open: HashMap<usize, TcpStream>,
    /// What went wrong in the server itself.
    troubles: Vec<String>,
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server under a script, until it is dropped.
pub struct Script {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl Script {
    /// Starts a server that does for each request what `answer` says, and then waits for the next.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_on(0, answer)
    }

    /// The same on a port that is known: where another one ended, for a server that comes back.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn start_on(
        port: u16,
        answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), answer)
    }

    /// The same at any address of this machine, such as 127.0.0.2: another host.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            ending: AtomicBool::new(false),
            record: Mutex::default(),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Self { shared, address, acceptor: Some(acceptor) }
    }

    /// Its address, as a source for `get`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.record().requests.clone()
    }

    /// The targets asked for so far that begin so.
    pub fn targets(&self, prefix: &str) -> Vec<String> {
        let record = self.shared.record();
        let targets = record.requests.iter().map(|request| &request.target);
        targets.filter(|target| target.starts_with(prefix)).cloned().collect()
    }

    /// Waits until so many requests for targets that begin so have come.
    ///
    /// # Panics
    /// When they do not.
    pub fn until_asked(&self, prefix: &str, count: usize) {
        let what = format!("{count} requests for {prefix}");
        wait::until(&what, || self.targets(prefix).len() >= count);
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.record().connections
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let troubles = std::mem::take(&mut self.shared.record().troubles);
        if !troubles.is_empty() && !std::thread::panicking() {
            panic!("the server was asked for what it cannot read: {troubles:?}");
        }
    }
}

/// Accepts until the server ends, then ends every connection.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shared.ending.load(Ordering::Acquire) {
            break;
        }
        let number = {
            let mut record = shared.record();
            let number = record.connections;
            record.connections += 1;
            if let Ok(copy) = stream.try_clone() {
                record.open.insert(number, copy);
            }
            number
        };
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || {
            Connection::new(stream, number, &shared).serve();
            shared.record().open.remove(&number);
        }));
    }
    for stream in shared.record().open.values() {
        // It may be closed by now.
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        if let Err(panic) = thread.join() {
            let text = panic.downcast_ref::<String>().cloned();
            shared.record().troubles.push(text.unwrap_or_else(|| "a script panicked".into()));
        }
    }
}
