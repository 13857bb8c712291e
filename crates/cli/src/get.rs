//! `windrow get`: flags to a plan, the plan run to its end.

use crate::Outcome;
use crate::args::{Get, NameArg, OnError, ProgressArg, Show};
use crate::format::{bytes, count, duration};
use crate::progress::{PERIOD, Progress, say};
use crate::s3;
use crate::signals::Signals;
use std::path::Path;
use std::time::{Duration, Instant};
use windrow_engine::pipeline::{MaxFailures, NamesFrom, Server, Source};
use windrow_engine::report::Summary;
use windrow_engine::schedule::{Outlook, RetryPolicy};
use windrow_engine::source;
use windrow_engine::source::list::{DigestKind, ListSpec, Naming, Sample};
use windrow_engine::transform::Chain;
use windrow_engine::wire::{Patience, Proxies};
use windrow_engine::{Ended, Format, Plan, Run};
use windrow_model::Error;
use windrow_model::url::Url;

pub(crate) fn run(args: &Get) -> Outcome {
    let plan = plan(args)?;
    if args.dry_run {
        return crate::dry_run::run(args, plan);
    }
    let files = plan.format == Format::Files;
    let failures = plan.dest.join(".windrow/failures.jsonl");
    let signals = catch()?;
    let ended = conduct(plan, args.show, &signals)?;
    if let Some(file) = &args.summary {
        let json = serde_json::to_vec_pretty(&ended.summary).unwrap_or_default();
        std::fs::write(file, json).map_err(|error| {
            Error::environment(file.display().to_string(), "cannot write the summary").why(error)
        })?;
    }
    if let Some(error) = &ended.error {
        crate::complain(error);
    }
    let never_began = ended.error.is_some() && ended.summary.listed == 0;
    if args.show.progress == ProgressArg::Json && !args.show.quiet {
        say(&serde_json::json!({ "summary": ended.summary }).to_string());
    } else if !args.show.quiet && !never_began {
        tell(&ended.summary, &failures.display().to_string());
        if files && ended.summary.stored >= 100_000 {
            say("hint: a file costs 20-100 times what a place in a pack costs: --format tar");
        }
    }
    Ok(ended.exit)
}

pub(crate) fn catch() -> Result<Signals, Error> {
    Signals::catch().map_err(|error| Error::environment("signals", "cannot catch them").why(error))
}

/// Runs a plan, showing how it goes.
pub(crate) fn conduct(plan: Plan, show: Show, signals: &Signals) -> Result<Ended, Error> {
    let run = Run::start(plan)?;
    let mut progress = Progress::new(show);
    if show.verbose {
        progress.note(run.setting());
    }
    let mut told = false;
    let mut outlooks = Outlooks::default();
    let ended = loop {
        if let Some(ended) = run.wait(PERIOD) {
            break ended;
        }
        for note in run.report().take_notes() {
            progress.note(&note);
        }
        progress.show(&run.report().snapshot(), run.outage());
        let (objects, _) = progress.rates();
        if let Some(outlook) = run.outlook(objects)
            && let Some(line) = outlooks.line(outlook, objects)
        {
            progress.note(&line);
        }
        if let Some(stop) = signals.caught()
            && !told
        {
            told = true;
            run.stop(stop);
            progress.note("stopping: finishing what runs (again to leave at once)");
        }
    };
    for note in run.report().take_notes() {
        progress.note(&note);
    }
    progress.end();
    Ok(ended)
}

/// When to say what of a list will expire: once at the start, when that becomes better or worse,
/// and now and then.
#[derive(Default)]
struct Outlooks {
    said: Option<(Instant, bool)>,
}

impl Outlooks {
    fn line(&mut self, outlook: Outlook, per_second: f64) -> Option<String> {
        const SOON: Duration = Duration::from_secs(5);
        const AGAIN: Duration = Duration::from_secs(60);
        if outlook.expiring == 0 {
            return None;
        }
        let some = per_second > 0.0 && outlook.will_expire > 0;
        let due = match self.said {
            None => true,
            Some((at, before)) => {
                let past = at.elapsed();
                past >= AGAIN || (past >= SOON && some != before)
            }
        };
        due.then(|| {
            self.said = Some((Instant::now(), some));
            outlook.to_string()
        })
    }
}

