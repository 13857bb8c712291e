//! The file server of `windrow serve`: a listing API and the objects it lists, over HTTP/1.1.
//!
//! | request | answer |
//! |---|---|
//! | `GET /list` | `{"FileNames":[...],"NextMarker":"..."}`, the marker absent on the last page |
//! | `GET /list?next-marker=T` | the page that begins there |
//! | `GET /get/{name}` | the object's bytes |
//! | `GET /-/stats` | what was counted, with [`Options::stats`] or [`Options::faults`] only |
//!
//! It exists to try and to measure clients, so it must be faster than they are: threads that share
//! nothing, one runtime each; every request that one read brings is answered in one write.
//!
//! A request flows through `request` (bytes to request), `respond` (request to answer, out of
//! `synthetic` or `directory`) and `session` (one connection, still without a socket); `conn` and
//! `worker` add sockets and threads.
//!
//! It speaks no TLS, drops no idle connection and asks nobody who they are: it is for one machine
//! or a trusted network.

#![forbid(unsafe_code)]

mod arrivals;
mod coding;
mod conn;
mod digest;
mod directory;
mod faults;
mod front;
mod json;
mod limits;
mod redirect;
mod request;
mod respond;
mod session;
mod sign;
mod synthetic;
mod timer;
mod worker;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use windrow_model::{Corpus, Error};

pub use crate::coding::Coding;
use crate::directory::Directory;
pub use crate::faults::Faults;
use crate::faults::{Rehearsal, Stage};
use crate::front::Front;
use crate::limits::Gate;
pub use crate::limits::{Allow, Knee};
pub use crate::redirect::Redirect;
use crate::respond::Site;
pub use crate::sign::{ClockOffset, SignKey, Urls};
use crate::synthetic::Synthetic;
use crate::worker::{Accepting, Counters, Worker};

/// Connections that wait to be accepted, at most; the system may allow less.
const BACKLOG: i32 = 4096;

/// Most threads of one server, and most names of one page.
const MAX_THREADS: usize = 1024;
const MAX_PAGE: usize = 1_000_000;

/// Longest latency.
const MAX_LATENCY: Duration = Duration::from_secs(86_400);

/// How to serve what.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub addr: SocketAddr,
    /// What to serve.
    pub content: Content,
    /// Names in one page of the listing, 1 to 1,000,000.
    pub page: usize,
    /// How long after its request each answer leaves; zero is at once.
    pub latency: Duration,
    /// Threads, at most 1,024; 0 is one per core.
    pub threads: usize,
    /// How to misbehave; this counts, too.
    pub faults: Option<Faults>,
    /// How many requests for objects are allowed; this and the rest count, too.
    pub allow: Option<Allow>,
    /// How many requests for objects are worked on at once; takes a latency.
    pub knee: Option<Knee>,
    /// Each answer with an object leaves up to so much later, by chance.
    pub jitter: Duration,
    /// What this chance depends on.
    pub seed: u64,
    /// Requests for objects have to be signed with this.
    pub sign_key: Option<SignKey>,
    /// By how much the clock is wrong that `Date` and the end of signed URLs go by; without this and
    /// without `sign_key` there is no `Date`.
    pub clock_offset: Option<ClockOffset>,
    /// Where those are sent who ask for an object.
    pub redirect: Option<Redirect>,
    /// Tells the checksums of every object.
    pub checksums: bool,
    /// Encodes objects up to 16 MiB for those who accept it.
    pub coding: Option<Coding>,
    /// Counts requests for objects and pages, and tells at `/-/stats`.
    pub stats: bool,
}

impl Options {
    /// Pages of 1,000 names, no latency, one thread per core, no faults.
    pub fn new(addr: SocketAddr, content: Content) -> Self {
        let latency = Duration::ZERO;
        Self {
            addr,
            content,
            page: 1000,
            latency,
            threads: 0,
            faults: None,
            allow: None,
            knee: None,
            jitter: Duration::ZERO,
            seed: 0,
            sign_key: None,
            clock_offset: None,
            redirect: None,
            checksums: false,
            coding: None,
            stats: false,
        }
    }
}

impl Options {
    /// Whether an answer may be any different from that of a plain server, or is counted.
    fn rehearses(&self) -> bool {
        let limits = self.allow.is_some() || self.knee.is_some() || !self.jitter.is_zero();
        let front = self.sign_key.is_some()
            || self.clock_offset.is_some()
            || self.redirect.is_some()
            || self.checksums
            || self.coding.is_some();
        self.stats || self.faults.is_some() || limits || front
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |value: String, what: &str| Err(Error::usage(value, what));
        if self.page == 0 || self.page > MAX_PAGE {
            return wrong(self.page.to_string(), "a page holds 1 to 1000000 names");
        }
        if self.threads > MAX_THREADS {
            return wrong(self.threads.to_string(), "a server has at most 1024 threads");
        }
        if self.latency > MAX_LATENCY || self.jitter > MAX_LATENCY {
            return wrong("latency".to_owned(), "an answer takes a day at most");
        }
        if let Some(knee) = self.knee
            && self.latency.is_zero()
            && self.jitter.is_zero()
        {
            let error =
                Error::usage(format!("knee {knee}"), "an answer that takes no time has none");
            return Err(error.hint("say with --latency how long the server works on a request"));
        }
        match self.content {
            Content::Synthetic(corpus) if corpus.count > Corpus::MAX_COUNT => {
                wrong(corpus.count.to_string(), "a corpus holds at most 10^12")
            }
            _ => Ok(()),
        }
    }
}

