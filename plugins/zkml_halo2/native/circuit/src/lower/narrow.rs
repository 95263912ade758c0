//! Rescaling, clamping and tables: one look-up where the range allows, else by limbs.

use super::{elements_of, Lowering, Narrowing, Value};
use crate::steps::{apply, Affine, Function, Hint, Step};
use crate::Error;

use std::sync::Arc;

/// floor((2x + d) / (2d)).
pub(crate) fn rounded(x: i64, divisor: i64) -> i64 {
    let (x, d) = (i128::from(x), i128::from(divisor));
    (2 * x + d).div_euclid(2 * d) as i64
}

pub(crate) fn bits_for(count: i128) -> u32 {
    // The least b with 2^b >= count.
    if count <= 1 {
        0
    } else {
        128 - (count - 1).leading_zeros()
    }
}

impl Lowering<'_> {
    pub(super) fn narrow(&mut self, narrowing: Narrowing) -> Result<Vec<Affine>, Error> {
        let Narrowing { x, lo, hi, divisor, chain } = narrowing;
        if lo == hi {
            let value = apply(&chain, rounded(lo, divisor));
            return Ok(vec![Affine::constant(value); x.len()]);
        }
        if divisor == 1 && chain.is_empty() {
            return Ok(x);
        }
        let (first, last) = (rounded(lo, divisor), rounded(hi, divisor));
        let window = || divisor <= self.limits.entries && self.window_fits(first, last, &chain);
        if self.remainder_fits(divisor) && (self.table_fits(first, last) || window()) {
            return Ok(self.looked_up(x, lo, hi, divisor, chain));
        }
        if divisor > 1 {
            let two_digits = divisor <= self.limits.entries && self.limits.two_digits(first, last);
            let q = if two_digits {
                self.looked_up(x, lo, hi, divisor, vec![])
            } else {
                self.divided(x, lo, hi, divisor)?
            };
            return self.narrow(Narrowing { x: q, lo: first, hi: last, divisor: 1, chain });
        }
        match chain.first() {
            Some(Function::Clamp { lo: least, hi: most }) => {
                let (least, most, rest) = (*least, *most, chain[1..].to_vec());
                let x = self.clamped(x, lo, hi, least, most)?;
                let (lo, hi) = (lo.clamp(least, most), hi.clamp(least, most));
                self.narrow(Narrowing { x, lo, hi, divisor: 1, chain: rest })
            }
            _ => Err(Error::TooSmall(format!("a table of {} entries", i128::from(last) - i128::from(first) + 1))),
        }
    }

    fn table_fits(&self, first: i64, last: i64) -> bool {
        i128::from(last) - i128::from(first) < i128::from(self.limits.entries)
    }

    /// Whether remainders below the divisor can be told by one or two tables.
    fn remainder_fits(&self, divisor: i64) -> bool {
        divisor <= self.limits.entries
            || (divisor & (divisor - 1) == 0 && divisor.trailing_zeros() <= 2 * self.limits.limb)
    }

    /// Whether a clamp comes first whose window fits: then the digits above it only say on which side a value is.
    fn window_fits(&self, first: i64, last: i64, chain: &[Function]) -> bool {
        let Some((least, digits)) = window(chain) else { return false };
        let above = ((i128::from(last) - least) >> digits) - ((i128::from(first) - least) >> digits) + 1;
        digits < 40 && 3i128 << digits <= i128::from(self.limits.entries) && above <= i128::from(self.limits.entries)
    }

    pub(super) fn looked_up(
        &mut self,
        x: Vec<Affine>,
        lo: i64,
        hi: i64,
        divisor: i64,
        chain: Vec<Function>,
    ) -> Vec<Affine> {
        let (first, last) = (rounded(lo, divisor), rounded(hi, divisor));
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        if chain.is_empty() {
            (least, most) = (first, last);
        } else if self.table_fits(first, last) {
            for q in first..=last {
                let value = apply(&chain, q);
                (least, most) = (least.min(value), most.max(value));
            }
        } else if let Some(Function::Clamp { lo, hi }) = chain.first() {
            for q in *lo..=*hi {
                let value = apply(&chain, q);
                (least, most) = (least.min(value), most.max(value));
            }
        }
        let size = x.len();
        let out = self.make(size, least, most);
        self.made.steps.push(Step::Narrow { out, x, lo, hi, divisor, chain, related: false });
        elements_of(out, size)
    }

    /// round(x / d) for a divisor whose remainders fit no table: the quotient is given, and both sides of the remainder are
    /// shown not to be negative.
    fn divided(&mut self, x: Vec<Affine>, lo: i64, hi: i64, divisor: i64) -> Result<Vec<Affine>, Error> {
        let y = vec![Affine::constant(divisor); x.len()];
        let (first, last) = (rounded(lo, divisor), rounded(hi, divisor));
        let q = self.hinted(Hint::Rounded, x.clone(), y, first, last)?;
        // 2x + d = 2d q + r with 0 <= r < 2d
        let twice = divisor.checked_mul(2).ok_or_else(Error::too_wide)?;
        let mut below = Vec::with_capacity(x.len());
        let mut above = Vec::with_capacity(x.len());
        for (x, q) in x.iter().zip(&q) {
            let mut r = x.plus(q, 2, -twice)?;
            r.constant = r.constant.checked_add(divisor).ok_or_else(Error::too_wide)?;
            let mut rest = r.scaled(-1)?;
            rest.constant = rest.constant.checked_add(twice - 1).ok_or_else(Error::too_wide)?;
            below.push(r);
            above.push(rest);
        }
        let bits = bits_for(i128::from(twice));
        self.range(below, bits);
        if 1i128 << bits != i128::from(twice) {
            self.range(above, bits);
        }
        Ok(q)
    }

    pub(super) fn range(&mut self, x: Vec<Affine>, bits: u32) {
        self.made.steps.push(Step::Range { x, bits });
    }

    pub(super) fn hinted(
        &mut self,
        hint: Hint,
        x: Vec<Affine>,
        y: Vec<Affine>,
        lo: i64,
        hi: i64,
    ) -> Result<Vec<Affine>, Error> {
        let size = x.len();
        let bits = bits_for(i128::from(hi) - i128::from(lo) + 1);
        let out = self.make(size, lo, hi);
        self.made.steps.push(Step::Hinted { out, hint, x, y, lo, bits });
        Ok(elements_of(out, size))
    }

    /// min(max(x, least), most) for a wide window: x + max(least - x, 0) and likewise from above.
    fn clamped(&mut self, x: Vec<Affine>, lo: i64, hi: i64, least: i64, most: i64) -> Result<Vec<Affine>, Error> {
        let mut x = x;
        if lo < least {
            let gap: Vec<Affine> = shifted(&x, -1, least)?;
            let lift = self.positive(gap, least.saturating_sub(hi), least - lo)?;
            x = sums(&x, &lift, 1)?;
        }
        if hi > most {
            let gap: Vec<Affine> = shifted(&x, 1, -most)?;
            let from = self.made.steps.len();
            let lift = self.positive(gap, lo.max(least) - most, hi - most)?;
            self.relate(from);
            x = sums(&x, &lift, -1)?;
        }
        if x.iter().all(|e| e.single().is_some()) {
            return Ok(x);
        }
        let (lo, hi) = (lo.clamp(least, most), hi.clamp(least, most));
        Ok(self.copy(x, lo, hi))
    }

    /// Marks narrowings made since then as ones whose operands' parts belong together.
    pub(super) fn relate(&mut self, since: usize) {
        for step in &mut self.made.steps[since..] {
            if let Step::Narrow { related, .. } = step {
                *related = true;
            }
        }
    }

    /// max(x, 0) for x in [lo, hi].
    pub(super) fn positive(&mut self, x: Vec<Affine>, lo: i64, hi: i64) -> Result<Vec<Affine>, Error> {
        if lo >= 0 {
            return Ok(x);
        }
        if hi <= 0 {
            return Ok(vec![Affine::constant(0); x.len()]);
        }
        if self.table_fits(lo, hi) {
            return Ok(self.looked_up(x, lo, hi, 1, vec![Function::Positive]));
        }
        let sign = self.sign(x.clone(), lo, hi)?;
        Ok(self.product(sign, x, 0, hi))
    }

    /// 1 where x >= 0, else 0, for x in [lo, hi].
    pub(super) fn sign(&mut self, x: Vec<Affine>, lo: i64, hi: i64) -> Result<Vec<Affine>, Error> {
        if lo >= 0 || hi < 0 {
            return Ok(vec![Affine::constant(i64::from(lo >= 0)); x.len()]);
        }
        if self.table_fits(lo, hi) {
            return Ok(self.looked_up(x, lo, hi, 1, vec![Function::NotNegative]));
        }
        let bits = bits_for((-i128::from(lo)).max(i128::from(hi) + 1));
        let size = x.len();
        let out = self.make(size, 0, 1);
        self.made.steps.push(Step::Sign { out, x, bits });
        Ok(elements_of(out, size))
    }

    pub(super) fn product(&mut self, u: Vec<Affine>, v: Vec<Affine>, lo: i64, hi: i64) -> Vec<Affine> {
        let size = u.len();
        let out = self.make(size, lo, hi);
        self.made.steps.push(Step::Product { out, u, v });
        elements_of(out, size)
    }

    pub(super) fn as_value(&self, elements: Vec<Affine>) -> Value {
        Value::Elements(Arc::new(elements))
    }
}

/// The least value of a leading clamp, and the bits of the window that holds its values.
pub(crate) fn window(chain: &[Function]) -> Option<(i128, u32)> {
    match chain.first() {
        Some(Function::Clamp { lo, hi }) => Some((i128::from(*lo), bits_for(i128::from(*hi) - i128::from(*lo) + 1))),
        _ => None,
    }
}

/// factor * x + constant.
pub(crate) fn shifted(x: &[Affine], factor: i64, constant: i64) -> Result<Vec<Affine>, Error> {
    x.iter()
        .map(|x| {
            let mut y = x.scaled(factor)?;
            y.constant = y.constant.checked_add(constant).ok_or_else(Error::too_wide)?;
            Ok(y)
        })
        .collect()
}

/// x + factor * y.
pub(crate) fn sums(x: &[Affine], y: &[Affine], factor: i64) -> Result<Vec<Affine>, Error> {
    x.iter().zip(y).map(|(x, y)| x.plus(y, 1, factor)).collect()
}
