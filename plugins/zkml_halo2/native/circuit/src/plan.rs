//! Which shape: the cheapest by a model of what proving costs.
//!
//! The constants are CPU milliseconds of the prover's primitives (with assembly, bn256) on an x86-64 core;
//! `benchmarks/zkml.py` prints how far what they predict is from what was measured.

use balance_zkml_model::Model;
use rayon::prelude::*;

use crate::layout::{Layout, Secret, Shape, FIXED, RESERVED};
use crate::lower::{lower, Limits};
use crate::place::place;
use crate::registration;
use crate::steps::Steps;
use crate::weights::digits_of;
use crate::Error;

/// Multi-scalar multiplication of full-size scalars and of limbs, and one Fourier transform, at 2^10 rows and up.
const FULL: [f64; 8] = [5.4, 9.3, 17.5, 34.0, 64.0, 122.0, 240.0, 485.0];
const SMALL: [f64; 8] = [0.77, 1.1, 1.9, 2.9, 5.3, 9.0, 12.4, 23.3];
const FOURIER: [f64; 8] = [0.10, 0.21, 0.46, 0.99, 2.1, 4.5, 9.5, 20.3];
/// For each tap of a lane in a row: weights are read, laid out, and multiplied.
const CELL: f64 = 0.000_11;
/// What every proof takes.
const ALWAYS: f64 = 22.0;
const FIRST: u32 = 10;

/// Bits of a public value above which its table is worth doing without.
const WIDE: u32 = 10;

/// How many shapes are tried side by side.
const TOGETHER: usize = 4;

pub const SMALLEST: u32 = 8;
pub const LARGEST: u32 = 22;
/// Most lanes, taps and table sets of any plan: a verifier takes no key that has more.
pub const MOST_LANES: usize = LANES[LANES.len() - 1];
pub const MOST_TAPS: usize = TAPS[TAPS.len() - 1];
pub const MOST_TABLES: usize = 64;
const LANES: [usize; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16];
const TAPS: [usize; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32, 48, 64];

fn at(table: &[f64; 8], k: u32) -> f64 {
    let last = FIRST + table.len() as u32 - 1;
    if k < FIRST {
        table[0] * 0.55f64.powi((FIRST - k) as i32)
    } else if k > last {
        table[table.len() - 1] * 2f64.powi((k - last) as i32)
    } else {
        table[(k - FIRST) as usize]
    }
}

/// How many columns of each kind a shape has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub small: usize,
    pub full: usize,
    pub fixed: usize,
    /// Columns in the permutation argument, each with a running product of its own.
    pub copied: usize,
}

impl Shape {
    pub fn counts(&self) -> Counts {
        let weights = self.weight_columns();
        Counts {
            small: 3 * self.lanes + self.tables + self.hidden_columns() + if self.private { weights } else { 0 },
            full: 7 + 3 * self.lanes + self.tables - 1 + usize::from(self.whole),
            fixed: FIXED
                + 3 * self.tables
                + usize::from(self.hidden)
                + if self.private { self.lanes } else { weights },
            copied: 4 + self.lanes + usize::from(self.whole),
        }
    }

    /// CPU seconds of a proof with its key, on the machine of the constants, if all rows are used.
    pub fn seconds(&self) -> f64 {
        self.seconds_of(1.0)
    }

    /// The same if only this share of the rows is used.
    fn seconds_of(&self, used: f64) -> f64 {
        let c = self.counts();
        let (full, small, fourier) = (at(&FULL, self.k), at(&SMALL, self.k), at(&FOURIER, self.k));
        // Sums of points cost what is large and different in a column: of runs' sums, which are mostly single values,
        // of reciprocals, which repeat, and of running products, which stand still where nothing is copied, some part.
        let partly = 1.8 + 0.52 * self.lanes as f64 + 0.54 * (self.tables - 1 + c.copied) as f64;
        let commits = full * (partly * (0.3 + 0.7 * used) + 8.2) + small * c.small as f64;
        // There and on two cosets; the key's polynomials are there already, but have to be made once, by slower transforms.
        let (own, keys) = (c.small + c.full + c.copied, c.fixed + c.copied);
        let transforms = fourier * (3 * own + 2 * keys + 4 * keys + 10) as f64;
        let cells = ((self.lanes * self.taps) << self.k) as f64;
        (ALWAYS + commits + transforms + CELL * cells) / 1000.0
    }

    /// Bytes that a proof takes at its peak, in a process of its own: the interpreter, and polynomials in several forms.
    pub fn bytes(&self) -> u64 {
        let c = self.counts();
        let column = 32u64 << self.k;
        18_700_000 + column * (28 * (c.small + c.full) + 46 * c.fixed + 38 * c.copied) as u64 / 10
    }
}

/// A model with the shape that suits it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub layout: Layout,
    pub limits: Limits,
}

impl Plan {
    /// CPU seconds of a proof with its key, on the machine of the constants.
    pub fn seconds(&self) -> f64 {
        let shape = &self.layout.shape;
        shape.seconds_of(self.layout.height() as f64 / shape.rows() as f64)
    }
}

