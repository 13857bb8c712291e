//! Children of a measurement: pinned to a core, bounded in time, their CPU time counted by the
//! kernel.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cmd::shown;

/// The core that servers run on.
pub(crate) const SERVER_CORE: Option<usize> = Some(0);

/// The core that clients run on.
pub(crate) const CLIENT_CORE: Option<usize> = Some(1);

/// How often a running child is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How long a server may take to answer, or to stop.
const SERVER_PATIENCE: Duration = Duration::from_secs(15);

/// What one child cost.
#[derive(Debug)]
pub(crate) struct Usage {
    /// User and system time of the child and of what it waited for, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) wall_seconds: f64,
    /// The highest resident size seen, in bytes; looked at every 10 ms.
    pub(crate) peak_rss_bytes: u64,
    pub(crate) stdout: String,
}

/// Runs `command` to its end on `core` (anywhere if `None`), for at most `limit`.
///
/// No other child may end meanwhile: the kernel adds up the time of all that were waited for.
/// `scratch` is a folder for what the child prints.
///
/// Errors: it could not start, took too long (it is killed), or ended with anything but 0; the
/// last lines of its stderr are in the text.
pub(crate) fn measure(
    command: Command,
    core: Option<usize>,
    limit: Duration,
    scratch: &Path,
) -> Result<Usage, String> {
    measure_fed(command, Stdio::null(), core, limit, scratch)
}

/// The same, with something to read.
pub(crate) fn measure_fed(
    mut command: Command,
    stdin: Stdio,
    core: Option<usize>,
    limit: Duration,
    scratch: &Path,
) -> Result<Usage, String> {
    let what = short(&command);
    let (stdout, stderr) = (scratch.join("stdout"), scratch.join("stderr"));
    let file = |path| File::create(path).map_err(|why| format!("bench folder: {why}"));
    command.stdin(stdin).stdout(file(&stdout)?).stderr(file(&stderr)?).process_group(0);
    let before = children_cpu_us()?;
    let start = Instant::now();
    let mut child = spawn(&mut command, core)?;
    let mut peak_rss_bytes = 0;
    let status = loop {
        peak_rss_bytes = peak_rss_bytes.max(high_water(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().map_err(|why| format!("{what}: {why}"))? {
            break status;
        }
        if start.elapsed() > limit {
            // All that it started, too: they may hold the other end of a pipe.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                kill_process_group(group, Signal::KILL).ok();
            }
            child.kill().and_then(|()| child.wait()).ok();
            return Err(format!("{what}: took longer than {} s, killed", limit.as_secs()));
        }
        std::thread::sleep(POLL);
    };
    let wall_seconds = start.elapsed().as_secs_f64();
    let cpu_us = children_cpu_us()? - before;
    if !status.success() {
        let said = std::fs::read_to_string(&stderr).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        let last = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n  ");
        return Err(format!("{what}: {status}: {last}"));
    }
    let stdout = std::fs::read_to_string(&stdout).map_err(|why| format!("{what}: {why}"))?;
    Ok(Usage { cpu_us, wall_seconds, peak_rss_bytes, stdout })
}

/// Program and first argument: enough to know it by, and no path of this machine.
fn short(command: &Command) -> String {
    shown(command).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Starts a child pinned to `core`: it inherits the affinity of the thread that starts it.
fn spawn(command: &mut Command, core: Option<usize>) -> Result<Child, String> {
    let what = short(command);
    let all = sched_getaffinity(None).map_err(|why| format!("affinity: {why}"))?;
    if let Some(core) = core {
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one).map_err(|why| format!("pin to core {core}: {why}"))?;
    }
    let child = command.spawn().map_err(|why| format!("{what}: cannot start: {why}"));
    sched_setaffinity(None, &all).map_err(|why| format!("affinity: {why}"))?;
    child
}

/// CPU time of every child waited for so far, in microseconds.
fn children_cpu_us() -> Result<f64, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|why| format!("getrusage: {why}"))?;
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

/// `VmHWM` of a living process, in bytes.
fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
}

impl Server {
    /// Starts a server that is known to listen on `port`, and waits until it does.
    pub(crate) fn on_port(mut command: Command, port: u16) -> Result<Self, String> {
        let what = short(&command);
        command.stdin(Stdio::null());
        let child = spawn(&mut command, SERVER_CORE)?;
        let mut server = Self { child, url: format!("http://127.0.0.1:{port}") };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("{what}: {status}"));
            }
            if start.elapsed() > SERVER_PATIENCE {
                return Err(format!("{what}: does not answer"));
            }
            std::thread::sleep(POLL);
        }
        Ok(server)
    }

    /// Starts a server that prints a line with its URL on stdout when it is ready.
    pub(crate) fn printing_url(mut command: Command) -> Result<Self, String> {
        let what = short(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = spawn(&mut command, SERVER_CORE)?;
        let stdout = child.stdout.take();
        let mut server = Self { child, url: String::new() };
        let (found, url) = mpsc::channel();
        // The thread reads to the end, so that the server never writes into a closed pipe.
        std::thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                let Ok(line) = line else { break };
                if let Some(at) = line.find("http://") {
                    let url = line.get(at..).unwrap_or_default().split_whitespace().next();
                    found.send(url.unwrap_or_default().trim_end_matches('/').to_owned()).ok();
                }
            }
        });
        server.url = url
            .recv_timeout(SERVER_PATIENCE)
            .map_err(|_| format!("{what}: printed no URL on stdout"))?;
        Ok(server)
    }

    /// CPU time so far of the server and its children, all threads, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        let own = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(own).chain(workers).map(process_cpu_us).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).ok();
        }
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > SERVER_PATIENCE {
                self.child.kill().and_then(|()| self.child.wait()).ok();
                break;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Time on a core of all threads of a living process, in microseconds; the kernel counts it in
/// nanoseconds.
fn process_cpu_us(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ns = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    ns.sum::<f64>() / 1e3
}
