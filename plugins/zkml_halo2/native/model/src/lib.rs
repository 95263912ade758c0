//! The integer model of Balance (`docs/integer-model.md`): a reader of its canonical encoding that trusts nothing, and
//! an executor that gives every tensor.
//!
//! A [`Model`] that [`read_structure`] returns is admissible: every shape rule, side condition and interval was checked,
//! so no computation on `i64` can wrap around for operands within their intervals.

mod codec;
mod error;
mod execute;
mod fact;
mod model;
mod natural;
mod op;
mod rules;
mod weights;
mod wire;

pub use error::Error;
pub use execute::execute;
pub use fact::{Fact, MAX_ELEMENTS, MAX_LISTED, MAX_RANK, MAX_TOTAL, SAFE};
pub use model::{read_structure, structure_digest, Model, Node, MAX_BYTES, MAX_NAME, MAX_NODES, MAX_OPERANDS};
pub use natural::Natural;
pub use op::{Conv2d, Op, MAX_TABLE};
pub use weights::read_weights;
pub use wire::{Index, Wire, MAX_LOOPS};
