//! `strace` as a tool that kills a process at a system call, or has the call fail.
//!
//! It counts calls for each thread apart: an injection at the n-th call happens in every thread
//! that comes so far, a kill in the first that does. So whoever tries every n up to the largest
//! count of any thread has tried every place where the calls of one kind can end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether strace is there and may trace; if not, why.
///
/// # Errors
/// What is in the way, for people.
pub fn is_usable() -> Result<(), String> {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"]);
    command.stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("strace: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(why) => Err(format!("strace: {why}; hint: apt-get install strace")),
    }
}

/// The beginning of a command line that runs the rest of it under strace, what happened going to
/// `trace`.
///
/// Without `--seccomp-bpf`, which would be a little faster: with it strace 6.1 kills at the first call
/// of a kind and at no other.
pub(super) fn under(trace: &Path, calls: &str, inject: Option<&str>) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["-f", "-qq", "-y", "-s", "0"].map(Into::into).into();
    args.extend(["-o".into(), trace.into(), "-e".into(), format!("trace={calls}").into()]);
    if let Some(inject) = inject {
        args.extend(["-e".into(), format!("inject={inject}").into()]);
    }
    args
}

/// How often a thread made each call, at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census(pub BTreeMap<String, u32>);

impl Census {
    /// Counts the calls in what strace wrote.
    pub(super) fn of(trace: &str) -> Self {
        let mut threads: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for (thread, call) in trace.lines().filter_map(call_of) {
            *threads.entry((thread, call)).or_default() += 1;
        }
        let mut most = BTreeMap::new();
        for ((_, call), count) in threads {
            let own: &mut u32 = most.entry(call.to_owned()).or_default();
            *own = count.max(*own);
        }
        Self(most)
    }

    /// Calls of all kinds.
    pub fn sum(&self) -> u32 {
        self.0.values().sum()
    }
}

/// Thread and call of a line where a call begins: `17 fsync(4</x>) = 0`.
fn call_of(line: &str) -> Option<(&str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, _) = rest.trim_start().split_once('(')?;
    let is_name = call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((thread, call))
}

/// Where an error was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The process never made so many calls.
    Nowhere,
    /// At something that is not below the destination: a library, a pipe, an eventfd.
    Elsewhere,
    /// At a file or directory of the destination.
    Destination,
}

impl Reach {
    /// Reads what strace wrote.
    pub(super) fn of(trace: &str, dest: &Path) -> Self {
        let dest = dest.to_string_lossy();
        let injected = trace.lines().filter(|line| line.ends_with("(INJECTED)"));
        // A call that another thread came between stands in two lines; the first has the path.
        let place = |line: &str| match line.contains("resumed>") {
            true => true,
            false => line.contains(&*dest),
        };
        injected
            .map(|line| if place(line) { Self::Destination } else { Self::Elsewhere })
            .max()
            .unwrap_or(Self::Nowhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_for_each_thread() {
        let trace = "7 openat(AT_FDCWD</>, \"\"..., O_RDONLY) = 3</x>\n\
                     7  write(3</x>, \"\"..., 5 <unfinished ...>\n\
                     8 write(4</y>, \"\"..., 5) = 5\n\
                     7 <... write resumed>) = 5\n\
                     7 write(3</x>, \"\"..., 5) = -1 EIO (Input/output error) (INJECTED)\n\
                     8 +++ exited with 0 +++\n";
        let census = Census::of(trace);
        let counts = [("openat".to_owned(), 1), ("write".to_owned(), 2)];
        assert_eq!(census, Census(counts.into()));
        assert_eq!(Reach::of(trace, Path::new("/x")), Reach::Destination);
        assert_eq!(Reach::of(trace, Path::new("/z")), Reach::Elsewhere);
        assert_eq!(Reach::of("", Path::new("/z")), Reach::Nowhere);
    }
}
