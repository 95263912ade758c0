//! Sums of points times scalars, for columns as a prover has them: most scalars are small, many are small below zero, many
//! are the same.
//!
//! Points with equal scalars are added first, scalars are parted by the curve's endomorphism (`glv`), and the digits of the
//! halves sort points into buckets (Pippenger), which are summed as trees of affine additions that share inversions.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use ff::{Field, WithSmallOrderMulGroup};
use group::prime::PrimeCurveAffine;
use group::{Curve, Group};
use halo2_axiom::halo2curves::bn256::{Fq, Fr, G1Affine, G1};
use rayon::prelude::*;

use crate::glv::{half_scalars, limbs};

/// Bits of a half of a scalar.
const BITS: usize = 128;
/// Scalars below 2^SMALL take so few digits that it is not worth looking for equal ones.
const SMALL: u32 = 32;
/// About how many points are summed with the same inversions: they stay in the processor's cache.
const BLOCK: u32 = 8192;
/// Fewer buckets than these are summed one after the other.
const FEW: usize = 64;

/// The sum of all points, each times its scalar.
pub fn multiply(scalars: &[Fr], points: &[G1Affine]) -> G1 {
    let terms = Terms::new(scalars, points);
    let count = terms.halves.len();
    if count == 0 {
        return G1::identity();
    }
    let longest = terms.halves.iter().map(|half| BITS as u32 - half.leading_zeros()).max().unwrap_or(0) as usize;
    // Digits of all halves are additions of six multiplications, buckets two of them and their sums some more.
    let cost = |width: usize| (longest / width + 1) * (count + (5 << width) / 4);
    let width = (2..=14).min_by_key(|&width| cost(width)).unwrap_or(2);
    let windows: Vec<usize> = (0..=longest / width).collect();
    let together = (BLOCK as usize).div_ceil(count).min(windows.len().div_ceil(rayon::current_num_threads()));
    let windows: Vec<G1> =
        windows.par_chunks(together).flat_map_iter(|windows| terms.windows(windows, width)).collect();
    let shifted = |sum: G1| (0..width).fold(sum, |sum, _| sum.double());
    windows.into_iter().rev().reduce(|sum, window| shifted(sum) + window).unwrap_or_else(G1::identity)
}

/// Points with scalars below 2^128.
struct Terms {
    points: Vec<G1Affine>,
    halves: Vec<u128>,
}

impl Terms {
    fn new(scalars: &[Fr], points: &[G1Affine]) -> Self {
        let mut terms = Self { points: Vec::new(), halves: Vec::new() };
        let mut groups: HashMap<[u64; 4], u32, BuildHasherDefault<Limbs>> = HashMap::default();
        let mut large: Vec<Fr> = Vec::new();
        let mut members: Vec<(u32, G1Affine)> = Vec::new();
        for (scalar, point) in scalars.iter().zip(points) {
            if *scalar == Fr::ZERO {
                continue;
            }
            let (negative, magnitude) = magnitude(scalar);
            let point = if negative { -*point } else { *point };
            if magnitude[1..] == [0; 3] && magnitude[0] < 1 << SMALL {
                terms.points.push(point);
                terms.halves.push(u128::from(magnitude[0]));
                continue;
            }
            let group = *groups.entry(magnitude).or_insert_with(|| {
                large.push(if negative { -*scalar } else { *scalar });
                large.len() as u32 - 1
            });
            members.push((group, point));
        }
        let sums = if members.len() == large.len() {
            members.into_iter().map(|member| member.1).collect()
        } else {
            let signed: Vec<(u32, u32)> =
                members.iter().enumerate().map(|(i, &(group, _))| (group, i as u32 * 2)).collect();
            let points: Vec<G1Affine> = members.into_iter().map(|member| member.1).collect();
            sums(&points, &signed, large.len())
        };
        for (scalar, point) in large.into_iter().zip(sums) {
            terms.halved(scalar, point);
        }
        terms
    }

    fn halved(&mut self, scalar: Fr, point: G1Affine) {
        let [(negative, first), (below, second)] = half_scalars(scalar);
        let turned = G1Affine { x: point.x * Fq::ZETA, y: point.y };
        for (negative, half, point) in [(negative, first, point), (below, second, turned)] {
            if half != 0 {
                self.points.push(if negative { -point } else { point });
                self.halves.push(half);
            }
        }
    }

