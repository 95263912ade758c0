//! Any re-indexing: reshape, transpose, slice, broadcast, concatenation, padding, gathering by constants.

use crate::codec::Reader;
use crate::fact::{MAX_LISTED, MAX_TOTAL};
use crate::op::read_shape;
use crate::Error;

/// Largest number of nested loops of a regular index.
pub const MAX_LOOPS: usize = 16;

/// Element i of the result is element `positions()[i]` of all operands laid end to end, everything row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    pub shape: Vec<usize>,
    pub index: Index,
}

/// Where the elements of a wire come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Index {
    /// Nested loops (count, stride), outermost first, those of one round left out: offset + sum of i_j * stride_j.
    Loops { loops: Vec<(usize, i64)>, offset: usize },
    /// One position for each element.
    Listed(Vec<i64>),
}

impl Wire {
    /// The position in the pool of each element of the result.
    ///
    /// Only for a wire of an admissible model, whose positions are known to stand in the pool.
    pub fn positions(&self) -> Vec<usize> {
        match &self.index {
            Index::Listed(list) => list.iter().map(|&at| at as usize).collect(),
            Index::Loops { loops, offset } => {
                let mut positions = vec![*offset];
                for &(count, stride) in loops {
                    let mut next = Vec::with_capacity(positions.len() * count);
                    for start in positions {
                        next.extend((0..count as i64).map(|i| (start as i64 + i * stride) as usize));
                    }
                    positions = next;
                }
                positions
            }
        }
    }

    /// Whether the elements of the first operand keep their order, from its first.
    pub fn is_reshape(&self) -> bool {
        let Index::Loops { loops, offset: 0 } = &self.index else { return false };
        let mut unit = 1;
        loops.iter().rev().all(|&(count, stride)| {
            let fits = stride == unit;
            unit *= count as i64; // at most the number of elements of the result
            fits
        })
    }

    /// The number of elements, and the least and greatest position.
    pub(crate) fn extent(&self) -> Option<(i128, i128, i128)> {
        match &self.index {
            Index::Listed(list) => {
                let (least, greatest) = (list.iter().min()?, list.iter().max()?);
                Some((list.len() as i128, i128::from(*least), i128::from(*greatest)))
            }
            Index::Loops { loops, offset } => {
                let (mut size, mut least, mut greatest) = (1i128, *offset as i128, *offset as i128);
                for &(count, stride) in loops {
                    size = size.checked_mul(count as i128)?;
                    let end = (count as i128 - 1).checked_mul(i128::from(stride))?;
                    least = least.checked_add(end.min(0))?;
                    greatest = greatest.checked_add(end.max(0))?;
                }
                Some((size, least, greatest))
            }
        }
    }

    pub(crate) fn read(source: &mut Reader) -> Result<Self, Error> {
        let shape = read_shape(source)?;
        let counts = source.uints(MAX_LOOPS)?;
        let strides = source.sints(MAX_LOOPS)?;
        let offset = source.sint()?;
        let index = if counts.is_empty() {
            if !strides.is_empty() || offset != 0 {
                return Err(source.fail("a wire has neither loops nor a listed index alone"));
            }
            read_list(source)?
        } else {
            regular(&counts, &strides, offset).ok_or_else(|| source.fail("the loops of a wire cannot be followed"))?
        };
        Ok(Self { shape, index })
    }
}

/// Makes the loops; None for what reads no pool: no positive count, a stride missing, a position beyond 64 bits.
fn regular(counts: &[i128], strides: &[i128], offset: i128) -> Option<Index> {
    if counts.len() != strides.len() || counts.iter().any(|&count| count < 1) {
        return None;
    }
    let loops = counts
        .iter()
        .zip(strides)
        .filter(|(&count, _)| count > 1) // a loop of one round never moves, whatever its stride
        .map(|(&count, &stride)| Some((usize::try_from(count).ok()?, i64::try_from(stride).ok()?)))
        .collect::<Option<_>>()?;
    Some(Index::Loops { loops, offset: usize::try_from(offset).ok()? })
}

fn read_list(source: &mut Reader) -> Result<Index, Error> {
    let mut list = source.words(MAX_LISTED)?;
    if list.is_empty() {
        return Err(source.fail("a wire has neither loops nor a listed index alone"));
    }
    let mut position = 0;
    for step in &mut list {
        if step.unsigned_abs() > MAX_TOTAL as u64 {
            return Err(source.fail("an index of a wire is out of every range"));
        }
        position += *step; // at most 2^23 steps of at most 2^27
        *step = position;
    }
    Ok(Index::Listed(list))
}
