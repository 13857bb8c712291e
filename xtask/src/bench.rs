//! `cargo xtask bench`: what windrow costs, as ratios measured within one run.
//!
//! Two things are compared by turns (A B A B ...), client and server on different cores, and the
//! middle of at least five rounds counts: absolute figures drift between machines and hours.
//! Every small file goes into a new folder and everything is deleted at the very end, because
//! creating files right after a mass delete costs several times as much.

mod auto;
mod bucket;
mod child;
mod create;
mod files;
mod listed;
mod lists;
mod nginx;
mod packs;
mod peers;
mod rate;
mod report;
mod resize;
mod s3;
mod s3list;
mod s3peers;
mod s3put;
mod shard;
mod speed;
mod throttle;
mod tls;
mod watched;
mod whole;
mod windrow;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use report::Row;
use windrow::Binaries;

use crate::cmd::{check, command, found};

/// The subcommand behind which [`create_loop`] is.
pub(crate) const CREATE_LOOP: &str = "create-loop";

/// The subcommand that lists a bucket.
pub(crate) const LIST_SERVER: &str = "list-server";

pub(crate) use create::run as create_loop;
pub(crate) use listed::run as list_server;
pub(crate) use windrow::target_folder;

type Measure = fn(&Bench) -> Result<Vec<Row>, String>;

/// Rows in running order: those that make small files first, nothing is deleted before them.
const ROWS: [(&str, Needs, Measure); 18] = [
    ("nginx", Needs { windrow: true, nginx: true, rest: false }, speed::nginx),
    ("files", Needs { windrow: true, nginx: true, rest: true }, files::files),
    ("ways", Needs { windrow: false, nginx: false, rest: true }, files::ways),
    ("peers", Needs { windrow: true, nginx: true, rest: true }, peers::peers),
    ("pipeline", Needs { windrow: true, nginx: false, rest: false }, speed::pipeline),
    ("demo", Needs { windrow: true, nginx: false, rest: false }, whole::demo),
    ("memory", Needs { windrow: true, nginx: false, rest: false }, whole::memory),
    ("rate", Needs { windrow: true, nginx: false, rest: false }, rate::rate),
    ("throttle", Needs { windrow: true, nginx: false, rest: false }, throttle::throttle),
    ("auto", Needs { windrow: true, nginx: false, rest: false }, auto::auto),
    ("lists", Needs { windrow: true, nginx: false, rest: false }, lists::lists),
    ("s3list", Needs { windrow: true, nginx: false, rest: false }, s3list::s3list),
    ("s3", Needs { windrow: true, nginx: false, rest: false }, s3::s3),
    ("resize", Needs { windrow: true, nginx: false, rest: false }, resize::resize),
    ("packs", Needs { windrow: true, nginx: false, rest: false }, packs::packs),
    ("cat", Needs { windrow: true, nginx: false, rest: false }, packs::cat),
    ("shard", Needs { windrow: true, nginx: false, rest: false }, shard::shard),
    ("tls", Needs { windrow: true, nginx: true, rest: false }, tls::tls),
];

#[derive(Clone, Copy, Debug)]
struct Needs {
    windrow: bool,
    /// nginx and wrk.
    nginx: bool,
    /// A file system on which no earlier run deleted its files just now.
    rest: bool,
}

/// How many objects or files each row takes.
#[derive(Debug)]
struct Counts {
    nginx: usize,
    wrk_seconds: u64,
    files: usize,
    ways: usize,
    /// Files that a folder holds before more are made in it; 0 leaves that row out.
    ways_before: usize,
    pipeline: usize,
    demo: usize,
    memory: [usize; 2],
    rate_seconds: usize,
    /// Lines of the longest list.
    list: usize,
    /// Lines that the reader alone is given.
    list_lines: usize,
    /// Keys of a bucket.
    s3list: usize,
    /// Objects that are fetched from a server that only answers.
    s3: usize,
    /// Objects that are put.
    s3put: usize,
    /// Objects that every program fetches from a real server.
    s3peers: usize,
    /// Pictures.
    resize: usize,
    /// Messages for windrow, and for those that take longer.
    shard: [usize; 2],
    packs: usize,
    cat: usize,
    tls: usize,
    peers: usize,
}

