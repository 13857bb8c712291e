//! A body between the wire and the sink: whether it is what it was said to be, and its coding
//! undone where that is asked for.

use super::body::{Bodies, Incoming};
use crate::content::check::{Checker, Checks, Form, check_whole};
use crate::content::coding::{Bounds, Coding, Decoder, Kept};
use crate::wire::h1::fields;
use windrow_model::task::Expected;
use windrow_model::{Error, Failure, FailureClass};

/// What is to be looked at in one body.
#[derive(Debug)]
pub(super) struct Inspection {
    checks: Checks,
    coding: Option<Coding>,
    /// Of a body that comes in parts.
    checker: Option<Checker>,
}

/// How a body that was looked at ended.
pub(super) enum Inspected {
    /// It is stored as it came.
    AsSent,
    /// This is what it stands for.
    Decoded(Incoming),
}

impl Inspection {
    /// What is to be looked at, from what the source expects and the bytes of the head; `None` if
    /// that is nothing. `undo` is whether a coding is undone.
    ///
    /// # Errors
    /// A coding that cannot be undone; another version of the object than the source saw.
    pub(super) fn of(
        expected: Expected,
        head: &[u8],
        undo: bool,
    ) -> Result<Option<Box<Self>>, Failure> {
        let mut checks = Checks::of(expected);
        let mut codings = Vec::new();
        fields(head, |name, value| {
            checks.learn(name, value);
            if undo && name.eq_ignore_ascii_case(b"content-encoding") {
                codings.push(value.to_vec());
            }
        });
        if let Some(failure) = checks.changed() {
            return Err(failure);
        }
        let coding = Coding::of(codings.iter().map(Vec::as_slice))?;
        if coding.is_none() && checks.is_empty(Form::Plain) {
            return Ok(None);
        }
        Ok(Some(Box::new(Self { checks, coding, checker: None })))
    }

    fn form(&self) -> Form {
        match self.coding {
            Some(_) => Form::Sent,
            None => Form::Plain,
        }
    }

    /// A part of the body came.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if self.checker.is_none() {
            self.checker = self.checks.checker(self.form());
        }
        if let Some(checker) = &mut self.checker {
            checker.update(bytes);
        }
    }

    /// The body is complete: `whole` is all of it, or it lies in `body`.
    ///
    /// # Errors
    /// What is wrong with it; or the environment, `Ok(Err)`.
    pub(super) fn end(
        self,
        whole: Option<&[u8]>,
        body: &mut Incoming,
        (bodies, kept, most): (&mut Bodies, &mut Kept, u64),
    ) -> Result<Inspected, Result<Failure, Error>> {
        let form = self.form();
        match (whole, self.checker) {
            (Some(whole), _) => check_whole(&self.checks, form, whole).map_err(Ok)?,
            (None, Some(checker)) => checker.finish().map_err(Ok)?,
            (None, None) => check_whole(&self.checks, form, &[]).map_err(Ok)?,
        }
        let Some(coding) = self.coding else { return Ok(Inspected::AsSent) };
        let mut checker = self.checks.checker(Form::Stored);
        let mut decoded = Incoming::Empty;
        let mut broken = None;
        let mut out = |piece: &[u8]| {
            if let Some(checker) = &mut checker {
                checker.update(piece);
            }
            bodies.append(&mut decoded, None, piece).map_err(|error| {
                broken = Some(error);
                Failure::new(FailureClass::Reset, "the body could not be kept")
            })
        };
        let mut decoder = Decoder::with(kept, coding, Bounds::new(most));
        // A failure is remembered and comes back from the end.
        match (whole, &mut *body) {
            (Some(whole), _) => drop(decoder.push(whole, &mut out)),
            (None, Incoming::Memory(memory)) => drop(decoder.push(memory, &mut out)),
            (None, Incoming::Empty) => {}
            (None, Incoming::Spool(spool)) => {
                let read = spool.read_all(|piece| {
                    let _ = decoder.push(piece, &mut out);
                    Ok(())
                });
                read.map_err(Err)?;
            }
        }
        let ended = decoder.end_into(kept);
        if let Some(error) = broken {
            return Err(Err(error));
        }
        let checked = ended.and_then(|()| checker.map_or(Ok(()), Checker::finish));
        match checked {
            Ok(()) => Ok(Inspected::Decoded(decoded)),
            Err(failure) => {
                bodies.recycle(decoded);
                Err(Ok(failure))
            }
        }
    }
}
