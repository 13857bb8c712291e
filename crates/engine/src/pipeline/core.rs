//! One core from its first task to its last.

use super::body::Bodies;
use super::feed;
use super::flights::Flights;
use super::gathering::Gathering;
use super::plan::{NamesFrom, Plan, Source};
use super::record::{CoreBook, Record};
use super::roster::Roster;
use super::site::{Origins, Sites};
use super::time::Watchmaker;
use super::worker::workshop::Workshop;
use super::worker::{Latencies, Route, Worker};
use crate::content::coding::Kept;
use crate::report::{Report, latency_histogram};
use crate::rt::{Control, Stop, TICK};
use crate::schedule::{
    Access, Board, ByteRate, ClockOffset, Hedge, Key, Lull, NamedBy, Origin, Rate,
};
use crate::sink::{Destination, Format, Seat, Sinks};
use crate::source::inventory::Inventory;
use crate::transform::Pool;
use crate::wire::{Link, LinkOptions, Network, NoConnection, ReadBuffer, Watchdog};
use async_channel::{Receiver, Sender};
use hdrhistogram::Histogram;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
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
    /// Where bodies are transformed.
    pub(super) pool: Option<Arc<Pool>>,
    /// Where it sits among the cores that have objects for the sinks.
    pub(super) seat: Seat,
    pub(super) report: Arc<Report>,
    pub(super) control: Arc<Control>,
    pub(super) origins: Arc<Origins>,
    pub(super) record: Arc<Record>,
    pub(super) network: Arc<Network>,
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) byte_rate: Option<Arc<ByteRate>>,
    pub(super) crowd: Option<Arc<Gathering>>,
    pub(super) clock: Arc<ClockOffset>,
    /// Where the address of an object has its name.
    pub(super) route: Option<Route>,
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
    let Parts { index, plan, dest, sinks, pool, seat, report, control, origins, .. } = parts;
    let Parts { record, network, rate, byte_rate, crowd, clock, route, leases, source, .. } = parts;
    let hungry = Rc::new(Notify::new());
    let more = Rc::new(Notify::new());
    let paced = Rc::new(Notify::new());
    let over = Rc::new(Notify::new());
    let mut sites = Sites::new(&plan, Arc::clone(&origins), network)?;
    let seed = plan.seed ^ (index as u64).rotate_left(32);
    let (mut lister, mut library) = (None, None);
    let board = match &plan.source {
        Source::List(_) => Board::many(plan.retry, seed),
        Source::Server(server) => {
            let key = Key { origin: server.url.origin.clone(), named_by: NamedBy::Source };
            let (origin, here) = sites.make(&key);
            here.target.find(plan.connect_timeout).await.map_err(|none| {
                let (NoConnection::Failed(why) | NoConnection::Starved(why)) = none;
                Error::environment(key.origin.to_string(), "cannot find the host").why(why)
            })?;
            lister = Some(feed::Lister {
                target: Rc::clone(&here.target),
                template: here.template.clone(),
                origin: Arc::clone(&origin),
            });
            if let NamesFrom::Inventory(Inventory { service, .. }) = &server.names
                && service.origin != server.url.origin
            {
                let there = Key { origin: service.origin.clone(), named_by: NamedBy::Source };
                let there = sites.here(&there);
                library = Some(feed::Lister {
                    target: there.target,
                    template: there.template,
                    // It has nothing to do with how the objects' server is.
                    origin: Arc::new(Origin::new(Instant::now(), seed)),
                });
            }
            let access = Access::new(origin, Instant::now());
            Board::single(plan.retry, key, access, here, seed)
        }
    };
    let stir = Arc::new(Notify::new());
    let workshop = pool.map(|pool| Workshop::new(&pool, Arc::clone(&stir), plan.memory / 4));
    let most = plan.links(index);
    let worker = Rc::new(RefCell::new(Worker {
        board,
        sites,
        flights: Flights::default(),
        hedge: Hedge::new(plan.hedge, plan.cores),
        hedge_after: None,
        sink: sinks
            .open(seat, index, &|core| Box::new(CoreBook::new(Arc::clone(&record), core)))?,
        workshop,
        latency: latency_histogram(),
        bodies: Bodies::new(Arc::clone(&dest), plan.spool_above(), plan.bodies_bytes()),
        kept: Kept::default(),
        compressed: plan.compressed,
        wants_meta: plan.format.wants_meta(&plan.pack)
            || (plan.remote.is_some() && plan.format == Format::Files)
            || plan.transform.is_some(),
        notes: Vec::new(),
        wall: wall(Instant::now()),
        route,
        report: Arc::clone(&report),
        core: index,
        record: Arc::clone(&record),
        control: Arc::clone(&control),
        outage_max: plan.retry.longest_outage(),
        max_failures: plan.max_failures,
        max_object_size: plan.max_object_size,
        max_redirect: plan.max_redirect,
        per_host: plan.per_host,
        now: Instant::now(),
        sink_failed: false,
        unrecorded: 0,
        roster: Roster::new(most, plan.pipeline),
        // Where their number is found out, links are made when they are of use.
        new_links: if crowd.is_some() { 0 } else { most },
        under_way: 0,
        limit: crowd.as_ref().map_or(most * plan.pipeline, |crowd| crowd.share(index)),
        held_back: false,
        rate_held_back: false,
        rate,
        byte_rate,
        pace_due: None,
        paced: Rc::clone(&paced),
        crowd,
        readers: plan.readers(),
        time: Watchmaker::new(clock, Instant::now()),
        latencies: Latencies::default(),
        quickest: Duration::MAX,
        lull: Lull::default(),
        hungry: Rc::clone(&hungry),
        more: Rc::clone(&more),
        over: Rc::clone(&over),
    }));

    let watchdog = Rc::new(RefCell::new(Watchdog::new(TICK)));
    let mut links = JoinSet::new();
    let buffer = ReadBuffer::default();
    let options = LinkOptions {
        depth: plan.pipeline,
        connect_timeout: plan.connect_timeout,
        patience: plan.patience,
    };
    let grow = |links: &mut JoinSet<()>| {
        let mut own = worker.borrow_mut();
        for _ in 0..std::mem::take(&mut own.new_links) {
            let Some(number) = own.roster.enroll() else { break };
            let (worker, watch) = (Rc::clone(&worker), watchdog.borrow_mut().watch());
            let link = Link::new(number, worker, buffer.clone(), watch, options);
            links.spawn_local(link.run());
        }
    };
    grow(&mut links);
    let feeder = spawn_local(take_leases(Rc::clone(&worker), leases, hungry));
    let (own, watch) = (Rc::clone(&worker), Rc::clone(&watchdog));
    let long_grace = STOP_GRACE + plan.transform_timeout;
    let ticker = spawn_local(tick(own, watch, Rc::clone(&over), long_grace));
    let pacer = spawn_local(pace(Rc::clone(&worker), paced));
    let taker = spawn_local(take_work(Rc::clone(&worker), stir));
    let reader = source.map(|queue| {
        let feed = feed::Feed { plan, record, sinks, lister, library, queue, report, control };
        spawn_local(feed::list(feed))
    });

    loop {
        let ended = tokio::select! {
            // There may be none yet.
            ended = links.join_next(), if !links.is_empty() => ended,
            () = more.notified() => {
                grow(&mut links);
                None
            }
            // What still runs when the time to stop is over is given up; its tasks stay pending.
            // So are requests whose twin was answered.
            () = over.notified() => break links.shutdown().await,
        };
        match ended {
            None => {}
            // A panic in a link is a panic of its core.
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(_) => {}
        }
        let own = worker.borrow();
        let idle = own.workshop.as_ref().is_none_or(Workshop::is_idle);
        if links.is_empty() && own.board.finished() && idle {
            break;
        }
    }
    for helper in
        [Some(feeder), Some(ticker), Some(pacer), Some(taker), reader].into_iter().flatten()
    {
        helper.abort();
        if helper.await.is_err_and(|error| error.is_panic()) {
            // What was stored is still recorded, and counted, below.
            let error = Error::environment("run", "a task of a core panicked")
                .hint("this is a bug of windrow; please report it with the text above");
            worker.borrow().control.stop(Stop::Error(error));
        }
    }
    let mut worker = worker.borrow_mut();
    worker.record_dropped();
    let dropped = worker.workshop.as_ref().map_or(0, Workshop::unrecorded);
    let mut pending = worker.board.pending() + worker.unrecorded + dropped;
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

