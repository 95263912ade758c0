//! Bits of security, by the formulas of docs/orion-soundness.md.

use crate::parameters::Parameters;

/// What an attacker must spend, as a power of two, under two assumptions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SecurityBits {
    pub conjectured: f64,
    pub johnson: f64,
}

pub fn security_bits(parameters: Parameters) -> SecurityBits {
    let queries = parameters.queries() as f64;
    let rate = f64::from(parameters.log_blowup());
    let pow = f64::from(parameters.pow_bits());
    SecurityBits { conjectured: pow + queries * rate, johnson: pow + queries * rate / 2.0 }
}
