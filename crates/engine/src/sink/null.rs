//! Throws bodies away.

use super::{Object, Sink, SinkError};
use windrow_model::{Error, Place, Receipt};

pub(super) struct NullSink;

impl Sink for NullSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        let bytes = object.body.len();
        Ok(Receipt { ordinal: object.ordinal, bytes, place: Place::Nowhere })
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
