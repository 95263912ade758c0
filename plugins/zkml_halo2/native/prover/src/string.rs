//! The reference string as a prover uses it: halo2's scheme, with sums of points of our own (`balance_zkml_srs::multiply`),
//! which are the same points in less time, and with word of how far a proof has come.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use balance_zkml_srs::{lagrange_basis, multiply, G1_BYTES};
use balance_zkml_verifier::Error;
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine, G1};
use halo2_axiom::halo2curves::serde::SerdeObject;
use halo2_axiom::poly::commitment::{Blind, CommitmentScheme, Params, ParamsProver, Prover};
use halo2_axiom::poly::kzg::commitment::{KZGCommitmentScheme, ParamsKZG};
use halo2_axiom::poly::kzg::multiopen::ProverSHPLONK;
use halo2_axiom::poly::{Coeff, LagrangeCoeff, Polynomial, ProverQuery};
use halo2_axiom::transcript::{EncodedChallenge, TranscriptWrite};
use halo2_axiom::SerdeFormat;
use rand::RngCore;

/// Parts of the work, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Layout,
    Witness,
    Key,
    Commit,
    Quotient,
    Open,
    Verify,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::Witness => "witness",
            Self::Key => "key",
            Self::Commit => "commit",
            Self::Quotient => "quotient",
            Self::Open => "open",
            Self::Verify => "verify",
        }
    }
}

/// Is told when a part of the work begins; may unwind to stop it.
pub type Watch = Arc<dyn Fn(Phase) + Send + Sync>;

/// Nobody is told.
pub fn unwatched() -> Watch {
    Arc::new(|_| {})
}

/// The powers of a string and their Lagrange basis.
#[derive(Clone)]
pub struct Powers {
    /// Without a Lagrange basis of its own.
    inner: ParamsKZG<Bn256>,
    lagrange: Vec<G1Affine>,
    watch: Watch,
    commits: Arc<AtomicUsize>,
    late: Arc<AtomicUsize>,
}

impl fmt::Debug for Powers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "2^{} powers", self.inner.k())
    }
}

impl Powers {
    fn new(whole: &ParamsKZG<Bn256>, lagrange: Vec<G1Affine>) -> Self {
        let powers = whole.get_g().to_vec();
        Self {
            inner: whole.from_parts(whole.k(), powers, Some(Vec::new()), whole.g2(), whole.s_g2()),
            lagrange,
            watch: unwatched(),
            commits: Arc::default(),
            late: Arc::default(),
        }
    }

    /// Reads a reference string that its store has checked: 2^k powers, and no more.
    pub fn read(path: &Path, k: u32) -> Result<Self, Error> {
        let failed = |error: io::Error| Error(format!("the reference string cannot be read: {error}"));
        let mut bytes = Vec::new();
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed)?;
        let half = G1_BYTES << k;
        let size = 4 + 2 * half + 256;
        if bytes.len() != size || bytes[..4] != k.to_le_bytes() {
            return Err(Error(format!("the reference string is not one of 2^{k} powers")));
        }
        let whole = ParamsKZG::read_custom(&mut &bytes[..], SerdeFormat::RawBytesUnchecked).map_err(failed)?;
        let points = bytes[4 + half..4 + 2 * half].chunks_exact(G1_BYTES);
        Ok(Self::new(&whole, points.map(G1Affine::from_raw_bytes_unchecked).collect()))
    }

    /// The same with word of a proof's parts.
    pub fn watched(self, watch: Watch) -> Self {
        Self { watch, ..self }
    }

    /// Says that a part begins.
    pub fn begin(&self, phase: Phase) {
        (self.watch)(phase);
    }

    pub fn inner(&self) -> &ParamsKZG<Bn256> {
        &self.inner
    }

    /// The string cut to its first power.
    pub fn cut(&self) -> Result<Vec<u8>, Error> {
        let g = self.inner.get_g()[0];
        let one = self.inner.from_parts(0, vec![g], Some(vec![g]), self.inner.g2(), self.inner.s_g2());
        let mut bytes = Vec::new();
        one.write_custom(&mut bytes, SerdeFormat::RawBytes).map_err(|error| Error(error.to_string()))?;
        Ok(bytes)
    }
}

type Msm = <ParamsKZG<Bn256> as Params<'static, G1Affine>>::MSM;

