//! `windrow demo`: the whole thing on one machine, checked.

use crate::Outcome;
use crate::args::Demo;
use crate::format::{bytes, count, duration};
use crate::get::{catch, conduct};
use crate::progress::say;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use windrow_engine::inspect::{self, Settings};
use windrow_engine::{Format, Plan};
use windrow_model::url::Url;
use windrow_model::{Corpus, Error, Exit};

/// Bytes of each object.
const SIZE: u64 = 100;

/// Bytes that one such object takes in a tar file: a header and a padded body.
const TAR_SIZE: u64 = 1024;

/// Names on one page of the listing.
const PAGE: &str = "10000";

/// Requests in flight on each connection.
const PIPELINE: usize = 64;

pub(crate) fn run(args: &Demo) -> Outcome {
    let corpus = Corpus { count: args.objects, size: SIZE, seed: u64::from(std::process::id()) };
    if args.objects == 0 {
        return Err(Error::usage("--objects 0", "must be at least 1"));
    }
    let signals = catch()?;
    let dir = tempfile::Builder::new().prefix("windrow-demo-").tempdir().map_err(|error| {
        Error::environment("the temporary directory", "cannot use it")
            .why(error)
            .hint("TMPDIR names another place")
    })?;
    check_room(dir.path(), &corpus)?;

    let mut server = start_server(&corpus)?;
    let note = |line: &str| {
        if !args.show.quiet {
            say(line);
        }
    };
    note(&format!("serving  {} objects of {SIZE} bytes on {}", count(corpus.count), server.url));
    let url = Url::parse(&server.url)
        .map_err(|why| Error::environment(&server.url, "not the server's address").why(why))?;
    let mut plan = Plan::new(url, dir.path().join("out"), Format::Tar);
    plan.pipeline = PIPELINE;
    let ended = conduct(plan, args.show, &signals)?;
    let server_cpu = server.cpu_seconds();
    server.stop();
    if let Some(error) = ended.error {
        return Err(error);
    }
    let sum = &ended.summary;
    if ended.exit != Exit::Complete {
        note(&format!("stopped after {} objects; removed what was there", count(sum.stored)));
        return Ok(ended.exit);
    }
    let each = |seconds: f64| seconds * 1e6 / corpus.count as f64;
    note(&format!(
        "fetched  {} into tar packs in {}: {}/s, CPU each: {:.2} us client, {:.2} us server",
        count(sum.stored),
        duration(Duration::from_secs_f64(sum.seconds)),
        count(sum.objects_per_second as u64),
        sum.cpu_us_per_object,
        each(server_cpu),
    ));

    let settings = Settings { corpus: Some(corpus), ..Settings::default() };
    let checked = inspect::verify(&dir.path().join("out"), settings, &mut |_| true)?;
    let wrong = checked.wrong.iter();
    let wrong: Vec<_> = wrong.map(|(kind, number)| format!("{} {kind}", count(*number))).collect();
    note(&format!(
        "checked  {} bodies in {}: {}",
        count(checked.right),
        duration(Duration::from_secs_f64(checked.seconds)),
        match checked.is_right() {
            true => "every byte is right, none missing, none twice".to_owned(),
            false => wrong.join(", "),
        }
    ));
    let place = dir.path().display().to_string();
    dir.close().map_err(|error| Error::environment(&place, "cannot remove it").why(error))?;
    note(&format!("removed  {place} ({})", bytes((corpus.count * TAR_SIZE) as f64)));
    note(&format!(
        "at this rate 1,000,000,000 objects take {} on this machine, server included",
        duration(Duration::from_secs_f64(1e9 / sum.objects_per_second.max(1e-3)))
    ));
    if checked.is_right() { Ok(Exit::Complete) } else { Ok(Exit::Failed) }
}

fn check_room(dir: &Path, corpus: &Corpus) -> Result<(), Error> {
    // Beside the bodies: headers of packs, the directory, some air.
    let needed = corpus.count.saturating_mul(TAR_SIZE).saturating_add(64 << 20);
    if let Ok(stat) = rustix::fs::statvfs(dir) {
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < needed {
            let what = format!("{} free, {} needed", bytes(free as f64), bytes(needed as f64));
            return Err(Error::environment(dir.display().to_string(), what)
                .hint("ask for fewer --objects, or name another place in TMPDIR"));
        }
    }
    Ok(())
}

/// `windrow serve` in a process of its own, so that its CPU time is its own too.
struct ServerProcess {
    child: Child,
    url: String,
}

fn start_server(corpus: &Corpus) -> Result<ServerProcess, Error> {
    let failed = |what: &str, error: std::io::Error| Error::environment("server", what).why(error);
    let program = std::env::current_exe().map_err(|error| failed("cannot find myself", error))?;
    let mut child = Command::new(program)
        .args(["serve", "--addr", "127.0.0.1:0", "--page", PAGE, "--with-parent"])
        .args(["--synthetic", &corpus.count.to_string()])
        .args(["--size", &corpus.size.to_string(), "--seed", &corpus.seed.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("cannot start it", error))?;
    let mut url = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut url).map_err(|error| failed("does not start", error))?;
    }
    Ok(ServerProcess { child, url: url.trim().to_owned() })
}

impl ServerProcess {
    /// CPU time so far; 0 where `/proc` does not tell.
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        // Behind the name, which may hold anything, in parentheses: state is field 3 (proc(5)).
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Asks it to end, and waits.
    fn stop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.stop();
    }
}
