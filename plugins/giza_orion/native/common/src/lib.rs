//! What Balance's Orion prover and verifier must agree on: how a program is encoded and hashed, which parameters
//! are pinned, what a proof's bytes look like, and when a proof is accepted.
//!
//! Everything here builds on stable Rust without the prover's toolchain.

mod accept;
mod canonical;
mod envelope;
mod parameters;
mod program;
mod public;
mod security;
mod shape;

pub use accept::{accept, panic_message};
pub use envelope::{decode, encode, Proof, MAX_PROOF_BYTES};
pub use parameters::{Parameters, MAX_LOG_ROWS, MAX_ROWS, PREPROCESSED_ROOT};
pub use program::{felt_from_bytes, felt_to_bytes, is_canonical, Builtin, Felt, Program, MAX_FELTS};
pub use security::{security_bits, SecurityBits};

/// Why something was not accepted, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Refuse with a reason, unless the condition holds.
macro_rules! require {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::Refused(format!($($reason)+)));
        }
    };
}
pub(crate) use require;
