//! Many multiples of the generator, by tables of its multiples.

use ff::PrimeField;
use group::prime::PrimeCurveAffine;
use group::Group;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine, G1};
use rayon::prelude::*;

use crate::batch::{add, normalise};

const SCALAR_BITS: u32 = 255; // one more than the scalars have, for the carry of signed digits
const BLOCK: usize = 512;

/// d 2^(w width) G for every window w and 1 <= d <= 2^(width - 1).
pub(crate) struct Multiples {
    width: u32,
    tables: Vec<Vec<G1Affine>>,
}

impl Multiples {
    /// Makes the tables that suit about so many multiples.
    pub fn new(count: usize) -> Self {
        let width = count.next_power_of_two().trailing_zeros().saturating_sub(2).clamp(4, 14);
        let mut bases = vec![G1::generator()];
        for _ in 1..SCALAR_BITS.div_ceil(width) {
            let last = bases[bases.len() - 1];
            bases.push((0..width).fold(last, |point, _| point.double()));
        }
        let table = |base: G1| {
            let multiples: Vec<G1> =
                std::iter::successors(Some(base), |point| Some(point + base)).take(1 << (width - 1)).collect();
            normalise(&multiples)
        };
        Self { width, tables: bases.into_par_iter().map(table).collect() }
    }

    /// The generator times each scalar.
    pub fn times(&self, scalars: &[Fr]) -> Vec<G1Affine> {
        scalars.par_chunks(BLOCK).flat_map_iter(|block| self.block(block)).collect()
    }

    fn block(&self, scalars: &[Fr]) -> Vec<G1Affine> {
        let mut sums = vec![G1Affine::identity(); scalars.len()];
        let mut carries = vec![0; scalars.len()];
        let (mut terms, mut scratch) = (Vec::with_capacity(scalars.len()), Vec::new());
        let bytes: Vec<_> = scalars.iter().map(PrimeField::to_repr).collect();
        for (window, table) in self.tables.iter().enumerate() {
            terms.clear();
            for (bytes, carry) in bytes.iter().zip(&mut carries) {
                let digit = digit(bytes.as_ref(), window as u32 * self.width, self.width) + *carry;
                // From half a window on, the rest is counted down from the next window's unit.
                *carry = i64::from(digit > 1 << (self.width - 1));
                let digit = digit - (*carry << self.width);
                terms.push(match digit {
                    0 => G1Affine::identity(),
                    digit if digit > 0 => table[digit as usize - 1],
                    digit => -table[digit.unsigned_abs() as usize - 1],
                });
            }
            add(&mut sums, &terms, &mut scratch);
        }
        sums
    }
}

/// `width` bits of a little-endian number, from bit `at`.
fn digit(bytes: &[u8], at: u32, width: u32) -> i64 {
    let (byte, shift) = ((at / 8) as usize, at % 8);
    let word = bytes[byte..].iter().take(4).rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    (word >> shift & ((1 << width) - 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::Field;
    use rand::rngs::OsRng;

    #[test]
    fn multiples_are_those_of_the_generator() {
        for count in [1, 40, 5000] {
            let multiples = Multiples::new(count);
            let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(8), Fr::from(1 << 40), Fr::TWO_INV];
            scalars.extend((0..50).map(|_| Fr::random(OsRng)));
            let expected: Vec<G1> = scalars.iter().map(|scalar| G1::generator() * scalar).collect();
            assert_eq!(multiples.times(&scalars), normalise(&expected));
        }
    }
}
