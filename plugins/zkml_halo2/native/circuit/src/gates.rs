//! The constraints. Each has its formula above it; `docs/zkml-soundness.md` says what they prove together.
//!
//! No degree is above three. Blinding rows are random in every advice column, so every product of advice stands beside a
//! fixed factor that is zero there.

use halo2_axiom::halo2curves::bn256::Fr;
use halo2_axiom::plonk::{Advice, Column, ConstraintSystem, Expression, VirtualCells};
use halo2_axiom::poly::Rotation;

use crate::columns::Columns;
use crate::layout::{Fixed, DIGIT};

type Term = Expression<Fr>;

/// Largest degree of a constraint.
pub const DEGREE: usize = 3;

struct Row<'r, 'a> {
    cells: &'r mut VirtualCells<'a, Fr>,
    columns: &'r Columns,
}

impl Row<'_, '_> {
    fn fixed(&mut self, column: Fixed) -> Term {
        self.cells.query_fixed(self.columns.fixed[column as usize], Rotation::cur())
    }

    fn here(&mut self, column: Column<Advice>) -> Term {
        self.cells.query_advice(column, Rotation::cur())
    }

    fn next(&mut self, column: Column<Advice>) -> Term {
        self.cells.query_advice(column, Rotation::next())
    }

    /// sum over lanes of sigma^lane * column.
    fn over_lanes(&mut self, columns: &[Column<Advice>], next: bool) -> Term {
        let cells: Vec<Term> = columns.iter().map(|&c| if next { self.next(c) } else { self.here(c) }).collect();
        self.horner(cells)
    }

    fn horner(&mut self, terms: Vec<Term>) -> Term {
        let sigma = self.cells.query_challenge(self.columns.sigma);
        horner(terms, &sigma)
    }
}

fn horner(terms: Vec<Term>, base: &Term) -> Term {
    terms.into_iter().rev().reduce(|sum, term| sum * base.clone() + term).unwrap_or_else(|| constant(0))
}

fn constant(value: i64) -> Term {
    Expression::Constant(crate::field(value))
}

pub fn constrain(cs: &mut ConstraintSystem<Fr>, columns: &Columns) {
    gate(cs, columns, "powers", powers);
    gate(cs, columns, "runs", runs);
    gate(cs, columns, "linear", linear);
    gate(cs, columns, "products", products);
    gate(cs, columns, "look-ups", lookups);
    gate(cs, columns, "public", public);
    if columns.hides.is_some() {
        gate(cs, columns, "hidden", hidden);
    }
}

fn gate(cs: &mut ConstraintSystem<Fr>, columns: &Columns, name: &'static str, make: fn(&mut Row) -> Vec<Term>) {
    cs.create_gate(name, |cells| make(&mut Row { cells, columns }));
}

/// power = 1 on the first row, and rho times that of the row before on the others:
///
///     first * (power - 1) = 0
///     active * (power' - rho * power) = 0
fn powers(row: &mut Row) -> Vec<Term> {
    let (first, active) = (row.fixed(Fixed::First), row.fixed(Fixed::Active));
    let (power, next) = (row.here(row.columns.power), row.next(row.columns.power));
    let rho = row.cells.query_challenge(row.columns.rho);
    vec![first * (power.clone() - constant(1)), active * (next - rho * power)]
}

/// The sum of a run, in each lane: it goes on from the row before, and takes a row's value times the power there:
///
///     active * sum - keep * sum_before - added * at * (a + raise) = 0
///
/// and where whole rows are read
///
///     active * (whole - sum_l sigma^l sum_l) = 0
fn runs(row: &mut Row) -> Vec<Term> {
    let columns = row.columns;
    let (active, keep, added) = (row.fixed(Fixed::Active), row.fixed(Fixed::Keep), row.fixed(Fixed::Added));
    let (raise, at) = (row.fixed(Fixed::Raise), row.here(columns.at));
    let mut constraints: Vec<Term> = (columns.sums.iter().zip(&columns.a))
        .map(|(&sum, &a)| {
            let (now, a) = (row.here(sum), row.here(a));
            let before = row.cells.query_advice(sum, Rotation::prev());
            active.clone() * now - keep.clone() * before - added.clone() * at.clone() * (a + raise.clone())
        })
        .collect();
    if let Some(whole) = columns.whole {
        let sums = row.over_lanes(&columns.sums, false);
        constraints.push(active * (row.here(whole) - sums));
    }
    constraints
}

