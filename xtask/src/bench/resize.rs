//! Pictures from a bucket to a bucket, made small on the way, beside the same loop in memory and other
//! programs.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Bench;
use super::bucket::{self, Buckets, Call, credentials, files, in_memory, modules};
use super::child::{CLIENT_CORE, Server, Usage, measure};
use super::report::{Row, Target};

const LIMIT: Duration = Duration::from_secs(900);

/// Of a picture and what is made of it, more than they have.
const BYTES: u64 = 300_000;

/// What is done to each picture.
const SPEC: &str = "resize=256";

/// So many are different; the others are the same again.
const DISTINCT: usize = 200;

/// As people write it. `draft`: the decoder makes less of each picture, as `Image.thumbnail` asks it to.
const PILLOW: &str = r#"
import io, sys
from concurrent.futures import ThreadPoolExecutor
import boto3
from botocore.config import Config
from PIL import Image, ImageOps
url, source, to, threads, how = sys.argv[1:6]
s3 = boto3.client("s3", endpoint_url=url, config=Config(max_pool_connections=int(threads)))
def work(key):
    image = Image.open(io.BytesIO(s3.get_object(Bucket=source, Key=key)["Body"].read()))
    if how == "draft":
        image.thumbnail((256, 256), Image.Resampling.LANCZOS)
        image = ImageOps.exif_transpose(image)
    else:
        image = ImageOps.exif_transpose(image).convert("RGB")
        scale = 256 / max(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    s3.put_object(Bucket=to, Key=key, Body=out.getvalue(), ContentType="image/jpeg")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=source)
keys = [object["Key"] for page in pages for object in page.get("Contents", [])]
with ThreadPoolExecutor(int(threads)) as pool:
    for _ in pool.map(work, keys):
        pass
"#;

/// Threads of those that wait for each request: enough to have the core always busy.
const THREADS: &str = "16";

/// What so many pictures took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    per_second: f64,
    cpu_ms: f64,
}

impl Cost {
    fn of(usage: &Usage, images: usize) -> Self {
        let images = images as f64;
        Self { per_second: images / usage.wall_seconds, cpu_ms: usage.cpu_us / 1e3 / images }
    }
}

struct Run<'a> {
    bench: &'a Bench,
    /// What makes pictures, and the loop in memory.
    program: &'a Path,
    buckets: &'a Buckets,
    images: usize,
    source: &'a Path,
    scratch: &'a Path,
}

