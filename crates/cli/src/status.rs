//! `windrow status`: how a run stands.

use crate::Outcome;
use crate::args::Status as Args;
use crate::format::{bytes, count, duration};
use crate::shown::{Data, escaped};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use windrow_engine::inspect::{self, Status};
use windrow_model::Exit;

pub(crate) fn run(args: &Args) -> Outcome {
    let mut out = Data::new();
    let status = match inspect::status(&args.dest) {
        Ok(status) => status,
        Err(error) => {
            if args.json && error.exit() == Exit::Environment {
                let line = json!({ "state": "damaged", "error": error.to_string() });
                out.write(format!("{line:#}\n").as_bytes());
                out.end()?;
            }
            return Err(error);
        }
    };
    let text = match args.json {
        true => {
            let mut value = json!(status);
            value["next"] = next(&status).into();
            format!("{value:#}\n")
        }
        false => text(&status),
    };
    out.write(text.as_bytes());
    out.end()?;
    Ok(Exit::Complete)
}

fn text(status: &Status) -> String {
    let mut lines = vec![
        ("source", escaped(status.source.as_bytes())),
        ("format", status.format.to_owned()),
        ("begun", begun(status)),
    ];
    let listed = match (status.listing_complete, status.listing_limited) {
        (true, false) => "the whole listing",
        (true, true) => "up to --limit",
        (false, _) => "so far, there is more",
    };
    lines.push(("listed", format!("{} on {} pages: {listed}", count(status.listed), status.pages)));
    lines.push(("stored", format!("{}, {}", count(status.stored), bytes(status.bytes as f64))));
    if status.skipped > 0 {
        lines.push(("skipped", count(status.skipped)));
    }
    if status.failed > 0 {
        let classes = status.failures.iter();
        let classes: Vec<_> = classes.map(|(class, n)| format!("{class} {}", count(*n))).collect();
        lines.push(("failed", format!("{}: {}", count(status.failed), classes.join(", "))));
    }
    lines.push(("pending", count(status.pending)));
    if let Some(packs) = &status.packs {
        let mut text = format!("{} finished", count(packs.finished));
        for (number, what) in
            [(packs.unnamed, "full and not named yet"), (packs.open, "open"), (packs.gone, "gone")]
        {
            if number > 0 {
                text += &format!(", {} {what}", count(number));
            }
        }
        lines.push(("packs", text));
    }
    lines.push((
        "ledger",
        format!(
            "{}, {:.2} bytes an object; manifest {}",
            bytes(status.ledger_bytes as f64),
            status.ledger_bytes_per_object,
            bytes(status.manifest_bytes as f64)
        ),
    ));
    if status.cut_bytes > 0 {
        let what = "at its end do not count, and are cut off when the run goes on";
        lines.push(("", format!("{} {what}", bytes(status.cut_bytes as f64))));
    }
    if status.unsynced && status.pid.is_none() {
        let what = "its last records were never synced: they count until this machine goes down";
        lines.push(("", what.to_owned()));
    }
    lines.push(("state", format!("{}: {}", status.state, next(status))));
    lines.iter().map(|(key, value)| format!("{key:<9}{value}\n")).collect()
}

fn begun(status: &Status) -> String {
    let processes = match status.processes {
        1 => "by one process".to_owned(),
        processes => format!("{} processes worked on it", count(processes)),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match status.began {
        None => "nothing is recorded yet".to_owned(),
        Some(began) => {
            let ago = match now.saturating_sub(began) {
                0 => "just now".to_owned(),
                seconds => format!("{} ago", duration(Duration::from_secs(seconds))),
            };
            format!("{} ({ago}), {processes}", utc(began))
        }
    }
}

/// What there is to do.
fn next(status: &Status) -> String {
    let failed = count(status.failed);
    match status.state {
        "running" => match status.pid {
            Some(pid) if pid > 0 => format!("process {pid} is at work"),
            _ => "a process is at work".to_owned(),
        },
        _ if status.format == "null" => "this format keeps nothing to go on with".to_owned(),
        "complete" => "nothing is left to do".to_owned(),
        "failed" => format!("the same command again tries the {failed} that failed once more"),
        _ => "the same command again goes on".to_owned(),
    }
}

/// `2026-01-31 23:59:59 UTC` (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (seconds, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (4_102_444_800, "2100-01-01 00:00:00 UTC"),
            (1_772_323_199, "2026-02-28 23:59:59 UTC"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }
}
