//! Objects of one destination written into another, in any form.

use super::writing::{Writer, WriterOptions, Written};
use crate::inspect::{Glob, Reader, Take};
use crate::pack::Found;
use std::cell::RefCell;
use std::path::Path;
use windrow_model::{Error, Failure};

/// What repacking came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repacked {
    /// What the new destination holds, earlier processes' work included.
    pub written: Written,
    /// Of these objects so many were written by an earlier process.
    pub before: u64,
    /// Objects that could not be read.
    pub unread: u64,
    /// Everything that could be read was given to the writer.
    pub complete: bool,
}

/// Writes all objects of a destination, or those whose names fit, into another one at `new`, in the
/// order in which they lie there. The source stays as it is, and must not change meanwhile. Goes on
/// where an earlier process ended.
///
/// `tell` hears of everything that is not as it should be; `seen` what was done so far, after each
/// object, and says whether to go on.
///
/// # Errors
/// The source cannot be read, or is still written to; `new` holds another run, or cannot be written.
pub fn repack(
    reader: &Reader,
    new: &Path,
    mut options: WriterOptions,
    glob: Option<&Glob>,
    tell: &mut dyn FnMut(&str),
    seen: &mut dyn FnMut(&Repacked) -> bool,
) -> Result<Repacked, Error> {
    let stored = reader.stored()?;
    if let Some(pid) = stored.pid {
        let subject = reader.path().display().to_string();
        return Err(Error::environment(subject, format!("is written by process {pid}")));
    }
    if stored.pending > 0 {
        tell(&format!("{} objects are pending there, and are left out", stored.pending));
    }
    // Whoever stores more there makes it another source.
    options
        .details
        .insert("run".into(), format!("{:016x}, {} objects", stored.run, stored.objects));
    let writer = Writer::open(new, options)?;
    let (before, complete) = (writer.done(), writer.is_complete());
    let mut done = Repacked { written: writer.written(), before, unread: 0, complete };
    if complete {
        writer.finish()?;
        return Ok(done);
    }
    let tell = RefCell::new(tell);
    let mut moving =
        Moving { writer, glob, at: 0, done: &mut done, failures: Vec::new(), stopped: false, seen };
    let unread = reader.each(&mut moving, &mut |what| (tell.borrow_mut())(what))?;
    let Moving { writer, failures, stopped, .. } = moving;
    for (name, failure) in failures {
        let name = String::from_utf8_lossy(&name).escape_debug().to_string();
        (tell.borrow_mut())(&format!("{name}: {}", failure.detail));
    }
    done.unread = unread;
    done.complete = !stopped;
    done.written = if stopped { writer.leave()? } else { writer.finish()? };
    Ok(done)
}

/// Failures that are told of; of the others there is the number.
const TOLD: usize = 20;

struct Moving<'a> {
    writer: Writer,
    glob: Option<&'a Glob>,
    /// Objects that were wanted so far.
    at: u64,
    done: &'a mut Repacked,
    failures: Vec<(Vec<u8>, Failure)>,
    stopped: bool,
    seen: &'a mut dyn FnMut(&Repacked) -> bool,
}

impl Take for Moving<'_> {
    fn wants(&mut self, name: &[u8]) -> bool {
        self.glob.is_none_or(|glob| glob.matches(name))
    }

    fn wants_all(&self) -> bool {
        self.glob.is_none()
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self.at < self.done.before {
            true => Ok(()),
            false => self.writer.piece(bytes),
        }
    }

    fn object(&mut self, found: &Found) -> Result<bool, Error> {
        self.at += 1;
        if self.at > self.done.before {
            let failure = self.writer.object(&found.name, found.meta.as_ref())?;
            if let Some(failure) = failure
                && self.failures.len() < TOLD
            {
                self.failures.push((found.name.clone(), failure));
            }
            self.done.written = self.writer.written();
        }
        self.stopped = !(self.seen)(self.done);
        Ok(!self.stopped)
    }

    fn torn(&mut self) {
        self.writer.torn();
    }
}
