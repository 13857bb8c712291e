//! `cargo xtask test`: everything CI checks, step by step, the cheap steps first.

use std::time::Instant;

use crate::cmd::{cargo, check, output, shown, stream};

type Step = fn(&mut Totals, &Options) -> Result<(), String>;

/// In this order; the first step that fails ends the run. The tests come last, so that their
/// output and the line of sums close it.
const STEPS: [(&str, Step); 8] = [
    ("fmt", |_, _| check(cargo(&["fmt", "--all", "--check"]))),
    ("tidy", |_, _| crate::tidy::run(&[])),
    ("clippy", |_, _| clippy()),
    ("doc", |_, _| doc()),
    ("deny", |_, options| deny(options)),
    ("fuzz", |_, _| fuzz()),
    ("asan", |_, _| asan()),
    ("test", |totals, _| test(totals)),
];

/// The release that `.ci/run` installs; any other may do.
const DENY_INSTALL: &str = "cargo install cargo-deny --locked --version 0.20.2";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq)]
struct Options {
    only: Option<String>,
    online: bool,
}

/// Sums over every `test result:` line.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
    lines: u64,
}

/// Runs all steps, or the one that `--only` names.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    let start = Instant::now();
    let mut totals = Totals::default();
    let mut result = Ok(());
    for (name, step) in STEPS {
        if options.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        println!("==> {name}");
        let start = Instant::now();
        let outcome = step(&mut totals, &options);
        let seconds = start.elapsed().as_secs_f64();
        if let Err(why) = outcome {
            println!("<== {name}: FAILED after {seconds:.1} s");
            result = Err(format!("step `{name}`: {why}"));
            break;
        }
        println!("<== {name}: ok, {seconds:.1} s");
    }
    println!("total: {:.1} s", start.elapsed().as_secs_f64());
    if totals.lines > 0 {
        let Totals { passed, failed, skipped, .. } = totals;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
    result
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        only: None,
        online: std::env::var_os("XTASK_ONLINE").is_some_and(|value| value == "1"),
    };
    let names = || STEPS.map(|(name, _)| name).join(" ");
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--only" => {
                let name = args.next().ok_or_else(|| format!("--only: which of {}?", names()))?;
                if !STEPS.iter().any(|(step, _)| step == name) {
                    return Err(format!("--only {name}: no such step: one of {}", names()));
                }
                options.only = Some(name.clone());
            }
            "--online" => options.online = true,
            other => return Err(format!("test {other}: unknown option: see `cargo xtask help`")),
        }
    }
    Ok(options)
}

fn clippy() -> Result<(), String> {
    check(cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn doc() -> Result<(), String> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    check(doc)
}

/// The database of advisories lies on another host, so it is asked only on demand.
fn deny(options: &Options) -> Result<(), String> {
    let mut version = cargo(&["deny", "--version"]);
    version.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            return Err(format!("cargo-deny: not installed: {DENY_INSTALL}"));
        }
        println!("note: skipped, cargo-deny is not installed: {DENY_INSTALL}");
        return Ok(());
    }
    let mut args = vec!["deny", "--locked", "check", "bans", "licenses", "sources"];
    if options.online {
        args.push("advisories");
    }
    check(cargo(&args))
}

/// libFuzzer targets link on nightly only; that they compile is checked on every run.
fn fuzz() -> Result<(), String> {
    let manifest = "fuzz/Cargo.toml";
    if !crate::root().join(manifest).is_file() {
        println!("note: there is no {manifest} yet");
        return Ok(());
    }
    check(cargo(&["fmt", "--manifest-path", manifest, "--check"]))?;
    let mut args = vec!["check", "--manifest-path", manifest];
    let lock = crate::cmd::command("git", &["ls-files", "fuzz/Cargo.lock"]);
    if !output(lock)?.is_empty() {
        args.push("--locked");
    }
    check(cargo(&args))
}

/// What has `unsafe` is tested once more under AddressSanitizer, in a target folder of its own. (It does
/// not look into assembly; what it sees is what the code around it does with memory.) The stable toolchain has the sanitizer, and asks for the word that opens what is not stable.
fn asan() -> Result<(), String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("note: skipped, not for this platform");
        return Ok(());
    }
    // With a target named, build scripts are not built with the sanitizer.
    let triple = "x86_64-unknown-linux-gnu";
    let mut tests = cargo(&["test", "--locked", "--lib", "-p", "windrow-prefetch"]);
    tests.args(["--target", triple, "--target-dir"]).arg(crate::root().join("target/asan"));
    tests.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    check(tests)
}

fn test(totals: &mut Totals) -> Result<(), String> {
    // All test programs run even when one fails, so that the sums are of everything.
    let command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    let what = shown(&command);
    let outcome = stream(command, |line| totals.add(line));
    outcome?;
    if totals.passed == 0 { Err(format!("{what}: ran no test")) } else { Ok(()) }
}

impl Totals {
    /// Adds one line of output if it is `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        self.lines += 1;
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_every_result_line_and_nothing_else() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "test a::b ... ok",
            "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out",
            "the text `test result: ok. 9 passed` inside a line",
        ] {
            totals.add(line);
        }
        assert_eq!(totals, Totals { passed: 5, failed: 5, skipped: 1, lines: 2 });
    }

    #[test]
    fn an_unknown_step_or_option_is_refused() {
        let args = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert!(parse(&args(&["--only"])).is_err());
        assert!(parse(&args(&["--only", "nothing"])).is_err());
        assert!(parse(&args(&["--fast"])).is_err());
        assert_eq!(parse(&args(&["--only", "tidy"])).unwrap().only.as_deref(), Some("tidy"));
    }
}
