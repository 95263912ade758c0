//! The circuit that shows, once for each commitment, that private weights are what the main circuit takes them for: digits
//! in their ranges, nothing where no weight stands, and one digit wherever a weight is used more than once.

use std::collections::{BTreeMap, HashMap};

use balance_zkml_model::{Model, Op};
use ff::{BatchInvert, Field};
use halo2_axiom::circuit::{Cell, Layouter, Region, SimpleFloorPlanner, Value};
use halo2_axiom::halo2curves::bn256::Fr;
use halo2_axiom::plonk::{
    Advice, Challenge, Circuit, Column, ConstraintSystem, Error, Expression, FirstPhase, Fixed, SecondPhase,
};
use halo2_axiom::poly::Rotation;

use crate::gates::DEGREE;
use crate::layout::{Layout, Shape, DIGIT};
use crate::steps::Coefficient;

/// Least k of a circuit of private weights: the table below must fit.
pub const SMALLEST: u32 = 10;

/// Which digits stand where: kinds are ranges of raised digits, numbered from 1.
#[derive(Clone, Debug)]
pub struct Digits {
    pub shape: Shape,
    /// Kind of each right row, by weight column; 0 in rows without weights.
    kinds: Vec<Vec<u32>>,
    /// Kind and raised digit of each table entry.
    entries: Vec<(u32, u64)>,
    /// Cells, as column and row, that hold the same digit of the same weight.
    ties: Vec<((usize, usize), (usize, usize))>,
}

impl Digits {
    pub fn of(model: &Model, layout: &Layout) -> Self {
        let columns = layout.shape.weight_columns();
        let mut numbers: BTreeMap<(i64, i64), u32> = BTreeMap::new();
        let mut kind = |range: (i64, i64)| {
            let next = numbers.len() as u32 + 1;
            *numbers.entry(range).or_insert(next)
        };
        let nothing = kind((0, 0));
        let mut kinds = vec![vec![0; layout.summands.len()]; columns];
        let mut seen: HashMap<(u32, u32, u8), (usize, usize)> = HashMap::new();
        let mut ties = Vec::new();
        for (row, summand) in layout.summands.iter().enumerate().filter(|(_, summand)| summand.factor != 0) {
            for column in &mut kinds {
                column[row] = nothing;
            }
            for &(column, coefficient) in &summand.weights {
                let Coefficient::Weight { node, at } = coefficient else { continue };
                kinds[column as usize][row] = kind(range_of(model, node, summand.digit));
                let cell = (column as usize, row);
                if let Some(&first) = seen.get(&(node, at, summand.digit)) {
                    ties.push((first, cell));
                } else {
                    seen.insert((node, at, summand.digit), cell);
                }
            }
        }
        let entries = numbers
            .iter()
            .flat_map(|(&(lo, hi), &kind)| (lo..=hi).map(move |digit| (kind, (digit + DIGIT / 2) as u64)))
            .collect();
        Self { shape: layout.shape, kinds, entries, ties }
    }

    pub fn tied(&self) -> bool {
        !self.ties.is_empty()
    }

    /// Whether the table fits.
    pub fn fits(&self) -> bool {
        self.entries.len() <= self.shape.rows()
    }
}

/// The range of a digit of a weight of a node: all of it, but for the last, which the declared range bounds.
fn range_of(model: &Model, node: u32, place: u8) -> (i64, i64) {
    let whole = (-DIGIT / 2, DIGIT / 2 - 1);
    let Some(Op::Constant { lo, hi, .. }) = model.nodes.get(node as usize).map(|n| &n.op) else { return whole };
    if place + 1 < crate::weights::digits_of(model, node) {
        return whole;
    }
    (crate::weights::digit(*lo, place), crate::weights::digit(*hi, place))
}

/// The columns of a registration circuit: the weight columns of the main one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub k: u32,
    pub columns: usize,
    pub tied: bool,
}

#[derive(Clone, Debug)]
pub struct RegistrationColumns {
    weights: Vec<Column<Advice>>,
    count: Column<Advice>,
    balance: Column<Advice>,
    of: Vec<Column<Advice>>,
    kinds: Vec<Column<Fixed>>,
    table: [Column<Fixed>; 2],
    active: Column<Fixed>,
    ends: Column<Fixed>,
    alpha: Challenge,
    beta: Challenge,
}

