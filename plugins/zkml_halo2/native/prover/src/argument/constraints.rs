//! The constraints of a circuit, evaluated for many rows at once.

use balance_zkml_verifier::Error;
use ff::Field;
use halo2_axiom::halo2curves::bn256::Fr;
use halo2_axiom::plonk::{ConstraintSystem, Expression};

/// Which columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fixed,
    Advice,
    Instance,
}

/// An expression of cells in which challenges are constants.
#[derive(Clone, Debug)]
enum Node {
    Constant(Fr),
    Cell { kind: Kind, column: usize, rotation: i32 },
    Sum(Box<Node>, Box<Node>),
    Difference(Box<Node>, Box<Node>),
    Product(Box<Node>, Box<Node>),
    Scaled(Box<Node>, Fr),
}

/// The values of all columns on a coset.
pub struct Table<'a> {
    pub fixed: &'a [Vec<Fr>],
    pub advice: &'a [Vec<Fr>],
    pub instance: &'a [Vec<Fr>],
}

/// What has to vanish, in halo2's order.
pub struct Constraints {
    nodes: Vec<Node>,
}

impl Constraints {
    pub fn new(cs: &ConstraintSystem<Fr>, challenges: &[Fr]) -> Result<Self, Error> {
        let polynomials = cs.gates().iter().flat_map(|gate| gate.polynomials());
        Ok(Self { nodes: polynomials.map(|e| Node::new(e, challenges)).collect::<Result<_, _>>()? })
    }

    /// Adds up the constraints of the rows from `start` on, times powers of y: out = out y + constraint for each.
    pub fn fold(&self, table: &Table, start: usize, y: Fr, out: &mut [Fr]) {
        let mut spare = Spare::default();
        let mut values = spare.take(out.len());
        for node in &self.nodes {
            node.put(table, start, &mut values, &mut spare);
            out.iter_mut().zip(&values).for_each(|(out, value)| *out = *out * y + value);
        }
    }
}

/// Vectors to reuse.
#[derive(Default)]
struct Spare(Vec<Vec<Fr>>);

impl Spare {
    fn take(&mut self, length: usize) -> Vec<Fr> {
        self.0.pop().unwrap_or_else(|| vec![Fr::ZERO; length])
    }
}

impl Node {
    fn new(expression: &Expression<Fr>, challenges: &[Fr]) -> Result<Self, Error> {
        let sub = |e: &Expression<Fr>| Self::new(e, challenges);
        let cell = |kind, column, rotation| Self::Cell { kind, column, rotation };
        Ok(match expression {
            Expression::Constant(value) => Self::Constant(*value),
            Expression::Challenge(challenge) => Self::Constant(challenges[challenge.index()]),
            Expression::Fixed(query) => cell(Kind::Fixed, query.column_index(), query.rotation().0),
            Expression::Advice(query) => cell(Kind::Advice, query.column_index(), query.rotation().0),
            Expression::Instance(query) => cell(Kind::Instance, query.column_index(), query.rotation().0),
            Expression::Negated(e) => sub(e)?.scaled(-Fr::ONE),
            Expression::Scaled(e, factor) => sub(e)?.scaled(*factor),
            Expression::Sum(a, b) => match &**b {
                Expression::Negated(b) => sub(a)?.minus(sub(b)?),
                b => sub(a)?.plus(sub(b)?),
            },
            Expression::Product(a, b) => match (sub(a)?, sub(b)?) {
                (Self::Constant(factor), node) | (node, Self::Constant(factor)) => node.scaled(factor),
                (a, b) => Self::Product(Box::new(a), Box::new(b)),
            },
            Expression::Selector(_) => return Err(Error::new("a circuit of ours has no virtual selectors")),
        })
    }

    fn scaled(self, factor: Fr) -> Self {
        match self {
            _ if factor == Fr::ZERO => Self::Constant(Fr::ZERO),
            node if factor == Fr::ONE => node,
            Self::Constant(value) => Self::Constant(value * factor),
            Self::Scaled(node, other) => node.scaled(factor * other),
            node => Self::Scaled(Box::new(node), factor),
        }
    }

