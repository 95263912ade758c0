//! The closed set of operations, with their attributes.

use crate::codec::Reader;
use crate::fact::{checked_shape, MAX_LISTED, MAX_RANK, SAFE};
use crate::model::MAX_NAME;
use crate::wire::Wire;
use crate::Error;

/// Largest number of entries of a table.
pub const MAX_TABLE: usize = 1 << 16;
/// Longest list of axes, strides and the like.
const MAX_LIST: usize = 64;
const MAX_PAD: i128 = 1 << 16;

/// One operation with its attributes; `docs/integer-model.md` section 2 has the exact meaning of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The integers that the caller gives under a name, each in [lo, hi].
    Input {
        label: String,
        shape: Vec<usize>,
        lo: i64,
        hi: i64,
    },
    /// A weight (`values` None), known by its declared range [lo, hi] alone, or listed integers.
    Constant {
        shape: Vec<usize>,
        lo: i64,
        hi: i64,
        values: Option<Vec<i64>>,
    },
    /// Re-indexing of all operands laid end to end.
    Wire(Wire),
    Add,
    Sub,
    Mul,
    /// The sum over the rising axes, which stay with size 1.
    Sum {
        axes: Vec<usize>,
    },
    MatMul,
    Conv2d(Conv2d),
    /// floor((2x + d) / (2d)), d being positive.
    Rescale {
        divisor: i64,
    },
    /// floor((2x + y) / (2y)), y being positive for every input.
    Divide,
    Clamp {
        lo: i64,
        hi: i64,
    },
    /// table[x - first].
    Lookup {
        first: i64,
        table: Vec<i64>,
    },
    /// 1 where x < y, else 0.
    Less,
    /// The largest element over the rising axes, which stay with size 1.
    Max {
        axes: Vec<usize>,
    },
    /// The least position of the largest element along the axis, which stays with size 1.
    ArgMax {
        axis: usize,
    },
}

/// The attributes of a convolution: rows first, then columns. Strides and dilations beyond `usize` are saturated: such a
/// step is never taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv2d {
    pub strides: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    pub dilations: [usize; 2],
    pub groups: usize,
}

impl Op {
    /// The code of the operation in the encoding.
    pub fn code(&self) -> usize {
        match self {
            Self::Input { .. } => 0,
            Self::Constant { .. } => 1,
            Self::Wire(_) => 2,
            Self::Add => 3,
            Self::Sub => 4,
            Self::Mul => 5,
            Self::Sum { .. } => 6,
            Self::MatMul => 7,
            Self::Conv2d(_) => 8,
            Self::Rescale { .. } => 9,
            Self::Divide => 10,
            Self::Clamp { .. } => 11,
            Self::Lookup { .. } => 12,
            Self::Less => 13,
            Self::Max { .. } => 14,
            Self::ArgMax { .. } => 15,
        }
    }

    /// The name of the operation.
    pub fn name(&self) -> &'static str {
        const NAMES: [&str; 16] = [
            "input", "constant", "wire", "add", "sub", "mul", "sum", "matmul", "conv2d", "rescale", "divide",
            "clamp", "lookup", "less", "max", "argmax",
        ];
        NAMES[self.code()]
    }

    /// Whether this is a constant whose integers are kept apart from the structure.
    pub fn is_weight(&self) -> bool {
        matches!(self, Self::Constant { values: None, .. })
    }

    /// Takes the attributes of the operation with this code.
    pub(crate) fn read(code: usize, source: &mut Reader) -> Result<Self, Error> {
        Ok(match code {
            0 => Self::Input {
                label: source.text(MAX_NAME)?,
                shape: read_shape(source)?,
                lo: source.narrow()?,
                hi: source.narrow()?,
            },
            1 => {
                let (shape, lo, hi) = (read_shape(source)?, source.narrow()?, source.narrow()?);
                let values = source.words(MAX_LISTED)?;
                Self::Constant { shape, lo, hi, values: (!values.is_empty()).then_some(values) }
            }
            2 => Self::Wire(Wire::read(source)?),
            3 => Self::Add,
            4 => Self::Sub,
            5 => Self::Mul,
            6 => Self::Sum { axes: read_axes(source)? },
            7 => Self::MatMul,
            8 => Self::Conv2d(Conv2d::read(source)?),
            9 => Self::Rescale { divisor: source.narrow()? },
            10 => Self::Divide,
            11 => Self::Clamp { lo: source.narrow()?, hi: source.narrow()? },
            12 => read_lookup(source)?,
            13 => Self::Less,
            14 => Self::Max { axes: read_axes(source)? },
            15 => match read_axes(source)?[..] {
                [axis] => Self::ArgMax { axis },
                _ => return Err(source.fail("argmax takes one axis")),
            },
            _ => return Err(source.fail(format!("{code} is no operation"))),
        })
    }
}

impl Conv2d {
    fn read(source: &mut Reader) -> Result<Self, Error> {
        let lists = (source.sints(MAX_LIST)?, source.sints(MAX_LIST)?, source.sints(MAX_LIST)?);
        let groups = source.sint()?;
        let (Ok(strides), Ok(pads), Ok(dilations)) =
            (<[i128; 2]>::try_from(lists.0), <[i128; 4]>::try_from(lists.1), <[i128; 2]>::try_from(lists.2))
        else {
            return Err(source.fail("conv2d takes 2 strides, 4 pads and 2 dilations"));
        };
        let positive = strides.iter().chain(&dilations).chain([&groups]).all(|&n| n >= 1);
        if !positive || pads.iter().any(|&pad| !(0..=MAX_PAD).contains(&pad)) {
            return Err(source.fail("conv2d takes positive strides, dilations and groups, and pads of 0 to 65536"));
        }
        let saturated = |n: i128| usize::try_from(n).unwrap_or(usize::MAX);
        Ok(Self {
            strides: strides.map(saturated),
            pads: pads.map(saturated),
            dilations: dilations.map(saturated),
            groups: saturated(groups),
        })
    }
}

/// Takes a shape and checks it.
pub(crate) fn read_shape(source: &mut Reader) -> Result<Vec<usize>, Error> {
    let axes = source.uints(MAX_RANK)?;
    checked_shape(&axes).map_err(|error| source.fail(error))
}

/// Takes axes; those beyond `usize` or negative belong to no tensor.
fn read_axes(source: &mut Reader) -> Result<Vec<usize>, Error> {
    let axes = source.sints(MAX_LIST)?.into_iter().map(usize::try_from).collect::<Result<_, _>>();
    axes.map_err(|_| source.fail("an axis belongs to no tensor"))
}

fn read_lookup(source: &mut Reader) -> Result<Op, Error> {
    let first = source.narrow()?;
    let mut table = source.words(MAX_TABLE)?;
    if table.is_empty() {
        return Err(source.fail("a table has no entries"));
    }
    let mut entry = 0i128;
    for step in &mut table {
        entry += i128::from(*step);
        if entry.abs() > SAFE {
            return Err(source.fail("a table entry is beyond the safe width"));
        }
        *step = entry as i64;
    }
    Ok(Op::Lookup { first, table })
}
