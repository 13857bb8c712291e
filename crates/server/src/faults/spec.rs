//! `--faults SPEC`: text to faults and their rates. The grammar is told in docs/FAULTS.md.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::draw::{CERTAIN, Draw};

/// Pieces of one SPEC, at most.
const MAX_PIECES: usize = 256;

/// By how much rates that are rounded can miss a whole, and then some.
const ROUNDING: u64 = 1 << 16;

/// Pages that a loop of markers goes round, at most.
const MAX_CYCLE: usize = 10_000;

/// Longest time that can be asked for: seven days.
const MAX_TIME: Duration = Duration::from_secs(7 * 86_400);

const STALL: Duration = Duration::from_secs(60);
const DRIP: u64 = 100;
const GRACE: Duration = Duration::from_millis(100);

/// Every key there is, for whoever mistyped one.
const KNOWN: &str = "400 to 599 (a status), reset-head, reset-body, truncate, wrong-length, \
     stall-head, stall, drip, close, close-silent, wrong-checksum, bomb, mix, outage, duplicate-names, marker-loop, \
     listing, grace, seed";

/// What a server does to its answers, and how often; read from text such as
/// `seed=7,503=1%,reset-body=0.2%`.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    text: String,
    pub(super) seed: u64,
    /// Whether answers to the listing meet faults as objects do.
    pub(super) listing: bool,
    /// How long after a `Retry-After` was written a request may still come.
    pub(super) grace: Duration,
    pub(super) outages: Vec<Outage>,
    /// A name of which the draw is below this is listed twice.
    pub(super) duplicates: u64,
    /// After how many pages the markers lead back.
    pub(super) cycle: Option<usize>,
    /// Each with the end of its range of draws; the ranges lie side by side.
    rules: Vec<(u64, Fault)>,
}

/// What can happen to one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Status(Refused),
    /// A reset instead of the answer.
    ResetHead,
    /// A reset inside the body.
    ResetBody,
    /// The connection ends in order inside the body.
    Truncate,
    /// The head states another length than the body has.
    WrongLength(Wrong),
    /// Silence before the head.
    StallHead(Duration),
    /// Silence inside the body.
    Stall(Duration),
    /// So many bytes a second.
    Drip(u64),
    /// The connection ends after this answer, which says so.
    Close,
    /// The connection ends after this answer, which does not say so.
    CloseSilent,
    /// The checksums in the head are those of another body.
    WrongChecksum,
    /// A small body in gzip that is 10 GiB when it is decoded.
    Bomb,
}

/// A status, and after how many seconds to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) retry_after: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Larger,
    Smaller,
}

/// Answers every request alike from `start` after the first request, for `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outage {
    start: Duration,
    length: Duration,
    pub(super) refused: Refused,
}

impl Fault {
    /// What a retry, or patience, makes good; `mix` shares its rate among them.
    const TRANSIENT: [Self; 14] = [
        Self::status(429),
        Self::status(500),
        Self::status(502),
        Self::status(503),
        Self::status(504),
        Self::ResetHead,
        Self::ResetBody,
        Self::Truncate,
        Self::WrongLength(Wrong::Larger),
        Self::StallHead(STALL),
        Self::Stall(STALL),
        Self::Drip(DRIP),
        Self::Close,
        Self::CloseSilent,
    ];

    const fn status(status: u16) -> Self {
        Self::Status(Refused { status, retry_after: None })
    }

