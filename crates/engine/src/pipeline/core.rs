//! One core from its first task to its last.

use super::body::Bodies;
use super::feed;
use super::flights::Flights;
use super::plan::Plan;
use super::record::{CoreBook, Record};
use super::worker::{Route, Worker};
use crate::report::{Report, latency_histogram};
use crate::rt::{Control, Stop, TICK};
use crate::schedule::{Access, Desk, Hedge, Origin};
use crate::sink::{Destination, Sinks};
use crate::wire::h1::Template;
use crate::wire::{Link, LinkOptions, Network, NoConnection, ReadBuffer, Target, Trust, Watchdog};
use async_channel::{Receiver, Sender};
use hdrhistogram::Histogram;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_local};
use windrow_model::limits::STOP_GRACE;
use windrow_model::percent::Keep;
use windrow_model::{Error, Lease};

/// What a core is made of.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) plan: Arc<Plan>,
    pub(super) dest: Arc<Destination>,
    pub(super) sinks: Sinks,
    pub(super) report: Arc<Report>,
    pub(super) control: Arc<Control>,
    pub(super) origin: Arc<Origin>,
    pub(super) record: Arc<Record>,
    pub(super) network: Arc<Network>,
    /// Where the address of an object has its name.
    pub(super) route: Route,
    pub(super) leases: Receiver<Lease>,
    /// Where the listing goes, on the core that reads it.
    pub(super) source: Option<Sender<Lease>>,
}

/// What a core leaves.
pub(super) struct Done {
    pub(super) latency: Histogram<u64>,
    /// Tasks that it took and that have no outcome.
    pub(super) pending: u64,
}

/// Works until there are no more tasks, or the run stops.
pub(super) async fn run(parts: Parts) -> Done {
    let control = Arc::clone(&parts.control);
    match work(parts).await {
        Ok(done) => done,
        Err(error) => {
            control.stop(Stop::Error(error));
            Done { latency: latency_histogram(), pending: 0 }
        }
    }
}

async fn work(parts: Parts) -> Result<Done, Error> {
    let Parts { index, plan, dest, sinks, report, control, origin, .. } = parts;
    let Parts { network, record, route, leases, source, .. } = parts;
    let template = template(&plan)?;
    let target = Rc::new(Target::new(network, plan.url.origin.clone(), Trust::User));
    target.find(plan.connect_timeout).await.map_err(|none| {
        let (NoConnection::Failed(why) | NoConnection::Starved(why)) = none;
        Error::environment(plan.url.origin.to_string(), "cannot find the host").why(why)
    })?;
    let hungry = Rc::new(Notify::new());
    let over = Rc::new(Notify::new());
    let worker = Rc::new(RefCell::new(Worker {
        desk: Desk::new(
            plan.retry,
            Access::new(Arc::clone(&origin), Instant::now()),
            plan.seed ^ (index as u64).rotate_left(32),
        ),
        flights: Flights::default(),
        hedge: Hedge::new(plan.hedge, plan.cores),
        hedge_after: None,
        sink: sinks.open(Box::new(CoreBook::new(Arc::clone(&record), index)))?,
        latency: latency_histogram(),
        bodies: Bodies::new(Arc::clone(&dest), plan.spool_above()),
        template: template.clone(),
        route,
        report: Arc::clone(&report),
        core: index,
        record: Arc::clone(&record),
        control: Arc::clone(&control),
        server: plan.url.origin.to_string(),
        outage_max: plan.retry.longest_outage(),
        max_failures: plan.max_failures,
        max_object_size: plan.max_object_size,
        now: Instant::now(),
        sink_failed: false,
        idle: Vec::new(),
        hungry: Rc::clone(&hungry),
        over: Rc::clone(&over),
    }));

    let mut watchdog = Watchdog::new(TICK);
    let mut links = JoinSet::new();
    let buffer = ReadBuffer::default();
    let options = LinkOptions {
        depth: plan.pipeline,
        connect_timeout: plan.connect_timeout,
        patience: plan.patience,
    };
    for _ in 0..plan.links(index) {
        let link = Link::new(
            Rc::clone(&worker),
            Rc::clone(&target),
            buffer.clone(),
            watchdog.watch(),
            options,
        );
        links.spawn_local(link.run());
    }
    let feeder = spawn_local(take_leases(Rc::clone(&worker), leases, hungry));
    let ticker = spawn_local(tick(Rc::clone(&worker), watchdog, Rc::clone(&over)));
    let lister = source.map(|queue| {
        spawn_local(feed::list(feed::Feed {
            plan,
            record,
            sinks,
            target,
            template,
            queue,
            report,
            control,
            origin,
        }))
    });

    loop {
        let ended = tokio::select! {
            ended = links.join_next() => ended,
            // What still runs when the time to stop is over is given up; its tasks stay pending.
            // So are requests whose twin was answered.
            () = over.notified() => break links.shutdown().await,
        };
        match ended {
            None => break,
            // A panic in a link is a panic of its core.
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(_) => {}
        }
    }
    for helper in [Some(feeder), Some(ticker), lister].into_iter().flatten() {
        helper.abort();
        let _ = helper.await;
    }
    let mut worker = worker.borrow_mut();
    let mut pending = worker.desk.pending();
    let finished = worker.sink.finish();
    worker.take_back_rejected();
    // What was taken and is not recorded durably is not stored.
    let (objects, bytes) = worker.sink.unfinished();
    let counters = &worker.report.cores[index];
    counters.stored.sub(objects);
    counters.bytes.sub(bytes);
    pending += objects;
    match finished {
        Err(error) => worker.control.stop(Stop::Error(error)),
        Ok(()) if objects > 0 => {
            let what = format!("{objects} objects were stored and not recorded");
            let hint = "this is a bug of windrow; please report it";
            worker.control.stop(Stop::Error(Error::environment("ledger", what).hint(hint)));
        }
        Ok(()) => {}
    }
    let latency = std::mem::replace(&mut worker.latency, latency_histogram());
    Ok(Done { latency, pending })
}

