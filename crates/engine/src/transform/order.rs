//! Results in the order in which objects were submitted.

use super::Done;
use std::collections::BTreeMap;

/// Puts results in order: those of keys 0, 1, 2 and so on. It holds what came early, without a bound of
/// its own: while one object takes long, results of others gather here. Submit only while
/// [`Client::outstanding`](super::Client::outstanding) and [`InOrder::waiting`] are together below what
/// may be held.
///
/// ```
/// use windrow_engine::transform::{Chain, InOrder, Object, Pool, PoolOptions};
/// use std::sync::mpsc::channel;
///
/// let pool = Pool::start(Chain::parse(&[])?, PoolOptions::default())?;
/// let (wake, woken) = channel();
/// let mut client = pool.client(move || { let _ = wake.send(()); });
/// for key in 0..100 {
///     client.submit(key, Object { ordinal: key, ..Object::default() }).expect("room for 100");
/// }
/// let (mut order, mut done, mut next) = (InOrder::default(), Vec::new(), 0);
/// while next < 100 {
///     client.take(&mut done)?;
///     order.extend(done.drain(..));
///     for result in order.by_ref() {
///         assert_eq!(result.key, next);
///         next += 1;
///     }
///     if next < 100 {
///         woken.recv().expect("the client lives");
///     }
/// }
/// # Ok::<(), windrow_model::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct InOrder {
    next: u64,
    early: BTreeMap<u64, Done>,
}

impl InOrder {
    /// Results that came too early.
    pub fn waiting(&self) -> usize {
        self.early.len()
    }
}

impl Extend<Done> for InOrder {
    fn extend<I: IntoIterator<Item = Done>>(&mut self, results: I) {
        self.early.extend(results.into_iter().map(|done| (done.key, done)));
    }
}

/// The next result in order, as far as they came; more may come after a `None`.
impl Iterator for InOrder {
    type Item = Done;

    fn next(&mut self) -> Option<Done> {
        let done = self.early.remove(&self.next)?;
        self.next += 1;
        Some(done)
    }
}
