//! What a proof opens: the point that the challenges chose, and the values of all polynomials there.
//!
//! For tests of secrecy: whoever collects proofs sees exactly this of what is committed to.

use std::io;

use balance_zkml_verifier::statement::{bind, Statement};
use balance_zkml_verifier::transcript::StrictRead;
use balance_zkml_verifier::verify::{Given, Prepared, OF_ANSWER};
use balance_zkml_verifier::{bytes::Reader, Error};
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine};
use halo2_axiom::plonk::verify_proof;
use halo2_axiom::poly::commitment::ParamsProver;
use halo2_axiom::poly::kzg::commitment::KZGCommitmentScheme;
use halo2_axiom::poly::kzg::multiopen::VerifierSHPLONK;
use halo2_axiom::poly::kzg::strategy::SingleStrategy;
use halo2_axiom::transcript::{Challenge255, EncodedChallenge, Transcript, TranscriptRead};

/// Reads as the verifier does, and remembers the last challenge before the first scalar, and all scalars.
struct Witnessed<'a> {
    inner: StrictRead<'a>,
    last: Fr,
    point: Option<Fr>,
    scalars: Vec<Fr>,
}

impl Transcript<G1Affine, Challenge255<G1Affine>> for Witnessed<'_> {
    fn squeeze_challenge(&mut self) -> Challenge255<G1Affine> {
        let challenge = self.inner.squeeze_challenge();
        self.last = challenge.get_scalar();
        challenge
    }

    fn common_point(&mut self, point: G1Affine) -> io::Result<()> {
        self.inner.common_point(point)
    }

    fn common_scalar(&mut self, scalar: Fr) -> io::Result<()> {
        self.inner.common_scalar(scalar)
    }
}

impl TranscriptRead<G1Affine, Challenge255<G1Affine>> for Witnessed<'_> {
    fn read_point(&mut self) -> io::Result<G1Affine> {
        self.inner.read_point()
    }

    fn read_scalar(&mut self) -> io::Result<Fr> {
        self.point = self.point.or(Some(self.last));
        let scalar = self.inner.read_scalar()?;
        self.scalars.push(scalar);
        Ok(scalar)
    }
}

/// The point and the values that halo2's part of a valid proof opens, in the order in which they stand in it.
pub fn opened(key_bytes: &[u8], given: Option<Given>, proof: &[u8]) -> Result<(Fr, Vec<Fr>), Error> {
    let verifier = Prepared::new(key_bytes, given)?;
    let key = &verifier.key;
    let failed = |error: io::Error| Error::new(error.to_string());
    let mut source = Reader::new(proof, "proof");
    let statement = Statement::decode(&mut source, key.shape.hidden_columns(), key.public_inputs(), &key.outputs)?;
    let public = balance_zkml_circuit::statement::column(
        key.public_rows,
        key.shape.packed,
        key.public_inputs(),
        &key.outputs,
        &statement.inputs,
        &statement.outputs,
    )?;
    let linked = [&verifier.columns[..], &statement.hidden].concat();
    let inner = StrictRead::new(source.rest(), 0);
    let mut transcript = Witnessed { inner, last: Fr::zero(), point: None, scalars: vec![] };
    bind(&mut transcript, OF_ANSWER, &verifier.bound(&statement.context))?;
    for point in linked {
        transcript.common_point(point).map_err(failed)?;
    }
    let params = key.params()?;
    let strategy = SingleStrategy::new(&params);
    verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, _>(
        params.verifier_params(),
        &key.main,
        strategy,
        &[&[&public]],
        &mut transcript,
    )
    .map_err(|error| Error(format!("halo2 refuses it: {error:?}")))?;
    let point = transcript.point.ok_or_else(|| Error::new("nothing is opened"))?;
    Ok((point, transcript.scalars))
}
