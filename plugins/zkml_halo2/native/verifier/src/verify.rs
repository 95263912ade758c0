//! Verification of commitments and of proofs.

use balance_zkml_circuit::statement::column;
use group::GroupEncoding;
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine};
use halo2_axiom::plonk::{verify_proof, VerifyingKey};
use halo2_axiom::poly::commitment::ParamsProver;
use halo2_axiom::poly::kzg::commitment::{KZGCommitmentScheme, ParamsKZG};
use halo2_axiom::poly::kzg::multiopen::VerifierSHPLONK;
use halo2_axiom::poly::kzg::strategy::SingleStrategy;
use halo2_axiom::transcript::Transcript;

use crate::bytes::Reader;
use crate::key::{Key, Registered};
use crate::statement::{bind, Statement};
use crate::transcript::StrictRead;
use crate::{link, Error};

/// What the transcripts are about.
pub const OF_REGISTRATION: &str = "registration of weights";
pub const OF_ANSWER: &str = "answer";

/// Bytes of a provider's key.
pub const PROVIDER_BYTES: usize = 32;

/// A model commitment as it is handed over: its bytes, and the key of the provider that it was made for.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    pub bytes: &'a [u8],
    pub provider: &'a [u8; PROVIDER_BYTES],
}

/// A commitment to private weights: a point for each column, and the proof that they hold what they should.
pub struct Commitment<'a> {
    pub columns: Vec<G1Affine>,
    pub proof: &'a [u8],
}

impl<'a> Commitment<'a> {
    pub fn decode(bytes: &'a [u8], registered: &Registered) -> Result<Self, Error> {
        let mut source = Reader::new(bytes, "model commitment");
        let columns = source.points(registered.form.columns)?;
        Ok(Self { columns, proof: source.rest() })
    }

    pub fn encode(columns: &[G1Affine], proof: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = columns.iter().flat_map(|point| point.to_bytes().as_ref().to_vec()).collect();
        out.extend_from_slice(proof);
        out
    }
}

fn check(
    params: &ParamsKZG<Bn256>,
    key: &VerifyingKey<G1Affine>,
    public: &[&[Fr]],
    mut transcript: StrictRead,
    blinding: &[G1Affine],
    linked: &[G1Affine],
) -> Result<(), Error> {
    let strategy = SingleStrategy::new(params);
    verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, _>(
        params.verifier_params(),
        key,
        strategy,
        &[public],
        &mut transcript,
    )
    .map_err(|error| Error(format!("halo2 refuses it: {error:?}")))?;
    if !linked.is_empty() {
        let fresh = std::mem::take(&mut transcript.first);
        link::verify(&mut transcript, blinding, &fresh, linked)?;
    }
    transcript.end()
}

fn absorb(transcript: &mut StrictRead, points: &[G1Affine]) -> Result<(), Error> {
    for point in points {
        transcript.common_point(*point).map_err(|error| Error::new(error.to_string()))?;
    }
    Ok(())
}

/// Checks a commitment's own proof, which holds for one key and one provider.
pub fn commitment<'a>(key: &Key, key_bytes: &[u8], given: Given<'a>) -> Result<Commitment<'a>, Error> {
    let registered = key.registered.as_ref().ok_or_else(|| Error::new("the weights are public: no commitment"))?;
    let commitment = Commitment::decode(given.bytes, registered)?;
    let mut transcript = StrictRead::new(commitment.proof, registered.form.columns);
    bind(&mut transcript, OF_REGISTRATION, &[key_bytes, given.provider])?;
    absorb(&mut transcript, &commitment.columns)?;
    check(&key.params()?, &registered.key, &[], transcript, &key.blinding, &commitment.columns)
        .map_err(|error| Error(format!("model commitment: {error}")))?;
    Ok(commitment)
}

/// Returns the columns of a commitment that keeps its promise, none where weights are public.
fn columns(key: &Key, key_bytes: &[u8], given: Option<Given>) -> Result<Vec<G1Affine>, Error> {
    match (&key.registered, given) {
        (Some(_), Some(given)) => Ok(commitment(key, key_bytes, given)?.columns),
        (None, None) => Ok(vec![]),
        (Some(_), None) => Err(Error::new("the model commitment is missing")),
        (None, Some(_)) => Err(Error::new("the weights are public: there is no commitment")),
    }
}

/// What all proofs under a key and a commitment have in common, decoded and checked once.
pub struct Prepared {
    pub key: Key,
    pub key_bytes: Vec<u8>,
    /// The commitment's columns, none where weights are public.
    pub columns: Vec<G1Affine>,
    params: ParamsKZG<Bn256>,
    given: Option<(Vec<u8>, [u8; PROVIDER_BYTES])>,
}

impl Prepared {
    pub fn new(key_bytes: &[u8], given: Option<Given>) -> Result<Self, Error> {
        let key = Key::decode(key_bytes)?;
        let params = key.params()?;
        let columns = columns(&key, key_bytes, given)?;
        let given = given.map(|given| (given.bytes.to_vec(), *given.provider));
        Ok(Self { key, params, key_bytes: key_bytes.to_vec(), given, columns })
    }

    /// What the transcript of a proof in this context absorbs before anything else.
    pub fn bound<'a>(&'a self, context: &'a [u8]) -> [&'a [u8]; 4] {
        let (bytes, provider) = self.given.as_ref().map_or((&[][..], &[][..]), |(bytes, provider)| (bytes, provider));
        [&self.key_bytes, context, bytes, provider]
    }

    /// Checks a proof to its last byte and returns what it states.
    pub fn proof(&self, proof: &[u8]) -> Result<Statement, Error> {
        let key = &self.key;
        let mut source = Reader::new(proof, "proof");
        let statement =
            Statement::decode(&mut source, key.shape.hidden_columns(), key.public_inputs(), &key.outputs)?;
        let public = column(
            key.public_rows,
            key.shape.packed,
            key.public_inputs(),
            &key.outputs,
            &statement.inputs,
            &statement.outputs,
        )?;
        let linked = [&self.columns[..], &statement.hidden].concat();
        let mut transcript = StrictRead::new(source.rest(), linked.len());
        bind(&mut transcript, OF_ANSWER, &self.bound(&statement.context))?;
        absorb(&mut transcript, &linked)?;
        check(&self.params, &key.main, &[&public], transcript, &key.blinding, &linked)?;
        Ok(statement)
    }
}
