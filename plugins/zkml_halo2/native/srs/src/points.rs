//! Points as bytes: coordinates of 32 bytes, little-endian, in Montgomery form; everything read is checked.

use group::cofactor::CofactorGroup;
use group::prime::PrimeCurveAffine;
use halo2_axiom::halo2curves::bn256::{G1Affine, G2Affine, G2};
use halo2_axiom::halo2curves::serde::SerdeObject;
use halo2_axiom::halo2curves::CurveAffine;
use rayon::prelude::*;

use crate::Error;

/// Size of a point of the first group.
pub const G1_BYTES: usize = 64;
/// Size of a point of the second group.
pub const G2_BYTES: usize = 128;

/// Reads points of G1, the first of which has the place `first` in messages.
///
/// Each must have coordinates below p, lie on the curve (which has no other points than those of the group), and not be
/// the identity, which no power and no Lagrange polynomial at an honest secret is.
pub fn decode_g1(bytes: &[u8], first: usize) -> Result<Vec<G1Affine>, Error> {
    let decode = |(place, bytes): (usize, &[u8])| {
        let point = <G1Affine as SerdeObject>::from_raw_bytes(bytes);
        let sound = point.filter(|point| bool::from(point.is_on_curve() & !point.is_identity()));
        sound.ok_or_else(|| Error::new(format!("point {} is not a point of the curve", first + place)))
    };
    bytes.par_chunks(G1_BYTES).enumerate().with_min_len(256).map(decode).collect()
}

/// Appends points of G1.
pub fn encode_g1(points: &[G1Affine]) -> Vec<u8> {
    points.iter().flat_map(|point| point.to_raw_bytes()).collect()
}

/// Reads g2 and s_g2: the first must be the generator, the second a point of its group other than the identity.
pub(crate) fn decode_g2_pair(bytes: &[u8; 2 * G2_BYTES]) -> Result<(G2Affine, G2Affine), Error> {
    let read = |bytes: &[u8]| {
        let point = <G2Affine as SerdeObject>::from_raw_bytes(bytes);
        let on_curve = point.filter(|point| bool::from(point.is_on_curve() & !point.is_identity()));
        on_curve.filter(|point| bool::from(G2::from(*point).is_torsion_free()))
    };
    let g2 = read(&bytes[..G2_BYTES]).filter(|&point| point == G2Affine::generator());
    let g2 = g2.ok_or_else(|| Error::new("g2 is not the generator of the second group"))?;
    let s_g2 = read(&bytes[G2_BYTES..]).ok_or_else(|| Error::new("s_g2 is not a point of the second group"))?;
    Ok((g2, s_g2))
}

/// The bytes of g2 and s_g2.
pub(crate) fn encode_g2_pair(g2: &G2Affine, s_g2: &G2Affine) -> Vec<u8> {
    [g2.to_raw_bytes(), s_g2.to_raw_bytes()].concat()
}
