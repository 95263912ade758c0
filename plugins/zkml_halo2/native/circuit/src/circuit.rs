//! The layout as a circuit of halo2: fixed columns, copies, and the advice of both phases.

use ff::{BatchInvert, Field};
use halo2_axiom::circuit::{Cell, Layouter, Region, SimpleFloorPlanner, Value};
use halo2_axiom::halo2curves::bn256::Fr;
use halo2_axiom::plonk::{Advice, Circuit, Column, ConstraintSystem, Error};
use rayon::prelude::*;

use crate::columns::Columns;
use crate::field;
use crate::gates::{constrain, DEGREE};
use crate::hidden;
use crate::layout::{Fixed, Layout, Operand, Shape, DIGIT};
use crate::weights::{self, Weights};
use crate::witness::Witness;

/// A circuit of a layout, with its witness when proving.
///
/// Public weights are part of the circuit; private ones are part of the witness.
#[derive(Clone)]
pub struct ModelCircuit<'a> {
    pub layout: &'a Layout,
    pub weights: &'a Weights,
    pub witness: Option<&'a Witness>,
}

impl Circuit<Fr> for ModelCircuit<'_> {
    type Config = Columns;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = Shape;

    fn params(&self) -> Shape {
        self.layout.shape
    }

    fn without_witnesses(&self) -> Self {
        Self { witness: None, ..self.clone() }
    }

    fn configure_with_params(cs: &mut ConstraintSystem<Fr>, shape: Shape) -> Columns {
        // The library would read the degree from the environment otherwise.
        cs.set_minimum_degree(DEGREE);
        let columns = Columns::new(cs, shape);
        constrain(cs, &columns);
        columns
    }

    fn configure(_: &mut ConstraintSystem<Fr>) -> Columns {
        unreachable!("a circuit of this kind is always configured with its shape")
    }

    fn synthesize(&self, columns: Columns, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "values",
            |mut region| {
                self.fixed(&columns, &mut region)?;
                self.copies(&columns, &mut region);
                self.values(&columns, &mut region);
                Ok(())
            },
        )?;
        layouter.next_phase();
        let drawn = [columns.rho, columns.sigma, columns.alpha, columns.beta].map(|c| layouter.get_challenge(c));
        let mut challenges = None;
        drawn[0].zip(drawn[1]).zip(drawn[2].zip(drawn[3])).map(|((a, b), (c, d))| challenges = Some([a, b, c, d]));
        if let (Some(witness), Some(challenges)) = (self.witness, challenges) {
            let sums = Sums::new(self.layout, self.weights, witness, challenges);
            layouter.assign_region(
                || "sums",
                |mut region| {
                    sums.assign(&columns, &mut region);
                    Ok(())
                },
            )?;
        }
        Ok(())
    }
}

impl ModelCircuit<'_> {
    fn fixed(&self, columns: &Columns, region: &mut Region<'_, Fr>) -> Result<(), Error> {
        let layout = self.layout;
        let rows = layout.shape.rows();
        for row in 0..rows {
            region.assign_fixed(columns.fixed[Fixed::Active as usize], row, Fr::ONE);
        }
        region.assign_fixed(columns.fixed[Fixed::First as usize], 0, Fr::ONE);
        region.assign_fixed(columns.fixed[Fixed::Ends as usize], 0, Fr::ONE);
        region.assign_fixed(columns.fixed[Fixed::Ends as usize], rows, Fr::ONE);
        for (column, values) in columns.fixed.iter().zip(&layout.fixed).skip(Fixed::Keep as usize) {
            for (row, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                region.assign_fixed(*column, row, field(value));
            }
        }
        for (column, row) in
            columns.hides.iter().flat_map(|column| hidden::rows(layout).into_iter().map(move |r| (column, r)))
        {
            region.assign_fixed(*column, row as usize, Fr::ONE);
        }
        for (entry, (tag, taken, given)) in layout.tables.entries().enumerate() {
            let set = columns.tables[entry / rows];
            for (column, value) in set.into_iter().zip([tag, taken, given]) {
                region.assign_fixed(column, entry % rows, field(value));
            }
        }
        for (row, summand) in layout.summands.iter().enumerate() {
            for &(lane, value) in &summand.constants {
                region.assign_fixed(columns.coefficients[lane as usize], row, field(value));
            }
            if layout.shape.private {
                if summand.factor != 0 {
                    region.assign_fixed(columns.fixed[Fixed::Weights as usize], row, field(summand.factor));
                }
            } else {
                for &(column, coefficient) in &summand.weights {
                    let weight = weights::value(self.weights, coefficient).map_err(|_| Error::Synthesis)?;
                    let value = field(weight) * field(summand.factor);
                    region.assign_fixed(columns.coefficients[column as usize], row, value);
                }
            }
        }
        Ok(())
    }

    fn copies(&self, columns: &Columns, region: &mut Region<'_, Fr>) {
        let cell = |column: Column<Advice>, row: usize| Cell { row_offset: row, column: column.into() };
        let source = |operand: Operand| match operand {
            Operand::Power(power) => cell(columns.power, power as usize),
            Operand::Sum { row, lane } => cell(columns.sums[lane as usize], row as usize),
            Operand::Whole { row } => cell(columns.whole.unwrap_or(columns.power), row as usize),
        };
        for (row, power) in self.layout.powers.iter().enumerate() {
            if let Some(power) = power {
                region.constrain_equal(cell(columns.at, row), cell(columns.power, *power as usize));
            }
        }
        for (row, summand) in self.layout.summands.iter().enumerate() {
            region.constrain_equal(cell(columns.x, row), source(summand.x));
            region.constrain_equal(cell(columns.s, row), source(summand.s));
        }
    }

    fn values(&self, columns: &Columns, region: &mut Region<'_, Fr>) {
        let Some(witness) = self.witness else { return };
        for (columns, values) in [(&columns.q, &witness.q), (&columns.r, &witness.r), (&columns.a, &witness.a)] {
            for (column, values) in columns.iter().zip(values) {
                for (row, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                    region.assign_advice(*column, row, Value::known(field(value)));
                }
            }
        }
        let committed =
            columns.weights.iter().zip(&witness.weights).chain(columns.hidden.iter().zip(&witness.hidden));
        let small = committed.chain(columns.counts.iter().zip(&witness.counts));
        for (column, values) in small {
            for (row, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                region.assign_advice(*column, row, Value::known(Fr::from(value)));
            }
        }
    }
}

