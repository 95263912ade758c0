//! What a dishonest prover could try: a witness with altered cells, and which constraints notice.
//!
//! For tests: the checks are those of a proof, made on the witness itself, without a proof.

use balance_zkml_circuit::layout::Fixed;
use balance_zkml_circuit::registration::{Digits, RegistrationCircuit};
use balance_zkml_circuit::{plan, statement::public_column, weights, witness, Layout, ModelCircuit};
use halo2_axiom::dev::{MockProver, VerifyFailure};

use crate::keys::model_and_weights;
use crate::Error;

/// A cell of the first phase: column "q", "r", "a", "counts" or "weights", its lane or place, its row, what is added to it.
pub type Edit = (String, usize, usize, i64);

/// Lays out, fills, alters, and returns one line for each constraint that does not hold; none if the witness is accepted.
pub fn altered(
    structure: &[u8],
    values: &[u8],
    private: bool,
    inputs: &[Vec<i64>],
    edits: &[Edit],
) -> Result<Vec<String>, Error> {
    let (model, weights) = model_and_weights(structure, Some(values))?;
    let layout = plan(&model, private, None)?.layout;
    let mut witness = witness::fill(&layout, &weights, inputs)?;
    let public = public_column(&layout, inputs, &witness.outputs)?;
    for (column, lane, row, by) in edits {
        let signed = match column.as_str() {
            "q" => &mut witness.q,
            "r" => &mut witness.r,
            "a" => &mut witness.a,
            "counts" | "weights" => {
                let columns = if column == "counts" { &mut witness.counts } else { &mut witness.weights };
                let cell = columns.get_mut(*lane).and_then(|cells| cells.get_mut(*row));
                let cell = cell.ok_or_else(|| Error::new("there is no such cell"))?;
                *cell = cell.checked_add_signed(*by).ok_or_else(|| Error::new("a count below zero"))?;
                continue;
            }
            _ => return Err(Error::new("columns are q, r, a, counts and weights")),
        };
        let cell = signed.get_mut(*lane).and_then(|cells| cells.get_mut(*row));
        *cell.ok_or_else(|| Error::new("there is no such cell"))? += by;
    }
    // Whoever alters what is looked up would count anew.
    if edits.iter().all(|edit| edit.0 != "counts") {
        if let Ok(counts) = witness::counts(&layout, &witness.q, &witness.r) {
            witness.counts = counts;
        }
    }
    let circuit = ModelCircuit { layout: &layout, weights: &weights, witness: Some(&witness) };
    let mock = MockProver::run(layout.shape.k, &circuit, vec![public])
        .map_err(|error| Error::new(format!("halo2 does not lay it out: {error:?}")))?;
    Ok(mock.verify().err().unwrap_or_default().into_iter().map(line).collect())
}

/// The outputs that the rows of a circuit come to for these inputs.
pub fn answers(structure: &[u8], values: &[u8], private: bool, inputs: &[Vec<i64>]) -> Result<Vec<Vec<i64>>, Error> {
    let (model, weights) = model_and_weights(structure, Some(values))?;
    let layout = plan(&model, private, None)?.layout;
    Ok(witness::fill(&layout, &weights, inputs)?.outputs)
}

/// The same for what is shown once about registered weights; edits are of the column "weights".
pub fn altered_digits(structure: &[u8], values: &[u8], edits: &[Edit]) -> Result<Vec<String>, Error> {
    let (model, known) = model_and_weights(structure, Some(values))?;
    let layout = plan(&model, true, None)?.layout;
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
pub fn read_cells(structure: &[u8], private: bool) -> Result<Vec<(String, usize, usize)>, Error> {
    let (model, _) = model_and_weights(structure, None)?;
    let layout = plan(&model, private, None)?.layout;
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
