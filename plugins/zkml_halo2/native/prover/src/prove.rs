//! Proofs: halo2's, and behind it the link to the registered weights.

use std::path::Path;

use balance_zkml_circuit::{statement::public_column, witness, ModelCircuit};
use balance_zkml_verifier::hiding::{hide, BLIND_BYTES};
use balance_zkml_verifier::key::{Key, BLINDED};
use balance_zkml_verifier::statement::{bind, Statement, CONTEXT_BYTES};
use balance_zkml_verifier::verify::{bound, Commitment, Given, OF_ANSWER};
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

/// The commitments that a proof's first columns are linked to, and the scalars in the blinding rows of each.
pub struct Linked<'a> {
    pub points: Vec<G1Affine>,
    pub blinds: Vec<Vec<Fr>>,
    pub blinding: &'a [G1Affine],
}

/// A proof in one transcript: what it is about, the points that it is linked to, halo2's proof, the link.
pub fn proof_bytes<C: Circuit<Fr>>(
    params: &Powers,
    key: &VerifyingKey<G1Affine>,
    empty: &C,
    circuit: C,
    public: &[&[Fr]],
    bound: impl FnOnce(&mut Write) -> Result<(), Error>,
    linked: &Linked,
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
    for point in &linked.points {
        transcript.common_point(*point).map_err(failed)?;
    }
    create_proof::<Scheme, Opener<'_>, _, _, _, _>(params, &proving, &[circuit], &[public], random, &mut transcript)
        .map_err(|error| Error(format!("halo2 makes no proof: {error:?}")))?;
    if !linked.points.is_empty() {
        // halo2 draws the blinding rows of its first phase column by column, and the linked columns are its first.
        let differences: Vec<Vec<Fr>> = linked
            .blinds
            .iter()
            .map(|blinds| blinds.iter().map(|blind| Fr::random(&mut again) - blind).collect())
            .collect();
        let nonces: Vec<Fr> = (0..BLINDED).map(|_| Fr::random(OsRng)).collect();
        link::prove(&mut transcript, linked.blinding, &differences, &nonces).map_err(failed)?;
    }
    Ok(transcript.finalize())
}

/// Proves the answer to inputs (in the order of the model), hidden behind a commitment if there is something to blind it
/// with; what it returns was verified. `watch` is told of each part of the work as it begins.
#[allow(clippy::too_many_arguments)]
pub fn prove(
    structure: &[u8],
    values: &[u8],
    key_bytes: &[u8],
    srs: &Path,
    committed: Option<(Given, &[u8])>,
    context: [u8; CONTEXT_BYTES],
    inputs: &[Vec<i64>],
    blind: Option<&[u8; BLIND_BYTES]>,
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
    let mut statement = Statement { context, inputs: vec![], hidden: vec![], outputs: witness.outputs.clone() };
    let mut linked = Linked { points: vec![], blinds: vec![], blinding: &key.blinding };
    match (&key.registered, committed) {
        (Some(registered), Some((given, opening))) => {
            linked.points = Commitment::decode(given.bytes, registered)?.columns;
            linked.blinds = Opening::decode(opening, registered.form.columns)?.blinds;
        }
        (None, None) => {}
        _ => return Err(Error::new("a commitment belongs to private weights, and only to them")),
    }
    match (key.shape.hidden, blind) {
        (true, Some(blind)) => {
            let made = hide(&key, key_bytes, &context, inputs, blind)?;
            linked.points.extend_from_slice(&made.points);
            linked.blinds.extend(made.blinds);
            statement.hidden = made.points;
        }
        (false, None) => statement.inputs = inputs.to_vec(),
        _ => return Err(Error::new("what blinds inputs belongs to private ones, and only to them")),
    }
    let given = committed.map(|(given, _)| given);
    let empty = ModelCircuit { layout: &layout, weights: &weights, witness: None };
    let circuit = ModelCircuit { layout: &layout, weights: &weights, witness: Some(&witness) };
    let halo2 = proof_bytes(
        &params,
        &key.main,
        &empty,
        circuit,
        &[&public],
        |transcript| bind(transcript, OF_ANSWER, &bound(key_bytes, given, &context)),
        &linked,
    )?;
    params.begin(Phase::Verify);
    let mut proof = statement.encode(key.public_inputs(), &key.outputs);
    proof.extend_from_slice(&halo2);
    let stated = verify::proof(&key, key_bytes, given, &proof)?;
    if stated != statement {
        return Err(Error::new("the proof states something else than it was made for"));
    }
    Ok(proof)
}
