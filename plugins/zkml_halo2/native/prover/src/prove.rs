//! Proofs: halo2's, and behind it the link to the registered weights.

use std::path::Path;

use balance_zkml_circuit::{statement::public_column, witness, Layout, ModelCircuit};
use balance_zkml_verifier::hiding::{hide, BLIND_BYTES};
use balance_zkml_verifier::key::{Key, BLINDED};
use balance_zkml_verifier::statement::{bind, Statement, CONTEXT_BYTES};
use balance_zkml_verifier::verify::{bound, Commitment, Given, OF_ANSWER, PROVIDER_BYTES};
use balance_zkml_verifier::{link, verify, Error};
use ff::Field;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::plonk::{keygen_pk, Circuit, ProvingKey, VerifyingKey};
use halo2_axiom::transcript::{Transcript, TranscriptWriterBuffer};
use rand::rngs::OsRng;

use crate::argument::{self, Write};
use crate::commit::Opening;
use crate::keys::{layout_of, model_and_weights, Weights};
use crate::string::{Phase, Powers, Watch};

/// The commitments that a proof's first columns are linked to, and the scalars in the blinding rows of each.
pub struct Linked<'a> {
    pub points: Vec<G1Affine>,
    pub blinds: Vec<Vec<Fr>>,
    pub blinding: &'a [G1Affine],
}

/// The proving key of a circuit, which `empty` lays out.
pub fn proving_key<C: Circuit<Fr>>(
    params: &Powers,
    key: &VerifyingKey<G1Affine>,
    empty: &C,
) -> Result<ProvingKey<G1Affine>, Error> {
    params.begin(Phase::Key);
    keygen_pk(params, key.clone(), empty).map_err(|error| Error(format!("halo2 makes no key: {error:?}")))
}

/// A proof in one transcript: what it is about, the points that it is linked to, halo2's proof, the link.
pub fn proof_bytes<C: Circuit<Fr>>(
    params: &Powers,
    proving: &ProvingKey<G1Affine>,
    circuit: &C,
    public: &[&[Fr]],
    bound: impl FnOnce(&mut Write) -> Result<(), Error>,
    linked: &Linked,
) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| Error(error.to_string());
    let mut transcript = Write::init(Vec::new());
    bound(&mut transcript)?;
    for point in &linked.points {
        transcript.common_point(*point).map_err(failed)?;
    }
    let blinding = argument::prove(params, proving, circuit, public, &mut transcript)?;
    if !linked.points.is_empty() {
        // The linked columns are the circuit's first.
        let minus =
            |(own, other): (&Vec<Fr>, &Vec<Fr>)| own.iter().zip(other).map(|(own, other)| *own - other).collect();
        let differences: Vec<Vec<Fr>> = blinding.iter().zip(&linked.blinds).map(minus).collect();
        let nonces: Vec<Fr> = (0..BLINDED).map(|_| Fr::random(OsRng)).collect();
        link::prove(&mut transcript, linked.blinding, &differences, &nonces).map_err(failed)?;
    }
    Ok(transcript.finalize())
}

/// The commitment of private weights, and what opens it.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    pub given: Given<'a>,
    pub opening: &'a [u8],
}

/// Private weights as they were registered: commitment and provider, and the same points with their blinding.
struct Registered {
    commitment: Vec<u8>,
    provider: [u8; PROVIDER_BYTES],
    points: Vec<G1Affine>,
    blinds: Vec<Vec<Fr>>,
}

impl Registered {
    fn given(&self) -> Given<'_> {
        Given { bytes: &self.commitment, provider: &self.provider }
    }
}

/// Proves answers of one model under one key; what all proofs share is made once.
pub struct Prover {
    key: Key,
    key_bytes: Vec<u8>,
    layout: Layout,
    weights: Weights,
    registered: Option<Registered>,
    params: Powers,
    proving: ProvingKey<G1Affine>,
}

impl Prover {
    /// The weights are in `values`, and committed if the key hides them. `watch` is told of each part of the work as it
    /// begins.
    pub fn new(
        structure: &[u8],
        values: &[u8],
        key_bytes: &[u8],
        srs: &Path,
        committed: Option<Committed>,
        watch: Watch,
    ) -> Result<Self, Error> {
        watch(Phase::Layout);
        let (model, weights) = model_and_weights(structure, Some(values))?;
        let key = Key::decode(key_bytes)?;
        let registered = match (&key.registered, committed) {
            (Some(registered), Some(Committed { given, opening })) => Some(Registered {
                commitment: given.bytes.to_vec(),
                provider: *given.provider,
                points: Commitment::decode(given.bytes, registered)?.columns,
                blinds: Opening::decode(opening, registered.form.columns)?.blinds,
            }),
            (None, None) => None,
            _ => return Err(Error::new("a commitment belongs to private weights, and only to them")),
        };
        let layout = layout_of(&model, &key)?;
        let params = Powers::read(srs, key.shape.k)?;
        let empty = ModelCircuit { layout: &layout, weights: &weights, witness: None };
        let proving = proving_key(&params.watched(watch), &key.main, &empty)?;
        Ok(Self { key, key_bytes: key_bytes.to_vec(), layout, weights, registered, params, proving })
    }

    /// Proves the answer to inputs (in the order of the model), hidden behind a commitment if there is something to blind it
    /// with; what it returns was verified.
    pub fn prove(
        &self,
        context: [u8; CONTEXT_BYTES],
        inputs: &[Vec<i64>],
        blind: Option<&[u8; BLIND_BYTES]>,
        watch: Watch,
    ) -> Result<Vec<u8>, Error> {
        let (key, key_bytes) = (&self.key, &self.key_bytes);
        let params = self.params.watched(watch);
        params.begin(Phase::Witness);
        let witness = witness::fill(&self.layout, &self.weights, inputs)?;
        let public = public_column(&self.layout, inputs, &witness.outputs)?;
        let mut statement = Statement { context, inputs: vec![], hidden: vec![], outputs: witness.outputs.clone() };
        let mut linked = Linked { points: vec![], blinds: vec![], blinding: &key.blinding };
        if let Some(registered) = &self.registered {
            linked.points.clone_from(&registered.points);
            linked.blinds.clone_from(&registered.blinds);
        }
        match (key.shape.hidden, blind) {
            (true, Some(blind)) => {
                let made = hide(key, key_bytes, &context, inputs, blind)?;
                linked.points.extend_from_slice(&made.points);
                linked.blinds.extend(made.blinds);
                statement.hidden = made.points;
            }
            (false, None) => statement.inputs = inputs.to_vec(),
            _ => return Err(Error::new("what blinds inputs belongs to private ones, and only to them")),
        }
        let given = self.registered.as_ref().map(Registered::given);
        let circuit = ModelCircuit { layout: &self.layout, weights: &self.weights, witness: Some(&witness) };
        let halo2 = proof_bytes(
            &params,
            &self.proving,
            &circuit,
            &[&public],
            |transcript| bind(transcript, OF_ANSWER, &bound(key_bytes, given, &context)),
            &linked,
        )?;
        params.begin(Phase::Verify);
        let mut proof = statement.encode(key.public_inputs(), &key.outputs);
        proof.extend_from_slice(&halo2);
        let stated = verify::proof(key, key_bytes, given, &proof)?;
        if stated != statement {
            return Err(Error::new("the proof states something else than it was made for"));
        }
        Ok(proof)
    }
}
