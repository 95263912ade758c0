//! Hidden inputs: the columns that hold them, less their intervals' lower ends, and nothing else.

use crate::layout::{Layout, PublicPart};
use crate::Error;

/// The rows of hidden inputs, rising; none where inputs are public.
pub fn rows(layout: &Layout) -> Vec<u32> {
    if layout.shape.hidden {
        rows_of(&layout.inputs)
    } else {
        vec![]
    }
}

pub fn rows_of(inputs: &[PublicPart]) -> Vec<u32> {
    let mut rows: Vec<u32> = inputs.iter().flat_map(|part| part.cells.iter().map(|cell| cell.0)).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// What stands in the columns, by lane: row and value; refuses inputs of another size or outside their intervals.
pub fn cells(lanes: usize, inputs: &[PublicPart], values: &[Vec<i64>]) -> Result<Vec<Vec<(u32, u64)>>, Error> {
    if inputs.len() != values.len() {
        return Err(Error::Witness(format!("there are {} inputs, not {}", inputs.len(), values.len())));
    }
    let mut cells = vec![Vec::new(); lanes];
    for (part, values) in inputs.iter().zip(values) {
        if part.cells.len() != values.len() || values.iter().any(|v| *v < part.lo || *v > part.hi) {
            return Err(Error::Witness("an input has another size, or leaves its interval".into()));
        }
        for (&(row, lane), &value) in part.cells.iter().zip(values) {
            let raised = (i128::from(value) - i128::from(part.lo)) as u64;
            cells
                .get_mut(lane as usize)
                .ok_or_else(|| Error::Witness("there is no such lane".into()))?
                .push((row, raised));
        }
    }
    Ok(cells)
}

/// The columns as wide as the rows of a layout.
pub fn columns(layout: &Layout, values: &[Vec<i64>]) -> Result<Vec<Vec<u64>>, Error> {
    if !layout.shape.hidden {
        return Ok(vec![]);
    }
    let dense = |cells: Vec<(u32, u64)>| {
        let mut column = vec![0; layout.public_rows];
        for (row, value) in cells {
            column[row as usize] = value;
        }
        column
    };
    Ok(cells(layout.shape.lanes, &layout.inputs, values)?.into_iter().map(dense).collect())
}
