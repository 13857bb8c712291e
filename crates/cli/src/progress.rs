//! How a run is going, on stderr.

use crate::args::{ProgressArg, Show};
use crate::format::{bytes, count, duration};
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use windrow_engine::Outage;
use windrow_engine::report::Snapshot;

/// Between two looks at a run.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);

/// Between two JSON lines.
const JSON: Duration = Duration::from_secs(1);

/// Rates are taken over so long.
const WINDOW: Duration = Duration::from_secs(3);

/// Shows progress in the way that was asked for.
pub(crate) struct Progress {
    way: Way,
    history: VecDeque<(Duration, u64, u64)>,
    shown: Duration,
    /// Objects done and bytes before this process began.
    before: Option<(u64, u64)>,
}

enum Way {
    Bar,
    Plain,
    Json,
    None,
}

impl Progress {
    pub(crate) fn new(show: Show) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let way = match show.progress {
            _ if show.quiet => Way::None,
            ProgressArg::Auto if terminal => Way::Bar,
            ProgressArg::Auto | ProgressArg::Plain => Way::Plain,
            ProgressArg::Bar => Way::Bar,
            ProgressArg::Json => Way::Json,
            ProgressArg::None => Way::None,
        };
        Self { way, history: VecDeque::new(), shown: Duration::ZERO, before: None }
    }

    /// Shows how things stand, if it is time to.
    pub(crate) fn show(&mut self, now: &Snapshot, outage: Option<Outage>) {
        let done = now.stored + now.skipped + now.failed;
        // A resumed run begins with what was there; the first look is soon enough for that.
        let (done_before, bytes_before) = *self.before.get_or_insert(match now.stored_before {
            0 => (0, 0),
            _ => (done, now.bytes),
        });
        let (objects, bytes) = (done.saturating_sub(done_before), now.bytes - bytes_before);
        self.history.push_back((now.elapsed, objects, bytes));
        while self.history.len() > 2 && now.elapsed - self.history[1].0 >= WINDOW {
            self.history.pop_front();
        }
        let every = match self.way {
            Way::Bar => PERIOD / 2,
            Way::Plain => PLAIN,
            Way::Json => JSON,
            Way::None => return,
        };
        if now.elapsed - self.shown < every {
            return;
        }
        self.shown = now.elapsed;
        let (objects, volume) = self.rates();
        let eta = (now.listing_done && objects > 0.0)
            .then(|| Duration::from_secs_f64((now.listed - done) as f64 / objects));
        match self.way {
            Way::Bar => {
                let eta = eta.map_or(String::new(), |eta| format!(", {} left", duration(eta)));
                let (gauge, more) = match now.listing_done {
                    true => (gauge(done, now.listed), format!(" of {}", count(now.listed))),
                    // How much there is in all is not known yet.
                    false => (String::new(), format!(" of {} listed so far", count(now.listed))),
                };
                Bar::draw(
                    &format!("{gauge}{}{more}{eta}", count(done)),
                    &figures(now, objects, volume, outage),
                );
            }
            Way::Plain => {
                let more = if now.listing_done { "" } else { " listed so far" };
                let eta = eta.map_or(String::new(), |eta| format!(", {} left", duration(eta)));
                let figures = figures(now, objects, volume, outage);
                say(&format!("{} of {}{more}{eta}: {figures}", count(done), count(now.listed)));
            }
            Way::Json => {
                let line = serde_json::json!({
                    "seconds": now.elapsed.as_secs_f64(),
                    "listed": now.listed,
                    "listing_complete": now.listing_done,
                    "stored": now.stored,
                    "failed": now.failed,
                    "bytes": now.bytes,
                    "requests": now.requests,
                    "retries": now.retries,
                    "probes": now.probes,
                    "hedges": now.hedges,
                    "outage_seconds": outage.map(|outage| outage.lasted.as_secs_f64()),
                    "in_flight": now.in_flight,
                    "objects_per_second": objects,
                    "bytes_per_second": volume,
                    "seconds_left": eta.map(|eta| eta.as_secs_f64()),
                });
                say(&line.to_string());
            }
            Way::None => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Way::Bar = self.way {
            Bar::erase();
        }
    }

    /// A line between, that does not tear the bar.
    pub(crate) fn note(&self, line: &str) {
        match self.way {
            Way::Bar => {
                Bar::erase();
                say(line);
            }
            Way::Plain => say(line),
            Way::Json | Way::None => {}
        }
    }

    /// Objects and bytes for each second of late.
    pub(crate) fn rates(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.history.front(), self.history.back()) else {
            return (0.0, 0.0);
        };
        // At the beginning: since the run began.
        let first =
            if first.0 <= WINDOW && last.0 <= WINDOW { &(Duration::ZERO, 0, 0) } else { first };
        let seconds = (last.0 - first.0).as_secs_f64().max(1e-3);
        ((last.1 - first.1) as f64 / seconds, (last.2 - first.2) as f64 / seconds)
    }
}

fn figures(now: &Snapshot, objects: f64, volume: f64, outage: Option<Outage>) -> String {
    if let Some(Outage { lasted, failure, pause, .. }) = outage {
        if !pause.is_zero() {
            return format!("the server asked for a pause: {} left", duration(pause));
        }
        // Shorter ones are no news.
        if lasted >= Duration::from_secs(1) {
            return format!("server down for {}, probing ({failure})", duration(lasted));
        }
    }
    let mut line =
        format!("{}/s, {}/s, {} in flight", count(objects as u64), bytes(volume), now.in_flight);
    if now.retries > 0 {
        line += &format!(", {} retries", count(now.retries));
    }
    if now.failed > 0 {
        line += &format!(", {} failed", count(now.failed));
    }
    line
}

/// A gauge of 20 characters, and per cent.
fn gauge(done: u64, listed: u64) -> String {
    const WIDTH: usize = 20;
    let part = if listed == 0 { 1.0 } else { (done as f64 / listed as f64).min(1.0) };
    let full = (part * WIDTH as f64) as usize;
    let head = if full < WIDTH { ">" } else { "" };
    format!("[{:<WIDTH$}] {:3.0}% ", "=".repeat(full) + head, (part * 100.0).floor())
}

/// Two lines on a terminal, so that 80 columns are enough.
///
/// Drawn here and not by a library, because of what Ctrl-C does: the terminal echoes `^C` where the
/// cursor stands. It stands at the beginning of the first line, whatever was drawn, so the echo
/// moves nothing, and erasing from there takes everything away.
struct Bar;

impl Bar {
    fn draw(objects: &str, figures: &str) {
        let columns =
            rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| size.ws_col);
        let width = usize::from(columns).saturating_sub(1);
        let fit = |line: &str| line.chars().take(width).collect::<String>();
        let (objects, figures) = (fit(objects), fit(figures));
        // Carriage return, erase to the end of the screen; two lines; up again.
        Self::write(&format!("\r\x1b[J{objects}\n{figures}\r\x1b[A"));
    }

    fn erase() {
        Self::write("\r\x1b[J");
    }

    fn write(text: &str) {
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

/// A line for people. Nobody is left to tell when stderr is gone.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
