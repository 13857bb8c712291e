//! One blow at one system call of a run, and what becomes of the run after that.

use super::strace::{Census, Reach, under};
use super::{SYNCS, Verdict, judge, leftovers};
use crate::{Finished, Windrow};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use windrow_model::Corpus;

/// A line of windrow that is run again and again.
#[derive(Debug, Clone)]
pub struct Line {
    /// The program.
    pub program: PathBuf,
    /// What the source has.
    pub corpus: Corpus,
    /// The source.
    pub url: String,
    /// Options.
    pub args: Vec<String>,
}

impl Line {
    /// The call, into a destination.
    pub fn call(&self, dest: &Path) -> Windrow {
        let call = Windrow::new(&self.program).get(&self.url, dest);
        call.args(["--progress", "none"]).args(&self.args)
    }
}

/// What is at the destination when the struck process begins.
#[derive(Debug, Clone)]
pub enum Begin {
    /// Nothing.
    Empty,
    /// A copy of this, which the same line left.
    Resumed(PathBuf),
    /// The same, and the struck process is to forget it: `--fresh`.
    Fresh(PathBuf),
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "first",
            Self::Resumed(_) => "resumed",
            Self::Fresh(_) => "fresh",
        })
    }
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The process is killed before the call does anything.
    Kill,
    /// The call fails once.
    Error(&'static str),
    /// It fails, and all that follow too.
    ErrorsFrom(&'static str),
}

/// A call of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The kind of call.
    pub call: &'static str,
    /// Which of its kind, from 1.
    pub nth: u32,
    /// What happens there.
    pub blow: Blow,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.injection())
    }
}

impl Point {
    /// The same in strace's language.
    fn injection(&self) -> String {
        let Self { call, nth, blow } = self;
        match blow {
            Blow::Kill => format!("{call}:signal=KILL:when={nth}"),
            Blow::Error(error) => format!("{call}:error={error}:when={nth}"),
            Blow::ErrorsFrom(error) => format!("{call}:error={error}:when={nth}+"),
        }
    }
}

/// What came of a blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Where it hit.
    pub reach: Reach,
    /// How the struck process ended, if by itself.
    pub code: Option<i32>,
}

/// How long a process may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Line {
    /// Counts the calls of a run that nothing happens to.
    ///
    /// # Errors
    /// It could not be traced or did not succeed.
    pub fn census(&self, begin: &Begin, calls: &[&str], folder: &Path) -> Result<Census, String> {
        let dest = folder.join("out");
        let trace = folder.join("trace");
        prepare(begin, &dest);
        let wrapper = under(&trace, &calls.join(","), None);
        let done = self.first(begin, &dest).under("strace", &wrapper).start();
        let done = done.finish_within(PATIENCE).ok_or("the run without a blow hangs")?;
        if done.code != Some(0) {
            return Err(format!(
                "the run without a blow ends with {:?}: {}",
                done.code, done.stderr
            ));
        }
        let census = Census::of(&read(&trace)?);
        clear(&dest);
        Ok(census)
    }

    fn first(&self, begin: &Begin, dest: &Path) -> Windrow {
        match begin {
            Begin::Fresh(_) => self.call(dest).arg("--fresh"),
            _ => self.call(dest),
        }
    }
}

