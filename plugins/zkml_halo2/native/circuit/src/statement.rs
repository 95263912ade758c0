//! The public values: inputs and outputs, each raised to be no less than zero, one for each row or packed by lanes.

use halo2_axiom::halo2curves::bn256::Fr;

use crate::layout::{Layout, PublicPart};
use crate::{power_of_two, Error};

/// The public column for these inputs and outputs; refuses values outside their intervals and wrong counts. Hidden inputs
/// are not in it.
pub fn public_column(layout: &Layout, inputs: &[Vec<i64>], outputs: &[Vec<i64>]) -> Result<Vec<Fr>, Error> {
    let (parts, inputs) = if layout.shape.hidden { (&[][..], &[][..]) } else { (&layout.inputs[..], inputs) };
    column(layout.public_rows, layout.shape.packed, parts, &layout.outputs, inputs, outputs)
}

pub fn column(
    rows: usize,
    packed: u32,
    input_parts: &[PublicPart],
    output_parts: &[PublicPart],
    inputs: &[Vec<i64>],
    outputs: &[Vec<i64>],
) -> Result<Vec<Fr>, Error> {
    let mut column = vec![Fr::zero(); rows];
    let lanes = input_parts.iter().chain(output_parts).flat_map(|part| &part.cells).map(|&(_, lane)| u32::from(lane));
    let digits: Vec<Fr> = (0..=lanes.max().unwrap_or(0)).map(|lane| power_of_two(packed * lane)).collect();
    for (what, parts, values) in [("input", input_parts, inputs), ("output", output_parts, outputs)] {
        if parts.len() != values.len() {
            return Err(Error::Witness(format!("there are {} {what}s, not {}", parts.len(), values.len())));
        }
        for (i, (part, values)) in parts.iter().zip(values).enumerate() {
            if part.cells.len() != values.len() {
                return Err(Error::Witness(format!(
                    "{what} {i} has {} elements, not {}",
                    part.cells.len(),
                    values.len()
                )));
            }
            for (&(row, lane), &value) in part.cells.iter().zip(values) {
                if value < part.lo || value > part.hi {
                    return Err(Error::Witness(format!("{what} {i}: {value} is not in [{}, {}]", part.lo, part.hi)));
                }
                let raised = Fr::from((i128::from(value) - i128::from(part.lo)) as u64);
                column[row as usize] += raised * digits[usize::from(lane)];
            }
        }
    }
    Ok(column)
}
