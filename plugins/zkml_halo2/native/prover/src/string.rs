//! The reference string as a prover uses it: halo2's, with sums of points of our own (`balance_zkml_srs::multiply`), which are
//! the same points in less time, and with word of how far a proof has come.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use balance_zkml_srs::{lagrange_basis, multiply, G1_BYTES};
use balance_zkml_verifier::Error;
use halo2_axiom::halo2curves::bn256::{Bn256, Fr, G1Affine, G1};
use halo2_axiom::halo2curves::serde::SerdeObject;
use halo2_axiom::poly::commitment::{Blind, Params, ParamsProver};
use halo2_axiom::poly::kzg::commitment::ParamsKZG;
use halo2_axiom::poly::{LagrangeCoeff, Polynomial};
use halo2_axiom::SerdeFormat;

/// Parts of the work, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Layout,
    Key,
    Witness,
    Commit,
    Quotient,
    Open,
    Verify,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::Key => "key",
            Self::Witness => "witness",
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
    inner: Arc<ParamsKZG<Bn256>>,
    lagrange: Arc<Vec<G1Affine>>,
    watch: Watch,
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
            inner: Arc::new(whole.from_parts(whole.k(), powers, Some(Vec::new()), whole.g2(), whole.s_g2())),
            lagrange: Arc::new(lagrange),
            watch: unwatched(),
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

    /// The same powers for one proof, with word of its parts.
    pub fn watched(&self, watch: Watch) -> Self {
        Self { watch, ..self.clone() }
    }

    /// Says that a part begins.
    pub fn begin(&self, phase: Phase) {
        (self.watch)(phase);
    }

    /// The commitment to a polynomial of these coefficients.
    pub fn sum(&self, coefficients: &[Fr]) -> G1 {
        multiply(coefficients, &self.inner.get_g()[..coefficients.len()])
    }

    /// The commitment to a polynomial of these values in the rows.
    pub fn sum_of_values(&self, values: &[Fr]) -> G1 {
        multiply(values, &self.lagrange[..values.len()])
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
        self.sum_of_values(polynomial)
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