/// The end of a run in a few lines.
fn tell(summary: &Summary, failures: &str) {
    let Summary { listed, stored, skipped, failed, pending, .. } = *summary;
    let before = match summary.stored_before {
        0 => String::new(),
        before => format!(", {} of them by an earlier run", count(before)),
    };
    say(&format!(
        "stored {} objects, {}{before}, in {}: {}/s, {:.2} us of CPU each",
        count(stored),
        bytes(summary.bytes as f64),
        duration(Duration::from_secs_f64(summary.seconds)),
        count(summary.objects_per_second as u64),
        summary.cpu_us_per_object,
    ));
    let more = if summary.listing_complete { "" } else { " so far" };
    let [listed, stored, skipped, failed, pending] =
        [listed, stored, skipped, failed, pending].map(count);
    say(&format!(
        "listed {listed}{more} = {stored} stored + {skipped} skipped + {failed} failed + \
         {pending} pending"
    ));
    if summary.failed > 0 {
        let classes: Vec<_> = summary
            .failures
            .iter()
            .map(|(class, number)| format!("{class} {}", count(*number)))
            .collect();
        say(&format!("failed: {}; each in {failures}", classes.join(", ")));
    }
    if summary.state == "stopped"
        && let Some(rule) = &summary.error
    {
        say(&format!("stopped by a rule: {rule}"));
    }
}

