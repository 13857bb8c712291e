//! A listing that is another one when a run is taken up again: what is stored goes by its name.

use crate::support::{Place, assert_same, interrupted, stored};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use windrow_testkit::script::{Request, Site, body_of};
use windrow_testkit::{Finished, Gate, Script, Step, Windrow};

const FORMATS: [&[&str]; 2] = [&["--format", "files"], &["--format", "tar", "--shard-size", "7"]];

/// What the server does instead of answering.
type But = Box<dyn Fn(&Request) -> Option<Vec<Step>> + Send>;

/// A server whose names change.
struct Changing {
    server: Script,
    now: Arc<Mutex<(Site, But)>>,
}

impl Changing {
    fn new(site: Site) -> Self {
        let now: Arc<Mutex<(Site, But)>> = Arc::new(Mutex::new((site, Box::new(|_| None))));
        let server = Script::start({
            let now = Arc::clone(&now);
            move |request| {
                let now = now.lock().expect("no test panics while it answers");
                (now.1)(request).unwrap_or_else(|| now.0.answer(request))
            }
        });
        Self { server, now }
    }

    fn becomes(&self, site: Site) {
        self.now.lock().expect("no panic").0 = site;
    }

    fn but(&self, but: impl Fn(&Request) -> Option<Vec<Step>> + Send + 'static) {
        self.now.lock().expect("no panic").1 = Box::new(but);
    }

    /// Interrupts a run while these names (`get/NAME`) or pages (`list...`) hang.
    fn interrupted(&self, get: Windrow, hanging: &[&str]) -> Finished {
        let gate = Gate::new();
        let targets: Vec<_> = hanging.iter().map(|target| format!("/{target}")).collect();
        let first = targets[0].clone();
        self.but({
            let gate = gate.clone();
            move |request| {
                let ill = targets.contains(&request.target);
                ill.then(|| vec![Step::Await(gate.clone()), Step::Reset])
            }
        });
        let done = interrupted(get, &self.server, &gate, &first);
        self.but(|_| None);
        done
    }

    /// Names that were asked for more than once, but for those that hung.
    fn twice(&self, hung: &[&str]) -> Vec<String> {
        let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
        for target in self.server.targets("/get/") {
            let name = target.trim_start_matches('/').to_owned();
            if !seen.insert(name.clone()) && !hung.contains(&name.as_str()) {
                twice.push(name);
            }
        }
        twice
    }
}

fn named(names: impl IntoIterator<Item = String>) -> Site {
    Site::new(names).pages_of(10)
}

fn numbered(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("n{number:03}")).collect()
}

/// The stored objects are those of the listing, and those that were stored before they went from it.
#[track_caller]
fn has(done: &Finished, listed: &[String], gone: &[String]) {
    let names = listed.iter().chain(gone);
    let expected = names.map(|name| (name.clone().into_bytes(), body_of(name.as_bytes())));
    // Reading packs asserts that nothing is there twice.
    assert_same(&stored(done), &expected.collect());
}

#[test]
fn a_page_that_changed_goes_by_name() {
    for format in FORMATS {
        let before = numbered(0..60);
        let changing = Changing::new(named(before.clone()));
        let place = Place::new();
        let url = changing.server.url();
        let get = || place.get(&url).args(format);
        let hung = ["get/n025", "get/n041"];
        let done = changing.interrupted(get(), &hung);
        let first = done.figure("stored");
        assert!(first >= 8, "{:#}", done.summary());
        let had = stored(&done);

        // n022 goes, two names come before n025: every page from there on is another.
        let mut after = numbered((0..60).filter(|&number| number != 22));
        after.splice(23..23, ["new1".to_owned(), "new2".to_owned()]);
        changing.becomes(named(after.clone()));
        let done = get().run().expect(0).sum_holds();
        let done = done.says(["the listing changed since the earlier run", "same name"]);
        done.figures_are([("failed", 0), ("pending", 0)]);
        let gone: Vec<_> =
            ["n022".to_owned()].into_iter().filter(|n| had.contains_key(n.as_bytes())).collect();
        has(&done, &after, &gone);
        assert_eq!(changing.twice(&hung), Vec::<String>::new());
        assert_eq!(done.figure("stored"), (after.len() + gone.len()) as u64);

        // And then it is a run like any other.
        let asked = changing.server.requests().len();
        let done = get().run().expect(0).sum_holds();
        has(&done, &after, &gone);
        assert_eq!(changing.server.requests().len(), asked);
    }
}

