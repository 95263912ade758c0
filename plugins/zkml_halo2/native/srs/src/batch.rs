//! One inversion for many values, and additions of points that share one.

use ff::Field;
use group::prime::PrimeCurveAffine;
use group::Curve;
use halo2_axiom::halo2curves::bn256::{Fq, G1Affine, G1};

/// Inverts all values but zeros, which stay.
pub(crate) fn invert<F: Field>(values: &mut [F]) {
    let mut product = F::ONE;
    let mut before = Vec::with_capacity(values.len());
    for value in values.iter().filter(|value| !value.is_zero_vartime()) {
        before.push(product);
        product *= *value;
    }
    let mut inverse = product.invert().unwrap_or(F::ONE); // a product of values that are not zero
    for (value, before) in values.iter_mut().rev().filter(|value| !value.is_zero_vartime()).zip(before.iter().rev()) {
        let old = *value;
        *value = inverse * *before;
        inverse *= old;
    }
}

/// Adds to each point the one opposite, in affine coordinates: six multiplications each where the curve's complete
/// formulas take eleven.
pub(crate) fn add(sums: &mut [G1Affine], terms: &[G1Affine], scratch: &mut Vec<Fq>) {
    let identity = |point: &G1Affine| bool::from(point.is_identity());
    scratch.clear();
    scratch.extend(sums.iter().zip(terms).map(|(sum, term)| term.x - sum.x));
    invert(scratch);
    for ((sum, term), inverse) in sums.iter_mut().zip(terms).zip(scratch.iter()) {
        if identity(term) {
            continue;
        }
        if identity(sum) || inverse.is_zero_vartime() {
            // Nothing to add to, or the same x: rare, and left to the complete formulas.
            *sum = (G1::from(*sum) + term).to_affine();
            continue;
        }
        let slope = (term.y - sum.y) * inverse;
        let x = slope.square() - sum.x - term.x;
        sum.y = slope * (sum.x - x) - sum.y;
        sum.x = x;
    }
}

/// Points in affine coordinates, with one inversion.
pub(crate) fn normalise(points: &[G1]) -> Vec<G1Affine> {
    let mut affine = vec![G1Affine::identity(); points.len()];
    if !points.is_empty() {
        G1::batch_normalize(points, &mut affine);
    }
    affine
}

#[cfg(test)]
mod tests {
    use super::*;
    use group::Group;
    use halo2_axiom::halo2curves::bn256::Fr;
    use rand::rngs::OsRng;

    #[test]
    fn sums_are_those_of_the_complete_formulas() {
        let g = G1::generator();
        let points: Vec<G1> = (0..6).map(|_| g * Fr::random(OsRng)).collect();
        let zero = G1::identity();
        let left = [points[0], points[1], points[2], zero, points[3], zero, points[4]];
        let right = [points[5], points[1], -points[2], points[0], zero, zero, points[0]];
        let mut sums = normalise(&left);
        add(&mut sums, &normalise(&right), &mut Vec::new());
        let expected: Vec<G1> = left.iter().zip(&right).map(|(a, b)| a + b).collect();
        assert_eq!(sums, normalise(&expected));
    }

    #[test]
    fn zeros_stay_and_others_are_inverted() {
        let mut values = [Fr::ZERO, Fr::from(2), Fr::ZERO, Fr::from(3)];
        invert(&mut values);
        assert_eq!(values.map(|value| value.is_zero_vartime()), [true, false, true, false]);
        assert_eq!((values[1] * Fr::from(2), values[3] * Fr::from(3)), (Fr::ONE, Fr::ONE));
    }
}
