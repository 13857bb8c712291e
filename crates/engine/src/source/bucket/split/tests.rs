//! Any keys, any answers in any order: each key once, in order, and an end.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use windrow_model::task::Listed;

/// A bucket that answers as S3 does.
struct Server {
    keys: Vec<String>,
    page: usize,
}

impl Server {
    fn new(keys: impl IntoIterator<Item = String>, page: usize) -> Self {
        let keys: BTreeSet<String> = keys.into_iter().collect();
        Self { keys: keys.into_iter().collect(), page }
    }

    fn answer(&self, after: Option<&str>) -> Page {
        let from = after.map_or(0, |after| self.keys.partition_point(|key| key.as_str() <= after));
        let to = (from + self.page).min(self.keys.len());
        page(&self.keys[from..to], to < self.keys.len())
    }
}

fn page<S: AsRef<str>>(keys: &[S], truncated: bool) -> Page {
    let mut page = Page { truncated, ..Page::default() };
    for key in keys {
        page.keys.push(key.as_ref().as_bytes()).unwrap();
        page.listed.push(Listed { size: key.as_ref().len() as u64, ..Listed::default() });
        page.modified.push(0);
    }
    page
}

/// What a listing came to.
#[derive(Debug, Default)]
struct Told {
    keys: Vec<String>,
    chunks: Vec<Chunk>,
    requests: usize,
    /// Times that everything under way was waited for.
    rounds: usize,
    most_held: usize,
}

/// Lists to the end. `order` says which of those under way is answered next; `None`: all at once, in
/// rounds.
fn list(
    split: &mut Split,
    answer: impl Fn(Option<&str>) -> Page,
    mut order: Option<&mut dyn FnMut(usize) -> usize>,
) -> Result<Told, ListingError> {
    let mut told = Told::default();
    let mut out: Vec<Ask> = Vec::new();
    loop {
        while let Some(chunk) = split.take() {
            assert_eq!(chunk.page.keys.len(), chunk.page.listed.len());
            let keys = chunk.page.keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap());
            told.keys.extend(keys);
            told.chunks.push(chunk);
        }
        if split.is_finished() {
            return Ok(told);
        }
        while let Some(ask) = split.ask() {
            told.requests += 1;
            assert!(out.iter().all(|other| other.after != ask.after), "asked for twice at once");
            out.push(ask);
        }
        told.most_held = told.most_held.max(split.held().0 + out.len());
        assert!(!out.is_empty(), "nothing is under way, and it is not finished");
        match &mut order {
            Some(order) => {
                let ask = out.swap_remove(order(out.len()));
                split.accept(ask.id, answer(ask.after.as_deref()))?;
            }
            None => {
                told.rounds += 1;
                for ask in out.drain(..) {
                    split.accept(ask.id, answer(ask.after.as_deref()))?;
                }
            }
        }
    }
}

fn check_chunks(told: &Told, server: &Server) {
    let mut before = None;
    for chunk in &told.chunks {
        assert_eq!(chunk.asked, before);
        // Whoever asks there again gets the same, and perhaps more.
        let again = server.answer(chunk.asked.as_deref());
        for (index, key) in chunk.page.keys.iter().enumerate() {
            assert_eq!(again.keys.get(index), Some(key));
        }
        before = chunk.page.last().map(str::to_owned).or(before);
        assert!(chunk.next.is_none() || chunk.next == before);
    }
    let ends = told.chunks.iter().filter(|chunk| chunk.next.is_none()).count();
    assert!(ends <= 1 && (ends == 0 || told.chunks.last().unwrap().next.is_none()));
}

/// Lists so many keys of a shape, 1,000 a page, in rounds.
fn measure(what: &str, keys: impl IntoIterator<Item = String>) -> (Told, usize) {
    let server = Server::new(keys, 1000);
    let mut split = Split::new("", None, 32);
    let told = list(&mut split, |after| server.answer(after), None).unwrap();
    assert_eq!(told.keys, server.keys, "{what}");
    check_chunks(&told, &server);
    let pages = server.keys.len().div_ceil(1000);
    println!("{what}: {pages} pages, {} requests, {} rounds", told.requests, told.rounds);
    (told, pages)
}

