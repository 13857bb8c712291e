//! Kills at moments: the same line is begun and killed, again and again, and then left alone.

use super::{Line, Verdict, judge, leftovers};
use crate::Serve;
use std::path::Path;
use std::time::Duration;

/// Random numbers that a seed repeats: SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A part of a time.
    pub fn part_of(&mut self, time: Duration) -> Duration {
        time.mul_f64((self.draw() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// What kills and the run after them came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Killed {
    /// Processes that were killed; others ended before their moment.
    pub kills: u64,
    /// Objects that were asked for more than once, over all of them.
    pub again: u64,
    /// What is there at the end.
    pub verdict: Verdict,
}

/// Runs a line once without a kill, and says how long it takes.
///
/// # Errors
/// It does not succeed.
pub fn length_of(line: &Line, dest: &Path, limit: Duration) -> Result<Duration, String> {
    let began = std::time::Instant::now();
    let Some(done) = line.call(dest).start().finish_within(limit) else {
        return Err("the run without a kill does not end".into());
    };
    match done.code {
        Some(0) => Ok(began.elapsed()),
        code => Err(format!("the run without a kill ends with {code:?}: {}", done.stderr)),
    }
}

/// Begins a line and kills it at each of the moments, then runs it to its end, and judges.
///
/// # Errors
/// A promise that was not held. `most_again` objects may be asked for again for each kill.
///
/// # Panics
/// When the server was started without `--stats`.
pub fn kill_at(
    line: &Line,
    dest: &Path,
    server: &Serve,
    moments: &[Duration],
    limit: Duration,
    most_again: u64,
) -> Result<Killed, String> {
    let asked = || {
        let stats = server.stats().expect("a server that counts");
        stats["objects"].as_u64().expect("a number of objects")
    };
    let before = asked();
    let mut killed = Killed::default();
    for &moment in moments {
        match line.call(dest).start().finish_within(moment) {
            None => {
                killed.kills += 1;
                let verdict = judge(dest, &line.corpus);
                if !verdict.is_sound() {
                    return Err(format!("after the kill at {moment:?}: {verdict}"));
                }
            }
            Some(done) if done.code == Some(0) => {}
            Some(done) => return Err(format!("ends with {:?}: {}", done.code, done.stderr)),
        }
    }
    let Some(done) = line.call(dest).start().finish_within(limit) else {
        return Err("the last process hangs".into());
    };
    if done.code != Some(0) {
        return Err(format!("the last process ends with {:?}: {}", done.code, done.stderr));
    }
    killed.verdict = judge(dest, &line.corpus);
    killed.again = (asked() - before).saturating_sub(line.corpus.count);
    if !killed.verdict.is_clean(&line.corpus) {
        return Err(format!("{}, {:?}: {}", killed.verdict, leftovers(dest), done.stderr));
    }
    if killed.again > most_again * killed.kills {
        let Killed { kills, again, .. } = killed;
        return Err(format!("{again} objects fetched again after {kills} kills"));
    }
    Ok(killed)
}
