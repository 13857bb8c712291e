//! A run: the one place that knows every stage, and joins them in flow order.
//!
//! ```text
//! listing (a task of core 0) -> queue of leases -> each core: desk -> links -> sink, failure log
//! ```

mod body;
mod check;
mod core;
#[cfg(test)]
mod crash;
mod depot;
mod feed;
mod flights;
mod gathering;
mod known;
mod plan;
mod record;
mod redirect;
mod repack;
mod roster;
mod site;
mod survey;
mod time;
mod worker;
mod writing;

pub use crate::sink::{Format, ShardSize};
pub use depot::Remote;
pub use plan::{MaxFailures, NamesFrom, Only, Plan, Server, Signing, Source};
pub use repack::{Repacked, repack};
pub use survey::{Preview, Survey, preview};
pub use writing::{Writer, WriterOptions, Written};

use crate::report::{Latency, Report, Summary, latency_histogram};
use crate::rt::{self, Control, Stop, machine};
pub use crate::schedule::Outage;
use crate::schedule::{ByteRate, Forecast, Outlook, Rate};
use crate::sink::{self, Destination, Settings, Sinks};
use crate::transform::Pool;
use crate::wire::Network;
use record::Record;
use site::Origins;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant, SystemTime};
use windrow_model::limits::{CORE_AHEAD, QUEUE_LEASES, SURVEY_PAGES};
use windrow_model::{Error, Exit};

/// A run under way.
#[derive(Debug)]
pub struct Run {
    report: Arc<Report>,
    control: Arc<Control>,
    origins: Arc<Origins>,
    ended: mpsc::Receiver<Ended>,
    setting: String,
    /// When the URLs of a list expire, once it was read for that.
    forecast: Arc<OnceLock<Forecast>>,
    /// Tasks that the cores hold beside those under way.
    ahead: u64,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// How the process should end.
    pub exit: Exit,
    /// Why it ended early, if it did.
    pub error: Option<Error>,
    /// What it came to.
    pub summary: Summary,
}

impl Run {
    /// Begins a run: prepares the destination, and starts a core each on a thread of its own.
    ///
    /// # Errors
    /// What can be known before the first request: the destination cannot be used, the host is
    /// unknown.
    pub fn start(plan: Plan) -> Result<Self, Error> {
        let files = machine::raise_file_limit();
        let plan = plan.settle(files)?;
        let route = core::route(&plan)?;
        let dest = Arc::new(Destination::prepare(&plan.dest)?);
        let record = match Record::new(&plan, route.as_ref(), Arc::clone(&dest)) {
            Ok(record) => record,
            Err(error) => {
                if let Ok(dest) = Arc::try_unwrap(dest) {
                    dest.abandon();
                }
                return Err(error);
            }
        };
        let mut setting = plan.setting();
        if let Some(past) = record.past() {
            setting += &format!(
                "; goes on with an earlier run: {} of {} listed objects stored",
                past.state.stored.len(),
                past.listed()
            );
        }
        let report = Arc::new(Report::new(plan.cores, record.before()));
        let control = Arc::new(Control::default());
        let (send, ended) = mpsc::channel();
        let origins = Arc::new(Origins::new(&plan));
        let run = Self {
            report: Arc::clone(&report),
            control: Arc::clone(&control),
            origins: Arc::clone(&origins),
            ended,
            setting,
            forecast: Arc::default(),
            ahead: (CORE_AHEAD * plan.cores) as u64,
        };
        run.forecast_of(&plan);
        std::thread::Builder::new()
            .name("run".into())
            .spawn(move || {
                let ended =
                    conduct(plan, &route, dest, Arc::new(record), &report, &control, &origins);
                // Nobody may be waiting any more.
                let _ = send.send(ended);
            })
            .map_err(|error| Error::environment("run", "cannot start a thread").why(error))?;
        Ok(run)
    }

    /// What was chosen, for people: cores, connections, memory.
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// The counters, to look at while it runs.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Whether the server is down, or asked for a pause, at this moment.
    pub fn outage(&self) -> Option<Outage> {
        self.origins.outage(Instant::now())
    }

    /// What of a list will expire before its turn, at `per_second` objects a second; `None` where
    /// nothing expires, or that is not known yet.
    pub fn outlook(&self, per_second: f64) -> Option<Outlook> {
        let forecast = self.forecast.get()?;
        let sums = self.report.snapshot();
        let done = sums.stored + sums.skipped + sums.failed;
        let now = self.origins.clock.now_unix(SystemTime::now());
        let outlook = forecast.look(done, per_second, now, self.ahead);
        (outlook.total > 0).then_some(outlook)
    }

