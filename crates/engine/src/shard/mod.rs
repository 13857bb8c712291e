//! Lines divided among files by the hash of a key: shard = murmur3_x86_32(key) % shards.
//!
//! The hash has seed 0 and is taken without sign, so that the shard of a line is
//! `mmh3.hash(key, signed=False) % shards` of Python, on every machine, for ever.
//!
//! [`Sharder`] is the core, without I/O: it is fed bytes and gives lines and the shards that they belong
//! to. [`run`](run()) is all of it: inputs are read, lines wait in bounded memory until they are worth
//! a write, and are appended to `FOLDER/{shard}.txt`. One process writes to a folder at a time, so
//! every file has one writer, and a file has its lines in the order of the inputs. One thread divides.
//! Where there are cores, a second one writes what the first has collected, and a third decompresses.
//!
//! It knows [`content`](crate::content) for the hash, and no other stage.
//!
//! ```
//! use windrow_engine::shard::{Key, Lines, Place, Sharder};
//!
//! struct Print;
//!
//! impl Lines for Print {
//!     type Error = std::convert::Infallible;
//!
//!     fn line(&mut self, place: Place, line: &[u8]) -> Result<(), Self::Error> {
//!         assert_eq!((place, line), (Place::Shard(0xB3DD_93FA % 100), &b"abc\n"[..]));
//!         Ok(())
//!     }
//!
//!     // Only lines of more than 8 MiB come in parts.
//!     fn part(&mut self, _: &[u8]) -> Result<(), Self::Error> {
//!         Ok(())
//!     }
//!
//!     fn parts_end(&mut self, _: Place) -> Result<(), Self::Error> {
//!         Ok(())
//!     }
//! }
//!
//! let mut sharder = Sharder::new(100, Key::Line, false);
//! sharder.feed(b"ab", &mut Print).unwrap();
//! sharder.feed(b"c", &mut Print).unwrap();
//! sharder.end(&mut Print).unwrap();
//! assert_eq!(sharder.count().lines, 1);
//! ```

mod ahead;
mod division;
mod files;
mod groups;
mod input;
mod key;
mod run;
mod sharder;
mod writer;

pub use division::{By, Division};
pub use input::Input;
pub use key::{Key, Unmatched};
pub use run::{Ended, Plan, Summary, Watch, run};
pub use sharder::{Count, Lines, Place, Sharder};
