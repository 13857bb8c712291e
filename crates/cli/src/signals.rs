//! SIGINT and SIGTERM: the first asks for a clean stop, the second leaves at once.

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level::pipe};
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use windrow_engine::rt::Stop;

pub(crate) struct Signals {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Catches the signals from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let signals = Self {
            interrupted: Arc::new(AtomicBool::new(false)),
            terminated: Arc::new(AtomicBool::new(false)),
        };
        // Whichever came first, the second of either ends the process.
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            for flag in [&signals.interrupted, &signals.terminated] {
                flag::register_conditional_shutdown(signal, code, Arc::clone(flag))?;
            }
        }
        // A file that may not grow any more is an error of its write, with words and a clean end.
        flag::register(SIGXFSZ, Arc::default())?;
        flag::register(SIGINT, Arc::clone(&signals.interrupted))?;
        flag::register(SIGTERM, Arc::clone(&signals.terminated))?;
        Ok(signals)
    }

    /// Something to poll for: readable as soon as [`Self::caught`] has something to say.
    pub(crate) fn wake(&self) -> io::Result<PipeReader> {
        let (reader, writer) = io::pipe()?;
        // Actions run in the order in which they were registered: the flags are set before.
        pipe::register(SIGINT, OwnedFd::from(writer.try_clone()?))?;
        pipe::register(SIGTERM, OwnedFd::from(writer))?;
        Ok(reader)
    }

    /// What was asked for, if anything.
    pub(crate) fn caught(&self) -> Option<Stop> {
        if self.terminated.load(Ordering::Relaxed) {
            Some(Stop::Terminated)
        } else if self.interrupted.load(Ordering::Relaxed) {
            Some(Stop::Interrupted)
        } else {
            None
        }
    }
}