    /// For each window the sum of the points times its digits.
    fn windows(&self, windows: &[usize], width: usize) -> Vec<G1> {
        let buckets = (1 << (width - 1)) + 1;
        let mut members = Vec::with_capacity(self.halves.len() * windows.len());
        for (place, window) in windows.iter().enumerate() {
            for (at, &half) in self.halves.iter().enumerate() {
                let digit = digit(half, window * width, width);
                if digit != 0 {
                    let bucket = (place * buckets) as u32 + digit.unsigned_abs();
                    members.push((bucket, at as u32 * 2 + u32::from(digit < 0)));
                }
            }
        }
        let sums = sums(&self.points, &members, buckets * windows.len());
        sums.chunks(buckets).map(weighted).collect()
    }
}

/// Whether a scalar is nearer to the order than to zero, and what it is from there.
fn magnitude(scalar: &Fr) -> (bool, [u64; 4]) {
    let plain = limbs(*scalar);
    // Half of the order is above 2^252, and what is small below zero is above that.
    if plain[3] >> 60 < 2 {
        return (false, plain);
    }
    let opposite = limbs(-*scalar);
    if opposite[3] <= plain[3] {
        (true, opposite)
    } else {
        (false, plain)
    }
}

/// The digit in [-2^(width-1), 2^(width-1)] at a bit (Booth): digits of neighbouring windows overlap in one bit.
fn digit(value: u128, bit: usize, width: usize) -> i32 {
    let mask = (2u32 << width) - 1;
    let taken = if bit == 0 { (value << 1) as u32 } else { (value >> (bit - 1)) as u32 } & mask;
    let digit = ((taken + 1) >> 1) as i32;
    if taken >> width == 1 {
        digit - (1 << width)
    } else {
        digit
    }
}

/// The sum of each group's points. A member is its group, and twice the place of its point, plus one for its negative.
fn sums(points: &[G1Affine], members: &[(u32, u32)], groups: usize) -> Vec<G1Affine> {
    let mut ends = vec![0u32; groups + 1];
    for &(group, _) in members {
        ends[group as usize + 1] += 1;
    }
    for group in 0..groups {
        ends[group + 1] += ends[group];
    }
    let mut order = vec![0u32; members.len()];
    let mut next = ends.clone();
    for &(group, member) in members {
        let place = &mut next[group as usize];
        order[*place as usize] = member;
        *place += 1;
    }
    let mut sums = vec![G1Affine::identity(); groups];
    let mut trees = Trees::default();
    let mut from = 0;
    while from < groups {
        let most = ends[from] + BLOCK;
        let to = (from + 1).max(ends.partition_point(|&end| end <= most) - 1);
        let members = &order[ends[from] as usize..ends[to] as usize];
        trees.points.clear();
        trees.points.extend(members.iter().map(|&member| {
            let point = points[(member / 2) as usize];
            G1Affine { x: point.x, y: if member % 2 == 1 { -point.y } else { point.y } }
        }));
        trees.lengths.clear();
        trees.lengths.extend(ends[from..=to].windows(2).map(|w| w[1] - w[0]));
        while trees.round() {}
        let filled = sums[from..to].iter_mut().zip(&trees.lengths).filter(|(_, length)| **length == 1);
        for ((sum, _), value) in filled.zip(&trees.points) {
            *sum = *value;
        }
        from = to;
    }
    sums
}

/// Groups of points that stand one after the other.
#[derive(Default)]
struct Trees {
    points: Vec<G1Affine>,
    lengths: Vec<u32>,
    /// Where the pairs of a round begin, and the products of what stands before them.
    pairs: Vec<u32>,
    products: Vec<Fq>,
}

impl Trees {
    /// Adds neighbours in each group, all with one inversion; whether there were any.
    fn round(&mut self) -> bool {
        self.pairs.clear();
        self.products.clear();
        let mut from = 0;
        let mut product = Fq::ONE;
        for &length in &self.lengths {
            for at in (from..from + length - length % 2).step_by(2) {
                let (left, right) = (self.points[at as usize], self.points[at as usize + 1]);
                let gap = right.x - left.x;
                if gap == Fq::ZERO || identity(&left) || identity(&right) {
                    // rare, and left to the complete formulas
                    self.points[at as usize] = (G1::from(left) + right).to_affine();
                    continue;
                }
                self.pairs.push(at);
                self.products.push(product);
                product *= gap;
            }
            from += length;
        }
        let mut inverse = product.invert().unwrap_or(Fq::ONE); // a product of gaps that are not zero
        for (&at, before) in self.pairs.iter().zip(&self.products).rev() {
            let (left, right) = (self.points[at as usize], self.points[at as usize + 1]);
            let slope = (right.y - left.y) * inverse * before;
            inverse *= right.x - left.x;
            let x = slope.square() - left.x - right.x;
            self.points[at as usize] = G1Affine { x, y: slope * (left.x - x) - left.y };
        }
        // Sums close up, what had no neighbour behind those of its group.
        let (mut from, mut to) = (0, 0);
        for length in &mut self.lengths {
            let left = length.div_ceil(2);
            for pair in 0..left {
                self.points[(to + pair) as usize] = self.points[(from + 2 * pair) as usize];
            }
            from += *length;
            to += left;
            *length = left;
        }
        let any = to < from;
        self.points.truncate(to as usize);
        any
    }
}

