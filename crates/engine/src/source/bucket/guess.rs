//! Where the next pages of a listing begin, guessed from the keys that were seen.
//!
//! A listing in the order of bytes can be entered anywhere, so that many pages can be asked for at
//! once, if it is known where they begin. Keys are mostly made by programs: numbers with leading
//! zeros, hexadecimal digits, dates, a few words. So each *place* in a key has its own alphabet. A
//! place is told by how many separators stand before it and how many characters since the last of
//! them, so that `a/9/x` and `a/10/x` agree again behind the second `/`.
//!
//! All keys that could be written with these alphabets are counted: the weight of a place is the sum
//! of the weights behind each of its characters. Two keys are as far apart as there are such keys
//! between them, and a page further is as far as the page before was wide: an addition in numbers
//! with another base at each place. A place where nothing was carried yet is still counting up: its
//! alphabet is taken for larger than what was seen of it.
//!
//! A guess is never more than that: it is a key that some page may begin at, and a wrong one costs a
//! request.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use windrow_model::task::Names;

/// Separators in a key, and characters between two of them, that are told apart.
const TOKENS: usize = 48;
const PLACES: usize = 96;

/// Characters beyond ASCII at one place, at most.
const SYMBOLS: usize = 256;

/// Above this the weights of what lies deeper are not counted any more.
const WEIGHT: f64 = 1e200;

/// Keys of a page that are learned from, about.
const LEARNT: usize = 250;

/// A guess is no finer than this part of the distance.
const GRAIN: f64 = 1.0 / 1024.0;

/// Bytes of a guess, at most: S3 has no longer keys.
const KEY_BYTES: usize = 1024;

const DIGITS: u128 = 0x03ff << b'0';
const LETTERS: u128 = (0x03ff_fffe << 64) | (0x03ff_fffe << 96);

/// What was seen at one place.
#[derive(Debug, Clone, Default)]
struct Context {
    ascii: u128,
    others: BTreeSet<char>,
    /// A key ended before it.
    ends: bool,
    /// Something before it changed after it: it came to its end once.
    carried: bool,
    /// The alphabet, in order, with what may come yet.
    symbols: Vec<char>,
    /// Keys that could be written from here on.
    weight: f64,
    /// What lies behind it is not counted.
    floor: bool,
}

/// What was learned of the keys of one listing.
#[derive(Debug, Default)]
pub(super) struct Guesser {
    /// What all keys begin with.
    prefix: String,
    /// By separators before, then by characters since.
    contexts: Vec<Vec<Context>>,
    stale: bool,
    version: u64,
    /// Places of the key before, with the bytes before each; kept for their memory.
    before: Vec<Step>,
    now: Vec<Step>,
}

/// One character of a key.
#[derive(Debug, Clone, Copy)]
struct Step {
    token: u16,
    place: u16,
    /// Bytes before it.
    at: usize,
    symbol: char,
}

/// Some keys in a row: where they were, and how many.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    first: String,
    last: String,
    keys: usize,
}

impl Sample {
    /// Those of a page; `None` where they are too few to tell anything.
    pub(super) fn of(keys: &Names) -> Option<Self> {
        let text = |nth| Some(std::str::from_utf8(keys.get(nth)?).ok()?.to_owned());
        let count = keys.len();
        if count < 8 {
            return None;
        }
        Some(Self { first: text(0)?, last: text(count - 1)?, keys: count })
    }
}

fn is_separator(symbol: char) -> bool {
    symbol.is_ascii() && !symbol.is_ascii_alphanumeric()
}

/// Cuts a key into its characters, as far as places are told apart.
fn steps(key: &str, out: &mut Vec<Step>) {
    out.clear();
    let (mut token, mut place) = (0, 0);
    for (at, symbol) in key.char_indices() {
        if usize::from(token) >= TOKENS || usize::from(place) >= PLACES {
            return;
        }
        out.push(Step { token, place, at, symbol });
        (token, place) = behind(token, place, symbol);
    }
}

fn behind(token: u16, place: u16, symbol: char) -> (u16, u16) {
    match is_separator(symbol) {
        true => (token + 1, 0),
        false => (token, place + 1),
    }
}

