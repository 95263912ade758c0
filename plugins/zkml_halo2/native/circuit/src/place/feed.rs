//! The right half: how values, constants and weights reach the rows that read them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Placement, Use};
use crate::layout::{Block, Fixed, Operand, Summand, DIGIT};
use crate::steps::{Affine, Coefficient, Source};
use crate::Error;

/// A place of the left half and what the linear part must make of it.
pub(super) struct Target<'a> {
    pub row: usize,
    pub lane: usize,
    pub x: &'a Affine,
}

/// What values the rows of a block can take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds {
    None,
    /// Any values, as long as those that they are made of lie in their own intervals.
    Interval(i64, i64),
    /// Only values that belong together.
    Related(i64, i64),
}

impl Bounds {
    fn clamp(self, value: i64) -> i64 {
        match self {
            Self::None => value,
            Self::Interval(lo, hi) | Self::Related(lo, hi) => value.clamp(lo, hi),
        }
    }
}

/// How a whole row is read.
struct Whole {
    factor: i64,
    /// Whether nothing else reads the row.
    once: bool,
}

/// Row and lane of a value.
type Cell = (u32, u8);

struct Wire {
    from: Cell,
    to: (usize, usize),
    factor: i64,
}

impl Placement<'_> {
    /// Feeds places of a block. Lanes of their rows that are no targets get a value in the bounds, if there are any.
    pub(super) fn feed(&mut self, block: &mut Block, targets: &[Target], bounds: Bounds) -> Result<(), Error> {
        let wires = self.wires(targets)?;
        let rows = self.whole_rows(&wires, targets, bounds);
        let mut fed = HashSet::new();
        for (&(from, to), whole) in &rows {
            fed.insert(to);
            if whole.once {
                self.layout.powers[from as usize] = Some(to as u32);
                self.row_uses[from as usize] = Use::Moved;
                self.set(Fixed::Move, from as usize, whole.factor);
                block.moves.push((from, to as u32));
            } else {
                self.single((from, 0))?;
                self.constants(Operand::Whole { row: from }, to, vec![(0, whole.factor)])?;
            }
        }
        block.moves.sort_unstable();
        let mut singles: BTreeMap<(Cell, usize), Vec<(u8, i64)>> = BTreeMap::new();
        for wire in wires.iter().filter(|wire| !rows.contains_key(&(wire.from.0, wire.to.0))) {
            singles.entry((wire.from, wire.to.0)).or_default().push((wire.to.1 as u8, wire.factor));
        }
        for ((from, to), constants) in singles {
            let x = self.single(from)?;
            self.constants(x, to, constants)?;
        }
        self.feed_constants(targets, &fed, bounds)?;
        self.feed_weights(targets)
    }

    fn wires(&self, targets: &[Target]) -> Result<Vec<Wire>, Error> {
        let mut wires = Vec::new();
        for target in targets {
            for term in &target.x.terms {
                if let Source::Element { tensor, at } = term.source {
                    let from = self.layout.cells[tensor as usize][at as usize];
                    if from.0 == u32::MAX {
                        return Err(Error::Unsupported("an element is read before it is made".into()));
                    }
                    wires.push(Wire { from, to: (target.row, target.lane), factor: term.factor });
                }
            }
        }
        Ok(wires)
    }

    /// The rows that can be read as a whole: every value goes, with one factor for all, to its own lane of one row. Those
    /// that nothing else reads need no row of the right half.
    fn whole_rows(&self, wires: &[Wire], targets: &[Target], bounds: Bounds) -> BTreeMap<(u32, usize), Whole> {
        let lanes = self.lanes();
        let real: HashSet<(usize, usize)> = targets.iter().map(|t| (t.row, t.lane)).collect();
        let full = |row: usize| (0..lanes).all(|lane| real.contains(&(row, lane)));
        let mut pairs: BTreeMap<(u32, usize), Vec<&Wire>> = BTreeMap::new();
        let mut targets_of: HashMap<u32, HashSet<usize>> = HashMap::new();
        for wire in wires {
            pairs.entry((wire.from.0, wire.to.0)).or_default().push(wire);
            targets_of.entry(wire.from.0).or_default().insert(wire.to.0);
        }
        let mut rows = BTreeMap::new();
        for (&(from, to), wires) in &pairs {
            let factor = wires[0].factor;
            let mut straight = vec![0; lanes];
            let aligned = wires.iter().all(|w| {
                straight[w.to.1] += 1;
                w.factor == factor && w.to.1 == w.from.1 as usize
            });
            let covered = (0..lanes).all(|lane| straight[lane] == usize::from(real.contains(&(to, lane))));
            if !aligned || !covered {
                continue;
            }
            let held = &self.held[from as usize];
            let alone = |lane: usize| {
                held[lane].is_none_or(|(tensor, at)| self.uses.count(tensor, at) == 1 && straight[lane] == 1)
            };
            let once =
                self.row_uses[from as usize] == Use::Free && targets_of[&from].len() == 1 && (0..lanes).all(alone);
            let readable = matches!(self.row_uses[from as usize], Use::Free | Use::Single);
            let several = self.layout.shape.whole && lanes > 1 && readable && wires.len() > 1;
            if once || several {
                rows.insert((from, to), Whole { factor, once });
            }
        }
        if !matches!(bounds, Bounds::None) {
            // Lanes that nobody uses hold what comes with the rows, so that must be all of it, and as good as any.
            let free = matches!(bounds, Bounds::Interval(..));
            let single = pairs.keys().filter(|pair| !rows.contains_key(pair));
            let bad = rows.keys().filter(|(from, _)| !free || !self.pads_hold[*from as usize]);
            let mixed: HashSet<usize> = single.chain(bad).map(|pair| pair.1).collect();
            rows.retain(|(_, to), _| !mixed.contains(to) || full(*to));
        }
        rows
    }

    /// The operand that is the value of a cell.
    pub(super) fn single(&mut self, (row, lane): (u32, u8)) -> Result<Operand, Error> {
        match self.row_uses[row as usize] {
            Use::Free | Use::Single => {
                self.row_uses[row as usize] = Use::Single;
                self.layout.powers[row as usize] = Some(0);
                self.set(Fixed::Added, row as usize, 1);
                Ok(Operand::Sum { row, lane })
            }
            other => {
                self.conflict.extend(self.held[row as usize].iter().flatten().map(|(tensor, _)| tensor));
                Err(Error::Unsupported(format!("a value of row {row} is read in two ways ({other:?})")))
            }
        }
    }

    /// x times constants, in the lanes of one row. A lane has one cell, so what goes to the same lane is added up.
    pub(super) fn constants(&mut self, x: Operand, row: usize, constants: Vec<(u8, i64)>) -> Result<(), Error> {
        let mut lanes: BTreeMap<u8, i64> = BTreeMap::new();
        for (lane, factor) in constants {
            let sum = lanes.entry(lane).or_default();
            *sum = sum.checked_add(factor).ok_or_else(Error::too_wide)?;
        }
        let constants: Vec<(u8, i64)> = lanes.into_iter().filter(|&(_, factor)| factor != 0).collect();
        if !constants.is_empty() {
            let s = Operand::Power(row as u32);
            self.summand(Summand { x, s, constants, weights: vec![], digit: 0, factor: 0 });
        }
        Ok(())
    }

    /// The constant that all lanes of a row share goes into its offset, what differs is added.
    fn feed_constants(&mut self, targets: &[Target], fed: &HashSet<usize>, bounds: Bounds) -> Result<(), Error> {
        let mut rows: BTreeMap<usize, HashMap<usize, i64>> = BTreeMap::new();
        for target in targets {
            rows.entry(target.row).or_default().insert(target.lane, target.x.constant);
        }
        for (row, lanes) in rows {
            let common = *lanes.iter().min_by_key(|(lane, _)| **lane).map(|(_, c)| c).unwrap_or(&0);
            self.raise_offset(row, common)?;
            let mut constants = Vec::new();
            for lane in 0..self.lanes() {
                let wanted = match lanes.get(&lane) {
                    Some(&constant) => constant,
                    None if fed.contains(&row) => common,
                    None => bounds.clamp(common),
                };
                let differs = wanted.checked_sub(common).ok_or_else(Error::too_wide)?;
                constants.push((lane as u8, differs));
            }
            self.constants(Operand::Power(0), row, constants)?;
        }
        Ok(())
    }

    pub(super) fn raise_offset(&mut self, row: usize, by: i64) -> Result<(), Error> {
        let now = self.layout.fixed(Fixed::Offset, row).checked_add(by).ok_or_else(Error::too_wide)?;
        self.set(Fixed::Offset, row, now);
        Ok(())
    }

    fn feed_weights(&mut self, targets: &[Target]) -> Result<(), Error> {
        let mut by_factor: BTreeMap<i64, Vec<(usize, usize, Coefficient)>> = BTreeMap::new();
        for target in targets {
            for term in &target.x.terms {
                if let Source::Weight { node, at } = term.source {
                    let coefficient = Coefficient::Weight { node, at };
                    by_factor.entry(term.factor).or_default().push((target.row, target.lane, coefficient));
                }
            }
        }
        for (factor, entries) in by_factor {
            self.coefficients(Operand::Power(0), 0, entries, factor)?;
        }
        Ok(())
    }

    /// x times coefficients at rows and lanes; `shift` is added to the rows. Blocks of neighbouring rows share a row.
    pub(super) fn coefficients(
        &mut self,
        x: Operand,
        shift: usize,
        mut entries: Vec<(usize, usize, Coefficient)>,
        factor: i64,
    ) -> Result<(), Error> {
        let shape = self.layout.shape;
        if shape.private {
            let mut constants: BTreeMap<usize, Vec<(u8, i64)>> = BTreeMap::new();
            for &(row, lane, coefficient) in &entries {
                if let Coefficient::Constant(value) = coefficient {
                    let value = value.checked_mul(factor).ok_or_else(Error::too_wide)?;
                    constants.entry(row).or_default().push((lane as u8, value));
                }
            }
            entries.retain(|(_, _, coefficient)| matches!(coefficient, Coefficient::Weight { .. }));
            for (row, constants) in constants {
                self.constants(x, shift + row, constants)?;
            }
        }
        entries.sort_by_key(|&(row, lane, _)| (row, lane));
        let mut rest = entries;
        while !rest.is_empty() {
            let first = rest[0].0;
            let mut taken: HashMap<u16, Coefficient> = HashMap::new();
            let mut order = Vec::new();
            let mut left = Vec::new();
            for entry in rest {
                let (row, lane, coefficient) = entry;
                let column = ((row - first) * shape.lanes + lane) as u16;
                if row - first < shape.taps && !taken.contains_key(&column) {
                    taken.insert(column, coefficient);
                    order.push((column, coefficient));
                } else {
                    left.push(entry);
                }
            }
            self.digits(x, shift + first, &order, factor)?;
            rest = left;
        }
        Ok(())
    }

    /// One row for each digit that a private weight of the block may have.
    fn digits(&mut self, x: Operand, row: usize, weights: &[(u16, Coefficient)], factor: i64) -> Result<(), Error> {
        let s = Operand::Power(row as u32);
        if !self.layout.shape.private {
            self.summand(Summand { x, s, constants: vec![], weights: weights.to_vec(), digit: 0, factor });
            return Ok(());
        }
        let count = |c: &Coefficient| match c {
            Coefficient::Weight { node, .. } => (self.digits_of)(*node),
            Coefficient::Constant(_) => 0,
        };
        let most = weights.iter().map(|(_, c)| count(c)).max().unwrap_or(0);
        let mut base = Some(factor);
        for digit in 0..most {
            let weights: Vec<_> = weights.iter().filter(|(_, c)| count(c) > digit).copied().collect();
            let factor = base.ok_or_else(Error::too_wide)?;
            self.summand(Summand { x, s, constants: vec![], weights, digit, factor });
            base = factor.checked_mul(DIGIT);
        }
        Ok(())
    }
}
