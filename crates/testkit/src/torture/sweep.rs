//! All points of a run, or some of them, one after the other.

use super::{Begin, Blow, CHANGING, Census, ERRORS, Line, Outcome, Point, Reach, each, strike};
use std::fmt;
use std::path::Path;

/// What a sweep came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Points tried.
    pub tried: usize,
    /// Those that the process came to; with errors, at the destination.
    pub hit: usize,
    /// Those where the struck process ended with exit 4.
    pub ended: usize,
    /// Promises that were not held.
    pub broken: Vec<String>,
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tried, hit, ended, broken } = self;
        write!(f, "{tried} points, {hit} hit, {ended} with exit 4, {} broken", broken.len())
    }
}

/// A kill at every call that changes something.
pub fn kills(census: &Census) -> Vec<Point> {
    let of = |call: &'static str| {
        let most = census.0.get(call).copied().unwrap_or(0);
        (1..=most).map(move |nth| Point { call, nth, blow: Blow::Kill })
    };
    CHANGING.into_iter().flat_map(of).collect()
}

/// Every error at every call that may say it: once, and from there on for good.
pub fn errors(census: &Census) -> Vec<Point> {
    let mut points = Vec::new();
    for (call, errors) in ERRORS {
        for nth in 1..=census.0.get(call).copied().unwrap_or(0) {
            for &error in errors {
                points.push(Point { call, nth, blow: Blow::Error(error) });
                // What is interrupted every time is tried again every time.
                if error != "EINTR" {
                    points.push(Point { call, nth, blow: Blow::ErrorsFrom(error) });
                }
            }
        }
    }
    points
}

/// At most so many of the points, evenly from first to last.
pub fn sample(points: &[Point], most: usize) -> Vec<Point> {
    let most = most.min(points.len());
    (0..most).map(|index| points[index * points.len() / most]).collect()
}

/// Tries points, `workers` at a time, in folders of their own below `folder`.
pub fn sweep(line: &Line, begin: &Begin, points: &[Point], workers: usize, folder: &Path) -> Swept {
    let numbered: Vec<_> = points.iter().enumerate().collect();
    let one = |(nth, point): &(usize, &Point)| -> Result<Outcome, String> {
        let own = folder.join(format!("point-{nth}"));
        std::fs::create_dir_all(&own).map_err(|why| format!("{}: {why}", own.display()))?;
        let outcome = strike(line, begin, point, &own)?;
        // What was broken stays, to be looked at.
        std::fs::remove_dir_all(&own).map_err(|why| format!("{}: {why}", own.display()))?;
        Ok(outcome)
    };
    let (outcomes, broken) = each(&numbered, workers, one);
    let count = |which: fn(&Outcome) -> bool| outcomes.iter().filter(|one| which(one)).count();
    Swept {
        tried: outcomes.len() + broken.len(),
        hit: count(|outcome| outcome.reach == Reach::Destination),
        ended: count(|outcome| outcome.code == Some(4)),
        broken,
    }
}