#[test]
fn a_change_on_pages_that_are_done_is_not_looked_for() {
    for format in FORMATS {
        let before = numbered(0..40);
        let changing = Changing::new(named(before.clone()));
        let place = Place::new();
        let url = changing.server.url();
        let get = || place.get(&url).args(format).args(["--cores", "1", "-c", "1"]);
        // With one connection everything before it is stored.
        changing.interrupted(get(), &["get/n035"]);
        let mut after = before.clone();
        after[3] = "other".to_owned();
        changing.becomes(named(after));
        let done = get().run().complete(40);
        assert!(!done.stderr.contains("changed"), "{}", done.stderr);
        has(&done, &before, &[]);
        assert_eq!(changing.twice(&["get/n035"]), Vec::<String>::new());
    }
}

#[test]
fn a_listing_read_anew_that_is_interrupted_too() {
    // The third process has to go by name as well: what it is still to list was stored before.
    for format in FORMATS {
        for hanging in ["list?next-marker=40", "list?next-marker=20", "get/new1", "get/n025"] {
            let before = numbered(0..60);
            let changing = Changing::new(named(before.clone()));
            let place = Place::new();
            let url = changing.server.url();
            let get = || place.get(&url).args(format).args(["--cores", "1", "-c", "4"]);
            let hung = ["get/n015", "get/n025", "get/new1"];
            let had = stored(&changing.interrupted(get(), &hung));
            assert!(had.len() >= 9, "{}", had.len());

            let mut after = numbered((0..60).filter(|&number| number != 12));
            after.splice(13..13, ["new1".to_owned(), "new2".to_owned(), "new3".to_owned()]);
            changing.becomes(named(after.clone()));
            let done = changing.interrupted(get(), &[hanging]).says(["listing changed"]);
            assert!(done.figure("stored") >= had.len() as u64, "{:#}", done.summary());

            let done = get().run().expect(0).sum_holds();
            let gone: Vec<_> = ["n012".to_owned()]
                .into_iter()
                .filter(|n| had.contains_key(n.as_bytes()))
                .collect();
            has(&done, &after, &gone);
            assert_eq!(changing.twice(&hung), Vec::<String>::new(), "{format:?} {hanging}");
            done.figures_are([("stored", (after.len() + gone.len()) as u64), ("pending", 0)]);
        }
    }
}

#[test]
fn a_listing_that_changes_every_time() {
    for format in FORMATS {
        // The first page always has something left to do, or what is new on it would not be found.
        let named = |names: &[String]| Site::new(names.to_vec()).pages_of(20);
        let changing = Changing::new(named(&numbered(0..50)));
        let place = Place::new();
        let url = changing.server.url();
        let get = || place.get(&url).args(format).args(["--cores", "2", "-c", "6"]);
        changing.interrupted(get(), &["get/n008", "get/n019", "get/n033"]);
        let mut names = numbered(0..50);
        for round in 0..5_usize {
            names.insert(2 * round, format!("new{round}"));
            names.push(format!("last{round}"));
            changing.becomes(named(&names));
            changing.interrupted(get(), &["get/n033", "get/n019", "get/n008"]);
        }
        let done = get().run().expect(0).sum_holds();
        has(&done, &names, &[]);
        let hung = ["get/n008", "get/n019", "get/n033"];
        // What was on its way when a process was interrupted may be asked for again.
        assert!(changing.twice(&hung).len() <= 6 * 6, "{:?}", changing.twice(&hung));
        done.figures_are([("stored", names.len() as u64), ("pending", 0), ("failed", 0)]);
    }
}
