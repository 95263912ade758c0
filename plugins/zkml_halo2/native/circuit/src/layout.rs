//! A circuit as rows: what stands in the fixed columns, what is copied where, and how each row is filled.
//!
//! Every row has two halves that know nothing of each other. The *left* half makes values: in each lane a look-up
//! (q, a), a second one (r), and what the linear part must equal. The *right* half is linear: a sum of earlier values, times a
//! power of the challenge or another such sum, times a block of coefficients. `docs/zkml-soundness.md` has the identities.

use std::collections::HashMap;

use crate::steps::{Affine, Coefficient, Hint};
use crate::Error;

/// Rows at the end that hold blinding, and the row where the running sums end.
pub const RESERVED: usize = 8;
/// A private weight is stored as digits of this base, each raised by half of it.
pub const DIGIT: i64 = 256;

/// The measures of a circuit: with them its columns and gates are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows are 2^k.
    pub k: u32,
    /// Values side by side in a row.
    pub lanes: usize,
    /// Rows that one block of coefficients reaches.
    pub taps: usize,
    /// Sets of table columns.
    pub tables: usize,
    /// Whether weights are advice, committed and hidden, or fixed.
    pub private: bool,
    /// Whether inputs are committed and hidden, or public.
    pub hidden: bool,
    /// Whether the right half can read all lanes of a row at once.
    pub whole: bool,
    /// Bits of each value where the values of all lanes share one public value.
    pub packed: u32,
}

impl Shape {
    /// Rows that values can stand in; the row behind them is where the sums end.
    pub fn rows(&self) -> usize {
        (1usize << self.k) - RESERVED
    }

    pub fn weight_columns(&self) -> usize {
        self.lanes * self.taps
    }

    /// Columns of hidden inputs: one for each lane.
    pub fn hidden_columns(&self) -> usize {
        if self.hidden {
            self.lanes
        } else {
            0
        }
    }
}

/// What a circuit keeps from those who verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    pub weights: bool,
    pub inputs: bool,
}

/// The fixed columns that every circuit has, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// 1 on all rows that values can stand in.
    Active,
    /// 1 on the first row.
    First,
    /// 1 on the first row and on the one behind the last.
    Ends,
    /// Whether the sum of a run goes on from the row before.
    Keep,
    /// Whether the row's value is added to a run.
    Added,
    /// What is added to a to give the value that it stands for.
    Raise,
    /// The factors of q, r, the next row's q, the next row's r, and a in what the linear part must equal.
    Quotient,
    Remainder,
    NextQuotient,
    NextRemainder,
    Value,
    /// What is subtracted from that.
    Offset,
    /// The factor with which the row's values move to the row that its power names.
    Move,
    /// The factor of the block of private weights.
    Weights,
    /// Whether a = q r.
    Product,
    /// Which table (q, a) and (r, 0) are in; 0 for none.
    TagQuotient,
    TagRemainder,
    /// Whether the first lane, and the other lanes too, are public.
    Public,
    PublicLanes,
}

pub const FIXED: usize = Fixed::PublicLanes as usize + 1;

/// What the right half multiplies: a power of the challenge, the sum of a run that ends at a lane of a row, or the sums of
/// all lanes there, each in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    Power(u32),
    Sum { row: u32, lane: u8 },
    Whole { row: u32 },
}

/// One row of the right half.
#[derive(Clone, Debug)]
pub struct Summand {
    pub x: Operand,
    pub s: Operand,
    /// Constant coefficients, by lane.
    pub constants: Vec<(u8, i64)>,
    /// Weights: column (tap * lanes + lane), coefficient.
    pub weights: Vec<(u16, Coefficient)>,
    /// Which digit of the weights this is, and the factor in front; in a circuit of public weights the whole weight.
    pub digit: u8,
    pub factor: i64,
}

/// How a row of the left half follows from v, what the linear part makes of it plus its offset.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// Nothing to do: a second row, or a row of given values.
    Given,
    /// a = v.
    Raw,
    /// q = v.
    Loose,
    /// v = d q + r; a is q's entry. With two remainder limbs the second, from this bit up, is in the next row.
    Table { divisor: i64, split: Option<u32> },
    /// v = d (2^digits h + l) + r; q = h, a = side of h; in the next row r = l, q = l + 2^digits side, a is q's entry. Where
    /// nothing is looked up there, a is h and in the next row l + 2^digits h.
    Window { divisor: i64, digits: u32 },
    /// v in limbs of these bits, at `limb_places`. With `rest`, what is left goes into a.
    Limbs { bits: Vec<u32>, rest: bool },
    /// a is given, and equals such limbs.
    Hinted { bits: Vec<u32> },
    /// r of the next row is v.
    Left,
    /// q = v, a = q r.
    Product,
}

/// Where limbs stand, the lowest first: the row, 0 or 1, and whether it is q there rather than r. The last is a q where its
/// table may have to tell something, and the first row's q stays free where the first row's a is taken.
pub fn limb_places(count: usize, taken: bool) -> &'static [(usize, bool)] {
    match (count, taken) {
        (1, false) => &[(0, true)],
        (2, false) => &[(0, false), (0, true)],
        (3, _) => &[(0, false), (1, false), (1, true)],
        (4, false) => &[(0, false), (0, true), (1, false), (1, true)],
        (1, true) => &[(0, false)],
        (2, true) => &[(0, false), (1, false)],
        _ => &[],
    }
}

