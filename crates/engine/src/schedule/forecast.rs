//! What of a list of signed URLs will expire before its turn comes.
//!
//! A list of 32 million URLs has as many deadlines; remembered are [`FORECAST_BLOCKS`] blocks of it,
//! each with its count, how many of them expire, the earliest and the latest. Inside a block
//! deadlines are taken to rise evenly from the one to the other, as they do where a list was signed
//! from its front to its end. A block with a few outliers is judged too gloomily.
//!
//! The estimate follows what the schedule does: objects are taken in list order, but of the next
//! `ahead` of them the one with the earliest deadline goes first, and one that expired takes no
//! time. That order does not depend on the rate, so one walk over the blocks gives both: what a rate
//! leaves, and the rate that leaves nothing. The estimate is good to 2 % of the list and half of
//! `ahead`, or two blocks if that is more.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use windrow_model::limits::{FORECAST_BLOCKS, LEASE_TASKS};

/// A block is looked at in so many slices, at most.
const SLICES: u64 = 16;

/// The deadlines of a list, in little memory (96 KiB).
#[derive(Debug, Default, Clone)]
pub struct Forecast {
    blocks: Vec<Block>,
    /// Neighbours that have no more objects than this together are one block.
    grain: u64,
}

/// Consecutive objects of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    count: u64,
    /// How many of them expire; of the others nothing more is known, they may be anywhere.
    expiring: u64,
    /// Of those that expire, as seconds since 1970.
    earliest: u32,
    latest: u32,
}

impl Forecast {
    /// Adds the next `count` objects of the list; `expiries` has the deadlines of the first of them
    /// as seconds since 1970, 0 for one without. Objects beyond its end have none either.
    pub fn add(&mut self, count: u64, expiries: &[u32]) {
        let mut left = count;
        for part in expiries.chunks(LEASE_TASKS) {
            let taken = left.min(part.len() as u64);
            left -= taken;
            let mut block = Block { count: taken, expiring: 0, earliest: u32::MAX, latest: 0 };
            for &expiry in part.iter().take(taken as usize).filter(|&&expiry| expiry > 0) {
                block.expiring += 1;
                block.earliest = block.earliest.min(expiry);
                block.latest = block.latest.max(expiry);
            }
            self.push(block);
        }
        self.push(Block { count: left, expiring: 0, earliest: u32::MAX, latest: 0 });
    }

    fn push(&mut self, block: Block) {
        if block.count == 0 {
            return;
        }
        match self.blocks.last_mut() {
            Some(last) if last.joins(&block, self.grain) => last.join(&block),
            _ => self.blocks.push(block),
        }
        // A quarter of the room is made at once, so that this is rare.
        while self.blocks.len() >= FORECAST_BLOCKS {
            self.grain = self.grain.saturating_mul(2).max(2);
            if self.joinable() >= FORECAST_BLOCKS / 4 || self.grain == u64::MAX {
                let grain = self.grain;
                self.blocks.dedup_by(|block, last| {
                    let joins = last.joins(block, grain);
                    if joins {
                        last.join(block);
                    }
                    joins
                });
            }
        }
    }

    /// How many blocks would go if neighbours were joined now.
    fn joinable(&self) -> usize {
        let mut last: Option<Block> = None;
        let mut gone = 0;
        for block in &self.blocks {
            match &mut last {
                Some(last) if last.joins(block, self.grain) => {
                    last.join(block);
                    gone += 1;
                }
                _ => last = Some(*block),
            }
        }
        gone
    }

    /// What is to be expected when the first `done` objects are settled and `per_second` more are
    /// each second; 0 while that is not known. `now` is seconds since 1970 by the servers' clocks,
    /// `ahead` how many objects are looked at for the earliest deadline. Some milliseconds of work
    /// at most: for once a second, not for each object.
    pub fn look(&self, done: u64, per_second: f64, now: u32, ahead: u64) -> Outlook {
        let rate = if per_second.is_finite() && per_second > 0.0 { per_second } else { 0.0 };
        let mut outlook = Outlook { settled: done, per_second: rate, now, ..Outlook::default() };
        let mut walk = Walk { rate, ..Walk::default() };
        let ahead = ahead.max(1) as f64;
        let mut to_skip = done;
        for block in &self.blocks {
            let skipped = to_skip.min(block.count);
            to_skip -= skipped;
            let Some(block) = block.behind(skipped) else { continue };
            outlook.total = outlook.total.saturating_add(block.count);
            outlook.expiring = outlook.expiring.saturating_add(block.expiring);
            if block.expiring > 0 && block.latest >= now {
                let first = block.earliest.max(now);
                outlook.first_expiry = Some(outlook.first_expiry.map_or(first, |f| f.min(first)));
            }
            let slices = match block.expiring {
                0 => 1,
                // Deadlines may be in no order: some of the block's turns come much later than others.
                _ if block.latest > block.earliest => block.count.min(SLICES),
                _ => ((block.count as f64 / (ahead / 8.0)).ceil() as u64).clamp(1, SLICES),
            };
            for at in 0..slices {
                walk.take(block.slice(at, slices, now), ahead);
            }
        }
        walk.finish();
        outlook.already_expired = walk.expired.round() as u64;
        outlook.will_expire = walk.lost.round() as u64;
        outlook.rate_needed = walk.needed;
        outlook
    }
}

