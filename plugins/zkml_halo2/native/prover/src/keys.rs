//! Plans and verifying keys.

use std::path::Path;

use balance_zkml_circuit::registration::{Digits, RegistrationCircuit};
use balance_zkml_circuit::{lower, place, plan, weights::digits_of, Layout, ModelCircuit, Plan};
use balance_zkml_model::{read_structure, read_weights, structure_digest, Model};
use balance_zkml_verifier::key::{Key, Registered, BLINDED};
use balance_zkml_verifier::Error;
use ff::Field;
use group::Curve;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::plonk::{keygen_vk_custom, VerifyingKey};
use halo2_axiom::poly::commitment::{Blind, Params};

use crate::string::Powers;

pub type Weights = Vec<Option<Vec<i64>>>;

/// How weights are treated: hidden, or fixed in the key.
pub enum Options<'a> {
    Private,
    /// The encoded weights.
    Public(&'a [u8]),
}

pub fn model_and_weights(structure: &[u8], weights: Option<&[u8]>) -> Result<(Model, Weights), Error> {
    let refused = |error: balance_zkml_model::Error| Error(error.to_string());
    let model = read_structure(structure).map_err(refused)?;
    let weights = match weights {
        Some(weights) => read_weights(&model, weights).map_err(refused)?,
        None => vec![None; model.nodes.len()],
    };
    Ok((model, weights))
}

pub fn plan_of(structure: &[u8], private: bool) -> Result<Plan, Error> {
    let (model, _) = model_and_weights(structure, None)?;
    Ok(plan(&model, private, None)?)
}

/// The layout that a key was made of, made again.
pub fn layout_of(model: &Model, key: &Key) -> Result<Layout, Error> {
    let steps = lower(model, key.limits)?;
    Ok(place(&steps, key.shape, key.limits, &|node| digits_of(model, node))?)
}

fn keygen<C>(params: &Powers, circuit: &C) -> Result<VerifyingKey<G1Affine>, Error>
where
    C: halo2_axiom::plonk::Circuit<Fr>,
{
    keygen_vk_custom(params, circuit, false).map_err(|error| Error(format!("halo2 makes no key: {error:?}")))
}

/// Makes the key. The structure is planned anew, so a key depends on nothing but its arguments.
pub fn setup(structure: &[u8], srs: &Path, options: &Options) -> Result<Key, Error> {
    let values = match options {
        Options::Private => None,
        Options::Public(values) => Some(*values),
    };
    let (model, weights) = model_and_weights(structure, values)?;
    let Plan { layout, limits } = plan(&model, values.is_none(), None)?;
    let params = Powers::read(srs, layout.shape.k)?;
    let main = keygen(&params, &ModelCircuit { layout: &layout, weights: &weights, witness: None })?;
    let registered = if layout.shape.private {
        let digits = Digits::of(&model, &layout);
        let key = keygen(&params, &RegistrationCircuit { digits: &digits, weights: None })?;
        let n = params.n() as usize;
        let point = |row: usize| {
            let mut polynomial = key.get_domain().empty_lagrange();
            polynomial[row] = Fr::ONE;
            params.commit_lagrange(&polynomial, Blind::default()).to_affine()
        };
        let blinding = (n - BLINDED..n).map(point).collect();
        Some(Registered { form: digits.form(), key, blinding })
    } else {
        None
    };
    let key = Key {
        shape: layout.shape,
        limits,
        structure_digest: structure_digest(structure),
        cut: params.cut()?,
        public_rows: layout.public_rows,
        inputs: layout.inputs,
        outputs: layout.outputs,
        main,
        registered,
    };
    Ok(key)
}