impl Guesser {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// Grows with each change of what was learned.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Learns from a page of keys, in their order.
    pub(super) fn learn(&mut self, keys: &Names) {
        let (mut before, mut now) =
            (std::mem::take(&mut self.before), std::mem::take(&mut self.now));
        before.clear();
        let mut last: &str = "";
        let mut first = true;
        // A part of them tells nearly as much.
        let step = (keys.len() / LEARNT).max(1);
        for key in keys.iter().step_by(step) {
            let Ok(key) = std::str::from_utf8(key) else { continue };
            let Some(key) = key.strip_prefix(self.prefix.as_str()) else { continue };
            steps(key, &mut now);
            let same = match first {
                true => 0,
                false => key.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count(),
            };
            for step in now.iter().rev().take_while(|step| step.at + step.symbol.len_utf8() > same)
            {
                self.see(*step);
            }
            // Whole keys only: a cut one does not end there.
            if let Some(end) = now.last()
                && end.at + end.symbol.len_utf8() == key.len()
            {
                let (token, place) = behind(end.token, end.place, end.symbol);
                self.end(token, place);
            }
            if !first {
                for step in before.iter().rev().take_while(|step| step.at > same) {
                    self.carry(*step);
                }
            }
            first = false;
            last = key;
            std::mem::swap(&mut before, &mut now);
        }
        (self.before, self.now) = (before, now);
    }

    fn context(&mut self, token: u16, place: u16) -> Option<&mut Context> {
        let (token, place) = (usize::from(token), usize::from(place));
        if token >= TOKENS || place >= PLACES {
            return None;
        }
        if self.contexts.len() <= token {
            self.contexts.resize_with(token + 1, Vec::new);
        }
        let places = self.contexts.get_mut(token)?;
        if places.len() <= place {
            places.resize_with(place + 1, Context::default);
        }
        places.get_mut(place)
    }

    fn see(&mut self, step: Step) {
        let Some(context) = self.context(step.token, step.place) else { return };
        let news = match step.symbol.is_ascii() {
            true => {
                let bit = 1_u128 << (step.symbol as u32);
                let news = context.ascii & bit == 0;
                context.ascii |= bit;
                news
            }
            false => context.others.len() < SYMBOLS && context.others.insert(step.symbol),
        };
        self.stale |= news;
    }

    fn end(&mut self, token: u16, place: u16) {
        let Some(context) = self.context(token, place) else { return };
        let news = !std::mem::replace(&mut context.ends, true);
        self.stale |= news;
    }

    fn carry(&mut self, step: Step) {
        let Some(context) = self.context(step.token, step.place) else { return };
        let news = !std::mem::replace(&mut context.carried, true);
        self.stale |= news;
    }