/// The circuit, with the weight columns when proving.
#[derive(Clone)]
pub struct RegistrationCircuit<'a> {
    pub digits: &'a Digits,
    pub weights: Option<&'a [Vec<u64>]>,
}

impl Digits {
    pub fn form(&self) -> Form {
        Form { k: self.shape.k, columns: self.shape.weight_columns(), tied: self.tied() }
    }
}

impl Circuit<Fr> for RegistrationCircuit<'_> {
    type Config = RegistrationColumns;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = Form;

    fn params(&self) -> Form {
        self.digits.form()
    }

    fn without_witnesses(&self) -> Self {
        Self { weights: None, ..self.clone() }
    }

    fn configure(_: &mut ConstraintSystem<Fr>) -> RegistrationColumns {
        unreachable!("a circuit of this kind is always configured with its form")
    }

    /// Every (kind, digit) whose kind is not 0 is in the table; f = alpha + kind + beta digit:
    ///
    ///     kind * (of f(kind, w) - 1) = 0
    ///     (active * (balance' - balance) - sum kind of) f(table) + table_kind count = 0
    ///     ends * balance = 0
    fn configure_with_params(cs: &mut ConstraintSystem<Fr>, form: Form) -> RegistrationColumns {
        cs.set_minimum_degree(DEGREE);
        let weights: Vec<_> = (0..form.columns).map(|_| cs.advice_column_in(FirstPhase)).collect();
        let count = cs.advice_column_in(FirstPhase);
        let [alpha, beta] = [(); 2].map(|()| cs.challenge_usable_after(FirstPhase));
        let balance = cs.advice_column_in(SecondPhase);
        let of: Vec<_> = (0..form.columns).map(|_| cs.advice_column_in(SecondPhase)).collect();
        let kinds: Vec<_> = (0..form.columns).map(|_| cs.fixed_column()).collect();
        let table = [(); 2].map(|()| cs.fixed_column());
        let [active, ends] = [(); 2].map(|()| cs.fixed_column());
        if form.tied {
            for column in &weights {
                cs.enable_equality(*column);
            }
        }
        let columns = RegistrationColumns { weights, count, balance, of, kinds, table, active, ends, alpha, beta };
        cs.create_gate("digits", |cells| {
            let one = Expression::Constant(Fr::ONE);
            let (alpha, beta) = (cells.query_challenge(columns.alpha), cells.query_challenge(columns.beta));
            let mut constraints = Vec::new();
            let mut taken = Expression::Constant(Fr::ZERO);
            for ((&w, &of), &kind) in columns.weights.iter().zip(&columns.of).zip(&columns.kinds) {
                let (w, of) = (cells.query_advice(w, Rotation::cur()), cells.query_advice(of, Rotation::cur()));
                let kind = cells.query_fixed(kind, Rotation::cur());
                let f = alpha.clone() + kind.clone() + beta.clone() * w;
                constraints.push(kind.clone() * (of.clone() * f - one.clone()));
                taken = taken + kind * of;
            }
            let [kind, digit] = columns.table.map(|c| cells.query_fixed(c, Rotation::cur()));
            let entry = alpha + kind.clone() + beta * digit;
            let active = cells.query_fixed(columns.active, Rotation::cur());
            let ends = cells.query_fixed(columns.ends, Rotation::cur());
            let now = cells.query_advice(columns.balance, Rotation::cur());
            let next = cells.query_advice(columns.balance, Rotation::next());
            let count = cells.query_advice(columns.count, Rotation::cur());
            constraints.push((active * (next - now.clone()) - taken) * entry + kind * count);
            constraints.push(ends * now);
            constraints
        });
        columns
    }

    fn synthesize(&self, columns: RegistrationColumns, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "digits",
            |mut region| {
                self.fixed(&columns, &mut region);
                self.values(&columns, &mut region);
                Ok(())
            },
        )?;
        layouter.next_phase();
        let drawn = [columns.alpha, columns.beta].map(|c| layouter.get_challenge(c));
        let mut challenges = None;
        drawn[0].zip(drawn[1]).map(|both| challenges = Some(both));
        if let (Some(weights), Some((alpha, beta))) = (self.weights, challenges) {
            layouter.assign_region(
                || "sums",
                |mut region| {
                    self.sums(&columns, &mut region, weights, alpha, beta);
                    Ok(())
                },
            )?;
        }
        Ok(())
    }
}

