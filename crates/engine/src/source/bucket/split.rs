//! The listing of a bucket by several requests at once, given in the order of its keys.
//!
//! The keys that are left are cut into *ranges*, each with a request under way. Where a range ends is
//! guessed ([`Guesser`]): about where the next page begins. A range that turns out to hold more than a
//! page is asked on and cut again; ranges that a page covers although they belong to the next are
//! joined to it. So every key is in one range, whatever the guesses are worth, and a guess that is
//! worth nothing costs a request. How many are made at once grows with those that were worth something,
//! and falls to none where they are not: then it is one page after the other, with a guess now and
//! then to see whether that changed.
//!
//! What is given is the same as by asking for one page after the other, but for where pages end: each
//! is asked for by the last key of the one before ([`Chunk::asked`]), and guesses are never seen.
//!
//! No I/O: [`Split::ask`] says what to ask, [`Split::accept`] takes answers in any order,
//! [`Split::take`] gives what has its turn.

use super::super::listing::ListingError;
use super::guess::{Guesser, Sample};
use super::page::Page;
use std::collections::VecDeque;
use std::rc::Rc;
use windrow_model::limits::{LISTING_AHEAD, LISTING_AHEAD_BYTES, MARKER_BYTES};

/// Of the keys of a page, so many are taken to be in a range that is guessed: a range that holds a
/// few more than a page costs two requests.
const FILL: f64 = 0.92;

/// A range of which less than so much of a page would be left is not cut.
const REST: f64 = 0.6;

/// After so many pages without a guess, one is made.
const AGAIN: u32 = 16;

/// Pages of one range that wait for its turn, at most.
const WAITING: usize = 8;

/// So many guesses more may come to nothing than pages came to something.
const WASTE: usize = 8;

/// A page to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// To be given back with the answer.
    pub id: u64,
    /// The key behind which it begins; `None` for the first of all.
    pub after: Option<String>,
}

/// Keys whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// They.
    pub page: Page,
    /// The key before them, behind which they can be asked for again; `None` where there is none.
    pub asked: Option<String>,
    /// Their last key; `None` if nothing comes behind them. Where that is not known yet, a
    /// [`Split::is_finished`] follows.
    pub next: Option<String>,
}

/// Keys behind one and up to another.
#[derive(Debug)]
struct Range {
    /// It begins behind this key.
    start: Option<String>,
    /// Keys behind this one are asked for next, or were.
    from: Option<String>,
    /// They belong to it up to and with this one; all if `None`.
    until: Option<String>,
    /// What came and waits for its turn.
    pages: VecDeque<(Page, Option<String>)>,
    /// The request under way.
    flight: Option<u64>,
    /// Everything came.
    done: bool,
    /// It was guessed, and there is no answer yet.
    guess: bool,
    /// Keys near it.
    sample: Option<Rc<Sample>>,
    /// What was known when it was found that it cannot be cut.
    tried: Option<u64>,
}

