//! Somebody swaps directories of the destination for links that lead out of it, all the while.
//!
//! The swapper goes on until the run is over, however long that takes: what is looked for is the
//! one step between looking and writing at which a link is followed.

use crate::support::Place;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use windrow_testkit::script::{Site, body_of};
use windrow_testkit::{Tree, tree};

/// Names in more directories than one core keeps open, so that each is opened again and again; all
/// below the three that are swapped.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for number in 0..4000 {
        let (one, other) = (number % 37, number % 41);
        names.push(match number % 4 {
            0 => format!("swap/n{number}"),
            1 => format!("swap/d{one}/n{number}"),
            2 => format!("a/swap/d{one}/d{other}/n{number}"),
            _ => format!("a/b/swap/d{other}/{number}/n"),
        });
    }
    names
}

/// A place with a destination in which three directories are, each with a link beside it that leads
/// to `outside`.
fn prepared() -> Place {
    let place = Place::new();
    [("outside/x", "outside"), ("outside/d1/x", "outside")]
        .into_iter()
        .collect::<Tree>()
        .write(place.path());
    for folder in ["out", "out/a", "out/a/b"] {
        std::fs::create_dir_all(place.at(folder).join("swap")).expect("a folder");
        symlink(place.at("outside"), place.at(folder).join("link")).expect("a link");
    }
    place
}

/// Runs windrow while `swap` is called for each of the directories and the link beside it, and says
/// how often it was. Nothing outside changes, and what is stored is there once.
fn run(settings: &[&str], swap: impl Fn(&Path, &Path) + Sync) -> u64 {
    let place = prepared();
    let site = Site::new(names());
    let server = site.start();
    let before = tree::outline(&place.at("outside"), "-".as_ref());
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = std::thread::scope(|scope| {
        for folder in ["out", "out/a", "out/a/b"] {
            let (folder, over, swaps, swap) = (place.at(folder), &over, &swaps, &swap);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    swap(&folder.join("swap"), &folder.join("link"));
                    swaps.fetch_add(1, Ordering::Relaxed);
                    // The other side's turn: two cores may be all there are.
                    std::thread::yield_now();
                }
            });
        }
        let running = place.get(&server.url()).args(settings).start();
        // The swappers end even where the run does not as it should.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.finish()));
        over.store(true, Ordering::Relaxed);
        done
    });
    let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).sum_holds();
    assert_eq!(tree::outline(&place.at("outside"), "-".as_ref()), before, "written outside");
    assert!(matches!(done.code, Some(0 | 1)), "exit {:?}: {}", done.code, done.stderr);
    assert_eq!(done.failed("name"), done.figure("failed"), "{:#}", done.summary());

    // Directories may have other names by now; bodies tell which object is which.
    let links = |path: &Path| path.ends_with("link") || path.ends_with("swap");
    let mut bodies: Vec<_> =
        done.tree().0.into_iter().filter(|(path, _)| !links(path)).map(|(_, body)| body).collect();
    bodies.sort_unstable();
    assert_eq!(bodies.len() as u64, done.figure("stored"));
    let failed: Vec<_> = done.failures().iter().map(|line| line["name"].clone()).collect();
    let mut expected: Vec<_> = names()
        .into_iter()
        .filter(|name| !failed.contains(&name.as_str().into()))
        .map(|name| body_of(name.as_bytes()))
        .collect();
    expected.sort_unstable();
    assert!(bodies == expected, "{} bodies, {} expected", bodies.len(), expected.len());
    swaps.into_inner()
}

#[test]
fn a_directory_that_is_exchanged_for_a_link_leads_nowhere() {
    let exchange = |dir: &Path, link: &Path| {
        let _ = renameat_with(CWD, dir, CWD, link, RenameFlags::EXCHANGE);
    };
    let swaps = run(&["--cores", "2"], exchange);
    assert!(swaps > 100, "{swaps} swaps");
}

#[test]
fn a_directory_that_is_moved_away_for_a_link_leads_nowhere() {
    // For a moment nothing is there, and windrow makes a directory of its own. Nothing is replaced:
    // an empty directory would be removed by that, and this is not about removing.
    let next = AtomicU64::new(0);
    let rename = |from: &Path, to: &Path| {
        let _ = renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
    };
    let moved = |dir: &Path, link: &Path| {
        let away = dir.with_file_name(format!("away-{}", next.fetch_add(1, Ordering::Relaxed)));
        rename(dir, &away);
        rename(link, dir);
        rename(dir, link);
        rename(&away, dir);
    };
    let swaps = run(&["--cores", "1", "--pipeline", "8"], moved);
    assert!(swaps > 100, "{swaps} swaps");
}
