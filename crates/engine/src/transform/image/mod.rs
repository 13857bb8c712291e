//! `resize`: images, by what their first bytes say.
use super::spec::Spec;
use super::{Failed, Lane, Object, Outcome};
use std::fmt;
use windrow_model::Error;
#[derive(Default)]
pub(super) struct Kept;
pub(super) struct Resize;
impl Resize {
    pub(super) fn read(spec: &Spec<'_>) -> Result<Self, Error> {
        Err(spec.bad("no"))
    }
    pub(super) fn apply(&self, object: Object, _lane: &mut Lane) -> Result<Outcome, Failed> {
        Ok(Outcome::Keep(object))
    }
}
impl fmt::Display for Resize {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
pub(super) fn sides(_body: &[u8]) -> Option<(u32, u32)> {
    None
}
pub(super) fn verify(_body: &[u8], _lane: &mut Lane) -> Result<(), Failed> {
    Ok(())
}
