//! The command `windrow`, run as its users run it.

use crate::child::Process;
use crate::{Tree, wait};
use rustix::process::Signal;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// A call of the command, to be completed and started.
#[derive(Debug)]
pub struct Windrow {
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dest: Option<PathBuf>,
}

impl Windrow {
    /// A call of the program at this path, which the test crate knows as
    /// `env!("CARGO_BIN_EXE_windrow")`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), envs: Vec::new(), dest: None }
    }

    /// `get SOURCE -o DEST`, without progress.
    #[must_use]
    pub fn get(self, source: &str, dest: &Path) -> Self {
        self.args(["get", source, "-o"]).arg(dest).dest(dest)
    }

    /// Appends one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The same call, carried out by another program that takes it as its last arguments.
    #[must_use]
    pub fn under(mut self, program: &str, args: &[OsString]) -> Self {
        let own = std::mem::replace(&mut self.program, program.into());
        self.args.splice(0..0, args.iter().cloned().chain([own.into_os_string()]));
        self
    }

    /// Where the summary will be.
    #[must_use]
    pub fn dest(mut self, dest: &Path) -> Self {
        self.dest = Some(dest.to_owned());
        self
    }

    /// The call as the system takes it. Settings of whoever runs the tests are left out.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy().to_ascii_uppercase();
            if ["WINDROW_", "AWS_"].iter().any(|own| shown.starts_with(own))
                || shown.ends_with("_PROXY")
            {
                command.env_remove(name);
            }
        }
        command.args(&self.args).envs(self.envs.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(self) -> Running {
        let process = Process::spawn(&mut self.command()).expect("windrow can be started");
        Running { process, dest: self.dest }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end within [`wait::LIMIT`].
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Runs `windrow serve` with these arguments on a port of its own.
    ///
    /// # Panics
    /// When it does not print its address.
    pub fn serve<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Serve {
        let call = self.args(["serve", "--addr", "127.0.0.1:0", "--threads", "2"]).args(args);
        let mut process = Process::spawn(&mut call.command()).expect("windrow can be started");
        match process.first_line() {
            Some(url) => Serve { url, _process: process },
            None => panic!("windrow serve did not start: {}", process.stderr()),
        }
    }

    /// Runs `windrow serve --dir` of a folder.
    ///
    /// # Panics
    /// When it does not print its address.
    pub fn serve_dir(self, folder: &Path) -> Serve {
        self.serve([OsStr::new("--dir"), folder.as_os_str()])
    }
}

/// `windrow serve`, until it is dropped.
#[derive(Debug)]
pub struct Serve {
    /// Its address, as a source for `get`.
    pub url: String,
    _process: Process,
}

impl Serve {
    /// What it counted so far; `None` where it was started without `--stats` or `--faults`.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn stats(&self) -> Option<Value> {
        let address = self.url.strip_prefix("http://").expect("an address of http");
        let mut stream = TcpStream::connect(address).expect("a server that listens");
        let request =
            format!("GET /-/stats HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a server that reads");
        let answer = std::io::read_to_string(stream).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        head.starts_with("HTTP/1.1 200 ").then(|| serde_json::from_str(body).expect("JSON"))
    }
}

/// A call under way.
#[derive(Debug)]
pub struct Running {
    process: Process,
    dest: Option<PathBuf>,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it said on stderr so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until `condition` holds for what it said on stderr.
    ///
    /// # Panics
    /// When it ends before, or the time is over.
    pub fn until_stderr(&mut self, what: &str, condition: impl Fn(&str) -> bool) {
        wait::until(what, || {
            // Its output is complete then: what it said last must not be missed.
            let ended = self.process.wait(Duration::ZERO).is_some();
            let stderr = self.stderr();
            let holds = condition(&stderr);
            assert!(holds || !ended, "windrow ended before {what}: {stderr}");
            holds
        });
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`wait::LIMIT`].
    pub fn finish(mut self) -> Finished {
        let ended = self.process.wait(wait::LIMIT);
        self.finished(ended).unwrap_or_else(|running| {
            let said = running.stderr();
            panic!("windrow did not end within {:?} and was killed: {said}", wait::LIMIT)
        })
    }

    /// Waits for its end so long; then it is killed, and there is none.
    pub fn finish_within(mut self, limit: Duration) -> Option<Finished> {
        let ended = self.process.wait(limit);
        self.finished(ended).ok()
    }