/// A moment, and its milliseconds since 1970 by the clock of the system.
pub(super) fn wall(now: Instant) -> (Instant, u64) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (now, u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Fills the desk from the queue.
async fn take_leases(worker: Rc<RefCell<Worker>>, leases: Receiver<Lease>, hungry: Rc<Notify>) {
    loop {
        while !worker.borrow().board.wants_lease() {
            hungry.notified().await;
        }
        let lease = leases.recv().await;
        let mut worker = worker.borrow_mut();
        match lease {
            Ok(lease) => worker.take(lease),
            Err(_) => {
                worker.board.close();
                return worker.wake_all();
            }
        }
    }
}

/// Has links woken when a rate allows another request.
async fn pace(worker: Rc<RefCell<Worker>>, paced: Rc<Notify>) {
    loop {
        let due = worker.borrow().pace_due;
        match due {
            None => paced.notified().await,
            Some(due) => {
                tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    // It may have become earlier.
                    () = paced.notified() => continue,
                }
                worker.borrow_mut().pace(Instant::now());
            }
        }
    }
}

/// Has results of transforms stored as they come.
async fn take_work(worker: Rc<RefCell<Worker>>, stir: Arc<Notify>) {
    loop {
        stir.notified().await;
        worker.borrow_mut().take_work(Instant::now());
    }
}

