//! `verify`: whether a body is what it should be. What is not goes no further.

use super::image;
use super::spec::Spec;
use super::{Failed, Lane, Object, Outcome};
use sha2::{Digest as _, Sha256};
use std::fmt;
use windrow_model::{Error, Failure, FailureClass};

/// What a body is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verify {
    /// An image has to decode to its end; anything else passes.
    Image,
    /// The SHA-256 in this column of the list.
    Sha256(String),
}

impl Verify {
    pub(super) fn read(spec: &Spec<'_>) -> Result<Self, Error> {
        spec.no_options()?;
        let Some(argument) = spec.argument else { return Ok(Self::Image) };
        match argument.strip_prefix("sha256:") {
            Some(column) if !column.is_empty() => Ok(Self::Sha256(column.to_owned())),
            _ => Err(spec
                .bad("cannot be verified")
                .hint("write verify (images) or verify=sha256:COLUMN (the list's column)")),
        }
    }

    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Image => None,
            Self::Sha256(column) => Some(column),
        }
    }

    pub(super) fn apply(&self, object: Object, lane: &mut Lane) -> Result<Outcome, Failed> {
        match self {
            Self::Image => image::verify(&object.body, lane)?,
            Self::Sha256(_) => {
                let checksum = |detail| Failed::of(Failure::new(FailureClass::Checksum, detail));
                let expected = object
                    .expected_sha256
                    .ok_or_else(|| checksum("the list says no SHA-256 of this object"))?;
                if Sha256::digest(&object.body)[..] != expected {
                    return Err(checksum("the body does not have the SHA-256 that the list says"));
                }
            }
        }
        Ok(Outcome::Keep(object))
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("verify"),
            Self::Sha256(column) => write!(f, "verify=sha256:{column}"),
        }
    }
}
