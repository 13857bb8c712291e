//! Serves a synthetic corpus or a directory, to try or to measure it alone:
//! `cargo run --release -p windrow-server --example serve -- --synthetic 1000000 --size 100`.

use std::process::ExitCode;
use std::time::Duration;

use windrow_model::Corpus;
use windrow_server::{Content, Options, Server};

const USAGE: &str = "serve (--synthetic N [--size B] [--seed S] | --dir DIR) \
                     [--addr 127.0.0.1:0] [--page N] [--latency-ms T] [--threads N]";

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("usage: {USAGE}");
        return ExitCode::from(2);
    };
    match Server::start(options) {
        Ok(server) => {
            eprintln!("listening on http://{}", server.addr());
            server.join();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit().code())
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut corpus = Corpus { count: 0, size: 100, seed: 0 };
    let mut content = None;
    let mut options = Options::new("127.0.0.1:0".parse().ok()?, Content::Synthetic(corpus));
    while let Some(flag) = words.next() {
        let value = words.next()?;
        match flag.as_str() {
            "--synthetic" => corpus.count = value.parse().ok()?,
            "--size" => corpus.size = value.parse().ok()?,
            "--seed" => corpus.seed = value.parse().ok()?,
            "--dir" => content = Some(Content::Directory(value.into())),
            "--addr" => options.addr = value.parse().ok()?,
            "--page" => options.page = value.parse().ok()?,
            "--latency-ms" => options.latency = Duration::from_millis(value.parse().ok()?),
            "--threads" => options.threads = value.parse().ok()?,
            _ => return None,
        }
    }
    options.content = content.unwrap_or(Content::Synthetic(corpus));
    Some(options)
}