const FULL: Counts = Counts {
    nginx: 300_000,
    wrk_seconds: 5,
    files: 100_000,
    ways: 100_000,
    ways_before: 1_000_000,
    pipeline: 2_000_000,
    demo: 10_000_000,
    memory: [1_000_000, 10_000_000],
    rate_seconds: 8,
    list: 10_000_000,
    list_lines: 3_000_000,
    s3list: 1_000_000,
    s3: 500_000,
    s3put: 200_000,
    s3peers: 5_000,
    resize: 2_000,
    shard: [20_000_000, 1_000_000],
    packs: 2_000_000,
    cat: 10_000_000,
    tls: 300_000,
    peers: 100_000,
};

const QUICK: Counts = Counts {
    nginx: 20_000,
    wrk_seconds: 1,
    files: 5_000,
    ways: 5_000,
    ways_before: 0,
    pipeline: 100_000,
    demo: 200_000,
    memory: [50_000, 200_000],
    rate_seconds: 3,
    list: 200_000,
    list_lines: 200_000,
    s3list: 50_000,
    s3: 50_000,
    s3put: 20_000,
    s3peers: 500,
    resize: 100,
    shard: [1_000_000, 100_000],
    packs: 50_000,
    cat: 100_000,
    tls: 20_000,
    peers: 5_000,
};

/// Rounds of a full run; the figure is their middle.
const ROUNDS: usize = 5;

/// How long ext4 does not use the inode of a deleted file again: until then every new file costs
/// a search past them, tens of times what it costs otherwise.
const REST: Duration = Duration::from_secs(310);

/// What every row works with.
#[derive(Debug)]
struct Bench {
    binaries: Binaries,
    /// All output goes below this folder.
    folder: PathBuf,
    counts: Counts,
    rounds: usize,
    made: Cell<usize>,
}

impl Bench {
    /// A path below the folder that was never used in this run.
    fn fresh(&self, what: &str) -> PathBuf {
        self.made.set(self.made.get() + 1);
        self.folder.join(format!("{:04}-{what}", self.made.get()))
    }

    /// The same, as an empty folder.
    fn fresh_folder(&self, what: &str) -> Result<PathBuf, String> {
        let path = self.fresh(what);
        std::fs::create_dir_all(&path).map_err(|why| format!("bench folder: {why}"))?;
        Ok(path)
    }

    /// Waits until what earlier runs wrote is on the disk, so that no run pays for another.
    fn settle(&self) {
        if let Ok(folder) = std::fs::File::open(&self.folder) {
            rustix::fs::syncfs(folder).ok();
        }
    }

    /// Is there room for `bytes`, and a tenth more?
    fn room(&self, bytes: u64) -> Result<(), String> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(|why| format!("statvfs: {why}"))?;
        let free = stat.f_bavail * stat.f_frsize;
        let wanted = bytes + bytes / 10;
        if free >= wanted {
            return Ok(());
        }
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        Err(format!("no room: {:.1} GiB wanted, {:.1} GiB free", gib(wanted), gib(free)))
    }
}

#[derive(Debug, Default, PartialEq)]
struct Options {
    quick: bool,
    only: Option<String>,
    dir: Option<PathBuf>,
    /// A windrow to measure instead of this checkout's; nothing is written then.
    windrow: Option<PathBuf>,
    rounds: Option<usize>,
    install: bool,
    no_write: bool,
}

