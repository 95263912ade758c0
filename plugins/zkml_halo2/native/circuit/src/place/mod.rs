//! From steps to rows.

mod arrange;
mod cut;
mod feed;
mod gadgets;
mod layers;
mod uses;

use std::collections::{HashMap, HashSet};

use crate::layout::{Block, Fill, Fixed, Layout, PublicPart, Shape, Summand, Tables, FIXED};
use crate::lower::narrow::bits_for;
use crate::lower::Limits;
use crate::steps::{Affine, Linear, Made, Step, Steps};
use crate::Error;
use arrange::Arrangement;
use feed::Bounds;
use gadgets::Lookup;
use uses::Uses;

/// What the power of a left row is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Free,
    /// The power is 1, so the row's sums are its values.
    Single,
    /// The values move to one other row.
    Moved,
    /// Part of a run that ends at this row.
    Run(u32),
    /// Passed over by such a run.
    Passed,
}

pub(crate) struct Placement<'a> {
    steps: &'a Steps,
    limits: Limits,
    uses: Uses,
    /// Layers with other runs than their steps have.
    cut: &'a HashMap<usize, Linear>,
    /// Tensors whose values are read one by one.
    apart: &'a HashSet<u32>,
    /// Tensors of a row that runs end at, and that somebody else wants a value of.
    conflict: HashSet<u32>,
    layout: Layout,
    row_uses: Vec<Use>,
    /// Whether lanes without an element hold a value of the row's tensor.
    pads_hold: Vec<bool>,
    /// The element in each lane of each left row.
    held: Vec<Vec<Option<(u32, u32)>>>,
    /// Runs of ones, by length and distance of exponents: the row where each ends.
    ones: HashMap<(usize, usize), u32>,
    digits_of: &'a dyn Fn(u32) -> u8,
    /// The rows of inputs that have no block yet: start and end, the last first.
    input_rows: Vec<(usize, usize)>,
}

/// How all lanes of the rows of an input are kept in range.
enum Ranged {
    /// They are not: an element stands alone in its row, or steps of its own show that it is in range.
    No,
    /// By a table of the interval.
    Table,
    /// By limbs of so many bits.
    Limbs(u32),
}

/// Lays the steps out in this shape, with inputs cut where that takes fewer rows. `digits_of` says how many digits a private
/// weight of a node has.
pub fn place(steps: &Steps, shape: Shape, limits: Limits, digits_of: &dyn Fn(u32) -> u8) -> Result<Layout, Error> {
    let whole = lay_out(steps, (Uses::of(steps), &HashMap::new()), shape, limits, digits_of);
    let mut uses = Uses::of(steps);
    let layers = cut::layers(steps, &mut uses, shape.lanes);
    if layers.is_empty() {
        return whole;
    }
    match (whole, lay_out(steps, (uses, &layers), shape, limits, digits_of)) {
        (Ok(whole), Ok(cut)) if cut.height() < whole.height() => Ok(cut),
        (Err(Error::TooSmall(_)), cut) => cut,
        (whole, _) => whole,
    }
}

/// Lays out; where a value of a row that runs end at is wanted alone, once more with the values of its tensor read one by one.
fn lay_out(
    steps: &Steps,
    (uses, cut): (Uses, &HashMap<usize, Linear>),
    shape: Shape,
    limits: Limits,
    digits_of: &dyn Fn(u32) -> u8,
) -> Result<Layout, Error> {
    let mut apart = HashSet::new();
    loop {
        let mut placement = Placement::new(steps, (uses.clone(), cut, &apart), shape, limits, digits_of);
        match placement.all() {
            Err(_) if !placement.conflict.is_subset(&apart) => {
                let conflict = std::mem::take(&mut placement.conflict);
                apart.extend(conflict);
            }
            done => return done.map(|()| placement.layout),
        }
    }
}

