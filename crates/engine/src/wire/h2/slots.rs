//! The streams of one connection, and which of them have news.
//!
//! Every place has a waker of its own that sets a bit. Nothing else need be woken: the library
//! wakes a stream only while the connection, or another stream, is polled, and the one task that
//! does that looks at the bits afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

/// One bit for each place.
#[derive(Debug)]
struct News(Box<[AtomicU64]>);

/// The waker of one place.
struct Bell {
    news: Arc<News>,
    index: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.news.0[self.index / 64].fetch_or(1 << (self.index % 64), Ordering::Relaxed);
    }
}

/// A fixed number of places.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    wakers: Vec<Waker>,
    free: Vec<usize>,
    news: Arc<News>,
    used: usize,
}

impl<T> Slots<T> {
    /// Up to `most` places, none of which costs anything before it is used.
    pub(super) fn new(most: usize) -> Self {
        let words = (0..most.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let news = Arc::new(News(words));
        Self { slots: Vec::new(), wakers: Vec::new(), free: Vec::new(), news, used: 0 }
    }

    /// Places that are taken.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Takes a place, which has news at once: so it is polled for the first time, which is what
    /// tells the library whom to wake.
    ///
    /// # Panics
    /// When more places are taken than [`Slots::new`] was told.
    pub(super) fn insert(&mut self, value: T) {
        self.used += 1;
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index] = Some(value);
                index
            }
            None => {
                let index = self.slots.len();
                assert!(index / 64 < self.news.0.len(), "more streams than there are places");
                self.slots.push(Some(value));
                let bell = Bell { news: Arc::clone(&self.news), index };
                self.wakers.push(Waker::from(Arc::new(bell)));
                index
            }
        };
        self.wakers[index].wake_by_ref();
    }

    /// Frees a place.
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let value = self.slots.get_mut(index)?.take()?;
        self.used -= 1;
        self.free.push(index);
        Some(value)
    }

    /// What is at a place, and its waker.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<(&mut T, &Waker)> {
        let value = self.slots.get_mut(index)?.as_mut()?;
        Some((value, &self.wakers[index]))
    }

    /// Everything, with its place.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| Some((index, slot.as_mut()?)))
    }

    /// Empties all places.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.used = 0;
        self.free.clear();
        self.wakers.clear();
        self.slots.drain(..).flatten()
    }

    /// Whether a place has news.
    pub(super) fn has_news(&self) -> bool {
        self.news.0.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// A place that has news, which are forgotten with that; the lowest first.
    pub(super) fn next_news(&self) -> Option<usize> {
        for (at, word) in self.news.0.iter().enumerate() {
            let bits = word.load(Ordering::Relaxed);
            if bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                word.fetch_and(!(1 << bit), Ordering::Relaxed);
                return Some(at * 64 + bit);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_have_news_once() {
        let mut slots = Slots::new(100);
        for value in 0..100 {
            slots.insert(value);
        }
        assert_eq!(slots.len(), 100);
        assert!((0..100).all(|index| slots.next_news() == Some(index)));
        assert_eq!(slots.next_news(), None);
        let (_, waker) = slots.get_mut(77).unwrap();
        let waker = waker.clone();
        waker.wake_by_ref();
        waker.wake();
        assert_eq!((slots.next_news(), slots.next_news()), (Some(77), None));
        assert_eq!((slots.remove(77), slots.remove(77), slots.len()), (Some(77), None, 99));
        slots.insert(1077);
        assert_eq!(slots.next_news(), Some(77));
        assert_eq!(slots.iter_mut().map(|(_, value)| *value).max(), Some(1077));
        assert_eq!(slots.drain().count(), 100);
        assert_eq!(slots.len(), 0);
    }
}
