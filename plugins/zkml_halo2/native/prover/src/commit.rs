//! Commitments to private weights, with the proof that they are in their ranges.

use std::path::Path;

use balance_zkml_circuit::registration::{Digits, RegistrationCircuit};
use balance_zkml_circuit::weights;
use balance_zkml_verifier::bytes::WORD;
use balance_zkml_verifier::key::{Key, BLINDED};
use balance_zkml_verifier::statement::bind;
use balance_zkml_verifier::verify::{Commitment, Given, OF_REGISTRATION, PROVIDER_BYTES};
use balance_zkml_verifier::{verify, Error};
use ff::{Field, PrimeField};
use group::Curve;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::poly::commitment::{Blind, Params};
use halo2_axiom::poly::EvaluationDomain;
use rand::rngs::OsRng;

use crate::keys::{layout_of, model_and_weights};
use crate::prove::{proof_bytes, proving_key, Linked};
use crate::string::Powers;

type Domain = EvaluationDomain<Fr>;

/// What only the provider keeps: the blinding of each registered column.
#[derive(Clone, Debug)]
pub struct Opening {
    pub blinds: Vec<Vec<Fr>>,
}

impl Opening {
    fn random(columns: usize) -> Self {
        Self { blinds: (0..columns).map(|_| (0..BLINDED).map(|_| Fr::random(OsRng)).collect()).collect() }
    }

    pub fn encode(&self) -> Vec<u8> {
        self.blinds.iter().flatten().flat_map(|blind| blind.to_repr().as_ref().to_vec()).collect()
    }

    pub fn decode(bytes: &[u8], columns: usize) -> Result<Self, Error> {
        if bytes.len() != columns * BLINDED * WORD {
            return Err(Error::new("the opening is not one of this circuit's commitment"));
        }
        let scalar = |word: &[u8]| {
            let mut encoded = <Fr as PrimeField>::Repr::default();
            encoded.as_mut().copy_from_slice(word);
            Option::<Fr>::from(Fr::from_repr(encoded)).ok_or_else(|| Error::new("the opening is damaged"))
        };
        let scalars: Vec<Fr> = bytes.chunks(WORD).map(scalar).collect::<Result<_, _>>()?;
        Ok(Self { blinds: scalars.chunks(BLINDED).map(<[Fr]>::to_vec).collect() })
    }

    /// The commitments that it opens.
    pub fn points(&self, params: &Powers, domain: &Domain, columns: &[Vec<u64>]) -> Vec<G1Affine> {
        let n = params.n() as usize;
        let committed = |(column, blinds): (&Vec<u64>, &Vec<Fr>)| {
            let mut polynomial = domain.empty_lagrange();
            for (cell, &value) in polynomial.iter_mut().zip(column) {
                *cell = Fr::from(value);
            }
            polynomial[n - BLINDED..].copy_from_slice(blinds);
            params.commit_lagrange(&polynomial, Blind::default()).to_affine()
        };
        columns.iter().zip(&self.blinds).map(committed).collect()
    }
}

/// Commits to weights with fresh blinding, for one provider; returns the commitment's bytes and its opening.
pub fn commit(
    structure: &[u8],
    values: &[u8],
    key_bytes: &[u8],
    srs: &Path,
    provider: &[u8; PROVIDER_BYTES],
) -> Result<(Vec<u8>, Opening), Error> {
    let (model, weights) = model_and_weights(structure, Some(values))?;
    let key = Key::decode(key_bytes)?;
    let registered =
        key.registered.as_ref().ok_or_else(|| Error::new("the weights are public: nothing to commit to"))?;
    let layout = layout_of(&model, &key)?;
    let params = Powers::read(srs, key.shape.k)?;
    let columns = weights::columns(&layout, &weights)?;
    let opening = Opening::random(columns.len());
    let points = opening.points(&params, registered.key.get_domain(), &columns);
    let digits = Digits::of(&model, &layout);
    let empty = RegistrationCircuit { digits: &digits, weights: None };
    let circuit = RegistrationCircuit { digits: &digits, weights: Some(&columns) };
    let linked = Linked { points: points.clone(), blinds: opening.blinds.clone(), blinding: &key.blinding };
    let proving = proving_key(&params, &registered.key, &empty)?;
    let proof = proof_bytes(
        &params,
        &proving,
        &circuit,
        &[],
        |transcript| bind(transcript, OF_REGISTRATION, &[key_bytes, provider]),
        &linked,
    )?;
    let bytes = Commitment::encode(&points, &proof);
    verify::commitment(&key, key_bytes, Given { bytes: &bytes, provider })?;
    Ok((bytes, opening))
}
