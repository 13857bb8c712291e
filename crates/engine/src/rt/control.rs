//! The one thing that all cores share while they work: whether to go on.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use windrow_model::{Error, Exit};

/// Why a run stops before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// A rule of the user's: `--on-error stop`, `--max-failures`.
    Rule(String),
    /// It cannot go on.
    Error(Error),
}

impl Stop {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::Terminated => Exit::Terminated,
            Self::Rule(_) => Exit::Stopped,
            Self::Error(error) => error.exit(),
        }
    }

    /// The word for it in reports.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::Rule(_) => "stopped",
            Self::Error(_) => "error",
        }
    }
}

/// Stops a run. The first reason counts.
#[derive(Debug, Default)]
pub struct Control {
    stopping: AtomicU8,
    why: Mutex<Option<Stop>>,
}

impl Control {
    /// Has all cores finish what runs, and begin nothing.
    pub fn stop(&self, why: Stop) {
        self.lock().get_or_insert(why);
        self.stopping.store(1, Ordering::Release);
    }

    /// Whether a rule of the user's stops it.
    pub fn by_rule(&self) -> bool {
        self.stopping() && matches!(*self.lock(), Some(Stop::Rule(_)))
    }

    /// Whether a signal stops it.
    pub fn by_signal(&self) -> bool {
        self.stopping() && matches!(*self.lock(), Some(Stop::Interrupted | Stop::Terminated))
    }

    /// Whether the run is to stop.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire) != 0
    }

    /// Why, if it is.
    pub fn why(&self) -> Option<Stop> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stop>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