/// The advice of the second phase.
struct Sums {
    power: Vec<Fr>,
    at: Vec<Fr>,
    x: Vec<Fr>,
    s: Vec<Fr>,
    product: Vec<Fr>,
    total: Vec<Fr>,
    balance: Vec<Fr>,
    sums: Vec<Vec<Fr>>,
    whole: Vec<Fr>,
    of_q: Vec<Vec<Fr>>,
    of_r: Vec<Vec<Fr>>,
    of_tables: Vec<Vec<Fr>>,
}

impl Sums {
    fn new(layout: &Layout, weights: &Weights, witness: &Witness, [rho, sigma, alpha, beta]: [Fr; 4]) -> Self {
        let rows = layout.shape.rows();
        let lanes = layout.shape.lanes;
        let left = layout.fills.len();
        let mut power = vec![Fr::ONE; rows + 1];
        for row in 1..=rows {
            power[row] = power[row - 1] * rho;
        }
        let of_lane: Vec<Fr> = std::iter::successors(Some(Fr::ONE), |p| Some(*p * sigma)).take(lanes).collect();
        let at: Vec<Fr> = layout.powers.iter().map(|p| p.map_or(Fr::ZERO, |p| power[p as usize])).collect();
        let raised = |lane: usize, row: usize| field(witness.a[lane][row]) + field(layout.fixed(Fixed::Raise, row));
        let sums: Vec<Vec<Fr>> = (0..lanes)
            .into_par_iter()
            .map(|lane| {
                let mut sums = vec![Fr::ZERO; left];
                for row in 0..left {
                    if layout.fixed(Fixed::Keep, row) != 0 && row > 0 {
                        sums[row] = sums[row - 1];
                    }
                    if layout.fixed(Fixed::Added, row) != 0 {
                        sums[row] += at[row] * raised(lane, row);
                    }
                }
                sums
            })
            .collect();
        let whole: Vec<Fr> =
            (0..left).map(|row| sums.iter().zip(&of_lane).map(|(sums, s)| sums[row] * s).sum()).collect();
        let operand = |operand: Operand| match operand {
            Operand::Power(p) => power[p as usize],
            Operand::Sum { row, lane } => sums[lane as usize][row as usize],
            Operand::Whole { row } => whole[row as usize],
        };
        let x: Vec<Fr> = layout.summands.iter().map(|summand| operand(summand.x)).collect();
        let s: Vec<Fr> = layout.summands.iter().map(|summand| operand(summand.s)).collect();
        let product: Vec<Fr> = x.iter().zip(&s).map(|(x, s)| *x * *s).collect();

        let ones: Fr = of_lane.iter().sum();
        let over_lanes = |cells: &[Vec<i64>], row: usize| -> Fr {
            cells.iter().zip(&of_lane).map(|(lane, s)| lane.get(row).map_or(Fr::ZERO, |v| field(*v) * s)).sum()
        };
        let made = |row: usize| -> Fr {
            let mut sum = -field(layout.fixed(Fixed::Offset, row)) * ones;
            for (factor, cells, at) in [
                (Fixed::Quotient, &witness.q, row),
                (Fixed::Remainder, &witness.r, row),
                (Fixed::NextQuotient, &witness.q, row + 1),
                (Fixed::NextRemainder, &witness.r, row + 1),
                (Fixed::Value, &witness.a, row),
            ] {
                let factor = layout.fixed(factor, row);
                if factor != 0 {
                    sum += field(factor) * over_lanes(cells, at);
                }
            }
            sum
        };
        let mut column_factor = vec![Fr::ONE; layout.shape.weight_columns()];
        for (column, factor) in column_factor.iter_mut().enumerate() {
            *factor = power[column / lanes] * of_lane[column % lanes];
        }
        let all: Fr = column_factor.iter().sum();
        let fed = |row: usize| -> Fr {
            let summand = &layout.summands[row];
            let mut sum: Fr = summand.constants.iter().map(|&(l, c)| field(c) * of_lane[l as usize]).sum();
            if layout.shape.private {
                if summand.factor != 0 {
                    let cells = witness.weights.iter().zip(&column_factor).map(|(w, f)| Fr::from(w[row]) * f);
                    sum += field(summand.factor) * (cells.sum::<Fr>() - all * field(DIGIT / 2));
                }
            } else {
                for &(column, coefficient) in &summand.weights {
                    let weight = weights::value(weights, coefficient).unwrap_or(0);
                    sum += field(weight) * field(summand.factor) * column_factor[column as usize];
                }
            }
            sum * product[row]
        };
        let steps: Vec<Fr> = (0..rows)
            .into_par_iter()
            .map(|row| {
                let mut step = Fr::ZERO;
                if row < left {
                    step += power[row] * made(row);
                    let moved = layout.fixed(Fixed::Move, row);
                    if moved != 0 {
                        let values: Fr = (0..lanes).map(|l| raised(l, row) * of_lane[l]).sum();
                        step -= field(moved) * at[row] * values;
                    }
                }
                if row < layout.summands.len() {
                    step -= fed(row);
                }
                step
            })
            .collect();
        let total = running(&steps);

        let squared = beta * beta;
        let tag = |column: Fixed, row: usize| layout.fixed(column, row);
        let reciprocals = |column: Fixed, cells: &[Vec<i64>], with_out: bool| -> Vec<Vec<Fr>> {
            (0..lanes)
                .into_par_iter()
                .map(|lane| {
                    let mut values: Vec<Fr> = (0..left)
                        .map(|row| match tag(column, row) {
                            0 => Fr::ZERO,
                            tag => {
                                let out = if with_out { squared * field(witness.a[lane][row]) } else { Fr::ZERO };
                                alpha + field(tag) + beta * field(cells[lane][row]) + out
                            }
                        })
                        .collect();
                    values.iter_mut().batch_invert();
                    values
                })
                .collect()
        };
        let of_q = reciprocals(Fixed::TagQuotient, &witness.q, true);
        let of_r = reciprocals(Fixed::TagRemainder, &witness.r, false);
        let mut entries: Vec<Fr> = layout
            .tables
            .entries()
            .map(|(tag, taken, given)| alpha + field(tag) + beta * field(taken) + squared * field(given))
            .collect();
        entries.iter_mut().batch_invert();
        let mut of_tables = vec![vec![Fr::ZERO; rows]; layout.shape.tables - 1];
        let mut steps = vec![Fr::ZERO; rows];
        for (entry, (tag, _, _)) in layout.tables.entries().enumerate() {
            let (set, row) = (entry / rows, entry % rows);
            let share = entries[entry] * Fr::from(witness.counts[set][row]);
            if set > 0 {
                of_tables[set - 1][row] = share;
            }
            steps[row] -= field(tag) * share;
        }
        for row in 0..left {
            for (column, of) in [(Fixed::TagQuotient, &of_q), (Fixed::TagRemainder, &of_r)] {
                let tag = tag(column, row);
                if tag != 0 {
                    steps[row] += field(tag) * of.iter().map(|lane| lane[row]).sum::<Fr>();
                }
            }
        }
        let balance = running(&steps);
        Self { power, at, x, s, product, total, balance, sums, whole, of_q, of_r, of_tables }
    }

    fn assign(&self, columns: &Columns, region: &mut Region<'_, Fr>) {
        let mut put = |column: Column<Advice>, values: &[Fr]| {
            for (row, value) in values.iter().enumerate() {
                region.assign_advice(column, row, Value::known(*value));
            }
        };
        put(columns.power, &self.power);
        put(columns.at, &self.at);
        put(columns.x, &self.x);
        put(columns.s, &self.s);
        put(columns.product, &self.product);
        put(columns.total, &self.total);
        put(columns.balance, &self.balance);
        if let Some(whole) = columns.whole {
            put(whole, &self.whole);
        }
        for (columns, values) in [
            (&columns.sums, &self.sums),
            (&columns.of_q, &self.of_q),
            (&columns.of_r, &self.of_r),
            (&columns.of_tables, &self.of_tables),
        ] {
            for (column, values) in columns.iter().zip(values) {
                put(*column, values);
            }
        }
    }
}

/// Sums of all that stands before, from zero.
fn running(steps: &[Fr]) -> Vec<Fr> {
    let mut sums = Vec::with_capacity(steps.len() + 1);
    let mut sum = Fr::ZERO;
    sums.push(sum);
    for step in steps {
        sum += step;
        sums.push(sum);
    }
    sums
}
