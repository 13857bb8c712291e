//! `windrow serve`: objects to fetch.

use crate::Outcome;
use crate::args::Serve;
use crate::format::count;
use crate::get::catch;
use crate::progress::say;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use windrow_model::{Corpus, Error, Exit};
use windrow_server::{Content, Options, Server, Urls};

pub(crate) fn run(args: &Serve) -> Outcome {
    let content = match (&args.dir, args.synthetic) {
        (Some(dir), _) => Content::Directory(dir.clone()),
        (None, count) => {
            let count = count.unwrap_or(0);
            if count > Corpus::MAX_COUNT {
                let most = Corpus::MAX_COUNT;
                return Err(Error::usage("--synthetic", format!("must be at most {most}")));
            }
            Content::Synthetic(Corpus { count, size: args.size, seed: args.seed })
        }
    };
    if args.print_urls {
        return print_urls(args, &content);
    }
    let what = match &content {
        Content::Directory(dir) => format!("the files of {}", dir.display()),
        Content::Synthetic(corpus) => {
            format!("{} objects of {} bytes", count(corpus.count), count(corpus.size))
        }
    };
    if args.page == 0 {
        return Err(Error::usage("--page 0", "must be at least 1"));
    }
    let signals = catch()?;
    let server = Server::start(Options {
        page: args.page,
        latency: args.latency,
        threads: args.threads,
        faults: args.faults.clone(),
        allow: args.allow.clone(),
        knee: args.knee,
        jitter: args.jitter,
        seed: args.seed,
        sign_key: args.sign_key.clone(),
        clock_offset: args.clock_offset,
        redirect: args.redirect.clone(),
        checksums: args.checksums,
        coding: args.content_encoding,
        stats: args.stats,
        ..Options::new(args.addr, content)
    })?;
    let url = format!("http://{}", server.addr());
    // The URL is data: whoever starts a server on port 0 reads it here.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{url}").and_then(|()| out.flush());
    drop(out);
    say(&format!("serving {what}; fetch them with: windrow get {url} -o out/"));
    if let Some(faults) = &args.faults {
        // Set in the environment and forgotten, this would be a riddle.
        say(&format!("misbehaving on demand: {faults}"));
    }
    if let Some(allow) = &args.allow {
        say(&format!("allowing {allow}"));
    }
    if let Some(redirect) = &args.redirect {
        say(&format!("redirecting: {redirect}"));
    }
    if let Some(knee) = &args.knee {
        say(&format!("working on so many requests at once: {knee}"));
    }

    let orphaned = Arc::new(AtomicBool::new(false));
    if args.with_parent {
        let orphaned = Arc::clone(&orphaned);
        std::thread::spawn(move || {
            // Ends when the parent does, however it ends.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            orphaned.store(true, Ordering::Relaxed);
        });
    }
    let stop = loop {
        std::thread::park_timeout(Duration::from_millis(50));
        if orphaned.load(Ordering::Relaxed) {
            break Exit::Complete;
        }
        if let Some(stop) = signals.caught() {
            break stop.exit();
        }
    };
    let stats = server.stats();
    say(&format!(
        "served {} requests on {} connections",
        count(stats.requests),
        count(stats.connections)
    ));
    server.stop();
    Ok(stop)
}

fn print_urls(args: &Serve, content: &Content) -> Outcome {
    let Content::Synthetic(corpus) = *content else {
        return Err(Error::usage("--print-urls", "prints the URLs of --synthetic N only"));
    };
    let base = match &args.base {
        Some(base) => base.trim_end_matches('/').to_owned(),
        None if args.addr.port() == 0 => {
            return Err(Error::usage("--print-urls", "port 0 is no address to print")
                .hint("say with --base what the URLs begin with"));
        }
        None => format!("http://{}", args.addr),
    };
    let expires =
        args.clock_offset.unwrap_or_default().unix().saturating_add(args.expires_in.as_secs());
    let signed = args.sign_key.clone().map(|key| (key, expires));
    let urls = Urls { base, corpus, signed };
    match urls.write_to(&mut std::io::stdout().lock()) {
        // Whoever read has seen enough.
        Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Complete),
        Err(why) => Err(Error::environment("standard output", "cannot write").why(why)),
        Ok(()) => Ok(Exit::Complete),
    }
}