impl RegistrationCircuit<'_> {
    fn fixed(&self, columns: &RegistrationColumns, region: &mut Region<'_, Fr>) {
        let rows = self.digits.shape.rows();
        for row in 0..rows {
            region.assign_fixed(columns.active, row, Fr::ONE);
        }
        region.assign_fixed(columns.ends, 0, Fr::ONE);
        region.assign_fixed(columns.ends, rows, Fr::ONE);
        for (column, kinds) in columns.kinds.iter().zip(&self.digits.kinds) {
            for (row, &kind) in kinds.iter().enumerate().filter(|(_, kind)| **kind != 0) {
                region.assign_fixed(*column, row, Fr::from(u64::from(kind)));
            }
        }
        for (row, &(kind, digit)) in self.digits.entries.iter().enumerate() {
            region.assign_fixed(columns.table[0], row, Fr::from(u64::from(kind)));
            region.assign_fixed(columns.table[1], row, Fr::from(digit));
        }
        let cell = |(column, row): (usize, usize)| Cell { row_offset: row, column: columns.weights[column].into() };
        for &(left, right) in &self.digits.ties {
            region.constrain_equal(cell(left), cell(right));
        }
    }

    fn values(&self, columns: &RegistrationColumns, region: &mut Region<'_, Fr>) {
        let Some(weights) = self.weights else { return };
        for (column, values) in columns.weights.iter().zip(weights) {
            for (row, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                region.assign_advice(*column, row, Value::known(Fr::from(value)));
            }
        }
        let places: HashMap<(u32, u64), usize> =
            self.digits.entries.iter().enumerate().map(|(i, &entry)| (entry, i)).collect();
        let mut counts = vec![0u64; self.digits.entries.len()];
        for (kinds, values) in self.digits.kinds.iter().zip(weights) {
            for (&kind, &value) in kinds.iter().zip(values).filter(|(kind, _)| **kind != 0) {
                if let Some(&place) = places.get(&(kind, value)) {
                    counts[place] += 1;
                }
            }
        }
        for (row, &count) in counts.iter().enumerate() {
            region.assign_advice(columns.count, row, Value::known(Fr::from(count)));
        }
    }

    fn sums(
        &self,
        columns: &RegistrationColumns,
        region: &mut Region<'_, Fr>,
        weights: &[Vec<u64>],
        alpha: Fr,
        beta: Fr,
    ) {
        let rows = self.digits.shape.rows();
        let mut steps = vec![Fr::ZERO; rows];
        let mut entries: Vec<Fr> = self
            .digits
            .entries
            .iter()
            .map(|&(kind, digit)| alpha + Fr::from(u64::from(kind)) + beta * Fr::from(digit))
            .collect();
        entries.iter_mut().batch_invert();
        let places: HashMap<(u32, u64), usize> =
            self.digits.entries.iter().enumerate().map(|(i, &entry)| (entry, i)).collect();
        let mut counts = vec![0u64; entries.len()];
        for ((column, kinds), values) in columns.of.iter().zip(&self.digits.kinds).zip(weights) {
            for (row, (&kind, &value)) in kinds.iter().zip(values).enumerate().filter(|(_, (kind, _))| **kind != 0) {
                if let Some(&place) = places.get(&(kind, value)) {
                    counts[place] += 1;
                    region.assign_advice(*column, row, Value::known(entries[place]));
                    steps[row] += Fr::from(u64::from(kind)) * entries[place];
                }
            }
        }
        for (row, (&(kind, _), entry)) in self.digits.entries.iter().zip(&entries).enumerate() {
            steps[row] -= Fr::from(u64::from(kind)) * Fr::from(counts[row]) * entry;
        }
        let mut sum = Fr::ZERO;
        region.assign_advice(columns.balance, 0, Value::known(sum));
        for (row, step) in steps.iter().enumerate() {
            sum += step;
            region.assign_advice(columns.balance, row + 1, Value::known(sum));
        }
    }
}
