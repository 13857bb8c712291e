use super::*;
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// The laws: results are those of the items in their order; not more run than may; pulled is what is
    /// begun, and not more than twice as many as may run are begun and not given; after a failure that
    /// stops, what is given is what was begun.
    #[test]
    fn laws(
        items in prop::collection::vec(any::<u8>(), 0..200),
        concurrency in 1_usize..6,
        stop in any::<bool>(),
        fails in 0_u8..40,
    ) {
        let policy = if stop { Policy::Stop } else { Policy::Continue };
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicUsize::new(0));
        let pulled = Arc::new(AtomicUsize::new(0));
        let (r, m, b, p) = (running, most.clone(), begun.clone(), pulled.clone());
        let source = items.clone().into_iter().inspect(move |_| {
            p.fetch_add(1, SeqCst);
        });
        let mut results = map_ordered(source, concurrency, policy, move |item| {
            b.fetch_add(1, SeqCst);
            m.fetch_max(r.fetch_add(1, SeqCst) + 1, SeqCst);
            for _ in 0..item % 8 {
                std::thread::yield_now();
            }
            r.fetch_sub(1, SeqCst);
            if item < fails { Err(item) } else { Ok(item) }
        });
        let mut given = Vec::new();
        for result in results.by_ref() {
            given.push(result);
            prop_assert!(pulled.load(SeqCst) <= given.len() + 2 * concurrency);
        }
        prop_assert!(results.next().is_none());
        drop(results);
        prop_assert!(most.load(SeqCst) <= concurrency);
        prop_assert_eq!(given.len(), begun.load(SeqCst));
        let expected: Vec<_> =
            items.iter().map(|i| if *i < fails { Err(*i) } else { Ok(*i) }).collect();
        prop_assert_eq!(&given[..], &expected[..given.len()]);
        let first = expected.iter().position(Result::is_err);
        match first {
            Some(first) if stop => {
                prop_assert!(given.len() > first);
                prop_assert!(given.len() <= first + 2 * concurrency);
            }
            _ => prop_assert_eq!(given.len(), items.len()),
        }
        // One may have been pulled in the moment of the failure.
        prop_assert!(pulled.load(SeqCst) <= given.len() + 1);
    }
}

#[test]
fn nothing_is_begun_after_a_failure() {
    // The first fails while the second runs; the second ends only after.
    let (failed, known) = channel::<()>();
    let (failed, known) = (Mutex::new(Some(failed)), Mutex::new(known));
    let both = std::sync::Barrier::new(2);
    let results = map_ordered(0..1000, 2, Policy::Stop, move |item| match item {
        0 => {
            both.wait();
            drop(failed.lock().unwrap().take());
            Err("no")
        }
        1 => {
            both.wait();
            let _ = known.lock().unwrap().recv();
            Ok(1)
        }
        other => Ok(other),
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results[..2], [Err("no"), Ok(1)]);
    assert!(results.len() <= 4, "{}", results.len());
}

#[test]
fn a_panic_has_its_place() {
    let mut results = map_ordered(0..10, 3, Policy::Continue, |item| {
        assert!(item != 4, "four");
        Ok::<_, ()>(item)
    });
    for item in 0..4 {
        assert_eq!(results.next(), Some(Ok(item)));
    }
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next()));
    assert_eq!(super::super::chain::panicked(caught.unwrap_err().as_ref()), "four");
    assert_eq!(results.collect::<Vec<_>>(), [5, 6, 7, 8, 9].map(Ok));
}

#[test]
fn a_panic_of_the_items_is_the_last() {
    let items = (0..).inspect(|item| assert!(*item < 3, "no more"));
    let mut results = map_ordered(items, 2, Policy::Continue, Ok::<i32, ()>);
    assert_eq!(results.by_ref().take(3).collect::<Vec<_>>(), [0, 1, 2].map(Ok));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next()));
    assert!(caught.is_err());
    assert_eq!(results.next(), None);
}

#[test]
fn dropping_it_joins_its_threads() {
    let alive = Arc::new(());
    let held = alive.clone();
    let mut results = map_ordered(0.., 4, Policy::Continue, move |item: u64| {
        let _ = &held;
        Ok::<_, ()>(item)
    });
    assert_eq!(results.next(), Some(Ok(0)));
    drop(results);
    assert_eq!(Arc::strong_count(&alive), 1);
}
