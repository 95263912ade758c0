//! The transcript of a proof, read strictly: every point and scalar in its one encoding.

use std::io;

use ff::PrimeField;
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::transcript::{Blake2bRead, Challenge255, Transcript, TranscriptRead, TranscriptReadBuffer};

use crate::bytes::{decode_point, WORD};
use crate::Error;

type Inner<'a> = Blake2bRead<&'a [u8], G1Affine, Challenge255<G1Affine>>;

pub struct StrictRead<'a> {
    state: Inner<'a>,
    rest: &'a [u8],
    /// The first points read, as many as were asked for: the commitments of the first columns.
    pub first: Vec<G1Affine>,
    wanted: usize,
}

impl<'a> StrictRead<'a> {
    pub fn new(proof: &'a [u8], wanted: usize) -> Self {
        Self { state: Inner::init(&[]), rest: proof, first: Vec::new(), wanted }
    }

    fn word(&mut self) -> io::Result<&'a [u8]> {
        if self.rest.len() < WORD {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the proof ends too early"));
        }
        let (word, rest) = self.rest.split_at(WORD);
        self.rest = rest;
        Ok(word)
    }

    pub fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::new("further bytes stand behind the proof"))
        }
    }
}

impl Transcript<G1Affine, Challenge255<G1Affine>> for StrictRead<'_> {
    fn squeeze_challenge(&mut self) -> Challenge255<G1Affine> {
        self.state.squeeze_challenge()
    }

    fn common_point(&mut self, point: G1Affine) -> io::Result<()> {
        self.state.common_point(point)
    }

    fn common_scalar(&mut self, scalar: Fr) -> io::Result<()> {
        self.state.common_scalar(scalar)
    }
}

impl TranscriptRead<G1Affine, Challenge255<G1Affine>> for StrictRead<'_> {
    fn read_point(&mut self) -> io::Result<G1Affine> {
        let point = decode_point(self.word()?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a point is not one in its one encoding"))?;
        if self.first.len() < self.wanted {
            self.first.push(point);
        }
        self.state.common_point(point)?;
        Ok(point)
    }

    fn read_scalar(&mut self) -> io::Result<Fr> {
        let mut encoded = <Fr as PrimeField>::Repr::default();
        encoded.as_mut().copy_from_slice(self.word()?);
        let scalar: Option<Fr> = Fr::from_repr(encoded).into();
        let scalar =
            scalar.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a scalar is not below the modulus"))?;
        self.state.common_scalar(scalar)?;
        Ok(scalar)
    }
}
