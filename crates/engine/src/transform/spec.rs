//! How a transform is written: `NAME[(OPTION=VALUE,...)][=ARGUMENT]`.
//!
//! The argument is everything behind the `=`, so that a command needs no quoting beyond the shell's.

use windrow_model::Error;
use windrow_model::limits::TRANSFORM_SPEC_BYTES;

/// The parts of one.
pub(super) struct Spec<'a> {
    whole: &'a str,
    pub(super) name: &'a str,
    pub(super) options: Vec<(&'a str, &'a str)>,
    pub(super) argument: Option<&'a str>,
}

const NAMES: &str = "verify, gunzip, zstd, resize, exec, exec-worker, drop-if";

impl<'a> Spec<'a> {
    pub(super) fn read(whole: &'a str) -> Result<Self, Error> {
        let bad = |what: &str| Error::usage(subject(whole), what);
        if whole.len() > TRANSFORM_SPEC_BYTES {
            return Err(Error::usage("--transform", "is too long")
                .why(format!("at most {TRANSFORM_SPEC_BYTES} bytes")));
        }
        let end = whole
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .unwrap_or(whole.len());
        let (name, mut rest) = whole.split_at(end);
        if name.is_empty() {
            return Err(bad("names no transform").hint(format!("there are {NAMES}")));
        }
        let mut options = Vec::new();
        if let Some(inner) = rest.strip_prefix('(') {
            let (inner, behind) =
                inner.split_once(')').ok_or_else(|| bad("has a ( without a )"))?;
            rest = behind;
            for option in inner.split(',').filter(|option| !option.is_empty()) {
                options.push(option.split_once('=').unwrap_or((option, "")));
            }
        }
        let argument = match rest.strip_prefix('=') {
            Some(argument) => Some(argument),
            None if rest.is_empty() => None,
            None => {
                return Err(bad("cannot be understood")
                    .why(format!("`{}` behind the name", crop(rest)))
                    .hint("write NAME, NAME=ARGUMENT or NAME(OPTION=VALUE)=ARGUMENT"));
            }
        };
        Ok(Self { whole, name, options, argument })
    }

    /// A usage error about it.
    pub(super) fn bad(&self, what: impl Into<String>) -> Error {
        Error::usage(subject(self.whole), what)
    }

    /// That it takes nothing.
    pub(super) fn bare(&self) -> Result<(), Error> {
        self.no_options()?;
        match self.argument {
            None => Ok(()),
            Some(_) => {
                Err(self.bad("takes no argument").hint(format!("write --transform {}", self.name)))
            }
        }
    }

    /// That it takes an argument only.
    pub(super) fn no_options(&self) -> Result<(), Error> {
        match self.options.first() {
            None => Ok(()),
            Some((option, _)) => Err(self.bad(format!("has no option `{}`", crop(option)))),
        }
    }

    pub(super) fn unknown(&self) -> Error {
        self.bad("is no transform").hint(format!("there are {NAMES}"))
    }
}

fn subject(whole: &str) -> String {
    format!("--transform {}", crop(whole))
}

/// So much of a text as an error can show.
pub(super) fn crop(text: &str) -> String {
    let mut shown: String =
        text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}
