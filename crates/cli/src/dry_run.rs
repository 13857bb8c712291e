//! `windrow get --dry-run`: what would be done, without doing it.

use crate::Outcome;
use crate::args::Get;
use crate::format::{bytes, count, duration};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use windrow_engine::Plan;
use windrow_engine::pipeline::{Survey, preview};
use windrow_model::{Error, Exit};

/// Servers that are named one by one.
const NAMED: usize = 10;

pub(crate) fn run(args: &Get, plan: Plan) -> Outcome {
    let (rate, dest, format) = (plan.rate, plan.dest.display().to_string(), plan.format.name());
    let preview = preview(plan)?;
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<12} {value}");
    };
    line("source", &args.source.join(" "));
    if let Some(survey) = &preview.survey {
        describe(survey, rate, &mut line);
    }
    line("destination", &format!("{dest}, as {format}"));
    line("work", &preview.setting);
    let rate = match rate {
        Some(rate) => format!("{rate} requests/s, bursts of {}", args.rate_burst),
        None => "as the servers bear".to_owned(),
    };
    line("rate", &rate);
    let files = match preview.files {
        usize::MAX => "no limit".to_owned(),
        files => count(files as u64),
    };
    line("open files", &files);
    line("memory", &format!("{} for bodies and buffers", bytes(args.packs.memory as f64)));
    let out = std::io::stdout().lock().write_all(text.as_bytes());
    match out {
        Ok(()) => Ok(Exit::Complete),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Complete),
        Err(error) => Err(Error::environment("standard output", "cannot write").why(error)),
    }
}

fn describe(survey: &Survey, rate: Option<f64>, line: &mut impl FnMut(&str, &str)) {
    let Survey { objects, malformed, servers, elsewhere, .. } = survey;
    line("objects", &count(*objects));
    if *malformed > 0 {
        let lines = if *malformed == 1 { "line" } else { "lines" };
        line("malformed", &format!("{} {lines}, each a failed object", count(*malformed)));
    }
    if survey.bytes > 0 {
        line("bytes", &bytes(survey.bytes as f64));
    }
    let more = if *elsewhere > 0 { " and more" } else { "" };
    line("hosts", &format!("{}{more}", count(servers.len() as u64)));
    let mut ranked: Vec<_> = servers.iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (origin, number) in ranked.iter().take(NAMED) {
        line("", &format!("{:>15}  {origin}", count(**number)));
    }
    if survey.expiring > 0 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        let outlook = survey.forecast.look(0, rate.unwrap_or(0.0), now, 0);
        line("expiry", &outlook.to_string());
    }
    if let Some(rate) = rate {
        let least = Duration::try_from_secs_f64(*objects as f64 / rate).unwrap_or(Duration::MAX);
        line("time", &format!("{} at least, by the rate", duration(least)));
    }
}
