//! What the machine gives this process.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::time::Duration;

/// Cores that this process may run on.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the limit of open files to what the system allows, and says what it is then.
pub fn raise_file_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = getrlimit(Resource::Nofile);
        }
    }
    limit.current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// What the process used so far, as the operating system counts it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time, user and system.
    pub cpu: Duration,
    /// Largest resident set, in bytes.
    pub max_rss: u64,
}

/// Reads [`Usage`] from `/proc`. Zero where there is no such thing.
pub fn usage() -> Usage {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let max_rss = read("/proc/self/status")
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .unwrap_or(0)
        * 1024;
    Usage { cpu: cpu_time(), max_rss }
}

/// CPU time of all threads, ended ones included, to the nanosecond.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