/// Fills the desk from the queue.
async fn take_leases(worker: Rc<RefCell<Worker>>, leases: Receiver<Lease>, hungry: Rc<Notify>) {
    loop {
        while !worker.borrow().desk.wants_lease() {
            hungry.notified().await;
        }
        let lease = leases.recv().await;
        let mut worker = worker.borrow_mut();
        match lease {
            Ok(lease) => worker.desk.add(lease),
            Err(_) => {
                worker.desk.close();
                return worker.wake_all();
            }
        }
        worker.wake_all();
    }
}

async fn tick(worker: Rc<RefCell<Worker>>, mut watchdog: Watchdog, over: Rc<Notify>) {
    let mut stopped = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        worker.borrow_mut().tend(now);
        watchdog.sweep(now);
        if worker.borrow().desk.stopped() && now - *stopped.get_or_insert(now) >= STOP_GRACE {
            over.notify_one();
        }
    }
}

fn template(plan: &Plan) -> Result<Template, Error> {
    const OURS: [(&str, &str); 3] = [
        ("User-Agent", concat!("windrow/", env!("CARGO_PKG_VERSION"))),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
    ];
    let authority = plan.url.origin.authority();
    let given = |name: &str| plan.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let ours = OURS.into_iter().filter(|(name, _)| !given(name));
    let theirs = plan.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Template::new(&authority, ours.chain(theirs)).map_err(|name| {
        Error::usage(format!("--header '{name}'"), "not a header line")
            .why("a name is letters, digits and `-`; a value has no control characters")
    })
}

/// Cuts the path of objects at the place of the name.
pub(super) fn route(plan: &Plan) -> Result<Route, Error> {
    let path = &plan.api.get_path;
    let (mark, keep) = match path.contains("{+name}") {
        true => ("{+name}", Keep::UNRESERVED_AND_SLASH),
        false => ("{name}", Keep::UNRESERVED),
    };
    let Some((before, behind)) = path.split_once(mark) else {
        return Err(Error::usage(format!("--get-path '{path}'"), "has no place for the name")
            .hint("write `{name}` where the name goes, as in /get/{name}"));
    };
    let before = format!("{}{before}", plan.url.base);
    for part in [&before, behind] {
        if !part.bytes().all(|b| b.is_ascii_graphic()) || !before.starts_with('/') {
            return Err(Error::usage(format!("--get-path '{path}'"), "not the path of a URL"));
        }
    }
    Ok(Route { before: before.into(), behind: behind.into(), keep })
}