async fn tick(
    worker: Rc<RefCell<Worker>>,
    watchdog: Rc<RefCell<Watchdog>>,
    over: Rc<Notify>,
    long_grace: Duration,
) {
    let mut stopped = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        worker.borrow_mut().tend(now);
        watchdog.borrow_mut().sweep(now);
        let own = worker.borrow();
        let grace = match &own.workshop {
            // What a transform has begun with is finished, where it was no signal that stopped the run.
            Some(workshop) if !workshop.is_idle() && own.control.by_rule() => long_grace,
            _ => STOP_GRACE,
        };
        if own.board.stopped() && now - *stopped.get_or_insert(now) >= grace {
            over.notify_one();
        }
    }
}

/// Cuts the path of objects at the place of the name, where they have one.
pub(super) fn route(plan: &Plan) -> Result<Option<Route>, Error> {
    let Some(server) = plan.source.server() else { return Ok(None) };
    let path = &server.api.get_path;
    let (mark, keep) = match path.contains("{+name}") {
        true => ("{+name}", Keep::UNRESERVED_AND_SLASH),
        false => ("{name}", Keep::UNRESERVED),
    };
    let Some((before, behind)) = path.split_once(mark) else {
        return Err(Error::usage(format!("--get-path '{path}'"), "has no place for the name")
            .hint("write `{name}` where the name goes, as in /get/{name}"));
    };
    let before = format!("{}{before}", server.url.base);
    for part in [&before, behind] {
        if !part.bytes().all(|b| b.is_ascii_graphic()) || !before.starts_with('/') {
            return Err(Error::usage(format!("--get-path '{path}'"), "not the path of a URL"));
        }
    }
    Ok(Some(Route { before: before.into(), behind: behind.into(), keep }))
}