impl Block {
    fn joins(&self, next: &Self, grain: u64) -> bool {
        self.count.saturating_add(next.count) <= grain
    }

    fn join(&mut self, next: &Self) {
        self.count = self.count.saturating_add(next.count);
        self.expiring = self.expiring.saturating_add(next.expiring);
        self.earliest = self.earliest.min(next.earliest);
        self.latest = self.latest.max(next.latest);
    }

    /// What is left behind the first `skipped` objects; those with the earliest deadlines went.
    fn behind(&self, skipped: u64) -> Option<Self> {
        let count = self.count - skipped;
        let part = |whole: u64, part: u64| {
            let product = u128::from(whole) * u128::from(part);
            u64::try_from(product.div_ceil(u128::from(self.count.max(1)))).unwrap_or(u64::MAX)
        };
        let span = u64::from(self.latest.saturating_sub(self.earliest));
        (count > 0).then(|| Self {
            count,
            expiring: part(self.expiring, count),
            earliest: self.earliest.saturating_add(part(span, skipped) as u32),
            latest: self.latest,
        })
    }

    fn slice(&self, at: u64, of: u64, now: u32) -> Slice {
        let span = f64::from(self.latest.saturating_sub(self.earliest));
        let begin = f64::from(self.earliest) - f64::from(now);
        Slice {
            begin: begin + span * at as f64 / of as f64,
            end: begin + span * (at + 1) as f64 / of as f64,
            count: self.expiring as f64 / of as f64,
            others: (self.count - self.expiring) as f64 / of as f64,
        }
    }
}

/// A part of a block: deadlines in seconds from now on that rise evenly.
#[derive(Debug, Clone, Copy)]
struct Slice {
    begin: f64,
    end: f64,
    count: f64,
    /// Objects beside them that do not expire.
    others: f64,
}

impl Ord for Slice {
    /// The earliest is the greatest, as a heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        other.begin.total_cmp(&self.begin)
    }
}

impl PartialOrd for Slice {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Slice {}

/// The walk over the objects in the order in which they are sent.
#[derive(Default)]
struct Walk {
    rate: f64,
    /// What is in the window: those that expire, and how many do not.
    window: BinaryHeap<Slice>,
    expiring: f64,
    others: f64,
    /// Seconds from now on; stays 0 without a rate.
    time: f64,
    /// Objects sent so far, if none expires but those that have.
    sent: f64,
    expired: f64,
    lost: f64,
    needed: f64,
}

impl Walk {
    /// Takes the next slice into the window of `ahead` objects, when others have left it.
    fn take(&mut self, slice: Slice, ahead: f64) {
        let count = slice.count + slice.others;
        loop {
            let excess = self.expiring + self.others + count - ahead;
            if excess <= 0.0 || self.expiring + self.others <= 0.0 {
                break;
            }
            match self.window.pop() {
                Some(first) => self.send(first),
                None => {
                    self.send_others(excess.min(self.others));
                    break;
                }
            }
        }
        self.others += slice.others;
        if slice.count > 0.0 {
            self.expiring += slice.count;
            self.window.push(slice);
        } else if self.window.is_empty() && self.others > ahead {
            self.send_others(self.others - ahead);
        }
    }

    fn finish(&mut self) {
        while let Some(first) = self.window.pop() {
            self.send(first);
        }
        self.send_others(self.others);
    }

    fn send_others(&mut self, count: f64) {
        self.others -= count;
        self.sent += count;
        if self.rate > 0.0 {
            self.time += count / self.rate;
        }
    }

