//! The windrow that is measured: built as a user gets it, run as a user runs it, its report
//! checked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::child::{Server, Usage, measure};
use crate::cmd::{cargo, check, output};

/// The release binaries: `windrow`, and this program for the loops that are compared with it.
#[derive(Debug)]
pub(crate) struct Binaries {
    windrow: PathBuf,
    xtask: PathBuf,
}

impl Binaries {
    /// Builds what is wanted and says where it is; `windrow` is one that was built before.
    pub(crate) fn build(wanted: bool, windrow: Option<&Path>) -> Result<Self, String> {
        if wanted && windrow.is_none() {
            check(cargo(&["build", "--release", "--locked", "-p", "windrow-cli"]))?;
        }
        check(cargo(&["build", "--release", "--locked", "-p", "xtask"]))?;
        let folder = target_folder()?.join("release");
        let windrow = windrow.map_or_else(|| folder.join("windrow"), PathBuf::from);
        Ok(Self { windrow, xtask: folder.join("xtask") })
    }

    pub(crate) fn windrow(&self) -> Command {
        Command::new(&self.windrow)
    }

    pub(crate) fn xtask(&self) -> Command {
        Command::new(&self.xtask)
    }

    /// One of this crate's examples, built now: what few rows need, and what takes long to build.
    pub(crate) fn example(&self, name: &str) -> Result<PathBuf, String> {
        check(cargo(&["build", "--release", "--locked", "-p", "xtask", "--example", name]))?;
        Ok(target_folder()?.join("release/examples").join(name))
    }
}

/// Where cargo builds to.
pub(crate) fn target_folder() -> Result<PathBuf, String> {
    let text = output(cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let value: Value = serde_json::from_str(&text).map_err(|why| format!("metadata: {why}"))?;
    let folder = value.get("target_directory").and_then(Value::as_str);
    folder.map(PathBuf::from).ok_or_else(|| "cargo metadata: no target_directory".to_owned())
}

/// `windrow serve` of `objects` synthetic objects of 100 bytes.
pub(crate) fn serve(binaries: &Binaries, objects: usize) -> Result<Server, String> {
    let mut serve = binaries.windrow();
    serve.args(["serve", "--addr", "127.0.0.1:0", "--size", "100", "--synthetic"]);
    serve.arg(objects.to_string());
    Server::printing_url(serve)
}

/// What one `windrow get` cost.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) us_per_object: f64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) objects_per_second: f64,
}

/// One `windrow get` to measure.
#[derive(Debug)]
pub(crate) struct Get<'a> {
    pub(crate) binaries: &'a Binaries,
    pub(crate) url: &'a str,
    pub(crate) destination: &'a Path,
    pub(crate) objects: usize,
    pub(crate) core: Option<usize>,
    /// Format, connections and the like.
    pub(crate) args: &'a [&'a str],
}

impl Get<'_> {
    /// Runs it and checks its sums: a run that is fast because it lost something is no figure.
    pub(crate) fn run(&self, limit: Duration, scratch: &Path) -> Result<Got, String> {
        let mut get = self.binaries.windrow();
        get.arg("get").arg(self.url).arg("-o").arg(self.destination).args(self.args);
        get.args(["--progress", "none"]);
        let usage = measure(get, self.core, limit, scratch)?;
        summary(self.destination, &usage, self.objects)
    }
}

/// What a run cost whose state is in `folder`, after a look at its sums.
pub(crate) fn summary(folder: &Path, usage: &Usage, objects: usize) -> Result<Got, String> {
    let path = folder.join(".windrow/summary.json");
    let text = std::fs::read_to_string(path).map_err(|why| format!("summary.json: {why}"))?;
    got(&text, usage, objects)
}

fn got(summary: &str, usage: &Usage, objects: usize) -> Result<Got, String> {
    let value: Value =
        serde_json::from_str(summary).map_err(|why| format!("summary.json: {why}"))?;
    let number = |field: &str| {
        let number = value.get(field).and_then(Value::as_f64);
        number.ok_or_else(|| format!("summary.json: no number `{field}`"))
    };
    let wanted = objects as f64;
    for (field, wanted) in [
        ("listed", wanted),
        ("stored", wanted),
        ("skipped", 0.0),
        ("failed", 0.0),
        ("pending", 0.0),
    ] {
        let is = number(field)?;
        if is != wanted {
            return Err(format!("summary.json: {field}: {is}, expected {wanted}"));
        }
    }
    // Its own count cannot hold what it spends on leaving, so it may only be a little lower.
    let own = number("cpu_us_per_object")?;
    let us_per_object = usage.cpu_us / wanted;
    if own > us_per_object * 1.05 + 0.1 || own < us_per_object * 0.5 {
        println!("  note: summary.json says {own:.2} us per object, the kernel {us_per_object:.2}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of memory")]
    let own_rss = number("max_rss_bytes")? as u64;
    Ok(Got {
        us_per_object,
        peak_rss_bytes: usage.peak_rss_bytes.max(own_rss),
        objects_per_second: number("objects_per_second")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu_us: f64) -> Usage {
        Usage { cpu_us, wall_seconds: 1.0, peak_rss_bytes: 5, stdout: String::new() }
    }

    const GOOD: &str = r#"{"listed":10,"stored":10,"skipped":0,"failed":0,"pending":0,
        "cpu_us_per_object":6.0,"max_rss_bytes":9,"objects_per_second":3.5}"#;

    #[test]
    fn a_complete_run_is_a_figure() {
        let got = got(GOOD, &usage(70.0), 10).unwrap();
        assert_eq!((got.us_per_object, got.peak_rss_bytes), (7.0, 9));
    }

    #[test]
    fn a_run_that_lost_something_is_none() {
        assert!(got(GOOD, &usage(70.0), 11).is_err());
        assert!(got(&GOOD.replace("\"failed\":0", "\"failed\":1"), &usage(70.0), 10).is_err());
        assert!(got(&GOOD.replace("max_rss_bytes", "x"), &usage(70.0), 10).is_err());
        assert!(got("", &usage(70.0), 10).is_err());
    }
}
