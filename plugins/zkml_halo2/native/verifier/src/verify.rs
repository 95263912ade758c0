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

fn check<'a>(
    params: &ParamsKZG<Bn256>,
    key: &VerifyingKey<G1Affine>,
    public: &[&[Fr]],
    mut transcript: StrictRead<'a>,
    registered: Option<(&Registered, &[G1Affine])>,
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
    if let Some((registered, columns)) = registered {
        let fresh = std::mem::take(&mut transcript.first);
        link::verify(&mut transcript, &registered.blinding, &fresh, columns)?;
    }
    transcript.end()
}

fn absorb(transcript: &mut StrictRead, points: &[G1Affine]) -> Result<(), Error> {
    for point in points {
        transcript.common_point(*point).map_err(|error| Error::new(error.to_string()))?;
    }
    Ok(())
}

/// Checks a commitment's own proof.
pub fn commitment<'a>(key: &Key, key_bytes: &[u8], bytes: &'a [u8]) -> Result<Commitment<'a>, Error> {
    let registered = key.registered.as_ref().ok_or_else(|| Error::new("the weights are public: no commitment"))?;
    let commitment = Commitment::decode(bytes, registered)?;
    let mut transcript = StrictRead::new(commitment.proof, registered.form.columns);
    bind(&mut transcript, OF_REGISTRATION, &[key_bytes])?;
    absorb(&mut transcript, &commitment.columns)?;
    check(&key.params()?, &registered.key, &[], transcript, Some((registered, &commitment.columns)))
        .map_err(|error| Error(format!("model commitment: {error}")))?;
    Ok(commitment)
}

/// Checks a proof to its last byte and returns what it states.
pub fn proof(key: &Key, key_bytes: &[u8], commitment_bytes: Option<&[u8]>, proof: &[u8]) -> Result<Statement, Error> {
    let columns = match (&key.registered, commitment_bytes) {
        (Some(_), Some(bytes)) => Some(commitment(key, key_bytes, bytes)?.columns),
        (None, None) => None,
        (Some(_), None) => return Err(Error::new("the model commitment is missing")),
        (None, Some(_)) => return Err(Error::new("the weights are public: there is no commitment")),
    };
    let mut source = Reader::new(proof, "proof");
    let statement = Statement::decode(&mut source, &key.inputs, &key.outputs)?;
    let public =
        column(key.public_rows, key.shape.packed, &key.inputs, &key.outputs, &statement.inputs, &statement.outputs)?;
    let columns = columns.unwrap_or_default();
    let mut transcript = StrictRead::new(source.rest(), columns.len());
    bind(&mut transcript, OF_ANSWER, &[key_bytes, &statement.context])?;
    absorb(&mut transcript, &columns)?;
    let registered = key.registered.as_ref().map(|registered| (registered, &columns[..]));
    check(&key.params()?, &key.main, &[&public], transcript, registered)?;
    Ok(statement)
}