    fn finished(self, ended: Option<ExitStatus>) -> Result<Finished, Self> {
        let Some(status) = ended else { return Err(self) };
        let summary = self.dest.as_ref().and_then(|dest| {
            let json = std::fs::read(dest.join(".windrow/summary.json")).ok()?;
            Some(serde_json::from_slice(&json).expect("summary.json is JSON"))
        });
        Ok(Finished {
            code: status.code(),
            signal: status.signal(),
            stdout: self.process.stdout(),
            stderr: self.process.stderr(),
            summary,
            dest: self.dest,
        })
    }
}

/// A call that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    /// `summary.json` of the destination, if it is there.
    pub summary: Option<Value>,
    /// The destination.
    pub dest: Option<PathBuf>,
}

impl Finished {
    /// Asserts the exit code; the message has what windrow said.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let Self { stderr, signal, .. } = &self;
        assert_eq!(self.code, Some(code), "exit code; signal {signal:?}, stderr:\n{stderr}");
        self
    }

    /// Asserts that stderr holds all these texts.
    ///
    /// # Panics
    /// When one is missing.
    #[track_caller]
    pub fn says<'t>(self, texts: impl IntoIterator<Item = &'t str>) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is missing:\n{}", self.stderr);
        }
        self
    }

    /// The summary.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn summary(&self) -> &Value {
        let Self { stderr, .. } = self;
        self.summary.as_ref().unwrap_or_else(|| panic!("no summary.json; stderr:\n{stderr}"))
    }

    /// A figure of the summary.
    ///
    /// # Panics
    /// When there is no such figure.
    #[track_caller]
    pub fn figure(&self, name: &str) -> u64 {
        let value = &self.summary()[name];
        value.as_u64().unwrap_or_else(|| panic!("`{name}` of the summary is {value}"))
    }

    /// How many objects failed with this class.
    #[track_caller]
    pub fn failed(&self, class: &str) -> u64 {
        self.summary()["failures"][class].as_u64().unwrap_or(0)
    }

    /// Asserts the sum that always holds: listed = stored + skipped + failed + pending, and that
    /// the classes of failures add up.
    ///
    /// # Panics
    /// When it does not hold.
    #[track_caller]
    pub fn sum_holds(self) -> Self {
        let sum: u64 =
            ["stored", "skipped", "failed", "pending"].iter().map(|name| self.figure(name)).sum();
        assert_eq!(self.figure("listed"), sum, "{:#}", self.summary());
        let classes = self.summary()["failures"].as_object().expect("failures by class");
        let classes: u64 = classes.values().filter_map(Value::as_u64).sum();
        assert_eq!(self.figure("failed"), classes, "{:#}", self.summary());
        self
    }

    /// Asserts figures of the summary.
    ///
    /// # Panics
    /// When one differs.
    #[track_caller]
    pub fn figures<'n>(self, figures: impl IntoIterator<Item = (&'n str, u64)>) -> Self {
        self.figures_are(figures);
        self
    }

    /// The same, where the call is looked at further.
    ///
    /// # Panics
    /// When one differs.
    #[track_caller]
    pub fn figures_are<'n>(&self, figures: impl IntoIterator<Item = (&'n str, u64)>) {
        for (name, value) in figures {
            assert_eq!(self.figure(name), value, "{name}: {:#}", self.summary());
        }
    }

    /// Asserts a whole success: exit 0, so many objects listed and stored, nothing else.
    ///
    /// # Panics
    /// When it was none.
    #[track_caller]
    pub fn complete(self, objects: u64) -> Self {
        let done = self.expect(0).sum_holds();
        assert_eq!(done.summary()["state"], "complete");
        assert_eq!(done.summary()["listing_complete"], true);
        done.figures([("listed", objects), ("stored", objects), ("failed", 0), ("pending", 0)])
    }

    /// The lines of `failures.jsonl`.
    ///
    /// # Panics
    /// When one is not JSON, or there is no such file.
    #[track_caller]
    pub fn failures(&self) -> Vec<Value> {
        let dest = self.dest.as_ref().expect("a call with a destination");
        let text = std::fs::read_to_string(dest.join(".windrow/failures.jsonl"));
        let text = text.expect("failures.jsonl is there");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The files of the destination, windrow's own left out.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn tree(&self) -> Tree {
        let dest = self.dest.as_ref().expect("a call with a destination");
        Tree::read(dest).without(".windrow")
    }
}
