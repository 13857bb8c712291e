//! A `windrow get` that is watched from the server's side while it runs, and what it fetches.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::child::{Server, measure};
use super::windrow::Binaries;

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How long the statistics may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a run that was asked to stop may take.
const GRACE: Duration = Duration::from_secs(45);

/// `windrow serve --stats` with objects of 100 bytes and these options.
pub(crate) fn serve(binaries: &Binaries, objects: usize, args: &[&str]) -> Result<Server, String> {
    let mut serve = binaries.windrow();
    serve.args(["serve", "--addr", "127.0.0.1:0", "--size", "100", "--stats", "--synthetic"]);
    serve.arg(objects.to_string()).args(args);
    Server::printing_url(serve)
}

/// Writes the URLs of the first `objects` synthetic objects of the server at `base` to `path`.
pub(crate) fn list(
    binaries: &Binaries,
    base: &str,
    objects: usize,
    path: &Path,
) -> Result<(), String> {
    let file = File::create(path).map_err(|why| format!("list: {why}"))?;
    let mut print = binaries.windrow();
    print.args(["serve", "--print-urls", "--base", base, "--synthetic", &objects.to_string()]);
    print.stdout(file);
    crate::cmd::check(print)
}

/// What the server counted so far; `arrivals` also its histogram for each 10 ms.
///
/// Errors: no answer, or none that is JSON.
pub(crate) fn stats(url: &str, arrivals: bool) -> Result<Value, String> {
    let fail = |why: &dyn std::fmt::Display| format!("statistics of {url}: {why}");
    let host = url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(host).map_err(|why| fail(&why))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|why| fail(&why))?;
    let query = if arrivals { "?arrivals=1" } else { "" };
    let request =
        format!("GET /-/stats{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|why| fail(&why))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|why| fail(&why))?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| fail(&"no body"))?;
    serde_json::from_str(body).map_err(|why| fail(&why))
}

/// Answers to requests for objects so far: those that brought one, and those with 429 or 503.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answered {
    pub(crate) good: f64,
    pub(crate) refused: f64,
    pub(crate) connections: f64,
}

impl Answered {
    pub(crate) fn ask(url: &str) -> Result<Self, String> {
        let stats = stats(url, false)?;
        let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
        let refused = number("/statuses/429") + number("/statuses/503");
        let good = number("/objects") - refused;
        Ok(Self { good, refused, connections: number("/connections") })
    }
}

/// A child under way.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    destination: PathBuf,
}

impl Running {
    /// Starts `windrow get SOURCE --format null` and these options, on all cores.
    pub(crate) fn get(
        binaries: &Binaries,
        source: &Path,
        destination: &Path,
        args: &[&str],
    ) -> Result<Self, String> {
        let mut get = binaries.windrow();
        get.arg("get").arg(source).arg("-o").arg(destination).args(["--format", "null"]).args(args);
        get.args(["--progress", "none", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::null());
        get.stderr(Stdio::null());
        let child = get.spawn().map_err(|why| format!("windrow get: cannot start: {why}"))?;
        Ok(Self { child, destination: destination.to_owned() })
    }

    /// Waits for its end; its summary. It is killed behind `limit`.
    pub(crate) fn wait(mut self, limit: Duration) -> Result<Value, String> {
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > limit {
                self.child.kill().and_then(|()| self.child.wait()).ok();
                return Err(format!("windrow get: took longer than {} s", limit.as_secs()));
            }
            std::thread::sleep(POLL);
        }
        let text = std::fs::read_to_string(self.destination.join(".windrow/summary.json"));
        let text = text.map_err(|why| format!("summary.json: {why}"))?;
        serde_json::from_str(&text).map_err(|why| format!("summary.json: {why}"))
    }

    /// Asks it to stop, and waits for that.
    pub(crate) fn stop(self) -> Result<Value, String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).ok();
        }
        self.wait(GRACE)
    }
}

/// A number of a summary; 0 where there is none.
pub(crate) fn number(summary: &Value, field: &str) -> f64 {
    summary.get(field).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Runs a program to its end, anywhere: its CPU time and its time by the clock for each object, us.
pub(crate) fn per_object(
    command: Command,
    objects: usize,
    limit: Duration,
    scratch: &Path,
) -> Result<(f64, f64), String> {
    let usage = measure(command, None, limit, scratch)?;
    Ok((usage.cpu_us / objects as f64, usage.wall_seconds * 1e6 / objects as f64))
}
