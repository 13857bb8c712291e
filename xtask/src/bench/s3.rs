//! What asking a bucket costs: signatures, whole requests, and copies into another bucket, against
//! servers that only answer and against a real one beside other programs.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use windrow_model::Corpus;

use super::Bench;
use super::bucket::{Buckets, Call, in_memory};
use super::child::CLIENT_CORE;
use super::report::{Row, Target};
use super::windrow::serve;
use super::{s3peers, s3put};

pub(crate) const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn row(
    what: &str,
    figures: Vec<f64>,
    unit: &'static str,
    target: Option<Target>,
) -> Row {
    Row { name: "s3", what: what.to_owned(), figures, unit, target }
}

/// All of it.
pub(crate) fn s3(bench: &Bench) -> Result<Vec<Row>, String> {
    let mut rows = answering(bench)?;
    rows.extend(s3put::put(bench)?);
    rows.extend(s3peers::peers(bench)?);
    Ok(rows)
}

/// One core, a server that only answers: its `/get/NAME` is the key NAME of a bucket `get`.
fn answering(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.s3;
    let server = serve(&bench.binaries, objects)?;
    let keys = bench.fresh("keys.txt");
    names(objects, &keys).map_err(|why| format!("keys: {why}"))?;
    let keys = keys.to_string_lossy();
    let scratch = bench.fresh_folder("out")?;
    let get = |args: &[&str]| {
        let destination = bench.fresh("s3");
        let mut all = vec!["--endpoint-url", &server.url, "--keys", &keys, "--cores", "1"];
        all.extend(args);
        let call = Call {
            bench,
            source: "s3://get",
            output: &destination.to_string_lossy(),
            job: &destination,
            objects,
            core: CLIENT_CORE,
            args: &all,
        };
        bench.settle();
        let (got, _) = call.run(LIMIT, &scratch)?;
        super::remove(&destination);
        Ok::<_, String>(got.us_per_object)
    };
    let null = ["--format", "null", "-c", "64"];
    let mut figures = [const { Vec::new() }; 5];
    for _ in 0..bench.rounds {
        let bare = get(&[&null[..], &["--no-sign-request"]].concat())?;
        let signed = get(&null)?;
        let auto = get(&["--format", "tar"])?;
        let fixed = get(&["--format", "tar", "-c", "64"])?;
        println!(
            "  bare {bare:.2} us, signed {signed:.2}, tar -c auto {auto:.2}, tar -c 64 {fixed:.2}"
        );
        for (all, one) in figures.iter_mut().zip([signed - bare, auto, fixed, bare, signed]) {
            all.push(one);
        }
    }
    let [signing, auto, fixed, bare, signed] = figures;
    Ok(vec![
        row(
            "a signed GET of 100 bytes, 1 core, 64 in flight, to null: CPU of the client more than \
             of one that is not signed",
            signing,
            "us",
            Some(Target::Most(2.5)),
        ),
        row("the same, not signed: all CPU of it", bare, "us", None),
        row("the same, signed: all CPU of it", signed, "us", None),
        row(
            "signed GETs of 100 bytes over plain HTTP, `-c auto`, 1 core, to tar, from a server \
             that only answers: CPU of the client per object",
            auto,
            "us",
            Some(Target::Most(15.0)),
        ),
        row("the same with 64 in flight", fixed, "us", None),
    ])
}

/// The keys that `windrow serve --synthetic` has.
fn names(objects: usize, path: &Path) -> std::io::Result<()> {
    let corpus = Corpus { count: objects as u64, size: 100, seed: 0 };
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let mut name = Vec::new();
    for nth in 0..objects as u64 {
        name.clear();
        corpus.name_into(nth, &mut name);
        name.push(b'\n');
        file.write_all(&name)?;
    }
    file.flush()
}

/// A bucket of so many objects of 100 bytes, and another one, in memory if that can be.
pub(crate) fn filled(
    bench: &Bench,
    objects: usize,
) -> Result<(Buckets, tempfile::TempDir, &'static str), String> {
    // Each object is a page, and so is each copy; no more than three are there at once.
    let (folder, kind) = in_memory(bench, objects as u64 * 4096 * 4)?;
    let buckets = Buckets::start(bench, folder.path())?;
    let bucket = buckets.bucket("bench")?;
    for nth in 0..objects {
        let path = bucket.join(format!("object-{nth:06}"));
        std::fs::write(path, [b'x'; 100]).map_err(|why| format!("bucket: {why}"))?;
    }
    Ok((buckets, folder, kind))
}
