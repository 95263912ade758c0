//! The left half: look-ups, limbs, products and copies.

use super::feed::{Bounds, Target};
use super::{Placement, Use};
use crate::layout::{limb_places, Fill, Fixed, Guess};
use crate::lower::narrow::{rounded, window};
use crate::steps::{apply, Affine, Chain, Function, Hint};
use crate::Error;

/// A look-up of d q + r: what its rows hold.
pub(super) struct Lookup {
    pub height: usize,
    pub fill: Fill,
    /// Fixed values of the first and the second row.
    pub rows: [Vec<(Fixed, i64)>; 2],
}

impl Placement<'_> {
    fn targets<'x>(
        arrangement: &super::Arrangement,
        start: usize,
        height: usize,
        x: &'x [Affine],
    ) -> Vec<Target<'x>> {
        let mut targets = Vec::with_capacity(x.len());
        for (row, lanes) in arrangement.rows.iter().enumerate() {
            for (lane, element) in lanes.iter().enumerate() {
                if let Some(at) = *element {
                    targets.push(Target { row: start + row * height, lane, x: &x[at as usize] });
                }
            }
        }
        targets
    }

    pub(super) fn dress(&mut self, row: usize, lookup: &Lookup) {
        for (i, values) in lookup.rows.iter().enumerate().take(lookup.height) {
            for &(column, value) in values {
                self.set(column, row + i, value);
            }
        }
        self.layout.fills[row] = lookup.fill.clone();
        if let Fill::Window { .. } = lookup.fill {
            // the side goes to the row below, and nowhere else
            self.layout.powers[row] = Some(row as u32 + 1);
            self.row_uses[row] = Use::Moved;
        }
    }

    pub(super) fn narrow(
        &mut self,
        out: u32,
        x: &[Affine],
        bounds: Bounds,
        divisor: i64,
        chain: &Chain,
    ) -> Result<(), Error> {
        let (Bounds::Interval(lo, hi) | Bounds::Related(lo, hi)) = bounds else { return Ok(()) };
        let lookup = self.lookup((out, x.len()), (lo, hi), divisor, chain)?;
        let (start, arrangement) = self.arranged(Some(out), x, lookup.height);
        let end = self.layout.fills.len();
        for row in (start..end).step_by(lookup.height) {
            self.dress(row, &lookup);
        }
        let mut block = self.block(start, end);
        self.feed(&mut block, &Self::targets(&arrangement, start, lookup.height, x), bounds)?;
        self.finish(block);
        Ok(())
    }

    /// The rows of a narrowing of so many elements: one look-up of the quotient, or where that has too many values of its
    /// digits, and behind a clamp of its window.
    pub(super) fn lookup(
        &mut self,
        (out, size): (u32, usize),
        (lo, hi): (i64, i64),
        divisor: i64,
        chain: &Chain,
    ) -> Result<Lookup, Error> {
        let (first, last) = (rounded(lo, divisor), rounded(hi, divisor));
        let raise = self.steps.tensors[out as usize].lo;
        let (mut upper, mut lower) = (Vec::new(), Vec::new());
        let split = self.remainder(divisor, &mut upper, &mut lower);
        let half = divisor / 2;
        if split.is_some() && self.entries_fit(first, last) || self.one_look_up((first, last), size, chain) {
            // v = x + floor(d / 2) - d first = d q + r
            let outs = (first..=last).map(|q| apply(chain, q) - raise).collect();
            let tag = self.layout.tables.tag(outs);
            let start = first.checked_mul(divisor).ok_or_else(Error::too_wide)?;
            upper.push((Fixed::Offset, half.checked_sub(start).ok_or_else(Error::too_wide)?));
            // Where the remainder has two limbs, the quotient stands beside the second.
            upper.push((if split.is_some() { Fixed::NextQuotient } else { Fixed::Quotient }, divisor));
            let looked_up = if split.is_some() { &mut lower } else { &mut upper };
            looked_up.push((Fixed::TagQuotient, tag));
            looked_up.push((Fixed::Raise, raise));
            let height = if split.is_some() { 2 } else { 1 };
            return Ok(Lookup { height, fill: Fill::Table { divisor, split }, rows: [upper, lower] });
        }
        if split.is_some() {
            return Err(Error::TooSmall("digits behind a remainder of two limbs".into()));
        }
        if chain.is_empty() {
            return self.two_digits([upper, lower], (first, last), divisor, raise);
        }
        let (Some((least, digits)), Some(&Function::Clamp { hi: most, .. })) = (window(chain), chain.first()) else {
            return Err(Error::TooSmall(format!("a table of {} entries", last - first + 1)));
        };
        let least = least as i64;
        let size = 1i64 << digits;
        // v = x + floor(d / 2) - d (least + size h0) = d (size h + l) + r, with l below size by a table of its own; in the
        // row below q = l + size s, where s is the side of h
        let (below, above) = ((first - least) >> digits, (last - least) >> digits);
        let sides = (below..=above).map(|h| h.signum() + 1).collect();
        upper.push((Fixed::TagQuotient, self.layout.tables.tag(sides)));
        let mut outs = vec![apply(chain, least) - raise; size as usize];
        outs.extend((0..size).map(|l| apply(chain, (least + l).min(most)) - raise));
        outs.extend(vec![apply(chain, most) - raise; size as usize]);
        lower.push((Fixed::TagQuotient, self.layout.tables.tag(outs)));
        lower.push((Fixed::Raise, raise));
        let wide = |a: i64, b: i64| a.checked_mul(b).ok_or_else(Error::too_wide);
        upper.push((Fixed::Quotient, wide(divisor, size)?));
        upper.push((Fixed::NextRemainder, divisor));
        upper.push((Fixed::Move, size));
        lower.push((Fixed::TagRemainder, self.layout.tables.range(size)));
        lower.push((Fixed::Quotient, 1));
        lower.push((Fixed::Remainder, -1));
        let start = wide(divisor, least + wide(size, below)?)?;
        upper.push((Fixed::Offset, half.checked_sub(start).ok_or_else(Error::too_wide)?));
        Ok(Lookup { height: 2, fill: Fill::Window { divisor, digits }, rows: [upper, lower] })
    }

    /// Whether quotients of [first, last] are looked up at once, and not digit by digit.
    pub(super) fn one_look_up(&self, (first, last): (i64, i64), size: usize, chain: &Chain) -> bool {
        if chain.is_empty() {
            self.limits.one_look_up(first, last, size)
        } else {
            self.entries_fit(first, last)
        }
    }

    /// v = x + floor(d / 2) - d first = d (2^t h + l) + r, where r, l and h have tables of exactly d, 2^t and as many entries
    /// as there are high digits; in the row below a = l + 2^t h, where h has moved, and a + first is the quotient.
    fn two_digits(
        &mut self,
        [mut upper, mut lower]: [Vec<(Fixed, i64)>; 2],
        (first, last): (i64, i64),
        divisor: i64,
        raise: i64,
    ) -> Result<Lookup, Error> {
        let digits = self.limits.limb;
        let size = 1i64 << digits;
        let highs = (last.checked_sub(first).ok_or_else(Error::too_wide)? >> digits) + 1;
        if highs > self.limits.entries {
            return Err(Error::TooSmall(format!("a table of {highs} high digits")));
        }
        let wide = |a: i64, b: i64| a.checked_mul(b).ok_or_else(Error::too_wide);
        upper.push((Fixed::TagQuotient, self.layout.tables.tag((0..highs).collect())));
        upper.push((Fixed::Quotient, wide(divisor, size)?));
        upper.push((Fixed::NextRemainder, divisor));
        upper.push((Fixed::Move, size));
        let start = wide(divisor, first)?;
        upper.push((Fixed::Offset, (divisor / 2).checked_sub(start).ok_or_else(Error::too_wide)?));
        lower.push((Fixed::TagRemainder, self.layout.tables.range(size)));
        lower.push((Fixed::Value, 1));
        lower.push((Fixed::Remainder, -1));
        lower.push((Fixed::Raise, raise));
        Ok(Lookup { height: 2, fill: Fill::Window { divisor, digits }, rows: [upper, lower] })
    }

    /// The tables of a remainder below d; where it takes two, the bit at which they part.
    fn remainder(
        &mut self,
        divisor: i64,
        upper: &mut Vec<(Fixed, i64)>,
        lower: &mut Vec<(Fixed, i64)>,
    ) -> Option<u32> {
        if divisor == 1 {
            return None;
        }
        upper.push((Fixed::Remainder, 1));
        if divisor <= self.limits.entries {
            upper.push((Fixed::TagRemainder, self.layout.tables.range(divisor)));
            return None;
        }
        let bits = divisor.trailing_zeros();
        let low = bits.div_ceil(2);
        upper.push((Fixed::TagRemainder, self.layout.tables.range(1 << low)));
        upper.push((Fixed::NextRemainder, 1 << low));
        lower.push((Fixed::TagRemainder, self.layout.tables.range(1 << (bits - low))));
        Some(low)
    }

    pub(super) fn copy(&mut self, out: u32, x: &[Affine]) -> Result<(), Error> {
        let (start, arrangement) = self.arranged(Some(out), x, 1);
        let made = self.steps.tensors[out as usize];
        self.copies(start, &arrangement, x, (made.lo, made.hi))
    }

    /// Rows of values as they are: a = x - lo.
    pub(super) fn copies(
        &mut self,
        start: usize,
        arrangement: &super::Arrangement,
        x: &[Affine],
        (lo, hi): (i64, i64),
    ) -> Result<(), Error> {
        let end = start + arrangement.rows.len();
        for row in start..end {
            self.raw(row, lo)?;
        }
        let mut block = self.block(start, end);
        let plain = x.iter().all(|e| e.single().is_some());
        let bounds = if plain { Bounds::Interval(lo, hi) } else { Bounds::Related(lo, hi) };
        self.feed(&mut block, &Self::targets(arrangement, start, 1, x), bounds)?;
        self.finish(block);
        Ok(())
    }

    pub(super) fn raw(&mut self, row: usize, raise: i64) -> Result<(), Error> {
        self.set(Fixed::Value, row, 1);
        self.set(Fixed::Raise, row, raise);
        self.set(Fixed::Offset, row, raise.checked_neg().ok_or_else(Error::too_wide)?);
        self.layout.fills[row] = Fill::Raw;
        Ok(())
    }

    /// Lanes without an element hold 0 here: notes whether that is as good as any value of the tensor.
    pub(super) fn pads(&mut self, start: usize, end: usize, out: u32) {
        let made = self.steps.tensors[out as usize];
        let holds = made.lo <= 0 && made.hi >= 0;
        self.pads_hold[start..end].fill(holds);
    }

    pub(super) fn product(&mut self, out: u32, u: &[Affine], v: &[Affine]) -> Result<(), Error> {
        let (start, arrangement) = self.arranged(Some(out), u, 2);
        let end = self.layout.fills.len();
        for row in (start..end).step_by(2) {
            self.set(Fixed::NextRemainder, row, 1);
            self.layout.fills[row] = Fill::Left;
            self.set(Fixed::Quotient, row + 1, 1);
            self.set(Fixed::Product, row + 1, 1);
            self.layout.fills[row + 1] = Fill::Product;
        }
        let mut block = self.block(start, end);
        let mut targets = Self::targets(&arrangement, start, 2, v);
        targets.extend(Self::targets(&arrangement, start + 1, 2, u));
        self.feed(&mut block, &targets, Bounds::None)?;
        self.pads(start, end, out);
        self.finish(block);
        Ok(())
    }

    /// The bits of the limbs of a number, the lowest first, and the bits beyond them: four fit into two rows, or three
    /// beside a value.
    pub(super) fn limb_bits(&self, bits: u32, taken: bool) -> (Vec<u32>, u32) {
        let limb = self.limits.limb;
        let most = if taken { 3 } else { 4 };
        let most = if bits > most * limb { 3 } else { most };
        let here = bits.min(most * limb);
        let count = here.div_ceil(limb).max(1);
        let sizes = (0..count).map(|i| (here - i * limb).min(limb)).collect();
        (sizes, bits - here)
    }

    /// Factors and tables of limbs. `sign` makes the top one tell whether it is in its upper half.
    fn limb_rows(&mut self, sizes: &[u32], taken: bool, sign: bool) -> [Vec<(Fixed, i64)>; 2] {
        let mut rows = [Vec::new(), Vec::new()];
        let mut from = 0;
        for (i, (&bits, &(row, is_q))) in sizes.iter().zip(limb_places(sizes.len(), taken)).enumerate() {
            let number = if sign && i + 1 == sizes.len() {
                let half = 1i64 << (bits - 1);
                self.layout.tables.tag((0..2 * half).map(|q| i64::from(q >= half)).collect())
            } else {
                self.layout.tables.range(1 << bits)
            };
            let (factor, tag) = match (row, is_q) {
                (0, true) => (Fixed::Quotient, Fixed::TagQuotient),
                (0, false) => (Fixed::Remainder, Fixed::TagRemainder),
                (_, true) => (Fixed::NextQuotient, Fixed::TagQuotient),
                (_, false) => (Fixed::NextRemainder, Fixed::TagRemainder),
            };
            rows[0].push((factor, 1i64 << from));
            rows[row].push((tag, number));
            from += bits;
        }
        rows
    }

    /// x + shift in [0, 2^bits); with `out` its top bit.
    pub(super) fn limbs(&mut self, out: Option<u32>, x: &[Affine], shift: i64, bits: u32) -> Result<(), Error> {
        let (sizes, left) = self.limb_bits(bits, false);
        let rest = left > 0;
        let height = limb_places(sizes.len(), rest).iter().map(|place| place.0 + 1).max().unwrap_or(1);
        let mut rows = self.limb_rows(&sizes, rest, out.is_some() && !rest);
        if rest {
            rows[0].push((Fixed::Value, 1i64 << (3 * self.limits.limb)));
        }
        rows[0].push((Fixed::Offset, shift));
        let lookup = Lookup { height, fill: Fill::Limbs { bits: sizes, rest }, rows };
        let (start, arrangement) = self.arranged(if rest { None } else { out }, x, height);
        let end = self.layout.fills.len();
        for row in (start..end).step_by(height) {
            self.dress(row, &lookup);
        }
        let mut block = self.block(start, end);
        let top = if bits >= 63 { i64::MAX } else { (1i64 << bits) - 1 };
        let bounds = Bounds::Related(-shift, top.saturating_sub(shift));
        self.feed(&mut block, &Self::targets(&arrangement, start, height, x), bounds)?;
        self.finish(block);
        if rest {
            return self.rest(out, &arrangement, start, left, x.len());
        }
        Ok(())
    }

    /// What three limbs left over stands in a: a number of the bits that are left, shown to be one in rows of its own.
    fn rest(
        &mut self,
        out: Option<u32>,
        arrangement: &super::Arrangement,
        start: usize,
        bits: u32,
        size: usize,
    ) -> Result<(), Error> {
        let tensor = self.layout.cells.len() as u32;
        self.layout.cells.push(vec![(u32::MAX, 0); size]);
        self.uses.passing(size);
        for (row, lanes) in arrangement.rows.iter().enumerate() {
            for (lane, element) in lanes.iter().enumerate() {
                if let Some(at) = *element {
                    self.hold(tensor, at, start + 2 * row, lane);
                }
            }
        }
        let x = crate::lower::elements_of(tensor, size);
        self.limbs(out, &x, 0, bits)
    }

    /// a given, and in [0, 2^bits) by limbs beside it: as many bits as three of them hold.
    pub(super) fn beside_limbs(&mut self, bits: u32) -> Lookup {
        let (sizes, _) = self.limb_bits(bits, true);
        let mut rows = self.limb_rows(&sizes, true, false);
        rows[0].push((Fixed::Value, -1));
        let height = limb_places(sizes.len(), true).iter().map(|place| place.0 + 1).max().unwrap_or(1);
        Lookup { height, fill: Fill::Hinted { bits: sizes }, rows }
    }

    /// A value that the prover gives, in [lo, lo + 2^bits): beside its own limbs, or shown to be in range afterwards.
    pub(super) fn hinted(
        &mut self,
        out: u32,
        hint: Hint,
        (x, y): (&[Affine], &[Affine]),
        lo: i64,
        bits: u32,
    ) -> Result<(), Error> {
        let wide = self.limb_bits(bits, true).1 > 0;
        let lookup = if wide {
            Lookup { height: 1, fill: Fill::Given, rows: [vec![(Fixed::Raise, lo)], vec![]] }
        } else {
            let mut lookup = self.beside_limbs(bits);
            lookup.rows[0].push((Fixed::Raise, lo));
            lookup
        };
        let arrangement = self.arrangement(Some(out), x);
        let start = self.rows(arrangement.rows.len() * lookup.height);
        let mut block = self.block(start, self.layout.fills.len());
        for (row, lanes) in arrangement.rows.iter().enumerate() {
            let row = start + row * lookup.height;
            self.dress(row, &lookup);
            for (lane, element) in lanes.iter().enumerate() {
                if let Some(at) = *element {
                    self.hold(out, at, row, lane);
                    let (x, y) = (x[at as usize].clone(), y[at as usize].clone());
                    block.guesses.push(Guess { row: row as u32, lane: lane as u8, hint, x, y, lo });
                }
            }
        }
        self.finish(block);
        if wide {
            self.uses.once_more(out);
            let negated = lo.checked_neg().ok_or_else(Error::too_wide)?;
            return self.limbs(None, &crate::lower::elements_of(out, x.len()), negated, bits);
        }
        Ok(())
    }

    pub(super) fn output(&mut self, x: &[Affine], lo: i64, hi: i64) -> Result<(), Error> {
        let done = self.layout.blocks.iter().filter(|block| block.end <= self.layout.public_rows).count();
        let part = self.layout.outputs[done - self.layout.inputs.len()].clone();
        let start = part.cells.first().map_or(0, |c| c.0 as usize);
        let end = part.cells.last().map_or(0, |c| c.0 as usize + 1);
        for row in start..end {
            self.set(Fixed::Public, row, 1);
            if part.packed {
                let identity = (0..=hi - lo).collect();
                let tag = self.layout.tables.tag(identity);
                self.set(Fixed::TagQuotient, row, tag);
                self.set(Fixed::Quotient, row, 1);
                self.set(Fixed::Offset, row, -lo);
                self.set(Fixed::Raise, row, lo);
                self.set(Fixed::PublicLanes, row, 1);
                self.layout.fills[row] = Fill::Table { divisor: 1, split: None };
            } else {
                self.raw(row, lo)?;
            }
        }
        let mut block = self.block(start, end);
        let mut targets: Vec<Target> = x
            .iter()
            .zip(&part.cells)
            .map(|(x, &(row, lane))| Target { row: row as usize, lane: lane as usize, x })
            .collect();
        // Lanes behind the last element are part of the public value too: as the least one, which is raised to 0.
        let least = Affine::constant(lo);
        let last = part.cells.last().map_or(0, |cell| cell.1 as usize);
        if part.packed {
            targets.extend((last + 1..self.lanes()).map(|lane| Target { row: end - 1, lane, x: &least }));
        }
        let bounds = if part.packed { Bounds::Related(lo, hi) } else { Bounds::None };
        self.feed(&mut block, &targets, bounds)?;
        self.finish(block);
        Ok(())
    }
}