impl<'params> Params<'params, G1Affine> for Powers {
    type MSM = Msm;

    fn k(&self) -> u32 {
        self.inner.k()
    }

    fn n(&self) -> u64 {
        self.inner.n()
    }

    fn downsize(&mut self, k: u32) {
        let powers = &self.inner.get_g()[..1 << k];
        // as many powers as were asked for, and nobody to stop it
        let lagrange = lagrange_basis(powers, k, &|| Ok(())).unwrap_or_default();
        let whole = self.inner.from_parts(k, powers.to_vec(), Some(Vec::new()), self.inner.g2(), self.inner.s_g2());
        *self = Self::new(&whole, lagrange).watched(self.watch.clone());
    }

    fn empty_msm(&'params self) -> Msm {
        self.inner.empty_msm()
    }

    fn commit_lagrange(&self, polynomial: &Polynomial<Fr, LagrangeCoeff>, _: Blind<Fr>) -> G1 {
        if self.commits.fetch_add(1, Ordering::Relaxed) == 0 {
            self.begin(Phase::Commit);
        }
        multiply(polynomial, &self.lagrange[..polynomial.len()])
    }

    fn write<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        self.inner.write(writer)?;
        self.lagrange.iter().try_for_each(|point| point.write_raw(writer))
    }

    fn read<R: Read>(reader: &mut R) -> io::Result<Self> {
        let inner = ParamsKZG::read(reader)?;
        let lagrange = lagrange_basis(inner.get_g(), inner.k(), &|| Ok(()));
        Ok(Self::new(&inner, lagrange.map_err(|error| io::Error::other(error.to_string()))?))
    }
}

impl<'params> ParamsProver<'params, G1Affine> for Powers {
    type ParamsVerifier = ParamsKZG<Bn256>;

    fn new(k: u32) -> Self {
        let whole = <ParamsKZG<Bn256> as ParamsProver<G1Affine>>::new(k);
        let lagrange = lagrange_basis(whole.get_g(), k, &|| Ok(())).unwrap_or_default();
        Self::new(&whole, lagrange)
    }

    fn commit(&self, polynomial: &Polynomial<Fr, Coeff>, _: Blind<Fr>) -> G1 {
        // The first is of the random polynomial, behind which the quotient is computed.
        if self.late.fetch_add(1, Ordering::Relaxed) == 0 {
            self.begin(Phase::Quotient);
        }
        multiply(polynomial, &self.inner.get_g()[..polynomial.len()])
    }

    fn get_g(&self) -> &[G1Affine] {
        self.inner.get_g()
    }

    fn verifier_params(&'params self) -> &'params ParamsKZG<Bn256> {
        &self.inner
    }
}

/// halo2's KZG scheme over such a string.
#[derive(Debug)]
pub struct Scheme;

impl CommitmentScheme for Scheme {
    type Scalar = Fr;
    type Curve = G1Affine;
    type ParamsProver = Powers;
    type ParamsVerifier = ParamsKZG<Bn256>;

    fn new_params(k: u32) -> Powers {
        <Powers as ParamsProver<G1Affine>>::new(k)
    }

    fn read_params<R: Read>(reader: &mut R) -> io::Result<Powers> {
        <Powers as Params<G1Affine>>::read(reader)
    }
}

/// halo2's SHPLONK.
#[derive(Debug)]
pub struct Opener<'a> {
    powers: &'a Powers,
}

impl<'a> Prover<'a, Scheme> for Opener<'a> {
    const QUERY_INSTANCE: bool = <ProverSHPLONK<'a, Bn256> as Prover<'a, KZGCommitmentScheme<Bn256>>>::QUERY_INSTANCE;

    fn new(powers: &'a Powers) -> Self {
        Self { powers }
    }

    fn create_proof<'com, E, T, R, I>(&self, random: R, transcript: &mut T, queries: I) -> io::Result<()>
    where
        E: EncodedChallenge<G1Affine>,
        T: TranscriptWrite<G1Affine, E>,
        I: IntoIterator<Item = ProverQuery<'com, G1Affine>> + Clone,
        R: RngCore,
    {
        self.powers.begin(Phase::Open);
        let halo2 = <ProverSHPLONK<'a, Bn256> as Prover<'a, KZGCommitmentScheme<Bn256>>>::new(&self.powers.inner);
        Prover::create_proof(&halo2, random, transcript, queries)
    }
}
