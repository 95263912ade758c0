//! Why a reference string is refused.

use std::{fmt, io};

/// A refusal: one line that names what is wrong.
#[derive(Debug)]
pub enum Error {
    /// The bytes are not what they should be.
    Refused(String),
    /// A file cannot be read or written.
    File(io::Error),
    /// Whoever called asked to stop.
    Stopped,
}

impl Error {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::new("the file ends too early"),
            _ => Self::File(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => formatter.write_str(reason),
            Self::File(error) => error.fmt(formatter),
            Self::Stopped => formatter.write_str("stopped"),
        }
    }
}

impl std::error::Error for Error {}
