//! The columns of a circuit of a shape.

use halo2_axiom::halo2curves::bn256::Fr;
use halo2_axiom::plonk::{Advice, Challenge, Column, ConstraintSystem, FirstPhase, Fixed, Instance, SecondPhase};

use crate::layout::{Shape, FIXED};

/// All columns. The advice of the first phase is committed before the challenges are drawn: private weights first, then
/// hidden inputs.
#[derive(Clone, Debug)]
pub struct Columns {
    pub shape: Shape,
    /// Weights by tap and lane where they are private.
    pub weights: Vec<Column<Advice>>,
    /// Inputs by lane where they are hidden, and nothing else.
    pub hidden: Vec<Column<Advice>>,
    pub q: Vec<Column<Advice>>,
    pub r: Vec<Column<Advice>>,
    pub a: Vec<Column<Advice>>,
    /// How often each table entry is looked up, by set.
    pub counts: Vec<Column<Advice>>,

    /// Powers of rho.
    pub power: Column<Advice>,
    /// A power copied to a left row.
    pub at: Column<Advice>,
    /// What a right row multiplies, and the product.
    pub x: Column<Advice>,
    pub s: Column<Advice>,
    pub product: Column<Advice>,
    /// The sum of everything linear, and that of all look-ups.
    pub total: Column<Advice>,
    pub balance: Column<Advice>,
    /// Sums of runs, by lane, and all lanes of a row together.
    pub sums: Vec<Column<Advice>>,
    pub whole: Option<Column<Advice>>,
    /// Reciprocals of looked-up values, by lane, and of table entries beyond the first set.
    pub of_q: Vec<Column<Advice>>,
    pub of_r: Vec<Column<Advice>>,
    pub of_tables: Vec<Column<Advice>>,

    pub fixed: Vec<Column<Fixed>>,
    /// Constant coefficients by lane (private weights), or all coefficients by tap and lane (public ones).
    pub coefficients: Vec<Column<Fixed>>,
    /// Tag, input and output, by set.
    pub tables: Vec<[Column<Fixed>; 3]>,
    pub public: Column<Instance>,
    /// 1 on the rows of hidden inputs.
    pub hides: Option<Column<Fixed>>,

    pub rho: Challenge,
    pub sigma: Challenge,
    pub alpha: Challenge,
    pub beta: Challenge,
}

impl Columns {
    pub fn new(cs: &mut ConstraintSystem<Fr>, shape: Shape) -> Self {
        let early = |cs: &mut ConstraintSystem<Fr>, count: usize| -> Vec<Column<Advice>> {
            (0..count).map(|_| cs.advice_column_in(FirstPhase)).collect()
        };
        let weights = early(cs, if shape.private { shape.weight_columns() } else { 0 });
        let hidden = early(cs, shape.hidden_columns());
        let (q, r, a) = (early(cs, shape.lanes), early(cs, shape.lanes), early(cs, shape.lanes));
        let counts = early(cs, shape.tables);
        let [rho, sigma, alpha, beta] = [(); 4].map(|()| cs.challenge_usable_after(FirstPhase));
        let late = |cs: &mut ConstraintSystem<Fr>, count: usize| -> Vec<Column<Advice>> {
            (0..count).map(|_| cs.advice_column_in(SecondPhase)).collect()
        };
        let [power, at, x, s, product, total, balance] = [(); 7].map(|()| cs.advice_column_in(SecondPhase));
        let (sums, of_q, of_r) = (late(cs, shape.lanes), late(cs, shape.lanes), late(cs, shape.lanes));
        let of_tables = late(cs, shape.tables - 1);
        let whole = late(cs, usize::from(shape.whole)).pop();
        for column in [power, at, x, s].iter().chain(&sums).chain(&whole) {
            cs.enable_equality(*column);
        }
        let fixed = (0..FIXED).map(|_| cs.fixed_column()).collect();
        let constants = if shape.private { shape.lanes } else { shape.weight_columns() };
        let coefficients = (0..constants).map(|_| cs.fixed_column()).collect();
        let tables = (0..shape.tables).map(|_| [(); 3].map(|()| cs.fixed_column())).collect();
        let public = cs.instance_column();
        let hides = shape.hidden.then(|| cs.fixed_column());
        Self {
            shape,
            weights,
            hidden,
            q,
            r,
            a,
            counts,
            power,
            at,
            x,
            s,
            product,
            total,
            balance,
            sums,
            whole,
            of_q,
            of_r,
            of_tables,
            fixed,
            coefficients,
            tables,
            public,
            hides,
            rho,
            sigma,
            alpha,
            beta,
        }
    }
}
