//! Plans and verifying keys.

use std::io::Read;
use std::path::Path;

use balance_zkml_circuit::registration::{Digits, RegistrationCircuit};
use balance_zkml_circuit::{hidden, lower, place, plan, weights::digits_of, Layout, ModelCircuit, Plan, Secret};
use balance_zkml_model::{read_structure, read_weights, structure_digest, Model};
use balance_zkml_verifier::key::{Key, Registered, BLINDED};
use balance_zkml_verifier::Error;
use ff::Field;
use group::Curve;
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine};
use halo2_axiom::plonk::{keygen_vk_custom, VerifyingKey};
use halo2_axiom::poly::commitment::{Blind, Params, ParamsProver};
use halo2_axiom::poly::kzg::commitment::ParamsKZG;
use halo2_axiom::SerdeFormat;

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

/// Reads a reference string that its store has checked: 2^k powers, and no more.
pub fn read_params(path: &Path, k: u32) -> Result<ParamsKZG<Bn256>, Error> {
    let failed = |error: std::io::Error| Error(format!("the reference string cannot be read: {error}"));
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed)?;
    let size = 4 + (2usize << k) * 64 + 256;
    if bytes.len() != size || bytes[..4] != k.to_le_bytes() {
        return Err(Error(format!("the reference string is not one of 2^{k} powers")));
    }
    ParamsKZG::read_custom(&mut &bytes[..], SerdeFormat::RawBytesUnchecked).map_err(failed)
}

/// The string cut to its first power.
fn cut(params: &ParamsKZG<Bn256>) -> Result<Vec<u8>, Error> {
    let g = params.get_g()[0];
    let one = params.from_parts(0, vec![g], Some(vec![g]), params.g2(), params.s_g2());
    let mut bytes = Vec::new();
    one.write_custom(&mut bytes, SerdeFormat::RawBytes).map_err(|error| Error(error.to_string()))?;
    Ok(bytes)
}

/// The layout that a key was made of, made again.
pub fn layout_of(model: &Model, key: &Key) -> Result<Layout, Error> {
    let steps = lower(model, key.limits, key.shape.hidden)?;
    Ok(place(&steps, key.shape, key.limits, &|node| digits_of(model, node))?)
}

fn keygen<C>(params: &ParamsKZG<Bn256>, circuit: &C) -> Result<VerifyingKey<G1Affine>, Error>
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
    let params = read_params(srs, layout.shape.k)?;
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
        cut: cut(&params)?,
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
