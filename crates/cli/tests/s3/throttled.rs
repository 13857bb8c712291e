//! A server that bears so many requests a second and no more.

use crate::server::{Limit, Server};
use crate::support::{assert_same, stored};
use crate::{Job, objects};

/// All is stored in the end, and whatever was refused was refused for the rate.
fn all_is_stored(status: u16, per_second: f64) {
    let server = Server::start(Some(Limit { per_second, status }));
    let bodies = server.fill(150);
    let job = Job::new(bodies.keys().map(|key| server.url(key)).collect());
    let done = job.get().run().complete(150);
    assert_same(&stored(&done), &objects(&server, &bodies));
    let asked = server.asked();
    let refused = asked.iter().filter(|asked| asked.status == status).count();
    // A server that answers 503 is probed by objects that it had.
    let probes = usize::try_from(done.figure("probes")).expect("few");
    assert!((150 + refused..=150 + refused + probes).contains(&asked.len()), "{}", asked.len());
    assert!(refused > 0, "one is refused at least");
    job.keeps_secrets(&done);
}

#[test]
fn with_429_all_is_stored_in_the_end() {
    all_is_stored(429, 150.0);
}

#[test]
fn with_503_all_is_stored_in_the_end() {
    all_is_stored(503, 150.0);
}
