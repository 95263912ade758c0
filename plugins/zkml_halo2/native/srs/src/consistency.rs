//! Whether points are consecutive powers of the secret behind s_g2, and others the Lagrange basis of the same.
//!
//! With a random t, taken after the points are fixed, and n points g_j on either side:
//!
//! - A = sum t^j g_j, and g_0 the generator: e((A - g_0) / t, g2) = e(A - t^(n-1) g_(n-1), s_g2) says that
//!   sum over j < n-1 of t^j (g_(j+1) - s g_j) is zero;
//! - the polynomial sum (t X)^j = ((t X)^n - 1) / (t X - 1) has the value (t^n - 1) / (t w^i - 1) at the i-th root of
//!   unity, so sum of that times l_i must be A again.
//!
//! Both are polynomials in t of degree below n whose coefficients are the deviations of single points (for the second,
//! of their Fourier transform): wrong points pass for at most n of the 2^254 values of t.

use ff::Field;
use group::prime::PrimeCurveAffine;
use group::{Curve, Group};
use halo2_axiom::arithmetic::best_multiexp;
use halo2_axiom::halo2curves::bn256::{pairing, Fr, G1Affine, G2Affine, G1};
use rand::rngs::OsRng;

use crate::group_fft::root_of_unity;
use crate::Error;

/// Takes the powers, then the Lagrange basis, in order and in pieces of any size, and tells whether all is consistent.
pub struct Consistency {
    k: u32,
    t: Fr,
    /// t^j for the next power g_j, then w^i for the next l_i.
    next: Fr,
    powers: G1,
    lagrange: G1,
    last: G1Affine,
    seen: usize,
}

impl Consistency {
    /// Starts the check of a string of 2^k powers, with a fresh challenge.
    pub fn new(k: u32) -> Self {
        let (powers, lagrange) = (G1::identity(), G1::identity());
        Self { k, t: Fr::random(OsRng), next: Fr::ONE, powers, lagrange, last: G1Affine::identity(), seen: 0 }
    }

    /// Takes the next powers; the first of all must be the generator.
    pub fn powers(&mut self, points: &[G1Affine]) -> Result<(), Error> {
        if self.seen == 0 && points.first().is_some_and(|&first| first != G1Affine::generator()) {
            return Err(Error::new("the first power is not the generator of the first group"));
        }
        let factors = self.geometric(points.len(), self.t);
        self.powers += best_multiexp(&factors, points);
        self.last = points.last().copied().unwrap_or(self.last);
        self.seen += points.len();
        Ok(())
    }

    /// Compares the powers with s_g2 once all were taken.
    pub fn end_of_powers(&mut self, g2: &G2Affine, s_g2: &G2Affine) -> Result<(), Error> {
        if self.seen != 1 << self.k {
            return Err(Error::new(format!("{} powers are not 2^{}", self.seen, self.k)));
        }
        let inverse = Option::<Fr>::from(self.t.invert()).ok_or(Error::Stopped)?;
        let from_second = (self.powers - G1Affine::generator()) * inverse;
        let to_last_but_one = self.powers - self.last * (self.next * inverse);
        if pairing(&from_second.to_affine(), g2) != pairing(&to_last_but_one.to_affine(), s_g2) {
            return Err(Error::new("the points are not consecutive powers of the secret behind s_g2"));
        }
        (self.next, self.seen) = (Fr::ONE, 0);
        Ok(())
    }

    /// Takes the next points of the Lagrange basis.
    pub fn lagrange(&mut self, points: &[G1Affine]) {
        let mut factors = self.geometric(points.len(), root_of_unity(self.k));
        factors.iter_mut().for_each(|root| *root = self.t * *root - Fr::ONE);
        crate::batch::invert(&mut factors);
        let scale = self.t.pow_vartime([1 << self.k]) - Fr::ONE;
        self.lagrange += best_multiexp(&factors, points) * scale;
        self.seen += points.len();
    }

    /// Compares the Lagrange basis with the powers once all of it was taken.
    pub fn end_of_lagrange(&self) -> Result<(), Error> {
        if self.seen != 1 << self.k || self.lagrange != self.powers {
            return Err(Error::new("the Lagrange basis does not belong to the powers"));
        }
        Ok(())
    }

    /// The next powers of a ratio.
    fn geometric(&mut self, count: usize, ratio: Fr) -> Vec<Fr> {
        let next = &mut self.next;
        let step = |_| {
            let now = *next;
            *next *= ratio;
            now
        };
        (0..count).map(step).collect()
    }
}
