//! What each form of packs costs beside throwing bodies away, what it takes on the disk, and how
//! long one object out of many takes to be had again.

use std::path::Path;
use std::time::{Duration, Instant};

use windrow_model::Corpus;

use super::Bench;
use super::child::{CLIENT_CORE, Server};
use super::report::{Row, Target};
use super::windrow::{Get, serve};

const LIMIT: Duration = Duration::from_secs(900);

/// Bytes of an object of 100 bytes in the largest form.
const MOST_BYTES: u64 = 1100;

/// Forms, and what they may cost on top of `null`, in microseconds of CPU for an object.
const FORMS: [(&str, Option<f64>); 5] = [
    ("tar", Some(0.6)),
    ("jsonl", Some(0.8)),
    ("jsonl.zst", Some(1.5)),
    ("parquet", Some(1.5)),
    // gzip for three records of each object: for crawls, where the network is the slower part.
    ("warc", None),
];

/// CPU and bytes for an object of 100 bytes, in each form.
pub(crate) fn packs(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.packs;
    bench.room(objects as u64 * MOST_BYTES * 2)?;
    let server = serve(&bench.binaries, objects)?;
    let mut over = FORMS.map(|_| Vec::new());
    let mut sizes = FORMS.map(|_| Vec::new());
    for _ in 0..bench.rounds {
        let (null, _) = get(bench, &server, "null", objects)?;
        for (nth, (format, _)) in FORMS.into_iter().enumerate() {
            // It takes fifty times as long.
            let part = if format == "warc" { objects / 20 } else { objects };
            let (us, bytes) = get(bench, &server, format, part)?;
            println!("  {format}: {us:.2} us over null's {null:.2}: {:.2}", us - null);
            over[nth].push(us - null);
            sizes[nth].push(bytes as f64 / part as f64);
        }
    }
    let mut rows = Vec::new();
    for (((format, most), over), sizes) in FORMS.into_iter().zip(over).zip(sizes) {
        let row = |what, figures, unit, target| Row { name: "packs", what, figures, unit, target };
        let what = format!("`--format {format}`, 100-byte objects: CPU of each on top of `null`");
        rows.push(row(what, over, "us", most.map(Target::Most)));
        let what = format!("the same: bytes of an object on the disk, as {format}");
        rows.push(row(what, sizes, "", None));
    }
    Ok(rows)
}

/// CPU of an object, and the bytes of all packs.
fn get(bench: &Bench, server: &Server, format: &str, objects: usize) -> Result<(f64, u64), String> {
    bench.settle();
    let destination = bench.fresh(format);
    let limit = objects.to_string();
    let get = Get {
        binaries: &bench.binaries,
        url: &server.url,
        destination: &destination,
        objects,
        core: CLIENT_CORE,
        args: &["--format", format, "--cores", "1", "--pipeline", "64", "--limit", &limit],
    };
    let scratch = bench.fresh_folder("out")?;
    let got = get.run(LIMIT, &scratch)?;
    let bytes = size(&destination)?;
    super::remove(&destination);
    Ok((got.us_per_object, bytes))
}

fn size(folder: &Path) -> Result<u64, String> {
    let wrong = |why: std::io::Error| format!("{}: {why}", folder.display());
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let data = entry.and_then(|entry| entry.metadata()).map_err(wrong)?;
        bytes += if data.is_file() { data.len() } else { 0 };
    }
    Ok(bytes)
}

/// `windrow cat` of single objects, from the start of the process to its end.
pub(crate) fn cat(bench: &Bench) -> Result<Vec<Row>, String> {
    const CALLS: u64 = 50;
    let objects = bench.counts.cat;
    bench.room(objects as u64 * MOST_BYTES)?;
    let server = serve(&bench.binaries, objects)?;
    let corpus = Corpus { count: objects as u64, size: 100, seed: 0 };
    let mut rows = Vec::new();
    for format in ["tar", "jsonl.zst", "parquet"] {
        let destination = bench.fresh(format);
        let scratch = bench.fresh_folder("out")?;
        let get = Get {
            binaries: &bench.binaries,
            url: &server.url,
            destination: &destination,
            objects,
            core: CLIENT_CORE,
            args: &["--format", format, "--pipeline", "64"],
        };
        get.run(LIMIT, &scratch)?;
        bench.settle();
        let mut middles = Vec::new();
        for round in 0..bench.rounds as u64 {
            let mut times = Vec::new();
            for call in 0..CALLS {
                let nth = (round * CALLS + call).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
                let nth = nth % objects as u64;
                let mut name = Vec::new();
                corpus.name_into(nth, &mut name);
                let name = String::from_utf8_lossy(&name).into_owned();
                let began = Instant::now();
                let mut cat = bench.binaries.windrow();
                let cat = cat.arg("cat").arg(&destination).arg(&name).output();
                times.push(began.elapsed().as_secs_f64() * 1e3);
                let cat = cat.map_err(|why| format!("windrow cat: {why}"))?;
                if !corpus.matches(nth, &cat.stdout) {
                    return Err(format!("windrow cat {name}: not its body"));
                }
            }
            times.sort_by(f64::total_cmp);
            println!(
                "  {format}: {:.2} ms in the middle, {:.2} ms at most",
                times[times.len() / 2],
                times[times.len() - 1]
            );
            middles.push(times[times.len() / 2]);
        }
        super::remove(&destination);
        rows.push(Row {
            name: "cat",
            what: format!("`windrow cat` of one of {objects} objects in {format}: the whole call"),
            figures: middles,
            unit: "ms",
            target: Some(Target::Most(10.0)),
        });
    }
    Ok(rows)
}