/// What a server serves.
#[derive(Debug, Clone)]
pub enum Content {
    /// Objects that are computed.
    Synthetic(Corpus),
    /// The regular files of a directory and those below it, without its `.windrow`.
    Directory(PathBuf),
}

/// What a server has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests answered, refused ones included.
    pub requests: u64,
    /// Bytes written to sockets, heads included.
    pub bytes: u64,
    /// Connections accepted.
    pub connections: u64,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
    /// Dropping it tells the accepting thread to stop.
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Binds the address and starts the threads.
    ///
    /// # Errors
    /// When the address cannot be bound, the directory cannot be opened, or an option is out of
    /// its bounds.
    pub fn start(options: Options) -> Result<Self, Error> {
        options.check()?;
        let rehearses = options.rehearses();
        let Options { addr, content, page, latency, threads, faults, allow, knee, .. } = options;
        let site = Arc::new(match content {
            Content::Synthetic(corpus) => Site::Synthetic(Synthetic::new(corpus, page)),
            Content::Directory(path) => Site::Directory(Directory::open(&path, page)?),
        });
        let (listener, addr) = listen(addr).map_err(|why| {
            Error::environment(addr.to_string(), "cannot listen")
                .why(why)
                .hint("choose another port with --addr, 0 for any free one")
        })?;
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let (stop, stopped) = oneshot::channel();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..threads).map(|_| mpsc::unbounded_channel()).unzip();
        let mut accepting = Some(Accepting { listener, threads: senders, stop: stopped });
        let counters: Vec<_> = (0..threads).map(|_| Arc::new(Counters::default())).collect();
        let rehearsal = rehearses.then(|| {
            let faults = faults.unwrap_or_else(Faults::none);
            let gate = Gate::new(allow.as_ref(), knee, latency, options.jitter, options.seed);
            let clock = options
                .clock_offset
                .or(options.sign_key.is_some().then_some(ClockOffset::default()));
            let front = Front {
                key: options.sign_key,
                clock,
                redirect: options.redirect,
                checksums: options.checksums,
                coding: options.coding,
                ..Front::open(site.clone())
            };
            let rehearsal = Rehearsal::new(front, faults, counters.clone());
            Arc::new(rehearsal.behind(gate, allow))
        });
        let mut server = Self { addr, counters, threads: Vec::new(), stop: Some(stop) };
        for (index, streams) in receivers.into_iter().enumerate() {
            let counters = server.counters[index].clone();
            let site = match &rehearsal {
                Some(rehearsal) => Arc::new(Site::Rehearsed(Stage::new(rehearsal.clone(), index))),
                None => site.clone(),
            };
            let accepting = accepting.take();
            let (report, started) = std_mpsc::channel();
            let failed = |why| Error::environment("server", "cannot start a thread").why(why);
            let thread = std::thread::Builder::new()
                .name(format!("serve-{index}"))
                .spawn(move || match worker::runtime() {
                    Ok(runtime) => {
                        let _ = report.send(Ok(()));
                        let worker = Worker::new(site, latency, counters);
                        worker::run(&runtime, worker, streams, accepting);
                    }
                    Err(why) => {
                        let _ = report.send(Err(why));
                    }
                })
                .map_err(failed)?;
            server.threads.push(thread);
            started.recv().unwrap_or_else(|why| Err(std::io::Error::other(why))).map_err(failed)?;
        }
        Ok(server)
    }

    /// The address it listens on, with the port it got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has done so far. A batch of requests counts when it is answered.
    pub fn stats(&self) -> Stats {
        self.counters.iter().fold(Stats::default(), |sum, counters| Stats {
            requests: sum.requests + counters.requests.load(Ordering::Relaxed),
            bytes: sum.bytes + counters.bytes.load(Ordering::Relaxed),
            connections: sum.connections + counters.connections.load(Ordering::Relaxed),
        })
    }

    /// Closes the listener and all connections, and waits for the threads.
    pub fn stop(self) {
        drop(self);
    }

    /// Serves until the process ends.
    pub fn join(mut self) {
        self.wait();
    }

    fn wait(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        self.wait();
    }
}

fn listen(addr: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr)?;
    // The standard library's backlog is too short for clients that open thousands at once;
    // listening again replaces it.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}
