//! What a dishonest prover could try: a witness with altered cells, and which constraints notice.
//!
//! For tests: the checks are those of a proof, made on the witness itself, without a proof.

use balance_zkml_circuit::layout::Fixed;
use balance_zkml_circuit::registration::{Digits, RegistrationCircuit};
use balance_zkml_circuit::{
    field, plan, power_of_two, statement::public_column, weights, witness, Layout, ModelCircuit, Secret,
};
use halo2_axiom::dev::{MockProver, VerifyFailure};

use crate::keys::{model_and_weights, Options};
use crate::Error;

/// A cell of the first phase: column "q", "r", "a", "counts", "weights", "hidden" or "public", its lane or place, its row, what is added to it.
pub type Edit = (String, usize, usize, i64);

/// Lays out, fills, alters, and returns one line for each constraint that does not hold; none if the witness is accepted.
pub fn altered(
    structure: &[u8],
    values: &[u8],
    options: &Options,
    inputs: &[Vec<i64>],
    edits: &[Edit],
) -> Result<Vec<String>, Error> {
    let (model, weights) = model_and_weights(structure, Some(values))?;
    let layout = plan(&model, options.secret, options.k)?.layout;
    let mut witness = witness::fill(&layout, &weights, inputs)?;
    let mut public = public_column(&layout, inputs, &witness.outputs)?;
    let missing = || Error::new("there is no such cell");
    // Counts last: whoever alters what is looked up would count anew.
    let (of_counts, of_cells): (Vec<&Edit>, Vec<&Edit>) = edits.iter().partition(|edit| edit.0 == "counts");
    for (column, lane, row, by) in of_cells {
        let committed = match column.as_str() {
            "q" => Err(&mut witness.q),
            "r" => Err(&mut witness.r),
            "a" => Err(&mut witness.a),
            "weights" => Ok(&mut witness.weights),
            "hidden" => Ok(&mut witness.hidden),
            "public" => {
                // In a packed row the lane is a digit.
                let digit = power_of_two(layout.shape.packed * *lane as u32);
                *public.get_mut(*row).ok_or_else(missing)? += field(*by) * digit;
                continue;
            }
            _ => return Err(Error::new("columns are q, r, a, counts, weights, hidden and public")),
        };
        match committed {
            Ok(columns) => {
                let cell = columns.get_mut(*lane).and_then(|cells| cells.get_mut(*row)).ok_or_else(missing)?;
                *cell = cell.checked_add_signed(*by).ok_or_else(|| Error::new("a digit below zero"))?;
            }
            Err(columns) => *columns.get_mut(*lane).and_then(|c| c.get_mut(*row)).ok_or_else(missing)? += by,
        }
    }
    if let Ok(counts) = witness::counts(&layout, &witness.q, &witness.r) {
        witness.counts = counts;
    }
    for (_, set, row, by) in of_counts {
        let cell = witness.counts.get_mut(*set).and_then(|cells| cells.get_mut(*row)).ok_or_else(missing)?;
        *cell = cell.checked_add_signed(*by).ok_or_else(|| Error::new("a count below zero"))?;
    }
    let circuit = ModelCircuit { layout: &layout, weights: &weights, witness: Some(&witness) };
    let mock = MockProver::run(layout.shape.k, &circuit, vec![public])
        .map_err(|error| Error::new(format!("halo2 does not lay it out: {error:?}")))?;
    Ok(mock.verify().err().unwrap_or_default().into_iter().map(line).collect())
}

/// The outputs that the rows of a circuit come to for these inputs.
pub fn answers(
    structure: &[u8],
    values: &[u8],
    options: &Options,
    inputs: &[Vec<i64>],
) -> Result<Vec<Vec<i64>>, Error> {
    let (model, weights) = model_and_weights(structure, Some(values))?;
    let layout = plan(&model, options.secret, options.k)?.layout;
    Ok(witness::fill(&layout, &weights, inputs)?.outputs)
}

/// The same for what is shown once about registered weights; edits are of the column "weights".
pub fn altered_digits(structure: &[u8], values: &[u8], edits: &[Edit]) -> Result<Vec<String>, Error> {
    let (model, known) = model_and_weights(structure, Some(values))?;
    let layout = plan(&model, Secret { weights: true, inputs: false }, None)?.layout;
    let mut columns = weights::columns(&layout, &known)?;
    for (_, place, row, by) in edits {
        let cell = columns.get_mut(*place).and_then(|cells| cells.get_mut(*row));
        let cell = cell.ok_or_else(|| Error::new("there is no such cell"))?;
        *cell = cell.checked_add_signed(*by).ok_or_else(|| Error::new("a digit below zero"))?;
    }
    let digits = Digits::of(&model, &layout);
    let circuit = RegistrationCircuit { digits: &digits, weights: Some(&columns) };
    let mock = MockProver::run(layout.shape.k, &circuit, vec![])
        .map_err(|error| Error::new(format!("halo2 does not lay it out: {error:?}")))?;
    Ok(mock.verify().err().unwrap_or_default().into_iter().map(line).collect())
}

/// The cells of the first phase that some constraint reads, as column, lane and row.
pub fn read_cells(structure: &[u8], options: &Options) -> Result<Vec<(String, usize, usize)>, Error> {
    let (model, _) = model_and_weights(structure, None)?;
    let layout = plan(&model, options.secret, options.k)?.layout;
    let mut cells = Vec::new();
    for row in 0..layout.fills.len() {
        for (column, read) in
            [("q", reads_q(&layout, row)), ("r", reads_r(&layout, row)), ("a", reads_a(&layout, row))]
        {
            if read {
                cells.extend((0..layout.shape.lanes).map(|lane| (column.to_string(), lane, row)));
            }
        }
    }
    Ok(cells)
}

/// Where each output stands: row, lane, and whether its digit is looked up.
pub fn output_cells(structure: &[u8], options: &Options) -> Result<Vec<(usize, usize, bool)>, Error> {
    let (model, _) = model_and_weights(structure, None)?;
    let layout = plan(&model, options.secret, options.k)?.layout;
    let cells = layout.outputs.iter().flat_map(|part| part.cells.iter().map(|cell| (cell, part.packed)));
    Ok(cells.map(|(&(row, lane), packed)| (row as usize, lane as usize, packed)).collect())
}

fn line(failure: VerifyFailure) -> String {
    match failure {
        VerifyFailure::ConstraintNotSatisfied { constraint, .. } => format!("{constraint}"),
        other => format!("{other:?}").chars().take(200).collect(),
    }
}

fn on(layout: &Layout, row: usize, columns: &[Fixed]) -> bool {
    columns.iter().any(|&column| layout.fixed(column, row) != 0)
}

fn before(layout: &Layout, row: usize, column: Fixed) -> bool {
    row > 0 && layout.fixed(column, row - 1) != 0
}

fn reads_q(layout: &Layout, row: usize) -> bool {
    on(layout, row, &[Fixed::Quotient, Fixed::TagQuotient, Fixed::Product])
        || before(layout, row, Fixed::NextQuotient)
}

fn reads_r(layout: &Layout, row: usize) -> bool {
    on(layout, row, &[Fixed::Remainder, Fixed::TagRemainder, Fixed::Product])
        || before(layout, row, Fixed::NextRemainder)
}

fn reads_a(layout: &Layout, row: usize) -> bool {
    on(layout, row, &[Fixed::Value, Fixed::TagQuotient, Fixed::Product, Fixed::PublicLanes])
}
