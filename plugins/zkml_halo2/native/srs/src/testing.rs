//! Strings for tests: whoever ran this may have kept the secret, and could prove anything with it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use ff::{Field, PrimeField};
use group::Curve;
use halo2_axiom::halo2curves::bn256::{Fr, G2Affine};
use rand::rngs::OsRng;
use rayon::prelude::*;

use crate::batch::invert;
use crate::fixed_base::Multiples;
use crate::group_fft::root_of_unity;
use crate::points::{encode_g1, encode_g2_pair};
use crate::{Error, Tick, MAX_K};

const PIECE: usize = 1 << 14;

/// Writes a string of 2^k powers of a secret from the operating system, which is forgotten.
pub fn make_test(k: u32, target: &Path, tick: Tick) -> Result<(), Error> {
    if !(1..=MAX_K).contains(&k) {
        return Err(Error::new(format!("a string has 2^1 to 2^{MAX_K} powers, not 2^{k}")));
    }
    let n = 1usize << k;
    let secret = loop {
        let secret = Fr::random(OsRng);
        // The powers of a root of unity repeat, and its Lagrange basis is zero but for one point.
        if !secret.is_zero_vartime() && secret.pow_vartime([n as u64]) != Fr::ONE {
            break secret;
        }
    };
    let multiples = Multiples::new(2 * n);
    let mut out = BufWriter::new(File::create(target)?);
    out.write_all(&k.to_le_bytes())?;
    let mut write = |scalars: &(dyn Fn(usize, usize) -> Vec<Fr> + Sync)| -> Result<(), Error> {
        for start in (0..n).step_by(PIECE) {
            tick()?;
            let parts = (start..n.min(start + PIECE)).into_par_iter().step_by(1 << 10);
            let scalars: Vec<Fr> = parts.flat_map_iter(|from| scalars(from, n.min(from + (1 << 10)))).collect();
            out.write_all(&encode_g1(&multiples.times(&scalars)))?;
        }
        Ok(())
    };
    write(&|from, to| powers(secret, from, to))?;
    let root = root_of_unity(k);
    // l_i(s) = (s^n - 1) w^i / (n (s - w^i)).
    let scale = (secret.pow_vartime([n as u64]) - Fr::ONE) * Fr::TWO_INV.pow_vartime([u64::from(k)]);
    write(&|from, to| {
        let roots = powers(root, from, to);
        let mut values: Vec<Fr> = roots.iter().map(|root| secret - root).collect();
        invert(&mut values);
        values.iter().zip(&roots).map(|(inverse, root)| scale * root * inverse).collect()
    })?;
    let g2 = G2Affine::generator();
    out.write_all(&encode_g2_pair(&g2, &(g2 * secret).to_affine()))?;
    Ok(out.into_inner().map_err(|error| error.into_error())?.sync_all()?)
}

fn powers(base: Fr, from: usize, to: usize) -> Vec<Fr> {
    let first = base.pow_vartime([from as u64]);
    std::iter::successors(Some(first), |power| Some(power * base)).take(to - from).collect()
}
