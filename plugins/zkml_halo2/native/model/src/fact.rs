//! What is known about a tensor before any input is seen: its shape and the interval of its values.

use crate::Error;

/// Largest magnitude of any value and of any intermediate of an operation.
pub const SAFE: i128 = (1 << 62) - 1;
/// Largest number of axes of a tensor.
pub const MAX_RANK: usize = 8;
/// Largest number of elements of one tensor.
pub const MAX_ELEMENTS: usize = 1 << 26;
/// Largest number of elements of all tensors of a model together.
pub const MAX_TOTAL: usize = 1 << 27;
/// Largest number of elements of a constant or an index that the structure lists.
pub const MAX_LISTED: usize = 1 << 23;

/// Shape and interval [lo, hi] of a tensor; the interval holds for every admissible input and every admissible weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub shape: Vec<usize>,
    pub lo: i128,
    pub hi: i128,
}

impl Fact {
    /// The number of elements.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The largest absolute value.
    pub fn magnitude(&self) -> i128 {
        self.lo.abs().max(self.hi.abs())
    }

    /// Whether a value lies in the interval.
    pub fn holds(&self, value: i64) -> bool {
        (self.lo..=self.hi).contains(&i128::from(value))
    }
}

/// Returns the shape; refuses too many axes, an empty axis and too many elements.
pub(crate) fn checked_shape(axes: &[i128]) -> Result<Vec<usize>, Error> {
    if axes.len() > MAX_RANK {
        return Err(Error::new(format!("a tensor of rank {} exceeds the {MAX_RANK} axes allowed", axes.len())));
    }
    let mut size = 1usize;
    let mut shape = Vec::with_capacity(axes.len());
    for &axis in axes {
        let axis = usize::try_from(axis).ok().filter(|&axis| axis > 0);
        let axis = axis.ok_or_else(|| Error::new(format!("shape {axes:?} holds an empty axis")))?;
        size = size
            .checked_mul(axis)
            .filter(|&size| size <= MAX_ELEMENTS)
            .ok_or_else(|| Error::new(format!("shape {axes:?} holds more than {MAX_ELEMENTS} elements")))?;
        shape.push(axis);
    }
    Ok(shape)
}

/// Refuses an empty interval, and one that leaves the safe width.
pub(crate) fn check_interval(lo: i128, hi: i128) -> Result<(), Error> {
    if lo > hi {
        return Err(Error::new(format!("the interval [{lo}, {hi}] is empty")));
    }
    if lo < -SAFE || hi > SAFE {
        return Err(Error::new(format!("values in [{lo}, {hi}] leave the safe width of 62 bits")));
    }
    Ok(())
}