    /// Its key in a SPEC, by which it is counted too.
    pub(super) fn kind(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Status(refused) => return Cow::Owned(refused.status.to_string()),
            Self::ResetHead => "reset-head",
            Self::ResetBody => "reset-body",
            Self::Truncate => "truncate",
            Self::WrongLength(_) => "wrong-length",
            Self::StallHead(_) => "stall-head",
            Self::Stall(_) => "stall",
            Self::Drip(_) => "drip",
            Self::Close => "close",
            Self::CloseSilent => "close-silent",
            Self::WrongChecksum => "wrong-checksum",
            Self::Bomb => "bomb",
        })
    }

    /// Whether a client may lack the object after it, and come back.
    pub(super) fn leaves_owed(self) -> bool {
        !matches!(self, Self::Close | Self::CloseSilent)
    }

    /// Reads `KEY` and `:ARG`; `None` where there is no such kind.
    fn read(key: &str, arg: Option<&str>) -> Option<Result<Self, String>> {
        let plain = |fault| match arg {
            None => Ok(fault),
            Some(_) => Err(format!("`{key}` takes nothing behind its rate")),
        };
        Some(match key {
            "reset-head" => plain(Self::ResetHead),
            "reset-body" => plain(Self::ResetBody),
            "truncate" => plain(Self::Truncate),
            "close" => plain(Self::Close),
            "close-silent" => plain(Self::CloseSilent),
            "wrong-checksum" => plain(Self::WrongChecksum),
            "bomb" => plain(Self::Bomb),
            "wrong-length" => match arg {
                None | Some("larger") => Ok(Self::WrongLength(Wrong::Larger)),
                Some("smaller") => Ok(Self::WrongLength(Wrong::Smaller)),
                Some(_) => Err("behind the rate of `wrong-length`: larger or smaller".into()),
            },
            "stall-head" => arg.map_or(Ok(STALL), time).map(Self::StallHead),
            "stall" => arg.map_or(Ok(STALL), time).map(Self::Stall),
            "drip" => arg.map_or(Ok(DRIP), speed).map(Self::Drip),
            _ if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) => {
                Refused::read(key, arg).map(Self::Status)
            }
            _ => return None,
        })
    }
}

impl Refused {
    pub(super) fn plain(status: u16) -> Self {
        Self { status, retry_after: None }
    }

    fn read(status: &str, retry_after: Option<&str>) -> Result<Self, String> {
        let status = status.parse().ok().filter(|status| (400..=599).contains(status));
        let status = status.ok_or("a status to fail with is one from 400 to 599")?;
        Ok(Self { status, retry_after: retry_after.map(seconds).transpose()? })
    }
}

impl Outage {
    /// Reads `START+LENGTH[:STATUS[:RETRY-AFTER]]`.
    fn read(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (start, length) = parts
            .next()
            .and_then(|times| times.split_once('+'))
            .ok_or("an outage is START+LENGTH[:STATUS[:RETRY-AFTER]], such as 10s+60s:429:2")?;
        let refused = Refused::read(parts.next().unwrap_or("503"), parts.next())?;
        Ok(Self { start: time(start)?, length: time(length)?, refused })
    }

    /// Whether it lasts at this time after the first request.
    pub(super) fn holds(&self, elapsed: Duration) -> bool {
        elapsed >= self.start && elapsed - self.start < self.length
    }
}

impl Faults {
    /// No fault at all.
    pub(crate) fn none() -> Self {
        Self {
            text: String::new(),
            seed: 0,
            listing: false,
            grace: GRACE,
            outages: Vec::new(),
            duplicates: 0,
            cycle: None,
            rules: Vec::new(),
        }
    }

    /// The index of the rule that a draw falls to, and its fault.
    pub(super) fn fault(&self, draw: Draw) -> Option<(usize, Fault)> {
        let index = self.rules.iter().position(|&(end, _)| draw.share() < end)?;
        Some((index, self.rules[index].1))
    }

    /// The faults, by the index of their rule.
    pub(super) fn rules(&self) -> impl ExactSizeIterator<Item = Fault> {
        self.rules.iter().map(|&(_, fault)| fault)
    }

    /// Whether any answer can carry a `Retry-After`.
    pub(super) fn announces(&self) -> bool {
        let drawn = self
            .rules()
            .any(|fault| matches!(fault, Fault::Status(Refused { retry_after: Some(_), .. })));
        drawn || self.outages.iter().any(|outage| outage.refused.retry_after.is_some())
    }

    fn add(&mut self, rate: f64, fault: Fault) -> Result<(), String> {
        let begin = self.rules.last().map_or(0, |&(end, _)| end);
        let end = begin + threshold(rate);
        // Parts of a whole do not add up to it exactly in binary.
        let end = if end.abs_diff(CERTAIN) <= ROUNDING { CERTAIN } else { end };
        if end > CERTAIN {
            return Err("with this the rates add up to more than 100%".into());
        }
        self.rules.push((end, fault));
        Ok(())
    }

