//! Multiplication of any point by a scalar of which the two halves are known (Gallant, Lambert, Vanstone, CRYPTO 2001).
//!
//! The map (x, y) -> (ZETA x, y) multiplies by LAMBDA, the scalar field's ZETA. The pairs (a, b) with a + b LAMBDA = 0 mod
//! r form a lattice with the short basis (A, -B), (B, A + B); the halves (k1, k2) of k are what is left of (k, 0) next to a
//! lattice point near it. Tests check that every pair of halves is below 2^128 and gives k again.

use ff::PrimeField;
use group::Group;
use halo2_axiom::halo2curves::bn256::{Fr, G1};
use halo2_axiom::halo2curves::CurveExt;

const B: u64 = 0x89d3_2568_94d2_13e3;
const A_PLUS_B: u128 = 0x6f4d_8248_eeb8_59fd_0be4_e154_1221_250b;
/// floor(2^256 B / r) and floor(2^256 (A + B) / r), least limb first.
const B_OVER_R: [u64; 4] = [0xd91d_232e_c7e0_b3d7, 2, 0, 0];
const A_PLUS_B_OVER_R: [u64; 4] = [0x5398_fd03_00ff_6565, 0x4cce_f014_a773_d2d2, 2, 0];
const WINDOW: u32 = 5;
const DIGITS: usize = 130;

/// A scalar in two halves, each as digits that are zero or odd and below 2^(WINDOW - 1) in absolute value.
pub(crate) struct Halves {
    digits: [[i8; DIGITS]; 2],
    length: usize,
}

impl Halves {
    pub fn new(scalar: Fr) -> Self {
        let digits = half_scalars(scalar).map(signed_digits);
        let top = |digits: &[i8]| digits.iter().rposition(|&digit| digit != 0).map_or(0, |at| at + 1);
        Self { length: top(&digits[0]).max(top(&digits[1])), digits }
    }

    /// The point times the scalar: about 128 doublings.
    pub fn times(&self, point: &G1) -> G1 {
        let twice = point.double();
        let mut odd = [*point; 1 << (WINDOW - 2)];
        for at in 1..odd.len() {
            odd[at] = odd[at - 1] + twice;
        }
        let tables = [odd, odd.map(|point| point.endo())];
        let mut sum = G1::identity();
        for at in (0..self.length).rev() {
            sum = sum.double();
            for (digits, table) in self.digits.iter().zip(&tables) {
                match digits[at] {
                    0 => {}
                    digit if digit > 0 => sum += table[digit as usize / 2],
                    digit => sum -= table[digit.unsigned_abs() as usize / 2],
                }
            }
        }
        sum
    }
}

/// Whether each half is below zero, and its magnitude.
pub(crate) fn half_scalars(scalar: Fr) -> [(bool, u128); 2] {
    let limbs = limbs(scalar);
    let first = high(&limbs, &A_PLUS_B_OVER_R);
    let second = high(&limbs, &B_OVER_R);
    let low = u128::from(limbs[0]) | u128::from(limbs[1]) << 64;
    // (k, 0) - first (A, -B) - second (B, A + B), modulo 2^128. As first and second are rounded down, by less than two, the
    // first coordinate is in [0, 2 A + 2 B), and the second in (-2 B, 2 A + 2 B): these bounds tell the sign.
    let b = u128::from(B);
    let k1 = low.wrapping_sub(first.wrapping_mul(A_PLUS_B - b)).wrapping_sub(second.wrapping_mul(b));
    let k2 = first.wrapping_mul(b).wrapping_sub(second.wrapping_mul(A_PLUS_B));
    let below = k2 > u128::MAX - 2 * b;
    [(false, k1), (below, if below { k2.wrapping_neg() } else { k2 })]
}

pub(crate) fn limbs(scalar: Fr) -> [u64; 4] {
    let bytes = scalar.to_repr();
    let mut limbs = [0; 4];
    for (limb, word) in limbs.iter_mut().zip(bytes.as_ref().chunks_exact(8)) {
        *limb = word.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    }
    limbs
}

/// The product divided by 2^256, which is known to be below 2^128.
fn high(x: &[u64; 4], y: &[u64; 4]) -> u128 {
    let mut product = [0u64; 8];
    for (i, &x) in x.iter().enumerate() {
        let mut carry = 0u128;
        for (j, &y) in y.iter().enumerate() {
            carry += u128::from(x) * u128::from(y) + u128::from(product[i + j]);
            product[i + j] = carry as u64;
            carry >>= 64;
        }
        product[i + 4] = carry as u64;
    }
    u128::from(product[4]) | u128::from(product[5]) << 64
}

/// The digits of a half.
fn signed_digits((negative, magnitude): (bool, u128)) -> [i8; DIGITS] {
    let mut left = magnitude;
    let mut carry = false; // a value of 2^128 left over
    let mut digits = [0; DIGITS];
    for digit in &mut digits {
        if left & 1 == 1 {
            let low = (left & ((1 << WINDOW) - 1)) as i8;
            let taken = if low >= 1 << (WINDOW - 1) { low - (1 << WINDOW) } else { low };
            if taken > 0 {
                left -= taken as u128;
            } else {
                let (value, over) = left.overflowing_add(u128::from(taken.unsigned_abs()));
                (left, carry) = (value, carry | over);
            }
            *digit = if negative { -taken } else { taken };
        }
        left = left >> 1 | u128::from(carry) << 127;
        carry = false;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::{Field, WithSmallOrderMulGroup};
    use rand::rngs::OsRng;

    fn value(digits: &[i8]) -> Fr {
        digits.iter().rev().fold(Fr::ZERO, |sum, &digit| {
            let part = Fr::from(u64::from(digit.unsigned_abs()));
            sum.double() + if digit < 0 { -part } else { part }
        })
    }

    #[test]
    fn halves_give_the_scalar_and_the_product() {
        let edges = [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::ZETA, -Fr::ZETA, Fr::from_u128(u128::MAX), Fr::ROOT_OF_UNITY];
        let random = (0..200).map(|_| Fr::random(OsRng));
        let point = G1::generator() * Fr::random(OsRng);
        for scalar in edges.into_iter().chain(random) {
            let halves = Halves::new(scalar);
            assert_eq!(value(&halves.digits[0]) + value(&halves.digits[1]) * Fr::ZETA, scalar);
            assert!(halves.length < DIGITS);
            assert_eq!(halves.times(&point), point * scalar);
        }
        assert_eq!(point.endo(), point * Fr::ZETA);
    }
}
