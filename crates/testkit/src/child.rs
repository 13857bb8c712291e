//! Child processes: what they say, collected, and an end for each of them.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait;

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

impl Process {
    /// Starts a command; its output is collected.
    ///
    /// # Errors
    /// The system's, such as that there is no such program.
    pub fn spawn(command: &mut Command) -> std::io::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = Pipe::collect(child.stdout.take());
        let stderr = Pipe::collect(child.stderr.take());
        Ok(Self { child, stdout, stderr })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits for its end and the end of its output; `None` when it is not there within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = wait::within(limit, || self.ended())?;
        self.stdout.finish();
        self.stderr.finish();
        Some(status)
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has been waited for.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a child of ours takes signals");
    }

    /// Waits until a line of stdout is there; `None` when it ends without one.
    pub fn first_line(&mut self) -> Option<String> {
        wait::until_some("the first line of a server", wait::LIMIT, || {
            let ended = self.ended().is_some();
            match self.stdout().split_once('\n') {
                Some((line, _)) => Some(Some(line.to_owned())),
                None if ended => Some(None),
                None => None,
            }
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Output of a process, read by a thread so that the process never waits for a reader.
#[derive(Debug)]
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Pipe {
    fn collect<R: Read + Send + 'static>(pipe: Option<R>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = pipe.map(|mut pipe| {
            let bytes = Arc::clone(&bytes);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count) = pipe.read(&mut buffer)
                    && count > 0
                {
                    let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                    bytes.extend_from_slice(&buffer[..count]);
                }
            })
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            // It only reads and appends.
            let _ = reader.join();
        }
    }
}
