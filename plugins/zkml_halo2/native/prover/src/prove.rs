//! Proofs: halo2's, and behind it the link to the registered weights.

use std::path::Path;

use balance_zkml_circuit::{statement::public_column, witness, ModelCircuit};
use balance_zkml_verifier::key::{Key, BLINDED};
use balance_zkml_verifier::statement::{bind, Statement, CONTEXT_BYTES};
use balance_zkml_verifier::verify::{Commitment, OF_ANSWER};
use balance_zkml_verifier::{link, verify, Error};
use ff::Field;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::plonk::{create_proof, keygen_pk, Circuit, VerifyingKey};
use halo2_axiom::transcript::{Blake2bWrite, Challenge255, Transcript, TranscriptWriterBuffer};
use rand::rngs::OsRng;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::commit::Opening;
use crate::keys::{layout_of, model_and_weights};
use crate::string::{Opener, Phase, Powers, Scheme, Watch};

type Write = Blake2bWrite<Vec<u8>, G1Affine, Challenge255<G1Affine>>;

/// The registered columns that a proof's first columns are linked to.
pub struct Linked<'a> {
    pub points: &'a [G1Affine],
    pub opening: &'a Opening,
    pub blinding: &'a [G1Affine],
}

/// A proof in one transcript: what it is about, the registered points, halo2's proof, the link.
pub fn proof_bytes<C: Circuit<Fr>>(
    params: &Powers,
    key: &VerifyingKey<G1Affine>,
    empty: &C,
    circuit: C,
    public: &[&[Fr]],
    bound: impl FnOnce(&mut Write) -> Result<(), Error>,
    linked: Option<Linked>,
) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| Error(error.to_string());
    params.begin(Phase::Key);
    let proving =
        keygen_pk(params, key.clone(), empty).map_err(|error| Error(format!("halo2 makes no key: {error:?}")))?;
    // One seed from the operating system, so that the blinding of the weight columns can be drawn again below.
    let mut seed = <ChaCha20Rng as SeedableRng>::Seed::default();
    OsRng.fill_bytes(&mut seed);
    let random = ChaCha20Rng::from_seed(seed);
    let mut again = random.clone();
    let mut transcript = Write::init(Vec::new());
    bound(&mut transcript)?;
    for point in linked.iter().flat_map(|linked| linked.points) {
        transcript.common_point(*point).map_err(failed)?;
    }
    create_proof::<Scheme, Opener<'_>, _, _, _, _>(params, &proving, &[circuit], &[public], random, &mut transcript)
        .map_err(|error| Error(format!("halo2 makes no proof: {error:?}")))?;
    if let Some(linked) = linked {
        // halo2 draws the blinding rows of its first phase column by column, and the weight columns are its first.
        let differences: Vec<Vec<Fr>> = linked
            .opening
            .blinds
            .iter()
            .map(|blinds| blinds.iter().map(|blind| Fr::random(&mut again) - blind).collect())
            .collect();
        let nonces: Vec<Fr> = (0..BLINDED).map(|_| Fr::random(OsRng)).collect();
        link::prove(&mut transcript, linked.blinding, &differences, &nonces).map_err(failed)?;
    }
    Ok(transcript.finalize())
}

/// Proves the answer to inputs (in the order of the model); what it returns was verified. `watch` is told of each part
/// of the work as it begins.
#[allow(clippy::too_many_arguments)]
pub fn prove(
    structure: &[u8],
    values: &[u8],
    key_bytes: &[u8],
    srs: &Path,
    committed: Option<(&[u8], &[u8])>,
    context: [u8; CONTEXT_BYTES],
    inputs: &[Vec<i64>],
    watch: Watch,
) -> Result<Vec<u8>, Error> {
    watch(Phase::Layout);
    let (model, weights) = model_and_weights(structure, Some(values))?;
    let key = Key::decode(key_bytes)?;
    let layout = layout_of(&model, &key)?;
    let params = Powers::read(srs, key.shape.k)?.watched(watch);
    params.begin(Phase::Witness);
    let witness = witness::fill(&layout, &weights, inputs)?;
    let public = public_column(&layout, inputs, &witness.outputs)?;
    let statement = Statement { context, inputs: inputs.to_vec(), outputs: witness.outputs.clone() };
    let opened = match (&key.registered, committed) {
        (Some(registered), Some((commitment, opening))) => {
            let columns = Commitment::decode(commitment, registered)?.columns;
            Some((columns, Opening::decode(opening, registered.form.columns)?, &registered.blinding))
        }
        (None, None) => None,
        _ => return Err(Error::new("a commitment belongs to private weights, and only to them")),
    };
    let linked = opened.as_ref().map(|(points, opening, blinding)| Linked { points, opening, blinding });
    let empty = ModelCircuit { layout: &layout, weights: &weights, witness: None };
    let circuit = ModelCircuit { layout: &layout, weights: &weights, witness: Some(&witness) };
    let halo2 = proof_bytes(
        &params,
        &key.main,
        &empty,
        circuit,
        &[&public],
        |transcript| bind(transcript, OF_ANSWER, &[key_bytes, &context]),
        linked,
    )?;
    params.begin(Phase::Verify);
    let mut proof = statement.encode(&key.inputs, &key.outputs);
    proof.extend_from_slice(&halo2);
    let stated = verify::proof(&key, key_bytes, committed.map(|(commitment, _)| commitment), &proof)?;
    if stated != statement {
        return Err(Error::new("the proof states something else than it was made for"));
    }
    Ok(proof)
}
