//! The link between the weight columns of a proof and the registered ones: one Schnorr proof of representation.
//!
//! A proof commits to weight column j as F_j, with fresh blinding in its last rows; R_j is registered, with blinding of its
//! own. Both hold the same weights if and only if F_j - R_j is a combination of the Lagrange points of the blinding rows. One
//! proof does for all columns: with gamma drawn after all F_j and R_j, the prover shows that it knows z_i with
//!
//!     sum_i z_i L_i = T + c * sum_j gamma^j (F_j - R_j)
//!
//! in the transcript of the proof itself, after everything else.

use ff::Field;
use group::{Curve, Group};
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine, G1};
use halo2_axiom::transcript::{Challenge255, TranscriptRead, TranscriptWrite};

use crate::Error;

type Encoded = Challenge255<G1Affine>;

/// sum gamma^j x_j.
fn combined<T: Clone + std::ops::Add<Output = T> + std::ops::Mul<Fr, Output = T>>(zero: T, x: &[T], gamma: Fr) -> T {
    x.iter().rev().fold(zero, |sum, x| sum * gamma + x.clone())
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
        transcript.write_scalar(*nonce + c * combined(Fr::ZERO, &of_columns, gamma))?;
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
    let mut shown = G1::identity();
    for point in points {
        shown += *point * transcript.read_scalar().map_err(broken)?;
    }
    let differences: Vec<G1> = fresh.iter().zip(registered).map(|(f, r)| G1::from(*f) - G1::from(*r)).collect();
    let difference = combined(G1::identity(), &differences, gamma);
    if shown == G1::from(masked) + difference * c {
        Ok(())
    } else {
        Err(Error::new("the weights are not the registered ones"))
    }
}
