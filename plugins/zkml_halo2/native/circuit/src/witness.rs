//! What the prover puts into the first phase: every value, remainder, limb and count.

use crate::hidden;
use crate::layout::{limb_places, Fill, Fixed, Layout, Operand, Summand};
use crate::lower::narrow::rounded;
use crate::steps::{Affine, Hint, Source};
use crate::weights::{self, Weights};
use crate::Error;

/// The advice of the first phase, by lane or column, then by row.
#[derive(Clone, Debug)]
pub struct Witness {
    pub q: Vec<Vec<i64>>,
    pub r: Vec<Vec<i64>>,
    pub a: Vec<Vec<i64>>,
    pub counts: Vec<Vec<u64>>,
    /// Private weights; empty in a circuit of public ones.
    pub weights: Vec<Vec<u64>>,
    /// Hidden inputs, by lane; empty where inputs are public.
    pub hidden: Vec<Vec<u64>>,
    /// The outputs, in the order of the model.
    pub outputs: Vec<Vec<i64>>,
}

struct Filling<'a> {
    layout: &'a Layout,
    weights: &'a Weights,
    q: Vec<Vec<i64>>,
    r: Vec<Vec<i64>>,
    a: Vec<Vec<i64>>,
}

/// Fills the rows for these inputs (in the order of the model, each within its interval).
pub fn fill(layout: &Layout, weights: &Weights, inputs: &[Vec<i64>]) -> Result<Witness, Error> {
    let lanes = layout.shape.lanes;
    let rows = layout.fills.len();
    let empty = || vec![vec![0i64; rows]; lanes];
    let mut filling = Filling { layout, weights, q: empty(), r: empty(), a: empty() };
    if inputs.len() != layout.inputs.len() {
        return Err(Error::Witness(format!("there are {} inputs, not {}", layout.inputs.len(), inputs.len())));
    }
    for (part, values) in layout.inputs.iter().zip(inputs) {
        if part.cells.len() != values.len() || values.iter().any(|v| *v < part.lo || *v > part.hi) {
            return Err(Error::Witness("an input has another size, or leaves its interval".into()));
        }
        for (&(row, lane), &value) in part.cells.iter().zip(values) {
            filling.a[lane as usize][row as usize] = value - part.lo;
            if layout.fixed(Fixed::TagQuotient, row as usize) != 0 {
                filling.q[lane as usize][row as usize] = value - part.lo;
            }
        }
    }
    for block in &layout.blocks {
        filling.block(block)?;
    }
    let value =
        |&(row, lane): &(u32, u8)| filling.a[lane as usize][row as usize] + layout.fixed(Fixed::Raise, row as usize);
    let outputs = layout.outputs.iter().map(|part| part.cells.iter().map(value).collect()).collect();
    let counts = counts(layout, &filling.q, &filling.r)?;
    let columns = if layout.shape.private { weights::columns(layout, weights)? } else { vec![] };
    let hidden = hidden::columns(layout, inputs)?;
    Ok(Witness { counts, weights: columns, hidden, outputs, q: filling.q, r: filling.r, a: filling.a })
}

