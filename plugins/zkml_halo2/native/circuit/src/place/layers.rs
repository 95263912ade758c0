//! Linear layers: the rows of their results, the runs that they read, and their coefficients.

use super::{Arrangement, Placement, Use};
use crate::layout::{Block, Fill, Fixed, Operand, Summand};
use crate::lower::narrow::rounded;
use crate::steps::{Affine, Coefficient, Linear, Part, Run, Step, Tap};
use crate::Error;

/// Row and lane of a run's member, tensor and element, exponent.
type Member = ((u32, u8), (u32, u32), u32);

/// A run at its place: the sum, and the least exponent, which is left out of it.
#[derive(Clone, Copy, Debug)]
struct Placed {
    sum: Operand,
    exponent: u32,
}

impl Placement<'_> {
    pub(super) fn linear(&mut self, at: usize, linear: &Linear) -> Result<(), Error> {
        let rising = linear.positions.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || linear.positions.last().is_none_or(|&last| last as usize >= linear.plane) {
            return Err(Error::Unsupported("two results of a layer share a row".into()));
        }
        let lanes = self.lanes();
        let groups = linear.channels.div_ceil(lanes);
        let fused = self.uses.narrowing(at).and_then(|narrowing| Some((narrowing, self.fits_in(linear, narrowing)?)));
        // Where results take two rows each, so does every coefficient: the second stands at an exponent that nothing reaches.
        let stride = fused.map_or(1, |(_, height)| height);
        let start = self.rows(groups * linear.plane * stride);
        let end = self.layout.fills.len();
        for row in (start..end).step_by(stride) {
            // Coefficients that are nobody's still stand somewhere.
            let raise = -linear.bound;
            match fused {
                None => self.raw(row, raise)?,
                Some(_) => {
                    self.set(Fixed::Quotient, row, 1);
                    self.set(Fixed::Offset, row, linear.bound);
                    self.layout.fills[row] = Fill::Loose;
                }
            }
        }
        self.pads(start, end, linear.out);
        let count = linear.positions.len();
        let place = |o: usize, p: usize| start + (o / lanes * linear.plane + linear.positions[p] as usize) * stride;
        match fused {
            None => {
                for o in 0..linear.channels {
                    for p in 0..count {
                        self.hold(linear.out, (o * count + p) as u32, place(o, p), o % lanes);
                    }
                }
            }
            Some((narrowing, _)) => {
                let steps = self.steps;
                let Step::Narrow { out, x, lo, hi, divisor, chain, .. } = &steps.steps[narrowing] else {
                    return Err(Error::Unsupported("only a narrowing stands in a layer's rows".into()));
                };
                let lookup = self.lookup((*out, x.len()), (*lo, *hi), *divisor, chain)?;
                for o in (0..linear.channels).step_by(lanes) {
                    for p in 0..count {
                        let row = place(o, p);
                        self.set(Fixed::Quotient, row, 0);
                        self.dress(row, &lookup);
                    }
                }
                for (i, e) in x.iter().enumerate() {
                    let (_, at) = e.single().ok_or_else(|| Error::Unsupported("a narrowing of sums".into()))?;
                    let (o, p) = (at as usize / count, at as usize % count);
                    self.hold(*out, i as u32, place(o, p) + stride - 1, o % lanes);
                }
                self.uses.fuse(narrowing);
            }
        }
        let block = self.parts(linear, start, stride)?;
        self.finish(Block { start, end, ..block });
        Ok(())
    }

    /// How many rows the narrowing takes for each of the layer's, if lanes without a channel satisfy it, its results lie as
    /// their readers want, and it would take no fewer rows elsewhere: blocks of coefficients reach half as many rows if
    /// results take two, so there may not be many of them.
    fn fits_in(&self, linear: &Linear, narrowing: usize) -> Option<usize> {
        let Step::Narrow { out, x, lo, hi, divisor, chain, .. } = &self.steps.steps[narrowing] else { return None };
        if *divisor > self.limits.entries || *lo > 0 || *hi < 0 {
            return None;
        }
        let quotients = (rounded(*lo, *divisor), rounded(*hi, *divisor));
        let height = if self.one_look_up(quotients, x.len(), chain) { 1 } else { 2 };
        let lanes = self.lanes();
        let own = linear.channels.div_ceil(lanes) * linear.plane;
        let taps = |part: &Part| if let Part::Taps { taps, .. } = part { taps.len() } else { 0 };
        let coefficients: usize = linear.parts.iter().map(taps).sum();
        if height > 1 && (own > height * x.len().div_ceil(lanes) || coefficients > own * lanes) {
            return None;
        }
        self.lies_as_wanted(linear, *out, x).then_some(height)
    }

    fn lies_as_wanted(&self, linear: &Linear, out: u32, x: &[Affine]) -> bool {
        let count = linear.positions.len();
        let Some(wanted) = self.uses.wanted.get(&out) else { return true };
        // The members of a run must follow each other in one channel, with nothing of others in between.
        wanted.iter().all(|run| {
            let places: Option<Vec<usize>> =
                run.iter().map(|&(at, _)| x[at as usize].single().map(|(_, at)| at as usize)).collect();
            let Some(mut places) = places else { return false };
            places.sort_unstable();
            places.windows(2).all(|w| w[1] == w[0] + 1)
                && places.first().map(|p| p / count) == places.last().map(|p| p / count)
        })
    }

    /// Everything that adds to a layer. Runs that cannot be read in place are copied first, in blocks of their own.
    fn parts(&mut self, linear: &Linear, start: usize, stride: usize) -> Result<Block, Error> {
        let lanes = self.lanes();
        let first_of = |o: u32| o as usize / lanes * linear.plane * stride;
        let mut runs: Vec<&Run> = Vec::new();
        let mut shifts = Vec::new();
        for part in &linear.parts {
            match part {
                Part::Taps { run, .. } => {
                    runs.push(run);
                    shifts.push(0);
                }
                Part::Product { left, right, out } => {
                    runs.push(left);
                    shifts.push(0);
                    runs.push(right);
                    shifts.push(start + first_of(*out));
                }
                Part::Bias { .. } | Part::Single { .. } => {}
            }
        }
        let mut ones = Vec::new();
        for part in &linear.parts {
            if let Part::Bias { .. } = part {
                ones.push(self.ones(linear, start, stride)?);
            }
        }
        let placed = self.runs(&runs, &shifts, stride)?;
        let mut placed = placed.into_iter();
        let mut ones = ones.into_iter();
        let block = self.block(start, start);
        let missing = || Error::Unsupported("a run has no place".into());
        for part in &linear.parts {
            match part {
                Part::Taps { taps, .. } => {
                    let run = placed.next().ok_or_else(missing)?;
                    let entry = |tap: &Tap| {
                        let row = first_of(tap.out) + tap.shift as usize * stride;
                        (row, tap.out as usize % lanes, tap.coefficient)
                    };
                    let entries = taps.iter().map(entry).collect();
                    self.coefficients(run.sum, start + run.exponent as usize, entries, 1)?;
                }
                Part::Product { out, .. } => {
                    let (left, right) = (placed.next().ok_or_else(missing)?, placed.next().ok_or_else(missing)?);
                    let constants = vec![((*out as usize % lanes) as u8, 1)];
                    self.summand(Summand {
                        x: left.sum,
                        s: right.sum,
                        constants,
                        weights: vec![],
                        digit: 0,
                        factor: 0,
                    });
                }
                Part::Bias { coefficients, factor } => {
                    for (group, operands) in ones.next().ok_or_else(missing)?.into_iter().enumerate() {
                        let own = coefficients.iter().enumerate().skip(group * lanes).take(lanes);
                        let entries: Vec<(usize, usize, Coefficient)> =
                            own.map(|(o, &coefficient)| (0, o % lanes, coefficient)).collect();
                        self.everywhere(operands, entries, *factor)?;
                    }
                }
                Part::Single { coefficients, factor } => {
                    let entry = |&(o, p, coefficient): &(u32, u32, Coefficient)| {
                        let row = first_of(o) + linear.positions[p as usize] as usize * stride;
                        (row, o as usize % lanes, coefficient)
                    };
                    let entries = coefficients.iter().map(entry).collect();
                    self.coefficients(Operand::Power(0), start, entries, *factor)?;
                }
            }
        }
        Ok(block)
    }

    /// Coefficients, a factor, and a product of two sums.
    fn everywhere(
        &mut self,
        (x, s): (Operand, Operand),
        entries: Vec<(usize, usize, Coefficient)>,
        factor: i64,
    ) -> Result<(), Error> {
        let from = self.layout.summands.len();
        self.coefficients(x, 0, entries, factor)?;
        for summand in &mut self.layout.summands[from..] {
            summand.s = s;
        }
        Ok(())
    }

    /// For each group of channels the sum of the powers of all its results' rows, as a product: lines times columns.
    fn ones(&mut self, linear: &Linear, start: usize, stride: usize) -> Result<Vec<(Operand, Operand)>, Error> {
        let positions = &linear.positions;
        let width = positions.windows(2).take_while(|w| w[1] == w[0] + 1).count() + 1;
        let lines: Vec<u32> = positions.iter().step_by(width).copied().collect();
        let regular = positions.len() % width == 0
            && positions.iter().enumerate().all(|(i, &p)| p == lines[i / width] + (i % width) as u32);
        let (width, lines) = if regular { (width, lines) } else { (1, positions.clone()) };
        let step = stride as u32;
        let columns = match self.ones.get(&(width, stride)) {
            Some(&end) => end,
            None => {
                let end = self.run_of_ones((0..width as u32).map(|column| column * step))?;
                self.ones.insert((width, stride), end);
                end
            }
        };
        let columns = Operand::Sum { row: columns, lane: 0 };
        let mut operands = Vec::new();
        for group in 0..linear.channels.div_ceil(self.lanes()) {
            let base = (start + group * linear.plane * stride) as u32;
            operands.push(match lines[..] {
                [line] => (columns, Operand::Power(base + line * step)),
                _ => {
                    let end = self.run_of_ones(lines.iter().map(|line| base + line * step))?;
                    (columns, Operand::Sum { row: end, lane: 0 })
                }
            });
        }
        Ok(operands)
    }

    /// Rows of ones with these exponents; returns the last.
    fn run_of_ones(&mut self, exponents: impl Iterator<Item = u32>) -> Result<u32, Error> {
        let exponents: Vec<u32> = exponents.collect();
        let start = self.rows(exponents.len());
        let end = start + exponents.len();
        for (row, exponent) in (start..end).zip(exponents) {
            self.raw(row, 0)?;
            self.raise_offset(row, 1)?;
            self.powers_at(row, exponent, row > start, (end - 1) as u32);
        }
        let block = self.block(start, end);
        self.finish(block);
        Ok((end - 1) as u32)
    }

    fn powers_at(&mut self, row: usize, exponent: u32, goes_on: bool, end: u32) {
        self.layout.powers[row] = Some(exponent);
        self.row_uses[row] = Use::Run(end);
        self.set(Fixed::Added, row, 1);
        self.set(Fixed::Keep, row, i64::from(goes_on));
    }

    /// Places runs; `shifts` are added to their exponents, times `stride`.
    fn runs(&mut self, runs: &[&Run], shifts: &[usize], stride: usize) -> Result<Vec<Placed>, Error> {
        let mut placed: Vec<Option<Placed>> = Vec::with_capacity(runs.len());
        for (run, &shift) in runs.iter().zip(shifts) {
            placed.push(self.in_place(run, shift, stride)?);
        }
        let open: Vec<usize> = (0..runs.len()).filter(|&i| placed[i].is_none()).collect();
        let mut at = 0;
        while at < open.len() {
            let exponents = |i: usize| runs[i].elements.iter().map(move |m| m.1 as usize * stride + shifts[i]);
            let first = open[at];
            let same = |i: &&usize| exponents(**i).eq(exponents(first));
            let together: Vec<usize> = open[at..].iter().take(self.lanes()).take_while(same).copied().collect();
            self.copied((runs, shifts, stride), &together, &mut placed)?;
            at += together.len();
        }
        placed.into_iter().map(|p| p.ok_or_else(|| Error::Unsupported("a run has no place".into()))).collect()
    }

    /// Runs of equal exponents, copied into lanes side by side.
    fn copied(
        &mut self,
        (runs, shifts, stride): (&[&Run], &[usize], usize),
        together: &[usize],
        placed: &mut [Option<Placed>],
    ) -> Result<(), Error> {
        let length = runs[together[0]].elements.len();
        let mut x: Vec<Affine> = Vec::with_capacity(length * together.len());
        let mut rows = Vec::with_capacity(length);
        for member in 0..length {
            let mut row = vec![None; self.lanes()];
            for (lane, &run) in together.iter().enumerate() {
                row[lane] = Some(x.len() as u32);
                x.push(runs[run].elements[member].0.clone());
            }
            rows.push(row);
        }
        let (mut lo, mut hi) = (0, 0);
        for e in &x {
            let (least, most) = self.ends(e);
            (lo, hi) = (lo.min(least), hi.max(most));
        }
        let start = self.rows(length);
        let end = start + length;
        self.copies(start, &Arrangement { rows }, &x, (lo, hi))?;
        let shift = shifts[together[0]];
        let least = if shift > 0 { 0 } else { runs[together[0]].elements.iter().map(|m| m.1).min().unwrap_or(0) };
        for (row, &(_, exponent)) in (start..end).zip(&runs[together[0]].elements) {
            let exponent = (exponent - least) * stride as u32 + shift as u32;
            self.powers_at(row, exponent, row > start, (end - 1) as u32);
        }
        for (lane, &run) in together.iter().enumerate() {
            let sum = Operand::Sum { row: (end - 1) as u32, lane: lane as u8 };
            placed[run] = Some(Placed { sum, exponent: least * stride as u32 });
        }
        Ok(())
    }

    /// About the least and the largest that an expression can be, only to keep cells small.
    fn ends(&self, x: &Affine) -> (i64, i64) {
        use crate::steps::Source;
        let (mut lo, mut hi) = (x.constant, x.constant);
        for term in &x.terms {
            let Source::Element { tensor, .. } = term.source else { continue };
            let Some(made) = self.steps.tensors.get(tensor as usize) else { continue };
            let ends = [made.lo.saturating_mul(term.factor), made.hi.saturating_mul(term.factor)];
            lo = lo.saturating_add(ends[0].min(ends[1]));
            hi = hi.saturating_add(ends[0].max(ends[1]));
        }
        (lo.max(-(1 << 60)), hi.min(1 << 60))
    }

    /// A run whose members stand one below the other, with nothing of others between, and that nobody else reads.
    fn in_place(&mut self, run: &Run, shift: usize, stride: usize) -> Result<Option<Placed>, Error> {
        let cells: Option<Vec<Member>> = run
            .elements
            .iter()
            .map(|(x, exponent)| {
                x.single().map(|(tensor, at)| {
                    (self.layout.cells[tensor as usize][at as usize], (tensor, at), exponent * stride as u32)
                })
            })
            .collect();
        let Some(mut cells) = cells else { return Ok(None) };
        if let ([(cell, _, exponent)], 0) = (&cells[..], shift) {
            if matches!(self.row_uses[cell.0 as usize], Use::Free | Use::Single) {
                let (cell, exponent) = (*cell, *exponent);
                return Ok(Some(Placed { sum: self.single(cell)?, exponent }));
            }
        }
        let in_run =
            |&(_, (tensor, at), _): &Member| self.uses.only_in_one_run(tensor, at) && !self.apart.contains(&tensor);
        if !cells.iter().all(in_run) {
            return Ok(None);
        }
        cells.sort_unstable();
        let lane = cells[0].0 .1;
        let (first, last) = (cells[0].0 .0 as usize, cells[cells.len() - 1].0 .0 as usize);
        let least = if shift > 0 { 0 } else { cells.iter().map(|c| c.2).min().unwrap_or(0) };
        let mut exponents = vec![None; last - first + 1];
        for &((row, own), _, exponent) in &cells {
            if own != lane || exponents[row as usize - first].replace(exponent - least + shift as u32).is_some() {
                return Ok(None);
            }
        }
        let end = last as u32;
        for (row, exponent) in (first..=last).zip(&exponents) {
            let keeps = self.layout.fixed(Fixed::Keep, row) != 0;
            let fits = match (exponent, self.row_uses[row]) {
                (Some(_), Use::Free) => self.alone(row),
                // A longer run may go on where this one ends: its sum here is the sum of what it shares.
                (Some(e), Use::Run(_)) => self.layout.powers[row] == Some(*e) && keeps == (row > first),
                // What moves to the row below may be passed over, for a row's sum and its power are two cells.
                (None, Use::Free | Use::Moved) => self.held[row].iter().all(Option::is_none),
                (None, Use::Passed) => keeps,
                _ => false,
            };
            if !fits {
                return Ok(None);
            }
        }
        for (row, exponent) in (first..=last).zip(&exponents) {
            match exponent {
                Some(e) => self.powers_at(row, *e, row > first, end),
                None => {
                    if self.row_uses[row] == Use::Free {
                        self.row_uses[row] = Use::Passed;
                    }
                    self.set(Fixed::Keep, row, 1);
                }
            }
        }
        Ok(Some(Placed { sum: Operand::Sum { row: end, lane }, exponent: least }))
    }

    /// Whether all values of a row are read by runs only, each once.
    fn alone(&self, row: usize) -> bool {
        self.held[row].iter().flatten().all(|&(tensor, at)| self.uses.only_in_one_run(tensor, at))
    }
}
