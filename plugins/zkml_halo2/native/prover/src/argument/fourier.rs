//! Fourier transforms of many columns: each by one thread, with all roots of unity at hand.

use ff::Field;
use halo2_axiom::halo2curves::bn256::Fr;
use halo2_axiom::poly::EvaluationDomain;
use rayon::prelude::*;

/// Blocks of so many elements stay in the processor's cache.
const BLOCK: usize = 1 << 12;

/// From coefficients to the values on a coset c<omega>, in the order c, c omega, c omega^2 ...
///
/// f(c x) = even((c x)^2) + c x odd((c x)^2), and likewise for the halves: the factors of each layer stand in a row.
#[derive(Clone, Debug)]
pub struct Transform {
    layers: Vec<Vec<Fr>>,
}

impl Transform {
    fn new(k: u32, omega: Fr, shift: Fr) -> Self {
        let mut layers = Vec::with_capacity(k as usize);
        let (mut omega, mut shift) = (omega, shift);
        for layer in (0..k).rev() {
            layers.push(std::iter::successors(Some(shift), |w| Some(*w * omega)).take(1 << layer).collect());
            (omega, shift) = (omega.square(), shift.square());
        }
        layers.reverse();
        Self { layers }
    }

    /// Transforms 2^k elements in place.
    pub fn apply(&self, values: &mut [Fr]) {
        let bits = self.layers.len() as u32;
        debug_assert_eq!(values.len(), 1 << bits);
        for i in 0..values.len() {
            let reversed = i.reverse_bits() >> (usize::BITS - bits);
            if i < reversed {
                values.swap(i, reversed);
            }
        }
        self.butterflies(values);
    }

    fn butterflies(&self, values: &mut [Fr]) {
        let layers = values.len().ilog2() as usize;
        if values.len() <= BLOCK {
            for factors in &self.layers[..layers] {
                values.chunks_exact_mut(2 * factors.len()).for_each(|block| combine(block, factors));
            }
            return;
        }
        let (even, odd) = values.split_at_mut(values.len() / 2);
        self.butterflies(even);
        self.butterflies(odd);
        combine(values, &self.layers[layers - 1]);
    }
}

fn combine(block: &mut [Fr], factors: &[Fr]) {
    let (even, odd) = block.split_at_mut(factors.len());
    for ((even, odd), factor) in even.iter_mut().zip(odd).zip(factors) {
        let term = *odd * factor;
        *odd = *even - term;
        *even += term;
    }
}

/// One of the cosets on which the quotient is computed.
#[derive(Clone, Debug)]
pub struct Coset {
    pub shift: Fr,
    transform: Transform,
}

impl Coset {
    /// The values of polynomials on the coset.
    pub fn values<P: AsRef<[Fr]> + Sync>(&self, polynomials: &[P]) -> Vec<Vec<Fr>> {
        polynomials.par_iter().map(|polynomial| self.values_of(polynomial.as_ref())).collect()
    }

    pub fn values_of(&self, polynomial: &[Fr]) -> Vec<Fr> {
        let mut values = polynomial.to_vec();
        self.transform.apply(&mut values);
        values
    }
}

/// The transforms of a domain of 2^k rows.
#[derive(Clone, Debug)]
pub struct Fourier {
    pub omega: Fr,
    inverse: Transform,
    scale: Fr,
    /// Two, for a quotient of less than twice as many coefficients as there are rows.
    pub cosets: [Coset; 2],
}

impl Fourier {
    pub fn new(domain: &EvaluationDomain<Fr>) -> Self {
        let (k, omega) = (domain.k(), domain.get_omega());
        let coset = |shift| Coset { shift, transform: Transform::new(k, omega, shift) };
        // Neither generator of the field's units nor its square is in the domain, nor is one in the coset of the other.
        let shift = <Fr as ff::PrimeField>::MULTIPLICATIVE_GENERATOR;
        Self {
            omega,
            inverse: Transform::new(k, domain.get_omega_inv(), Fr::ONE),
            scale: <Fr as ff::PrimeField>::TWO_INV.pow_vartime([u64::from(k)]),
            cosets: [coset(shift), coset(shift.square())],
        }
    }

    /// From values on the domain to coefficients, in place.
    pub fn coefficients(&self, values: &mut [Fr]) {
        self.inverse.apply(values);
        values.iter_mut().for_each(|value| *value *= self.scale);
    }

    /// The polynomial of less than 2n coefficients with these values on the two cosets, as its lower and its upper half: on
    /// the coset of c it is lower + c^n upper.
    pub fn halves(&self, mut values: [Vec<Fr>; 2]) -> [Vec<Fr>; 2] {
        let n = values[0].len() as u64;
        values.par_iter_mut().zip(&self.cosets).for_each(|(values, coset)| {
            self.coefficients(values);
            let back = coset.shift.invert().unwrap_or(Fr::ZERO);
            let mut power = Fr::ONE;
            for value in values.iter_mut() {
                *value *= power;
                power *= back;
            }
        });
        let [first, second] = self.cosets.each_ref().map(|coset| coset.shift.pow_vartime([n]));
        let apart = (second - first).invert().unwrap_or(Fr::ZERO);
        let [mut lower, mut upper] = values;
        lower.par_iter_mut().zip(&mut upper).for_each(|(lower, upper)| {
            *upper = (*upper - *lower) * apart;
            *lower -= *upper * first;
        });
        [lower, upper]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argument::opening::value_at;
    use rand::rngs::OsRng;

    fn random(count: usize) -> Vec<Fr> {
        std::iter::repeat_with(|| Fr::random(OsRng)).take(count).collect()
    }

    #[test]
    fn values_on_a_coset_are_those_of_the_polynomial() {
        for k in [1, 2, 5, 13] {
            let fourier = Fourier::new(&EvaluationDomain::new(3, k));
            let polynomial = random(1 << k);
            for coset in &fourier.cosets {
                let values = coset.values_of(&polynomial);
                for row in [0, 1, (1 << k) / 2, (1 << k) - 1] {
                    let at = coset.shift * fourier.omega.pow_vartime([row as u64]);
                    assert_eq!(values[row], value_at(&polynomial, at), "k = {k}, row {row}");
                }
            }
        }
    }

    #[test]
    fn coefficients_are_those_that_the_values_are_of() {
        let fourier = Fourier::new(&EvaluationDomain::new(3, 6));
        let polynomial = random(64);
        let at = |row: u64| value_at(&polynomial, fourier.omega.pow_vartime([row]));
        let mut values: Vec<Fr> = (0..64).map(at).collect();
        fourier.coefficients(&mut values);
        assert_eq!(values, polynomial);
    }

    #[test]
    fn halves_are_those_of_a_polynomial_of_twice_the_length() {
        let fourier = Fourier::new(&EvaluationDomain::new(3, 4));
        let polynomial = random(32);
        let values = fourier.cosets.each_ref().map(|coset| {
            let at = |row: u64| value_at(&polynomial, coset.shift * fourier.omega.pow_vartime([row]));
            (0..16).map(at).collect()
        });
        assert_eq!(fourier.halves(values).concat(), polynomial);
    }
}
