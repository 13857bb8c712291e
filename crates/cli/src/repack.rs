//! `windrow repack`: another form for what is there.

use crate::Outcome;
use crate::args::Repack as Args;
use crate::extract::pattern;
use crate::format::{bytes, count, duration};
use crate::progress::say;
use crate::signals::Signals;
use std::time::{Duration, Instant};
use windrow_engine::Format;
use windrow_engine::inspect::Reader;
use windrow_engine::pack::WriterOptions;
use windrow_engine::pipeline::{Repacked, repack};
use windrow_engine::rt::Stop;
use windrow_model::{Error, Exit};

/// Between two lines of progress.
const PERIOD: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &Args) -> Outcome {
    let glob = args.matching.as_deref().map(pattern).transpose()?;
    let reader = Reader::open(&args.dest)?;
    let options = options(args)?;
    let signals = Signals::catch()
        .map_err(|why| Error::environment("signals", "cannot be caught").why(why))?;
    let began = Instant::now();
    let mut next = PERIOD;
    let mut seen = |done: &Repacked| {
        let elapsed = began.elapsed();
        if elapsed >= next && !args.quiet {
            next = elapsed + PERIOD;
            let size = bytes(done.written.bytes as f64);
            say(&format!("{} objects, {size}", count(done.written.stored)));
        }
        signals.caught().is_none()
    };
    let tell = &mut |what: &str| say(&format!("windrow: {what}"));
    let done = repack(&reader, &args.output, options, glob.as_ref(), tell, &mut seen)?;
    if !args.quiet {
        tell_sum(&done, began.elapsed());
    }
    Ok(match signals.caught() {
        Some(Stop::Terminated) if !done.complete => Exit::Terminated,
        Some(_) if !done.complete => Exit::Interrupted,
        _ if done.written.failed + done.unread > 0 => Exit::Failed,
        _ => Exit::Complete,
    })
}

fn options(args: &Args) -> Result<WriterOptions, Error> {
    let same = |a: &std::path::Path, b: &std::path::Path| {
        a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
    };
    if same(&args.dest, &args.output) {
        return Err(Error::usage("--output", "is the directory that is read"));
    }
    let source = std::path::absolute(&args.dest).unwrap_or_else(|_| args.dest.clone());
    let mut options = WriterOptions::new(Format::from(args.format), source.display().to_string());
    options.division = args.packs.division();
    options.size = args.packs.size().unwrap_or(options.size);
    options.pack = args.packs.options();
    options.memory = args.packs.memory;
    options.fresh = args.fresh;
    if let Some(pattern) = &args.matching {
        let pattern = pattern.to_string_lossy().into_owned();
        options.details.insert("match".to_owned(), pattern);
    }
    Ok(options)
}

fn tell_sum(done: &Repacked, elapsed: Duration) {
    let mut line = format!(
        "{} objects stored, {}, in {}",
        count(done.written.stored),
        bytes(done.written.bytes as f64),
        duration(elapsed)
    );
    for (number, what) in [
        (done.before, "of an earlier run"),
        (done.written.failed, "failed"),
        (done.unread, "could not be read"),
    ] {
        if number > 0 {
            line += &format!("; {} {what}", count(number));
        }
    }
    say(&line);
    if !done.complete {
        say("the same command goes on with it");
    }
}
