//! The protocol of worker processes, version 1.
//!
//! All numbers are little-endian. A worker begins with the line `windrow-worker 1` on its standard
//! output. Then it gets requests on its standard input, one after the other:
//!
//! ```text
//! u64 ordinal | u32 bytes of the name | u32 bytes of the media type (0: none) | u64 bytes of the body
//! name | media type | body
//! ```
//!
//! and answers each on its standard output:
//!
//! ```text
//! u32 outcome | u32 bytes of the media type (0: as it was) | u64 bytes of the body
//! media type | body
//! ```
//!
//! with the outcomes 0 (keep: the body is the object's from now on), 1 (drop: it is skipped) and 2 (failed: the
//! body is why, in one line). At the end of its input it should end. What it writes on its standard error is told
//! where it dies.

use super::super::{Failed, Object, Outcome};
use super::process::{Process, Read, too_large};
use std::time::Instant;

const GREETING: &[u8] = b"windrow-worker 1\n";

/// Bytes of a media type, at most.
const MEDIA_BYTES: usize = 1024;

/// Bytes of an answer's head.
const HEAD: usize = 16;

/// A worker process that came up.
pub(in crate::transform) struct Worker {
    /// `None` when it is being ended.
    process: Option<Process>,
    /// It has answered for an object.
    proven: bool,
}

/// Why there is no answer.
pub(super) enum Broken {
    /// It said that this object failed.
    Object(Failed),
    /// It is of no use any more.
    Worker(Failed),
    /// It ended without a fault, and without a word about this object: another is to have it.
    Left(Object),
}

impl Worker {
    /// Waits for the greeting.
    ///
    /// # Errors
    /// Why it is no worker, in a few words.
    pub(super) fn greet(mut process: Process, deadline: Instant) -> Result<Self, String> {
        let mut heard = Vec::new();
        while heard.len() < GREETING.len() {
            let Ok(_) = process.wait(false, deadline) else {
                return Err("it did not say that it is there".to_owned());
            };
            let least = GREETING.len() - heard.len();
            if let Read::End = process.read(&mut heard, least) {
                return Err(process.close().1);
            }
            // Reading has the last word: an end may be known before the last bytes were read.
            if !GREETING.starts_with(&heard) {
                let said = String::from_utf8_lossy(&heard).into_owned();
                return Err(format!("it said `{}`", said.escape_debug()));
            }
        }
        process.hush();
        Ok(Self { process: Some(process), proven: false })
    }

    /// Whether it ended by itself.
    pub(super) fn is_gone(&mut self) -> bool {
        self.process.as_mut().is_none_or(Process::is_over)
    }

    /// Sends an object and takes the answer.
    pub(super) fn exchange(
        &mut self,
        mut object: Object,
        max_output: u64,
        deadline: Instant,
    ) -> Result<Outcome, Broken> {
        let head = request(&object);
        let (mut sent, total) = (0, head.len() + object.body.len());
        let mut answer = Answer::default();
        while sent < total || !answer.whole() {
            let Some(process) = self.process.as_mut() else {
                return Err(Broken::Worker(Failed::new("there is no worker")));
            };
            let ready = process.wait(sent < total, deadline).map_err(Broken::Worker)?;
            if ready.input {
                let rest = match head.get(sent..) {
                    Some(rest) if !rest.is_empty() => rest,
                    _ => &object.body[sent - head.len()..],
                };
                // One that does not read on may still answer.
                sent = process.write(rest).map_or(total, |taken| sent + taken);
            }
            if ready.output || ready.ended {
                let wants = answer.wants();
                match process.read(&mut answer.bytes, wants) {
                    Read::End => return Err(self.died(object, &answer)),
                    Read::Some => answer.look(max_output).map_err(Broken::Worker)?,
                    Read::Later if ready.ended => return Err(self.died(object, &answer)),
                    Read::Later => {}
                }
            }
        }
        if let Some(process) = self.process.as_mut() {
            process.hush();
        }
        self.proven = true;
        let media = answer.media();
        let mut body = answer.bytes;
        body.drain(..HEAD + answer.media_bytes);
        match answer.outcome {
            0 => {
                if let Some(media) = media {
                    object.content_type = Some(media);
                }
                object.body = body;
                Ok(Outcome::Keep(object))
            }
            1 => Ok(Outcome::Drop),
            _ => {
                let why = String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned();
                Err(Broken::Object(Failed::new("the worker says that it failed").why(why)))
            }
        }
    }

    /// One that has had enough may end behind an answer, and was sent the next object already. The
    /// first object of a worker has no such excuse: it may end every one that gets it.
    fn died(&mut self, object: Object, answer: &Answer) -> Broken {
        let (fine, why) = self.process.take().map(Process::close).unwrap_or_default();
        if fine && self.proven && answer.bytes.is_empty() {
            return Broken::Left(object);
        }
        Broken::Worker(Failed::new("the worker died").why(why))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.let_end();
    }
}

fn request(object: &Object) -> Vec<u8> {
    let media = object.content_type.as_deref().unwrap_or_default().as_bytes();
    let media = if media.len() > MEDIA_BYTES { &[] } else { media };
    let mut head = Vec::with_capacity(24 + object.name.len() + media.len());
    head.extend_from_slice(&object.ordinal.to_le_bytes());
    head.extend_from_slice(&(object.name.len() as u32).to_le_bytes());
    head.extend_from_slice(&(media.len() as u32).to_le_bytes());
    head.extend_from_slice(&(object.body.len() as u64).to_le_bytes());
    head.extend_from_slice(&object.name);
    head.extend_from_slice(media);
    head
}

/// An answer as it comes.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    outcome: u32,
    media_bytes: usize,
    /// Bytes of all of it, once the head is there.
    total: Option<usize>,
}

impl Answer {
    fn whole(&self) -> bool {
        self.total == Some(self.bytes.len())
    }

    /// Bytes that may be read, so that nothing behind the answer is. One more where it is whole: that
    /// nothing comes is looked at with the next answer.
    fn wants(&self) -> usize {
        (self.total.unwrap_or(HEAD) - self.bytes.len()).max(1)
    }

    fn look(&mut self, max_output: u64) -> Result<(), Failed> {
        let wrong = |why: &str| Failed::new("the worker does not keep to the protocol").why(why);
        if let Some(total) = self.total {
            return if self.bytes.len() > total {
                Err(wrong("something is behind the answer"))
            } else {
                Ok(())
            };
        }
        if self.bytes.len() < HEAD {
            return Ok(());
        }
        let number = |from: usize| {
            let bytes = self.bytes[from..from + 4].iter().rev();
            bytes.fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
        };
        let body = u64::from(number(12)) << 32 | u64::from(number(8));
        (self.outcome, self.media_bytes) = (number(0), number(4) as usize);
        if self.outcome > 2 {
            return Err(wrong("the outcome is none of 0, 1, 2"));
        }
        if self.media_bytes > MEDIA_BYTES {
            return Err(wrong("the media type is too long"));
        }
        if body > max_output {
            return Err(too_large());
        }
        let total = usize::try_from(body).ok().and_then(|b| b.checked_add(HEAD + self.media_bytes));
        self.total = Some(total.ok_or_else(too_large)?);
        Ok(())
    }

    fn media(&self) -> Option<String> {
        let media = std::str::from_utf8(&self.bytes[HEAD..HEAD + self.media_bytes]).ok()?;
        let plain = !media.is_empty() && media.bytes().all(|b| (0x20..0x7F).contains(&b));
        plain.then(|| media.to_owned())
    }
}
