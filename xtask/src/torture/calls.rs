//! A kill, or an error of the system, at every system call of a run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use windrow_model::Corpus;
use windrow_testkit::torture::{
    self, Begin, CHANGING, Census, ERRORS, Line, Point, Random, length_of, sample, sweep,
};

use super::Torture;

const OBJECTS: u64 = 300;

/// Runs at the same time.
const WORKERS: usize = 2;

const LIMIT: Duration = Duration::from_secs(60);

const FORMATS: [&[&str]; 2] = [&["--format", "files"], &["--format", "tar", "--shard-size", "50"]];

pub(super) fn kills(torture: &Torture) -> Result<(), String> {
    all(torture, "calls", &CHANGING, torture::kills)
}

pub(super) fn errors(torture: &Torture) -> Result<(), String> {
    all(torture, "errors", &ERRORS.map(|(call, _)| call), torture::errors)
}

fn all(
    torture: &Torture,
    row: &str,
    calls: &[&str],
    points_of: fn(&Census) -> Vec<Point>,
) -> Result<(), String> {
    torture::is_usable()?;
    let corpus = Corpus { count: OBJECTS, size: 100, seed: torture.seed };
    let (mut sum, mut broken) = (0, Vec::new());
    for format in FORMATS {
        let server = torture.serve(&corpus, &["--page", "100", "--latency", "1ms"]);
        let always = ["--cores", "1", "-c", "8", "--commit-interval", "10ms"];
        let line = torture.line(corpus, &server, &[format, &always].concat());
        let folder = torture.folder.path().join(row);
        std::fs::create_dir_all(&folder).map_err(|why| format!("{row}: {why}"))?;
        for begin in begins(&line, &folder, torture.seed)? {
            // Which call comes as which depends on the moment: the most of three runs.
            let mut census = Census::default();
            for _ in 0..3 {
                for (call, count) in line.census(&begin, calls, &folder)?.0 {
                    let most = census.0.entry(call).or_default();
                    *most = count.max(*most);
                }
            }
            let points = points_of(&census);
            let most = torture.rounds.map_or(points.len(), |rounds| rounds as usize);
            let mut swept = sweep(&line, &begin, &sample(&points, most), WORKERS, &folder);
            println!("{row} {} {begin}: of {} {swept}", format.join(" "), points.len());
            sum += swept.tried;
            broken.append(&mut swept.broken);
        }
        std::fs::remove_dir_all(&folder).ok();
    }
    println!("{row}: {sum} points in all");
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

/// Nothing; what a kill left half-way; a whole run, to be forgotten.
fn begins(line: &Line, folder: &Path, seed: u64) -> Result<[Begin; 3], String> {
    let place = |name: &str| -> PathBuf { folder.join(name) };
    let length = length_of(line, &place("whole"), LIMIT)?;
    let mut random = Random(seed);
    loop {
        let half = place("half");
        std::fs::remove_dir_all(&half).ok();
        let killed = line.call(&half).start().finish_within(random.part_of(length));
        // Something was recorded.
        let manifest = std::fs::metadata(half.join(".windrow/manifest/core-0000.wm"));
        if killed.is_none() && manifest.is_ok_and(|file| file.len() > 500) {
            return Ok([Begin::Empty, Begin::Resumed(half), Begin::Fresh(place("whole"))]);
        }
    }
}
