//! The whole command on the whole machine: peak memory, and the demo's time on the clock.

use std::time::Duration;

use super::Bench;
use super::child::measure;
use super::report::{Row, Target};
use super::windrow::{Get, serve};

/// For one run over ten million objects; several times the target.
const LIMIT: Duration = Duration::from_secs(420);

/// Bytes that an object of 100 bytes takes in a tar, shard ends and the ledger rounded in.
const TAR_BYTES: u64 = 1100;

const MIB: f64 = 1_048_576.0;

/// Peak memory at two sizes of run: it follows the limits and not the number of objects.
pub(crate) fn memory(bench: &Bench) -> Result<Vec<Row>, String> {
    let [few, many] = bench.counts.memory;
    let format = match bench.room((few + many) as u64 * TAR_BYTES) {
        Ok(()) => "tar",
        Err(why) => {
            println!("  {why}: `--format null` instead of tar");
            "null"
        }
    };
    let scratch = bench.fresh_folder("out")?;
    let peak = |objects: usize| {
        bench.settle();
        let server = serve(&bench.binaries, objects)?;
        let destination = bench.fresh(format);
        // All cores: the most memory that this command takes on this machine.
        let get = Get {
            binaries: &bench.binaries,
            url: &server.url,
            destination: &destination,
            objects,
            core: None,
            args: &["--format", format, "--pipeline", "64"],
        };
        let got = get.run(LIMIT, &scratch);
        super::remove(&destination);
        let peak = got?.peak_rss_bytes as f64 / MIB;
        println!("  {objects} objects: {peak:.1} MiB");
        Ok::<f64, String>(peak)
    };
    let (mut small, mut growth) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let first = peak(few)?;
        growth.push(peak(many)? - first);
        small.push(first);
    }
    let row = |what, figures, target| Row {
        name: "memory",
        what,
        figures,
        unit: "MiB",
        target: Some(Target::Most(target)),
    };
    let how = format!("`--format {format} --pipeline 64`, all cores");
    Ok(vec![
        row(format!("peak resident memory at {few} objects, {how}"), small, 64.0),
        row(format!("its growth from {few} to {many} objects"), growth, 8.0),
    ])
}

/// Serve, get and verify on this machine, by the clock.
pub(crate) fn demo(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.demo;
    bench.room(objects as u64 * TAR_BYTES)?;
    let scratch = bench.fresh_folder("out")?;
    let mut seconds = Vec::new();
    for _ in 0..bench.rounds {
        bench.settle();
        let mut demo = bench.binaries.windrow();
        demo.args(["demo", "--objects", &objects.to_string()]);
        // Its temporary folder lies where the other rows' output lies.
        demo.env("TMPDIR", &bench.folder).env("WINDROW_PROGRESS", "none");
        let usage = measure(demo, None, LIMIT, &scratch)?;
        println!("  {:.1} s", usage.wall_seconds);
        seconds.push(usage.wall_seconds);
    }
    Ok(vec![Row {
        name: "demo",
        what: format!("`windrow demo --objects {objects}`, all cores, by the clock"),
        figures: seconds,
        unit: "s",
        // Stated for the full size; a quick run's is no figure.
        target: (objects == super::FULL.demo).then_some(Target::Most(60.0)),
    }])
}
