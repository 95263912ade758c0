//! What stands before halo2's proof: the context and the public values, and how they are bound to the transcript.

use balance_zkml_circuit::layout::PublicPart;
use blake2b_simd::Params;
use ff::PrimeField;
use group::GroupEncoding;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::transcript::{Challenge255, Transcript};

use crate::bytes::Reader;
use crate::Error;

pub const CONTEXT_BYTES: usize = 32;

/// Context, inputs and outputs, as a proof states them. Where inputs are hidden there are commitments in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub context: [u8; CONTEXT_BYTES],
    pub inputs: Vec<Vec<i64>>,
    /// The commitment to each column of hidden inputs.
    pub hidden: Vec<G1Affine>,
    pub outputs: Vec<Vec<i64>>,
}

/// Bytes of each value of a part: the fewest that hold hi - lo.
fn width(part: &PublicPart) -> usize {
    let span = (i128::from(part.hi) - i128::from(part.lo)) as u64;
    (64 - span.leading_zeros()).div_ceil(8).max(1) as usize
}

impl Statement {
    pub fn encode(&self, inputs: &[PublicPart], outputs: &[PublicPart]) -> Vec<u8> {
        let mut out = self.context.to_vec();
        for point in &self.hidden {
            out.extend_from_slice(point.to_bytes().as_ref());
        }
        for (parts, values) in [(inputs, &self.inputs), (outputs, &self.outputs)] {
            for (part, values) in parts.iter().zip(values) {
                for &value in values {
                    let raised = (i128::from(value) - i128::from(part.lo)) as u64;
                    out.extend_from_slice(&raised.to_le_bytes()[..width(part)]);
                }
            }
        }
        out
    }

    /// Reads a statement of so many columns of hidden inputs, or of public ones.
    pub fn decode(
        source: &mut Reader,
        hidden: usize,
        inputs: &[PublicPart],
        outputs: &[PublicPart],
    ) -> Result<Self, Error> {
        let mut context = [0; CONTEXT_BYTES];
        context.copy_from_slice(source.take(CONTEXT_BYTES)?);
        let hidden = source.points(hidden)?;
        let mut read = |parts: &[PublicPart]| -> Result<Vec<Vec<i64>>, Error> {
            let mut tensors = Vec::with_capacity(parts.len());
            for part in parts {
                let mut values = Vec::with_capacity(part.cells.len());
                for _ in 0..part.cells.len() {
                    let value = i128::from(source.number(width(part))?) + i128::from(part.lo);
                    if value > i128::from(part.hi) {
                        return Err(source.fail("a public value leaves its interval"));
                    }
                    values.push(value as i64);
                }
                tensors.push(values);
            }
            Ok(tensors)
        };
        let inputs = read(inputs)?;
        let outputs = read(outputs)?;
        Ok(Self { context, inputs, hidden, outputs })
    }
}

/// Binds a transcript to what it is about: two scalars from a digest of the purpose and all parts, each with its length.
pub fn bind<T: Transcript<G1Affine, Challenge255<G1Affine>>>(
    transcript: &mut T,
    purpose: &str,
    parts: &[&[u8]],
) -> Result<(), Error> {
    let mut state = Params::new().hash_length(32).personal(b"balance-zkml-1").to_state();
    for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
        state.update(&(part.len() as u64).to_le_bytes());
        state.update(part);
    }
    let digest = state.finalize();
    for half in digest.as_bytes().chunks(16) {
        let number = half.iter().rev().fold(0u128, |sum, &byte| sum << 8 | u128::from(byte));
        transcript.common_scalar(Fr::from_u128(number)).map_err(|error| Error::new(error.to_string()))?;
    }
    Ok(())
}
