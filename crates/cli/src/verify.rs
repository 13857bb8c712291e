//! `windrow verify`: the output against its record.

use crate::Outcome;
use crate::args::Verify as Args;
use crate::format::{bytes, count, duration};
use crate::progress::say;
use crate::shown::{self, Data, escaped};
use serde_json::{Map, Value, json};
use std::time::Duration;
use windrow_engine::inspect::{self, Finding, Settings, Verdict};
use windrow_model::{Corpus, Error, Exit};

pub(crate) fn run(args: &Args) -> Outcome {
    if args.cores == Some(0) {
        return Err(Error::usage("--cores 0", "must be at least 1"));
    }
    if args.synthetic.is_some_and(|count| count > Corpus::MAX_COUNT) {
        let most = Corpus::MAX_COUNT;
        return Err(Error::usage("--synthetic", format!("must be at most {most}")));
    }
    let (size, seed) = (args.size, args.seed);
    let corpus = args.synthetic.map(|count| Corpus { count, size, seed });
    let settings = Settings { cores: args.cores.unwrap_or(0), corpus, ..Settings::default() };
    let mut out = Data::new();
    let verdict = inspect::verify(&args.dest, settings, &mut |finding| {
        let line = if args.json { object(finding) } else { line(finding) };
        out.write(line.as_bytes())
    })?;
    if args.json {
        let mut summary = json!(verdict);
        summary["complete"] = verdict.is_complete().into();
        out.write(format!("{}\n", json!({ "summary": summary })).as_bytes());
    }
    out.end()?;
    tell(&verdict);
    Ok(if verdict.is_right() { Exit::Complete } else { Exit::Failed })
}

/// `KIND<TAB>NAME<TAB>WHERE: DETAIL`.
fn line(finding: &Finding) -> String {
    let Finding { kind, name, file, offset, detail, .. } = finding;
    let place = match (file.as_slice(), offset) {
        (b"", _) => String::new(),
        (file, None) => format!("{}: ", escaped(file)),
        (file, Some(offset)) => format!("{} byte {offset}: ", escaped(file)),
    };
    format!("{}\t{}\t{place}{detail}\n", kind.name(), escaped(name))
}

fn object(finding: &Finding) -> String {
    let mut map = Map::new();
    map.insert("kind".into(), finding.kind.name().into());
    shown::put(&mut map, "name", &finding.name);
    if !finding.file.is_empty() {
        shown::put(&mut map, "file", &finding.file);
    }
    if let Some(offset) = finding.offset {
        map.insert("offset".into(), offset.into());
    }
    map.insert("objects".into(), finding.objects.into());
    map.insert("detail".into(), finding.detail.clone().into());
    format!("{}\n", Value::Object(map))
}

fn tell(verdict: &Verdict) {
    let seconds = Duration::from_secs_f64(verdict.seconds);
    let rate = (verdict.right as f64 / verdict.seconds.max(1e-9)) as u64;
    say(&format!(
        "{} of {} objects are right, {}, read in {}: {}/s",
        count(verdict.right),
        count(verdict.stored),
        bytes(verdict.bytes as f64),
        duration(seconds),
        count(rate),
    ));
    if !verdict.is_right() {
        let wrong = verdict.wrong.iter();
        let wrong: Vec<_> =
            wrong.map(|(kind, number)| format!("{} {kind}", count(*number))).collect();
        say(&format!("wrong: {}", wrong.join(", ")));
    }
    if !verdict.is_complete() {
        let more = if verdict.listing_complete { "" } else { ", and the listing has more" };
        say(&format!(
            "the run is not complete: {} failed, {} pending{more}; the same command again goes on",
            count(verdict.failed),
            count(verdict.pending)
        ));
        if verdict.wrong.contains_key("extra") {
            say("hint: a process that was killed may leave files that it had no time to record; \
                 they are fetched again and replaced");
        }
    }
}
