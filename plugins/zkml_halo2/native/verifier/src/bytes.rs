//! Reading bytes of untrusted origin: never more than there are, and points and scalars in their one encoding.

use group::GroupEncoding;
use halo2_axiom::halo2curves::bn256::G1Affine;

use crate::Error;

/// Bytes of a compressed point, and of a scalar.
pub const WORD: usize = 32;

pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    pub fn fail(&self, reason: &str) -> Error {
        Error(format!("{}: {reason}", self.what))
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        if count > self.rest.len() {
            return Err(self.fail("it ends too early"));
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    pub fn number(&mut self, bytes: usize) -> Result<u64, Error> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// A number of at most `limit`.
    pub fn count(&mut self, bytes: usize, limit: usize) -> Result<usize, Error> {
        let number = self.number(bytes)?;
        match usize::try_from(number) {
            Ok(number) if number <= limit => Ok(number),
            _ => Err(self.fail("a count is beyond what is allowed")),
        }
    }

    pub fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.count(1, 1)? == 1)
    }

    pub fn point(&mut self) -> Result<G1Affine, Error> {
        let taken = self.take(WORD)?;
        decode_point(taken).ok_or_else(|| self.fail("a point is not one in its one encoding"))
    }

    pub fn points(&mut self, count: usize) -> Result<Vec<G1Affine>, Error> {
        (0..count).map(|_| self.point()).collect()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.fail("further bytes stand behind it"))
        }
    }
}

/// A point of the first group, which has prime order, from its one compressed encoding.
pub fn decode_point(bytes: &[u8]) -> Option<G1Affine> {
    let mut encoded = <G1Affine as GroupEncoding>::Repr::default();
    encoded.as_mut().copy_from_slice(bytes.get(..WORD)?);
    let point: Option<G1Affine> = G1Affine::from_bytes(&encoded).into();
    // The decoder ignores bits that the encoder never sets.
    point.filter(|point| point.to_bytes().as_ref() == encoded.as_ref())
}
