//! Plans and verifying keys.

use std::path::Path;

use balance_zkml_circuit::registration::{Digits, RegistrationCircuit};
use balance_zkml_circuit::{hidden, lower, place, plan, weights::digits_of, Layout, ModelCircuit, Plan, Secret};
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

/// What a key is to hide, and what it is to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    pub secret: Secret,
    /// The encoded weights, if they are public.
    pub values: Option<&'a [u8]>,
    /// The number of rows is 2^k; by default the cheapest.
    pub k: Option<u32>,
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

pub fn plan_of(structure: &[u8], options: &Options) -> Result<Plan, Error> {
    let (model, _) = model_and_weights(structure, None)?;
    Ok(plan(&model, options.secret, options.k)?)
}

/// The layout that a key was made of, made again.
pub fn layout_of(model: &Model, key: &Key) -> Result<Layout, Error> {
    let steps = lower(model, key.limits, key.shape.hidden)?;
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
    if options.secret.weights == options.values.is_some() {
        return Err(Error::new("values belong to public weights, and only to them"));
    }
    let (model, weights) = model_and_weights(structure, options.values)?;
    let Plan { layout, limits } = plan(&model, options.secret, options.k)?;
    let params = Powers::read(srs, layout.shape.k)?;
    let main = keygen(&params, &ModelCircuit { layout: &layout, weights: &weights, witness: None })?;
    let registered = if layout.shape.private {
        let digits = Digits::of(&model, &layout);
        if !digits.fits() {
            return Err(Error::new("the digits of the weights fit no table of so few rows"));
        }
        let key = keygen(&params, &RegistrationCircuit { digits: &digits, weights: None })?;
        Some(Registered { form: digits.form(), key })
    } else {
        None
    };
    let n = params.n() as usize;
    let point = |row: usize| {
        let mut polynomial = main.get_domain().empty_lagrange();
        polynomial[row] = Fr::ONE;
        params.commit_lagrange(&polynomial, Blind::default()).to_affine()
    };
    let linked = layout.shape.private || layout.shape.hidden;
    let blinding = (n - BLINDED..n).filter(|_| linked).map(point).collect();
    let lagrange = hidden::rows(&layout).into_iter().map(|row| point(row as usize)).collect();
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
        blinding,
        lagrange,
    };
    Ok(key)
}