    fn read_piece(&mut self, piece: &str) -> Result<(), String> {
        let Some((key, value)) = piece.split_once('=') else {
            let what = match Fault::read(piece, None) {
                Some(_) => format!("its rate is missing, such as {piece}=1%"),
                None => format!("not KIND=RATE; kinds and settings are {KNOWN}"),
            };
            return Err(what);
        };
        let (rate_text, arg) = match value.split_once(':') {
            Some((rate, arg)) => (rate, Some(arg)),
            None => (value, None),
        };
        match key {
            "seed" => self.seed = value.parse().map_err(|_| "a seed is a number below 2^64")?,
            "listing" => {
                self.listing = match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err("`listing` is on or off".into()),
                }
            }
            "grace" => self.grace = time(value)?,
            "outage" => self.outages.push(Outage::read(value)?),
            "duplicate-names" => self.duplicates = threshold(rate(value)?),
            "marker-loop" => self.cycle = Some(cycle(value)?),
            "mix" if arg.is_some() => return Err("`mix` takes nothing behind its rate".into()),
            "mix" => {
                let each = rate(rate_text)? / Fault::TRANSIENT.len() as f64;
                for fault in Fault::TRANSIENT {
                    self.add(each, fault)?;
                }
            }
            _ => match Fault::read(key, arg) {
                Some(fault) => self.add(rate(rate_text)?, fault?)?,
                None => return Err(format!("no such kind; there are {KNOWN}")),
            },
        }
        Ok(())
    }
}

impl FromStr for Faults {
    type Err = String;

    /// # Errors
    /// A text that begins with the piece that is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Self { text: text.to_owned(), ..Self::none() };
        if text.split(',').count() > MAX_PIECES {
            return Err(format!("more than {MAX_PIECES} pieces"));
        }
        let mut seen = Vec::new();
        for piece in text.split(',').map(str::trim) {
            // A kind may come again with another argument, an outage at another time.
            let key = match piece.split_once('=') {
                Some((key, value)) if Fault::read(key, None).is_some() => {
                    format!("{key}:{}", value.split_once(':').map_or("", |(_, arg)| arg))
                }
                Some((key, _)) if key != "outage" => key.to_owned(),
                _ => piece.to_owned(),
            };
            let read = if seen.contains(&key) {
                Err("given twice".to_owned())
            } else {
                faults.read_piece(piece)
            };
            read.map_err(|why| format!("`{piece}`: {why}"))?;
            seen.push(key);
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The end of the range of draws, beginning at 0, that has this part of all draws.
fn threshold(rate: f64) -> u64 {
    (rate * CERTAIN as f64).round() as u64
}

/// A part of all answers: `5%` or `0.05`.
fn rate(text: &str) -> Result<f64, String> {
    let (digits, whole) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
    let rate = decimal(digits).map(|number| number / whole).filter(|rate| *rate <= 1.0);
    rate.ok_or_else(|| "a rate is a part of all answers, 0% to 100% or 0 to 1".to_owned())
}

/// A number without sign and exponent.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// Digits and what stands behind them.
fn split(text: &str) -> (Option<f64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (decimal(&text[..end]), &text[end..])
}

/// A time: `60s`, `250ms`, `5m`, `2h`; a bare number counts in seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time = match split(text) {
        (Some(number), "s" | "") => Some(number),
        (Some(number), "ms") => Some(number / 1e3),
        (Some(number), "m") => Some(number * 60.0),
        (Some(number), "h") => Some(number * 3600.0),
        _ => None,
    };
    time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| *time <= MAX_TIME)
        .ok_or_else(|| format!("`{text}` is no time, such as 60s, 250ms or 5m, up to seven days"))
}

/// Whole seconds, as `Retry-After` states them: `2` or `2s`.
fn seconds(text: &str) -> Result<u32, String> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    let seconds = digits.parse().ok().filter(|_| digits.bytes().all(|c| c.is_ascii_digit()));
    seconds.ok_or_else(|| format!("`{text}` is no Retry-After: whole seconds, such as 2s"))
}

/// Bytes a second: `10B/s`, `64KiB/s`, `1MB/s`.
fn speed(text: &str) -> Result<u64, String> {
    let factor = match split(text).1 {
        "B/s" => 1.0,
        "kB/s" => 1e3,
        "KiB/s" => 1024.0,
        "MB/s" => 1e6,
        "MiB/s" => 1_048_576.0,
        _ => 0.0,
    };
    let bytes = split(text).0.map(|number| number * factor).filter(|bytes| *bytes < 1e12);
    match bytes.map(|bytes| bytes as u64) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(format!("`{text}` is no speed, such as 10B/s or 64KiB/s")),
    }
}

