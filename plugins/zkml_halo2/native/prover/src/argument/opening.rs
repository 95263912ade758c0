//! SHPLONK (Boneh, Drake, Fisch, Gabizon, "Efficient polynomial commitment schemes for multiple points and polynomials",
//! section 4): all openings of a proof in two points.

use ff::Field;
use group::Curve;
use halo2_axiom::halo2curves::bn256::Fr;
use halo2_axiom::transcript::{Transcript, TranscriptWrite};
use rayon::prelude::*;

use super::Write;
use crate::string::Powers;
use crate::Error;

/// A polynomial, and its values at points x omega^rotation.
pub struct Opened<'a> {
    pub polynomial: &'a [Fr],
    /// Rotation and value, in the order of the rotations.
    pub values: Vec<(i32, Fr)>,
}

/// Polynomials that are opened at the same points, added up with powers of a challenge.
struct Together {
    points: Vec<Fr>,
    polynomial: Vec<Fr>,
    /// The polynomial of least degree with the sum's values at the points.
    low: Vec<Fr>,
}

pub fn open(
    params: &Powers,
    opened: &[Opened],
    point: impl Fn(i32) -> Fr,
    transcript: &mut Write,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error(error.to_string());
    let y = *transcript.squeeze_challenge_scalar::<()>();
    let v = *transcript.squeeze_challenge_scalar::<()>();
    let sets = sets(opened, point, y);
    let powers_of_v: Vec<Fr> = std::iter::successors(Some(Fr::ONE), |p| Some(*p * v)).take(sets.len()).collect();

    // h = sum of v^i (P_i - low_i) / Z_i
    let quotients: Vec<Vec<Fr>> = sets
        .par_iter()
        .map(|set| {
            let mut quotient = set.polynomial.clone();
            quotient.iter_mut().zip(&set.low).for_each(|(q, low)| *q -= low);
            set.points.iter().for_each(|point| divide(&mut quotient, *point));
            quotient
        })
        .collect();
    let h = combined(&quotients, &powers_of_v);
    drop(quotients);
    transcript.write_point(params.sum(&h).to_affine()).map_err(failed)?;
    let u = *transcript.squeeze_challenge_scalar::<()>();

    // (sum of v^i d_i (P_i - low_i(u)) - Z h) / (X - u), where Z and d_i vanish at all points, and at those not in set i
    let mut all: Vec<Fr> = Vec::new();
    for point in sets.iter().flat_map(|set| &set.points) {
        if !all.contains(point) {
            all.push(*point);
        }
    }
    let vanishing =
        |points: &mut dyn Iterator<Item = &Fr>| points.fold(Fr::ONE, |product, point| product * (u - point));
    let others: Vec<Fr> =
        sets.iter().map(|set| vanishing(&mut all.iter().filter(|point| !set.points.contains(point)))).collect();
    // What comes out is divided by d_0.
    let scale = others[0].invert().unwrap_or(Fr::ZERO);
    let mut factors: Vec<Fr> = powers_of_v.iter().zip(&others).map(|(v, d)| *v * d * scale).collect();
    let constant: Fr = sets.iter().zip(&factors).map(|(set, factor)| value_at(&set.low, u) * factor).sum();
    factors.push(-vanishing(&mut all.iter()) * scale);
    let mut polynomials: Vec<Vec<Fr>> = sets.into_iter().map(|set| set.polynomial).collect();
    polynomials.push(h);
    let mut last = combined(&polynomials, &factors);
    last[0] -= constant;
    divide(&mut last, u);
    transcript.write_point(params.sum(&last).to_affine()).map_err(failed)
}

/// The polynomials by the points that they are opened at, in order of appearance.
fn sets(opened: &[Opened], point: impl Fn(i32) -> Fr, y: Fr) -> Vec<Together> {
    let mut members: Vec<(Vec<i32>, Vec<&Opened>)> = Vec::new();
    for one in opened {
        let rotations: Vec<i32> = one.values.iter().map(|(rotation, _)| *rotation).collect();
        match members.iter_mut().find(|(known, _)| *known == rotations) {
            Some((_, members)) => members.push(one),
            None => members.push((rotations, vec![one])),
        }
    }
    let together = |(rotations, members): (Vec<i32>, Vec<&Opened>)| {
        let powers: Vec<Fr> = std::iter::successors(Some(Fr::ONE), |p| Some(*p * y)).take(members.len()).collect();
        let points: Vec<Fr> = rotations.iter().map(|&rotation| point(rotation)).collect();
        let value = |i: usize| members.iter().zip(&powers).map(|(one, power)| one.values[i].1 * power).sum();
        let values: Vec<Fr> = (0..points.len()).map(value).collect();
        let polynomials: Vec<&[Fr]> = members.iter().map(|one| one.polynomial).collect();
        Together { low: interpolated(&points, &values), polynomial: combined(&polynomials, &powers), points }
    };
    members.into_iter().map(together).collect()
}

