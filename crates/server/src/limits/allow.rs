//! `--allow SPEC`: how many requests in which time. The grammar is told in docs/FAULTS.md.
//!
//! Three ways in which servers count, exact to the nanosecond: a token bucket, a window that
//! begins anew with each unit of time, and a window that slides.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use super::{Nanos, SECOND};

/// Most requests that can be allowed in one unit of time; a sliding window remembers the time of
/// each, in eight bytes.
const MAX_RATE: u64 = 10_000_000;

/// Parts of a second that the default burst lasts.
const BURST_PARTS: u64 = 10;

/// How many requests a server allows, and what it answers to the others; read from text such as
/// `500/s,burst=10,retry-after=1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    text: String,
    /// Requests in each `unit`.
    rate: u64,
    unit: Nanos,
    way: Way,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A token bucket of this size.
    Bucket {
        burst: u64,
    },
    Window,
    Sliding,
}

impl FromStr for Allow {
    type Err = String;

    /// # Errors
    /// A text that begins with the piece that is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = text.split(',').map(str::trim);
        let first = pieces.next().unwrap_or_default();
        let (rate, unit) = rate(first).map_err(|why| format!("`{first}`: {why}"))?;
        let burst = (rate * SECOND / unit / BURST_PARTS).max(1);
        let mut allow = Self {
            text: text.to_owned(),
            rate,
            unit,
            way: Way::Bucket { burst },
            status: 429,
            retry_after: None,
        };
        let mut seen = Vec::new();
        for piece in pieces {
            let key = match piece.split_once('=') {
                Some((key, _)) if key != "burst" => key,
                // A server counts in one way.
                _ => "burst, window or sliding",
            };
            let read = if seen.contains(&key) {
                Err(format!("{key}: given twice"))
            } else {
                allow.read_piece(piece)
            };
            read.map_err(|why| format!("`{piece}`: {why}"))?;
            seen.push(key);
        }
        Ok(allow)
    }
}

impl Allow {
    fn read_piece(&mut self, piece: &str) -> Result<(), String> {
        let number = |text: &str, most: u64| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|&number: &u64| digits && number <= most)
        };
        match piece.split_once('=') {
            None if piece == "window" => self.way = Way::Window,
            None if piece == "sliding" => self.way = Way::Sliding,
            Some(("burst", burst)) => {
                let burst = number(burst, MAX_RATE).filter(|&burst| burst > 0);
                let burst = burst.ok_or_else(|| format!("a burst is 1 to {MAX_RATE} requests"))?;
                self.way = Way::Bucket { burst };
            }
            Some(("retry-after", seconds)) => {
                let digits = seconds.strip_suffix('s').unwrap_or(seconds);
                let seconds = number(digits, u32::MAX.into()).and_then(|n| u32::try_from(n).ok());
                self.retry_after = Some(seconds.ok_or("a Retry-After is whole seconds, as in 2s")?);
            }
            Some(("status", status)) => {
                let status = number(status, 599).and_then(|status| u16::try_from(status).ok());
                let status = status.filter(|status| *status >= 400);
                self.status = status.ok_or("a status to refuse with is one from 400 to 599")?;
            }
            _ => {
                return Err(
                    "behind the rate there are burst=N, window, sliding, retry-after=S and \
                     status=CODE"
                        .into(),
                );
            }
        }
        Ok(())
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `500/s`, `60/m`, `1000/h`.
fn rate(text: &str) -> Result<(u64, Nanos), String> {
    let (count, unit) = text.split_once('/').unwrap_or((text, ""));
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|count| digits && (1..=MAX_RATE).contains(count));
    let unit = match unit {
        "s" => Some(SECOND),
        "m" => Some(60 * SECOND),
        "h" => Some(3600 * SECOND),
        _ => None,
    };
    let rate = count.zip(unit);
    rate.ok_or_else(|| format!("a rate is 1 to {MAX_RATE} requests a time, as in 500/s, 60/m, 9/h"))
}

