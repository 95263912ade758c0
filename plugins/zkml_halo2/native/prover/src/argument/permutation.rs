//! The copy constraints: for each column that cells are copied in, a running product.
//!
//! With p the column, s its permuted names and delta^j the name of column j:
//!
//! ```text
//! l_0 (1 - z_0) = 0,    l_last (z_last^2 - z_last) = 0,    l_0 (z_j - z_(j-1)(omega^last X)) = 0
//! l_active (z_j(omega X) (p + beta s + gamma) - z_j (p + beta delta^j X + gamma)) = 0
//! ```

use ff::{BatchInvert, Field, PrimeField};
use halo2_axiom::halo2curves::bn256::{Fr, G1Affine};
use halo2_axiom::plonk::{Any, ProvingKey};
use rayon::prelude::*;

/// Which column of its kind each copied column is; all are advice.
pub fn columns(proving: &ProvingKey<G1Affine>) -> Option<Vec<usize>> {
    let columns = proving.get_vk().cs().permutation().get_columns();
    let advice = |any: &Any| matches!(any, Any::Advice(_));
    columns.iter().map(|column| advice(column.column_type()).then(|| column.index())).collect()
}

/// The challenges of the argument.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    pub beta: Fr,
    pub gamma: Fr,
}

impl Names {
    /// The running products, one after the other: each goes on from where the one before ends, `unblinded` rows further on.
    pub fn products(
        self,
        proving: &ProvingKey<G1Affine>,
        columns: &[usize],
        advice: &[Vec<Fr>],
        unblinded: usize,
    ) -> Vec<Vec<Fr>> {
        let omega = proving.get_vk().get_domain().get_omega();
        let deltas: Vec<Fr> =
            std::iter::successors(Some(self.beta), |d| Some(*d * Fr::DELTA)).take(columns.len()).collect();
        let permuted = proving.permutation().permutations();
        let mut products: Vec<Vec<Fr>> = (columns.par_iter().zip(permuted).zip(deltas))
            .map(|((&column, permuted), delta)| {
                let column = &advice[column];
                let mut steps: Vec<Fr> =
                    column.iter().zip(permuted.iter()).map(|(p, s)| *p + self.beta * s + self.gamma).collect();
                steps.iter_mut().batch_invert();
                let mut name = delta;
                let mut product = Fr::ONE;
                for (step, p) in steps.iter_mut().zip(column) {
                    let now = product;
                    product *= *step * (*p + name + self.gamma);
                    *step = now;
                    name *= omega;
                }
                steps
            })
            .collect();
        let mut first = Fr::ONE;
        for product in &mut products {
            product.iter_mut().for_each(|z| *z *= first);
            first = product[unblinded];
        }
        products
    }
}

/// The values of all that these constraints read, on a coset.
pub struct Table<'a> {
    /// The copied columns, their permuted names, and the running products.
    pub columns: Vec<&'a [Fr]>,
    pub permuted: &'a [Vec<Fr>],
    pub products: &'a [Vec<Fr>],
    /// Lagrange polynomials: of the first row, of the last, and the sum of those that hold values.
    pub first: &'a [Fr],
    pub last: &'a [Fr],
    pub active: &'a [Fr],
    pub shift: Fr,
    pub omega: Fr,
    /// Rows from a row to the one where the products end, going round.
    pub to_last: usize,
}

impl Table<'_> {
    /// Adds up the constraints of the rows from `start` on, times powers of y: out = out y + constraint for each.
    pub fn fold(&self, names: Names, start: usize, y: Fr, out: &mut [Fr]) {
        let Some(end) = self.products.last() else { return };
        let n = end.len();
        let mut x = self.shift * self.omega.pow_vartime([start as u64]) * names.beta;
        for (i, out) in out.iter_mut().enumerate() {
            let row = start + i;
            let (next, ending) = ((row + 1) % n, (row + self.to_last) % n);
            *out = *out * y + (Fr::ONE - self.products[0][row]) * self.first[row];
            *out = *out * y + (end[row].square() - end[row]) * self.last[row];
            for pair in self.products.windows(2) {
                *out = *out * y + (pair[1][row] - pair[0][ending]) * self.first[row];
            }
            let mut name = x;
            for ((column, permuted), product) in self.columns.iter().zip(self.permuted).zip(self.products) {
                let value = column[row] + names.gamma;
                let left = product[next] * (value + names.beta * permuted[row]);
                let right = product[row] * (value + name);
                *out = *out * y + (left - right) * self.active[row];
                name *= Fr::DELTA;
            }
            x *= self.omega;
        }
    }
}