impl<'a> Placement<'a> {
    fn new(
        steps: &'a Steps,
        (uses, cut, apart): (Uses, &'a HashMap<usize, Linear>, &'a HashSet<u32>),
        shape: Shape,
        limits: Limits,
        digits_of: &'a dyn Fn(u32) -> u8,
    ) -> Self {
        let layout = Layout {
            shape,
            fixed: vec![Vec::new(); FIXED],
            powers: Vec::new(),
            fills: Vec::new(),
            summands: Vec::new(),
            blocks: Vec::new(),
            tables: Tables::default(),
            cells: steps.tensors.iter().map(|made| vec![(u32::MAX, 0); made.size]).collect(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            public_rows: 0,
        };
        Self {
            steps,
            limits,
            uses,
            cut,
            apart,
            conflict: HashSet::new(),
            layout,
            row_uses: Vec::new(),
            pads_hold: Vec::new(),
            held: Vec::new(),
            ones: HashMap::new(),
            digits_of,
            input_rows: Vec::new(),
        }
    }

    fn all(&mut self) -> Result<(), Error> {
        self.public_rows();
        for (at, step) in self.steps.steps.iter().enumerate() {
            self.step(at, step)?;
            if self.layout.height() > self.layout.shape.rows() {
                return Err(Error::TooSmall(format!("more than {} rows", self.layout.shape.rows())));
            }
        }
        self.layout.check()
    }

    fn lanes(&self) -> usize {
        self.layout.shape.lanes
    }

    /// New left rows.
    fn rows(&mut self, count: usize) -> usize {
        let start = self.layout.fills.len();
        let end = start + count;
        for column in &mut self.layout.fixed {
            column.resize(end, 0);
        }
        self.layout.powers.resize(end, None);
        self.layout.fills.resize(end, Fill::Given);
        self.row_uses.resize(end, Use::Free);
        self.pads_hold.resize(end, true);
        self.held.resize(end, vec![None; self.layout.shape.lanes]);
        start
    }

    fn set(&mut self, column: Fixed, row: usize, value: i64) {
        self.layout.fixed[column as usize][row] = value;
    }

    fn hold(&mut self, tensor: u32, at: u32, row: usize, lane: usize) {
        self.layout.cells[tensor as usize][at as usize] = (row as u32, lane as u8);
        self.held[row][lane] = Some((tensor, at));
    }

    fn summand(&mut self, summand: Summand) {
        self.layout.summands.push(summand);
    }

    /// Begins a block at rows that exist already.
    fn block(&mut self, start: usize, end: usize) -> Block {
        let from = self.layout.summands.len();
        Block { start, end, summands: from..from, ..Block::default() }
    }

    fn finish(&mut self, mut block: Block) {
        block.summands.end = self.layout.summands.len();
        self.layout.blocks.push(block);
    }

    fn entries_fit(&self, lo: i64, hi: i64) -> bool {
        i128::from(hi) - i128::from(lo) < i128::from(self.limits.entries)
    }

    /// Inputs and outputs stand first, so that public values are few rows.
    fn public_rows(&mut self) {
        let steps = self.steps;
        for step in &steps.steps {
            match step {
                Step::Input { out, node } => self.input(*out, *node),
                Step::Output { x, lo, hi } => {
                    let packed = self.packs(*lo, *hi);
                    let width = if packed { self.lanes() } else { 1 };
                    let start = self.rows(x.len().div_ceil(width));
                    let cells = (0..x.len()).map(|i| ((start + i / width) as u32, (i % width) as u8)).collect();
                    self.layout.outputs.push(PublicPart { node: None, lo: *lo, hi: *hi, cells, packed });
                }
                _ => {}
            }
        }
        self.layout.public_rows = self.layout.fills.len();
        self.input_rows.reverse();
    }

    fn input(&mut self, out: u32, node: usize) {
        let made = self.steps.tensors[out as usize];
        let (lo, hi) = (made.lo, made.hi);
        let hidden = self.layout.shape.hidden;
        let ranged = self.ranged(made);
        let packed = !matches!(ranged, Ranged::No);
        let mut lookup = match ranged {
            Ranged::No => Lookup { height: 1, fill: Fill::Given, rows: [vec![], vec![]] },
            Ranged::Table => {
                let identity = self.layout.tables.tag((0..=hi - lo).collect());
                Lookup { height: 1, fill: Fill::Given, rows: [vec![(Fixed::TagQuotient, identity)], vec![]] }
            }
            Ranged::Limbs(bits) => self.beside_limbs(bits),
        };
        lookup.rows[0].push((Fixed::Raise, lo));
        if !hidden {
            lookup.rows[0].push((Fixed::Public, 1));
            lookup.rows[0].push((Fixed::PublicLanes, i64::from(packed)));
        }
        let arrangement = self.input_arrangement(out, made.size, packed || hidden);
        let start = self.rows(arrangement.rows.len() * lookup.height);
        self.input_rows.push((start, self.layout.fills.len()));
        let mut cells = vec![(0, 0); made.size];
        for (row, lanes) in arrangement.rows.iter().enumerate() {
            let row = start + row * lookup.height;
            self.dress(row, &lookup);
            for (lane, element) in lanes.iter().enumerate() {
                if let Some(at) = *element {
                    self.hold(out, at, row, lane);
                    cells[at as usize] = (row as u32, lane as u8);
                }
            }
        }
        self.layout.inputs.push(PublicPart { node: Some(node), lo, hi, cells, packed });
    }

    /// Hidden inputs need not fit into one public value; those that fit no table are in range by steps of their own.
    fn ranged(&self, made: Made) -> Ranged {
        let span = i128::from(made.hi) - i128::from(made.lo);
        if self.layout.shape.hidden {
            return if self.entries_fit(made.lo, made.hi) { Ranged::Table } else { Ranged::No };
        }
        if span >= 1i128 << self.layout.shape.packed {
            return Ranged::No;
        }
        if self.limits.one_look_up(made.lo, made.hi, made.size) {
            return Ranged::Table;
        }
        // The verifier reads the values, so limbs only have to keep lanes from reaching into each other.
        match bits_for(span + 1) {
            bits if self.limb_bits(bits, true).1 == 0 => Ranged::Limbs(bits),
            _ => Ranged::No,
        }
    }

    fn packs(&self, lo: i64, hi: i64) -> bool {
        let span = i128::from(hi) - i128::from(lo);
        self.entries_fit(lo, hi) && span < 1i128 << self.layout.shape.packed
    }

    fn step(&mut self, at: usize, step: &Step) -> Result<(), Error> {
        match step {
            Step::Input { .. } => {
                let (start, end) = self.input_rows.pop().unwrap_or_default();
                let block = self.block(start, end);
                self.finish(block);
                Ok(())
            }
            Step::Linear(linear) => {
                let cut = self.cut;
                self.linear(at, cut.get(&at).unwrap_or(linear))
            }
            Step::Narrow { .. } if self.uses.fused(at).is_some() => Ok(()),
            Step::Narrow { out, x, lo, hi, divisor, chain, related } => {
                let bounds = if *related { Bounds::Related(*lo, *hi) } else { Bounds::Interval(*lo, *hi) };
                self.narrow(*out, x, bounds, *divisor, chain)
            }
            Step::Product { out, u, v } => self.product(*out, u, v),
            Step::Hinted { out, hint, x, y, lo, bits } => self.hinted(*out, *hint, (x, y), *lo, *bits),
            Step::Range { x, bits } => self.limbs(None, x, 0, *bits),
            Step::Sign { out, x, bits } => self.limbs(Some(*out), x, 1i64 << bits, bits + 1),
            Step::Copy { out, x } => self.copy(*out, x),
            Step::Output { x, lo, hi } => self.output(x, *lo, *hi),
        }
    }

    /// Rows for a tensor, `height` for each row of its arrangement; the element is held in the last of them.
    fn arranged(&mut self, out: Option<u32>, x: &[Affine], height: usize) -> (usize, Arrangement) {
        let arrangement = self.arrangement(out, x);
        let start = self.rows(arrangement.rows.len() * height);
        if let Some(out) = out {
            for (row, lanes) in arrangement.rows.iter().enumerate() {
                for (lane, element) in lanes.iter().enumerate() {
                    if let Some(at) = *element {
                        self.hold(out, at, start + row * height + height - 1, lane);
                    }
                }
            }
        }
        (start, arrangement)
    }
}
