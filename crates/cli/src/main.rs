//! The `windrow` command: reads flags, makes a plan of them, runs it, tells how it went.
//!
//! stdout is for data, stderr is for people.

#![forbid(unsafe_code)]

mod args;
mod cat;
mod demo;
mod dry_run;
mod extract;
mod format;
mod get;
mod ls;
mod progress;
mod repack;
mod s3;
mod serve;
mod shard;
mod shown;
mod signals;
mod status;
mod units;
mod verify;

use args::Command;
use std::io::Write;
use std::process::ExitCode;
use windrow_model::{Error, Exit};

fn main() -> ExitCode {
    let args = args::parse();
    quiet_transforms();
    let result = match args.command {
        Command::Get(get) => get::run(&get),
        Command::Status(status) => status::run(&status),
        Command::Verify(verify) => verify::run(&verify),
        Command::Ls(ls) => ls::run(&ls),
        Command::Cat(cat) => cat::run(&cat),
        Command::Extract(extract) => extract::run(&extract),
        Command::Repack(repack) => repack::run(&repack),
        Command::Shard(shard) => shard::run(&shard),
        Command::Serve(serve) => serve::run(&serve),
        Command::Demo(demo) => demo::run(&demo),
    };
    let exit = result.unwrap_or_else(|error| {
        complain(&error);
        error.exit()
    });
    ExitCode::from(exit.code())
}

/// What panics in a transform fails its object, and is told there: once is enough.
fn quiet_transforms() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !std::thread::current().name().is_some_and(|name| name.starts_with("transform")) {
            usual(panic);
        }
    }));
}

/// Tells an error to people: what happened on one line, what to do on another.
fn complain(error: &Error) {
    let mut err = std::io::stderr().lock();
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(err, "windrow: {error}");
    if let Some(hint) = error.advice() {
        let _ = writeln!(err, "hint: {hint}");
    }
}

/// What a command comes to.
type Outcome = Result<Exit, Error>;
