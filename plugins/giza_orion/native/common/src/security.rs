//! Bits of security, by the formulas of docs/orion-soundness.md, which names their sources.

use crate::parameters::Parameters;

/// log2 of the extension field, (2^31 - 1)^4, rounded down.
const FIELD: f64 = 123.999;
/// log2 of a bound on the values that are opened out of the domain, and on the constraints; checked for each proof.
pub const LOG_MAX_SAMPLES: u32 = 13;
/// A constraint is of degree at most four in its columns' polynomials, composition quotient included.
const LOG_DEGREE: f64 = 2.0;

/// What a forger must spend, as a power of two, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecurityBits {
    /// If no attack is better than guessing queries: the conjecture that stwo's own figure assumes.
    pub conjectured: u32,
    /// By what is proven up to the Johnson bound.
    pub johnson: u32,
}

pub fn security_bits(parameters: Parameters) -> SecurityBits {
    let queries = parameters.queries() as f64;
    let pow = f64::from(parameters.pow_bits());
    let rate = (-f64::from(parameters.log_blowup())).exp2();
    let conjectured = (pow - queries * rate.log2()).min(out_of_domain(parameters, 1.0));
    let johnson = (3..1000).map(f64::from).map(|multiplicity| {
        let gap = rate.sqrt() / multiplicity;
        let query_phase = pow - queries * (rate.sqrt() + gap).log2();
        let list = 1.0 / (2.0 * gap * rate.sqrt());
        query_phase.min(batching(parameters, rate, multiplicity)).min(out_of_domain(parameters, list))
    });
    SecurityBits { conjectured: conjectured as u32, johnson: johnson.fold(0.0, f64::max) as u32 }
}

/// A false opening goes unnoticed at a random point: list * degree / field.
fn out_of_domain(parameters: Parameters, list: f64) -> f64 {
    FIELD - f64::from(parameters.lifting_log_size()) - LOG_DEGREE - list.log2()
}

/// Combining all opened columns by powers of one challenge hides an error: (samples - 1) * exceptional / field, with the
/// exceptional points on a line for n = domain, theta = 1 - sqrt(rate) - gap and m = multiplicity
/// (2 (m + 1/2)^5 + 3 (m + 1/2) theta rate) n / (3 rate^(3/2)) + (m + 1/2) / sqrt(rate).
fn batching(parameters: Parameters, rate: f64, multiplicity: f64) -> f64 {
    let domain = f64::from(parameters.lifting_log_size()).exp2();
    let theta = 1.0 - rate.sqrt() * (1.0 + 1.0 / multiplicity);
    let m = multiplicity + 0.5;
    let slope = (2.0 * m.powi(5) + 3.0 * m * theta * rate) / (3.0 * rate.powf(1.5));
    FIELD - f64::from(LOG_MAX_SAMPLES) - (slope * domain + m / rate.sqrt()).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_figures_are_the_computed_ones() {
        let bits = |queries| security_bits(Parameters::new(queries).unwrap());
        assert_eq!(bits(70), SecurityBits { conjectured: 96, johnson: 59 });
        assert_eq!(bits(140), SecurityBits { conjectured: 100, johnson: 72 });
    }
}