/// The sum of polynomials times factors.
fn combined<P: AsRef<[Fr]> + Sync>(polynomials: &[P], factors: &[Fr]) -> Vec<Fr> {
    const CHUNK: usize = 1 << 10;
    let length = polynomials.iter().map(|p| p.as_ref().len()).max().unwrap_or(0);
    let mut sum = vec![Fr::ZERO; length];
    sum.par_chunks_mut(CHUNK).enumerate().for_each(|(i, sum)| {
        for (polynomial, factor) in polynomials.iter().zip(factors) {
            let coefficients = polynomial.as_ref().get(i * CHUNK..).unwrap_or_default();
            sum.iter_mut().zip(coefficients).for_each(|(sum, c)| *sum += *c * factor);
        }
    });
    sum
}

/// Divides by X - point, and forgets the remainder.
fn divide(polynomial: &mut Vec<Fr>, point: Fr) {
    let mut carry = Fr::ZERO;
    for coefficient in polynomial.iter_mut().rev() {
        let now = *coefficient + carry * point;
        *coefficient = std::mem::replace(&mut carry, now);
    }
    polynomial.pop();
}

/// The value of a polynomial at a point.
pub fn value_at(polynomial: &[Fr], point: Fr) -> Fr {
    polynomial.iter().rev().fold(Fr::ZERO, |sum, coefficient| sum * point + coefficient)
}

/// The polynomial of as many coefficients as there are points that has these values there (Lagrange).
fn interpolated(points: &[Fr], values: &[Fr]) -> Vec<Fr> {
    let mut sum = vec![Fr::ZERO; points.len()];
    for (i, (own, value)) in points.iter().zip(values).enumerate() {
        let mut product = vec![Fr::ONE];
        let mut below = Fr::ONE;
        for (_, other) in points.iter().enumerate().filter(|(j, _)| *j != i) {
            below *= *own - other;
            product.insert(0, Fr::ZERO);
            for place in 1..product.len() {
                let higher = product[place];
                product[place - 1] -= higher * other;
            }
        }
        let factor = *value * below.invert().unwrap_or(Fr::ZERO);
        sum.iter_mut().zip(&product).for_each(|(sum, c)| *sum += *c * factor);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[u64]) -> Vec<Fr> {
        values.iter().copied().map(Fr::from).collect()
    }

    #[test]
    fn division_forgets_the_remainder() {
        // (2 X^2 + 3 X + 4) (X - 5) + 6
        let mut polynomial = numbers(&[4, 3, 2]);
        polynomial.push(Fr::ZERO);
        for place in (0..4).rev() {
            let lower = if place > 0 { polynomial[place - 1] } else { Fr::from(6) };
            polynomial[place] = lower - polynomial[place] * Fr::from(5);
        }
        assert_eq!(value_at(&polynomial, Fr::from(5)), Fr::from(6));
        divide(&mut polynomial, Fr::from(5));
        assert_eq!(polynomial, numbers(&[4, 3, 2]));
    }

    #[test]
    fn interpolation_has_the_values_at_the_points() {
        let points = numbers(&[7, 1, 0, 12]);
        let values = numbers(&[3, 3, 9, 1]);
        let polynomial = interpolated(&points, &values);
        assert_eq!(polynomial.len(), 4);
        assert!(points.iter().zip(&values).all(|(point, value)| value_at(&polynomial, *point) == *value));
    }

    #[test]
    fn polynomials_of_several_lengths_add_up() {
        let long: Vec<u64> = (0..3000).collect();
        let sum = combined(&[numbers(&long), numbers(&[5, 5])], &numbers(&[2, 3]));
        assert_eq!(sum.len(), 3000);
        assert_eq!((sum[0], sum[1], sum[2], sum[2999]), (15.into(), 17.into(), 4.into(), 5998.into()));
    }
}
