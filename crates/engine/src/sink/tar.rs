//! What all tar packs have in common; what they look like is [`crate::pack::tar`].

use super::PackKind;
pub use crate::pack::tar::ENDING;

/// See the [module](self).
pub const KIND: PackKind = PackKind { extension: "tar", ending: ENDING };
