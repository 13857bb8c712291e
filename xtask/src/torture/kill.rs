//! kill -9 at random moments.

use std::time::Duration;

use windrow_model::Corpus;
use windrow_testkit::torture::{Random, kill_at, length_of};

use super::Torture;

const OBJECTS: u64 = 200_000;

/// Fetched again for each kill, at most: 1 %.
const MOST_AGAIN: u64 = OBJECTS / 100;

/// Kills for each line.
const KILLS: u64 = 50;

const LINES: [&[&str]; 4] = [
    &["--format", "files"],
    &["--format", "files", "--pipeline", "32"],
    &["--format", "tar"],
    &["--format", "tar", "--pipeline", "32"],
];

/// However loaded the machine is.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) fn run(torture: &Torture) -> Result<(), String> {
    let corpus = Corpus { count: OBJECTS, size: 100, seed: torture.seed };
    let wanted = torture.rounds.unwrap_or(KILLS);
    let mut broken = Vec::new();
    for (nth, args) in LINES.into_iter().enumerate() {
        let server = torture.serve(&corpus, &["--stats"]);
        let line = torture.line(corpus, &server, args);
        let dest = torture.folder.path().join("kill");
        let clear = || std::fs::remove_dir_all(&dest).map_err(|why| format!("clearing up: {why}"));
        let length = length_of(&line, &dest, LIMIT)?;
        clear()?;
        let mut random = Random(torture.seed ^ (nth as u64) << 32);
        let (mut kills, mut runs, mut again, mut most) = (0, 0, 0, 0.0_f64);
        while kills < wanted {
            // Mostly one kill in a run, sometimes two or three.
            let count = [1, 1, 2, 3][(random.draw() % 4) as usize].min(wanted - kills);
            let moments: Vec<_> =
                (0..count).map(|_| random.part_of(length / count as u32)).collect();
            match kill_at(&line, &dest, &server, &moments, LIMIT, MOST_AGAIN) {
                Ok(killed) => {
                    kills += killed.kills;
                    again += killed.again;
                    most = most.max(killed.again as f64 / killed.kills.max(1) as f64);
                }
                Err(why) => {
                    broken.push(format!("{}, killed at {moments:?}: {why}", args.join(" ")));
                    kills += count;
                }
            }
            runs += 1;
            clear()?;
            if broken.len() > 5 {
                break;
            }
        }
        let part = |objects: f64| objects * 100.0 / OBJECTS as f64;
        println!(
            "kill {}: {kills} kills in {runs} runs of {length:.1?}: lost 0, doubled 0, torn 0, left \
             over 0 in all but {}; fetched again {:.2} % for each kill, at most {:.2} %",
            args.join(" "),
            broken.len(),
            part(again as f64 / kills as f64),
            part(most),
        );
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}