/// Values that the witness has to guess.
#[derive(Clone, Debug)]
pub struct Guess {
    pub row: u32,
    pub lane: u8,
    pub hint: Hint,
    pub x: Affine,
    pub y: Affine,
    pub lo: i64,
}

/// Rows filled together, in order of dependency.
#[derive(Clone, Debug, Default)]
pub struct Block {
    pub start: usize,
    pub end: usize,
    /// Rows of the right half that feed it.
    pub summands: std::ops::Range<usize>,
    /// Rows whose values move here: from, to.
    pub moves: Vec<(u32, u32)>,
    pub guesses: Vec<Guess>,
}

/// All look-up tables, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The place of the first entry of each table, by tag less one.
    pub starts: Vec<usize>,
    /// What each entry gives; what it takes is its place in its table.
    pub outs: Vec<i64>,
    tags: HashMap<Vec<i64>, i64>,
}

impl Tables {
    /// The tag of the table that gives these values for 0, 1, 2 ...
    pub fn tag(&mut self, outs: Vec<i64>) -> i64 {
        if let Some(&tag) = self.tags.get(&outs) {
            return tag;
        }
        self.starts.push(self.outs.len());
        self.outs.extend_from_slice(&outs);
        let tag = self.starts.len() as i64;
        self.tags.insert(outs, tag);
        tag
    }

    /// The tag of the table that holds 0 .. count - 1 and gives 0.
    pub fn range(&mut self, count: i64) -> i64 {
        self.tag(vec![0; count as usize])
    }

    pub fn sets(&self, shape: &Shape) -> usize {
        self.outs.len().div_ceil(shape.rows()).max(1)
    }

    /// Set and row of an entry.
    pub fn place(&self, shape: &Shape, tag: i64, taken: i64) -> Option<(usize, usize)> {
        let start = *self.starts.get(usize::try_from(tag - 1).ok()?)?;
        let end = self.starts.get(tag as usize).copied().unwrap_or(self.outs.len());
        let entry = start.checked_add(usize::try_from(taken).ok()?)?;
        (entry < end).then_some((entry / shape.rows(), entry % shape.rows()))
    }

    /// Tag, input and output of each entry, in order.
    pub fn entries(&self) -> impl Iterator<Item = (i64, i64, i64)> + '_ {
        let mut tag = 0;
        self.outs.iter().enumerate().map(move |(i, &out)| {
            while tag < self.starts.len() && self.starts[tag] <= i {
                tag += 1;
            }
            (tag as i64, (i - self.starts[tag - 1]) as i64, out)
        })
    }
}

/// Where the public values stand, and hidden inputs in place of public ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPart {
    /// For inputs the node of the model.
    pub node: Option<usize>,
    pub lo: i64,
    pub hi: i64,
    /// Row and lane of each element.
    pub cells: Vec<(u32, u8)>,
    /// Whether all lanes are in range, by a table or by limbs, so that those of a row share one public value.
    pub packed: bool,
}

/// A whole circuit.
#[derive(Clone, Debug)]
pub struct Layout {
    pub shape: Shape,
    /// Columns in the order of `Fixed`, each as long as there are left rows.
    pub fixed: Vec<Vec<i64>>,
    /// The power that stands in each left row, if one is copied there.
    pub powers: Vec<Option<u32>>,
    pub fills: Vec<Fill>,
    pub summands: Vec<Summand>,
    pub blocks: Vec<Block>,
    pub tables: Tables,
    /// Row and lane of each element of each tensor.
    pub cells: Vec<Vec<(u32, u8)>>,
    pub inputs: Vec<PublicPart>,
    pub outputs: Vec<PublicPart>,
    /// How many public values there are: one for each row that holds some.
    pub public_rows: usize,
}

impl Layout {
    pub fn fixed(&self, column: Fixed, row: usize) -> i64 {
        self.fixed[column as usize].get(row).copied().unwrap_or(0)
    }

    /// Rows and exponents of the run that ends at a row.
    pub fn run(&self, end: u32) -> Vec<(u32, u32)> {
        let mut members = Vec::new();
        let mut row = end as usize;
        loop {
            if self.fixed(Fixed::Added, row) != 0 {
                if let Some(power) = self.powers[row] {
                    members.push((row as u32, power));
                }
            }
            if self.fixed(Fixed::Keep, row) == 0 || row == 0 {
                return members;
            }
            row -= 1;
        }
    }

    /// Rows that the larger half takes.
    pub fn height(&self) -> usize {
        self.fills.len().max(self.summands.len())
    }

    /// Refuses a layout with more rows than its shape has.
    pub fn check(&self) -> Result<(), Error> {
        let rows = self.shape.rows();
        if self.height() > rows || self.tables.sets(&self.shape) > self.shape.tables {
            return Err(Error::TooSmall(format!(
                "{} rows and {} table entries",
                self.height(),
                self.tables.outs.len()
            )));
        }
        Ok(())
    }
}
