//! An integer model as steps that a circuit can take: linear layers, look-ups, products and range checks.
//!
//! Between steps everything is affine: an element of a tensor is a sum of earlier elements and weights times constants,
//! and costs nothing until a step reads it.

use std::sync::Arc;

use crate::Error;

/// What an affine expression is made of: an element that a step makes, or a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Element { tensor: u32, at: u32 },
    Weight { node: u32, at: u32 },
}

/// A source times a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub source: Source,
    pub factor: i64,
}

/// The sum of terms and a constant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affine {
    pub terms: Vec<Term>,
    pub constant: i64,
}

impl Affine {
    pub fn constant(constant: i64) -> Self {
        Self { terms: Vec::new(), constant }
    }

    pub fn of(source: Source) -> Self {
        Self { terms: vec![Term { source, factor: 1 }], constant: 0 }
    }

    /// The one element that this is, if it is nothing else.
    pub fn single(&self) -> Option<(u32, u32)> {
        match self.terms[..] {
            [Term { source: Source::Element { tensor, at }, factor: 1 }] if self.constant == 0 => Some((tensor, at)),
            _ => None,
        }
    }

    pub fn scaled(&self, factor: i64) -> Result<Self, Error> {
        self.plus(&Self::default(), factor, 0)
    }

    /// a * self + b * other.
    pub fn plus(&self, other: &Self, a: i64, b: i64) -> Result<Self, Error> {
        let times = |x: i64, y: i64| x.checked_mul(y).ok_or_else(Error::too_wide);
        let constant = times(self.constant, a)?.checked_add(times(other.constant, b)?).ok_or_else(Error::too_wide)?;
        let mut terms: Vec<Term> = Vec::with_capacity(self.terms.len() + other.terms.len());
        for (side, factor) in [(self, a), (other, b)] {
            if factor == 0 {
                continue;
            }
            for term in &side.terms {
                terms.push(Term { source: term.source, factor: times(term.factor, factor)? });
            }
        }
        let mut sum = Self { terms, constant };
        sum.merge()?;
        Ok(sum)
    }

    /// The sum of many, with equal sources taken together.
    pub fn total<'a>(parts: impl Iterator<Item = &'a Self>) -> Result<Self, Error> {
        let mut sum = Self::default();
        for part in parts {
            sum.constant = sum.constant.checked_add(part.constant).ok_or_else(Error::too_wide)?;
            sum.terms.extend_from_slice(&part.terms);
        }
        sum.merge()?;
        Ok(sum)
    }

    fn merge(&mut self) -> Result<(), Error> {
        if self.terms.len() < 2 {
            return Ok(());
        }
        self.terms.sort_by_key(|term| term.source);
        let mut merged: Vec<Term> = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            match merged.last_mut() {
                Some(last) if last.source == term.source => {
                    last.factor = last.factor.checked_add(term.factor).ok_or_else(Error::too_wide)?;
                }
                _ => merged.push(*term),
            }
        }
        merged.retain(|term| term.factor != 0);
        self.terms = merged;
        Ok(())
    }
}

/// A function of one integer.
#[derive(Clone, Debug)]
pub enum Function {
    Clamp {
        lo: i64,
        hi: i64,
    },
    Table {
        first: i64,
        table: Arc<Vec<i64>>,
    },
    /// max(x, 0).
    Positive,
    /// 1 where x >= 0, else 0.
    NotNegative,
    /// The larger of the two digits of x in this base.
    LargerDigit {
        base: i64,
    },
}

impl Function {
    pub fn apply(&self, x: i64) -> i64 {
        match self {
            Self::Clamp { lo, hi } => x.clamp(*lo, *hi),
            Self::Table { first, table } => {
                let place = (x - first).clamp(0, table.len() as i64 - 1);
                table[place as usize]
            }
            Self::Positive => x.max(0),
            Self::NotNegative => i64::from(x >= 0),
            Self::LargerDigit { base } => x.div_euclid(*base).max(x.rem_euclid(*base)),
        }
    }
}

/// Functions one after the other.
pub type Chain = Vec<Function>;

pub fn apply(chain: &[Function], x: i64) -> i64 {
    chain.iter().fold(x, |x, function| function.apply(x))
}

/// A coefficient of a linear layer.
#[derive(Clone, Copy, Debug)]
pub enum Coefficient {
    Weight { node: u32, at: u32 },
    Constant(i64),
}