/// The product of a right row, and the one sum that checks everything linear, zero at both ends:
///
///     active * (product - x * s) = 0
///     active * (total' - total)
///         - power * sum_l sigma^l (quotient q_l + remainder r_l + next_quotient q'_l + next_remainder r'_l + value a_l - offset)
///         + move * at * sum_l sigma^l (a_l + raise)
///         + product * sum_l sigma^l constant_l
///         + weights * product * sum_t rho^t sum_l sigma^l (w_{t,l} - 128) = 0
///     ends * total = 0
///
/// In a circuit of public weights the last two sums are one, of fixed coefficients.
fn linear(row: &mut Row) -> Vec<Term> {
    let columns = row.columns;
    let (active, ends) = (row.fixed(Fixed::Active), row.fixed(Fixed::Ends));
    let (x, s, product) = (row.here(columns.x), row.here(columns.s), row.here(columns.product));
    let (total, next) = (row.here(columns.total), row.next(columns.total));
    let ones = row.horner(vec![constant(1); columns.shape.lanes]);

    let mut made = constant(0);
    for (factor, cells, following) in [
        (Fixed::Quotient, &columns.q, false),
        (Fixed::Remainder, &columns.r, false),
        (Fixed::NextQuotient, &columns.q, true),
        (Fixed::NextRemainder, &columns.r, true),
        (Fixed::Value, &columns.a, false),
    ] {
        made = made + row.fixed(factor) * row.over_lanes(cells, following);
    }
    made = made - row.fixed(Fixed::Offset) * ones.clone();
    let power = row.here(columns.power);

    let values = row.over_lanes(&columns.a, false) + row.fixed(Fixed::Raise) * ones;
    let moved = row.fixed(Fixed::Move) * row.here(columns.at) * values;

    let rho = row.cells.query_challenge(columns.rho);
    let lanes = columns.shape.lanes;
    let blocks: Vec<Term> = columns
        .coefficients
        .chunks(lanes)
        .map(|lane_columns| {
            let cells = lane_columns.iter().map(|&c| row.cells.query_fixed(c, Rotation::cur())).collect();
            row.horner(cells)
        })
        .collect();
    let mut fed = product.clone() * horner(blocks, &rho);
    if columns.shape.private {
        let blocks: Vec<Term> = columns
            .weights
            .chunks(lanes)
            .map(|lane_columns| {
                let cells = lane_columns.iter().map(|&c| row.here(c) - constant(DIGIT / 2)).collect();
                row.horner(cells)
            })
            .collect();
        fed = fed + row.fixed(Fixed::Weights) * product.clone() * horner(blocks, &rho);
    }
    vec![
        active.clone() * (product - x * s),
        active * (next - total.clone()) - power * made + moved + fed,
        ends * total,
    ]
}

/// a = q r, in each lane:
///
///     product * (q_l r_l - a_l) = 0
fn products(row: &mut Row) -> Vec<Term> {
    let columns = row.columns;
    let on = row.fixed(Fixed::Product);
    (0..columns.shape.lanes)
        .map(|l| {
            let (q, r, a) = (row.here(columns.q[l]), row.here(columns.r[l]), row.here(columns.a[l]));
            on.clone() * (q * r - a)
        })
        .collect()
}