fn scramble(mut n: u64) -> u64 {
    n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// A key by its number.
type Shape = fn(u64) -> String;

const SHAPES: [(&str, Shape); 9] = [
    ("numbers", |n| format!("{:09}", n + 1)),
    ("images", |n| format!("train/images/img_{n:012}.jpg")),
    ("hex", |n| format!("{:016x}{:016x}", scramble(n), scramble(!n))),
    ("uuid", |n| {
        let (a, b) = (scramble(n), scramble(!n));
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    }),
    ("base64", |n| {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (mut a, mut text) = (scramble(n), String::new());
        for _ in 0..10 {
            text.push(digits[(a % 64) as usize].into());
            a /= 64;
        }
        text
    }),
    ("days, 2,740 each", |n| {
        let (day, number) = (n / 2740, n % 2740);
        format!("logs/2023/{:02}/{:02}/part-{number:06}.gz", 1 + day / 28, 1 + day % 28)
    }),
    ("minutes, 7 each", |n| {
        let minute = n / 7;
        let (day, of_day) = (minute / 1440, minute % 1440);
        format!(
            "y={}/m={:02}/d={:02}/{:02}/{:02}-{}.json",
            2020 + day / 336,
            1 + day / 28 % 12,
            1 + day % 28,
            of_day / 60,
            of_day % 60,
            n % 7
        )
    }),
    ("users of any length", |n| format!("user-{}/{:03}.bin", n / 60, n % 60)),
    ("hashed folders", |n| {
        format!("{:02x}/{:02x}/{n}", scramble(n) >> 56, scramble(n) >> 40 & 0xff)
    }),
];

#[test]
fn ten_times_as_fast_for_keys_as_programs_make_them() {
    let mut slow = Vec::new();
    for (what, key) in SHAPES {
        let (told, pages) = measure(what, (0..300_000).map(key));
        assert!(told.most_held <= 32 * LISTING_AHEAD + 1, "{what}: {}", told.most_held);
        if told.rounds * 10 > pages || told.requests > 2 * pages {
            slow.push(format!("{what}: {} rounds, {} requests", told.rounds, told.requests));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}

/// Words are few among all that could be written with their letters: most guesses lead to none.
#[test]
fn words_gain_little_and_cost_little() {
    let words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet"];
    let word = |n: u64, at: u32| words[(n / 9_u64.pow(at) % 9) as usize];
    let key = |n: u64| {
        format!("{}-{}/{}_{}/{:03}.txt", word(n, 0), word(n, 1), word(n, 2), word(n, 3), n / 6561)
    };
    let (told, pages) = measure("words", (0..200_000).map(key));
    let Told { rounds, requests, .. } = told;
    assert!(rounds * 5 < pages * 4 && requests <= 2 * pages, "{rounds} {requests}");
}

#[test]
fn what_cannot_be_guessed_costs_little() {
    // Folders of one key each, and one with all others, a few times: nothing goes on as it was.
    let keys = (0..60_000_u64).map(|n| {
        let depth = scramble(n / 13) % 9;
        let folder: String =
            (0..depth).map(|at| format!("{:x}/", scramble(n / 13 + at) % 5000)).collect();
        format!("{folder}{:x}", scramble(n))
    });
    let (told, pages) = measure("wild", keys);
    assert!(told.requests <= 2 * pages, "{} requests", told.requests);
}

#[test]
fn small_buckets_cost_one_or_two_requests_more() {
    for (count, most) in
        [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 3), (1900, 3), (2500, 4), (3000, 5)]
    {
        let (told, pages) = measure("small", (0..count).map(|n| format!("{n:06}")));
        assert!(told.requests <= most.max(pages), "{count}: {} requests", told.requests);
    }
}

#[test]
fn one_at_a_time_is_what_it_was() {
    let server = Server::new((0..25_000).map(|n| format!("{n:06}")), 1000);
    let mut split = Split::new("", None, 1);
    let told = list(&mut split, |after| server.answer(after), None).unwrap();
    assert_eq!((told.requests, told.chunks.len()), (25, 25));
    assert_eq!(told.chunks[24].next, None);
}

#[test]
fn a_server_that_asks_for_less_gets_less() {
    let server = Server::new((0..300_000).map(|n| format!("{n:08}")), 1000);
    let mut split = Split::new("", None, 32);
    let mut told = Vec::new();
    for round in 0.. {
        while split.take().is_some() {}
        if split.is_finished() {
            break;
        }
        let out: Vec<_> = std::iter::from_fn(|| split.ask()).collect();
        told.push(out.len());
        for ask in out {
            split.accept(ask.id, server.answer(ask.after.as_deref())).unwrap();
        }
        if round == 14 {
            (0..4).for_each(|_| split.slow_down());
        }
    }
    assert!(told[14] >= 16 && told[15] <= 3, "{told:?}");
    assert!(told[16..].iter().any(|&out| out >= 5), "{told:?}");
}

#[test]
fn lies_are_found() {
    let first = || page(&(0..1000).map(|n| format!("k{n:05}")).collect::<Vec<_>>(), true);
    let begun = || {
        let mut split = Split::new("", None, 8);
        let ask = split.ask().unwrap();
        split.accept(ask.id, first()).unwrap();
        let asks: Vec<_> = std::iter::from_fn(|| split.ask()).collect();
        assert_eq!(asks.len(), 2);
        (split, asks)
    };
    // It leads back.
    let (mut split, asks) = begun();
    assert!(matches!(split.accept(asks[0].id, first()), Err(ListingError::Circle(_))));
    // It promises more, and gives nothing.
    let (mut split, asks) = begun();
    assert_eq!(split.accept(asks[1].id, page::<&str>(&[], true)), Err(ListingError::Barren(1)));
    // It is in no order.
    let (mut split, asks) = begun();
    let odd = page(&["m", "z", "n"], true);
    assert!(matches!(split.accept(asks[0].id, odd), Err(ListingError::Unordered(_))));
    // An answer that nobody asked for, and one that comes twice, change nothing.
    let (mut split, asks) = begun();
    assert_eq!(split.accept(77, page(&["a"], true)), Ok(()));
    split.accept(asks[0].id, page(&["l", "m"], false)).unwrap();
    assert_eq!(split.accept(asks[0].id, page(&["a"], true)), Ok(()));
    // A page may be as long as it likes.
    let keys: Vec<_> = (0..5000).map(|n| format!("l{n:05}")).collect();
    let mut split = Split::new("", None, 8);
    let ask = split.ask().unwrap();
    split.accept(ask.id, page(&keys, false)).unwrap();
    assert_eq!(split.take().unwrap().page.keys.len(), 5000);
    assert!(split.is_finished());
    // One page that is all there is may be in any order.
    let mut split = Split::new("", None, 8);
    let ask = split.ask().unwrap();
    split.accept(ask.id, page(&["b", "a"], false)).unwrap();
    assert_eq!(split.take().unwrap().page.keys.len(), 2);
}

fn some_keys() -> impl Strategy<Value = Vec<String>> {
    let shape = (0..SHAPES.len(), 1..2000_u64, 1..50_u64);
    let shaped = shape.prop_map(|(shape, count, step)| {
        (0..count).map(|n| (SHAPES[shape].1)(n * step)).collect::<Vec<_>>()
    });
    let any = prop::collection::vec("[a-c/é☃-]{1,6}", 0..300);
    let wild = prop::collection::vec(".{1,12}", 0..200);
    prop_oneof![
        shaped.clone(),
        any,
        wild.clone(),
        (shaped, wild).prop_map(|(mut a, b)| {
            a.extend(b);
            a
        })
    ]
}

proptest! {
    #[test]
    fn each_key_once_and_in_order(
        keys in some_keys(), page in 1..40_usize, most in 1..20_usize, seed: u64, behind: bool,
    ) {
        let server = Server::new(keys, page);
        let after = behind.then(|| server.keys.get(server.keys.len() / 3).cloned()).flatten();
        let mut random = seed;
        let mut order = |len: usize| {
            random = scramble(random.wrapping_add(1));
            random as usize % len
        };
        let mut split = Split::new("", after.clone(), most);
        let told = list(&mut split, |after| server.answer(after), Some(&mut order)).unwrap();
        let from = after.map_or(0, |after| server.keys.partition_point(|key| *key <= after));
        prop_assert_eq!(&told.keys, &server.keys[from..]);
        if from == 0 {
            check_chunks(&told, &server);
        }
        prop_assert!(told.most_held <= most * LISTING_AHEAD + 1, "{}", told.most_held);
        let pages = (server.keys.len() - from).div_ceil(page).max(1);
        prop_assert!(told.requests <= 4 * pages + 2 * most, "{} of {}", told.requests, pages);
    }

    /// Keys that come and go meanwhile: what is there all the time is given once, and nothing twice.
    #[test]
    fn a_bucket_that_changes(keys in some_keys(), page in 1..40_usize, seed: u64) {
        let server = Server::new(keys, page);
        let random = std::cell::Cell::new(seed);
        let next = || {
            random.set(scramble(random.get().wrapping_add(1)));
            random.get()
        };
        let stays = |key: &str| {
            !scramble(key.len() as u64 ^ u64::from(key.as_bytes()[0])).is_multiple_of(3)
        };
        let answer = |after: Option<&str>| {
            let now: Vec<_> = server
                .keys
                .iter()
                .filter(|key| stays(key) || next() % 2 == 0)
                .cloned()
                .collect();
            Server { keys: now, page }.answer(after)
        };
        let mut order = |len: usize| next() as usize % len;
        let told = list(&mut Split::new("", None, 9), answer, Some(&mut order)).unwrap();
        prop_assert!(told.keys.is_sorted_by(|a, b| a < b));
        let given: BTreeSet<_> = told.keys.iter().collect();
        for key in server.keys.iter().filter(|key| stays(key)) {
            prop_assert!(given.contains(key), "{}", key);
        }
    }

    /// Whatever is answered, it ends: by an error, or when nothing is left.
    #[test]
    fn nonsense_ends(answers in prop::collection::vec(
        (prop::collection::vec("[a-d]{0,3}", 0..12), any::<bool>()), 1..30,
    ), seed: u64) {
        let mut split = Split::new("", None, 5);
        let mut random = seed;
        let mut out = Vec::new();
        for (mut keys, truncated) in answers {
            if random % 4 > 0 {
                keys.sort();
                keys.dedup();
            }
            while split.take().is_some() {}
            out.extend(std::iter::from_fn(|| split.ask()));
            if out.is_empty() {
                break;
            }
            random = scramble(random.wrapping_add(1));
            let ask: Ask = out.swap_remove(random as usize % out.len());
            if split.accept(ask.id, page(&keys, truncated)).is_err() {
                break;
            }
            prop_assert!(split.held().0 <= 5 * LISTING_AHEAD + 1);
        }
    }
}
