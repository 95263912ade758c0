//! Why a model, its weights or its inputs are refused.

use std::fmt;

/// A refusal: one line that names what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The same refusal, with the place where it arose in front.
    pub(crate) fn at(self, place: usize, name: &str) -> Self {
        Self(format!("node {place} {name}: {}", self.0))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
