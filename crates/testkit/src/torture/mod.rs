//! Tools for breaking a run from outside: kills at a moment or at a system call, errors of the
//! system at a system call, and a judge who compares what is there with what should be.
//!
//! The short forms are tests of the command, the long ones `cargo xtask torture`.

mod judge;
mod moments;
mod packs;
pub mod strace;
mod strike;
mod sweep;

pub use judge::{Verdict, judge, leftovers};
pub use moments::{Killed, Random, kill_at, length_of};
pub use strace::{Census, Reach, is_usable};
pub use strike::{Begin, Blow, Line, Outcome, Point, strike};
pub use sweep::{Swept, errors, kills, sample, sweep};

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls that change what is on the disk, and `close`: what a process may be killed at.
pub const CHANGING: [&str; 14] = [
    "write",
    "pwrite64",
    "openat",
    "linkat",
    "renameat2",
    "renameat",
    "unlinkat",
    "ftruncate",
    "fallocate",
    "fdatasync",
    "fsync",
    "syncfs",
    "mkdirat",
    "close",
];

/// What the system may say to each of them.
pub const ERRORS: [(&str, &[&str]); 11] = [
    ("openat", &["ENOSPC", "EIO", "EMFILE", "EDQUOT"]),
    ("write", &["ENOSPC", "EIO", "EDQUOT", "EINTR"]),
    ("pwrite64", &["ENOSPC", "EIO", "EDQUOT", "EINTR"]),
    ("fdatasync", &["EIO", "ENOSPC", "EDQUOT"]),
    ("fsync", &["EIO", "ENOSPC", "EDQUOT"]),
    ("syncfs", &["EIO", "ENOSPC", "EDQUOT"]),
    ("linkat", &["ENOSPC", "EIO", "EDQUOT"]),
    ("renameat", &["ENOSPC", "EIO", "EDQUOT"]),
    ("renameat2", &["ENOSPC", "EIO", "EDQUOT"]),
    ("ftruncate", &["ENOSPC", "EIO"]),
    ("mkdirat", &["ENOSPC", "EIO", "EDQUOT"]),
];

/// Calls of which one that fails must end the run.
pub const SYNCS: [&str; 3] = ["fdatasync", "fsync", "syncfs"];

/// Does `work` for every item, some at a time, and gives what came of them. Ends early
/// where too much goes wrong.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> Result<R, String> + Sync,
) -> (Vec<R>, Vec<String>) {
    /// More of them would say the same.
    const ENOUGH: usize = 20;
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Vec::new(), Vec::new()));
    let lock = || done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(item);
                    match result {
                        Ok(value) => lock().0.push(value),
                        Err(why) => lock().1.push(why),
                    }
                    if lock().1.len() >= ENOUGH {
                        return;
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
