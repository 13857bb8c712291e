//! Why a run cannot start or go on.
//!
//! One object's trouble is a [`Failure`](crate::Failure); an [`Error`] ends the run.

use std::fmt;

/// How a process of windrow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every object stored or skipped.
    Complete,
    /// Finished, some objects failed.
    Failed,
    /// The command line cannot be carried out as typed.
    Usage,
    /// Stopped by a rule of the user's.
    Stopped,
    /// The environment: disk, file descriptors, credentials, the network.
    Environment,
    /// SIGINT, after a clean stop.
    Interrupted,
    /// SIGTERM, after a clean stop.
    Terminated,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Stopped => 3,
            Self::Environment => 4,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// An error that ends a run: `subject: what: why`, and apart from it a hint on what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    exit: Exit,
    subject: String,
    what: String,
    why: Option<String>,
    hint: Option<String>,
}

impl Error {
    /// An error that the user mends by typing something else.
    pub fn usage(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, subject, what)
    }

    /// An error of the environment: disk, network, permissions.
    pub fn environment(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Exit::Environment, subject, what)
    }

    fn new(exit: Exit, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { exit, subject: subject.into(), what: what.into(), why: None, hint: None }
    }

    /// The cause, one level down.
    #[must_use]
    pub fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What to do about it, for a line of its own.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
