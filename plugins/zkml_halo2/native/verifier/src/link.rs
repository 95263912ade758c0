//! The link between the weight columns of a proof and the registered ones: one Schnorr proof of representation.
//!
//! A proof commits to weight column j as F_j, with fresh blinding in its last rows; R_j is registered, with blinding of its
//! own. Both hold the same weights if and only if F_j - R_j is a combination of the Lagrange points of the blinding rows. One
//! proof does for all columns: with gamma drawn after all F_j and R_j, the prover shows that it knows z_i with
//!
//! ```text
//! sum_i z_i L_i = T + c * sum_j gamma^j (F_j - R_j)
//! ```
//!
//! in the transcript of the proof itself, after everything else.

use ff::Field;
use group::{Curve, Group};
use halo2_axiom::arithmetic::best_multiexp;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine, G1};
use halo2_axiom::transcript::{Challenge255, TranscriptRead, TranscriptWrite};

use crate::Error;

type Encoded = Challenge255<G1Affine>;

/// sum gamma^j x_j.
fn combined(x: &[Fr], gamma: Fr) -> Fr {
    x.iter().rev().fold(Fr::ZERO, |sum, x| sum * gamma + x)
}

/// Appends the link: `differences` are, by column, those of the blinding scalars of F_j and R_j.
pub fn prove<T: TranscriptWrite<G1Affine, Encoded>>(
    transcript: &mut T,
    points: &[G1Affine],
    differences: &[Vec<Fr>],
    nonces: &[Fr],
) -> std::io::Result<()> {
    let gamma: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let masked: G1 = points.iter().zip(nonces).map(|(point, nonce)| *point * *nonce).sum();
    transcript.write_point(masked.to_affine())?;
    let c: Fr = *transcript.squeeze_challenge_scalar::<()>();
    for (row, nonce) in nonces.iter().enumerate() {
        let of_columns: Vec<Fr> = differences.iter().map(|column| column[row]).collect();
        transcript.write_scalar(*nonce + c * combined(&of_columns, gamma))?;
    }
    Ok(())
}

/// Reads the link and checks it.
pub fn verify<T: TranscriptRead<G1Affine, Encoded>>(
    transcript: &mut T,
    points: &[G1Affine],
    fresh: &[G1Affine],
    registered: &[G1Affine],
) -> Result<(), Error> {
    let broken = |error: std::io::Error| Error::new(error.to_string());
    if fresh.len() != registered.len() {
        return Err(Error::new("the proof commits to another number of weight columns"));
    }
    let gamma: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let masked = transcript.read_point().map_err(broken)?;
    let c: Fr = *transcript.squeeze_challenge_scalar::<()>();
    // As one sum, which must be zero: sum_i z_i L_i - T - c * sum_j gamma^j F_j + c * sum_j gamma^j R_j.
    let mut scalars = Vec::with_capacity(points.len() + 1 + 2 * fresh.len());
    for _ in points {
        scalars.push(transcript.read_scalar().map_err(broken)?);
    }
    scalars.push(-Fr::ONE);
    let weights: Vec<Fr> = std::iter::successors(Some(c), |weight| Some(weight * gamma)).take(fresh.len()).collect();
    scalars.extend(weights.iter().map(|weight| -weight));
    scalars.extend(&weights);
    let bases = [points, &[masked], fresh, registered].concat();
    if best_multiexp(&scalars, &bases) == G1::identity() {
        Ok(())
    } else {
        Err(Error::new("the weights are not the registered ones"))
    }
}
