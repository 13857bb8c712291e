//! A core: one thread with one single-threaded runtime; and what a process may use of its machine.

mod control;
pub mod machine;

pub use control::{Control, Stop};

use std::future::Future;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a core looks at deadlines, waiting retries and the wish to stop.
pub const TICK: Duration = Duration::from_millis(25);

/// Starts a core: a thread that runs `main` to its end. What `main` spawns stays on the thread.
///
/// # Errors
/// The system has no thread, or no descriptors for the runtime.
pub fn start_core<F, T>(
    index: usize,
    main: impl FnOnce() -> F + Send + 'static,
) -> io::Result<JoinHandle<io::Result<T>>>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    thread::Builder::new().name(format!("core-{index}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Sockets are looked at when every ready connection had its turn.
            .event_interval(256)
            .build_local(tokio::runtime::LocalOptions::default())?;
        Ok(runtime.block_on(main()))
    })
}
