//! The proving side: plans, keys, commitments to private weights, proofs.

mod argument;
mod commit;
mod keys;
mod opened;
mod prove;
#[cfg(feature = "python")]
mod python;
mod string;
mod trial;

pub use commit::{commit, Opening};
pub use keys::{model_and_weights, plan_of, setup, Options};
pub use opened::opened;
pub use prove::{Committed, Prover};
pub use string::{unwatched, Phase, Watch};
pub use trial::{altered, altered_digits, answers, output_cells, read_cells, Edit};

pub use balance_zkml_verifier::Error;