/// Elements with the exponents that they stand at when read as a polynomial.
#[derive(Clone, Debug)]
pub struct Run {
    pub elements: Vec<(Affine, u32)>,
}

/// One summand of a linear layer.
#[derive(Clone, Debug)]
pub enum Part {
    /// The run times coefficients: each adds coefficient * element to output channel `out` at `shift` + exponent.
    Taps { run: Run, taps: Vec<Tap> },
    /// The product of two runs, added to an output channel; exponents add up to a position's row.
    Product { left: Run, right: Run, out: u32 },
    /// One coefficient for each output channel, times a factor, added at all positions.
    Bias { coefficients: Vec<Coefficient>, factor: i64 },
    /// Single coefficients, times a factor: output channel, position, coefficient.
    Single { coefficients: Vec<(u32, u32, Coefficient)>, factor: i64 },
}

#[derive(Clone, Copy, Debug)]
pub struct Tap {
    pub shift: u32,
    pub out: u32,
    pub coefficient: Coefficient,
}

/// A linear layer as a product of polynomials: output channel o is a polynomial of `plane` coefficients, of which only
/// those at `positions` are results; the others are nobody's.
#[derive(Clone, Debug)]
pub struct Linear {
    pub out: u32,
    pub channels: usize,
    pub plane: usize,
    /// The row in the plane of each position, rising.
    pub positions: Vec<u32>,
    /// Bound on the magnitude of any coefficient of the plane.
    pub bound: i64,
    pub parts: Vec<Part>,
}

/// What a witness value is, that the circuit only checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// floor((2 x + y) / (2 y)).
    Rounded,
    /// floor(x / y).
    Floor,
}

/// One thing a circuit does; every step but the checks makes a tensor of as many elements as it reads.
#[derive(Clone, Debug)]
pub enum Step {
    Input {
        out: u32,
        node: usize,
    },
    Linear(Linear),
    /// out = chain(floor((2x + d) / (2d))), by look-up, for x in [lo, hi]. `related` if x is there only because its parts
    /// belong together, not for any values of them.
    Narrow {
        out: u32,
        x: Vec<Affine>,
        lo: i64,
        hi: i64,
        divisor: i64,
        chain: Chain,
        related: bool,
    },
    /// out = u * v.
    Product {
        out: u32,
        u: Vec<Affine>,
        v: Vec<Affine>,
    },
    /// out is what the hint says of x and y, known to be in [lo, lo + 2^bits) and no more.
    Hinted {
        out: u32,
        hint: Hint,
        x: Vec<Affine>,
        y: Vec<Affine>,
        lo: i64,
        bits: u32,
    },
    /// 0 <= x < 2^bits.
    Range {
        x: Vec<Affine>,
        bits: u32,
    },
    /// out = 1 where x >= 0, else 0, for x in [-2^bits, 2^bits).
    Sign {
        out: u32,
        x: Vec<Affine>,
        bits: u32,
    },
    /// out = x.
    Copy {
        out: u32,
        x: Vec<Affine>,
    },
    Output {
        x: Vec<Affine>,
        lo: i64,
        hi: i64,
    },
}

/// A tensor that a step makes.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub size: usize,
    pub lo: i64,
    pub hi: i64,
}

/// A model as steps.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    pub steps: Vec<Step>,
    pub tensors: Vec<Made>,
}

impl Steps {
    /// How many coefficients that are weights its layers have.
    pub fn weights(&self) -> usize {
        let of_part = |part: &Part| match part {
            Part::Taps { taps, .. } => {
                taps.iter().filter(|tap| matches!(tap.coefficient, Coefficient::Weight { .. })).count()
            }
            _ => 0,
        };
        let of_step = |step: &Step| match step {
            Step::Linear(linear) => linear.parts.iter().map(of_part).sum(),
            _ => 0,
        };
        self.steps.iter().map(of_step).sum()
    }

    /// Bits of the widest public tensor that may share its rows between lanes.
    pub fn public_bits(&self) -> u32 {
        let span = |step: &Step| match step {
            Step::Input { out, .. } => {
                let made = self.tensors[*out as usize];
                Some(i128::from(made.hi) - i128::from(made.lo) + 1)
            }
            Step::Output { lo, hi, .. } => Some(i128::from(*hi) - i128::from(*lo) + 1),
            _ => None,
        };
        let bits = |count: i128| 128 - (count - 1).max(1).leading_zeros();
        self.steps.iter().filter_map(span).map(bits).filter(|&bits| bits <= 16).max().unwrap_or(1)
    }
}