impl Run<'_> {
    /// The library's chain over the same bodies, nothing else: on one core, or on all.
    fn pure(&self, core: Option<usize>, threads: usize) -> Result<Cost, String> {
        let mut command = Command::new(self.program);
        command.arg("apply").arg(self.source).args([SPEC, &threads.to_string()]);
        let usage = measure(command, core, LIMIT, self.scratch)?;
        let mut figures = usage.stdout.split_whitespace().map_while(|word| word.parse().ok());
        match (figures.next(), figures.next(), figures.next()) {
            (Some(images), Some(clock), Some(cpu)) if images == self.images as f64 => {
                let (clock, cpu): (f64, f64) = (clock, cpu);
                Ok(Cost { per_second: images / clock, cpu_ms: cpu * 1e3 / images })
            }
            _ => Err(format!("images: printed {}", usage.stdout)),
        }
    }

    /// From a bucket to a new one, which has them all then.
    fn to_new_bucket(
        &self,
        name: &str,
        run: impl FnOnce(&str) -> Result<Usage, String>,
    ) -> Result<Cost, String> {
        self.bench.settle();
        let path = self.buckets.bucket(name)?;
        let usage = run(name)?;
        let found = files(&path);
        super::remove(&path);
        match found == self.images {
            true => Ok(Cost::of(&usage, self.images)),
            false => Err(format!("{name}: {found} images of {}", self.images)),
        }
    }

    fn windrow(&self, name: &str, core: Option<usize>, args: &[&str]) -> Result<Cost, String> {
        let job = self.bench.fresh("resize");
        let all = [&["--endpoint-url", self.buckets.url(), "--transform", SPEC], args].concat();
        let cost = self.to_new_bucket(name, |to| {
            let call = Call {
                bench: self.bench,
                source: "s3://photos",
                output: &format!("s3://{to}"),
                job: &job,
                objects: self.images,
                core,
                args: &all,
            };
            Ok(call.run(LIMIT, self.scratch)?.1)
        });
        super::remove(&job);
        cost
    }

    fn pillow(&self, name: &str, how: &str) -> Result<Cost, String> {
        self.to_new_bucket(name, |to| {
            let mut command = Command::new("python3");
            command.args(["-c", PILLOW, self.buckets.url(), "photos", to, THREADS, how]);
            credentials(&mut command);
            measure(command, CLIENT_CORE, LIMIT, self.scratch)
        })
    }

    /// From a list of URLs to tars for `webdataset`.
    fn img2dataset(&self, to: &Path) -> Result<Cost, String> {
        let path = bucket::program("img2dataset").ok_or("img2dataset: not installed")?;
        let mut serve = self.bench.binaries.windrow();
        serve.args(["serve", "--addr", "127.0.0.1:0", "--dir"]).arg(self.source);
        let server = Server::printing_url(serve)?;
        let mut list = String::new();
        for nth in 0..self.images {
            writeln!(list, "{}/get/image-{nth:05}.jpg", server.url).ok();
        }
        let urls = self.bench.fresh("urls.txt");
        std::fs::write(&urls, list).map_err(|why| format!("list: {why}"))?;
        let mut command = Command::new(path);
        command.arg("--url_list").arg(&urls).arg("--output_folder").arg(to.join("out"));
        command.args(["--input_format", "txt", "--output_format", "webdataset"]);
        command.args(["--image_size", "256", "--resize_mode", "keep_ratio_largest"]);
        command.args(["--encode_quality", "85", "--processes_count", "1", "--thread_count"]);
        command.args([THREADS, "--enable_wandb", "False"]);
        // Else it looks for a newer version of a library of its own.
        command.env("NO_ALBUMENTATIONS_UPDATE", "1");
        let usage = measure(command, CLIENT_CORE, LIMIT, self.scratch)?;
        let made = successes(&to.join("out"));
        match made == self.images {
            true => Ok(Cost::of(&usage, self.images)),
            false => Err(format!("img2dataset: {made} images of {}", self.images)),
        }
    }
}

/// What the statistics beside the tars say.
fn successes(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let stats =
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with("_stats.json"));
    let counts = stats.filter_map(|entry| {
        let text = std::fs::read_to_string(entry.path()).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        value.get("successes").and_then(serde_json::Value::as_u64)
    });
    usize::try_from(counts.sum::<u64>()).unwrap_or(0)
}

