//! The chain, its pool, and what the transforms do.

mod exec;
mod map;
mod pool;
mod spec;
mod steps;

use super::*;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use windrow_model::Error;

/// A pool with one client.
struct Rig {
    pool: Arc<Pool>,
    client: Client,
    woken: Receiver<()>,
}

impl Rig {
    fn new(chain: Chain, options: PoolOptions) -> Self {
        let pool = Pool::start(chain, options).unwrap();
        let (client, woken) = client(&pool);
        Self { pool, client, woken }
    }

    fn submit(&mut self, key: u64, object: Object) {
        self.client.submit(key, object).expect("there is room");
    }

    /// What is outstanding, by key.
    fn finish(&mut self) -> Result<Vec<Done>, Error> {
        let mut done = Vec::new();
        loop {
            self.client.take(&mut done)?;
            if self.client.outstanding() == 0 {
                done.sort_by_key(|one| one.key);
                return Ok(done);
            }
            self.woken.recv().unwrap();
        }
    }
}

fn client(pool: &Arc<Pool>) -> (Client, Receiver<()>) {
    let (wake, woken) = channel();
    let client = pool.client(move || {
        let _ = wake.send(());
    });
    (client, woken)
}

fn threads(threads: usize) -> PoolOptions {
    PoolOptions { threads, ..PoolOptions::default() }
}

fn parse(specs: &[&str]) -> Chain {
    let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
    Chain::parse(&specs).unwrap()
}

fn object(body: &[u8]) -> Object {
    Object { name: b"name".to_vec(), body: body.to_vec(), ..Object::default() }
}

/// One object through one chain, on this thread.
fn apply(specs: &[&str], object: Object) -> Result<Outcome, Failed> {
    parse(specs).apply(object, &mut Lane::default())
}

fn kept(result: Result<Outcome, Failed>) -> Object {
    match result {
        Ok(Outcome::Keep(object)) => object,
        other => panic!("not kept: {other:?}"),
    }
}

fn shown(failed: &Failed) -> String {
    let why = failed.why.as_deref().unwrap_or("-");
    format!("{} | {} | {why}", failed.failure.class.name(), failed.failure.detail)
}

const PATIENT: Duration = Duration::from_secs(120);
