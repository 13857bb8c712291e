//! `exec=CMD`, `exec-worker=CMD`: a command makes the body.
//!
//! `exec` starts the command for each object: the body on its standard input, the result from its standard
//! output. `exec-worker` starts it once for each thread and speaks the protocol of [`worker`] with it.
//! Each has a process group of its own, so that all of it can be killed when the time is over.
//!
//! A command of plain words is started directly; anything else is given to `sh -c`, which costs another
//! process. Names reach a command by its environment only, never as a part of what a shell reads.

mod process;
mod worker;

use super::chain::Trouble;
use super::spec::Spec;
use super::{Failed, Lane, Object, Outcome};
use process::{Ended, Process};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use windrow_model::limits::{TRANSFORM_TIMEOUT, TRANSFORM_WORKER_START, TRANSFORM_WORKER_TRIES};
use windrow_model::{Error, Failure, FailureClass};
pub(super) use worker::Worker;

/// The exit code that says that an object is not wanted, unless said otherwise.
const DROP_CODE: u8 = 10;

/// What a shell does itself, or what begins more than a simple command.
const SHELL_WORDS: &str = "! . : { } alias bg break builtin case cd command continue do done elif else \
    esac eval exec exit export false fi for getopts hash if jobs local read readonly return set shift \
    test then times trap true type ulimit umask unalias unset until wait while [";

/// What means something to a shell.
const SHELL_SIGNS: &str = "|&;<>()$`\\\"'*?[]#~=%{}!^\n\r";

/// One command.
pub(super) struct Exec {
    text: String,
    how: How,
    /// It stays, and gets objects one after the other.
    stays: bool,
    drop_code: u8,
    /// The media type of what it makes.
    media: Option<String>,
    /// Workers in a row that never came up.
    never: AtomicU32,
}

enum How {
    /// A program, and its words.
    Words(PathBuf, Vec<String>),
    Shell,
}

impl Exec {
    pub(super) fn read(spec: &Spec<'_>, stays: bool) -> Result<Self, Error> {
        let text = spec.argument.unwrap_or_default().trim();
        if text.is_empty() || text.contains('\0') {
            return Err(spec
                .bad("names no command")
                .hint(format!("write {}=COMMAND; docs/TRANSFORMS.md has examples", spec.name)));
        }
        let (mut drop_code, mut media) = (DROP_CODE, None);
        for &(option, value) in &spec.options {
            match option {
                "drop" if !stays => {
                    drop_code = value.parse().ok().filter(|code| *code > 0).ok_or_else(|| {
                        spec.bad("has a bad exit code").hint("write exec(drop=CODE)=..., 1 to 255")
                    })?;
                }
                "type" if value.contains('/') => media = Some(value.to_owned()),
                _ => {
                    return Err(spec
                        .bad(format!("has no option `{option}`"))
                        .hint("there are drop=CODE (of exec) and type=MEDIA/TYPE"));
                }
            }
        }
        let how = how(text).map_err(|program| {
            Error::environment(format!("--transform {}", spec.name), "no such command")
                .why(format!("`{program}`"))
                .hint("it is looked for in the folders of PATH")
        })?;
        let text = text.to_owned();
        Ok(Self { text, how, stays, drop_code, media, never: AtomicU32::new(0) })
    }

    /// Starts a worker, where there is none.
    pub(super) fn warm(&self, worker: &mut Option<Worker>) -> Result<(), Error> {
        while self.stays && worker.is_none() {
            match self.worker() {
                Ok(up) => {
                    self.never.store(0, Ordering::Relaxed);
                    *worker = Some(up);
                }
                Err(why) => {
                    let tries = self.never.fetch_add(1, Ordering::Relaxed) + 1;
                    if tries >= TRANSFORM_WORKER_TRIES {
                        return Err(Error::environment(
                            "--transform exec-worker",
                            "the worker never came up",
                        )
                        .why(why)
                        .hint("it has to write its greeting first: see docs/TRANSFORMS.md"));
                    }
                }
            }
        }
        Ok(())
    }

    fn worker(&self) -> Result<Worker, String> {
        let mut command = self.command();
        command.env("WINDROW_WORKER", "1");
        let process = Process::start(command).map_err(|error| error.to_string())?;
        Worker::greet(process, Instant::now() + TRANSFORM_WORKER_START)
    }