/// After how many pages the markers lead back: `repeat` or `cycle:K`.
fn cycle(text: &str) -> Result<usize, String> {
    let pages = match text.strip_prefix("cycle:") {
        Some(pages) => pages.parse().ok(),
        None => (text == "repeat").then_some(1),
    };
    let pages = pages.filter(|pages| (1..=MAX_CYCLE).contains(pages));
    pages.ok_or_else(|| format!("a loop of markers is repeat or cycle:K, K from 1 to {MAX_CYCLE}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Faults {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// The rules of a SPEC, with their rates as parts of a million.
    fn rules(text: &str) -> Vec<(u64, Fault)> {
        let mut begin = 0;
        let faults = read(text);
        let parts = faults.rules.iter().map(|&(end, fault)| {
            let part = (end - begin) as f64 / CERTAIN as f64;
            begin = end;
            ((part * 1e6).round() as u64, fault)
        });
        parts.collect()
    }

    fn refused(status: u16, retry_after: Option<u32>) -> Refused {
        Refused { status, retry_after }
    }

    #[test]
    fn every_kind_has_its_syntax() {
        let second = Duration::from_secs(1);
        for (text, rate, fault) in [
            ("503=1%", 10_000, Fault::Status(refused(503, None))),
            ("429=0.5%:2s", 5_000, Fault::Status(refused(429, Some(2)))),
            ("503=0.5%:3", 5_000, Fault::Status(refused(503, Some(3)))),
            ("404=0.25", 250_000, Fault::Status(refused(404, None))),
            ("599=100%", 1_000_000, Fault::Status(refused(599, None))),
            ("reset-head=0.2%", 2_000, Fault::ResetHead),
            ("reset-body=1", 1_000_000, Fault::ResetBody),
            ("truncate=.5", 500_000, Fault::Truncate),
            ("wrong-length=0.1%", 1_000, Fault::WrongLength(Wrong::Larger)),
            ("wrong-length=0.1%:larger", 1_000, Fault::WrongLength(Wrong::Larger)),
            ("wrong-length=0.1%:smaller", 1_000, Fault::WrongLength(Wrong::Smaller)),
            ("stall=0.01%", 100, Fault::Stall(60 * second)),
            ("stall=0.01%:1.5m", 100, Fault::Stall(90 * second)),
            ("stall-head=1%:250ms", 10_000, Fault::StallHead(second / 4)),
            ("drip=0.1%", 1_000, Fault::Drip(100)),
            ("drip=0.1%:10B/s", 1_000, Fault::Drip(10)),
            ("drip=0.1%:1.5KiB/s", 1_000, Fault::Drip(1536)),
            ("close=2%", 20_000, Fault::Close),
            ("close-silent=0%", 0, Fault::CloseSilent),
            ("wrong-checksum=1%", 10_000, Fault::WrongChecksum),
            ("bomb=1%", 10_000, Fault::Bomb),
        ] {
            assert_eq!(rules(text), [(rate, fault)], "{text}");
            assert!(text.starts_with(&*fault.kind()), "{text}");
            assert_eq!(read(text).to_string(), text);
        }
    }

    #[test]
    fn settings_stand_beside_kinds() {
        let faults = read("seed=18446744073709551615, listing=on,grace=1s,marker-loop=cycle:3");
        assert_eq!((faults.seed, faults.listing, faults.cycle), (u64::MAX, true, Some(3)));
        assert_eq!(faults.grace, Duration::from_secs(1));
        assert_eq!(read("marker-loop=repeat").cycle, Some(1));
        assert_eq!(read("duplicate-names=100%").duplicates, CERTAIN);
        assert!(!read("503=1%").announces() && read("503=1%,429=1%:2").announces());
        assert!(!read("outage=0+1").announces() && read("outage=0+1:503:1").announces());
    }

    #[test]
    fn an_outage_begins_and_ends() {
        let faults = read("outage=10s+60s,outage=2m+5s:429:2s");
        let status = |millis| {
            let elapsed = Duration::from_millis(millis);
            let outage = faults.outages.iter().find(|outage| outage.holds(elapsed));
            outage.map(|outage| (outage.refused.status, outage.refused.retry_after))
        };
        for millis in [0, 9_999, 70_000, 119_999, 125_000] {
            assert_eq!(status(millis), None, "{millis}");
        }
        for millis in [10_000, 69_999] {
            assert_eq!(status(millis), Some((503, None)), "{millis}");
        }
        for millis in [120_000, 124_999] {
            assert_eq!(status(millis), Some((429, Some(2))), "{millis}");
        }
    }

    #[test]
    fn kinds_share_the_draws_and_mix_shares_its_rate() {
        let three = rules("close=1%,503=2%,503=3%:1");
        assert_eq!(three.iter().map(|rule| rule.0).collect::<Vec<_>>(), [10_000, 20_000, 30_000]);
        let mixed = rules("mix=7%");
        assert_eq!(mixed.len(), 14);
        assert!(mixed.iter().all(|&(rate, _)| rate == 5_000), "{mixed:?}");
        let kinds: Vec<_> = mixed.iter().map(|(_, fault)| fault.kind()).collect();
        assert!(kinds.iter().all(|kind| KNOWN.contains(&**kind) || kind.len() == 3), "{kinds:?}");
        // All of it, in parts that are not exact.
        read("mix=100%");
        read("close=0.1,503=0.2,truncate=0.7");
        assert_eq!(read("mix=1").rules.last().unwrap().0, CERTAIN);
    }

    #[test]
    fn a_wrong_piece_is_named_with_what_would_be_right() {
        for (text, piece, says) in [
            ("", "``", "reset-head"),
            ("503=1%,", "``", "not KIND=RATE"),
            ("503", "`503`", "503=1%"),
            ("close", "`close`", "close=1%"),
            ("503=1%,foo=2%,close=1%", "`foo=2%`", "no such kind; there are 400 to 599 (a status)"),
            ("mixed", "`mixed`", "bomb, mix, outage"),
            ("503=101%", "`503=101%`", "0% to 100%"),
            ("503=-1%", "`503=-1%`", "a rate"),
            ("503=1e-3", "`503=1e-3`", "a rate"),
            ("503=", "`503=`", "a rate"),
            ("503=nan", "`503=nan`", "a rate"),
            ("503=1%:1.5s", "`503=1%:1.5s`", "whole seconds"),
            ("503=1%:", "`503=1%:`", "whole seconds"),
            ("503=1%:+2", "`503=1%:+2`", "whole seconds"),
            ("200=1%", "`200=1%`", "400 to 599"),
            ("600=1%", "`600=1%`", "400 to 599"),
            ("=1%", "`=1%`", "no such kind"),
            ("99999999999=1%", "`99999999999=1%`", "400 to 599"),
            ("close=1%:2s", "`close=1%:2s`", "nothing behind"),
            ("mix=1%:2s", "`mix=1%:2s`", "nothing behind"),
            ("stall=1%:soon", "`stall=1%:soon`", "60s, 250ms"),
            ("stall=1%:8h8", "`stall=1%:8h8`", "60s, 250ms"),
            ("stall=1%:1000h", "`stall=1%:1000h`", "seven days"),
            ("drip=1%:10", "`drip=1%:10`", "10B/s"),
            ("drip=1%:0B/s", "`drip=1%:0B/s`", "10B/s"),
            ("drip=1%:x/s", "`drip=1%:x/s`", "10B/s"),
            ("wrong-length=1%:wrong", "`wrong-length=1%:wrong`", "larger or smaller"),
            ("outage=10s", "`outage=10s`", "START+LENGTH"),
            ("outage=10s+x", "`outage=10s+x`", "60s, 250ms"),
            ("outage=1+1:200", "`outage=1+1:200`", "400 to 599"),
            ("outage=1+1:503:2:3", "`outage=1+1:503:2:3`", "whole seconds"),
            ("marker-loop=2", "`marker-loop=2`", "repeat or cycle:K"),
            ("marker-loop=cycle:0", "`marker-loop=cycle:0`", "repeat or cycle:K"),
            ("duplicate-names=1%:2", "`duplicate-names=1%:2`", "a rate"),
            ("listing=yes", "`listing=yes`", "on or off"),
            ("seed=-1", "`seed=-1`", "a number"),
            ("grace=long", "`grace=long`", "60s, 250ms"),
            ("503=60%,close=41%", "`close=41%`", "more than 100%"),
            ("503=1%,503=2%", "`503=2%`", "twice"),
            ("seed=1,seed=2", "`seed=2`", "twice"),
            ("marker-loop=repeat,marker-loop=cycle:2", "`marker-loop=cycle:2`", "twice"),
        ] {
            let why = text.parse::<Faults>().expect_err(text);
            assert!(why.starts_with(&format!("{piece}: ")), "{text}: {why}");
            assert!(why.contains(says), "{text}: {why}");
        }
        let long = vec!["outage=1+1"; MAX_PIECES + 1].join(",");
        assert!(long.parse::<Faults>().is_err_and(|why| why.contains("256 pieces")));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9a-z%:.=+,/sB-]|503|mix|outage|=|,|é){0,24}") {
            let _ = text.parse::<Faults>();
        }
    }
}
