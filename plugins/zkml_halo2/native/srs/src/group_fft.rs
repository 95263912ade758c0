//! The Lagrange basis of powers whose secret nobody knows: an inverse Fourier transform of points.

use ff::{Field, PrimeField};
use group::prime::PrimeCurveAffine;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine, G1};
use rayon::prelude::*;

use crate::batch::normalise;
use crate::glv::Halves;
use crate::{Error, Tick};

/// The root of unity of order 2^k that the prover's domains are made of.
pub(crate) fn root_of_unity(k: u32) -> Fr {
    (k..Fr::S).fold(Fr::ROOT_OF_UNITY, |root, _| root.square())
}

/// Returns the Lagrange basis of 2^k powers: l_i = 1/n sum over j of w^(-ij) g_j.
///
/// About k/2 multiplications of points for each power, over all cores.
pub fn lagrange_basis(powers: &[G1Affine], k: u32, tick: Tick) -> Result<Vec<G1Affine>, Error> {
    let n = powers.len();
    if n != 1 << k {
        return Err(Error::new(format!("{n} powers are not 2^{k}")));
    }
    let scale = Halves::new(Fr::TWO_INV.pow_vartime([u64::from(k)]));
    let mut points: Vec<G1> = (0..n).into_par_iter().map(|i| powers[reversed(i, k)].to_curve()).collect();
    let root = Option::<Fr>::from(root_of_unity(k).invert()).unwrap_or(Fr::ONE); // a root of unity is not zero
    let mut half = 1;
    while half < n {
        tick()?;
        // The root of order 2 half, and its first `half` powers.
        let step = root.pow_vartime([(n / (2 * half)) as u64]);
        let roots: Vec<Fr> = std::iter::successors(Some(Fr::ONE), |root| Some(root * step)).take(half).collect();
        let factors: Vec<Halves> = roots.into_par_iter().map(Halves::new).collect();
        points.par_chunks_mut(2 * half).for_each(|block| {
            let (left, right) = block.split_at_mut(half);
            let pairs = left.par_iter_mut().zip(right).zip(&factors).enumerate().with_min_len(16);
            pairs.for_each(|(at, ((x, y), factor))| {
                let turned = if at == 0 { *y } else { factor.times(y) };
                (*x, *y) = (*x + turned, *x - turned);
            });
        });
        half *= 2;
    }
    tick()?;
    points.par_iter_mut().with_min_len(16).for_each(|point| *point = scale.times(point));
    Ok(points.par_chunks(1 << 10).flat_map_iter(normalise).collect())
}

fn reversed(i: usize, bits: u32) -> usize {
    if bits == 0 {
        0
    } else {
        i.reverse_bits() >> (usize::BITS - bits)
    }
}