    /// Counts anew what could be written.
    fn weigh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        self.version += 1;
        for token in (0..self.contexts.len()).rev() {
            // What stands behind a place, where more than one character does.
            let mut varied = 0_u128;
            for place in (0..self.contexts.get(token).map_or(0, Vec::len)).rev() {
                let after = self.weight(token, place + 1);
                let beyond = self.weight(token + 1, 0);
                let Some(context) = self.contexts.get_mut(token).and_then(|all| all.get_mut(place))
                else {
                    continue;
                };
                let own = context.ascii & (DIGITS | LETTERS);
                let mut all = context.ascii;
                if !context.carried && own != 0 {
                    all |= varied;
                    if own & LETTERS == 0 {
                        all |= DIGITS;
                    }
                }
                if own.count_ones() > 1 {
                    varied |= own;
                }
                context.symbols.clear();
                let ascii = (0..128_u8).filter(|bit| all >> bit & 1 == 1).map(char::from);
                context.symbols.extend(ascii.chain(context.others.iter().copied()));
                let separators = all & !(DIGITS | LETTERS);
                let separators = f64::from(separators.count_ones());
                let others = context.symbols.len() as f64 - separators;
                let weight =
                    others * after + separators * beyond + f64::from(u8::from(context.ends));
                context.floor = weight > WEIGHT;
                context.weight = match context.floor {
                    true => context.symbols.len() as f64,
                    false => weight.max(1.0),
                };
            }
        }
    }

    fn at(&self, token: usize, place: usize) -> Option<&Context> {
        self.contexts.get(token)?.get(place)
    }

    fn weight(&self, token: usize, place: usize) -> f64 {
        self.at(token, place).map_or(1.0, |context| context.weight)
    }

    fn weight_behind(&self, context: &Context, token: u16, place: u16, symbol: char) -> f64 {
        if context.floor {
            return 1.0;
        }
        let (token, place) = behind(token, place, symbol);
        self.weight(token.into(), place.into())
    }

    /// Keys at that place whose character there is `symbols`.
    fn sum(&self, step: Step, fits: impl Fn(char) -> bool) -> f64 {
        let Some(context) = self.at(step.token.into(), step.place.into()) else { return 0.0 };
        let fitting = context.symbols.iter().filter(|&&symbol| fits(symbol));
        fitting.map(|&symbol| self.weight_behind(context, step.token, step.place, symbol)).sum()
    }

    /// The characters of a key as far as they count.
    fn path(&self, key: &str) -> Option<(Vec<Step>, bool)> {
        let key = key.strip_prefix(self.prefix.as_str())?;
        let mut path = Vec::new();
        steps(key, &mut path);
        let is_floor = |step: &Step| {
            self.at(step.token.into(), step.place.into()).is_none_or(|context| context.floor)
        };
        match path.iter().position(is_floor) {
            Some(floor) => {
                path.truncate(floor + 1);
                Some((path, false))
            }
            None => {
                let whole =
                    path.last().is_none_or(|end| end.at + end.symbol.len_utf8() == key.len());
                Some((path, whole))
            }
        }
    }

    /// Keys that could be between two.
    fn distance(&self, from: &str, to: &str) -> Option<f64> {
        let ((from, _), (to, _)) = (self.path(from)?, self.path(to)?);
        let differ = |(a, b): (&Step, &Step)| a.symbol != b.symbol;
        let fork = from.iter().zip(&to).position(differ);
        let fork = fork.unwrap_or(from.len().min(to.len()));
        let mut keys = 0.0;
        for step in from.iter().skip(fork + 1) {
            keys += self.sum(*step, |symbol| symbol > step.symbol);
        }
        if let (Some(a), Some(b)) = (from.get(fork), to.get(fork)) {
            keys += 1.0 + self.sum(*a, |symbol| symbol > a.symbol && symbol < b.symbol);
        }
        let rest = if from.len() > fork { fork + 1 } else { fork };
        for step in to.iter().skip(rest) {
            let ends = self.at(step.token.into(), step.place.into()).is_some_and(|at| at.ends);
            keys += self.sum(*step, |symbol| symbol < step.symbol) + f64::from(u8::from(ends));
        }
        Some(keys)
    }

    /// The key behind which `keys` more begin than behind `from`, if they lie as close as those of the
    /// sample; `None` where that cannot be told. It is behind `from`.
    pub(super) fn guess(&mut self, sample: &Sample, from: &str, keys: f64) -> Option<String> {
        self.weigh();
        let distance = self.distance(&sample.first, &sample.last)? / sample.keys as f64 * keys;
        if !distance.is_finite() || distance <= 0.0 {
            return None;
        }
        let guess = self.advance(from, distance)?;
        (guess.len() <= KEY_BYTES && guess.as_str().cmp(from) == Ordering::Greater).then_some(guess)
    }

    fn advance(&self, from: &str, distance: f64) -> Option<String> {
        let (path, whole) = self.path(from)?;
        let mut left = distance;
        if whole {
            let (token, place) = match path.last() {
                Some(end) => behind(end.token, end.place, end.symbol),
                None => (0, 0),
            };
            let more = self.at(token.into(), place.into()).map_or(0.0, |context| context.weight);
            if left < more {
                return Some(self.descend(from.to_owned(), (token, place), left, distance));
            }
            left -= more;
        }
        for step in path.iter().rev() {
            let Some(context) = self.at(step.token.into(), step.place.into()) else { continue };
            for &symbol in context.symbols.iter().filter(|&&symbol| symbol > step.symbol) {
                let weight = self.weight_behind(context, step.token, step.place, symbol);
                if left >= weight {
                    left -= weight;
                    continue;
                }
                let mut key = from.get(..self.prefix.len() + step.at)?.to_owned();
                key.push(symbol);
                if context.floor {
                    return Some(key);
                }
                let next = behind(step.token, step.place, symbol);
                return Some(self.descend(key, next, left, distance));
            }
        }
        None
    }

    /// Appends to a key what leads to the key number `left` of those that begin with it.
    fn descend(&self, mut key: String, at: (u16, u16), mut left: f64, distance: f64) -> String {
        let (mut token, mut place) = at;
        while let Some(context) = self.at(token.into(), place.into()) {
            if context.weight < distance * GRAIN || key.len() >= KEY_BYTES {
                break;
            }
            if context.ends {
                if left < 1.0 {
                    break;
                }
                left -= 1.0;
            }
            let mut found = None;
            for &symbol in &context.symbols {
                let weight = self.weight_behind(context, token, place, symbol);
                found = Some(symbol);
                if left < weight {
                    break;
                }
                left -= weight;
            }
            let Some(symbol) = found else { break };
            key.push(symbol);
            if context.floor {
                break;
            }
            (token, place) = behind(token, place, symbol);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(keys: &[String]) -> (Guesser, Sample) {
        let mut names = Names::default();
        for key in keys {
            names.push(key.as_bytes()).unwrap();
        }
        let mut guesser = Guesser::new("");
        guesser.learn(&names);
        (guesser, Sample::of(&names).unwrap())
    }

    #[test]
    fn numbers_count_on() {
        let keys: Vec<_> = (1..=1000).map(|n| format!("img-{n:08}.jpg")).collect();
        let (mut guesser, sample) = learned(&keys);
        for pages in [1, 2, 9, 90, 900] {
            let guess = guesser.guess(&sample, &keys[999], f64::from(pages) * 1000.0).unwrap();
            let number: String = guess[4..].chars().take(8).collect();
            let number: f64 = format!("{number:0<8}").parse().unwrap();
            let wanted = 1000.0 * f64::from(pages + 1);
            assert!((number / wanted - 1.0).abs() < 0.01, "{pages}: {guess}");
        }
        assert_eq!(guesser.guess(&sample, "img-99999999.jpg", 1000.0), None);
    }

    #[test]
    fn hexadecimal_digits_come_behind_decimal_ones() {
        let keys: Vec<_> =
            (0..1000_u64).map(|n| format!("{:016x}", n * 0x0000_1234_5678_9abc)).collect();
        let (mut guesser, sample) = learned(&keys);
        let guess = guesser.guess(&sample, &keys[999], 100_000.0).unwrap();
        let wanted = 0x0000_1234_5678_9abc_u64 * 101_000;
        let wanted = format!("{wanted:016x}");
        assert_eq!(guess[..2], wanted[..2], "{guess} {wanted}");
    }

    #[test]
    fn places_behind_a_number_of_any_length_agree() {
        let mut keys: Vec<_> =
            (0..1200).map(|n| format!("user/{}/part-{:02}", n / 40, n % 40)).collect();
        keys.sort();
        let (mut guesser, sample) = learned(&keys);
        // 30 users have 1,200 keys: 120 keys on are three users on.
        let guess = guesser.guess(&sample, "user/12/part-07", 120.0).unwrap();
        let user: u32 = guess[5..7].parse().unwrap();
        assert!((14..=22).contains(&user), "{guess}");
    }

    #[test]
    fn months_end() {
        let keys: Vec<_> = (0..1500)
            .map(|n| format!("2024/{:02}/{:02}/{}", 1 + n / 500, 1 + n / 17 % 29, n % 17 % 10))
            .collect();
        let mut keys = keys;
        keys.sort();
        keys.dedup();
        let (mut guesser, sample) = learned(&keys);
        let guess = guesser.guess(&sample, "2024/02/29/9", 10.0).unwrap();
        assert!(guess.starts_with("2024/03/"), "{guess}");
    }

    #[test]
    fn odd_keys_do_no_harm() {
        let odd = ["", "a", "a\u{0}", "é", "日本", "日本語/x", "🦀", "z".repeat(1024).as_str()]
            .map(str::to_owned);
        let mut keys: Vec<_> =
            odd.iter().flat_map(|a| odd.iter().map(move |b| format!("{a}{b}"))).collect();
        keys.sort();
        keys.dedup();
        let (mut guesser, sample) = learned(&keys);
        for from in &keys {
            for count in [0.5, 3.0, 1e9] {
                if let Some(guess) = guesser.guess(&sample, from, count) {
                    assert!(guess > *from, "{guess:?} {from:?}");
                }
            }
        }
        let (mut guesser, sample) = learned(&vec!["same".to_owned(); 20]);
        let _ = guesser.guess(&sample, "same", 10.0);
    }
}
