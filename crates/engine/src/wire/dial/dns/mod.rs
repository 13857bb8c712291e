//! Addresses of names: asked once for all cores, kept as long as the answer says.
//!
//! Name servers are what breaks first when a list has a million hosts, so each name is asked once
//! however many tasks want it (single flight), for as long as its answer holds, and only so many at
//! once. The lookups run on a thread of their own with a runtime of its own; cores wait on a
//! channel. Where there is nothing to configure a resolver with, that thread asks the system's.

mod lookup;
mod table;

use lookup::Lookup;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use table::{Need, Table};
use tokio::sync::{Semaphore, mpsc, oneshot};
use windrow_model::limits::{DNS_FAILURE_TTL, DNS_HOSTS};
use windrow_model::{Failure, FailureClass};

/// What the DNS says of a host.
#[derive(Debug)]
pub(in crate::wire) struct Answer {
    /// The addresses, at least one and at most [`windrow_model::limits::HOST_ADDRESSES`] of them:
    /// those of the families by turns.
    pub(in crate::wire) addresses: Result<Vec<IpAddr>, Unfound>,
    /// How long it holds.
    pub(in crate::wire) until: Instant,
}

/// Why there are no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) struct Unfound {
    pub(in crate::wire) failure: Failure,
    /// Nothing was asked, since this process has no descriptor left.
    pub(in crate::wire) starved: bool,
}

impl Unfound {
    fn new(detail: &'static str) -> Self {
        Self { failure: Failure::new(FailureClass::Dns, detail), starved: false }
    }
}

/// Who waits for an answer.
type Waiter = oneshot::Sender<Arc<Answer>>;

/// Looks names up, for all cores.
#[derive(Debug)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
    nameservers: Option<Vec<SocketAddr>>,
    lookups: usize,
    /// Begun with the first name: a run that only has addresses needs no thread.
    thread: Mutex<Option<mpsc::UnboundedSender<Arc<str>>>>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table<Waiter>>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table<Waiter>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, host: &Arc<str>, answer: Answer) {
        let answer = Arc::new(answer);
        let waiters = self.table().answer(host, Arc::clone(&answer));
        for waiter in waiters {
            // Whoever is gone has no use for it.
            let _ = waiter.send(Arc::clone(&answer));
        }
    }
}

impl Resolver {
    /// A resolver that asks `nameservers`, or those of the system, about `lookups` hosts at once,
    /// at most.
    pub(super) fn new(nameservers: Option<Vec<SocketAddr>>, lookups: usize) -> Self {
        let table = Mutex::new(Table::new(DNS_HOSTS));
        let shared = Arc::new(Shared { table });
        Self { shared, nameservers, lookups: lookups.max(1), thread: Mutex::new(None) }
    }

    /// The answer for `host`, at the time `now`.
    ///
    /// # Cancel
    /// Whoever goes away leaves nothing behind; the lookup goes on for the others.
    pub(super) async fn find(&self, host: &str, now: Instant) -> Arc<Answer> {
        let failed = |detail| {
            let until = now + DNS_FAILURE_TTL;
            Arc::new(Answer { addresses: Err(Unfound::new(detail)), until })
        };
        let (send, answer) = oneshot::channel();
        let need = self.shared.table().need(host, now, || send);
        match need {
            Need::Known(answer) => return answer,
            Need::Full => return failed("too many hosts are being looked up"),
            Need::Wait => {}
            Need::Ask(host) => {
                if self.ask(Arc::clone(&host)).is_none() {
                    let unfound = Unfound::new("there is no thread to look it up with");
                    let until = now + DNS_FAILURE_TTL;
                    self.shared.answer(&host, Answer { addresses: Err(unfound), until });
                }
            }
        }
        answer.await.unwrap_or_else(|_| failed("the lookup was given up"))
    }

    /// Hands `host` to the thread; `None` if there is none.
    fn ask(&self, host: Arc<str>) -> Option<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts = match &*thread {
            Some(hosts) => hosts,
            None => thread.insert(self.start()?),
        };
        hosts.send(host).ok()
    }

    /// Starts the thread. It ends with the resolver.
    fn start(&self) -> Option<mpsc::UnboundedSender<Arc<str>>> {
        // As many wait in it as the table holds, at most.
        let (send, hosts) = mpsc::unbounded_channel();
        let shared = Arc::clone(&self.shared);
        let (nameservers, lookups) = (self.nameservers.clone(), self.lookups);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For the system's resolver, which blocks.
            .max_blocking_threads(lookups)
            .thread_name("dns-system")
            .build()
            .ok()?;
        let main = move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, serve(shared, hosts, nameservers, lookups));
            drop(local);
            // A call of the system's resolver may take half a minute, and nobody waits for it.
            runtime.shutdown_timeout(Duration::ZERO);
        };
        std::thread::Builder::new().name("dns".into()).spawn(main).ok()?;
        Some(send)
    }
}

/// Looks up what comes, so many at once.
async fn serve(
    shared: Arc<Shared>,
    mut hosts: mpsc::UnboundedReceiver<Arc<str>>,
    nameservers: Option<Vec<SocketAddr>>,
    lookups: usize,
) {
    let lookup = Lookup::new(nameservers);
    let slots = Arc::new(Semaphore::new(lookups));
    while let Some(host) = hosts.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        if shared.table().abandon(&host, |waiter| waiter.is_closed()) {
            continue;
        }
        let (shared, lookup) = (Arc::clone(&shared), lookup.clone());
        tokio::task::spawn_local(async move {
            let answer = lookup.find(&host).await;
            drop(slot);
            shared.answer(&host, answer);
        });
    }
}

#[cfg(test)]
pub(in crate::wire) mod server;
#[cfg(test)]
mod tests;
