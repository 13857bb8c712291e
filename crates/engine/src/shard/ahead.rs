//! Compressed files are read by a thread of its own, ahead of what is divided: to decompress takes
//! several times as long as the rest. (What is plain is read here as fast as it comes from there.)
//!
//! A bounded number of buffers goes back and forth. What was read and not taken is forgotten with
//! this: it is in the file.

use super::input::Got;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use windrow_model::Error;
use windrow_model::limits::{SHARD_READ_BYTES, SHARD_READS_AHEAD};

/// Reads into a buffer.
pub(super) trait Fill: Send + 'static {
    /// See [`Got`].
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<Got, Error>;
}

#[derive(Debug)]
pub(super) struct Ahead {
    full: Receiver<(Vec<u8>, Result<Got, Error>)>,
    empty: SyncSender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to read; gives back what there is to read from where no thread can be had.
    pub(super) fn start<F: Fill>(from: F) -> Result<Self, F> {
        let (give, full) = sync_channel(SHARD_READS_AHEAD);
        let (empty, take) = sync_channel::<Vec<u8>>(SHARD_READS_AHEAD + 1);
        // The thread is there before it gets what it reads from, so that it can be kept without.
        let (hand, handed) = sync_channel::<F>(1);
        let read = move || {
            let Ok(mut from) = handed.recv() else { return };
            let mut made = 0;
            loop {
                let mut buffer = if made < SHARD_READS_AHEAD {
                    made += 1;
                    vec![0; SHARD_READ_BYTES]
                } else {
                    let Ok(buffer) = take.recv() else { return };
                    buffer
                };
                let got = from.fill(&mut buffer);
                let last = matches!(got, Ok(Got::End) | Err(_));
                if give.send((buffer, got)).is_err() || last {
                    return;
                }
            }
        };
        let Ok(thread) = Builder::new().name("reader".into()).spawn(read) else {
            return Err(from);
        };
        hand.send(from).map_err(|unsent| unsent.0)?;
        Ok(Self { full, empty, thread: Some(thread) })
    }

    /// Exchanges a buffer for the next full one.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Got, Error> {
        let Ok((full, got)) = self.full.recv() else {
            if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
            return Ok(Got::End);
        };
        let spent = std::mem::replace(buffer, full);
        // There is room for all of them; behind the end nobody takes them.
        let _ = self.empty.try_send(spent);
        got
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives pieces of these lengths, then this.
    struct Pieces {
        lens: std::vec::IntoIter<usize>,
        given: usize,
        last: Option<Error>,
    }

    impl Fill for Pieces {
        fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<Got, Error> {
            let Some(len) = self.lens.next() else {
                return self.last.take().map_or(Ok(Got::End), Err);
            };
            for byte in &mut buffer[..len] {
                *byte = (self.given % 251) as u8;
                self.given += 1;
            }
            Ok(if len == 0 { Got::Nothing } else { Got::Bytes(len) })
        }
    }

    proptest! {
        #[test]
        fn what_is_read_ahead_is_what_is_read(
            lens in proptest::collection::vec(0_usize..5000, 0..40),
            broken in any::<bool>(),
        ) {
            let sum: usize = lens.iter().sum();
            let last = broken.then(|| Error::environment("a file", "cannot read"));
            let pieces = Pieces { lens: lens.into_iter(), given: 0, last: last.clone() };
            let mut ahead = Ahead::start(pieces).ok().expect("a thread");
            let (mut buffer, mut found) = (vec![0; SHARD_READ_BYTES], Vec::new());
            let ended = loop {
                match ahead.next(&mut buffer) {
                    Ok(Got::Bytes(len)) => found.extend_from_slice(&buffer[..len]),
                    Ok(Got::Nothing) => {}
                    Ok(Got::End) => break None,
                    Err(error) => break Some(error),
                }
                prop_assert_eq!(buffer.len(), SHARD_READ_BYTES);
            };
            prop_assert_eq!(ended, last);
            prop_assert_eq!(found.len(), sum);
            prop_assert!(found.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        }
    }

    #[test]
    fn it_can_be_left() {
        let lens = vec![100; 1000].into_iter();
        let mut ahead = Ahead::start(Pieces { lens, given: 0, last: None }).ok().expect("a thread");
        let mut buffer = vec![0; SHARD_READ_BYTES];
        assert!(matches!(ahead.next(&mut buffer), Ok(Got::Bytes(100))));
        let thread = ahead.thread.take().expect("a thread");
        drop(ahead);
        thread.join().expect("it ends");
    }
}