/// Every (tag, q, a) and (tag, r, 0) whose tag is not 0 is an entry of the tables: with f = alpha + tag + beta in + beta^2 out
/// for what is looked up and for each entry,
///
///     tag_q * (of_q f(tag_q, q, a) - 1) = 0,    tag_r * (of_r f(tag_r, r, 0) - 1) = 0
///     t_i * (of_table_i f(table i) - count_i) = 0    for all sets but the first
///     (active * (balance' - balance) - sum (tag_q of_q + tag_r of_r) + sum_i t_i of_table_i) f(table 0) + t_0 count_0 = 0
///     ends * balance = 0
///
/// where t_i is the tag of the entry: both sides of the balance weigh each tag alike.
fn lookups(row: &mut Row) -> Vec<Term> {
    let columns = row.columns;
    let alpha = row.cells.query_challenge(columns.alpha);
    let beta = row.cells.query_challenge(columns.beta);
    let squared = beta.clone() * beta.clone();
    let (tag_q, tag_r) = (row.fixed(Fixed::TagQuotient), row.fixed(Fixed::TagRemainder));
    let mut constraints = Vec::new();
    let mut taken = constant(0);
    for l in 0..columns.shape.lanes {
        let (q, r, a) = (row.here(columns.q[l]), row.here(columns.r[l]), row.here(columns.a[l]));
        let (of_q, of_r) = (row.here(columns.of_q[l]), row.here(columns.of_r[l]));
        let quotient = alpha.clone() + tag_q.clone() + beta.clone() * q + squared.clone() * a;
        let remainder = alpha.clone() + tag_r.clone() + beta.clone() * r;
        constraints.push(tag_q.clone() * (of_q.clone() * quotient - constant(1)));
        constraints.push(tag_r.clone() * (of_r.clone() * remainder - constant(1)));
        taken = taken + tag_q.clone() * of_q + tag_r.clone() * of_r;
    }
    let mut sets = Vec::new();
    for &[tag, input, output] in &columns.tables {
        let [tag, input, output] = [tag, input, output].map(|c| row.cells.query_fixed(c, Rotation::cur()));
        let entry = alpha.clone() + tag.clone() + beta.clone() * input + squared.clone() * output;
        sets.push((tag, entry));
    }
    for (i, (tag, entry)) in sets.iter().enumerate().skip(1) {
        let (of_table, count) = (row.here(columns.of_tables[i - 1]), row.here(columns.counts[i]));
        constraints.push(tag.clone() * (of_table.clone() * entry.clone() - count));
        taken = taken - tag.clone() * of_table;
    }
    let (active, ends) = (row.fixed(Fixed::Active), row.fixed(Fixed::Ends));
    let (now, next) = (row.here(columns.balance), row.next(columns.balance));
    let (tag, entry) = sets[0].clone();
    let count = row.here(columns.counts[0]);
    constraints.push((active * (next - now.clone()) - taken) * entry + tag * count);
    constraints.push(ends * now);
    constraints
}

/// A public value is the first lane's, or all lanes' in digits of `packed` bits:
///
///     public * (a_0 - value) + public_lanes * sum_(l > 0) 2^(packed l) a_l = 0
fn public(row: &mut Row) -> Vec<Term> {
    let columns = row.columns;
    let (first, others) = (row.fixed(Fixed::Public), row.fixed(Fixed::PublicLanes));
    let value = row.cells.query_instance(columns.public, Rotation::cur());
    let a = row.here(columns.a[0]);
    let mut sum = constant(0);
    for (l, &column) in columns.a.iter().enumerate().skip(1) {
        sum = sum + row.here(column) * Expression::Constant(crate::power_of_two(columns.shape.packed * l as u32));
    }
    vec![first * (a - value) + others * sum]
}

/// The column of a lane's hidden inputs holds them, and nothing elsewhere:
///
///     active * hidden_l - hides * a_l = 0
fn hidden(row: &mut Row) -> Vec<Term> {
    let columns = row.columns;
    let Some(hides) = columns.hides else { return vec![] };
    let (active, hides) = (row.fixed(Fixed::Active), row.cells.query_fixed(hides, Rotation::cur()));
    (columns.hidden.iter().zip(&columns.a))
        .map(|(&hidden, &a)| active.clone() * row.here(hidden) - hides.clone() * row.here(a))
        .collect()
}