/// Makes a plan of what was typed.
fn plan(args: &Get) -> Result<Plan, Error> {
    let mut plan = match &args.source[..] {
        [bucket] if bucket.starts_with("s3://") => s3::plan(args, bucket)?,
        _ if args.s3.inventory.is_some() => {
            return Err(Error::usage("--inventory", "only a bucket has one")
                .hint("SOURCE is s3://BUCKET or s3://BUCKET/PREFIX then"));
        }
        _ if !args.s3.filter()?.is_empty() => {
            return Err(Error::usage(
                "--include, --exclude, --if-size, --newer-than, --older-than",
                "only a bucket can be filtered",
            )
            .hint("SOURCE is s3://BUCKET or s3://BUCKET/PREFIX then"));
        }
        [server] if server.contains("://") => listing(args, server)?,
        sources => lists(args, sources)?,
    };
    s3::send(args, &mut plan)?;
    transform(args, &mut plan)?;
    plan.cores = args.cores.unwrap_or(0);
    if args.cores == Some(0) {
        return Err(Error::usage("--cores 0", "must be at least 1"));
    }
    plan.concurrency = args.concurrency.0;
    plan.pipeline = args.pipeline;
    plan.retry = RetryPolicy {
        retries: args.retry,
        max_time: args.retry_max_time,
        outage_max: args.outage_max,
        ..RetryPolicy::default()
    };
    plan.patience = Patience {
        silence: args.timeout,
        total: args.total_timeout,
        min_speed: args.min_speed,
        window: args.min_speed_window,
    };
    plan.hedge = !args.no_hedge;
    plan.connect_timeout = args.connect_timeout;
    plan.memory = args.packs.memory;
    plan.max_object_size = args.max_object_size;
    plan.limit = args.limit;
    plan.rate = args.rate;
    plan.rate_burst = args.rate_burst;
    plan.rate_per_host = args.rate_per_host;
    plan.limit_rate = args.limit_rate;
    plan.compressed = args.compressed;
    let network = &args.network;
    plan.network.http2 = network.http2;
    plan.network.ca_certs.clone_from(&network.cacert);
    plan.network.client_cert.clone_from(&network.cert);
    plan.network.client_key.clone_from(&network.key);
    plan.network.allow_private.clone_from(&network.allow_private);
    if !network.no_proxy {
        plan.network.proxies = Proxies::from_env(|name| std::env::var(name).ok())?;
    }
    plan.per_host = args.concurrency_per_host;
    plan.max_redirect = args.max_redirect;
    plan.insecure_redirect = args.insecure_redirect;
    plan.resume_by_name = args.list.resume_by.is_some();
    plan.max_failures = match args.on_error {
        OnError::Stop => Some(MaxFailures::Count(0)),
        OnError::Continue => args.max_failures,
    };
    plan.shard_size = args.packs.size().unwrap_or(plan.shard_size);
    plan.division = args.packs.division();
    plan.pack = args.packs.options();
    plan.fresh = args.fresh;
    plan.only = args.only.clone().unwrap_or_default();
    plan.commit_interval = args.commit_interval;
    plan.seed = u64::from(std::process::id());
    for line in &args.header {
        let Some((name, value)) = line.split_once(':') else {
            // The line may hold a secret: only its length is told.
            let what = format!("a header line of {} characters without `:`", line.len());
            return Err(Error::usage("--header", what).hint("--header 'Name: value'"));
        };
        plan.headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    if let Some(agent) = &args.user_agent {
        plan.headers.push(("User-Agent".to_owned(), agent.clone()));
    }
    Ok(plan)
}

/// What is done with objects before they are stored.
fn transform(args: &Get, plan: &mut Plan) -> Result<(), Error> {
    let own = &args.transforms;
    if own.transform.is_empty() {
        return Ok(());
    }
    let chain = Chain::parse(&own.transform)?;
    if let Some(column) = chain.wants_sha256_column() {
        let flag = || format!("--transform verify=sha256:{column}");
        let Source::List(list) = &mut plan.source else {
            return Err(Error::usage(flag(), "SOURCE has no columns"));
        };
        if list.verify_col.is_some() {
            return Err(Error::usage(flag(), "--verify-col names another checksum"));
        }
        list.verify_col = Some((column.to_owned(), DigestKind::Sha256));
    }
    plan.transform = Some(chain);
    plan.transform_threads = own.transform_threads.unwrap_or(0);
    plan.transform_timeout = own.transform_timeout;
    Ok(())
}

/// A server with a listing as the source.
fn listing(args: &Get, source: &str) -> Result<Plan, Error> {
    let url = Url::parse(source).map_err(|why| {
        Error::usage(source, "not a source").why(why).hint(
            "SOURCE is a server with a listing, as in http://localhost:8080 (`windrow serve` \
             starts one), or a list of URLs",
        )
    })?;
    if url.query.is_some() {
        return Err(Error::usage(url.to_string(), "has a query")
            .hint("SOURCE is the server's base; a query of the listing goes into --list-path"));
    }
    let server =
        Server { url, api: api(args)?, names: NamesFrom::Listing, bucket: None, signing: None };
    Ok(Plan::new(Source::Server(Box::new(server)), &args.output, args.format.into()))
}

/// Lists of URLs as the source.
fn lists(args: &Get, sources: &[String]) -> Result<Plan, Error> {
    let own = args.output.join(".windrow").canonicalize().ok();
    for source in sources {
        if source.contains("://") {
            return Err(Error::usage(source, "one of several sources")
                .hint("a run has one server with a listing, or any number of lists"));
        }
        let path = Path::new(source);
        if source != "-" && !path.exists() {
            return Err(Error::usage(source, "no such file, and not the address of a server")
                .hint(
                    "SOURCE is a list of URLs, or a server with a listing, as in \
                     http://localhost:8080; `windrow serve` starts one",
                ));
        }
        if let (Ok(path), Some(own)) = (path.canonicalize(), &own)
            && path.starts_with(own)
        {
            return Err(Error::usage(source, "belongs to this destination").hint(
                "to try again what failed there, run the first command again, with --only failed",
            ));
        }
    }
    let given = args.api.get_path.as_str();
    if let [file] = sources
        && given != source::Api::default().get_path
    {
        return failed_list(args, Path::new(file), given);
    }
    let list = &args.list;
    let spec = ListSpec {
        inputs: sources.iter().map(Into::into).collect(),
        form: list.list_format,
        url_col: list.url_col.clone(),
        name_col: list.name_col.clone(),
        size_col: list.size_col.clone(),
        verify_col: list.verify_col.clone(),
        naming: match list.name {
            NameArg::Url => Naming::Url,
            NameArg::Ordinal => Naming::Ordinal,
        },
        sample: list.sample.map(|count| Sample { count, seed: list.seed }),
    };
    Ok(Plan::new(spec, &args.output, args.format.into()))
}

/// The failed objects of an earlier run as the source, at a path that is said again: with what was
/// secret in it.
fn failed_list(args: &Get, file: &Path, get_path: &str) -> Result<Plan, Error> {
    let found = source::whereabouts(file, Some(get_path))?;
    let mut api = api(args)?;
    api.get_path = found.get_path;
    let names = NamesFrom::Failed(file.to_owned());
    let server = Server { url: found.url, api, names, bucket: None, signing: None };
    Ok(Plan::new(Source::Server(Box::new(server)), &args.output, args.format.into()))
}

fn api(args: &Get) -> Result<source::Api, Error> {
    let api = &args.api;
    let path = &api.list_path;
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::usage(format!("--list-path '{path}'"), "not the path of a URL")
            .hint("it begins with `/`, as in /list"));
    }
    let mut shape = source::Api {
        list_path: path.clone(),
        get_path: api.get_path.clone(),
        names_field: api.names_field.clone(),
        marker_param: api.marker_param.clone(),
        ..source::Api::default()
    };
    if let Some(field) = &api.marker_field {
        shape.marker_fields = vec![field.clone()];
    }
    Ok(shape)
}