    /// Reads a list for what expires, on a thread of its own, where it can be read twice.
    fn forecast_of(&self, plan: &Plan) {
        let Source::List(list) = &plan.source else { return };
        if list.is_stream() || list.sample.is_some() {
            return;
        }
        let (list, limit) = (list.clone(), plan.limit.unwrap_or(u64::MAX));
        let (forecast, control) = (Arc::clone(&self.forecast), Arc::clone(&self.control));
        let look = move || {
            let mut pages = 0;
            let survey = Survey::of(&list, limit, |survey| {
                pages += 1;
                !control.stopping() && (survey.expiring > 0 || pages < SURVEY_PAGES)
            });
            // What cannot be read is told by who fetches it.
            if let Ok(survey) = survey
                && survey.expiring > 0
                && !control.stopping()
            {
                let _ = forecast.set(survey.forecast);
            }
        };
        // Without it there is no forecast, and nothing else is lost.
        let _ = std::thread::Builder::new().name("survey".into()).spawn(look);
    }

    /// Asks the run to end: what runs is finished, nothing is begun.
    pub fn stop(&self, why: Stop) {
        self.control.stop(why);
    }

    /// Waits for the end, so long; `None` if it is not there yet.
    pub fn wait(&self, limit: Duration) -> Option<Ended> {
        match self.ended.recv_timeout(limit) {
            Ok(ended) => Some(ended),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                unreachable!("the run's thread sends before it ends, and does not panic")
            }
        }
    }
}

/// Runs all cores to their end and draws up the balance.
fn conduct(
    plan: Plan,
    route: &Option<worker::Route>,
    dest: Arc<Destination>,
    record: Arc<Record>,
    report: &Arc<Report>,
    control: &Arc<Control>,
    origins: &Arc<Origins>,
) -> Ended {
    let began = Instant::now();
    let plan = Arc::new(plan);
    let outcome = run_cores(&plan, route, &dest, &record, report, control, origins);
    let (latency, left) = outcome.unwrap_or_else(|error| {
        control.stop(Stop::Error(error));
        (latency_histogram(), None)
    });
    let sums = report.snapshot();
    let settled = sums.stored + sums.skipped + sums.failed;
    let pending = sums.listed.saturating_sub(settled);
    // The balance is drawn up twice, from both sides: what the source gave less what has an
    // outcome, and what the desks and the queue still hold.
    if left.is_some_and(|left| left != pending || sums.listed < settled) {
        let what = format!(
            "the sum does not hold: listed {}, stored {}, skipped {}, failed {}, left {}",
            sums.listed,
            sums.stored,
            sums.skipped,
            sums.failed,
            left.unwrap_or(0)
        );
        control.stop(Stop::Error(
            Error::environment("run", what).hint("this is a bug of windrow; please report it"),
        ));
    }
    if pending > 0 {
        // The first reason counts: this is one only where nothing else is.
        control.stop(match plan.only {
            Only::Failed(_) => Stop::Rule("--only: the pending objects were left".into()),
            _ => Stop::Error(
                Error::environment("run", format!("{pending} objects were left"))
                    .hint("this is a bug of windrow; please report it"),
            ),
        });
    }
    let why = control.why();
    let exit = match &why {
        Some(why) => why.exit(),
        None if sums.failed > 0 => Exit::Failed,
        None => Exit::Complete,
    };
    if why.is_none() && plan.format.packs().is_some() {
        // Whoever reads makes the index where there is none.
        let _ = crate::pack::index::merge_many(&*dest.disk(), record.number());
    }
    let usage = machine::usage();
    let seconds = began.elapsed().as_secs_f64();
    let own = sums.stored.saturating_sub(sums.stored_before);
    let per_object = |value: f64| if own > 0 { value / own as f64 } else { 0.0 };
    let mut error = match why.clone() {
        Some(Stop::Error(error)) => Some(error),
        _ => None,
    };
    let reason = match &why {
        Some(Stop::Error(error)) => Some(error.to_string()),
        Some(Stop::Rule(rule)) => Some(rule.clone()),
        _ => None,
    };
    let summary = Summary {
        state: match (&why, sums.failed) {
            (Some(why), _) => why.state(),
            (None, 0) => "complete",
            (None, _) => "failed",
        },
        error: reason,
        source: plan.source(),
        format: plan.format.name(),
        listed: sums.listed,
        listing_complete: sums.listing_done,
        stored: sums.stored,
        stored_before: sums.stored_before,
        skipped: sums.skipped,
        failed: sums.failed,
        pending,
        bytes: sums.bytes,
        requests: sums.requests,
        retries: sums.retries,
        probes: sums.probes,
        hedges: sums.hedges,
        pages: report.pages.load(Ordering::Relaxed),
        failures: sums.failures,
        seconds,
        objects_per_second: if seconds > 0.0 { own as f64 / seconds } else { 0.0 },
        cpu_seconds: usage.cpu.as_secs_f64(),
        cpu_us_per_object: per_object(usage.cpu.as_secs_f64() * 1e6),
        max_rss_bytes: usage.max_rss,
        latency_us: Latency::of(&latency),
        resumed: record.past().is_some(),
        cores: plan.cores,
        concurrency: plan.in_flight(report),
    };
    drop(record);
    let said = error.is_some();
    // Before the summary is written: on a full disk this makes the room for it.
    if let Err(uncleared) = dest.clear_temporary() {
        error.get_or_insert(uncleared);
    }
    let nothing_begun = dest.earlier().is_some() && dest.is_untouched();
    if sums.listed == 0 && (matches!(why, Some(Stop::Error(_))) || nothing_begun) {
        // Nothing came of it: leave no trace.
        if let Ok(dest) = Arc::try_unwrap(dest) {
            dest.abandon();
        }
    } else {
        let json = serde_json::to_vec_pretty(&summary).unwrap_or_default();
        if let Err(unwritten) = dest.write_state("summary.json", &json) {
            error.get_or_insert(unwritten);
        }
    }
    // A run that could not say what it came to, or left something behind, is no success.
    let exit = match exit {
        Exit::Complete | Exit::Failed if error.is_some() && !said => Exit::Environment,
        exit => exit,
    };
    Ended { exit, error, summary }
}

