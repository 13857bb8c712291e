//! `windrow shard`: lines to files by the hash of a key.

use crate::Outcome;
use crate::args::{Key as KeyArg, LineFormat, Shard};
use crate::format::{bytes, count, duration};
use crate::progress::say;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use windrow_engine::shard::{self, Input, Key, Plan, Summary, Watch};
use windrow_model::Error;

pub(crate) fn run(args: &Shard) -> Outcome {
    let plan = plan(args)?;
    let signals = crate::get::catch()?;
    let wake = signals
        .wake()
        .map_err(|error| Error::environment("signals", "cannot wait for them").why(error))?;
    let watch = Watch {
        wake: Some(wake.as_fd()),
        stopped: &|| signals.caught(),
        note: &mut |what| {
            if !args.quiet {
                say(what);
            }
        },
    };
    let ended = shard::run(&plan, watch)?;
    let summary = &ended.summary;
    if let Some(file) = &args.summary {
        let json = serde_json::to_vec_pretty(summary).unwrap_or_default();
        std::fs::write(file, json).map_err(|error| {
            Error::environment(file.display().to_string(), "cannot write the summary").why(error)
        })?;
    }
    if let Some(error) = &ended.error {
        crate::complain(error);
    }
    if !args.quiet {
        tell(summary);
    }
    // What went wrong is told to those who asked for silence, too.
    let file = |name| plan.folder.join(name).display().to_string();
    if summary.unmatched > 0 {
        let reasons: Vec<_> = [
            (summary.no_key, "without the key"),
            (summary.not_json, "no JSON"),
            (summary.too_long, "too long"),
        ]
        .into_iter()
        .filter(|(lines, _)| *lines > 0)
        .map(|(lines, why)| format!("{} {why}", count(lines)))
        .collect();
        let lines = count(summary.unmatched);
        say(&format!(
            "no shard for {lines} lines: {}; in {}",
            reasons.join(", "),
            file("unmatched.txt")
        ));
    }
    if summary.unfinished {
        say(&format!(
            "stopped within a line: what was read of it is in {}",
            file("unfinished.txt")
        ));
    }
    if summary.unwritten > 0 {
        say(&format!("lost: {} lines were read and not written", count(summary.unwritten)));
    }
    Ok(ended.exit)
}

fn tell(summary: &Summary) {
    say(&format!(
        "{} lines, {}, into {} files in {}: {}/s, {:.3} us of CPU each",
        count(summary.lines),
        bytes(summary.bytes as f64),
        count(summary.files),
        duration(Duration::from_secs_f64(summary.seconds)),
        count(summary.lines_per_second as u64),
        summary.cpu_us_per_line,
    ));
}

fn plan(args: &Shard) -> Result<Plan, Error> {
    if args.delimiter.is_some() && !matches!(args.key, KeyArg::Column(_)) {
        return Err(Error::usage("--delimiter", "there are no columns without --key column:N"));
    }
    if args.cores == Some(0) {
        return Err(Error::usage("--cores 0", "must be at least 1"));
    }
    let mut plan = Plan::new(args.shards, &args.output);
    if !args.files.is_empty() {
        plan.inputs = args.files.iter().map(|path| input(path)).collect();
    }
    plan.key = match &args.key {
        KeyArg::Line => Key::Line,
        KeyArg::Json(field) => Key::Field(field.clone()),
        KeyArg::Column(number) => {
            Key::Column { number: *number, delimiter: args.delimiter.unwrap_or(b'\t') }
        }
    };
    plan.jsonl = args.format == LineFormat::Jsonl;
    plan.flush_interval = args.flush_interval;
    plan.memory = usize::try_from(args.memory).unwrap_or(usize::MAX);
    plan.cores = args.cores.unwrap_or(0);
    Ok(plan)
}

fn input(path: &Path) -> Input {
    match path.as_os_str() == "-" {
        true => Input::Stdin,
        false => Input::File(path.to_owned()),
    }
}
