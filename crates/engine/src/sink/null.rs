//! Throws bodies away.

use super::{Body, Object, Sink, SinkError};
use windrow_model::{Error, Place, Receipt};

pub(super) struct NullSink;

impl Sink for NullSink {
    fn store(&mut self, object: Object<'_>) -> Result<Receipt, SinkError> {
        let bytes = match object.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Spool(spool) => spool.len(),
        };
        Ok(Receipt { ordinal: object.ordinal, bytes, place: Place::Nowhere })
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