/// What was allowed so far.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: u64,
    unit: Nanos,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A token is `unit` drops, and `rate` drops fall in each nanosecond: whole numbers, so that
    /// nothing is lost to rounding.
    Bucket { drops: u128, most: u128, filled: Nanos },
    Window {
        /// Which unit of time since the start it is.
        index: u64,
        count: u64,
    },
    /// When the latest were allowed, at most `rate` of them.
    Sliding(VecDeque<Nanos>),
}

impl Allowance {
    pub(super) fn new(allow: &Allow) -> Self {
        let state = match allow.way {
            Way::Bucket { burst } => {
                let most = u128::from(burst) * u128::from(allow.unit);
                State::Bucket { drops: most, most, filled: 0 }
            }
            Way::Window => State::Window { index: 0, count: 0 },
            Way::Sliding => State::Sliding(VecDeque::new()),
        };
        Self { rate: allow.rate, unit: allow.unit, state }
    }

    /// Whether a request at this time is allowed. Time does not run backwards between two calls.
    pub(super) fn take(&mut self, now: Nanos) -> bool {
        let Self { rate, unit, state } = self;
        match state {
            State::Bucket { drops, most, filled } => {
                *drops = (*drops + u128::from(now - *filled) * u128::from(*rate)).min(*most);
                *filled = now;
                let token = u128::from(*unit);
                let allowed = *drops >= token;
                if allowed {
                    *drops -= token;
                }
                allowed
            }
            State::Window { index, count } => {
                if now / *unit != *index {
                    (*index, *count) = (now / *unit, 0);
                }
                *count += u64::from(*count <= *rate);
                *count <= *rate
            }
            State::Sliding(times) => {
                while times.front().is_some_and(|&time| time + *unit <= now) {
                    times.pop_front();
                }
                let allowed = (times.len() as u64) < *rate;
                if allowed {
                    times.push_back(now);
                }
                allowed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Nanos = 1_000_000;

    fn read(text: &str) -> Allow {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_rate_and_what_stands_behind_it() {
        for (text, rate, unit, way, status, retry_after) in [
            ("500/s", 500, SECOND, Way::Bucket { burst: 50 }, 429, None),
            ("5/s", 5, SECOND, Way::Bucket { burst: 1 }, 429, None),
            ("6000/m", 6000, 60 * SECOND, Way::Bucket { burst: 10 }, 429, None),
            ("9/h,burst=3", 9, 3600 * SECOND, Way::Bucket { burst: 3 }, 429, None),
            ("10/s,window", 10, SECOND, Way::Window, 429, None),
            ("10/s, sliding, status=503", 10, SECOND, Way::Sliding, 503, None),
            ("10/s,retry-after=2s,window", 10, SECOND, Way::Window, 429, Some(2)),
            ("10/s,burst=1,retry-after=0", 10, SECOND, Way::Bucket { burst: 1 }, 429, Some(0)),
        ] {
            let expected = Allow { text: text.to_owned(), rate, unit, way, status, retry_after };
            assert_eq!(read(text), expected);
            assert_eq!(read(text).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_piece_is_named_with_what_would_be_right() {
        for (text, piece, says) in [
            ("", "``", "500/s"),
            ("500", "`500`", "500/s"),
            ("0/s", "`0/s`", "1 to 10000000"),
            ("-1/s", "`-1/s`", "500/s"),
            ("+1/s", "`+1/s`", "500/s"),
            ("1/d", "`1/d`", "60/m"),
            ("99999999999999999999/s", "`99999999999999999999/s`", "1 to"),
            ("1/s,burst=0", "`burst=0`", "1 to"),
            ("1/s,burst", "`burst`", "burst=N"),
            ("1/s,bursts=1", "`bursts=1`", "burst=N"),
            ("1/s,", "``", "burst=N"),
            ("1/s,status=200", "`status=200`", "400 to 599"),
            ("1/s,status=600", "`status=600`", "400 to 599"),
            ("1/s,retry-after=1.5", "`retry-after=1.5`", "whole seconds"),
            ("1/s,retry-after=", "`retry-after=`", "whole seconds"),
            ("1/s,window,sliding", "`sliding`", "twice"),
            ("1/s,burst=2,window", "`window`", "twice"),
            ("1/s,status=503,status=503", "`status=503`", "twice"),
        ] {
            let why = text.parse::<Allow>().expect_err(text);
            assert!(why.starts_with(&format!("{piece}: ")), "{text}: {why}");
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    /// Which of these times, in milliseconds, are allowed.
    fn allowed(spec: &str, times: &[u64]) -> Vec<u64> {
        let mut allowance = Allowance::new(&read(spec));
        times.iter().copied().filter(|time| allowance.take(time * MS)).collect()
    }

    #[test]
    fn each_way_allows_what_it_says() {
        let times = [0, 0, 0, 99, 100, 199, 200, 300, 999, 1000, 1000, 1001, 1100];
        for (spec, expected) in [
            ("10/s,burst=1", &[0, 100, 200, 300, 999, 1100][..]),
            ("10/s,burst=2", &[0, 0, 100, 200, 300, 999, 1000, 1100]),
            ("3/s,window", &[0, 0, 0, 1000, 1000, 1001]),
            ("3/s,sliding", &[0, 0, 0, 1000, 1000, 1001]),
            ("4/s,sliding", &[0, 0, 0, 99, 1000, 1000, 1001, 1100]),
            ("4/m,window", &[0, 0, 0, 99]),
        ] {
            assert_eq!(allowed(spec, &times), expected, "{spec}");
        }
        // The windows' edges: twice the rate around one of a fixed window, never of a sliding one.
        let edge = [998, 999, 1000, 1001, 1998, 1999, 2000];
        assert_eq!(allowed("2/s,window", &edge), [998, 999, 1000, 1001, 2000]);
        assert_eq!(allowed("2/s,sliding", &edge), [998, 999, 1998, 1999]);
    }

    #[test]
    fn a_third_of_a_second_is_not_rounded() {
        // 3/s for an hour, asked for each millisecond.
        let mut allowance = Allowance::new(&read("3/s,burst=2"));
        let count = (0..3_600_000).filter(|time| allowance.take(time * MS)).count();
        // Two at the start, and all the drops of an hour but the last.
        assert_eq!(count, 3 * 3600 + 1);
    }

    proptest! {
        /// Whatever the arrivals: no more than promised in any stretch of time, and a request is
        /// refused only where one more would have been too many.
        #[test]
        fn no_stretch_of_time_has_too_many(
            rate in 1_u64..50, burst in 1_u64..20, way in 0..3,
            gaps in prop::collection::vec(prop_oneof![0_u64..5, 0_u64..200, 0_u64..3000], 1..300),
        ) {
            let spec = match way {
                0 => format!("{rate}/s,burst={burst}"),
                1 => format!("{rate}/s,window"),
                _ => format!("{rate}/s,sliding"),
            };
            let mut now = 0;
            let times: Vec<u64> = gaps.iter().map(|gap| { now += gap; now }).collect();
            let mut allowance = Allowance::new(&read(&spec));
            let mut taken: Vec<u64> = Vec::new();
            for time in times {
                // One more at this time: the fullest stretch that ends here.
                let fits = match way {
                    0 => (0..=taken.len()).all(|first| {
                        let since = taken.get(first).copied().unwrap_or(time);
                        let count = (taken.len() - first) as u64 + 1;
                        (count - burst.min(count)) * 1000 <= (time - since) * rate
                    }),
                    1 => (taken.iter().filter(|&&t| t / 1000 == time / 1000).count() as u64) < rate,
                    _ => (taken.iter().filter(|&&t| t + 1000 > time).count() as u64) < rate,
                };
                prop_assert_eq!(allowance.take(time * MS), fits, "{} at {}", spec, time);
                if fits {
                    taken.push(time);
                }
            }
        }
    }
}
