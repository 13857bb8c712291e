//! Looking at a run from outside: how it stands, whether its output is what was recorded, which
//! objects are in it.
//!
//! Everything here reads, and changes nothing but the index, which [`Reader::cat`] makes where it is
//! missing: a run may be looked at while a process works on it, and [`verify`] alone refuses that,
//! because what grows cannot be judged. The formats are the
//! sink's and the ledger's; here they are read back and compared.

mod against;
mod extract;
mod file_table;
mod files;
mod finding;
mod list;
mod pack;
mod parts;
mod place;
mod read;
mod records;
mod status;
mod verify;
mod window;

pub use crate::glob::Glob;
pub use extract::{Extracted, extract};
pub use finding::{Finding, Kind};
pub use list::{Listed, list};
pub use read::{Reader, Stored, Take};
pub use status::{PackCount, Status, status};
pub use verify::{Settings, Verdict, verify};

use crate::ledger::{self, Past};
use crate::sink::Format;
use crate::sink::dest::{Look, holder, look};
use roaring::RoaringTreemap;
use std::path::Path;
use std::time::Duration;
use windrow_model::Error;

/// A run that is looked at.
struct Seen {
    look: Look,
    past: Past,
    format: Format,
    /// The process at work on it.
    pid: Option<u32>,
}

/// While a process is at work, damage is believed when it was seen so often.
const ATTEMPTS: u32 = 5;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

impl Seen {
    fn new(path: &Path) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            // Before and behind: whoever begins or ends in between is seen once.
            let before = holder(path);
            let seen = look(path).and_then(|look| {
                let number = look.run.number().unwrap_or_default();
                let past = ledger::load(look.disk(), number, &|_| RoaringTreemap::new())?;
                let format = format(path, &look)?;
                Ok(Self { look, past, format, pid: None })
            });
            let pid = holder(path).or(before);
            match seen {
                Ok(seen) => return Ok(Self { pid, ..seen }),
                // A process that begins cuts files and writes them anew.
                Err(_) if pid.is_some() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn format(path: &Path, look: &Look) -> Result<Format, Error> {
    Format::ALL.into_iter().find(|format| format.name() == look.run.format).ok_or_else(|| {
        let what = format!("has a format that this windrow does not know: {}", look.run.format);
        Error::environment(path.display().to_string(), what)
    })
}