    fn is_zero(&self) -> bool {
        matches!(self, Self::Constant(value) if *value == Fr::ZERO)
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a + b),
            (a, b) if b.is_zero() => a,
            (a, b) if a.is_zero() => b,
            (a, b) => Self::Sum(Box::new(a), Box::new(b)),
        }
    }

    fn minus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a - b),
            (a, b) if b.is_zero() => a,
            (a, b) => Self::Difference(Box::new(a), Box::new(b)),
        }
    }

    /// Puts the values of rows from `start` on into `out`.
    fn put(&self, table: &Table, start: usize, out: &mut [Fr], spare: &mut Spare) {
        match self {
            Self::Constant(value) => out.fill(*value),
            Self::Cell { .. } => self.each(table, start, out, spare, |out, value| *out = *value),
            Self::Sum(a, b) => {
                a.put(table, start, out, spare);
                b.each(table, start, out, spare, |out, value| *out += value);
            }
            Self::Difference(a, b) => {
                a.put(table, start, out, spare);
                b.each(table, start, out, spare, |out, value| *out -= value);
            }
            Self::Product(a, b) => {
                a.put(table, start, out, spare);
                b.each(table, start, out, spare, |out, value| *out *= value);
            }
            Self::Scaled(a, factor) => {
                a.put(table, start, out, spare);
                out.iter_mut().for_each(|value| *value *= factor);
            }
        }
    }

    /// Does something with each of `out` and the value of its row.
    fn each(&self, table: &Table, start: usize, out: &mut [Fr], spare: &mut Spare, apply: impl Fn(&mut Fr, &Fr)) {
        match self {
            Self::Constant(value) => out.iter_mut().for_each(|out| apply(out, value)),
            Self::Cell { kind, column, rotation } => {
                let columns = match kind {
                    Kind::Fixed => table.fixed,
                    Kind::Advice => table.advice,
                    Kind::Instance => table.instance,
                };
                let column = &columns[*column];
                let from = (start as i64 + i64::from(*rotation)).rem_euclid(column.len() as i64) as usize;
                // and round again
                let (here, beyond) = out.split_at_mut(out.len().min(column.len() - from));
                here.iter_mut().zip(&column[from..]).for_each(|(out, value)| apply(out, value));
                beyond.iter_mut().zip(column).for_each(|(out, value)| apply(out, value));
            }
            _ => {
                let mut values = spare.take(out.len());
                self.put(table, start, &mut values, spare);
                out.iter_mut().zip(&values).for_each(|(out, value)| apply(out, value));
                spare.0.push(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halo2_axiom::plonk::{FirstPhase, SecondPhase};
    use halo2_axiom::poly::Rotation;
    use rand::rngs::OsRng;

    const ROWS: usize = 8;

    fn columns(count: usize) -> Vec<Vec<Fr>> {
        (0..count).map(|_| (0..ROWS).map(|_| Fr::random(OsRng)).collect()).collect()
    }

    #[test]
    fn constraints_are_those_of_the_expressions() {
        let mut cs = ConstraintSystem::<Fr>::default();
        let (selector, advice, later) = (cs.fixed_column(), cs.advice_column(), cs.advice_column_in(SecondPhase));
        let instance = cs.instance_column();
        let challenge = cs.challenge_usable_after(FirstPhase);
        cs.create_gate("all that an expression has", |meta| {
            let s = meta.query_fixed(selector, Rotation::cur());
            let [before, now, next] = [-1, 0, 1].map(|at| meta.query_advice(advice, Rotation(at)));
            let (later, public) =
                (meta.query_advice(later, Rotation(-3)), meta.query_instance(instance, Rotation::cur()));
            let (c, two) = (meta.query_challenge(challenge), Expression::Constant(Fr::from(2)));
            let none = Expression::Constant(Fr::ZERO);
            vec![
                s.clone() * (now.clone() - before * c.clone()) * (next.clone() + two.clone()),
                (later.clone() * c + now.clone() * Fr::from(9)) - (-public * two.clone()),
                none.clone() - next.clone() + none.clone() * later.clone(),
                two.clone() - now * (two.clone() * two.clone() - two),
                none.clone() + later - none,
            ]
        });
        let (fixed, advice, instance) = (columns(1), columns(2), columns(1));
        let challenge = Fr::random(OsRng);
        let constraints = Constraints::new(&cs, &[challenge]).unwrap();
        let table = Table { fixed: &fixed, advice: &advice, instance: &instance };
        let y = Fr::random(OsRng);
        // also from a row in the middle, round to the first
        for (start, rows) in [(0, ROWS), (5, 3), (0, 2)] {
            let mut found = vec![Fr::from(3); rows];
            constraints.fold(&table, start, y, &mut found);
            for (i, found) in found.iter().enumerate() {
                let cell = |columns: &[Vec<Fr>], column: usize, rotation: Rotation| {
                    columns[column][(start as i32 + i as i32 + rotation.0).rem_euclid(ROWS as i32) as usize]
                };
                let value = |e: &Expression<Fr>| {
                    e.evaluate(
                        &|constant| constant,
                        &|_| unreachable!("no virtual selectors"),
                        &|q| cell(&fixed, q.column_index(), q.rotation()),
                        &|q| cell(&advice, q.column_index(), q.rotation()),
                        &|q| cell(&instance, q.column_index(), q.rotation()),
                        &|_| challenge,
                        &|a| -a,
                        &|a, b| a + b,
                        &|a, b| a * b,
                        &|a, factor| a * factor,
                    )
                };
                let expected = cs.gates()[0].polynomials().iter().fold(Fr::from(3), |sum, e| sum * y + value(e));
                assert_eq!(*found, expected, "row {i} from {start}");
            }
        }
    }
}