/// Returns the cheapest layout; `k` fixes the number of rows.
pub fn plan(model: &Model, secret: Secret, k: Option<u32>) -> Result<Plan, Error> {
    let smallest = if secret.weights { registration::SMALLEST } else { SMALLEST };
    let ks: Vec<u32> = k.map_or_else(|| (smallest..=LARGEST).collect(), |k| vec![k]);
    let mut best: Option<Plan> = None;
    let mut refused = Error::TooSmall("no shape holds the model".into());
    for k in ks {
        let mut lowered = Vec::new();
        for limits in limits(k) {
            match lower(model, limits, secret.inputs) {
                Ok(steps) => lowered.push((limits, steps.weights(), steps)),
                Err(error @ Error::Unsupported(_)) => return Err(error),
                Err(error) => refused = error,
            }
        }
        let mut candidates: Vec<(Shape, &Limits, (&Steps, usize))> = lowered
            .iter()
            .flat_map(|(limits, weights, steps)| {
                candidates(k, secret).into_iter().map(move |shape| (shape, limits, (steps, *weights)))
            })
            // Public values side by side are looked up in a table of their own: wide ones may do better one below the other.
            .flat_map(|(shape, limits, steps)| {
                let apart = (steps.0.public_bits() > WIDE).then_some(1);
                [Some(0), apart].into_iter().flatten().map(move |packed| (Shape { packed, ..shape }, limits, steps))
            })
            .collect();
        candidates.sort_by(|x, y| x.0.seconds().total_cmp(&y.0.seconds()));
        // A few at a time, always the same, so that the choice depends on nothing but the model.
        for few in candidates.chunks(TOGETHER) {
            let enough = best.as_ref().map_or(f64::INFINITY, |best| best.layout.shape.seconds());
            if few[0].0.seconds() >= enough {
                break;
            }
            let found: Vec<Result<Option<Plan>, Error>> = few
                .par_iter()
                .map(|&(shape, &limits, steps)| narrowest(model, steps, shape, limits, enough))
                .collect();
            for plan in found {
                match plan {
                    Ok(Some(plan)) => {
                        let cost = plan.layout.shape.seconds();
                        if best.as_ref().is_none_or(|best| cost < best.layout.shape.seconds()) {
                            best = Some(plan);
                        }
                    }
                    Ok(None) => {}
                    Err(error @ Error::Unsupported(_)) => return Err(error),
                    Err(error) => refused = error,
                }
            }
        }
        let next = Shape { k: k + 1, ..least(secret) };
        if best.as_ref().is_some_and(|best| best.layout.shape.seconds() <= next.seconds()) {
            break;
        }
    }
    best.ok_or(refused)
}

/// Table sizes worth trying: small ones mean more limbs, large ones more table columns.
fn limits(k: u32) -> Vec<Limits> {
    let rows = (1i64 << k) - RESERVED as i64;
    let limb = (k - 1).min(12);
    let mut sizes: Vec<i64> = [rows / 2, rows, 3 * rows, 8 * rows].iter().map(|&size| size.min(1 << 16)).collect();
    sizes.retain(|&size| size >= 1 << limb);
    sizes.dedup();
    sizes.into_iter().map(|entries| Limits { entries, limb }).collect()
}

/// The smallest shape.
fn least(secret: Secret) -> Shape {
    let (private, hidden) = (secret.weights, secret.inputs);
    Shape { k: 0, lanes: 1, taps: 1, tables: 1, private, hidden, whole: false, packed: 1 }
}

fn candidates(k: u32, secret: Secret) -> Vec<Shape> {
    let shape = |lanes, whole| Shape { k, lanes, whole, ..least(secret) };
    let both =
        |lanes: usize| [false, true].into_iter().filter(move |&whole| lanes > 1 || !whole).map(move |w| (lanes, w));
    LANES.into_iter().flat_map(both).map(|(lanes, whole)| shape(lanes, whole)).collect()
}

/// The layout of these rows and lanes with the fewest columns, unless it costs more than `enough`; each of the layers'
/// weights takes a cell.
fn narrowest(
    model: &Model,
    (steps, weights): (&Steps, usize),
    shape: Shape,
    limits: Limits,
    enough: f64,
) -> Result<Option<Plan>, Error> {
    let digits = |node: u32| digits_of(model, node);
    let packed = match shape.packed {
        0 => steps.public_bits().min(240 / shape.lanes as u32).max(1),
        bits => bits,
    };
    let affordable = TAPS.partition_point(|&taps| Shape { taps, ..shape }.seconds() < enough);
    let least = TAPS.partition_point(|&taps| shape.rows() * shape.lanes * taps < weights);
    if least == TAPS.len() {
        return Err(Error::TooSmall(format!("more than {} rows", shape.rows())));
    }
    if least >= affordable {
        return Ok(None);
    }
    let attempt = |taps| place(steps, Shape { taps, tables: MOST_TABLES, packed, ..shape }, limits, &digits);
    let (mut low, mut high) = (least, affordable);
    let mut best = None;
    let mut refused = None;
    // The widest first: what does not fit there fits nowhere.
    let mut middle = affordable.checked_sub(1);
    while let Some(at) = middle {
        match attempt(TAPS[at]) {
            Ok(layout) => {
                best = Some(layout);
                high = at;
            }
            Err(Error::TooSmall(text)) => {
                refused = Some(Error::TooSmall(text));
                low = at + 1;
            }
            Err(error) => return Err(error),
        }
        middle = (low < high).then_some((low + high) / 2);
    }
    match (best, refused) {
        (Some(mut layout), _) => {
            layout.shape.tables = layout.tables.sets(&layout.shape);
            Ok(Some(Plan { layout, limits }))
        }
        (None, Some(error)) => Err(error),
        (None, None) => Ok(None),
    }
}
