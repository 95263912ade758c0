//! Comparisons, maxima and their places.

use super::narrow::{shifted, sums};
use super::{broadcast, groups, Lowering, Value};
use crate::steps::{Affine, Function, Hint};
use crate::Error;

impl Lowering<'_> {
    /// 1 where x < y: where y - x - 1 >= 0.
    pub(super) fn less(&mut self, place: usize, left: usize, right: usize) -> Result<Value, Error> {
        let shape = self.fact(place).shape.clone();
        let (a, b) = (broadcast(&shape, &self.fact(left).shape), broadcast(&shape, &self.fact(right).shape));
        let (x, y) = (self.elements(left)?, self.elements(right)?);
        let gap: Result<Vec<Affine>, Error> = a.iter().zip(&b).map(|(&a, &b)| y[b].plus(&x[a], 1, -1)).collect();
        let gap = shifted(&gap?, 1, -1)?;
        let ((x_lo, x_hi), (y_lo, y_hi)) = (self.interval(left), self.interval(right));
        let sign = self.sign(gap, y_lo - x_hi - 1, y_hi - x_lo - 1)?;
        Ok(self.as_value(sign))
    }

    pub(super) fn max(&mut self, place: usize, input: usize, axes: &[usize]) -> Result<Value, Error> {
        let x = self.elements(input)?;
        let (lo, hi) = self.interval(input);
        let columns = groups(&self.fact(input).shape, axes);
        let columns: Vec<Vec<Affine>> = columns.iter().map(|g| g.iter().map(|&p| x[p].clone()).collect()).collect();
        let most = self.largest(columns, lo, hi)?;
        self.settled(place, most)
    }

    /// The largest expression of each column (all of one length, each in [lo, hi]): a tree of maxima of pairs.
    fn largest(&mut self, columns: Vec<Vec<Affine>>, lo: i64, hi: i64) -> Result<Vec<Affine>, Error> {
        let mut columns = columns;
        while columns[0].len() > 1 {
            let length = columns[0].len();
            let half = length / 2;
            let left: Vec<Affine> = columns.iter().flat_map(|c| c[..half].iter().cloned()).collect();
            let right: Vec<Affine> = columns.iter().flat_map(|c| c[half..2 * half].iter().cloned()).collect();
            let larger = self.larger(&left, &right, lo, hi)?;
            columns = columns
                .iter()
                .zip(larger.chunks(half))
                .map(|(c, larger)| larger.iter().chain(&c[2 * half..]).cloned().collect())
                .collect();
        }
        Ok(columns.into_iter().flatten().collect())
    }

    /// max(x, y) = y + max(x - y, 0), or by a table of both.
    fn larger(&mut self, x: &[Affine], y: &[Affine], lo: i64, hi: i64) -> Result<Vec<Affine>, Error> {
        let base = i128::from(hi) - i128::from(lo) + 1;
        if base * base <= i128::from(self.limits.entries) {
            // (x - lo) * base + (y - lo)
            let base = base as i64;
            let both: Result<Vec<Affine>, Error> = x.iter().zip(y).map(|(x, y)| x.plus(y, base, 1)).collect();
            let both = shifted(&both?, 1, -lo * (base + 1))?;
            let larger = self.looked_up(both, 0, base * base - 1, 1, vec![Function::LargerDigit { base }]);
            return shifted(&larger, 1, lo);
        }
        let gap = sums(x, y, -1)?;
        let rise = self.positive(gap, lo - hi, hi - lo)?;
        sums(y, &rise, 1)
    }

    /// The keys x_i n + (n - 1 - i) are distinct, so the largest tells the least i of the largest x.
    pub(super) fn argmax(&mut self, _place: usize, input: usize, axis: usize) -> Result<Value, Error> {
        let x = self.elements(input)?;
        let (lo, hi) = self.interval(input);
        let columns = groups(&self.fact(input).shape, &[axis]);
        let n = columns[0].len() as i64;
        if n == 1 {
            return Ok(self.as_value(vec![Affine::constant(0); columns.len()]));
        }
        let wide = |x: i64| x.checked_mul(n).filter(|x| x.abs() < 1 << 61).ok_or_else(Error::too_wide);
        let (lo, hi) = (wide(lo)?, wide(hi)? + n - 1);
        let mut keyed = Vec::with_capacity(columns.len());
        for column in &columns {
            let mut keys = Vec::with_capacity(column.len());
            for (i, &p) in column.iter().enumerate() {
                let mut key = x[p].scaled(n)?;
                key.constant = key.constant.checked_add(n - 1 - i as i64).ok_or_else(Error::too_wide)?;
                keys.push(key);
            }
            keyed.push(keys);
        }
        let most = self.largest(keyed, lo, hi)?;
        let most = self.copy(most, lo, hi);
        let base = vec![Affine::constant(n); most.len()];
        let q = self.hinted(Hint::Floor, most.clone(), base, lo.div_euclid(n), hi.div_euclid(n))?;
        let digit = sums(&most, &q, -n)?;
        let table = (0..n).rev().collect();
        let chain = vec![Function::Table { first: 0, table: std::sync::Arc::new(table) }];
        if n > self.limits.entries {
            return Err(Error::TooSmall(format!("a table of {n} entries")));
        }
        let from = self.made.steps.len();
        let place = self.looked_up(digit, 0, n - 1, 1, chain);
        self.relate(from);
        Ok(self.as_value(place))
    }
}
