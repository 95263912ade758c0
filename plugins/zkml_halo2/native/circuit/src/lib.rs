//! The circuit that proves an integer model: lowered to steps, placed in rows, filled, and constrained.

mod circuit;
pub mod columns;
mod error;
pub mod gates;
pub mod hidden;
pub mod layout;
mod lower;
mod place;
pub mod plan;
pub mod registration;
pub mod statement;
pub mod steps;
pub mod weights;
pub mod witness;

use ff::Field;
use halo2_axiom::halo2curves::bn256::Fr;

pub use circuit::ModelCircuit;
pub use error::Error;
pub use layout::{Layout, Secret, Shape};
pub use lower::{lower, Limits};
pub use place::place;
pub use plan::{plan, Plan};

/// An integer as an element of the field.
pub fn field(value: i64) -> Fr {
    let magnitude = Fr::from(value.unsigned_abs());
    if value < 0 {
        -magnitude
    } else {
        magnitude
    }
}

pub fn power_of_two(exponent: u32) -> Fr {
    Fr::from(2).pow_vartime([u64::from(exponent)])
}