/// Strikes a run at a point, looks at what is there, runs the line again without a blow, and
/// looks again. `folder` is for this call alone.
///
/// # Errors
/// A promise that was not held, with the point.
pub fn strike(line: &Line, begin: &Begin, point: &Point, folder: &Path) -> Result<Outcome, String> {
    let what = |why: String| format!("{begin} {} {point}: {why}", line.args.join(" "));
    let (dest, trace) = (folder.join("out"), folder.join("trace"));
    prepare(begin, &dest);
    let wrapper = under(&trace, point.call, Some(&point.injection()));
    let running = line.first(begin, &dest).under("strace", &wrapper).start();
    let Some(struck) = running.finish_within(PATIENCE) else {
        kill_traced(&trace);
        return Err(what("the struck process hangs".into()));
    };
    let trace = read(&trace).map_err(what)?;
    let reach = match point.blow {
        Blow::Kill if struck.signal == Some(9) => Reach::Destination,
        Blow::Kill => Reach::Nowhere,
        _ => Reach::of(&trace, &dest),
    };
    let outcome = Outcome { reach, code: struck.code };
    if let Err(why) = behaved(&struck, point, reach) {
        let clean = reach == Reach::Elsewhere;
        if !clean {
            return Err(what(format!("{why}: {}", struck.stderr)));
        }
    }
    // A run that is forgotten leaves files that the new one replaces, and packs that go.
    let before = judge(&dest, &line.corpus);
    if !before.is_sound() && !matches!(begin, Begin::Fresh(_)) {
        return Err(what(format!("before it is run again: {before:?}")));
    }
    if matches!(point.blow, Blow::Error(_) | Blow::ErrorsFrom(_)) && struck.code == Some(4) {
        unfinished_only(&dest).map_err(&what)?;
    }
    let claimed = struck.summary.as_ref().filter(|_| struck.signal.is_none());
    let claimed =
        claimed.filter(|_| reach != Reach::Nowhere).and_then(|sums| sums["stored"].as_u64());
    let Some(again) = line.call(&dest).start().finish_within(PATIENCE) else {
        return Err(what("the line hangs when it is run again".into()));
    };
    if again.code != Some(0) {
        return Err(what(format!("run again it ends with {:?}: {}", again.code, again.stderr)));
    }
    // Where nothing was begun before it, this process is the first.
    let had = again.figure("stored_before");
    if let Some(claimed) = claimed
        && claimed > had
    {
        return Err(what(format!("{claimed} said to be stored, {had} found: {}", struck.stderr)));
    }
    let verdict = judge(&dest, &line.corpus);
    if !verdict.is_clean(&line.corpus) {
        let left = leftovers(&dest);
        return Err(what(format!("{verdict:?} {left:?}: {}", again.stderr)));
    }
    clear(&dest);
    Ok(outcome)
}

/// Whether the struck process ended as it should.
fn behaved(struck: &Finished, point: &Point, reach: Reach) -> Result<(), String> {
    if struck.stderr.contains("panicked") || struck.stderr.contains("bug of windrow") {
        return Err("a bug shows".into());
    }
    let expected: &[i32] = match (point.blow, reach) {
        (Blow::Kill, Reach::Destination) => return Ok(()),
        (_, Reach::Nowhere) => &[0],
        _ if SYNCS.contains(&point.call) => &[4],
        _ => &[0, 4],
    };
    match struck.code {
        Some(code) if expected.contains(&code) => Ok(()),
        code => Err(format!("ends with {code:?}, signal {:?}, not {expected:?}", struck.signal)),
    }
}

/// After an error there may be packs that are not finished, but no other unfinished files.
fn unfinished_only(dest: &Path) -> Result<(), String> {
    let left = leftovers(dest);
    let other: Vec<_> = left
        .iter()
        .filter(|name| !(name.starts_with("open/") && name.ends_with(".tar")))
        .filter(|name| *name != "forgotten.json")
        .collect();
    match other.is_empty() {
        true => Ok(()),
        false => Err(format!("left behind: {other:?}")),
    }
}

fn read(trace: &Path) -> Result<String, String> {
    let bytes = std::fs::read(trace).map_err(|why| format!("{}: {why}", trace.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ends the process that strace left when it was killed: the one that made the first call.
fn kill_traced(trace: &Path) {
    let pid = read(trace).ok().and_then(|text| text.split(' ').next()?.parse().ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn prepare(begin: &Begin, dest: &Path) {
    clear(dest);
    if let Begin::Resumed(from) | Begin::Fresh(from) = begin {
        copy(from, dest);
    }
}

fn clear(dest: &Path) {
    if dest.exists() {
        std::fs::remove_dir_all(dest).expect("a destination that can be removed");
    }
}

/// Copies a folder with all that is in it but an old summary.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder that can be made");
    for entry in std::fs::read_dir(from).expect("a folder that can be read") {
        let entry = entry.expect("an entry");
        if entry.file_name() == "summary.json" {
            continue;
        }
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("a file that can be copied")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { right, lost, doubled, torn, left } = self;
        write!(f, "right {right}, lost {lost}, doubled {doubled}, torn {torn}, left over {left}")
    }
}
