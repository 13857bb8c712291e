//! `windrow extract`: objects become files.

use crate::Outcome;
use crate::args::Extract as Args;
use crate::format::{bytes, count, duration};
use crate::progress::say;
use crate::signals::Signals;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use windrow_engine::inspect::{Extracted, Glob, Reader, extract};
use windrow_engine::rt::Stop;
use windrow_model::{Error, Exit};

/// Between two lines of progress.
const PERIOD: Duration = Duration::from_secs(5);

/// What `--match` says.
pub(crate) fn pattern(text: &OsStr) -> Result<Glob, Error> {
    let what = || Error::usage("--match", "a `[` without its `]`").hint("`\\[` stands for a `[`");
    Glob::new(text.as_bytes()).ok_or_else(what)
}

pub(crate) fn run(args: &Args) -> Outcome {
    let glob = args.matching.as_deref().map(pattern).transpose()?;
    let reader = Reader::open(&args.dest)?;
    let signals = Signals::catch()
        .map_err(|why| Error::environment("signals", "cannot be caught").why(why))?;
    let began = Instant::now();
    let mut next = PERIOD;
    let mut seen = |done: &Extracted| {
        let elapsed = began.elapsed();
        if elapsed >= next && !args.quiet {
            next = elapsed + PERIOD;
            let objects = done.written + done.same;
            say(&format!("{} objects, {}", count(objects), bytes(done.bytes as f64)));
        }
        signals.caught().is_none()
    };
    let tell = &mut |what: &str| say(&format!("windrow: {what}"));
    let done = extract(&reader, &args.output, glob.as_ref(), args.overwrite, tell, &mut seen)?;
    if !args.quiet {
        tell_sum(&done, began.elapsed());
    }
    if done.kept > 0 {
        say("hint: --overwrite replaces files that are there");
    }
    Ok(match signals.caught() {
        Some(Stop::Terminated) => Exit::Terminated,
        Some(_) => Exit::Interrupted,
        None if done.kept + done.failed > 0 => Exit::Failed,
        None => Exit::Complete,
    })
}

fn tell_sum(done: &Extracted, elapsed: Duration) {
    let mut line = format!(
        "{} objects written, {}, in {}",
        count(done.written),
        bytes(done.bytes as f64),
        duration(elapsed)
    );
    for (number, what) in [
        (done.same, "were there already"),
        (done.kept, "not written: other files are there"),
        (done.failed, "failed"),
    ] {
        if number > 0 {
            line += &format!("; {} {what}", count(number));
        }
    }
    say(&line);
}
