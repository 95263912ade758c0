//! Weights as coefficients: fixed where they are public, digits in advice where they are private.

use balance_zkml_model::{Model, Op};

use crate::layout::{Layout, DIGIT};
use crate::steps::Coefficient;
use crate::Error;

/// The integers of each weight node, by its place in the model.
pub type Weights = [Option<Vec<i64>>];

/// How many digits hold every weight of a node: digits are in [-128, 127].
pub fn digits_of(model: &Model, node: u32) -> u8 {
    let Some(Op::Constant { lo, hi, .. }) = model.nodes.get(node as usize).map(|n| &n.op) else { return 0 };
    let mut least = -DIGIT / 2;
    let mut most = DIGIT / 2 - 1;
    for count in 1..8 {
        if *lo >= least && *hi <= most {
            return count;
        }
        least = least * DIGIT - DIGIT / 2;
        most = most * DIGIT + DIGIT / 2 - 1;
    }
    8
}

/// A digit of a weight, in [-128, 127]; the digits times powers of 256 add up to it.
pub fn digit(value: i64, place: u8) -> i64 {
    let mut rest = i128::from(value);
    let base = i128::from(DIGIT);
    for _ in 0..place {
        let low = (rest + base / 2).rem_euclid(base) - base / 2;
        rest = (rest - low) / base;
    }
    ((rest + base / 2).rem_euclid(base) - base / 2) as i64
}

pub fn value(weights: &Weights, coefficient: Coefficient) -> Result<i64, Error> {
    match coefficient {
        Coefficient::Constant(value) => Ok(value),
        Coefficient::Weight { node, at } => weights
            .get(node as usize)
            .and_then(Option::as_ref)
            .and_then(|values| values.get(at as usize))
            .copied()
            .ok_or_else(|| Error::Witness(format!("weight {at} of node {node} is missing"))),
    }
}

/// What the private weight columns hold, by column and right row: digits raised by 128, 128 where no weight stands in a used
/// row, 0 in rows without weights.
pub fn columns(layout: &Layout, weights: &Weights) -> Result<Vec<Vec<u64>>, Error> {
    let mut columns = vec![vec![0; layout.summands.len()]; layout.shape.weight_columns()];
    for (row, summand) in layout.summands.iter().enumerate() {
        if summand.factor == 0 {
            continue;
        }
        for column in &mut columns {
            column[row] = (DIGIT / 2) as u64;
        }
        for &(column, coefficient) in &summand.weights {
            let digit = digit(value(weights, coefficient)?, summand.digit);
            columns[column as usize][row] = (digit + DIGIT / 2) as u64;
        }
    }
    Ok(columns)
}