/// Measures, prints, and writes the table.
///
/// Errors: a row could not be measured (the others are, and are written). A missed target is
/// a result and no error.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let rows = || ROWS.into_iter().filter(|(name, ..)| wanted(name));
    if rows().any(|(_, needs, _)| needs.nginx) {
        tools(options.install)?;
    }
    let absolute =
        |path: &PathBuf| std::path::absolute(path).map_err(|why| format!("bench: path: {why}"));
    let windrow = options.windrow.as_ref().map(absolute).transpose()?;
    let binaries = Binaries::build(rows().any(|(_, needs, _)| needs.windrow), windrow.as_deref())?;
    let base = match &options.dir {
        Some(dir) => absolute(dir)?,
        None => target_folder()?,
    };
    let folder = base.join(format!("windrow-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|why| format!("bench folder: {why}"))?;
    let place = report::Machine::look(&folder);
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { ROUNDS });
    let counts = if options.quick { QUICK } else { FULL };
    let bench = Bench { binaries, folder, counts, rounds, made: Cell::new(0) };
    println!("{}", place.line());
    let stamp = target_folder()?.join("windrow-bench-deleted");
    if rows().any(|(_, needs, _)| needs.rest) {
        rest(&stamp, options.quick);
    }

    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for (name, _, measure) in rows() {
        println!("==> {name}: {rounds} rounds");
        match measure(&bench) {
            Ok(rows) => {
                rows.iter().for_each(|row| println!("  {}", row.markdown(&place.when)));
                results.extend(rows);
            }
            Err(why) => {
                println!("  not measured: {why}");
                failures.push(format!("{name}: {why}"));
            }
        }
    }
    if !results.is_empty() {
        println!("\n{}", report::table(&results, &place.when));
    }
    if !results.is_empty() && !options.quick && !options.no_write && options.windrow.is_none() {
        report::write(&crate::root().join("docs/BENCHMARKS.md"), &results, &place)?;
        println!("written into docs/BENCHMARKS.md");
    }
    println!("deleting the output of all runs ...");
    remove(&bench.folder);
    std::fs::write(stamp, "").ok();
    if failures.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failures.join("; "))) }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("bench {arg}: needs a value"));
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--install" => options.install = true,
            "--no-write" => options.no_write = true,
            "--dir" => options.dir = Some(value()?.into()),
            "--windrow" => options.windrow = Some(value()?.into()),
            "--rounds" => match value()?.parse() {
                Ok(rounds) if rounds > 0 => options.rounds = Some(rounds),
                _ => return Err("bench --rounds: needs a number from 1".to_owned()),
            },
            "--only" => {
                let name = value()?;
                if !ROWS.iter().any(|(row, ..)| row == name) {
                    let names = ROWS.map(|(row, ..)| row).join(" ");
                    return Err(format!("bench --only {name}: no such row: one of {names}"));
                }
                options.only = Some(name.clone());
            }
            other => return Err(format!("bench {other}: unknown option: see `cargo xtask help`")),
        }
    }
    Ok(options)
}

/// nginx and wrk are there, or are installed, or how to install them is said.
fn tools(install: bool) -> Result<(), String> {
    let missing: Vec<_> = [("nginx", "nginx-light"), ("wrk", "wrk")]
        .into_iter()
        .filter(|(program, _)| !found(program))
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !install {
        return Err(format!("missing: run `apt-get install {packages}`, or give --install"));
    }
    check(command("apt-get", &["update"]))?;
    let mut apt = command("apt-get", &["install", "-y", "--no-install-recommends"]);
    apt.args(missing).env("DEBIAN_FRONTEND", "noninteractive");
    check(apt)
}

/// Waits until [`REST`] has passed since an earlier run deleted its output.
fn rest(stamp: &Path, quick: bool) {
    let age = stamp.metadata().and_then(|meta| meta.modified()).ok();
    let age = age.and_then(|time| time.elapsed().ok()).unwrap_or(REST);
    let left = REST.saturating_sub(age);
    if left.is_zero() {
        return;
    }
    if quick {
        println!("note: files were deleted just now: creating some will look slow");
        return;
    }
    println!("waiting {} s: files were deleted just now", left.as_secs());
    std::thread::sleep(left);
}

/// Best effort: what stays is below the target directory or where the user said.
fn remove(folder: &Path) {
    if let Err(why) = std::fs::remove_dir_all(folder) {
        println!("note: {}: not deleted: {why}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let args = |text: &str| parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = args("--quick --only ways --rounds 3 --dir x").unwrap();
        assert!(options.quick && options.rounds == Some(3));
        assert_eq!(options.only.as_deref(), Some("ways"));
        for bad in ["--only nothing", "--only", "--rounds 0", "--slow"] {
            assert!(args(bad).is_err(), "{bad}");
        }
    }
}
