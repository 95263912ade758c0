//! A strict verifier: from key, commitment and proof alone, with every byte accounted for.

pub mod bytes;
mod error;
pub mod hiding;
pub mod key;
pub mod link;
#[cfg(feature = "python")]
mod python;
pub mod statement;
pub mod transcript;
pub mod verify;

pub use error::Error;
pub use key::Key;
pub use statement::Statement;
