//! A core: one thread with one single-threaded runtime; and what a process may use of its machine.

mod control;
pub mod machine;

pub use control::{Control, Stop};

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a core looks at deadlines, waiting retries and the wish to stop.
pub const TICK: Duration = Duration::from_millis(25);

thread_local! {
    /// How long this core sleeps before it looks whether something has come.
    static LULL: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// How often it had nothing to do since that was last asked.
    static RESTS: Cell<u32> = const { Cell::new(0) };
}

/// From now on, whenever the calling core has nothing to do, it sleeps for so long before it looks
/// at its sockets: what has come meanwhile costs one wake-up, and not one each.
pub fn set_lull(lull: Duration) {
    LULL.set(lull);
}

/// How often the calling core had nothing to do since this was last asked.
pub fn take_rests() -> u32 {
    RESTS.take()
}

fn rest() {
    RESTS.set(RESTS.get().saturating_add(1));
    let lull = LULL.get();
    if !lull.is_zero() {
        thread::sleep(lull);
    }
}

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
            .on_thread_park(rest)
            .build_local(tokio::runtime::LocalOptions::default())?;
        Ok(runtime.block_on(main()))
    })
}
