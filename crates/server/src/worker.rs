//! A thread of the server: its runtime, its buffers, its counters.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::conn;
use crate::respond::Site;
use crate::timer::Timer;

/// Bytes read from a socket at a time.
const READ_BYTES: usize = 256 << 10;

/// Output buffers a thread keeps for reuse, and the largest that it keeps.
const SPARE_BUFFERS: usize = 4;
const SPARE_BYTES: usize = 2 << 20;

/// How long accepting pauses when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What one thread has done so far. Only that thread writes, with plain stores, and each has a
/// cache line of its own: counting costs no more than an addition.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) connections: AtomicU64,
}

/// What the connections of one thread share.
pub(crate) struct Worker {
    pub(crate) site: Arc<Site>,
    pub(crate) latency: Duration,
    /// Wakes connections whose answers wait; without it the runtime does, less exactly.
    timer: OnceCell<Rc<Timer>>,
    /// Every connection reads into this one and leaves nothing in it.
    pub(crate) input: RefCell<Box<[u8]>>,
    spare: RefCell<Vec<Vec<u8>>>,
    counters: Arc<Counters>,
    requests: Cell<u64>,
    bytes: Cell<u64>,
    connections: Cell<u64>,
}

impl Worker {
    pub(crate) fn new(site: Arc<Site>, latency: Duration, counters: Arc<Counters>) -> Self {
        Self {
            site,
            latency,
            timer: OnceCell::new(),
            input: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            spare: RefCell::default(),
            counters,
            requests: Cell::new(0),
            bytes: Cell::new(0),
            connections: Cell::new(0),
        }
    }

    /// The thread's timer, begun when it is first needed.
    pub(crate) fn timer(&self) -> Option<&Timer> {
        if self.timer.get().is_none() {
            let timer = Rc::new(Timer::new().ok()?);
            let running = timer.clone();
            tokio::task::spawn_local(async move { running.run().await });
            let _ = self.timer.set(timer);
        }
        self.timer.get().map(Rc::as_ref)
    }

    /// An empty output buffer.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back that is not needed any more.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BYTES {
            buffer.clear();
            spare.push(buffer);
        }
    }

    pub(crate) fn count_requests(&self, more: u64) {
        count(&self.requests, more, &self.counters.requests);
    }

    pub(crate) fn count_bytes(&self, more: u64) {
        count(&self.bytes, more, &self.counters.bytes);
    }
}

fn count(own: &Cell<u64>, more: u64, published: &AtomicU64) {
    own.set(own.get() + more);
    published.store(own.get(), Ordering::Relaxed);
}

/// What the accepting thread has beside its share of the connections.
pub(crate) struct Accepting {
    pub(crate) listener: TcpListener,
    /// Where new connections go: to each thread in turn.
    pub(crate) threads: Vec<mpsc::UnboundedSender<std::net::TcpStream>>,
    /// Resolves, in whichever way, when the server stops.
    pub(crate) stop: oneshot::Receiver<()>,
}

/// A runtime for one thread.
///
/// # Errors
/// When the system gives no descriptors for it.
pub(crate) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Serves connections until their sender is gone, then drops those that are open.
pub(crate) fn run(
    runtime: &LocalRuntime,
    worker: Worker,
    mut streams: mpsc::UnboundedReceiver<std::net::TcpStream>,
    accepting: Option<Accepting>,
) {
    let worker = Rc::new(worker);
    runtime.block_on(async move {
        if let Some(accepting) = accepting {
            tokio::task::spawn_local(accept(accepting));
        }
        while let Some(stream) = streams.recv().await {
            count(&worker.connections, 1, &worker.counters.connections);
            // Without a descriptor left for polling it, the connection is dropped.
            if let Ok(stream) = TcpStream::from_std(stream) {
                tokio::task::spawn_local(conn::serve(stream, worker.clone()));
            }
        }
    });
}

/// Accepts until told to stop; dropping the senders then stops the threads.
async fn accept(accepting: Accepting) {
    let Accepting { listener, threads, stop } = accepting;
    let hand_out = async {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        for thread in threads.iter().cycle() {
            let stream = loop {
                match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                    Ok(stream) => break stream,
                    // A peer that left before it was accepted is no reason to wait, a lack of
                    // descriptors is: the connection stays in the queue.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            };
            // A thread that ended takes its share of the connections with it.
            let _ = thread.send(stream);
        }
    };
    tokio::select! {
        _ = stop => {}
        () = hand_out => {}
    }
}
