//! Runs Cairo programs in cairo-vm and proves the runs with stwo-cairo, under the parameters that `common` pins.

mod hints;
mod phases;
mod prove;
mod rows;
mod run;

pub use hints::RawHint;
pub use phases::Seconds;
pub use prove::{preprocessed_root, prove, prover_parameters, run, Proven, Run};
pub use rows::Rows;
pub use run::{adapt, execute};