/// Rates and CPU, by turns.
pub(crate) fn resize(bench: &Bench) -> Result<Vec<Row>, String> {
    let images = bench.counts.resize;
    let (folder, kind) = in_memory(bench, images as u64 * BYTES)?;
    let buckets = Buckets::start(bench, folder.path())?;
    let source = buckets.bucket("photos")?;
    let program = bench.binaries.example("images")?;
    let mut make = Command::new(&program);
    make.arg("make").arg(&source).args([DISTINCT.to_string(), images.to_string()]);
    crate::cmd::check(make)?;
    let scratch = bench.fresh_folder("out")?;
    let run = Run {
        bench,
        program: &program,
        buckets: &buckets,
        images,
        source: &source,
        scratch: &scratch,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let python = modules("boto3, PIL");
    if !python {
        println!("  note: Python has no boto3 or no Pillow: pip install boto3 pillow");
    }
    let img2dataset = bucket::program("img2dataset").is_some();
    if !img2dataset {
        println!("  note: img2dataset: not installed: pip install img2dataset");
    }
    let mut seen: [Vec<Cost>; 7] = [const { Vec::new() }; 7];
    let [pure, own, pure_all, own_all, draft, whole, dataset] = &mut seen;
    let one = ["--cores", "1", "--transform-threads", "1"];
    for round in 0..bench.rounds {
        let done = |what: &str, to: &mut Vec<Cost>, cost: Result<Cost, String>| {
            let cost = cost?;
            println!("  {what}: {:.1}/s, {:.2} ms of CPU", cost.per_second, cost.cpu_ms);
            to.push(cost);
            Ok::<_, String>(())
        };
        done("in memory, 1 core", pure, run.pure(CLIENT_CORE, 1))?;
        done("windrow, 1 core", own, run.windrow(&format!("one-{round}"), CLIENT_CORE, &one))?;
        done("in memory, all cores", pure_all, run.pure(None, cores))?;
        done("windrow, all cores", own_all, run.windrow(&format!("all-{round}"), None, &[]))?;
        if python {
            done("Pillow, draft", draft, run.pillow(&format!("draft-{round}"), "draft"))?;
            done("Pillow", whole, run.pillow(&format!("pillow-{round}"), "whole"))?;
        }
        if img2dataset {
            let to = folder.path().join(format!("img2dataset-{round}"));
            std::fs::create_dir(&to).map_err(|why| format!("bench folder: {why}"))?;
            // What it says where it does not start is no reason to have no row.
            if let Err(why) = done("img2dataset", dataset, run.img2dataset(&to)) {
                println!("  note: {why}");
            }
            super::remove(&to);
        }
    }
    Ok(rows(images, kind, &seen))
}

fn rows(images: usize, kind: &str, seen: &[Vec<Cost>; 7]) -> Vec<Row> {
    let [pure, own, pure_all, own_all, draft, whole, dataset] = seen;
    let row =
        |what: String, figures, unit, target| Row { name: "resize", what, figures, unit, target };
    let rates = |costs: &[Cost]| costs.iter().map(|cost| cost.per_second).collect::<Vec<_>>();
    let cpu = |costs: &[Cost]| costs.iter().map(|cost| cost.cpu_ms).collect::<Vec<_>>();
    let ratio = |these: Vec<f64>, those: Vec<f64>| {
        these.iter().zip(&those).map(|(this, that)| this / that).collect::<Vec<_>>()
    };
    let mut rows = vec![
        row(
            format!(
                "{images} JPEGs of 1024x768 from s3s-fs (on {kind}, a core of its own) to another \
                 bucket, `--transform {SPEC}`, 1 core: images/s as a part of those of the same code \
                 in memory"
            ),
            ratio(rates(own), rates(pure)),
            "",
            Some(Target::Least(0.9)),
        ),
        row(
            "the same: CPU per image of the loop in memory as a part of windrow's".to_owned(),
            ratio(cpu(pure), cpu(own)),
            "",
            Some(Target::Least(0.9)),
        ),
        row("the same: images/s".to_owned(), rates(own), "", None),
        row("the same: CPU per image".to_owned(), cpu(own), "ms", None),
        row("the loop in memory: CPU per image".to_owned(), cpu(pure), "ms", None),
        row(
            "all cores, which the server takes from, too: images/s as a part of those in memory"
                .to_owned(),
            ratio(rates(own_all), rates(pure_all)),
            "",
            None,
        ),
        row(
            "the same: CPU per image of the loop in memory as a part of windrow's".to_owned(),
            ratio(cpu(pure_all), cpu(own_all)),
            "",
            Some(Target::Least(0.9)),
        ),
        row("the same: images/s".to_owned(), rates(own_all), "", None),
    ];
    for (what, costs) in [
        ("Pillow's `thumbnail`, which decodes a part, and boto3, 16 threads, 1 core", draft),
        ("Pillow's `resize`, Lanczos of the whole picture, and boto3, 16 threads, 1 core", whole),
        ("img2dataset of the same over HTTP to webdataset, 16 threads, 1 core", dataset),
    ] {
        if !costs.is_empty() {
            rows.push(row(format!("{what}: images/s"), rates(costs), "", None));
            rows.push(row("the same: CPU per image".to_owned(), cpu(costs), "ms", None));
            let part = ratio(rates(own), rates(costs));
            rows.push(row(
                "windrow on 1 core is so many times as fast".to_owned(),
                part,
                "x",
                None,
            ));
        }
    }
    rows
}
