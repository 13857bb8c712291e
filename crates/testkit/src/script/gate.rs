//! Something that happens once, and that others wait for.

use crate::wait;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Closed at first; opened once, for everybody who waits and whoever comes later.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is open, or until [`wait::LIMIT`] is over.
    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is helped by a server that hangs for good: the test's own assertion will tell.
        let _ = self.0.1.wait_timeout_while(open, wait::LIMIT, |open| !*open);
    }
}
