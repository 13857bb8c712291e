//! `cargo xtask torture`: tries to break a run from outside, for as long as it takes.
//!
//! The short forms of these are tests of the command (crates/cli/tests/it: kills, calls, faults).
//! What a loss of power does cannot be tried from outside on a machine that stays up: the page
//! cache outlives every kill. The row `crash` tries it on the simulated disk of the engine.

mod buckets;
mod calls;
mod garage;
mod kill;
mod servers;

use std::path::PathBuf;
use std::time::Instant;

use windrow_model::Corpus;
use windrow_testkit::torture::Line;
use windrow_testkit::{Serve, Windrow};

use crate::cmd::{cargo, check};

type Row = fn(&Torture) -> Result<(), String>;

const ROWS: [(&str, Row); 8] = [
    ("kill", kill::run),
    ("calls", calls::kills),
    ("errors", calls::errors),
    ("faults", servers::faults),
    ("close", servers::close),
    ("crash", crash),
    ("buckets", buckets::run),
    ("garage", garage::run),
];

/// What every row works with.
#[derive(Debug)]
struct Torture {
    windrow: PathBuf,
    /// All output goes below it.
    folder: tempfile::TempDir,
    rounds: Option<u64>,
    seed: u64,
}

#[derive(Debug, Default, PartialEq)]
struct Options {
    only: Option<String>,
    rounds: Option<u64>,
    seed: Option<u64>,
    dir: Option<PathBuf>,
    windrow: Option<PathBuf>,
}

/// Runs all rows, or the one that `--only` names, even where one fails.
///
/// Errors: a promise was not held.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    let windrow = match options.windrow {
        Some(windrow) => std::path::absolute(windrow).map_err(|why| format!("--windrow: {why}"))?,
        None => {
            check(cargo(&["build", "--release", "--locked", "-p", "windrow-cli"]))?;
            crate::bench::target_folder()?.join("release/windrow")
        }
    };
    let folder = tempfile::Builder::new()
        .prefix("windrow-torture-")
        .tempdir_in(options.dir.unwrap_or_else(std::env::temp_dir));
    let folder = folder.map_err(|why| format!("torture folder: {why}"))?;
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = options.seed.unwrap_or_else(|| time.map_or(0, |time| time.as_secs()));
    let mut torture = Torture { windrow, folder, rounds: options.rounds, seed };
    println!("seed {seed}");
    let mut broken = Vec::new();
    for (name, row) in ROWS {
        if options.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let began = Instant::now();
        if let Err(why) = row(&torture) {
            println!("{name}: BROKEN: {why}");
            broken.push(name);
        }
        println!("{name}: {:.0} s", began.elapsed().as_secs_f64());
    }
    if broken.is_empty() {
        return Ok(());
    }
    torture.folder.disable_cleanup(true);
    Err(format!(
        "not held: {}; to repeat it: cargo xtask torture --only {} --seed {seed}; what is there \
         stays in {}",
        broken.join(" "),
        broken[0],
        torture.folder.path().display()
    ))
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("torture {arg}: needs a value"));
        let number = |text: &String| match text.parse::<u64>() {
            Ok(number) => Ok(number),
            Err(_) => Err(format!("torture {arg} {text}: not a number")),
        };
        match arg.as_str() {
            "--rounds" => options.rounds = Some(number(value()?)?.max(1)),
            "--seed" => options.seed = Some(number(value()?)?),
            "--dir" => options.dir = Some(value()?.into()),
            "--windrow" => options.windrow = Some(value()?.into()),
            "--only" => {
                let name = value()?;
                if !ROWS.iter().any(|(row, _)| row == name) {
                    let names = ROWS.map(|(row, _)| row).join(" ");
                    return Err(format!("torture --only {name}: no such row: one of {names}"));
                }
                options.only = Some(name.clone());
            }
            other => {
                return Err(format!("torture {other}: unknown option: see `cargo xtask help`"));
            }
        }
    }
    Ok(options)
}

impl Torture {
    /// `windrow serve` of a corpus.
    fn serve(&self, corpus: &Corpus, args: &[&str]) -> Serve {
        let figures = [corpus.count, corpus.size, corpus.seed].map(|figure| figure.to_string());
        let [count, size, seed] = figures.each_ref().map(String::as_str);
        let own = ["--synthetic", count, "--size", size, "--seed", seed];
        Windrow::new(&self.windrow).serve(own.into_iter().chain(args.iter().copied()))
    }

    /// The line that fetches it.
    fn line(&self, corpus: Corpus, server: &Serve, args: &[&str]) -> Line {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Line { program: self.windrow.clone(), corpus, url: server.url.clone(), args }
    }
}

/// The simulated disk of the engine: what is not synced may be lost, torn, or out of order.
fn crash(torture: &Torture) -> Result<(), String> {
    let states = torture.rounds.unwrap_or(1_000_000);
    let mut test = cargo(&["test", "--release", "--locked", "-p", "windrow-engine", "--lib"]);
    test.args(["pipeline::crash", "--", "--nocapture"]);
    test.env("WINDROW_CRASHES", states.to_string());
    check(test)?;
    println!("crash: about {states} crash states, nothing lost");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let args = |text: &str| parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = args("--only kill --rounds 3 --seed 7 --dir x").unwrap();
        assert_eq!((options.rounds, options.seed), (Some(3), Some(7)));
        assert_eq!(options.only.as_deref(), Some("kill"));
        for bad in ["--only nothing", "--only", "--rounds x", "--slow"] {
            assert!(args(bad).is_err(), "{bad}");
        }
    }
}
