//! Commitments to hidden inputs: whoever knows the inputs and the secret that blinds them makes the same ones again.
//!
//! Column l is committed to as sum_i value_i L_i + b_l B, over the Lagrange points of its rows and of the first blinding row.
//! One uniform b_l for each column hides it perfectly. The b_l are drawn from the secret, the key, the context and the values
//! themselves, so that a secret that is used twice blinds other inputs otherwise.

use balance_zkml_circuit::hidden;
use blake2b_simd::Params;
use ff::{Field, FromUniformBytes};
use group::Curve;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::halo2curves::msm::msm_best;

use crate::key::{Key, BLINDED};
use crate::statement::CONTEXT_BYTES;
use crate::Error;

pub const BLIND_BYTES: usize = 32;

/// Commitments to the columns of hidden inputs, and the scalars in the blinding rows of each.
pub struct Hidden {
    pub points: Vec<G1Affine>,
    pub blinds: Vec<Vec<Fr>>,
}

/// Commits to inputs for one request; refuses a key whose inputs are public.
pub fn hide(
    key: &Key,
    key_bytes: &[u8],
    context: &[u8; CONTEXT_BYTES],
    inputs: &[Vec<i64>],
    secret: &[u8; BLIND_BYTES],
) -> Result<Hidden, Error> {
    let first = key.blinding.first().filter(|_| key.shape.hidden);
    let first = *first.ok_or_else(|| Error::new("the inputs of this key are public"))?;
    let columns = hidden::cells(key.shape.lanes, &key.inputs, inputs)?;
    let rows = hidden::rows_of(&key.inputs);
    let mut state = Params::new().hash_length(64).key(secret).personal(b"balance-inputs-1").to_state();
    state.update(&(key_bytes.len() as u64).to_le_bytes()).update(key_bytes).update(context);
    for value in inputs.iter().flatten() {
        state.update(&value.to_le_bytes());
    }
    let seed = state.finalize();
    let mut made = Hidden { points: Vec::new(), blinds: Vec::new() };
    for (lane, cells) in columns.iter().enumerate() {
        let mut state = Params::new().hash_length(64).key(secret).personal(b"balance-blinds-1").to_state();
        let drawn = state.update(seed.as_bytes()).update(&(lane as u64).to_le_bytes()).finalize();
        let blind = Fr::from_uniform_bytes(drawn.as_array());
        let (mut scalars, mut bases) = (vec![blind], vec![first]);
        for &(row, value) in cells {
            let at = rows.binary_search(&row).ok().and_then(|at| key.lagrange.get(at));
            bases.push(*at.ok_or_else(|| Error::new("verifying key: a row of inputs has no point"))?);
            scalars.push(Fr::from(value));
        }
        made.points.push(msm_best(&scalars, &bases).to_affine());
        let mut blinds = vec![Fr::ZERO; BLINDED];
        blinds[0] = blind;
        made.blinds.push(blinds);
    }
    Ok(made)
}