/// Compared as integers: the library's own test takes constant time, which is as long as an addition.
fn identity(point: &G1Affine) -> bool {
    point.x == Fq::ZERO && point.y == Fq::ZERO
}

/// The sum of each point times its place: places are parted in two digits, and the sums over each digit, which are
/// affine additions, leave few points that are added one after the other.
fn weighted(points: &[G1Affine]) -> G1 {
    let bits = usize::BITS - (points.len() - 1).leading_zeros();
    let low = bits / 2;
    if points.len() < FEW {
        return rising(points);
    }
    let present = || (0..points.len() as u32).filter(|&at| !identity(&points[at as usize]));
    let rows: Vec<(u32, u32)> = present().map(|at| (at >> low, at * 2)).collect();
    let columns: Vec<(u32, u32)> = present().map(|at| (at & ((1 << low) - 1), at * 2)).collect();
    let rows = rising(&sums(points, &rows, (points.len() >> low) + 1));
    let columns = rising(&sums(points, &columns, 1 << low));
    (0..low).fold(rows, |sum, _| sum.double()) + columns
}

/// The sum of each point times its place, from the last.
fn rising(points: &[G1Affine]) -> G1 {
    let (mut running, mut sum) = (G1::identity(), G1::identity());
    for point in points.iter().skip(1).rev() {
        running += point;
        sum += running;
    }
    sum
}

/// A hasher of limbs, which are as good as random where there are many.
#[derive(Default)]
struct Limbs(u64);

impl Hasher for Limbs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, limb: u64) {
        self.0 = (self.0.rotate_left(5) ^ limb).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::PrimeField;
    use rand::rngs::OsRng;

    fn random_points(count: usize) -> Vec<G1Affine> {
        let points: Vec<G1> = (0..count).map(|_| G1::generator() * Fr::random(OsRng)).collect();
        crate::batch::normalise(&points)
    }

    fn expected(scalars: &[Fr], points: &[G1Affine]) -> G1 {
        scalars.iter().zip(points).map(|(scalar, point)| point * scalar).sum()
    }

    #[test]
    fn products_are_those_of_one_after_the_other() {
        let few = |i: usize| Fr::from(i as u64 % 5);
        let kinds: [fn(usize) -> Fr; 6] = [
            |_| Fr::random(OsRng),
            |i| Fr::from(i as u64 * 77),
            |i| -Fr::from(i as u64 * 77),
            |i| Fr::from(1 << 40) * Fr::from(i as u64 % 7) - Fr::ONE,
            |i| if i % 3 == 0 { -Fr::from(1 << 33) } else { Fr::ZERO },
            |i| Fr::from_u128(u128::MAX) * Fr::from(i as u64 % 3),
        ];
        for count in [0, 1, 2, 33, 700] {
            let points = random_points(count);
            for kind in kinds {
                let scalars: Vec<Fr> = (0..count).map(kind).collect();
                assert_eq!(multiply(&scalars, &points), expected(&scalars, &points));
            }
            let mixed: Vec<Fr> = (0..count).map(|i| kinds[i % kinds.len()](i) + few(i)).collect();
            assert_eq!(multiply(&mixed, &points), expected(&mixed, &points));
        }
    }

    #[test]
    fn points_may_be_equal_opposite_or_nothing() {
        let point = random_points(1)[0];
        let points = [point, point, -point, G1Affine::identity(), point, -point, point];
        let one = Fr::random(OsRng);
        for scalars in
            [[one; 7], [Fr::ONE; 7], [3, 5, 8, 1, 0, 2, 2].map(Fr::from), [1, 2, 3, 4, 5, 6, 7].map(Fr::from)]
        {
            assert_eq!(multiply(&scalars, &points), expected(&scalars, &points));
        }
    }

    #[test]
    fn digits_add_up() {
        for value in [0, 1, 77, u128::MAX, u128::MAX / 3, 1 << 127] {
            for width in 2..=14 {
                let mut sum = Fr::ZERO;
                for window in (0..=BITS / width).rev() {
                    let digit = digit(value, window * width, width);
                    assert!(digit.unsigned_abs() <= 1 << (width - 1));
                    let part = Fr::from(u64::from(digit.unsigned_abs()));
                    sum = sum * Fr::from(1 << width) + if digit < 0 { -part } else { part };
                }
                assert_eq!(sum, Fr::from_u128(value), "{value} {width}");
            }
        }
    }
}
