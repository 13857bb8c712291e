//! Connections against the library's server, and against one that sends frames by hand.

mod bodies;
mod book;
mod bounds;
mod cut;
mod late;
mod loss;
mod peer;
mod served;

use super::*;
use crate::wire::pace::Patience;
use crate::wire::watch::{Watch, Watchdog};
use book::{Book, Fate};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::DuplexStream;
use windrow_model::FailureClass;

const PATIENCE: Patience = Patience {
    silence: Duration::from_secs(30),
    total: None,
    min_speed: 1,
    window: Duration::from_secs(20),
};

fn options() -> H2Options {
    H2Options::new(Scheme::Http, PATIENCE)
}

/// Runs on one thread, tasks included.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(future)
}

type Shared = Rc<RefCell<Book>>;

/// Serves all that is in the book over one connection after the other. Gives how many.
async fn serve_all(
    book: &Shared,
    mut connect: impl FnMut(usize) -> DuplexStream,
    options: H2Options,
) -> usize {
    let watch = Watch::default();
    let mut connections = 0;
    let mut carried = None;
    while let Some(first) = match carried.take() {
        Some(ticket) => Some(ticket),
        None => Book::first(book),
    } {
        let stream = connect(connections);
        connections += 1;
        match drive(book, (0, ()), stream, Some(first), options, &watch).await {
            Ended::Carried(((), ticket)) => carried = Some(ticket),
            Ended::Finished | Ended::Closed => {}
        }
    }
    connections
}
