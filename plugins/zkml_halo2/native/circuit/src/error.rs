//! Why a model cannot become a circuit, or a circuit cannot be filled.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The rows of this shape do not suffice.
    TooSmall(String),
    /// No shape will do.
    Unsupported(String),
    /// The values do not satisfy the model.
    Witness(String),
}

impl Error {
    pub fn too_wide() -> Self {
        Self::Unsupported("a coefficient leaves 64 bits".into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall(text) | Self::Unsupported(text) | Self::Witness(text) => out.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
