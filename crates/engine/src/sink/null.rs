//! Throws bodies away.

use super::{Object, Sink, SinkError};
use std::time::Instant;
use windrow_model::{Error, FailedObject, Place, Receipt};

pub(super) struct NullSink;

impl Sink for NullSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        let bytes = object.body.len();
        Ok(Receipt { ordinal: object.ordinal, bytes, place: Place::Nowhere })
    }

    fn failed(&mut self, _: FailedObject) -> Result<(), Error> {
        Ok(())
    }

    fn tick(&mut self, _: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
