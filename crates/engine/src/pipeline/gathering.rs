//! How many requests all cores have under way, where that is left to windrow: what the cores tell,
//! and what they learn.

use crate::report::Report;
use crate::schedule::{Crowd, Tick};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by all cores: each tells what it saw once in a tick, the first one draws the conclusion.
#[derive(Debug)]
pub(super) struct Gathering {
    cores: Vec<Told>,
    limit: AtomicUsize,
    crowd: Mutex<State>,
}

#[derive(Debug, Default)]
struct Told {
    /// Least latency since the last conclusion, ns; 0 for none.
    least: AtomicU64,
    /// The limit held something back.
    full: AtomicBool,
}

#[derive(Debug)]
struct State {
    crowd: Crowd,
    /// Sums at the last conclusion.
    completed: u64,
    latency: u64,
    overloads: u64,
}

impl Gathering {
    /// Begins with `start` requests, and never leaves `min..=max`.
    pub(super) fn new(cores: usize, start: usize, min: usize, max: usize) -> Self {
        let crowd = Crowd::new(Instant::now(), start, min, max);
        Self {
            cores: (0..cores).map(|_| Told::default()).collect(),
            limit: AtomicUsize::new(crowd.limit()),
            crowd: Mutex::new(State { crowd, completed: 0, latency: 0, overloads: 0 }),
        }
    }

    /// What a core saw since it last told.
    pub(super) fn tell(&self, core: usize, least: Option<Duration>, full: bool) {
        let told = &self.cores[core];
        if let Some(least) = least {
            let nanos = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX).max(1);
            let known = told.least.load(Ordering::Relaxed);
            if known == 0 || nanos < known {
                told.least.store(nanos, Ordering::Relaxed);
            }
        }
        if full {
            told.full.store(true, Ordering::Relaxed);
        }
    }

    /// Draws the conclusion.
    pub(super) fn tick(&self, now: Instant, report: &Report) {
        let mut state = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut completed, mut latency, mut overloads) = (0, 0_u64, 0);
        for core in &report.cores {
            completed += core.stored.get();
            latency = latency.wrapping_add(core.latency.get());
            overloads += core.overloads.get();
        }
        let least = self.cores.iter().map(|told| told.least.swap(0, Ordering::Relaxed));
        let least = least.filter(|&least| least > 0).min();
        let full = self
            .cores
            .iter()
            .fold(false, |full, told| full | told.full.swap(false, Ordering::Relaxed));
        let tick = Tick {
            completed: completed.saturating_sub(state.completed),
            latency_sum: Duration::from_nanos(latency.wrapping_sub(state.latency)),
            latency_min: least.map(Duration::from_nanos),
            failures: overloads - state.overloads,
            full,
        };
        (state.completed, state.latency, state.overloads) = (completed, latency, overloads);
        state.crowd.tick(now, tick);
        let limit = state.crowd.limit();
        self.limit.store(limit, Ordering::Relaxed);
        report.concurrency.store(limit as u64, Ordering::Relaxed);
    }

    /// How many requests a core may have under way: at least one.
    pub(super) fn share(&self, core: usize) -> usize {
        let limit = self.limit.load(Ordering::Relaxed);
        let cores = self.cores.len();
        (limit / cores + usize::from(core < limit % cores)).max(1)
    }
}