impl Filling<'_> {
    fn value(&self, row: u32, lane: usize) -> i64 {
        self.a[lane][row as usize].wrapping_add(self.layout.fixed(Fixed::Raise, row as usize))
    }

    fn block(&mut self, block: &crate::layout::Block) -> Result<(), Error> {
        let layout = self.layout;
        let mut made = vec![vec![0i64; block.end - block.start]; layout.shape.lanes];
        for &(from, to) in &block.moves {
            let factor = layout.fixed(Fixed::Move, from as usize);
            for (lane, made) in made.iter_mut().enumerate() {
                let cell = &mut made[to as usize - block.start];
                *cell = cell.wrapping_add(factor.wrapping_mul(self.value(from, lane)));
            }
        }
        // Rows of one run follow each other, so it is looked up once.
        let mut run_of: Option<(Operand, Vec<(usize, i64)>)> = None;
        for summand in &layout.summands[block.summands.clone()] {
            if let Operand::Whole { row } = summand.x {
                self.whole(summand, row, block.start, &mut made)?;
                continue;
            }
            let members = match &run_of {
                Some((operand, members)) if *operand == summand.x => members.clone(),
                _ => {
                    let members = self.members(summand.x);
                    run_of = Some((summand.x, members.clone()));
                    members
                }
            };
            self.summand(summand, &members, block.start, &mut made)?;
        }
        for guess in &block.guesses {
            let (x, y) = (self.affine(&guess.x)?, self.affine(&guess.y)?);
            if y < 1 {
                return Err(Error::Witness(format!("row {}: a divisor of {y}", guess.row)));
            }
            let value = match guess.hint {
                Hint::Rounded => rounded(x, y),
                Hint::Floor => x.div_euclid(y),
            };
            self.a[guess.lane as usize][guess.row as usize] = value - guess.lo;
        }
        for row in block.start..block.end {
            for (lane, made) in made.iter().enumerate() {
                let v = made[row - block.start].wrapping_add(layout.fixed(Fixed::Offset, row));
                self.row(row, lane, v)?;
            }
        }
        Ok(())
    }

    /// A row as it is, times a constant.
    fn whole(&self, summand: &Summand, from: u32, start: usize, made: &mut [Vec<i64>]) -> Result<(), Error> {
        let (Operand::Power(to), [(0, factor)]) = (summand.s, &summand.constants[..]) else {
            return Err(Error::Witness("a whole row goes to one row, times a constant".into()));
        };
        for (lane, made) in made.iter_mut().enumerate() {
            let cell = (to as usize).checked_sub(start).and_then(|row| made.get_mut(row));
            let cell = cell.ok_or_else(|| Error::Witness("a row moves beyond its block".into()))?;
            *cell = cell.wrapping_add(factor.wrapping_mul(self.value(from, lane)));
        }
        Ok(())
    }

    /// Exponents and values of what an operand is the sum of.
    fn members(&self, operand: Operand) -> Vec<(usize, i64)> {
        match operand {
            Operand::Power(exponent) => vec![(exponent as usize, 1)],
            Operand::Sum { row, lane } => self
                .layout
                .run(row)
                .into_iter()
                .map(|(row, exponent)| (exponent as usize, self.value(row, lane as usize)))
                .collect(),
            Operand::Whole { .. } => vec![],
        }
    }

    fn summand(
        &self,
        summand: &Summand,
        members: &[(usize, i64)],
        start: usize,
        made: &mut [Vec<i64>],
    ) -> Result<(), Error> {
        let lanes = made.len();
        let scales = self.members(summand.s);
        let mut coefficients: Vec<(usize, usize, i64)> =
            summand.constants.iter().map(|&(lane, c)| (0, lane as usize, c)).collect();
        for &(column, coefficient) in &summand.weights {
            let mut w = weights::value(self.weights, coefficient)?;
            if self.layout.shape.private {
                w = weights::digit(w, summand.digit);
            }
            if w != 0 {
                let column = column as usize;
                coefficients.push((column / lanes, column % lanes, w.wrapping_mul(summand.factor)));
            }
        }
        for &(shift, scale) in &scales {
            for &(exponent, value) in members {
                if value == 0 {
                    continue;
                }
                for &(tap, lane, coefficient) in &coefficients {
                    let row = (shift + exponent + tap).checked_sub(start);
                    let cell = row.and_then(|row| made[lane].get_mut(row));
                    let cell = cell.ok_or_else(|| Error::Witness("a coefficient reaches beyond its layer".into()))?;
                    *cell = cell.wrapping_add(value.wrapping_mul(scale).wrapping_mul(coefficient));
                }
            }
        }
        Ok(())
    }

    fn affine(&self, x: &Affine) -> Result<i64, Error> {
        let mut sum = x.constant;
        for term in &x.terms {
            let value = match term.source {
                Source::Element { tensor, at } => {
                    let (row, lane) = self.layout.cells[tensor as usize][at as usize];
                    self.value(row, lane as usize)
                }
                Source::Weight { node, at } => {
                    weights::value(self.weights, crate::steps::Coefficient::Weight { node, at })?
                }
            };
            sum = sum.wrapping_add(value.wrapping_mul(term.factor));
        }
        Ok(sum)
    }

    fn entry(&self, row: usize, taken: i64) -> Result<i64, Error> {
        let layout = self.layout;
        let tag = layout.fixed(Fixed::TagQuotient, row);
        if tag == 0 {
            return Ok(0);
        }
        let place = layout.tables.place(&layout.shape, tag, taken);
        let (set, place) = place.ok_or_else(|| Error::Witness(format!("row {row}: {taken} is in no table")))?;
        Ok(layout.tables.outs[set * layout.shape.rows() + place])
    }

    fn row(&mut self, row: usize, lane: usize, v: i64) -> Result<(), Error> {
        let negative = || Error::Witness(format!("row {row}, lane {lane}: {v} is below what was foreseen"));
        let layout = self.layout;
        match &layout.fills[row] {
            Fill::Given => {}
            Fill::Raw => self.a[lane][row] = v,
            Fill::Loose => self.q[lane][row] = v,
            Fill::Table { divisor, split } => {
                if v < 0 {
                    return Err(negative());
                }
                let at = row + usize::from(split.is_some());
                self.remainder(row, lane, v % divisor, *split);
                self.q[lane][at] = v / divisor;
                self.a[lane][at] = self.entry(at, v / divisor)?;
            }
            Fill::Window { divisor, digits } => {
                if v < 0 {
                    return Err(negative());
                }
                self.remainder(row, lane, v % divisor, None);
                let quotient = v / divisor;
                let (high, low) = (quotient >> digits, quotient & ((1 << digits) - 1));
                let side = self.entry(row, high)?;
                self.q[lane][row] = high;
                self.a[lane][row] = side;
                let taken = low + (side << digits);
                self.r[lane][row + 1] = low;
                if layout.fixed(Fixed::TagQuotient, row + 1) == 0 {
                    self.a[lane][row + 1] = taken;
                } else {
                    self.q[lane][row + 1] = taken;
                    self.a[lane][row + 1] = self.entry(row + 1, taken)?;
                }
            }
            Fill::Limbs { bits, rest } => {
                if v < 0 {
                    return Err(negative());
                }
                let left = self.limbs(row, lane, v, bits, *rest)?;
                if *rest {
                    self.a[lane][row] = left;
                } else if left != 0 {
                    return Err(Error::Witness(format!("row {row}, lane {lane}: {v} is more than was foreseen")));
                }
            }
            Fill::Hinted { bits } => {
                let value = self.a[lane][row];
                let left = self.limbs(row, lane, value, bits, true)?;
                if value < 0 || left != 0 {
                    return Err(Error::Witness(format!("row {row}, lane {lane}: a quotient that was not foreseen")));
                }
            }
            Fill::Left => self.r[lane][row + 1] = v,
            Fill::Product => {
                self.q[lane][row] = v;
                self.a[lane][row] = v.wrapping_mul(self.r[lane][row]);
            }
        }
        Ok(())
    }

    fn remainder(&mut self, row: usize, lane: usize, r: i64, split: Option<u32>) {
        match split {
            None => self.r[lane][row] = r,
            Some(low) => {
                self.r[lane][row] = r & ((1 << low) - 1);
                self.r[lane][row + 1] = r >> low;
            }
        }
    }

    /// Puts limbs into their places and returns what is left.
    fn limbs(&mut self, row: usize, lane: usize, v: i64, bits: &[u32], taken: bool) -> Result<i64, Error> {
        let mut rest = v;
        for (&size, &(down, is_q)) in bits.iter().zip(limb_places(bits.len(), taken)) {
            let limb = rest & ((1i64 << size) - 1);
            rest >>= size;
            if is_q {
                self.q[lane][row + down] = limb;
                self.a[lane][row + down] = self.entry(row + down, limb)?;
            } else {
                self.r[lane][row + down] = limb;
            }
        }
        Ok(rest)
    }
}

/// How often each entry is looked up.
pub fn counts(layout: &Layout, q: &[Vec<i64>], r: &[Vec<i64>]) -> Result<Vec<Vec<u64>>, Error> {
    let mut counts = vec![vec![0u64; layout.shape.rows()]; layout.shape.tables];
    for row in 0..layout.fills.len() {
        for (column, cells) in [(Fixed::TagQuotient, q), (Fixed::TagRemainder, r)] {
            let tag = layout.fixed(column, row);
            if tag == 0 {
                continue;
            }
            for (lane, cells) in cells.iter().enumerate() {
                let place = layout.tables.place(&layout.shape, tag, cells[row]);
                let (set, at) = place.ok_or_else(|| {
                    Error::Witness(format!("row {row}, lane {lane}: {} is in no table", cells[row]))
                })?;
                counts[set][at] += 1;
            }
        }
    }
    Ok(counts)
}