/// Latencies of all cores, and how many tasks have no outcome (`None` if a core was lost).
type Total = (hdrhistogram::Histogram<u64>, Option<u64>);

fn run_cores(
    plan: &Arc<Plan>,
    route: &Option<worker::Route>,
    dest: &Arc<Destination>,
    record: &Arc<Record>,
    report: &Arc<Report>,
    control: &Arc<Control>,
    origins: &Arc<Origins>,
) -> Result<Total, Error> {
    let pool = match plan.transform.clone().filter(|chain| !chain.is_empty()) {
        None => None,
        Some(chain) => Some(Pool::start(chain, plan.pool_options())?),
    };
    let depot = depot::Depot::of(plan, record.number(), control, dest.disk());
    if let Some(depot) = &depot
        && let Some(note) = depot.begin()?
    {
        report.note(note);
    }
    let settings = Settings {
        format: plan.format,
        size: plan.shard_size,
        pack: plan.pack,
        division: plan.division.clone(),
        run: record.number(),
        cores: plan.cores,
        block_bytes: plan.block_bytes(),
        held_files: plan.held_files,
        held_packs: plan.held_packs,
        directories: plan.directories,
        commit_interval: plan.commit_interval,
        remote: depot.zip(plan.remote.as_ref()).map(|(depot, remote)| sink::Remote {
            depot: Arc::new(depot),
            bytes: plan.memory / 8 / plan.cores as u64,
            metadata: remote.keep_metadata,
        }),
    };
    let sinks = Sinks::new(Arc::clone(dest), settings)?;
    let mut network = plan.network.clone();
    // Bytes are counted where HTTP/1.1 reads them.
    network.http2 &= plan.limit_rate.is_none();
    let network = Network::new(network)?;
    let now = Instant::now();
    let rate = plan.rate.map(|rate| Arc::new(Rate::new(now, rate, plan.rate_burst)));
    let byte_rate = plan.limit_rate.map(|rate| Arc::new(ByteRate::new(now, rate)));
    let crowd = plan.crowd().map(Arc::new);
    let (send, leases) = async_channel::bounded(QUEUE_LEASES.max(plan.cores * 2));
    let mut send = Some(send);
    let mut threads = Vec::with_capacity(plan.cores);
    let seats: Vec<_> = (0..plan.cores).map(|_| sinks.seat()).collect();
    for (index, seat) in seats.into_iter().enumerate() {
        let parts = core::Parts {
            index,
            plan: Arc::clone(plan),
            dest: Arc::clone(dest),
            sinks: sinks.clone(),
            pool: pool.clone(),
            seat,
            report: Arc::clone(report),
            control: Arc::clone(control),
            origins: Arc::clone(origins),
            record: Arc::clone(record),
            network: Arc::clone(&network),
            rate: rate.clone(),
            byte_rate: byte_rate.clone(),
            crowd: crowd.clone(),
            clock: Arc::clone(&origins.clock),
            route: route.clone(),
            leases: leases.clone(),
            // Core 0 reads the listing.
            source: send.take(),
        };
        let thread = rt::start_core(index, move || core::run(parts));
        threads.push(thread.map_err(|error| {
            control.stop(Stop::Interrupted);
            Error::environment("run", "cannot start a core").why(error)
        })?);
    }
    let mut total = latency_histogram();
    let mut left = Some(0);
    for thread in threads {
        match thread.join() {
            Ok(Ok(done)) => {
                left = left.map(|left: u64| left + done.pending);
                let _ = total.add(&done.latency);
            }
            Ok(Err(error)) => {
                left = None;
                let error = Error::environment("run", "cannot start a core").why(error);
                control.stop(Stop::Error(error));
            }
            Err(_) => {
                left = None;
                let error = Error::environment("run", "a core panicked")
                    .hint("this is a bug of windrow; please report it with the text above");
                control.stop(Stop::Error(error));
            }
        }
    }
    while let Ok(lease) = leases.try_recv() {
        left = left.map(|left| left + lease.len() as u64);
    }
    left = left.map(|left| left + report.unhanded.load(Ordering::Acquire));
    if control.by_signal() {
        // What a transform is at is not waited for.
        std::mem::forget(pool);
    }
    record.flush().map_err(|errno| {
        let why = std::io::Error::from(errno);
        Error::environment("failures.jsonl", "cannot write").why(why)
    })?;
    Ok((total, left))
}
