//! A function over items, several at once, results in the order of the items.

use super::pool::lock;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What [`map_ordered`] does when an item fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The rest goes on.
    Continue,
    /// No item is begun after the first failure. What runs is finished and given.
    Stop,
}

/// Calls `function` for each item on `concurrency` threads (0 counts as 1) and gives the results in the order
/// of the items.
///
/// An item is pulled when a thread is free for it, and not before: what was pulled is begun. At most
/// `2 * concurrency` are begun and not given, so that one slow item does not stop the others at once, and
/// a slow consumer does not fill memory. Threads start with this call; dropping the iterator lets what runs
/// be finished and joins them.
///
/// With [`Policy::Stop`] the results end behind the last item that was begun; there are no gaps.
///
/// # Panics
/// A panic of `function` or of the items goes on in `next`, in its place; with [`Policy::Stop`] it is a
/// failure. This function panics where not even one thread can be started.
///
/// ```
/// use windrow_engine::transform::{Policy, map_ordered};
///
/// let texts = ["1", "2", "x", "4"];
/// let numbers = map_ordered(texts, 3, Policy::Continue, |text| text.parse::<u32>());
/// let numbers: Vec<_> = numbers.map(Result::ok).collect();
/// assert_eq!(numbers, [Some(1), Some(2), None, Some(4)]);
/// ```
pub fn map_ordered<I, R, E, F>(
    items: I,
    concurrency: usize,
    policy: Policy,
    function: F,
) -> MapOrdered<R, E>
where
    I: IntoIterator,
    I::IntoIter: Send + 'static,
    I::Item: 'static,
    R: Send + 'static,
    E: Send + 'static,
    F: Fn(I::Item) -> Result<R, E> + Send + Sync + 'static,
{
    let threads = concurrency.max(1);
    let shared = Arc::new(Shared {
        state: Mutex::new(State { done: BTreeMap::new(), given: 0, begun: 0, ended: false }),
        room: Condvar::new(),
        news: Condvar::new(),
        ahead: 2 * threads as u64,
        policy,
    });
    let items = Arc::new(Mutex::new(items.into_iter()));
    let function = Arc::new(function);
    let mut joined = Vec::with_capacity(threads);
    for number in 0..threads {
        let (shared, items, function) = (shared.clone(), items.clone(), function.clone());
        let work = move || shared.work(&items, &*function);
        match std::thread::Builder::new().name("map-ordered".to_owned()).spawn(work) {
            Ok(thread) => joined.push(thread),
            Err(error) => assert!(number > 0, "cannot start a thread: {error}"),
        }
    }
    MapOrdered { shared, threads: joined }
}

/// The results of [`map_ordered`].
pub struct MapOrdered<R, E> {
    shared: Arc<Shared<R, E>>,
    threads: Vec<JoinHandle<()>>,
}

type Caught<R, E> = Result<Result<R, E>, Box<dyn Any + Send>>;

struct Shared<R, E> {
    state: Mutex<State<R, E>>,
    /// Threads wait here for the consumer.
    room: Condvar,
    /// The consumer waits here for threads.
    news: Condvar,
    ahead: u64,
    policy: Policy,
}

struct State<R, E> {
    /// What is done and not given, by the item's number.
    done: BTreeMap<u64, Caught<R, E>>,
    /// Results given.
    given: u64,
    /// Items begun.
    begun: u64,
    /// No item is begun any more.
    ended: bool,
}

impl<R, E> Shared<R, E> {
    fn work<T>(
        &self,
        items: &Mutex<impl Iterator<Item = T>>,
        function: &impl Fn(T) -> Result<R, E>,
    ) {
        loop {
            // Pulled and numbered under one lock, so that numbers are places.
            let mut pull = lock(items);
            let mut state = lock(&self.state);
            while !state.ended && state.begun - state.given >= self.ahead {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended {
                return;
            }
            drop(state);
            let item = catch_unwind(AssertUnwindSafe(|| pull.next()));
            let mut state = lock(&self.state);
            if state.ended {
                // It failed elsewhere in the meantime: this one is not begun.
                return;
            }
            let number = state.begun;
            let item = match item {
                Ok(Some(item)) => {
                    state.begun += 1;
                    item
                }
                Ok(None) => return self.end(&mut state),
                Err(panic) => {
                    state.begun += 1;
                    state.done.insert(number, Err(panic));
                    return self.end(&mut state);
                }
            };
            drop(state);
            drop(pull);
            let result = catch_unwind(AssertUnwindSafe(|| function(item)));
            let mut state = lock(&self.state);
            if self.policy == Policy::Stop && !matches!(result, Ok(Ok(_))) {
                self.end(&mut state);
            }
            state.done.insert(number, result);
            if number == state.given {
                self.news.notify_one();
            }
        }
    }

    fn end(&self, state: &mut State<R, E>) {
        state.ended = true;
        self.room.notify_all();
        self.news.notify_all();
    }
}

impl<R, E> Iterator for MapOrdered<R, E> {
    type Item = Result<R, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut state = lock(&self.shared.state);
        loop {
            let given = state.given;
            if let Some(result) = state.done.remove(&given) {
                state.given += 1;
                // One place is free, and one thread at most waits for it: it holds the items' lock.
                self.shared.room.notify_one();
                drop(state);
                return Some(result.unwrap_or_else(|panic| resume_unwind(panic)));
            }
            if state.ended && given == state.begun {
                return None;
            }
            state = self.shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<R, E> Drop for MapOrdered<R, E> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        self.shared.end(&mut state);
        drop(state);
        for thread in self.threads.drain(..) {
            // Panics of items were caught.
            let _ = thread.join();
        }
    }
}

impl<R, E> std::fmt::Debug for MapOrdered<R, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MapOrdered").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}
