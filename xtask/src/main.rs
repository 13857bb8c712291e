//! Chores of this repository: `cargo xtask test`, `cargo xtask tidy`, `cargo xtask bench`,
//! `cargo xtask torture`.
//!
//! One program instead of shell scripts, so that the same checks run on every machine and the
//! checks themselves have tests.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a chore's report on stdout is what it is for")]

mod bench;
mod cmd;
mod test;
mod tidy;
mod torture;

use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [--only STEP] [--online]   everything CI checks; STEP is one of
                                    fmt     cargo fmt --check
                                    tidy    the rules below
                                    clippy  no warning in any target
                                    doc     no warning in the documentation
                                    deny    licences, sources, bans (with --online, or with
                                            XTASK_ONLINE=1, also the advisories)
                                    fuzz    the fuzz targets compile and are formatted
                                    test    cargo test, all crates
                                  ends with one line: N passed, N failed, N skipped
  tidy                            directions of imports and of crates, file length, markers,
                                  sleeps in tests, machine paths, unsafe without a reason,
                                  broken links
  bench [--quick] [--only ROW] [--dir DIR] [--rounds N] [--windrow FILE]
        [--install] [--no-write]
                                  measure, print the table, write it into docs/BENCHMARKS.md;
                                  ROW is one of nginx files ways peers pipeline demo memory
                                  rate throttle auto lists s3list s3 resize packs
                                  cat shard tls.
                                  --quick: small counts, one round, nothing written.
                                  --dir: where the measured output goes (a real file system;
                                  default a folder under the target directory).
                                  --rounds: how often both sides take their turn; 5.
                                  --windrow: measure this binary, for comparing two builds;
                                  nothing written.
                                  --install: apt-get install what is missing
  torture [--only ROW] [--rounds N] [--seed S] [--dir DIR] [--windrow FILE]
                                  try to break it: kills, errors of the system, bad servers;
                                  ROW is one of
                                    kill    kill -9 at random moments of a run of 200,000
                                            objects; N kills for each of 4 lines; 50
                                    calls   kill -9 at every system call that changes something,
                                            of a run of 300; at most N points for each of 6
                                    errors  every error at every such call; N as above
                                    faults  200,000 objects, 5 % of the answers faulty
                                    close   10^6 GETs; the server closes after 1-50 requests
                                    crash   power cuts on a simulated disk; N of them; 10^6
                                  ends with an error where a promise was not held, and says what
                                  repeats it. --dir: where the output goes; the temporary folder.
  help                            this text
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("test") => test::run(rest),
        Some("tidy") => tidy::run(rest),
        Some("bench") => bench::run(rest),
        Some("torture") => torture::run(rest),
        // Children of `bench`, so that their CPU time can be measured apart.
        Some(bench::CREATE_LOOP) => bench::create_loop(rest),
        Some(bench::LIST_SERVER) => bench::list_server(rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => {
            Err(format!("`{other}`: no such command: `cargo xtask help` lists what there is"))
        }
        None => Err("which command? `cargo xtask help` lists what there is".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the repository: the folder above this crate's. What cargo says now counts before
/// what it said at build time: two checkouts may share one target directory.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
