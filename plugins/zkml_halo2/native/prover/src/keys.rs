//! Plans and verifying keys.

use std::io::Read;
use std::path::Path;

use balance_zkml_circuit::registration::{Digits, RegistrationCircuit};
use balance_zkml_circuit::{lower, place, plan, weights::digits_of, Layout, ModelCircuit, Plan};
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
    let steps = lower(model, key.limits)?;
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
    let values = match options {
        Options::Private => None,
        Options::Public(values) => Some(*values),
    };
    let (model, weights) = model_and_weights(structure, values)?;
    let Plan { layout, limits } = plan(&model, values.is_none(), None)?;
    let params = read_params(srs, layout.shape.k)?;
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
        cut: cut(&params)?,
        public_rows: layout.public_rows,
        inputs: layout.inputs,
        outputs: layout.outputs,
        main,
        registered,
    };
    Ok(key)
}
