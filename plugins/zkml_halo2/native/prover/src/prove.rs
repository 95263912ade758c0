//! Proofs: halo2's, and behind it the link to the registered weights.

use std::path::Path;

use balance_zkml_circuit::{statement::public_column, witness, Layout, ModelCircuit};
use balance_zkml_verifier::hiding::{hide, BLIND_BYTES};
use balance_zkml_verifier::key::BLINDED;
use balance_zkml_verifier::statement::{bind, Statement, CONTEXT_BYTES};
use balance_zkml_verifier::verify::{Given, Prepared, OF_ANSWER};
use balance_zkml_verifier::{link, Error};
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

/// Proves answers of one model under one key; what all proofs share is made once.
pub struct Prover {
    verifier: Prepared,
    /// The blinding of the commitment's columns.
    blinds: Vec<Vec<Fr>>,
    layout: Layout,
    weights: Weights,
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
        let verifier = Prepared::new(key_bytes, committed.map(|committed| committed.given))?;
        let key = &verifier.key;
        let blinds = match (&key.registered, committed) {
            (Some(registered), Some(committed)) => {
                Opening::decode(committed.opening, registered.form.columns)?.blinds
            }
            _ => vec![],
        };
        let layout = layout_of(&model, key)?;
        let params = Powers::read(srs, key.shape.k)?;
        let empty = ModelCircuit { layout: &layout, weights: &weights, witness: None };
        let proving = proving_key(&params.watched(watch), &key.main, &empty)?;
        Ok(Self { verifier, blinds, layout, weights, params, proving })
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
        let (verifier, key) = (&self.verifier, &self.verifier.key);
        let params = self.params.watched(watch);
        params.begin(Phase::Witness);
        let witness = witness::fill(&self.layout, &self.weights, inputs)?;
        let public = public_column(&self.layout, inputs, &witness.outputs)?;
        let mut statement = Statement { context, inputs: vec![], hidden: vec![], outputs: witness.outputs.clone() };
        let (points, blinds) = (verifier.columns.clone(), self.blinds.clone());
        let mut linked = Linked { points, blinds, blinding: &key.blinding };
        match (key.shape.hidden, blind) {
            (true, Some(blind)) => {
                let made = hide(key, &verifier.key_bytes, &context, inputs, blind)?;
                linked.points.extend_from_slice(&made.points);
                linked.blinds.extend(made.blinds);
                statement.hidden = made.points;
            }
            (false, None) => statement.inputs = inputs.to_vec(),
            _ => return Err(Error::new("what blinds inputs belongs to private ones, and only to them")),
        }
        let circuit = ModelCircuit { layout: &self.layout, weights: &self.weights, witness: Some(&witness) };
        let halo2 = proof_bytes(
            &params,
            &self.proving,
            &circuit,
            &[&public],
            |transcript| bind(transcript, OF_ANSWER, &verifier.bound(&context)),
            &linked,
        )?;
        params.begin(Phase::Verify);
        let mut proof = statement.encode(key.public_inputs(), &key.outputs);
        proof.extend_from_slice(&halo2);
        let stated = verifier.proof(&proof)?;
        if stated != statement {
            return Err(Error::new("the proof states something else than it was made for"));
        }
        Ok(proof)
    }
}