    fn send(&mut self, slice: Slice) {
        self.expiring = if self.window.is_empty() { 0.0 } else { self.expiring - slice.count };
        let Slice { mut begin, end, mut count, .. } = slice;
        if end < 0.0 {
            self.expired += count;
            return;
        }
        if begin < 0.0 {
            let expired = count * -begin / (end - begin);
            self.expired += expired;
            count -= expired;
            begin = 0.0;
        }
        // A quotient of two lines is greatest at one of its ends. Less than a second is not told.
        let first = (self.sent + count.min(1.0)) / begin.max(1.0);
        let last = (self.sent + count) / end.max(1.0);
        self.needed = self.needed.max(first).max(last);
        self.sent += count;
        if self.rate > 0.0 {
            let sent = in_time(self.time, self.rate, begin, end, count);
            self.lost += count - sent;
            self.time += sent / self.rate;
        }
    }
}

/// How many of `count` objects, whose deadlines rise evenly from `begin` to `end`, are sent in time
/// when the first can be sent at `time` and `rate` each second.
fn in_time(time: f64, rate: f64, begin: f64, end: f64, count: f64) -> f64 {
    if time > end {
        return 0.0;
    }
    let slope = (end - begin) / count;
    // Those before the first that is sent expired meanwhile.
    let late = if time > begin { (time - begin) / slope } else { 0.0 };
    if slope * rate >= 1.0 {
        // Deadlines pass more slowly than objects are sent: who is in time stays so.
        return count - late;
    }
    // Deadlines come nearer with each object until they are reached; from then on as many are sent
    // as there is time until the last deadline.
    (rate * (end - time)).min(count - late)
}

/// What a forecast says. Its text is one line.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Objects that are settled.
    pub settled: u64,
    /// Objects that are not.
    pub total: u64,
    /// How many of these have a deadline, those that passed it included.
    pub expiring: u64,
    /// The earliest deadline that has not passed.
    pub first_expiry: Option<u32>,
    /// Objects whose deadline has passed.
    pub already_expired: u64,
    /// Objects whose deadline will pass before their turn, at the present rate; 0 without one. An
    /// estimate.
    pub will_expire: u64,
    /// Objects each second at which no more expire, an estimate too; 0 where none can.
    pub rate_needed: f64,
    per_second: f64,
    now: u32,
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, s) = (self.settled > 0, self.total != 1);
        write!(f, "{} URL{}", Grouped(self.total), if s { "s" } else { "" })?;
        write!(f, "{}", if left { " left" } else { "" })?;
        if self.already_expired > 0 {
            write!(f, ", {} expired", Grouped(self.already_expired))?;
        }
        let Some(first) = self.first_expiry else {
            return match self.already_expired {
                0 => write!(f, ", none expires"),
                _ => write!(f, ", none of the others expires"),
            };
        };
        let first = Span(first.saturating_sub(self.now));
        let which = if self.already_expired > 0 { "next" } else { "first" };
        write!(f, ", the {which} expires in {first}; ")?;
        let needed = Rate(self.rate_needed, true);
        if self.per_second <= 0.0 {
            return write!(f, "{needed} is needed");
        }
        write!(f, "at {} ", Rate(self.per_second, false))?;
        match self.will_expire {
            0 => write!(f, "0 will expire"),
            lost => {
                let lost = Grouped(rounded(lost));
                write!(f, "about {lost} will expire; {needed} would be needed")
            }
        }
    }
}

/// Two digits that count.
fn rounded(number: u64) -> u64 {
    let unit = 10_u64.pow(number.max(1).ilog10().saturating_sub(1));
    number.saturating_add(unit / 2) / unit * unit
}

/// A number in groups of three digits.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            low @ 0..1000 => write!(f, "{low}"),
            high => write!(f, "{},{:03}", Grouped(high / 1000), high % 1000),
        }
    }
}

/// Objects each second, rounded up or to the nearest.
struct Rate(f64, bool);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round = |number: f64| if self.1 { number.ceil() } else { number.round() };
        match round(self.0 * 10.0) / 10.0 {
            low if low < 10.0 && low.fract() != 0.0 => write!(f, "{low:.1}/s"),
            _ => write!(f, "{}/s", Grouped(round(self.0) as u64)),
        }
    }
}

/// Seconds, in the two greatest units that say something.
struct Span(u32);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours) = (self.0 / 86_400, self.0 / 3600 % 24);
        let (minutes, seconds) = (self.0 / 60 % 60, self.0 % 60);
        match (days, hours, minutes) {
            (1.., _, _) => write!(f, "{days} d {hours} h"),
            (0, 1.., _) => write!(f, "{hours} h {minutes} min"),
            (0, 0, 10..) => write!(f, "{minutes} min"),
            (0, 0, 1..) => write!(f, "{minutes} min {seconds} s"),
            (0, 0, 0) => write!(f, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests;