impl Range {
    fn new(from: Option<String>, until: Option<String>) -> Self {
        Self {
            start: from.clone(),
            from,
            until,
            pages: VecDeque::new(),
            flight: None,
            done: false,
            guess: false,
            sample: None,
            tried: None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Split {
    prefix: String,
    ranges: VecDeque<Range>,
    guesser: Guesser,
    /// Requests at once: at most, and for the present.
    most: usize,
    width: usize,
    /// Pages since the width changed.
    calm: usize,
    /// Guesses at once for the present, in halves.
    credit: usize,
    /// Pages without a guess.
    without: u32,
    /// Pages that were of use, and guesses that were of none.
    worth: usize,
    waste: usize,
    /// Requests under way, and ranges among them that were guessed.
    out: usize,
    /// Of these, such as nobody waits for any more, and the keys behind which they ask.
    orphans: Vec<(u64, Option<String>)>,
    next_id: u64,
    /// Keys of the longest page.
    page: usize,
    /// Pages that wait, and their bytes.
    held: usize,
    held_bytes: usize,
    answered: u64,
    /// The last key given.
    last: Option<String>,
    finished: bool,
}

impl Split {
    /// The listing behind `after`, of keys that begin with `prefix`, by at most `most` requests at
    /// once (0 counts as 1).
    pub fn new(prefix: &str, after: Option<String>, most: usize) -> Self {
        let first = Range::new(after.clone(), None);
        let most = most.max(1);
        Self {
            prefix: prefix.to_owned(),
            ranges: VecDeque::from([first]),
            guesser: Guesser::new(prefix),
            most,
            width: most,
            calm: 0,
            credit: 2,
            without: 0,
            worth: 0,
            waste: 0,
            out: 0,
            orphans: Vec::new(),
            next_id: 0,
            page: 0,
            held: 0,
            held_bytes: 0,
            answered: 0,
            last: after,
            finished: false,
        }
    }

    /// Pages that were answered.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Whether all keys were given.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Pages that wait for their turn, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        (self.held, self.held_bytes)
    }

    /// The server asked for fewer requests.
    pub fn slow_down(&mut self) {
        self.width = (self.width / 2).max(1);
        self.calm = 0;
    }

    /// The next page to ask for, if one more is to be asked for now.
    pub fn ask(&mut self) -> Option<Ask> {
        loop {
            if self.finished || self.out >= self.width {
                return None;
            }
            let room = self.held + self.out < self.most * LISTING_AHEAD
                && self.held_bytes < LISTING_AHEAD_BYTES;
            let index = match room {
                true => self.find()?,
                false => self.front().or_else(|| self.make_room())?,
            };
            let range = self.ranges.get_mut(index)?;
            // The same may be under way for a range that was joined to another.
            if let Some(at) = self.orphans.iter().position(|(_, after)| *after == range.from) {
                range.flight = Some(self.orphans.swap_remove(at).0);
                continue;
            }
            let id = self.next_id;
            range.flight = Some(id);
            let after = range.from.clone();
            self.next_id += 1;
            self.out += 1;
            return Some(Ask { id, after });
        }
    }

    /// The range whose turn it is, if nothing of it is under way.
    fn front(&self) -> Option<usize> {
        let front = self.ranges.front()?;
        (front.flight.is_none() && !front.done).then_some(0)
    }

    /// Throws away what waits for the last turn, where something that has its turn before is not asked
    /// for because of it: a guess led too far. Gives the index of what is asked for instead.
    fn make_room(&mut self) -> Option<usize> {
        if self.out * 2 >= self.width {
            return None;
        }
        let index = self.find()?;
        let full = |range: &Range| range.flight.is_none() && !range.pages.is_empty();
        let last = self.ranges.iter().rposition(full).filter(|&last| last > index)?;
        let range = self.ranges.get_mut(last)?;
        self.held -= range.pages.len();
        self.held_bytes -= range.pages.iter().map(|(page, _)| page.bytes()).sum::<usize>();
        range.pages.clear();
        range.from.clone_from(&range.start);
        (range.done, range.tried) = (false, None);
        Some(index)
    }

    /// The first range in order of which something is to be asked for: the next page of one, or a
    /// new one that is cut off from another. What has its turn first comes first, lest what has it
    /// later takes up all the room.
    fn find(&mut self) -> Option<usize> {
        let guesses = self.ranges.iter().filter(|range| range.guess).count();
        let may_guess = guesses < self.credit / 2 && self.waste <= self.worth + WASTE;
        for index in 0..self.ranges.len() {
            let range = self.ranges.get(index)?;
            if range.flight.is_none() {
                if !range.done && (index == 0 || range.pages.len() < WAITING) {
                    return Some(index);
                }
            } else if may_guess && let Some(new) = self.cut(index) {
                self.ranges.insert(index + 1, new);
                return Some(index + 1);
            }
        }
        None
    }

    /// Cuts a range off the end of another, where a guess is worth trying.
    fn cut(&mut self, index: usize) -> Option<Range> {
        let keys = self.page as f64;
        let range = self.ranges.get_mut(index)?;
        if range.tried == Some(self.guesser.version()) {
            return None;
        }
        let (sample, from) = (range.sample.clone()?, range.from.as_deref()?);
        let fits = |guess: &String| {
            range.until.as_ref().is_none_or(|until| guess < until)
                && guess.starts_with(&self.prefix)
        };
        let mut guess = self.guesser.guess(&sample, from, keys * FILL).filter(fits);
        if range.until.is_some() && guess.is_some() {
            let far = self.guesser.guess(&sample, from, keys * (FILL + REST));
            guess = guess.filter(|_| far.as_ref().is_some_and(fits));
        }
        let Some(guess) = guess else {
            range.tried = Some(self.guesser.version());
            return None;
        };
        let until = range.until.replace(guess.clone());
        let mut new = Range::new(Some(guess), until);
        (new.guess, new.sample) = (true, Some(sample));
        Some(new)
    }

    /// What was asked for will not come. Says whether that matters: its range may have been joined to
    /// another.
    pub fn give_up(&mut self, id: u64) -> bool {
        self.out = self.out.saturating_sub(1);
        self.orphans.retain(|(orphan, _)| *orphan != id);
        self.ranges.iter().any(|range| range.flight == Some(id))
    }

    /// Takes the answer to an [`Ask`].
    ///
    /// # Errors
    /// It leads back, is not in order, or leads nowhere.
    pub fn accept(&mut self, id: u64, mut page: Page) -> Result<(), ListingError> {
        self.out = self.out.saturating_sub(1);
        self.orphans.retain(|(orphan, _)| *orphan != id);
        let Some(index) = self.ranges.iter().position(|range| range.flight == Some(id)) else {
            // Its range was joined to another.
            return Ok(());
        };
        let Some(range) = self.ranges.get(index) else { return Ok(()) };
        let several = self.ranges.len() > 1 || self.answered > 0;
        let last = check(&page, range.from.as_deref(), several)?;
        self.answered += 1;
        self.page = self.page.max(page.keys.len());
        self.guesser.learn(&page.keys);
        let sample = Sample::of(&page.keys).map(Rc::new);
        self.join(index, &page);
        let (most, answered) = (self.most, self.answered);
        let Some(range) = self.ranges.get_mut(index) else { return Ok(()) };
        let all = page.keys.len();
        let keep = match &range.until {
            Some(until) => page.keys.partition_point(|key| key <= until.as_bytes()),
            None => all,
        };
        range.flight = None;
        range.tried = None;
        range.done = keep < all || !page.truncated || last.is_some() && last == range.until;
        let worth = keep * 2 >= self.page;
        page.truncate(keep);
        let end = page.last().map(str::to_owned);
        if end.is_none() && keep > 0 && (!range.done || range.until.is_some()) {
            return Err(ListingError::Shape("a key that is not UTF-8 ends a page".to_owned()));
        }
        if !range.done {
            range.from.clone_from(&last);
        }
        let guessed = std::mem::take(&mut range.guess);
        if keep > 0 || answered == 1 {
            self.held += 1;
            self.held_bytes += page.bytes();
            range.pages.push_back((page, end));
        }
        if let Some(sample) = sample {
            range.sample = Some(Rc::clone(&sample));
            // It lies nearer to those behind it than what they were guessed by.
            for behind in self.ranges.iter_mut().skip(index + 1).take_while(|range| range.guess) {
                behind.sample = Some(Rc::clone(&sample));
                behind.tried = None;
            }
        }
        match (guessed, worth) {
            // Slowly at first, so that a small bucket costs little more.
            (true, true) if self.credit < 4 => self.credit += 1,
            (true, true) => self.credit = (self.credit + 2).min(2 * most),
            (true, false) => self.credit = self.credit.saturating_sub(1),
            (false, _) => {}
        }
        match worth {
            true => self.worth += 1,
            false => self.waste += 1,
        }
        self.without = if self.credit < 2 { self.without + 1 } else { 0 };
        if self.without >= AGAIN {
            self.credit = 2;
        }
        self.calm += 1;
        if self.calm >= self.width {
            self.width = (self.width + 1).min(most);
            self.calm = 0;
        }
        Ok(())
    }

    /// Ranges behind it that nothing came of yet, and of which the page holds everything, become
    /// part of its range.
    fn join(&mut self, index: usize, page: &Page) {
        let last = page.keys.len().checked_sub(1).and_then(|last| page.keys.get(last));
        loop {
            let Some(next) = self.ranges.get(index + 1) else { return };
            let covered = match (&next.until, last) {
                _ if !page.truncated => true,
                (Some(until), Some(last)) => last >= until.as_bytes(),
                _ => false,
            };
            // Its own page has to be in the range up to there.
            let reaches = |range: &Range| {
                range.until.as_ref().is_some_and(|until| {
                    !page.truncated || last.is_some_and(|last| last >= until.as_bytes())
                })
            };
            let here = self.ranges.get(index).is_some_and(reaches);
            if !(covered && here && next.guess && next.flight.is_some()) {
                return;
            }
            let next = self.ranges.remove(index + 1);
            if let (Some(range), Some(next)) = (self.ranges.get_mut(index), next) {
                range.until = next.until;
                self.orphans.extend(next.flight.map(|id| (id, next.from)));
            }
            self.credit = self.credit.saturating_sub(1);
            self.waste += 1;
        }
    }

    /// The next keys, if they are there.
    pub fn take(&mut self) -> Option<Chunk> {
        loop {
            let alone = self.ranges.len() == 1;
            let front = self.ranges.front_mut()?;
            if let Some((page, end)) = front.pages.pop_front() {
                self.held -= 1;
                self.held_bytes -= page.bytes();
                self.finished = alone && front.done && front.pages.is_empty();
                let asked = self.last.clone();
                if end.is_some() {
                    self.last = end;
                }
                let next = (!self.finished).then(|| self.last.clone()).flatten();
                return Some(Chunk { page, asked, next });
            }
            if !front.done {
                return None;
            }
            if alone {
                self.finished = true;
                return None;
            }
            self.ranges.pop_front();
        }
    }
}

/// What is wrong with a page that was asked for behind `after`; its last key, if there are more.
fn check(page: &Page, after: Option<&str>, several: bool) -> Result<Option<String>, ListingError> {
    let mut before = after.map(str::as_bytes);
    // One page that is all there is may be in any order.
    if page.truncated || several {
        for key in page.keys.iter() {
            if let Some(before) = before
                && key <= before
            {
                let circle = after.is_some_and(|after| key <= after.as_bytes());
                let before = String::from_utf8_lossy(before).into_owned();
                return Err(match circle {
                    true => ListingError::Circle(after.unwrap_or_default().to_owned()),
                    false => ListingError::Unordered(before),
                });
            }
            before = Some(key);
        }
    } else if let (Some(after), Some(first)) = (after, page.keys.get(0))
        && first <= after.as_bytes()
    {
        return Err(ListingError::Circle(after.to_owned()));
    }
    let last = page.keys.len().checked_sub(1).and_then(|last| page.keys.get(last));
    match last {
        _ if !page.truncated => Ok(page.last().map(str::to_owned)),
        None => Err(ListingError::Barren(1)),
        Some(last) if last.len() > MARKER_BYTES => Err(ListingError::LongMarker(last.len())),
        // Else the next page would begin somewhere else.
        Some(last) => match std::str::from_utf8(last) {
            Ok(last) => Ok(Some(last.to_owned())),
            Err(_) => Err(ListingError::Shape("a key that is not UTF-8 ends a page".to_owned())),
        },
    }
}

#[cfg(test)]
mod tests;