    pub(super) fn apply(
        &self,
        mut object: Object,
        place: usize,
        lane: &mut Lane,
    ) -> Result<Outcome, Trouble> {
        let deadline = lane.deadline.unwrap_or_else(|| Instant::now() + TRANSFORM_TIMEOUT);
        let outcome = if self.stays {
            let seat = &mut lane.workers[place];
            // One that ended while it had nothing to do failed no object.
            if seat.as_mut().is_some_and(Worker::is_gone) {
                *seat = None;
            }
            loop {
                self.warm(seat).map_err(Trouble::Run)?;
                let Some(worker) = seat.as_mut() else {
                    return Err(Failed::new("there is no worker").into());
                };
                let broken = match worker.exchange(object, lane.max_output, deadline) {
                    Ok(outcome) => break outcome,
                    Err(worker::Broken::Object(failed)) => return Err(failed.into()),
                    Err(broken) => broken,
                };
                // Killed here, before its place is given to another.
                *seat = None;
                match broken {
                    worker::Broken::Object(failed) | worker::Broken::Worker(failed) => {
                        return Err(failed.into());
                    }
                    // Once at most: the next one has answered nothing yet.
                    worker::Broken::Left(left) => object = left,
                }
            }
        } else {
            let mut command = self.command();
            command.env("WINDROW_NAME", OsStr::from_bytes(&object.name));
            command.env("WINDROW_ORDINAL", object.ordinal.to_string());
            match &object.content_type {
                Some(media) => command.env("WINDROW_TYPE", media),
                None => command.env_remove("WINDROW_TYPE"),
            };
            let process = start(command)?;
            let ended = process.run(&object.body, lane.max_output, deadline)?;
            match self.outcome(ended)? {
                Some(body) => {
                    object.body = body;
                    Outcome::Keep(object)
                }
                None => Outcome::Drop,
            }
        };
        Ok(match outcome {
            Outcome::Keep(mut object) => {
                if self.media.is_some() {
                    object.content_type.clone_from(&self.media);
                }
                Outcome::Keep(object)
            }
            Outcome::Drop => Outcome::Drop,
        })
    }

    /// The body, or that it is not wanted.
    fn outcome(&self, ended: Ended) -> Result<Option<Vec<u8>>, Failed> {
        match ended.status.code() {
            Some(0) => Ok(Some(ended.output)),
            Some(code) if code == i32::from(self.drop_code) => Ok(None),
            _ => Err(Failed::new("the command failed").why(ended.said())),
        }
    }

    fn command(&self) -> Command {
        match &self.how {
            How::Words(program, words) => {
                let mut command = Command::new(program);
                command.arg0(&words[0]).args(&words[1..]);
                command
            }
            How::Shell => {
                let mut command = Command::new("/bin/sh");
                command.arg("-c").arg(&self.text);
                command
            }
        }
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        if self.drop_code != DROP_CODE {
            options.push(format!("drop={}", self.drop_code));
        }
        if let Some(media) = &self.media {
            options.push(format!("type={media}"));
        }
        f.write_str(if self.stays { "exec-worker" } else { "exec" })?;
        if !options.is_empty() {
            write!(f, "({})", options.join(","))?;
        }
        write!(f, "={}", self.text)
    }
}

/// How a command is to be started; a program that is nowhere is an error.
fn how(text: &str) -> Result<How, String> {
    if text.contains(|sign: char| SHELL_SIGNS.contains(sign)) {
        return Ok(How::Shell);
    }
    let words: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    let Some(first) = words.first() else { return Err(String::new()) };
    if SHELL_WORDS.split_ascii_whitespace().any(|word| word == first) {
        return Ok(How::Shell);
    }
    match find(first) {
        Some(path) => Ok(How::Words(path, words)),
        None => Err(first.clone()),
    }
}

/// The program of a word, as a shell finds it.
fn find(word: &str) -> Option<PathBuf> {
    use rustix::fs::{Access, access};
    let runs = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if word.contains('/') {
        return Some(PathBuf::from(word)).filter(runs);
    }
    let fallback = || OsString::from_vec(b"/usr/local/bin:/usr/bin:/bin".to_vec());
    let folders = std::env::var_os("PATH").unwrap_or_else(fallback);
    std::env::split_paths(&folders).map(|folder| folder.join(word)).find(runs)
}

/// Starts a command. What would be the same for every object ends the run.
fn start(mut command: Command) -> Result<Process, Trouble> {
    const TRIES: u32 = 4;
    let mut tries = 0;
    loop {
        let error = match Process::try_start(&mut command) {
            Ok(process) => return Ok(process),
            Err(error) => error,
        };
        tries += 1;
        match error.kind() {
            // A zero byte, or a name that is too long for an environment.
            ErrorKind::InvalidInput | ErrorKind::ArgumentListTooLong => {
                let failure =
                    Failure::new(FailureClass::Transform, "the name cannot be given to a command");
                return Err(Failed::of(failure).why(error).into());
            }
            // Processes or memory are short, perhaps for a moment.
            ErrorKind::WouldBlock | ErrorKind::OutOfMemory if tries < TRIES => {
                std::thread::sleep(Duration::from_millis(50 << tries));
            }
            _ => {
                let error =
                    Error::environment("--transform exec", "cannot start the command").why(error);
                return Err(Trouble::Run(error));
            }
        }
    }
}
