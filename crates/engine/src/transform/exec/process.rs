//! A child process with three pipes, watched by one thread without blocking on any of them.

use super::super::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use windrow_model::limits::TRANSFORM_STDERR_BYTES;
use windrow_model::{Failure, FailureClass};

/// Bytes that are read in one call.
const READ_BYTES: usize = 64 << 10;

/// How often is looked where the kernel has no file descriptors for processes (before 5.3).
const LOOK: Duration = Duration::from_millis(5);

/// How long one that has nothing more to do may take to end.
const LAST: Duration = Duration::from_millis(500);

/// A child in a process group of its own. Dropping it kills the group and leaves no zombie.
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    /// Readable when the child ended.
    end: Option<OwnedFd>,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    /// The first bytes of its standard error.
    heard: Vec<u8>,
    reaped: bool,
}

/// What a command left.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    heard: Vec<u8>,
}

/// What a process can do now.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) input: bool,
    pub(super) output: bool,
    pub(super) ended: bool,
}

/// What reading gave.
pub(super) enum Read {
    Some,
    /// Nothing for now.
    Later,
    End,
}

impl Process {
    pub(super) fn start(mut command: Command) -> std::io::Result<Self> {
        Self::try_start(&mut command)
    }

    pub(super) fn try_start(command: &mut Command) -> std::io::Result<Self> {
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().map(OwnedFd::from);
        let output = child.stdout.take().map(OwnedFd::from);
        let errors = child.stderr.take().map(OwnedFd::from);
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let end = group.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let process =
            Self { child, group, end, input, output, errors, heard: Vec::new(), reaped: false };
        for fd in [&process.input, &process.output, &process.errors].into_iter().flatten() {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(process)
    }

    /// Gives it the input and takes its output until it ends. What it started and left in its group
    /// ends with it; output counts that was there by then.
    pub(super) fn run(
        mut self,
        mut input: &[u8],
        max_output: u64,
        deadline: Instant,
    ) -> Result<Ended, Failed> {
        let mut output = Vec::new();
        if input.is_empty() {
            self.input = None;
        }
        loop {
            let ready = self.wait(!input.is_empty(), deadline)?;
            if ready.input {
                let taken = self.write(input);
                input = taken.map_or(&[], |taken| &input[taken..]);
                if input.is_empty() {
                    self.input = None;
                }
            }
            while (ready.output || ready.ended) && self.output.is_some() {
                if let Read::Later = self.read(&mut output, usize::MAX) {
                    break;
                }
                if output.len() as u64 > max_output {
                    return Err(too_large());
                }
                if !ready.ended {
                    break;
                }
            }
            if ready.ended {
                self.listen();
                let status = self
                    .finish()
                    .map_err(|error| Failed::new("the command's end is not known").why(error))?;
                return Ok(Ended { status, output, heard: std::mem::take(&mut self.heard) });
            }
        }
    }

    /// Waits until something can be done.
    pub(super) fn wait(&mut self, writing: bool, deadline: Instant) -> Result<Ready, Failed> {
        let mut ready = Ready::default();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failed::new("the command took too long"));
            }
            let left = if self.end.is_some() { left } else { left.min(LOOK) };
            let mut heard = false;
            {
                let input = self.input.as_ref().filter(|_| writing);
                let parts = [
                    (input, PollFlags::OUT),
                    (self.output.as_ref(), PollFlags::IN),
                    (self.errors.as_ref(), PollFlags::IN),
                    (self.end.as_ref(), PollFlags::IN),
                ];
                let mut set: Vec<PollFd<'_>> = Vec::with_capacity(4);
                let mut which = [None; 4];
                for (place, (fd, flags)) in parts.into_iter().enumerate() {
                    if let Some(fd) = fd {
                        which[place] = Some(set.len());
                        set.push(PollFd::from_borrowed_fd(fd.as_fd(), flags));
                    }
                }
                let time = Timespec::try_from(left).ok();
                match poll(&mut set, time.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => {
                        let error = std::io::Error::from(error);
                        return Err(Failed::new("the command cannot be watched").why(error));
                    }
                }
                let news = |place: usize| {
                    which[place].is_some_and(|at: usize| !set[at].revents().is_empty())
                };
                (ready.input, ready.output, heard, ready.ended) =
                    (news(0), news(1), news(2) || heard, news(3));
            }
            if heard {
                self.listen();
            }
            if self.end.is_none() {
                ready.ended = self.is_over();
            }
            if ready.input || ready.output || ready.ended {
                return Ok(ready);
            }
        }
    }

    /// Writes what goes in at once; `None` where it does not read any more.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let input = self.input.as_ref()?;
        match retry_on_intr(|| write(input, bytes)) {
            Ok(taken) => Some(taken),
            Err(Errno::AGAIN) => Some(0),
            Err(_) => {
                self.input = None;
                None
            }
        }
    }

    /// Reads what is there, `most` bytes in one call at most, and appends it.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Read {
        let Some(output) = &self.output else { return Read::End };
        let from = into.len();
        let room = (into.capacity() - from).max(READ_BYTES).min(most);
        into.resize(from + room, 0);
        let got = retry_on_intr(|| read(output, &mut into[from..]));
        into.truncate(from + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) | Err(_) if got != Err(Errno::AGAIN) => {
                self.output = None;
                Read::End
            }
            Ok(_) => Read::Some,
            Err(_) => Read::Later,
        }
    }

    /// Takes what it said on its standard error; keeps the beginning.
    fn listen(&mut self) {
        let mut piece = [0; 4096];
        while let Some(errors) = &self.errors {
            match retry_on_intr(|| read(errors, &mut piece)) {
                Err(Errno::AGAIN) => break,
                Ok(bytes @ 1..) => {
                    let room = TRANSFORM_STDERR_BYTES - self.heard.len();
                    self.heard.extend_from_slice(&piece[..bytes.min(room)]);
                    // One that talks without end would hold us here.
                    if bytes < piece.len() {
                        break;
                    }
                }
                _ => self.errors = None,
            }
        }
    }

    /// Forgets what it said until now.
    pub(super) fn hush(&mut self) {
        self.heard.clear();
    }

    /// Whether it ended; it is not reaped by asking.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(pid) = self.group else { return true };
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(pid), how), Ok(None))
    }

    /// Closes its standard input and lets it end by itself, for a moment. What it writes has no reader.
    pub(super) fn let_end(&mut self) {
        self.input = None;
        let (last, mut rest) = (Instant::now() + LAST, Vec::new());
        while !self.is_over() && self.wait(false, last).is_ok() {
            let _ = self.read(&mut rest, READ_BYTES);
            rest.clear();
        }
    }

    /// Ends what is left of the group, and reaps. The number of a group is not given to another one
    /// before its leader is reaped, so that this kills no stranger.
    fn finish(&mut self) -> std::io::Result<ExitStatus> {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.reaped = true;
        self.child.wait()
    }

    /// Ends it, and says how it ended and what it said, and whether it ended without a fault. Its
    /// outputs close a moment before it has ended.
    pub(super) fn close(mut self) -> (bool, String) {
        self.let_end();
        self.listen();
        match self.finish() {
            Ok(status) => (status.success(), said(status, &self.heard)),
            Err(error) => (false, error.to_string()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.finish();
        }
    }
}

impl Ended {
    /// How it ended, and its first line.
    pub(super) fn said(&self) -> String {
        said(self.status, &self.heard)
    }
}

fn said(status: ExitStatus, heard: &[u8]) -> String {
    let mut text = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "ended".to_owned(),
    };
    if let Some(line) = super::super::one_line(&String::from_utf8_lossy(heard)) {
        let _ = write!(text, ": {line}");
    }
    text
}

/// The failure of a result beyond the bound.
pub(super) fn too_large() -> Failed {
    let detail = "the result of the command is larger than --max-object-size";
    Failed::of(Failure::new(FailureClass::TooLarge, detail))
}
